"""The board as a table: a row for each model and explainer."""

from __future__ import annotations

from collections.abc import Collection

from benchmark.results.table import Value, of_number, write_table
from leaderboard.board.board import Board, BoardCell, ModelBoard, OwedRow, Row


def to_csv(board: Board) -> str:
    """Return one row for each model and explainer; what does not exist is an empty cell."""
    pairs = [(model, row) for model in board.models for row in model.rows]
    kept_back = {gap.protocol for _, row in pairs if row.owed for gap in row.owed.gaps}
    rows = [_values(model, row, kept_back) for model, row in pairs]
    return write_table(list(rows[0]), (list(row.values()) for row in rows))


def _values(model: ModelBoard, row: Row, kept_back: Collection[str]) -> dict[str, Value]:
    standing = row.standing
    total, total_low, total_high = of_number(standing.total if standing else None)
    values: dict[str, Value] = {
        "cohort": model.cohort,
        "model": model.model,
        "explainer": row.explainer,
        "version": row.version,
        "title": row.method.title,
        "family": row.method.family,
        "status": row.status,
        "reason": row.reason,
        "rank": standing.rank if standing else None,
        "rank_low": standing.low if standing else None,
        "rank_high": standing.high if standing else None,
        "tie_group": standing.group if standing else None,
        "total": total,
        "total_low": total_low,
        "total_high": total_high,
        "mean_rank": standing.mean_rank if standing else None,
        "rank_by_mean_rank": standing.rank_by_mean_rank if standing else None,
        "tier": row.tier,
        "submitter": row.submitter,
    }
    if row.owed is not None:
        del values["mean_rank"], values["rank_by_mean_rank"]
        values |= _of_owed(row.owed, kept_back)
    for cell in row.cells:
        values |= {f"{cell.protocol}_{name}": value for name, value in _of_cell(cell).items()}
    return values


def _of_owed(owed: OwedRow, kept_back: Collection[str]) -> dict[str, Value]:
    total, low, high = of_number(owed.total)
    values: dict[str, Value] = {"total": total, "total_low": low, "total_high": high}
    values["badges"] = ", ".join(badge.name for badge in owed.badges)
    gaps = {gap.protocol: gap for gap in owed.gaps}
    for protocol in sorted(kept_back):
        gap = gaps.get(protocol)
        estimate, low, high = of_number(gap.gap if gap else None)
        unpublished = gap.unpublished.estimate if gap else None
        names = ("unpublished", "gap", "gap_low", "gap_high")
        numbers = (unpublished, estimate, low, high)
        values |= {f"{protocol}_{name}": value for name, value in zip(names, numbers, strict=True)}
    return values


def _of_cell(cell: BoardCell) -> dict[str, Value]:
    score, low, high = of_number(cell.score)
    calibrated, calibrated_low, calibrated_high = of_number(cell.calibrated)
    return {
        "state": cell.state,
        "verdict": cell.verdict,
        "score": score,
        "low": low,
        "high": high,
        "calibrated": calibrated,
        "calibrated_low": calibrated_low,
        "calibrated_high": calibrated_high,
        "subjects": cell.n_subjects,
        "forward_passes": cell.forward,
        "backward_passes": cell.backward,
        "seconds": cell.seconds,
    }
