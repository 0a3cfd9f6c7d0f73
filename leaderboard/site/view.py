"""What the pages show of a board: rows sorted into lists, scales of the bars, and words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

from benchmark.results.result import Number
from leaderboard.board.board import Board, ModelBoard, Row, Status

NO_NUMBER = "no number"
MARKS = {"pass": "✓", "fail": "✗", "not assessable": "–", "unsupported": "∅", "missing": "∅"}
# A bar in a table: 64 wide, with room for half a dot at both ends.
_BAR, _ROOM = 64.0, 4.0
# A score beyond these says no more than that it is far away.
_LIMITS = (-1.0, 2.5)


@dataclass(frozen=True)
class Scale:
    """Where numbers stand on the bars of a column.

    Attributes:
        low: Number at the left end.
        high: Number at the right end.
        decimals: Decimals of its numbers in text.
        truth_is_one: Whether 1 is the truth.
    """

    low: float
    high: float
    decimals: int
    truth_is_one: bool = False

    def at(self, value: float) -> str:
        """Return the place of a value, clipped to the bar."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{_ROOM + share * (_BAR - 2 * _ROOM):.1f}"

    def holds(self, value: float) -> bool:
        """Return whether a value stands on the bar."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Tie:
    """The tie group of a row.

    Attributes:
        letter: Letter of the group, A for the best.
        count: Number of its members.
        edge: Position of the row in the group: ``first``, ``middle``, ``last`` or ``only``.
        banded: Whether its rows are shaded.
    """

    letter: str
    count: int
    edge: str
    banded: bool


@dataclass(frozen=True)
class RowView:
    """A row of a table.

    Attributes:
        row: Row of the board.
        tie: Tie group, if it is ranked.
    """

    row: Row
    tie: Tie | None

    @property
    def verdicts(self) -> Literal["all", "some", "none"]:
        """Whether it passes every protocol, ``all``, fails ``some``, or does neither."""
        verdicts = [cell.verdict for cell in self.row.cells]
        if "fail" in verdicts:
            return "some"
        return "all" if "pass" in verdicts and set(verdicts) <= {"pass", None} else "none"

    @property
    def search(self) -> str:
        """What a search looks through."""
        row = self.row
        words = (row.explainer, row.method.title, row.method.family, row.submitter, row.tier)
        return " ".join(dict.fromkeys(words)).lower()


@dataclass(frozen=True)
class ModelView:
    """A section of the board.

    Attributes:
        model: Model of the board.
        listings: Rows of each status, also of those that none has, in the order of the board.
        scales: Scales of protocols that are not gates, by name, and of total and rank.
    """

    model: ModelBoard
    listings: dict[Status, list[RowView]]
    scales: dict[str, Scale]

    @property
    def kept_back(self) -> tuple[str, ...]:
        """Names of the protocols that were also run on data that are kept back."""
        owed = [row.owed for row in self.model.rows if row.owed is not None]
        return tuple(sorted({gap.protocol for row in owed for gap in row.gaps}))

    @property
    def has_badges(self) -> bool:
        """Whether any row has a badge."""
        return any(row.owed is not None and row.owed.badges for row in self.model.rows)


def view_model(model: ModelBoard, board: Board) -> ModelView:
    """Return what the page shows of a model."""
    ties = _ties(model)
    listings: dict[Status, list[RowView]] = {status: [] for status in get_args(Status)}
    for row in model.rows:
        listings[row.status].append(RowView(row, ties.get(row.explainer)))
    return ModelView(model, listings, _scales(model, board))


def families_of(board: Board) -> list[str]:
    """Return the families of all methods but controls, by name."""
    rows = (row for model in board.models for row in model.rows)
    return sorted({row.method.family for row in rows if row.method.family})


def explainers_of(board: Board) -> dict[str, list[tuple[ModelView, RowView]]]:
    """Return every explainer's rows with the models they are of, by name."""
    entries: dict[str, list[tuple[ModelView, RowView]]] = {}
    for view in (view_model(model, board) for model in board.models):
        for row in chain.from_iterable(view.listings.values()):
            entries.setdefault(row.row.explainer, []).append((view, row))
    return dict(sorted(entries.items()))


def format_number(value: float | None, decimals: int = 3) -> str:
    """Return a number with a true minus sign, or words where there is none."""
    if value is None:
        return NO_NUMBER
    return f"{value:z.{decimals}f}".replace("-", "−")


def format_range(number: Number, decimals: int = 3) -> str:
    """Return ``[low, high]``, or nothing where there is no interval."""
    if number.low is None or number.high is None:
        return ""
    return f"[{format_number(number.low, decimals)}, {format_number(number.high, decimals)}]"


def format_count(value: float) -> str:
    """Return a count of three digits and a unit, such as 19.3 k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value:,.0f}"
    return f"{value:.0f}"


def format_seconds(value: float | None) -> str:
    """Return a time that a reader can compare at a glance."""
    if value is None:
        return NO_NUMBER
    if value < 10:
        return f"{value:.2f} s"
    return f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"


def letter_of(group: int) -> str:
    """Return the letter of a tie group: A to Z, then AA and so on."""
    text = ""
    while group > 0:
        group, index = divmod(group - 1, 26)
        text = chr(ord("A") + index) + text
    return text


def _ties(model: ModelBoard) -> dict[str, Tie]:
    groups: dict[int, list[str]] = {}
    for row in model.rows:
        if row.standing is not None:
            groups.setdefault(row.standing.group, []).append(row.explainer)
    ties = {}
    for group, names in groups.items():
        edges = ["only"] if len(names) == 1 else ["first", *["middle"] * (len(names) - 2), "last"]
        for name, edge in zip(names, edges, strict=True):
            ties[name] = Tie(letter_of(group), len(names), edge, group % 2 == 1)
    return ties


def _scales(model: ModelBoard, board: Board) -> dict[str, Scale]:
    scales = {
        protocol.name: _scale(
            [row.cells[index].calibrated for row in model.rows],
            # The ceiling of what is owed is 1.
            protocol.owed or model.truth_is_one(index),
        )
        for index, protocol in enumerate(board.protocols)
        if protocol.averaged
    }
    to_truth = bool(scales) and all(scale.truth_is_one for scale in scales.values())
    scales["total"] = _scale([row.total for row in model.rows], to_truth)
    ranked = sum(row.standing is not None for row in model.rows)
    scales["rank"] = Scale(1, max(2, ranked), 0)
    return scales


def _scale(numbers: Iterable[Number | None], truth_is_one: bool) -> Scale:
    known = [number for number in numbers if number is not None]
    ends = [value for number in known for value in (number.low, number.estimate, number.high)]
    finite = [value for value in ends if value is not None]
    low, high = min([0.0, *finite]), max([1.0 if truth_is_one else 0.0, *finite])
    low, high = max(low, _LIMITS[0]), min(high, _LIMITS[1])
    estimates = [abs(number.estimate) for number in known if number.estimate is not None]
    # As many as show the difference between numbers of one column.
    largest, decimals = max(estimates, default=1.0), 2
    if 0 < largest < 0.2:
        decimals = min(4, 2 - math.floor(math.log10(largest)))
    return Scale(low, high if high > low else low + 1, decimals, truth_is_one)
