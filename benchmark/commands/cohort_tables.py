"""What ``cohort`` says on the terminal, in tables that fit 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.commands import terminal
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
            console.print(Text(title))
            console.print(_list(sentences))


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


def _sizes_table(overview: CohortOverview) -> Table:
    table = Table(title="subjects by split (images)", title_justify="left")
    table.add_column("split")
    for name in overview.group_names:
        table.add_column(Text(name, overflow="fold"), justify="right")
    for split, sizes in overview.sizes.items():
        images = overview.images_by_split[split]
        cells = [f"{size} ({count})" for size, count in zip(sizes, images, strict=True)]
        table.add_row(split, *cells)
    return table


def _masks_table(overview: CohortOverview) -> Table:
    unit = "mm³" if len(overview.shape) == 3 else "mm²"
    table = Table(title=f"masks, sizes in {unit}", title_justify="left")
    table.add_column("mask", overflow="fold", ratio=1)
    for name in ("kind", "mean", "range", "outside", "AUROC"):
        table.add_column(name, justify="left" if name == "kind" else "right", no_wrap=True)
    for mask in overview.masks:
        table.add_row(Text(mask.name), *_cells(mask))
    table.caption = (
        "outside: share of its voxels that lie outside the foreground. "
        "AUROC: of its size alone, for the case group."
    )
    table.caption_justify = "left"
    return table


def _cells(mask: MaskOverview) -> tuple[str, ...]:
    span = f"{_size(mask.smallest)} to {_size(mask.largest)}"
    kind = mask.kind.removesuffix(" region")
    return kind, _size(mask.mean), span, f"{mask.outside:.1%}", _auroc(mask.auroc)


def _covariates_table(overview: CohortOverview) -> Table:
    table = Table(title="covariates", title_justify="left")
    table.add_column("covariate", overflow="fold")
    for name in ("kind", "missing", "AUROC", "95 % interval"):
        table.add_column(name, justify="left" if name == "kind" else "right", no_wrap=True)
    for covariate in overview.covariates:
        interval = f"{_auroc(covariate.low)} to {_auroc(covariate.high)}"
        cells = str(covariate.n_missing), _auroc(covariate.auroc), interval
        table.add_row(Text(covariate.name), covariate.kind, *cells)
    table.caption = (
        "AUROC: of the covariate alone, for the case group. 0.5: no difference between the groups; "
        "0 or 1: the covariate alone tells them apart."
    )
    table.caption_justify = "left"
    return table


def _list(sentences: tuple[str, ...]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(overflow="fold")
    for sentence in sentences:
        table.add_row("•", Text(sentence))
    return table


def _size(value: float) -> str:
    """Return a size in full from 100 on, with three digits below."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def _auroc(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"


def print_proposal(console: Console, written: Any) -> None:  # noqa: ANN401 - of a package beside this one
    """Print what ``cohort init`` proposes, what it could not decide, and what it wrote."""
    console.print(terminal.rows_table("proposed", written.rows))
    for title, sentences in (
        ("Could not be decided:", written.undecided),
        ("Check:", written.guesses),
    ):
        if sentences:
            console.print(Text(title))
            console.print(_list(sentences))
    paths = [f"written: {path}" for path in (*written.tables, written.toml_path)]
    terminal.print_lines(console, [*paths, written.advice])
