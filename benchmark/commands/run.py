"""``run``: explainers in, scores, records and a report out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from benchmark.commands import options, tables, terminal
from benchmark.commands import report as reports
from benchmark.commands.exits import DONE, FAILED, NOTHING_MEASURED, exit_on_error
from benchmark.errors import InputError
from benchmark.plugins import catalogue as catalogues
from benchmark.records import record as records
from benchmark.records import store as stores
from benchmark.records.files import check_file, write_text
from benchmark.report import writer
from benchmark.results import health, result, summary
from benchmark.running import allocator, engine
from benchmark.running import device as devices
from benchmark.running import plan as plans
from benchmark.running import suite as suites
from benchmark.running.workers import executor as executors
from benchmark.running.workers import processes
from benchmark.running.workers.cluster import connection
from benchmark.running.workers.cluster import executor as ray_executor


def run(
    explainer: Annotated[
        list[str] | None,
        typer.Option(
            help="Name, 'all', or path/to/file.py:Class; repeatable. Left out where the protocols "
            "ask about the model alone."
        ),
    ] = None,
    model: options.Models = None,
    cohort: options.Cohorts = None,
    protocol: options.Protocols = None,
    suite: options.Suite = "v1",
    device: options.Device = "auto",
    batch_size: options.BatchSize = 64,
    store: options.Store = options.STORE,
    report: Annotated[
        str | None,
        typer.Option(help=f"Folder, or 'none'. [default: {options.REPORT}; none for a shard]"),
    ] = None,
    json_file: options.Json = None,
    shard: Annotated[
        str | None, typer.Option(help="i/N: every N-th method, i from 0 or from 1.")
    ] = None,
    workers: options.Workers = None,
    deadline: options.Deadline = options.DEADLINE,
    engine_name: options.Engine = options.Engines.LOCAL,
    address: options.Address = None,
    fresh: Annotated[bool, typer.Option(help="Measure again what the store holds.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Score explainers; what the store holds already is taken from there."""
    if not explainer and not protocol:
        # Said at once; of protocols that were named, some may ask about the model alone.
        raise typer.BadParameter("Missing option '--explainer'.")
    with exit_on_error():
        with allocator.without_collection():
            executor = _on_cluster(engine_name, address, workers, device)
            # The cluster may have a GPU where this machine has none.
            device_name = "auto" if executor is not None and device == "cuda" else device
            settings = engine.Settings(
                devices.resolve_device(device_name), batch_size, fresh, deadline
            )
            selection = suites.Selection(
                tuple(explainer or ()),
                tuple(cohort or ()),
                tuple(model or ()),
                tuple(protocol or ()),
            )
            chosen = suites.load_suite(suite)
            plan = plans.make_plan(catalogues.Catalogue(), chosen, selection)
        if shard is not None:
            plan = plan.shard(*_parse_shard(shard))
        cells = stores.Store(store)
        folder = reports.report_folder(report, sharded=shard is not None)
        if json_file is not None:
            check_file(json_file)
        cells.prepare()

        wanted = set(plan.explainers) - (set(chosen.health) - set(explainer or ()))
        errors = terminal.make_console(stderr=True, quiet=quiet)
        terminal.print_notices(errors, plan.models.values())
        tables.print_sentences(errors, plan.notices)
        with terminal.Bars(terminal.make_console(stderr=True), quiet) as bars:
            executor = executor or processes.executor_for(plan, len(wanted), settings, workers)
            finished = engine.run(plan, cells, settings, bars, executor)

        protocols = {name: entry.plugin for name, entry in plan.protocols.items()}
        results = summary.summarise_records(finished.records, protocols, json_file is not None)
        console, notes = terminal.make_console(), terminal.make_console(quiet=quiet)
        terminal.print_results(console, results, terminal.controls(plan.explainers.values()))
        judged = health.protocol_health(finished.records, protocols)
        terminal.print_bottom_lines(console, results, judged, protocols)
        terminal.print_conclusions(notes, finished.records, judged, finished.explained, protocols)
        tables.print_sentences(notes, _cost_lines(plan, finished, cells))
        if json_file is not None:
            write_text(json_file, result.to_json(chosen.version, results))
        if folder is not None and finished.records:
            page = writer.write_report(folder, finished.records, finished.explained, protocols)
            terminal.print_lines(notes, [f"report: {page}"])
        raise typer.Exit(_exit_code(finished.records, wanted))


def _on_cluster(
    engine_name: options.Engines, address: str | None, workers: int | None, device: str
) -> executors.Executor | None:
    """Return what measures the cells on a Ray cluster, or None where none was asked for.

    Raises:
        InputError: If Ray is not installed, or no cluster answers.
    """
    if engine_name is not options.Engines.RAY:
        if address is not None:
            raise InputError("`--address` is of a Ray cluster; it goes with `--engine ray`.")
        return None
    resolved = connection.resolve_address(address)
    return ray_executor.RayExecutor(resolved, workers, device)


def _cost_lines(plan: plans.Plan, finished: engine.Finished, store: stores.Store) -> Iterator[str]:
    measured, passes = finished.measured, finished.passes
    published = sum(
        record.names.explainer in plan.for_health
        and record.state != "failed"
        and not store.holds(record.identity_sha256)
        for record in finished.records
    )
    yield (
        f"{measured} cells measured with {passes.forward} forward and {passes.backward} "
        f"backward passes, {len(finished.records) - measured - published} taken from {store.path}"
    )
    if published:
        controls = dict.fromkeys(name for name in plan.explainers if name in plan.for_health)
        yield (
            f"{published} cells of controls ({', '.join(controls)}) taken from the published "
            f"records of suite {plan.suite.version}; --fresh measures them"
        )


def _exit_code(cells: Sequence[records.Record], wanted: set[str]) -> int:
    if any(record.state == "failed" for record in cells):
        return FAILED
    own = [record for record in cells if record.names.explainer in wanted] or cells
    return DONE if any(record.state == "scored" for record in own) else NOTHING_MEASURED


def _parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None:
        raise InputError(f"Expected a shard as i/N, such as 1/4, but got {text!r}.")
    return int(match[1]), int(match[2])
