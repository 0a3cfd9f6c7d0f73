"""The summary as a table that spreadsheets open without harm."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from benchmark.results.result import Result

COLUMNS = (
    "cohort",
    "model",
    "explainer",
    "protocol",
    "protocol_version",
    "state",
    "verdict",
    "reason",
    "statistic",
    "direction",
    "estimate",
    "low",
    "high",
    "n_subjects",
    "calibrated",
    "calibrated_low",
    "calibrated_high",
    "forward_passes",
    "backward_passes",
    "seconds",
)

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def plain_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; plain numbers stay as they are.

    Excel and its kin run a cell that begins with =, +, -, @, a tab or a line end.
    """
    dangerous = text[:1] in tuple("=+-@\t\r\n") and not _NUMBER.fullmatch(text)
    return f"'{text}" if dangerous and text else text


def to_csv(results: Sequence[Result]) -> str:
    """Return one row a result; a number that does not exist is an empty cell beside its state."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in results:
        primary, calibrated = one.primary, one.primary.calibrated
        words = (
            one.cohort,
            one.model,
            one.explainer,
            one.protocol,
            one.protocol_version,
            one.state,
            one.verdict or "",
            one.reason or "",
            primary.statistic,
            primary.direction,
        )
        numbers = (
            primary.estimate,
            primary.low,
            primary.high,
            primary.n_subjects,
            calibrated.estimate if calibrated else None,
            calibrated.low if calibrated else None,
            calibrated.high if calibrated else None,
            one.passes.forward,
            one.passes.backward,
            one.seconds,
        )
        writer.writerow([*map(plain_text, words), *numbers])
    return text.getvalue()
