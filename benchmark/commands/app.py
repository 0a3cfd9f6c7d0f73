"""The command line: thin commands over the engine. Heavy imports wait until a command runs."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.exits import DONE, FAILED, NOTHING_MEASURED, exit_on_error
from benchmark.errors import InputError, StoreError
from benchmark.records.files import check_file, check_folder, write_text
from benchmark.running.allocator import tune_allocator

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.plugins.catalogue import Catalogue
    from benchmark.records.record import Record
    from benchmark.results.explained_model import ExplainedModel
    from benchmark.results.lookup import Protocols
    from benchmark.running.engine import Finished
    from benchmark.running.plan import Plan

NO_REPORT = "none"

_STORE, _REPORT = Path("medsanity-runs/store"), Path("medsanity-runs/report")

app = typer.Typer(
    name="medsanity",
    help="Sanity protocols for explanations of medical image models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cohort_app = typer.Typer(help="Look at a cohort, or write it as NIfTI files.", no_args_is_help=True)
app.add_typer(cohort_app, name="cohort")


class Kinds(StrEnum):
    """What can be listed."""

    EXPLAINERS = "explainers"
    MODELS = "models"
    COHORTS = "cohorts"
    PROTOCOLS = "protocols"


JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the results here.")]
OutOption = Annotated[Path, typer.Option(help="Folder to write.")]


@app.callback()
def main() -> None:
    """Put heatmaps of medical image models through sanity protocols."""
    tune_allocator()


@app.command()
def run(
    explainer: Annotated[
        list[str], typer.Option(help="Name, 'all', or path/to/file.py:Class; repeatable.")
    ],
    model: Annotated[list[str] | None, typer.Option(help="Default: the suite's.")] = None,
    cohort: Annotated[
        list[str] | None, typer.Option(help="Name or path/to/cohort.toml. Default: the suite's.")
    ] = None,
    protocol: Annotated[list[str] | None, typer.Option(help="Default: the suite's.")] = None,
    suite: Annotated[str, typer.Option(help="Version or path of a .toml file.")] = "v1",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = 64,
    store: Annotated[Path, typer.Option(help="Where finished cells are kept.")] = _STORE,
    report: Annotated[
        str | None,
        typer.Option(help=f"Folder, or 'none'. [default: {_REPORT}; none for a shard]"),
    ] = None,
    json_file: JsonOption = None,
    shard: Annotated[
        str | None, typer.Option(help="i/N: every N-th cell, i from 0 or from 1.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Measure again what the store holds.")] = False,
) -> None:
    """Score explainers; what the store holds already is taken from there."""
    with exit_on_error():
        from benchmark.commands import terminal
        from benchmark.plugins.catalogue import Catalogue
        from benchmark.records import store as stores
        from benchmark.report.writer import write_report
        from benchmark.results.result import to_json
        from benchmark.results.summary import summarise_records
        from benchmark.running import engine, plan
        from benchmark.running import suite as suites
        from benchmark.running.device import resolve_device

        catalogue = Catalogue()
        settings = engine.Settings(resolve_device(device), batch_size, fresh)
        selection = suites.Selection(
            tuple(explainer), tuple(cohort or ()), tuple(model or ()), tuple(protocol or ())
        )
        chosen = suites.load_suite(suite)
        whole = plan.make_plan(catalogue, chosen, selection)
        own = whole if shard is None else whole.shard(*_parse_shard(shard))
        cells = stores.Store(store)
        folder = _report_folder(report, sharded=shard is not None)
        if json_file is not None:
            check_file(json_file)
        cells.prepare()

        with terminal.Bars(terminal.make_console(stderr=True)) as bars:
            finished = engine.run(own, cells, settings, bars)
        protocols = {name: entry.plugin for name, entry in own.protocols.items()}
        results = summarise_records(finished.records, protocols, details=json_file is not None)
        console = terminal.make_console()
        terminal.print_results(console, results, _controls(own))
        _tell(console, finished.records, finished.explained, protocols)
        _tell_cost(console, finished, store)
        if json_file is not None:
            write_text(json_file, to_json(chosen.version, results))
        if folder is not None and finished.records:
            page = write_report(folder, finished.records, finished.explained, protocols)
            console.print(f"report: {page}", markup=False, soft_wrap=True)
        asked = {one for one in own.explainers if one not in chosen.health or one in explainer}
        raise typer.Exit(_exit_code(finished.records, asked))


@app.command("list")
def list_plugins(
    kind: Annotated[Kinds | None, typer.Argument(help="Default: all of them.")] = None,
    json_file: JsonOption = None,
) -> None:
    """List what is registered, where from, and which pairs are unsupported and why."""
    with exit_on_error():
        from benchmark.commands import terminal
        from benchmark.plugins.catalogue import Catalogue
        from benchmark.running.plan import unsupported_pairs
        from benchmark.running.suite import load_suite

        catalogue, console = Catalogue(), terminal.make_console()
        kinds = [kind] if kind else list(Kinds)
        shelves = [getattr(catalogue, one.value).entries for one in kinds]
        for entries in shelves:
            console.print(terminal.catalogue_table(entries))
        asked = kind in (None, Kinds.EXPLAINERS)
        unsupported = unsupported_pairs(catalogue, load_suite("v1")) if asked else []
        for line in terminal.unsupported_lines(unsupported):
            console.print(line, markup=False, soft_wrap=True)
        if json_file is not None:
            names = ("kind", "name", "origin", "description", "error")
            plugins = [
                {name: getattr(one, name) for name in names} | one.declared
                for entries in shelves
                for one in entries
            ]
            listed = {"plugins": plugins, "unsupported": unsupported}
            write_text(json_file, json.dumps(listed, indent=2) + "\n")


@app.command()
def check(
    plugin: Annotated[
        str, typer.Argument(help="path/to/file.py:Class, or a name that is registered.")
    ],
    kind: Annotated[
        Kinds, typer.Option(help="What a name stands for; a class in a file says so itself.")
    ] = Kinds.EXPLAINERS,
    json_file: JsonOption = None,
) -> None:
    """Check a plugin against its contract, clause by clause, before any scoring."""
    with exit_on_error():
        from benchmark import contract
        from benchmark.commands import terminal
        from benchmark.plugins.catalogue import Catalogue

        entry = Catalogue().find(plugin, kind.value)
        findings = contract.run_checks(contract.checks_of(entry.plugin))
        console = terminal.make_console()
        console.print(terminal.findings_table(findings))
        held = sum(one.state == "held" for one in findings)
        broken = [one.check.name for one in findings if one.state == "broken"]
        verdict = f"{held} of {len(findings)} clauses hold"
        verdict += f"; broken: {', '.join(broken)}" if broken else ", none is broken"
        console.print(f"{entry.kind} {entry.name}: {verdict}", markup=False, soft_wrap=True)
        if json_file is not None:
            told = [
                {"clause": one.check.name, "claim": one.check.clause.claim}
                | {"state": one.state, "detail": one.detail}
                for one in findings
            ]
            listed = {"plugin": entry.name, "kind": entry.kind, "clauses": told}
            write_text(json_file, json.dumps(listed, indent=2) + "\n")
        raise typer.Exit(FAILED if broken else DONE)


@app.command()
def report(
    records: Annotated[Path, typer.Option(help="A store, or a folder of records.")] = _STORE,
    out: OutOption = _REPORT,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="path/to/file.py:Class of a protocol that is in no catalogue."),
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Write the report of finished runs, without a single pass."""
    with exit_on_error():
        from benchmark.commands import terminal
        from benchmark.plugins.catalogue import Catalogue
        from benchmark.records import store as stores
        from benchmark.report.writer import write_report
        from benchmark.results import explained_model
        from benchmark.results.result import to_json
        from benchmark.results.summary import summarise_records

        catalogue = Catalogue()
        found = stores.read_records(records)
        archive = stores.Store(records) if stores.is_store(records) else None
        if archive is not None:
            found.extend(archive.failures())
        if not found:
            raise StoreError(f"The folder {records} holds no record.")
        protocols, missing = _protocols_of(found, catalogue, protocol or ())
        found = [one for one in found if one.names.protocol in protocols]
        if not found:
            raise StoreError(f"Nothing in {records} can be reported. {' '.join(missing)}")
        folder = _report_folder(str(out), sharded=False)
        shown = (
            explained_model.recall_explained_models(found, catalogue, archive.arrays)
            if archive
            else ()
        )
        results = summarise_records(found, protocols, details=json_file is not None)
        console = terminal.make_console()
        terminal.print_results(console, results, _control_names(catalogue))
        _tell(console, found, shown, protocols)
        terminal.print_lines(console, missing)
        if json_file is not None:
            versions = " ".join(dict.fromkeys(one.identity.suite for one in found))
            write_text(json_file, to_json(versions, results))
        if folder is not None:
            page = write_report(folder, found, shown, protocols)
            console.print(f"report: {page}", markup=False, soft_wrap=True)


@app.command()
def merge(
    stores: Annotated[list[Path], typer.Argument(help="Stores of shards.")],
    into: Annotated[Path, typer.Option(help="Store to write.")] = _STORE,
) -> None:
    """Make one store of several."""
    with exit_on_error():
        from benchmark.commands.terminal import make_console
        from benchmark.records import store as module

        count = module.merge(stores, into)
        make_console().print(f"{into} holds {count} finished cells", markup=False)


@app.command()
def train(
    out: OutOption,
    model: Annotated[str, typer.Option(help="Name or path/to/file.py:Class.")] = "smallresnet",
    cohort: Annotated[str, typer.Option(help="Name or path/to/cohort.toml.")] = "phantom",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
) -> None:
    """Train a model by its recipe and write its weights."""
    with exit_on_error():
        from benchmark import training
        from benchmark.commands.terminal import make_console
        from benchmark.errors import ClassifierError
        from benchmark.plugins.catalogue import Catalogue
        from benchmark.running.device import reproducible, resolve_device

        catalogue, console = Catalogue(), make_console()
        place = resolve_device(device)
        source = catalogue.models.find(model).create()
        if source.recipe is None:
            raise ClassifierError(f"Model {source.name!r} has no recipe to train it by.")
        people = catalogue.cohorts.find(cohort).create().load()
        check_folder(out)
        untrained = source.build(people.shape).to(place)

        def tell(epoch: int, epochs: int, loss: float) -> None:
            console.print(f"epoch {epoch} of {epochs}: loss {loss:.4f}")

        with reproducible():
            trained = training.train_from_scratch(untrained, people, source.recipe, seed, tell)
        card = training.recipe_card(source.recipe, people, seed)
        path = training.save_weights(trained, out, card)
        console.print(f"weights: {path}", markup=False, soft_wrap=True)


@app.command()
def relatives(
    out: OutOption,
    model: Annotated[str, typer.Option(help="Name or path/to/file.py:Class.")] = "smallresnet",
    cohort: Annotated[str, typer.Option(help="Name or path/to/cohort.toml.")] = "phantom",
    suite: Annotated[str, typer.Option(help="Version, or path/to/suite.toml.")] = "v1",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
) -> None:
    """Train what a suite sets beside a model, such as its twin, and write the weights."""
    with exit_on_error():
        from benchmark.commands.terminal import make_console
        from benchmark.plugins.catalogue import Catalogue
        from benchmark.running.device import resolve_device
        from benchmark.running.engine import Settings, fit_relatives
        from benchmark.running.plan import make_plan
        from benchmark.running.suite import Selection, load_suite

        console = make_console()
        selection = Selection(("random",), cohorts=(cohort,), models=(model,))
        plan = make_plan(Catalogue(), load_suite(suite), selection)
        check_folder(out)
        for path in fit_relatives(plan, out, Settings(resolve_device(device))):
            console.print(f"weights: {path}", markup=False, soft_wrap=True)


@cohort_app.command("export")
def export_cohort(
    name: Annotated[str, typer.Argument(help="Name or path/to/cohort.toml.")], out: OutOption
) -> None:
    """Write a cohort as NIfTI files with a cohort.toml."""
    with exit_on_error():
        from benchmark.commands.terminal import make_console
        from benchmark.plugins.catalogue import Catalogue, cohort_writer

        people = Catalogue().cohorts.find(name).create().load()
        path = cohort_writer()(people, out)
        make_console().print(f"cohort: {path}", markup=False, soft_wrap=True)


@cohort_app.command("inspect")
def inspect_cohort(
    name: Annotated[str, typer.Argument(help="Name or path/to/cohort.toml.")],
) -> None:
    """Say what a cohort holds."""
    with exit_on_error():
        from benchmark.commands.terminal import cohort_table, make_console
        from benchmark.plugins.catalogue import Catalogue

        people = Catalogue().cohorts.find(name).create().load()
        make_console().print(cohort_table(people))


def _protocols_of(
    records: Sequence[Record], catalogue: Catalogue, specs: Sequence[str]
) -> tuple[Protocols, list[str]]:
    """Return the protocols that judge the records, and a line on each that is not to be had."""
    named = {entry.name: entry for entry in map(catalogue.protocols.find, specs)}
    protocols, missing = {}, []
    for name in dict.fromkeys(one.names.protocol for one in records):
        try:
            protocols[name] = (named.get(name) or catalogue.protocols.find(name)).plugin
        except InputError as error:
            missing.append(
                f"Records of protocol {name!r} are left out; name its file with --protocol. {error}"
            )
    return protocols, missing


def _tell(
    console: Console,
    records: Sequence[Record],
    shown: Sequence[ExplainedModel],
    protocols: Protocols,
) -> None:
    from benchmark.commands import terminal
    from benchmark.results.health import protocol_health
    from benchmark.results.paired import aligned_pairs

    lines = [terminal.model_line(one) for one in shown]
    lines += map(terminal.comparison_line, aligned_pairs(records, protocols))
    lines += map(terminal.health_line, protocol_health(records, protocols))
    terminal.print_lines(console, lines)


def _tell_cost(console: Console, finished: Finished, store: Path) -> None:
    kept = len(finished.records) - finished.measured
    passes = finished.passes
    console.print(
        f"{finished.measured} cells measured with {passes.forward} forward and "
        f"{passes.backward} backward passes, {kept} taken from {store}",
        markup=False,
        soft_wrap=True,
    )


def _exit_code(records: Sequence[Record], asked: set[str]) -> int:
    if any(one.state == "failed" for one in records):
        return FAILED
    own = [one for one in records if one.names.explainer in asked] or records
    return DONE if any(one.state == "scored" for one in own) else NOTHING_MEASURED


def _controls(plan: Plan) -> set[str]:
    from benchmark.explainer import Control

    return {name for name, one in plan.explainers.items() if issubclass(one.plugin, Control)}


def _control_names(catalogue: Catalogue) -> set[str]:
    from benchmark.explainer import Control

    shelf = catalogue.explainers
    return {
        entry.name
        for entry in shelf.entries
        if entry.plugin_class and issubclass(entry.plugin_class, Control)
    }


def _parse_shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise InputError(f"Expected a shard as i/N, such as 1/4, but got {text!r}.")
    return int(found[1]), int(found[2])


def _report_folder(text: str | None, sharded: bool) -> Path | None:
    """Return the folder after making sure that it can be written to; None for no report."""
    if text == NO_REPORT or (text is None and sharded):
        return None
    from benchmark.report.writer import check_folder as check_report

    folder = _REPORT if text is None else Path(text)
    check_folder(folder)
    check_report(folder)
    check_folder(folder.resolve().parent)  # where the report is made before it takes its place
    return folder


# Other rooms bring commands of their own, found by name as plugins are.
for _module in ("leaderboard.commands.app",):
    app.add_typer(importlib.import_module(_module).app)
