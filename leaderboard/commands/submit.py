"""``submit``: the suite of a board on a new method, as a bundle that others can verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.exits import DONE, FAILED, exit_on_error
from benchmark.records.files import check_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmark.explainer import Explainer
    from benchmark.plugins.entry import Entry
    from benchmark.running.engine import Finished
    from benchmark.running.plan import Plan
    from leaderboard.published.record import PublishedRecord
    from leaderboard.submission.manifest import Manifest
    from leaderboard.submission.rules import Rules


def submit(
    plugin: Annotated[str, typer.Argument(help="path/to/file.py:Class, in a single file.")],
    name: Annotated[str, typer.Option("--name", help="What the board calls it.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; new, or an older bundle.")],
    submitter: Annotated[str, typer.Option(help="Who measured.")] = "anonymous",
    suite: Annotated[str, typer.Option(help="Version, or path of a .toml file.")] = "v1",
    model: Annotated[
        list[str] | None, typer.Option(help="Repeatable. Default: the board's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = 64,
    store: Annotated[Path, typer.Option(help="Where finished cells are kept.")] = Path(
        "medsanity-runs/store"
    ),
) -> None:
    """Check a method, score it by a board's suite, and write a bundle to submit."""
    with exit_on_error():
        from benchmark import contract
        from benchmark.commands import terminal
        from benchmark.plugins.catalogue import Catalogue
        from benchmark.records import store as stores
        from benchmark.running import engine
        from benchmark.running.device import resolve_device
        from benchmark.running.plan import make_plan
        from benchmark.running.suite import Selection
        from leaderboard.submission.bundle import check_out, make_bundle
        from leaderboard.submission.rules import check_single_file, read_rules

        source = check_single_file(plugin)
        rules = read_rules(suite, model or ())
        settings = engine.Settings(resolve_device(device), batch_size)
        # Controls are on the board already.
        alone = rules.suite.model_copy(update={"health": ()})
        plan = make_plan(Catalogue(), alone, Selection((plugin,), models=rules.models))
        (entry,) = plan.explainers.values()
        content, manifest = _manifest(source, entry, rules, (name, submitter))
        check_out(out)
        check_folder(out.resolve().parent)
        cells = stores.Store(store)
        cells.prepare()
        console = terminal.make_console()
        findings = contract.run_checks(contract.checks_of(entry.plugin))
        if any(one.state == "broken" for one in findings):
            console.print(terminal.findings_table(findings))
            console.print(f"{entry.name} breaks its contract; nothing was scored", markup=False)
            raise typer.Exit(FAILED)
        with terminal.Bars(terminal.make_console(stderr=True)) as bars:
            finished = engine.run(plan, cells, settings, bars)
        _tell(console, finished, plan)
        if failed := sum(one.state == "failed" for one in finished.records):
            told = f"{failed} of {len(finished.records)} cells failed; no bundle was written"
            console.print(told, markup=False)
            raise typer.Exit(FAILED)
        published = _published(finished, plan, rules, manifest)
        make_bundle(out, manifest, published, content)
        told = f"bundle: {out} with {len(published)} records; next: verify {out}"
        console.print(told, markup=False, soft_wrap=True)
        raise typer.Exit(DONE)


def _manifest(
    source: tuple[Path, str], entry: Entry[Explainer], rules: Rules, told: tuple[str, str]
) -> tuple[bytes, Manifest]:
    """Return the plugin's file and the manifest, before anything is computed for them."""
    from benchmark.errors import PluginError
    from benchmark.explainer import Control
    from leaderboard.published.folder import read_bytes
    from leaderboard.submission.bundle import MOST_SOURCE
    from leaderboard.submission.manifest import Manifest
    from leaderboard.submission.screening import screen

    path, class_name = source
    if issubclass(entry.plugin, Control):
        raise PluginError(f"{entry.name!r} is a Control, which explains no model.")
    content = read_bytes(path.resolve(), str(path), MOST_SOURCE)
    manifest = Manifest.of(
        suite=rules.suite.version,
        suite_sha256=rules.sha256,
        title=told[0],
        explainer=entry.name,
        class_name=class_name,
        source=path.name,
        source_sha256=entry.source_sha256,
        submitter=told[1],
        files={},
    )
    if faults := screen(content, str(path)):
        raise PluginError(f"{faults[0]}; verify would refuse it.")
    return content, manifest


def _published(
    finished: Finished, plan: Plan, rules: Rules, manifest: Manifest
) -> Sequence[tuple[PublishedRecord, bytes | None]]:
    from pydantic import ValidationError

    from leaderboard.published.fields import schema_fault
    from leaderboard.published.record import publish
    from leaderboard.submission.from_plugins import method_of, scale_of

    (entry,) = plan.explainers.values()
    made = []
    for one in finished.records:
        scale = scale_of(plan.protocols[one.names.protocol].plugin)
        try:
            method = method_of(entry.plugin, manifest.title)
            made.append(publish(one, method, scale, rules.pseudonyms, manifest.submitter))
        except ValidationError as error:
            place = f"{one.names.model} × {one.names.protocol}"
            raise schema_fault(error, place) from error
    return made


def _tell(console: Console, finished: Finished, plan: Plan) -> None:
    from benchmark.commands import terminal
    from benchmark.results.summary import summarise_records

    protocols = {name: entry.plugin for name, entry in plan.protocols.items()}
    results = summarise_records(finished.records, protocols, details=False)
    terminal.print_results(console, results, ())
