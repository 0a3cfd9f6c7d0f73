"""Writes the package of a paper: figures, tables, data, captions, methods, checklist, paper.tex."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from benchmark.errors import InputError, StoreError
from benchmark.records.files import hash_files, store_errors
from benchmark.records.identity import sha256_of
from benchmark.report.digest import hash_array
from benchmark.report.folder import MARKER, read_marker, replace_folder
from benchmark.report.paper import tables
from benchmark.report.paper.bands import canvas
from benchmark.report.paper.bands.scatter import Association, associations
from benchmark.report.paper.evidence import Evidence
from benchmark.report.paper.figures import PaperFigure, draw, make_figures
from benchmark.report.paper.specification import FIGURES, Scatter
from benchmark.report.paper.text import latex
from benchmark.report.paper.text.captions import caption_of
from benchmark.report.paper.text.checklist import Item, checklist_of
from benchmark.report.paper.text.markup import to_markdown
from benchmark.report.paper.text.methods import methods_of
from benchmark.report.paper.values import Value
from benchmark.results.table import write_table

CHECKSUMS, KIND = "checksums.txt", "medsanity paper"
_COLUMNS = (
    "cohort",
    "model",
    "method",
    "protocol",
    "statistic",
    "conditions",
    "estimate",
    "low",
    "high",
    "n_subjects",
    "p",
    "p_holm",
    "source",
)
_PACKAGE = Path(__file__).parents[2]
Advanced = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Paper:
    """What was written.

    Attributes:
        tex: Path of paper.tex.
        figures: Figures that were made.
        checklist: Lines of the checklist.
    """

    tex: Path
    figures: tuple[PaperFigure, ...]
    checklist: tuple[Item, ...]


def check_folder(folder: Path) -> None:
    """Refuse a folder that the package cannot take the place of.

    Raises:
        StoreError: If it is a file, holds what ``paper`` has not written, or a file in it was
            changed afterwards.
    """
    target = folder.resolve()
    if read_marker(target, KIND) is None or not (target / CHECKSUMS).is_file():
        return
    path = target / CHECKSUMS
    with store_errors(path):
        lines = [line.split("  ", 1) for line in path.read_text("utf-8").splitlines()]
        for digest, name in (line for line in lines if len(line) == 2):
            file = target / name
            if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                raise StoreError(
                    f"{folder / name} was changed after it was written; choose another folder, or "
                    "move it away."
                )


def write_paper(
    folder: Path, evidence: Evidence, left_out: Sequence[str] = (), advanced: Advanced | None = None
) -> Paper:
    """Write the package, all of it or nothing; the same evidence gives the same bytes.

    Args:
        folder: New, empty, or an earlier package that nobody has changed.
        evidence: All that it is made from.
        left_out: Sentences on records that were not used, for the checklist.
        advanced: Listener that is called with a step, the number of figures drawn, and the number
            of figures.

    Raises:
        InputError: If there is neither a record nor an experiment.
        StoreError: If the folder cannot be written to.
    """
    if not evidence.cells and not evidence.cards:
        raise InputError("There is neither a record nor a finished experiment to write about.")
    check_folder(folder)
    figures = [figure for own in FIGURES for figure in make_figures(evidence, own)]
    checklist = checklist_of(evidence, figures, left_out)
    target = folder.resolve()
    with store_errors(folder), replace_folder(target, _digest(evidence), KIND) as new:
        _write(new, evidence, figures, checklist, advanced)
    return Paper(folder / "paper.tex", tuple(figures), tuple(checklist))


def _write(
    folder: Path,
    evidence: Evidence,
    figures: Sequence[PaperFigure],
    checklist: Sequence[Item],
    advanced: Advanced | None,
) -> None:
    for name in ("figures", "tables", "data"):
        (folder / name).mkdir()
    captions, sizes = {}, {}
    for done, figure in enumerate(figures, start=1):
        drawn = draw(figure)
        canvas.save(drawn, folder / "figures" / figure.stem)
        captions[figure.stem] = caption_of(evidence, figure)
        sizes[figure.stem] = drawn.width, drawn.height
        found = [(band, associations(figure.view, band)) for band in figure.bands
                 if isinstance(band, Scatter)]  # fmt: skip
        _write_text(folder / "data" / f"{figure.stem}.csv", data_of(figure.view.values))
        for _, own in found:
            text = _points_of(own)
            _write_text(folder / "data" / f"{figure.stem}_points.csv", text)
        if advanced is not None:
            advanced("figures drawn", done, len(figures))
    made = [tables.cohort_table(evidence)]
    if evidence.scores():
        made.append(tables.score_table(evidence))
    for table in made:
        texts = {
            "csv": tables.to_csv(table),
            "md": tables.to_markdown_table(table),
            "tex": tables.to_latex_table(table),
        }
        for ending, text in texts.items():
            _write_text(folder / "tables" / f"{table.stem}.{ending}", text)
        _write_text(folder / "data" / f"{table.stem}.csv", data_of(table.values))
    paragraphs = methods_of(evidence)
    _write_text(folder / "captions.md", _captions_page(figures, captions, made))
    _write_text(folder / "methods.md", _methods_page(paragraphs))
    _write_text(folder / "checklist.md", _checklist_page(checklist))
    parts = latex.Parts(
        figures=[(figure, captions[figure.stem], sizes[figure.stem]) for figure in figures],
        tables=[table.stem for table in made],
        methods=paragraphs,
        checklist=checklist,
    )
    _write_text(folder / "paper.tex", latex.paper_tex(parts))
    _write_text(folder / CHECKSUMS, _checksums(folder))


def data_of(values: Iterable[Value]) -> str:
    """Return values as CSV with all of their digits, a line each."""
    return write_table(
        _COLUMNS,
        [
            (
                value.section.cohort,
                value.section.model,
                value.method,
                value.protocol,
                value.statistic,
                "; ".join(f"{name}={condition}" for name, condition in value.conditions),
                value.estimate,
                value.low,
                value.high,
                value.n_subjects,
                value.p,
                value.p_holm,
                value.source,
            )
            for value in values
        ],
    )


def _points_of(found: Sequence[Association]) -> str:
    rows = [
        (one.section.cohort, one.section.model, point.method, point.x, point.y, one.rho, one.p_holm)
        for one in found
        for point in one.points
    ]
    return write_table(("cohort", "model", "method", "x", "y", "rho", "p_holm"), rows)


def _captions_page(
    figures: Sequence[PaperFigure], captions: Mapping[str, str], made: Sequence[tables.PaperTable]
) -> str:
    parts = [
        f"**Table {table.number}.** {to_markdown(f'{table.title}. {table.caption}')}"
        for table in made
    ]
    parts += [
        f"**Figure {figure.specification.number}"
        f"{f', part {figure.part}' if figure.part else ''}.** {to_markdown(captions[figure.stem])}"
        for figure in figures
    ]
    return "# Captions\n\n" + "\n\n".join(parts) + "\n"


def _methods_page(paragraphs: Sequence[tuple[str, str]]) -> str:
    parts = [f"## {heading}\n\n{to_markdown(text)}" for heading, text in paragraphs]
    return "# Methods\n\n" + "\n\n".join(parts) + "\n"


def _checklist_page(items: Sequence[Item]) -> str:
    lines = []
    for item in items:
        lines.append(f"- [{'x' if item.is_done else ' '}] {to_markdown(item.text)}")
        if item.command:
            lines.append(f"  `{item.command.replace('`', '')}`")
    return "# Checklist\n\nWhat was done, and what was not.\n\n" + "\n".join(lines) + "\n"


def _checksums(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}"
        for path in files
    ]
    return "\n".join(lines) + "\n"


def _digest(evidence: Evidence) -> str:
    return sha256_of(
        {
            "engine": hash_files(_PACKAGE),
            "matplotlib": matplotlib.__version__,
            "records": [cell.checksum for cell in evidence.cells],
            "experiments": [card.checksum for card in evidence.cards],
            "highlighted": list(evidence.highlighted),
            "examples": [
                [section.title, *map(hash_array, planes)]
                for section, example in evidence.examples.items()
                for planes in [[tile.over for _, tile in example.tiles if tile.over is not None]]
            ],
        }
    )


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
