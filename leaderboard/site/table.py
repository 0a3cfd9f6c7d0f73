"""The board as a table that spreadsheets open without harm: a row for each model and explainer."""

from __future__ import annotations

import csv
import io
import unicodedata

from benchmark.results.result import Number
from benchmark.results.table import plain_text
from leaderboard.board.board import Board, BoardCell, BoardStanding, ModelBoard, Row

Value = str | int | float | None

_ROW = (
    "cohort",
    "model",
    "explainer",
    "version",
    "title",
    "family",
    "status",
    "reason",
    "rank",
    "rank_low",
    "rank_high",
    "tie_group",
    "total",
    "total_low",
    "total_high",
    "mean_rank",
    "rank_by_mean_rank",
    "tier",
    "submitter",
)
_CELL = (
    "state",
    "verdict",
    "score",
    "low",
    "high",
    "calibrated",
    "calibrated_low",
    "calibrated_high",
    "subjects",
    "forward_passes",
    "backward_passes",
    "seconds",
)
# Whatever may stand before a formula and be lost when a sheet is opened.
_BEFORE = "\"'` \u00a0"


def to_csv(board: Board) -> str:
    """Return one row for each model and explainer; what does not exist is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    named = [f"{one.name}_{column}" for one in board.protocols for column in _CELL]
    writer.writerow([safe_text(one) for one in (*_ROW, *named)])
    for model in board.models:
        for row in model.rows:
            values = _values(model, row)
            writer.writerow([safe_text(one) if isinstance(one, str) else one for one in values])
    return text.getvalue()


def safe_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula, also where quotes stand before it."""
    inner = text.lstrip(_BEFORE)
    # Full-width signs are signs to some of them.
    folded = unicodedata.normalize("NFKC", inner[:1]) + inner[1:]
    harmless = plain_text(text) == text and plain_text(folded) == folded
    return text if harmless else f"'{text}"


def _values(model: ModelBoard, row: Row) -> list[Value]:
    words = (
        model.cohort,
        model.model,
        row.explainer,
        row.version,
        row.method.title,
        row.method.family,
        row.status,
        row.reason,
    )
    cells = [value for cell in row.cells for value in _of_cell(cell)]
    return [*words, *_of_standing(row.standing), row.tier, row.submitter, *cells]


def _of_standing(standing: BoardStanding | None) -> tuple[Value, ...]:
    if standing is None:
        return (None,) * 9
    return (
        standing.rank,
        standing.low,
        standing.high,
        standing.group,
        *_of_number(standing.total),
        standing.mean_rank,
        standing.rank_by_mean_rank,
    )


def _of_cell(cell: BoardCell) -> tuple[Value, ...]:
    return (
        cell.state,
        cell.verdict,
        *_of_number(cell.score),
        *_of_number(cell.calibrated),
        cell.n_subjects,
        cell.forward,
        cell.backward,
        cell.seconds,
    )


def _of_number(number: Number | None) -> tuple[Value, Value, Value]:
    return (None, None, None) if number is None else (number.estimate, number.low, number.high)
