"""The board as a table: a row for each model and explainer."""

from __future__ import annotations

from benchmark.results.table import Value, of_number, write_table
from leaderboard.board.board import Board, BoardCell, ModelBoard, Row, Standing

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


def to_csv(board: Board) -> str:
    """Return one row for each model and explainer; what does not exist is an empty cell."""
    cells = [f"{protocol.name}_{column}" for protocol in board.protocols for column in _CELL]
    rows = (_values(model, row) for model in board.models for row in model.rows)
    return write_table([*_ROW, *cells], rows)


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


def _of_standing(standing: Standing | None) -> tuple[Value, ...]:
    if standing is None:
        return (None,) * 9
    return (
        standing.rank,
        standing.low,
        standing.high,
        standing.group,
        *of_number(standing.total),
        standing.mean_rank,
        standing.rank_by_mean_rank,
    )


def _of_cell(cell: BoardCell) -> tuple[Value, ...]:
    return (
        cell.state,
        cell.verdict,
        *of_number(cell.score),
        *of_number(cell.calibrated),
        cell.n_subjects,
        cell.forward,
        cell.backward,
        cell.seconds,
    )
