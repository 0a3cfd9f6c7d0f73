"""``gate``: fail a CI where an explanation got worse than its baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.exits import (
    NO_BASELINE,
    exit_on_error,
)
from benchmark.errors import InputError
from benchmark.records.files import check_file, write_text
from leaderboard.gate.baseline import NoBaselineError
from leaderboard.gate.measure import Request, compare, update

if TYPE_CHECKING:
    from leaderboard.gate.report import Report

MARGIN = 0.02


def gate(
    baseline: Annotated[Path, typer.Option(help="Folder of published records, or a store.")],
    explainer: Annotated[
        list[str], typer.Option(help="Name or path/to/file.py:Class; repeatable.")
    ],
    model: Annotated[list[str] | None, typer.Option(help="Default: the suite's.")] = None,
    cohort: Annotated[
        list[str] | None, typer.Option(help="Name or path/to/cohort.toml. Default: the suite's.")
    ] = None,
    protocol: Annotated[list[str] | None, typer.Option(help="Default: the suite's.")] = None,
    suite: Annotated[str, typer.Option(help="Version or path of a .toml file.")] = "v1",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = 64,
    store: Annotated[
        Path | None,
        typer.Option(help="Keep finished cells here and take them from here. [default: neither]"),
    ] = None,
    margin: Annotated[
        float, typer.Option(help="Largest drop of a score that is no regression.")
    ] = MARGIN,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    summary: Annotated[Path | None, typer.Option(help="Write a Markdown summary here.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the results here.")
    ] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write what is measured as the baseline.")
    ] = False,
    reserve: Annotated[
        bool, typer.Option("--reserve", help="With --update-baseline: on more subjects, too.")
    ] = False,
) -> None:
    """Compare explainers with a baseline, and fail where one got worse."""
    with exit_on_error():
        from benchmark.commands import terminal
        from benchmark.running import engine
        from benchmark.running.device import resolve_device
        from benchmark.running.suite import Selection, load_suite
        from leaderboard.gate.report import exit_code

        outputs = {"markdown": summary, "junit": junit, "json": json_file}
        _check(outputs, update_baseline, reserve)
        selection = Selection(
            tuple(explainer), tuple(cohort or ()), tuple(model or ()), tuple(protocol or ())
        )
        settings = engine.Settings(resolve_device(device), batch_size)
        request = Request(baseline, load_suite(suite), selection, settings, store, margin)
        console, report = terminal.make_console(), None
        try:
            with terminal.Bars(terminal.make_console(stderr=True)) as bars:
                if update_baseline:
                    told, code = update(request, reserve, bars)
                else:
                    report = compare(request, bars)
        except NoBaselineError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(NO_BASELINE) from error
        if report is not None:
            told, code = _tell(report, outputs), exit_code(report)
        terminal.print_lines(console, told)
        raise typer.Exit(code)


def _check(outputs: dict[str, Path | None], update_baseline: bool, reserve: bool) -> None:
    """Refuse what cannot go together before anything is measured."""
    if reserve and not update_baseline:
        raise InputError(
            "--reserve goes with --update-baseline; a gate uses the larger sample where it finds "
            "a baseline of it."
        )
    for path in outputs.values():
        if path is None:
            continue
        if update_baseline:
            raise InputError(f"--update-baseline decides nothing, so {path} cannot be written.")
        check_file(path)


def _tell(report: Report, outputs: dict[str, Path | None]) -> list[str]:
    from leaderboard.gate import report as gate_report

    writers = {
        "markdown": gate_report.to_markdown,
        "junit": gate_report.to_junit,
        "json": gate_report.to_json,
    }
    for kind, path in outputs.items():
        if path is not None:
            write_text(path, writers[kind](report))
    return gate_report.lines(report)
