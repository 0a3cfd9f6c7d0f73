"""A figure in millimetres: its style, its two files, and boxes that are placed from its top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures.style import INK, MUTED, PRINT_DPI

ONE_COLUMN, TWO_COLUMNS = 85.0, 174.0  # mm, as most journals print
CHARACTER = 1.46  # mm, of 7-point text
LINE = 3.5  # mm, between lines of it
_INCH = 25.4

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine has it
    "font.size": 7.0,
    "axes.titlesize": 7.0,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#8a8a8a",
    "ytick.color": "#8a8a8a",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.pad": 1.5,
    "ytick.major.pad": 1.5,
    "axes.labelpad": 2.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    # Names come from plugins and files: a dollar sign in one is no formula.
    "text.parse_math": False,
    # TrueType, which journals ask for: fonts are embedded, and text can be searched.
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "medsanity paper",
}
_PDF = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
_SVG = {"Date": None, "Creator": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Canvas:
    """A figure whose parts are placed in millimetres from its upper left corner.

    Attributes:
        figure: The figure.
        width: Width of the canvas.
        height: Height of the canvas.
    """

    figure: Figure
    width: float
    height: float

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes of a size at a place."""
        share = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        return self.figure.add_axes(share)

    def text(self, left: float, top: float, text: str, **style: Any) -> None:  # noqa: ANN401 # of matplotlib
        """Write a text whose upper left corner is at a place, unless the style says otherwise."""
        place = {"ha": "left", "va": "top", "color": INK, **style}
        self.figure.text(left / self.width, 1 - top / self.height, text, **place)

    def letter(self, top: float, letter: str) -> None:
        """Write the letter of a band at the left."""
        self.text(0.8, top, letter, fontweight="bold", fontsize=8)


def legend_lines(labels: list[str], width: float) -> list[list[int]]:
    """Return which labels stand in each line of a legend of that width, by their index."""
    lines: list[list[int]] = [[]]
    used = 0.0
    for index, label in enumerate(labels):
        size = entry_width(label)
        if lines[-1] and used + size > width:
            lines.append([])
            used = 0.0
        lines[-1].append(index)
        used += size
    return lines


def entry_width(label: str) -> float:
    """Return the width of a label with its mark in a legend."""
    return 7.0 + CHARACTER * len(label) + 2.5


def draw_legend(
    canvas: Canvas, left: float, top: float, width: float, entries: Mapping[str, dict[str, Any]]
) -> float:
    """Draw a legend, line by line, and return its height.

    Args:
        canvas: The figure.
        left: Left end.
        top: Upper end.
        width: Width that it may have.
        entries: Style of the mark, as ``Axes.plot`` takes it, by label.
    """
    labels = list(entries)
    lines = legend_lines(labels, width)
    height = LINE * len(lines)
    axes = canvas.axes(left, top, width, height)
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    for number, line in enumerate(lines):
        x = 0.0
        for index in line:
            label, y = labels[index], LINE * (number + 0.5)
            axes.plot([x + 0.5, x + 3, x + 5.5], [y, y, y], markevery=[1], **entries[label])
            axes.text(x + 7.0, y, label, va="center_baseline", color=INK)
            x += entry_width(label)
    return height


def new_canvas(width: float, height: float) -> Canvas:
    """Return an empty figure of a size."""
    return Canvas(Figure(figsize=(width / _INCH, height / _INCH)), width, height)


def save(canvas: Canvas, stem: Path) -> tuple[Path, Path]:
    """Write a figure as PDF and SVG, the same bytes each time, and return their paths."""
    pdf, svg = Path(f"{stem}.pdf"), Path(f"{stem}.svg")
    with matplotlib.rc_context(STYLE):
        canvas.figure.savefig(pdf, dpi=PRINT_DPI, metadata=_PDF)
        canvas.figure.savefig(svg, dpi=PRINT_DPI, metadata=_SVG)
    return pdf, svg


def note(canvas: Canvas, left: float, top: float, text: str) -> None:
    """Write a note in grey, centred at a place."""
    canvas.text(left, top, text, ha="center", color=MUTED)
