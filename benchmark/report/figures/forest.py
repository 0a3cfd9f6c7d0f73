"""Forest plots: a row for each explainer, its score and its calibrated score with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.reading import SCORED, Direction
from benchmark.report.figures import style
from benchmark.results.lookup import Protocols
from benchmark.results.result import Estimate, Number, Result, truth_is_one
from benchmark.results.scores import CONTROLS, RANDOM

Values = Mapping[str, Estimate | Number]

_CALIBRATED_LIMITS = (-1.0, 2.5)
_NARROW = 4.4  # inches, of a figure for a phone
# Inches that scores and calibrated scores need, so that neither names nor ticks meet the next.
_LEAST, _LEAST_CALIBRATED = 1.2, 0.5
_ABOVE, _BELOW = 0.35, 0.62  # inches around the panels of a band


@dataclass(frozen=True)
class Panel:
    """A column of a forest plot.

    Attributes:
        title: Text above it.
        label: Text below its axis.
        values: Numbers by row.
        words: Words that stand in a row without a number, by row.
        noise: Score of a map of noise, or None.
        truth: Score of the truth, or None.
        limits: Ends of the axis, or None where the numbers decide.
    """

    title: str
    label: str
    values: Values
    words: Mapping[str, str] = field(default_factory=dict)
    noise: float | None = None
    truth: float | None = None
    limits: style.Limits | None = None


def score_label(statistic: str, direction: Direction) -> str:
    """Return the label of an axis of scores."""
    return statistic if direction == "none" else f"{statistic}\n({direction} is better)"


def calibrated_panel(title: str, values: Values, to_truth: bool) -> Panel:
    """Return the panel of calibrated scores, where 1 is the truth, or of distances from noise."""
    ends = [-0.1, 1.1] if to_truth else [0.0]
    low, high = style.limits([*ends, *style.extent(values.values())], 0.02)
    return Panel(
        title,
        "calibrated\n(0 noise, 1 truth)" if to_truth else "calibrated\n(above noise)",
        values,
        noise=0.0,
        truth=1.0 if to_truth else None,
        limits=(max(low, _CALIBRATED_LIMITS[0]), min(high, _CALIBRATED_LIMITS[1])),
    )


def draw_panel(axes: Axes, panel: Panel, rows: Sequence[str], controls: set[str]) -> None:
    """Draw a panel, its rows from the top downwards; those of controls are grey triangles."""
    heights = {row: len(rows) - 1 - index for index, row in enumerate(rows)}
    if panel.noise is not None:
        axes.axvline(panel.noise, color=style.CHANCE, lw=0.9, linestyle=(0, (4, 3)), zorder=1)
    if panel.truth is not None:
        axes.axvline(panel.truth, color="#8a8a8a", lw=0.9, zorder=1)
    for row, value in panel.values.items():
        if value.estimate is None:
            continue
        low, estimate, high = style.span(value)
        colour, marker = (style.GREYS[0], "^") if row in controls else (style.COLOURS[0], "o")
        axes.hlines(heights[row], low, high, color=colour, linewidth=1.6)
        axes.plot([estimate], [heights[row]], marker, color=colour, markersize=4.5)
    for row, word in panel.words.items():
        # In shares of the axes, so that a word says nothing about a score.
        frame, box = axes.get_yaxis_transform(), {"fc": "white", "ec": "none", "pad": 1.0}
        label = axes.text(0.02, heights[row], word, size=7, transform=frame, va="center", bbox=box)
        label.set(style="italic", color=style.MUTED)
    if style.extent(panel.values.values()):
        # Short labels, with a tick at the truth, where panels are narrow.
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    else:
        axes.set_xticks([])
    if panel.limits is not None:
        axes.set_xlim(*panel.limits)
    axes.set_xlabel(panel.label, fontsize=7)
    axes.set_title(panel.title, loc="left", y=1.0, fontweight="bold")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)


def name_rows(axes: Axes, names: Mapping[str, str], controls: set[str]) -> None:
    """Write the name of each row, from the top downwards, beside a panel; controls are grey."""
    axes.set_yticks(range(len(names))[::-1], list(names.values()), fontsize=8)
    axes.set_ylim(-0.6, max(1, len(names)) - 0.4)
    for label, row in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(style.MUTED if row in controls else style.INK)
        label.set_fontstyle("italic" if row in controls else "normal")


def arrange(results: Sequence[Result], protocols: Protocols) -> list[Result]:
    """Return one model's results on one cohort by explainer.

    Methods stand before controls, the best under the first protocol first.
    """
    names = _used(results, protocols)
    first = {result.explainer: result.primary for result in results if result.protocol == names[0]}

    def rank(result: Result) -> tuple[bool, bool, float, str, int]:
        score, explainer = first.get(result.explainer), result.explainer
        control, column = explainer in CONTROLS, names.index(result.protocol)
        if score is None or score.estimate is None:
            return control, True, 0.0, explainer, column
        sign = 1 if score.direction == "lower" else -1
        return control, False, sign * score.estimate, explainer, column

    return sorted(results, key=rank)


@style.styled
def draw_forest(figure: Figure, results: Sequence[Result], protocols: Protocols) -> None:
    """Draw every score with its interval, and beside it the calibrated score.

    The dashed line is the score of a map of noise; on the calibrated axis noise is 0 and, where it
    stands clear of noise, the truth 1. Protocols that do not fit side by side stand in bands below
    each other. Results are those of one model and cohort, from ``arrange``.
    """
    rows = {result.explainer: result.explainer for result in results}
    stack = _panels(results, protocols)
    left = min(0.3, (0.2 + style.CHARACTER * max(map(len, rows))) / style.WIDTH)
    bands = _count_bands(stack, (0.985 - left) * style.WIDTH)
    across = -(-len(stack) // bands)
    step = 1.22 + 0.24 * len(rows)
    height = step * bands
    figure.set_size_inches(style.WIDTH, height)
    for band in range(bands):
        own = stack[band * across : (band + 1) * across]
        panels = [panel for protocol in own for panel in protocol]
        grid = figure.add_gridspec(
            1,
            len(panels),
            left=left,
            right=0.985,
            bottom=1 - (step * (band + 1) - _BELOW) / height,
            top=1 - (step * band + _ABOVE) / height,
            wspace=0.13,
            width_ratios=[3 if panel.title else 2 for panel in panels],
        )
        for column, panel in enumerate(panels):
            axes = figure.add_subplot(grid[0, column])
            draw_panel(axes, panel, list(rows), set(CONTROLS))
            axes.spines["left"].set_visible(False)
            name_rows(axes, dict.fromkeys(rows, "") if column else rows, set(CONTROLS))


@style.styled
def draw_stacked_forest(figure: Figure, results: Sequence[Result], protocols: Protocols) -> None:
    """Draw the same for a narrow screen: a protocol below the other, of the same arguments."""
    rows = {result.explainer: style.shorten(result.explainer, 16) for result in results}
    stack = _panels(results, protocols)
    step = 0.95 + 0.2 * len(rows)
    height = step * len(stack)
    figure.set_size_inches(_NARROW, height)
    left = (0.15 + style.CHARACTER * max(map(len, rows.values()))) / _NARROW
    grid = figure.subplots(
        len(stack),
        2,
        squeeze=False,
        gridspec_kw={"width_ratios": [1, 1], "hspace": 0.95 / 0.2 / len(rows)},
    )
    figure.subplots_adjust(left, 0.6 / height, 0.98, 1 - 0.3 / height, 0.15)
    for line, panels in zip(grid, stack, strict=True):
        for axes, panel in zip(line, panels, strict=False):
            draw_panel(axes, panel, list(rows), set(CONTROLS))
            axes.spines["left"].set_visible(False)
            name_rows(axes, rows if axes is line[0] else dict.fromkeys(rows, ""), set(CONTROLS))
        for axes in line[len(panels) :]:
            axes.set_axis_off()


def _panels(results: Sequence[Result], protocols: Protocols) -> list[list[Panel]]:
    """Return for each protocol the panel of its scores, and that of the calibrated ones."""
    stack: list[list[Panel]] = []
    for name in _used(results, protocols):
        own = [result for result in results if result.protocol == name]
        stack.append([_score_panel(name, own)])
        calibrated = {
            result.explainer: result.primary.calibrated
            for result in own
            if result.primary.calibrated is not None
        }
        # What is owed to the network needs no second scale: 0 is chance, 1 the most.
        if calibrated and not protocols[name].owes_to_network:
            stack[-1].append(calibrated_panel("", calibrated, truth_is_one(calibrated)))
    return stack


def _count_bands(stack: Sequence[Sequence[Panel]], width: float) -> int:
    """Return in how many bands of that width in inches the panels of all protocols fit."""
    bands, taken = 1, 0.0
    for panels in stack:
        needed = _LEAST + _LEAST_CALIBRATED * (len(panels) - 1)
        if taken and taken + needed > width:
            bands, taken = bands + 1, 0.0
        taken += needed
    return bands


def _used(results: Sequence[Result], protocols: Protocols) -> list[str]:
    measured = {result.protocol for result in results}
    return [name for name in protocols if name in measured]


def _score_panel(protocol: str, results: Sequence[Result]) -> Panel:
    scores = {result.explainer: result.primary for result in results}
    words = {
        result.explainer: result.state if result.state != SCORED else "no value"
        for result in results
        if result.primary.estimate is None
    }
    label = score_label(results[0].primary.statistic, results[0].primary.direction)
    noise = scores[RANDOM].estimate if RANDOM in scores else None
    return Panel(protocol, label, scores, words, noise)
