"""``cohort init``, ``inspect``, ``export``, ``corrupt``: made of a folder, looked at, written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark import cohort as cohorts
from benchmark.commands import cohort_corrupt, cohort_tables, options, tables, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.errors import InputError
from benchmark.plugins import catalogue as catalogues
from benchmark.plugins import cohort_checks
from benchmark.records import files
from benchmark.report.figures import contact_sheet, style
from benchmark.results.cohort import overview as overviews
from benchmark.results.cohort import remarks

app = typer.Typer(
    help="Bring a folder of images, look at a cohort, or write it as NIfTI files.",
    no_args_is_help=True,
)
_SHEET = "contact_sheet"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write. Default: cohort.toml in the folder.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Propose a cohort.toml for a folder of images, and say what could not be decided."""
    with exit_on_error("Stopped; nothing was written."):
        errors = terminal.make_console(stderr=True, quiet=quiet)
        console, notes = terminal.make_console(), terminal.make_console(quiet=quiet)
        with errors.status(f"looking at {folder}") as status:
            written = catalogues.cohort_proposal().write_proposal(folder, out, status.update)
        cohort_tables.print_proposal(console, written)
        cohort_tables.print_written(notes, written)
        if not written.is_complete:
            return
        try:
            with errors.status(f"reading the images of {folder}"):
                overview = overviews.describe_cohort(*_load(str(written.toml_path)))
        except InputError as error:
            tables.print_sentences(console, ["", f"It cannot be read yet. {error}"])
            return
        cohort_tables.print_overview(console, overview)


@app.command()
def inspect(
    name: options.NamedCohort,
    out: Annotated[
        Path | None,
        typer.Option(help=f"Folder of the contact sheet. Default: {options.COHORTS}/NAME."),
    ] = None,
    json_file: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Say what a cohort holds and lacks, and draw twelve of its images with every mask."""
    with exit_on_error("Stopped; nothing was written."):
        if json_file is not None:
            files.check_file(json_file)
        with terminal.make_console(stderr=True, quiet=quiet).status(f"reading {name}"):
            cohort, stored = _load(name)
            overview = overviews.describe_cohort(cohort, stored)
        folder = out or options.COHORTS / (re.sub(r"[^\w.+-]+|^\.+", "_", cohort.name) or "_")
        files.check_folder(folder)
        console, notes = terminal.make_console(), terminal.make_console(quiet=quiet)
        cohort_tables.print_overview(console, overview)
        tables.print_sentences(console, cohort_checks.remark_on(cohort))
        if json_file is not None:
            files.write_text(json_file, remarks.to_json(overview))
        rows = contact_sheet.choose_subjects(cohort)
        sheet = style.save_print(contact_sheet.draw_contact_sheet(cohort, rows), folder / _SHEET)
        terminal.print_lines(notes, [f"contact sheet: {sheet}"])


@app.command()
def export(name: options.NamedCohort, out: options.Out, quiet: options.Quiet = False) -> None:
    """Write a cohort as NIfTI files with a cohort.toml."""
    with exit_on_error():
        cohort = cohort_checks.load_cohort(catalogues.Catalogue().cohorts.find(name))
        path = catalogues.cohort_writer()(cohort, out)
        lines = [f"cohort: {path}"]
        if lost := _unwritten(cohort):
            lines.append(f"not written, since files have no place for them: {', '.join(lost)}")
        terminal.print_lines(terminal.make_console(quiet=quiet), lines)


app.command()(cohort_corrupt.corrupt)


def _unwritten(cohort: cohorts.Cohort) -> list[str]:
    """Return what a cohort knows of its images that no ``cohort.toml`` can say."""
    known = {
        "poses": cohort.geometry.poses is not None,
        "partners": cohort.partners is not None,
        "normals": cohort.normals is not None,
        "sources": bool(cohort.sources),
    }
    return [part for part, is_known in known.items() if is_known]


def _load(name: str) -> Any:  # noqa: ANN401 - a cohort, and what its files held or None
    """Return a cohort and, where it comes from files, what they held before they were scaled."""
    entry = catalogues.Catalogue().cohorts.find(name)
    source: Any = entry.create()
    if hasattr(source, "load_with_findings"):
        with entry.loading():
            return source.load_with_findings()
    return cohort_checks.load_cohort(entry), None
