"""``gate``: fail a CI where an explanation got worse than its baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, tables, terminal
from benchmark.commands.exits import NO_BASELINE, exit_on_error
from benchmark.errors import InputError
from benchmark.records.files import write_text
from benchmark.running import device as devices
from benchmark.running import engine
from benchmark.running import suite as suites
from leaderboard.gate import baseline as baselines
from leaderboard.gate import measure, outputs
from leaderboard.gate import report as reports

MARGIN = 0.1  # that of leaderboard.gate.decision, whose import takes long


def gate(
    baseline: Annotated[Path, typer.Option(help="Folder of published records, or a store.")],
    explainer: Annotated[
        list[str], typer.Option(help="Name or path/to/file.py:Class; repeatable.")
    ],
    model: options.Models = None,
    cohort: options.Cohorts = None,
    protocol: options.Protocols = None,
    suite: options.Suite = "v1",
    device: options.Device = "auto",
    batch_size: options.BatchSize = 64,
    deadline: options.Deadline = options.DEADLINE,
    store: Annotated[
        Path | None,
        typer.Option(help="Keep finished cells here and take them from here. [default: neither]"),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            help="Largest loss that is no regression, as a share of what a method had above noise; "
            "below 1/3."
        ),
    ] = MARGIN,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write a Markdown summary here.")] = None,
    json_file: options.Json = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write what is measured as the baseline.")
    ] = False,
    reserve: Annotated[
        bool, typer.Option("--reserve", help="With --update-baseline: on more subjects, too.")
    ] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out cells that have no baseline.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare explainers with a baseline, and fail where one got worse."""
    with exit_on_error():
        _check_together(update_baseline, reserve, allow_missing)
        files = {"--summary": summary, "--junit": junit, "--json": json_file}
        outputs.check_all(files, update_baseline, [baseline, store])
        selection = suites.Selection(
            tuple(explainer), tuple(cohort or ()), tuple(model or ()), tuple(protocol or ())
        )
        settings = engine.Settings(devices.resolve_device(device), batch_size, deadline=deadline)
        request = measure.Request(
            baseline, suites.load_suite(suite), selection, settings, store, margin, allow_missing
        )
        try:
            with terminal.Bars(terminal.make_console(stderr=True), quiet) as bars:
                if update_baseline:
                    lines, code = measure.update(request, reserve, bars)
                else:
                    report = measure.compare(request, bars)
        except baselines.NoBaselineError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(NO_BASELINE) from error
        if not update_baseline:
            writers = reports.to_markdown, reports.to_junit, reports.to_json
            for path, write in zip((summary, junit, json_file), writers, strict=True):
                if path is not None:
                    write_text(path, write(report))
            lines, code = reports.lines(report), reports.exit_code(report)
        # A baseline that was written is no result.
        console = terminal.make_console(quiet=quiet and update_baseline)
        tables.print_sentences(console, lines)
        raise typer.Exit(code)


def _check_together(update_baseline: bool, reserve: bool, allow_missing: bool) -> None:
    """Refuse what cannot go together before anything is measured."""
    if reserve and not update_baseline:
        raise InputError(
            "--reserve goes with --update-baseline; a gate uses the larger sample where it finds "
            "a baseline of it."
        )
    if allow_missing and update_baseline:
        raise InputError("--allow-missing goes with a comparison, not with --update-baseline.")
