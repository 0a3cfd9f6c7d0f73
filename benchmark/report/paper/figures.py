"""Draws the figures that are declared, in parts of as many sections as fit side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib

from benchmark.report.paper.bands.canvas import ONE_COLUMN, STYLE, TWO_COLUMNS, Canvas, new_canvas
from benchmark.report.paper.bands.curves import draw_curves, measure_curves
from benchmark.report.paper.bands.images import draw_images, measure_images
from benchmark.report.paper.bands.matrix import draw_matrix, measure_matrix, width_of_matrix
from benchmark.report.paper.bands.rows import columns_of, draw_rows, measure_rows
from benchmark.report.paper.bands.scatter import draw_scatter, measure_scatter
from benchmark.report.paper.bands.view import View
from benchmark.report.paper.evidence import Evidence
from benchmark.report.paper.sections import Section, panels_of
from benchmark.report.paper.specification import (
    Band,
    Curves,
    FigureSpecification,
    Images,
    Matrix,
    Rows,
    Scatter,
)
from benchmark.report.paper.values import Value

_MOST_COLUMNS = {"rows": 6, "others": 3}
_BETWEEN = 3.5  # mm, of bands


@dataclass(frozen=True)
class PaperFigure:
    """A figure, or a part of one that has too many sections for a page.

    Attributes:
        specification: Specification of the figure.
        part: Number of the part, from 1; 0 where there is one alone.
        view: View of its sections and values.
        bands: Bands of the figure that have values, from the top.
    """

    specification: FigureSpecification
    part: int
    view: View
    bands: tuple[Band, ...]

    @property
    def stem(self) -> str:
        """Name of its files without an ending."""
        own = f"figure_{self.specification.number}_{self.specification.name}"
        return f"{own}_part_{self.part}" if self.part else own


def make_figures(evidence: Evidence, specification: FigureSpecification) -> list[PaperFigure]:
    """Return a declared figure in its parts; none where there are no values for it."""
    values = evidence.values_of(specification)
    whole = View(evidence.sections, values, evidence.highlighted, TWO_COLUMNS)
    sections = [
        section
        for section in evidence.sections
        if any(value.section == section and value.estimate is not None for value in values)
    ]
    parts = panels_of(sections, _most_sections(whole, specification))
    figures = []
    for number, own in enumerate(parts, start=1):
        view = _view_of(evidence, values, own, specification)
        bands = tuple(band for band in specification.bands if measure(view, band))
        if bands:
            figures.append(PaperFigure(specification, number if len(parts) > 1 else 0, view, bands))
    return figures


def draw(figure: PaperFigure) -> Canvas:
    """Return the figure, drawn; a letter stands before each of several bands."""
    with matplotlib.rc_context(STYLE):
        heights = [measure(figure.view, band) for band in figure.bands]
        total = sum(heights) + _BETWEEN * (len(heights) - 1) + 1.5
        canvas, top = new_canvas(figure.view.width, total), 1.0
        for index, (band, height) in enumerate(zip(figure.bands, heights, strict=True)):
            if len(figure.bands) > 1:
                canvas.letter(top, "abcdefgh"[index])
            _drawing(canvas, top, figure.view, band)
            top += height + _BETWEEN
        return canvas


def measure(view: View, band: Band) -> float:
    """Return the height of a band in mm; 0 where it has no values."""
    match band:
        case Rows():
            return measure_rows(view, band)
        case Curves():
            return measure_curves(view, band)
        case Matrix():
            return measure_matrix(view, band)
        case Scatter():
            return measure_scatter(view, band)
        case Images():
            return measure_images(view)


def _drawing(canvas: Canvas, top: float, view: View, band: Band) -> None:
    match band:
        case Rows():
            draw_rows(canvas, top, view, band)
        case Curves():
            draw_curves(canvas, top, view, band)
        case Matrix():
            draw_matrix(canvas, top, view, band)
        case Scatter():
            draw_scatter(canvas, top, view, band)
        case Images():
            draw_images(canvas, top, view)


def _view_of(
    evidence: Evidence,
    values: Sequence[Value],
    sections: tuple[Section, ...],
    specification: FigureSpecification,
) -> View:
    own = tuple(value for value in values if value.section in sections)
    view = View(sections, own, evidence.highlighted, ONE_COLUMN, evidence.examples)
    is_narrow = len(sections) == 1 and _width_of_squares(view, specification, 1) <= ONE_COLUMN
    return view if is_narrow else replace(view, width=TWO_COLUMNS)


def _width_of_squares(view: View, specification: FigureSpecification, sections: int) -> float:
    """Return the width in mm that the squares of numbers of a figure need; 0 without any."""
    squares = [band for band in specification.bands if isinstance(band, Matrix)]
    return max((width_of_matrix(view, band, sections) for band in squares), default=0.0)


def _most_sections(view: View, specification: FigureSpecification) -> int:
    rows = [band for band in specification.bands if isinstance(band, Rows)]
    columns = max((len(columns_of(view, band)) for band in rows), default=1)
    most = max(1, min(_MOST_COLUMNS["rows"] // max(1, columns), _MOST_COLUMNS["others"]))
    while most > 1 and _width_of_squares(view, specification, most) > TWO_COLUMNS:
        most -= 1
    return most
