"""Columns of a table as numbers, truth values or text; what is nearly a number is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from benchmark.errors import CohortError
from benchmark.records.toml_file import shorten

MISSING = frozenset({"", "n/a", "N/A", "NA", "nan", "NaN"})

_BOOLEANS = {"true": True, "false": False}
# A leading zero marks a code, such as site 007, and not a number.
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d*)", re.ASCII)
_NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_CODE = re.compile(r"0\d+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}([,.'’\u00a0\u202f ]\d{3})+([.,]\d+)?", re.ASCII)
_SHEET_ERRORS = ("#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!")
_MEASURES = re.compile(
    r"age(_(years|at_(scan|visit|baseline)))?|e?tiv|icv|volume|.*_(volume|mm3|ml)", re.IGNORECASE
)
_AGES = re.compile(r"age(_(years|at_(scan|visit|baseline)))?", re.IGNORECASE)
_OLDEST = 130  # years
_MOST_DIGITS = 300
_MOSTLY = 0.8  # share of numbers from which on a column is meant to hold nothing else


def point_decimals(cells: Sequence[str]) -> list[str]:
    """Return cells with decimal points where all of a column is written with decimal commas.

    A column in which each comma could separate thousands, as in ``1,234``, stays as it is.
    """
    known = [cell for cell in cells if cell not in MISSING]
    commas = [cell for cell in known if _DECIMAL_COMMA.fullmatch(cell)]
    is_plain = all(_DECIMAL_COMMA.fullmatch(cell) or _INTEGER.fullmatch(cell) for cell in known)
    if not commas or not is_plain or all(_THOUSANDS.fullmatch(cell) for cell in commas):
        return list(cells)
    return [cell.replace(",", ".") if cell not in MISSING else cell for cell in cells]


def type_column(cells: Sequence[str]) -> list[object]:
    """Return a column's cells as booleans, integers or floats where all of them are, or as text."""
    known = [cell for cell in cells if cell not in MISSING]
    is_complete = len(known) == len(cells)
    if is_complete and all(cell in _BOOLEANS for cell in cells):
        return [_BOOLEANS[cell] for cell in cells]
    if is_complete and all(_INTEGER.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    numeric = all(_NUMBER.fullmatch(cell) for cell in known)
    return [math.nan if cell in MISSING else float(cell) if numeric else cell for cell in cells]


def check_column(name: str, cells: Sequence[str], subjects: Sequence[str], where: str) -> None:
    """Refuse a column of numbers in which some cells are none, and ages that nobody has.

    A column is meant to hold numbers if it is called so (``age``, ``tiv``, ``…_volume``, …), or if
    80 % of its cells that are not n/a are numbers. Numbers with separators of thousands count here.

    Args:
        name: Name of the column.
        cells: Cells of the column.
        subjects: Subject of each cell.
        where: Beginning of the message, such as ``"The table participants.tsv"``.

    Raises:
        CohortError: If there are such; the message names the subject, the cell and what to write.
    """

    def refuse(index: int, reason: str) -> None:
        raise CohortError(
            f"{where} has the {shorten(name)} {shorten(repr(cells[index]))} for "
            f"{shorten(repr(subjects[index]))}; {reason}."
        )

    known = [index for index, cell in enumerate(cells) if cell not in MISSING]
    for index in known:
        if cells[index] in _SHEET_ERRORS:
            refuse(index, "mend the formula, or write n/a")
        if len(cells[index]) > _MOST_DIGITS and _NUMBER.fullmatch(cells[index]):
            refuse(index, "no number has so many digits")
    numbers = [index for index in known if _NUMBER.fullmatch(cells[index])]
    others = [index for index in known if not _NUMBER.fullmatch(cells[index])]
    if others:
        is_measure = _MEASURES.fullmatch(name) is not None
        grouped = [index for index in others if _is_grouped(cells[index])]
        are_codes = all(_CODE.fullmatch(cells[index]) for index in others)
        mostly = (len(numbers) + len(grouped)) >= _MOSTLY * len(known) and not are_codes
        if is_measure or mostly:
            more = f" ({len(others)} such cells)" if len(others) > 1 else ""
            refuse(others[0], f"{_advice(cells[others[0]], is_measure)}{more}")
        return
    for index in numbers:
        value = float(cells[index])
        if not math.isfinite(value):
            refuse(index, "a finite number was expected")
        if _AGES.fullmatch(name) and not 0 <= value <= _OLDEST:
            refuse(index, f"an age in years lies between 0 and {_OLDEST}; n/a says it is not known")


def _is_grouped(cell: str) -> bool:
    return bool(_DECIMAL_COMMA.fullmatch(cell) or _THOUSANDS.fullmatch(cell))


def _advice(cell: str, is_measure: bool) -> str:
    if _THOUSANDS.fullmatch(cell):
        return "write numbers with a decimal point and without separators of thousands"
    if _DECIMAL_COMMA.fullmatch(cell):
        return f"write {cell.replace(',', '.')}, with a decimal point, in the whole column"
    advice = "write a number such as 71.5, or n/a where it is not known"
    if is_measure:
        return advice
    return f"most of the column are numbers, so {advice}, or a word in every row"
