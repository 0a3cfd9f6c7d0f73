"""What ``cohort`` says on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from benchmark.commands import terminal
from benchmark.commands.tables import Column, FittedTable, print_sentences
from benchmark.results.cohort import remarks
from benchmark.results.cohort.overview import CohortOverview, MaskOverview


def print_overview(console: Console, overview: CohortOverview) -> None:
    """Print what a cohort holds, what it lacks and what may mislead."""
    console.print(terminal.rows_table(f"cohort {overview.name}", dict(_rows(overview))))
    console.print(_sizes_table(overview))
    console.print(_masks_table(overview))
    if overview.covariates:
        console.print(_covariates_table(overview))
    for title, sentences in (
        ("Look at this first:", remarks.find_suspicions(overview)),
        ("Missing:", remarks.find_gaps(overview)),
    ):
        if sentences:
            print_sentences(console, [title, *(f"• {sentence}" for sentence in sentences)])


def _rows(overview: CohortOverview) -> Iterator[tuple[str, str]]:
    yield "subjects", str(overview.subjects)
    fewest, most = overview.visits
    visits = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    yield "images", f"{overview.images}, {visits} of each subject"
    yield "shape", " × ".join(map(str, overview.shape))
    yield "spacing", f"{' × '.join(f'{size:.4g}' for size in overview.spacing)} mm"
    yield "axes run towards", _describe_axes(overview)
    space = "registered" if overview.registered else "not registered"
    lie = "one affine for all" if overview.shares_affine else "an affine for each image"
    pose = ", a pose of each image in a common space" if overview.has_poses else ""
    yield "space", f"{space}, {lie}{pose}"
    if overview.has_partners:
        yield "partners", "the image of each subject with the other group's anatomy"
    if overview.has_normals:
        yield "normals", "the image of each subject with regions of normal volume"
    if overview.sources:
        yield "sources", ", ".join(overview.sources)
    if (stored := overview.intensities) is not None:
        yield "values in the files", f"{stored.low:.6g} to {stored.high:.6g}"
        yield (
            "clipped",
            f"{stored.below:.1%} of the foreground below the window, {stored.above:.1%} above",
        )
    yield "truth", ", ".join(overview.truth) or "none"
    yield "fingerprint", overview.fingerprint


def _describe_axes(overview: CohortOverview) -> str:
    names = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "head", "I": "feet"}
    letters = overview.orientation
    if letters is None:
        return "unknown"
    return f"{letters} ({', '.join(names.get(letter, '?') for letter in letters)})"


def _sizes_table(overview: CohortOverview) -> FittedTable:
    groups = (Column(name, "number") for name in overview.group_names)
    table = FittedTable([Column("split", "title"), *groups], "subjects by split (images)")
    for split, sizes in overview.sizes.items():
        images = overview.images_by_split[split]
        cells = [f"{size} ({count})" for size, count in zip(sizes, images, strict=True)]
        table.add_row(split, *cells)
    return table


def _masks_table(overview: CohortOverview) -> FittedTable:
    unit = "mm³" if len(overview.shape) == 3 else "mm²"
    numbers = (Column(name, "number") for name in ("mean", "range", "outside", "AUROC"))
    table = FittedTable(
        [Column("mask", "title"), Column("kind"), *numbers],
        f"masks, sizes in {unit}",
        "outside: share of its voxels that lie outside the foreground. "
        "AUROC: of its size alone, for the case group.",
    )
    for mask in overview.masks:
        table.add_row(mask.name, *_cells(mask))
    return table


def _cells(mask: MaskOverview) -> tuple[str, ...]:
    span = f"{_size(mask.smallest)} to {_size(mask.largest)}"
    kind = mask.kind.removesuffix(" region")
    return kind, _size(mask.mean), span, f"{mask.outside:.1%}", _auroc(mask.auroc)


def _covariates_table(overview: CohortOverview) -> FittedTable:
    numbers = (Column(name, "number") for name in ("missing", "AUROC", "95 % interval"))
    table = FittedTable(
        [Column("covariate", "title"), Column("kind"), *numbers],
        "covariates",
        "AUROC: of the covariate alone, for the case group. 0.5: no difference between the groups; "
        "0 or 1: the covariate alone tells them apart.",
    )
    for covariate in overview.covariates:
        interval = f"{_auroc(covariate.low)} to {_auroc(covariate.high)}"
        cells = str(covariate.n_missing), _auroc(covariate.auroc), interval
        table.add_row(covariate.name, covariate.kind, *cells)
    return table


def _size(value: float) -> str:
    """Return a size in full from 100 on, with three digits below."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def _auroc(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"


def print_proposal(console: Console, written: Any) -> None:  # noqa: ANN401 - of a package beside this one
    """Print what ``cohort init`` proposes and what it could not decide."""
    console.print(terminal.rows_table("proposed", written.rows))
    for title, sentences in (
        ("Could not be decided:", written.undecided),
        ("Check:", written.guesses),
    ):
        if sentences:
            print_sentences(console, [title, *(f"• {sentence}" for sentence in sentences)])


def print_written(console: Console, written: Any) -> None:  # noqa: ANN401 - of a package beside this one
    """Print what ``cohort init`` wrote, and what to do next."""
    paths = [f"written: {path}" for path in (*written.tables, written.toml_path)]
    terminal.print_lines(console, [*paths, written.advice])
