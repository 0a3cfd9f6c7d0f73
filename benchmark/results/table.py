"""Tables as CSV that spreadsheets open without harm."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from operator import attrgetter

from benchmark.results.result import Number, Result

_CELL = ("cohort", "model", "explainer", "protocol", "protocol_version")
_OUTCOME = ("state", "verdict", "reason")
_SCORE = ("statistic", "direction", "estimate", "low", "high", "n_subjects")
_CALIBRATED = ("calibrated", "calibrated_low", "calibrated_high", "size")
_COST = ("forward_passes", "backward_passes", "seconds")

Value = str | int | float | None

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
# Whatever may stand before a formula and be lost when a sheet is opened.
_BEFORE = "\"'` \u00a0"


def to_csv(results: Sequence[Result]) -> str:
    """Return one row a result; a number that does not exist is an empty cell beside its state."""
    columns = (*_CELL, *_OUTCOME, *_SCORE, *_CALIBRATED, *_COST)
    return write_table(columns, map(_row, results))


def statistics_csv(results: Sequence[Result]) -> str:
    """Return one row for each statistic of each result under each of its conditions."""
    columns = (*_CELL[:4], "statistic", "conditions", "estimate", "low", "high", "n_subjects")
    rows = (
        (
            *attrgetter(*_CELL[:4])(result),
            own.statistic,
            "; ".join(f"{name}={condition}" for name, condition in own.conditions.items()),
            *(own.estimate, own.low, own.high, own.n_subjects),
        )
        for result in results
        for own in result.statistics
    )
    return write_table(columns, rows)


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """Return a table as CSV that no spreadsheet runs a cell of; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([plain_text(value) if isinstance(value, str) else value for value in row])
    return text.getvalue()


def plain_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; plain numbers stay as they are.

    Excel and its kin run a cell that begins with =, +, -, @, a tab or a line end, some of them also
    where the sign is full-width or stands behind quotes.
    """
    inner = text.lstrip(_BEFORE)
    first = unicodedata.normalize("NFKC", inner[:1])
    starts = {text[:1], first[:1]} & set("=+-@\t\r\n")
    return f"'{text}" if starts and not _NUMBER.fullmatch(text) else text


def _row(result: Result) -> list[Value]:
    outcome = attrgetter(*_CELL, *_OUTCOME)(result)
    calibrated = (*of_number(result.primary.calibrated), result.primary.size)
    cost = result.passes.forward, result.passes.backward, result.seconds
    return [*outcome, *attrgetter(*_SCORE)(result.primary), *calibrated, *cost]


def of_number(number: Number | None) -> tuple[Value, Value, Value]:
    """Return the cells of an estimate and its interval."""
    return (None, None, None) if number is None else (number.estimate, number.low, number.high)
