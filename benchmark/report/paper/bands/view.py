"""What every band of a figure is drawn from, and how methods look in all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.report.figures.style import COLOURS, GREYS, limits
from benchmark.report.paper.examples import Example
from benchmark.report.paper.sections import Section
from benchmark.report.paper.values import Choice, Value
from benchmark.results.scores import CONTROLS, INFORMED, ORACLE, RANDOM

MARKERS = ("o", "D", "^", "s", "v")
OTHERS, OTHER_CONTROLS = "other methods", "other controls"
_OTHER_COLOUR = "#c9c9c9"


@dataclass(frozen=True)
class View:
    """A figure, or a part of one, before it is drawn.

    Attributes:
        sections: Sections side by side.
        values: Values of these sections.
        highlighted: Methods that are drawn in colour where there are many lines.
        width: Width of the figure in mm.
        examples: Test subject of each section whose maps were kept.
    """

    sections: tuple[Section, ...]
    values: tuple[Value, ...]
    highlighted: tuple[str, ...]
    width: float
    examples: Mapping[Section, Example] = field(default_factory=dict)
    _chosen: dict[Choice, list[Value]] = field(default_factory=dict, compare=False, repr=False)

    def chosen(self, choice: Choice, section: Section | None = None) -> list[Value]:
        """Return the values of a choice that exist, of one section or of all."""
        if choice not in self._chosen:
            known = [value for value in self.values if value.estimate is not None]
            self._chosen[choice] = [value for value in known if choice.matches(value)]
        own = self._chosen[choice]
        return [value for value in own if section is None or value.section == section]

    def style_of(self, method: str) -> dict[str, Any]:
        """Return how the line and the mark of a method look."""
        if method in self.highlighted:
            number = self.highlighted.index(method)
            return {
                "color": COLOURS[number],
                "marker": MARKERS[number],
                "markersize": 3.2,
                "linewidth": 1.1,
                "zorder": 4,
            }
        if method in (ORACLE, RANDOM):
            dashes = "-" if method == ORACLE else (0, (3, 2))
            return {"color": GREYS[3], "linestyle": dashes, "linewidth": 1.0, "zorder": 3}
        if method in (*CONTROLS, OTHER_CONTROLS):
            return {"color": GREYS[0], "linestyle": (0, (1, 1.5)), "linewidth": 0.8, "zorder": 2.4}
        return {"color": _OTHER_COLOUR, "linewidth": 0.6, "zorder": 2}


def order_methods(values: Iterable[Value]) -> list[str]:
    """Return methods by the mean of their values, the largest first; controls come last."""
    by_method: dict[str, list[float]] = {}
    for value in values:
        by_method.setdefault(value.method, []).append(value.estimate or 0.0)
    means = {name: math.fsum(own) / len(own) for name, own in by_method.items()}
    return sorted(means, key=lambda name: (name in CONTROLS, -means[name], name))


def signed(number: float) -> str:
    """Return a number with two decimals, a true minus sign, and no minus before zero."""
    return f"{round(number, 2) + 0.0:.2f}".replace("-", "−")


def axis_limits(values: Sequence[Value], chance: float = 0.0) -> tuple[float, float]:
    """Return the ends of an axis that shows chance; the truth may lie beyond its ends."""
    methods = [value for value in values if value.method not in INFORMED] or list(values)
    numbers = [
        number
        for value in methods
        for number in (value.low, value.estimate, value.high)
        if number is not None
    ]
    return limits([*numbers, chance], 0.06)
