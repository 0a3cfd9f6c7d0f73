"""The style that all figures share: colours, fonts, limits, and files that are the same bytes."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol

import matplotlib
from matplotlib.figure import Figure

P = ParamSpec("P")
Limits = tuple[float, float]

DPI = 110
PRINT_DPI = 300
# Pixels of the printed file along one of the page's. A whole number keeps every pixel of an image
# the same size, so the print is 10 % larger than 300 / 110 would make it.
_PRINT_SCALE = 3
WIDTH = 10.0  # inches
CHARACTER = 0.066  # inches, of 8-point text
INK, MUTED, CHANCE = "#222222", "#666666", "#b3261e"
# Okabe & Ito (2008): told apart with any colour vision, and in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
GREYS = ("#767676", "#a8a8a8", "#cfcfcf", "#5a5a5a")
# What greys and colours become on a dark screen: as far from its background as they are from white.
DARK = {
    "#ffffff": "#14171b",
    INK: "#e6e9ed",
    MUTED: "#a4adb8",
    "#8a8a8a": "#7d8792",
    "#e6e6e6": "#2c323a",
    "#bdbdbd": "#4d5661",
    "#767676": "#9aa3ad",
    "#a8a8a8": "#7a838d",
    "#cfcfcf": "#525b65",
    "#5a5a5a": "#c3cad2",
    CHANCE: "#ff8f87",
    "#0072b2": "#5c9bf2",
    "#d55e00": "#f06910",
    "#009e73": "#31fdb2",
    "#cc79a7": "#c06180",
    "#56b4e9": "#abecfb",
}

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.color": "#8a8a8a",
    "ytick.color": "#8a8a8a",
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    # Names come from plugins and files: a dollar sign in one is no formula.
    "text.parse_math": False,
    "svg.hashsalt": "medsanity",
    "svg.fonttype": "path",
}
BETWEEN, BELOW = 0.34, 0.52  # inches, under a row and under the last
# The usual level, 6, takes half as long again for files that are a tenth smaller.
_COMPRESSION = {"compress_level": 3}
# The page carries every figure inside, and a date or a version would make equal figures differ.
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


class Spread(Protocol):
    """An estimate with its limits, any of which may not exist."""

    @property
    def estimate(self) -> float | None:
        """Value."""

    @property
    def low(self) -> float | None:
        """Lower limit."""

    @property
    def high(self) -> float | None:
        """Upper limit."""


def styled(maker: Callable[Concatenate[Figure, P], None]) -> Callable[P, Figure]:
    """Turn a function that fills a figure, its first argument, into one that returns the figure.

    It has the report's style. ``Figure`` objects are used directly, never pyplot, so no global
    state is touched.
    """

    def make(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):
            figure = Figure(figsize=(WIDTH, WIDTH))
            maker(figure, *args, **kwargs)
            return figure

    make.__doc__ = maker.__doc__
    return make


def save(figure: Figure, stem: Path) -> tuple[Path, Path]:
    """Write a ``styled`` figure as PNG and SVG, the same bytes each time, and return their paths.

    ``stem`` is the path of both without an ending.
    """
    png, svg = Path(f"{stem}.png"), Path(f"{stem}.svg")
    with matplotlib.rc_context(_STYLE):
        figure.savefig(png, dpi=DPI, metadata={"Software": None}, pil_kwargs=_COMPRESSION)
    svg.write_bytes(write_svg(figure))
    return png, svg


def write_svg(figure: Figure) -> bytes:
    """Return a ``styled`` figure as SVG, the same bytes each time."""
    svg = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(svg, format="svg", dpi=DPI, metadata=_NO_METADATA)
    return svg.getvalue()


def save_print(figure: Figure, stem: Path) -> Path:
    """Write a ``styled`` figure as PNG for print at 300 dpi, and return its path.

    ``stem`` is the path without an ending.
    """
    png = Path(f"{stem}.png")
    with matplotlib.rc_context(_STYLE):
        figure.savefig(
            png,
            dpi=_PRINT_SCALE * DPI,
            metadata={"Software": None},
            pil_kwargs={"dpi": (PRINT_DPI, PRINT_DPI), **_COMPRESSION},
        )
    return png


def limits(values: Iterable[float], margin: float) -> Limits:
    """Return the range of the finite values, widened by a share of it on both sides."""
    known = [value for value in values if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def extent(points: Iterable[Spread]) -> list[float]:
    """Return every number of the estimates and their intervals."""
    numbers = (number for point in points for number in (point.low, point.estimate, point.high))
    return [number for number in numbers if number is not None]


def span(point: Spread) -> tuple[float, float, float]:
    """Return low, estimate and high; the estimate stands in for limits that do not exist."""
    estimate = known(point.estimate)
    return known(point.low, estimate), estimate, known(point.high, estimate)


def known(value: float | None, otherwise: float = math.nan) -> float:
    """Return the value, or ``otherwise`` where there is none."""
    return otherwise if value is None else value


def wrap_name(text: str, characters: int) -> str:
    """Return a name broken behind underscores, or anywhere if need be, into at most three lines."""
    # At spaces alone, since `split()` would take no-break spaces too.
    parts = re.findall(r"[^_ ]*[_ ]|[^_ ]+", text)
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part.rstrip(" ")) > characters:
            lines.append("")
        lines[-1] += part
    lines = [line.strip(" ") for line in lines]
    broken = [piece for line in lines for piece in textwrap.wrap(line, characters) or [line]]
    return "\n".join(
        broken if len(broken) <= 3 else [*broken[:2], shorten(broken[2] + "…", characters)]
    )


def shorten(text: str, characters: int) -> str:
    """Return a text that ends in an ellipsis where it is longer than that many characters."""
    return text if len(text) <= characters else text[: characters - 1] + "…"
