"""``submit``: the suite of a board on a new method, as a bundle that others can verify."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from benchmark import contract
from benchmark import explainer as explainers
from benchmark.commands import options, tables, terminal
from benchmark.commands.exits import FAILED, exit_on_error
from benchmark.errors import PluginError
from benchmark.plugins import catalogue as catalogues
from benchmark.plugins import entry as entries
from benchmark.records import record as cells
from benchmark.records import store as stores
from benchmark.records.files import check_folder
from benchmark.results import summary
from benchmark.running import device as devices
from benchmark.running import engine
from benchmark.running import plan as plans
from benchmark.running import suite as suites
from leaderboard.published import fault as faults_of_bundles
from leaderboard.published import fields, folder
from leaderboard.published import record as records
from leaderboard.submission import bundle, from_plugins, manifest, plausibility, rules, screening
from leaderboard.submission import names as naming
from leaderboard.submission.isolation import availability, connection, proxy
from leaderboard.submission.isolation import host as hosts

# Memory as verify gives it by default; an author may take the time that it takes.
_GIB, _SECONDS = 8, 30 * 86_400


def submit(
    plugin: Annotated[str, typer.Argument(help="path/to/file.py:Class, in a single file.")],
    name: Annotated[str, typer.Option("--name", help="What the board calls it.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; new, or an older bundle.")],
    submitter: options.Submitter = "anonymous",
    suite: options.Suite = "v1",
    model: Annotated[
        list[str] | None, typer.Option(help="Repeatable. Default: the board's.")
    ] = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 64,
    store: options.Store = options.STORE,
    isolation: Annotated[
        bool, typer.Option("--isolation/--no-isolation", help="Shut the method in, as verify does.")
    ] = True,
    quiet: options.Quiet = False,
) -> None:
    """Check a method, score it by a board's suite, and write a bundle to submit."""
    with exit_on_error(), contextlib.ExitStack() as stack:
        console, notes = terminal.make_console(), terminal.make_console(quiet=quiet)
        source = rules.check_single_file(plugin)
        board = rules.read_rules(suite, model or ())
        settings = engine.Settings(devices.resolve_device(device), batch_size)
        # Controls are on the board already.
        alone = board.suite.model_copy(update={"health": ()})
        catalogue, spec = catalogues.Catalogue(), plugin
        reason = _why_not_isolated(isolation, str(settings.device))
        if reason is None:
            spec = _shut_in(source, catalogue, stack)
        else:
            tables.print_sentences(notes, [f"not isolated: {reason}"])
        selection = suites.Selection((spec,), models=board.models)
        plan = plans.make_plan(catalogue, alone, selection).with_maps()
        (entry,) = plan.explainers.values()
        content, card = _manifest(source, entry, board, (name, submitter))
        bundle.check_out(out)
        check_folder(out.resolve().parent)
        archive = stores.Store(store)
        archive.prepare()

        findings = contract.run_checks(contract.checks_of(entry.plugin))
        if any(finding.state == "broken" for finding in findings):
            console.print(terminal.findings_table(findings))
            console.print(f"{entry.name} breaks its contract; nothing was scored", markup=False)
            raise typer.Exit(FAILED)
        with terminal.Bars(terminal.make_console(stderr=True), quiet) as bars:
            finished = engine.run(plan, archive, settings, bars).records

        protocols = {name: entry.plugin for name, entry in plan.protocols.items()}
        results = summary.summarise_records(finished, protocols, details=False)
        terminal.print_results(console, results, ())
        if failed := sum(record.state == "failed" for record in finished):
            line = f"{failed} of {len(finished)} cells failed; no bundle was written"
            console.print(line, markup=False)
            raise typer.Exit(FAILED)
        published = _published(finished, plan, board, card)
        bundle.make_bundle(out, card, published, content)
        line = f"bundle: {out} with {len(published)} records; next: verify {out}"
        tables.print_sentences(notes, [line])


def _why_not_isolated(wanted: bool, device: str) -> str | None:
    """Return why the method runs in this process, or None where it is shut in."""
    if not wanted:
        return "the method can read cohorts and change scores here, which verify will not allow"
    reason = availability.available(device)
    return reason and f"{reason}; what the method reads beside its arguments shows in verify alone"


def _shut_in(
    source: tuple[Path, str], catalogue: catalogues.Catalogue, stack: contextlib.ExitStack
) -> str:
    """Load a method in a worker, until the stack ends, and return its name in the catalogue."""
    path, class_name = source
    if not path.is_file():
        raise PluginError(f"The explainer file {path} cannot be read: there is no such file.")
    content = folder.read_bytes(path.resolve(), str(path), bundle.MOST_SOURCE)
    sha256 = hashlib.sha256(content).hexdigest()
    method = hosts.Source(path.name, content, class_name, sha256)
    try:
        host = hosts.Host(method, connection.Allowance(_SECONDS, _SECONDS, _GIB))
    except connection.WorkerError as error:
        raise faults_of_bundles.FaultError(error.name, str(path), error.detail) from error
    stack.callback(host.close)
    return proxy.enter(host, catalogue, str(path)).name


def _manifest(
    source: tuple[Path, str],
    entry: entries.Entry[explainers.Explainer],
    board: rules.Rules,
    names: tuple[str, str],
) -> tuple[bytes, manifest.Manifest]:
    """Return the plugin's file and the manifest, before anything is computed for them."""
    path, class_name = source
    if issubclass(entry.plugin, explainers.Control):
        raise PluginError(f"{entry.name!r} is a Control, which explains no model.")
    content = folder.read_bytes(path.resolve(), str(path), bundle.MOST_SOURCE)
    card = manifest.Manifest.of(
        suite=board.suite.version,
        suite_sha256=board.sha256,
        title=names[0],
        explainer=entry.name,
        class_name=class_name,
        source=path.name,
        source_sha256=entry.source_sha256,
        submitter=names[1],
        files={},
    )
    faults = screening.screen(content, str(path))
    own = entry.plugin.family, entry.plugin.version
    # The method itself is in the catalogue of the run.
    built_in = catalogues.Catalogue().explainers.names
    for fault, detail in (*naming.name_faults(card, built_in), *plausibility.method_faults(*own)):
        faults.append(faults_of_bundles.Fault(fault, str(path), detail))
    if faults:
        raise PluginError(f"{faults[0]}; verify would refuse it.")
    return content, card


def _published(
    finished: Sequence[cells.Record], plan: plans.Plan, board: rules.Rules, card: manifest.Manifest
) -> list[tuple[records.PublishedRecord, bytes | None]]:
    (entry,) = plan.explainers.values()
    published = []
    for record in finished:
        protocol = plan.protocols[record.names.protocol].plugin
        scale, faults = from_plugins.scale_of(protocol), from_plugins.faults_of(protocol, record)
        section = board.suite.section_of(record.names.cohort)
        try:
            method = from_plugins.method_of(entry.plugin, card.title)
            by = board.pseudonyms, card.submitter
            sealed = records.publish(record, method, scale, *by, joins=section, faults=faults)
        except ValidationError as error:
            cell = f"{record.names.model} × {record.names.protocol}"
            raise fields.schema_fault(error, cell) from error
        published.append(sealed)
    return published
