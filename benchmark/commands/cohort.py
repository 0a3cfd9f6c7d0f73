"""``cohort export``, ``inspect`` and ``corrupt``: a cohort as files, what it holds, and damaged."""

from __future__ import annotations

import typer

from benchmark.commands import cohort_corrupt, options, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.plugins import catalogue as catalogues
from benchmark.plugins import cohort_checks

app = typer.Typer(help="Look at a cohort, or write it as NIfTI files.", no_args_is_help=True)
app.command()(cohort_corrupt.corrupt)


@app.command()
def export(name: options.NamedCohort, out: options.Out) -> None:
    """Write a cohort as NIfTI files with a cohort.toml."""
    with exit_on_error():
        cohort = cohort_checks.load_cohort(catalogues.Catalogue().cohorts.find(name))
        path = catalogues.cohort_writer()(cohort, out)
        terminal.print_lines(terminal.make_console(), [f"cohort: {path}"])


@app.command()
def inspect(name: options.NamedCohort) -> None:
    """Say what a cohort holds."""
    with exit_on_error():
        cohort = cohort_checks.load_cohort(catalogues.Catalogue().cohorts.find(name))
        terminal.make_console().print(terminal.cohort_table(cohort))
