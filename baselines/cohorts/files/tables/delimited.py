"""Tables of text as BIDS and spreadsheets save them: separated by tabs, commas or semicolons."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmark.errors import CohortError
from benchmark.records.files import read_bounded
from benchmark.records.toml_file import list_some, shorten

MOST_BYTES = 16 * 2**20
MOST_COLUMNS = 2_000
MOST_ROWS = 100_000

_DELIMITERS = ("\t", ",", ";")
_ENCODINGS = (
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAVE = "save it as text separated by tabs or commas in UTF-8 (in Excel: 'CSV UTF-8')"
_OTHERS = (
    (b"PK\x03\x04", f"is a workbook such as .xlsx or .ods, and no text; {_SAVE}"),
    (b"\xd0\xcf\x11\xe0", f"is an old Excel workbook (.xls), and no text; {_SAVE}"),
    (b"\x1f\x8b", "is compressed by gzip; unpack it first"),
)
_SPELLINGS = {
    "participant_id": re.compile(
        r"(sub(ject)?|patient|participant|case)s?(id)?|id|rid|ptid|sid|name", re.IGNORECASE
    ),
    "group": re.compile(
        r"groups?|dx(group)?|diagnosis|label|class|status|condition|arm|disease", re.IGNORECASE
    ),
    "split": re.compile(r"splits?|set|partition|fold|subset", re.IGNORECASE),
}


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        rows: Mapping from column to cell, without blanks around it, of each row.
        lines: Line of the file that each row ends in; the header is line 1.
        delimiter: Character between cells.
    """

    rows: list[dict[str, str]]
    lines: list[int]
    delimiter: str


def read_table(path: Path, required: Sequence[str]) -> Table:
    """Return a table of text.

    The text is UTF-8, or UTF-16 or UTF-32 with a byte order mark; cells are separated by tabs,
    commas or semicolons, whichever makes the first required name a column of the header, and may
    be quoted. Empty lines, and columns without a name and a cell, are left out.

    Args:
        path: Path of the table.
        required: Names of columns that it must have.

    Raises:
        CohortError: If it is missing, is no table of text, lacks a column, or is too large.
    """
    text = _decode(read_bounded(path, "table", CohortError, MOST_BYTES), path)
    text, delimiters = _declared_delimiter(text)
    headers = {delimiter: _header(text, delimiter, path) for delimiter in delimiters}
    fitting = [mark for mark, header in headers.items() if required[0] in header]
    delimiter = (fitting or sorted(headers, key=lambda mark: -len(headers[mark])))[0]
    columns = headers[delimiter]
    _check_columns(columns, required, path)
    rows, lines = [], []
    for line, cells in islice(_records(text, delimiter, path), 1, None):
        if any(cells[len(columns) :]) or len(cells) < len(columns):
            raise CohortError(
                f"The table {path} has {len(cells)} cells in line {line} but {len(columns)} "
                "columns; are they separated by tabs, and cells that hold the separator quoted?"
            )
        pairs = list(zip(columns, cells, strict=False))
        if unnamed := [cell for name, cell in pairs if cell and not name]:
            raise CohortError(
                f"The table {path} has {shorten(repr(unnamed[0]))} in line {line} in a column "
                "without a name; name the column."
            )
        if broken := [cell for cell in cells if len(f"{cell}.".splitlines()) > 1]:
            raise CohortError(
                f"The table {path} has a line break within {shorten(repr(broken[0]))} in line "
                f"{line}; write each cell in one line."
            )
        rows.append({name: cell for name, cell in pairs if name})
        lines.append(line)
        if len(rows) > MOST_ROWS:
            raise CohortError(f"The table {path} has more than {MOST_ROWS} rows.")
    return Table(rows, lines, delimiter)


def _decode(content: bytes, path: Path) -> str:
    for magic, what in _OTHERS:
        if content.startswith(magic):
            raise CohortError(f"The table {path} {what}.")
    encoding = next((name for mark, name in _ENCODINGS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CohortError(
            f"The table {path} is no {encoding.removesuffix('-sig').upper()} text (byte "
            f"0x{content[error.start]:02x} in line {line}); {_SAVE}."
        ) from error
    if "\0" in text:
        raise CohortError(
            f"The table {path} is no text, or UTF-16 text without a byte order mark; {_SAVE}."
        )
    return text


def _declared_delimiter(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a text without the line ``sep=;`` that Excel knows, and the delimiters to try."""
    first, _, rest = text.partition("\n")
    declared = first.strip().strip('"')
    if declared.lower().startswith("sep=") and declared[4:] in _DELIMITERS:
        return rest, (declared[4:],)
    return text, _DELIMITERS


def _header(text: str, delimiter: str, path: Path) -> list[str]:
    columns: list[str] = []
    with suppress(CohortError):  # cut at the wrong character, a cell may be too long for csv
        _, columns = next(_records(text, delimiter, path), (0, []))
    while columns and not columns[-1]:
        columns.pop()
    return columns


def _records(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line and cells, without blanks around them, of each row that holds something."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise CohortError(
            f"The table {path} cannot be understood in line {reader.line_num}: {error}."
        ) from error


def _check_columns(columns: list[str], required: Sequence[str], path: Path) -> None:
    if len(columns) > MOST_COLUMNS:
        raise CohortError(
            f"The table {path} has {len(columns)} columns; at most {MOST_COLUMNS} were expected."
        )
    if missing := [name for name in required if name not in columns]:
        raise CohortError(
            f"The table {path} lacks the column(s) {', '.join(missing)}; it has "
            f"{list_some(columns)}{''.join(_rename(name, columns) for name in missing)}."
        )
    named = [name for name in columns if name]
    if repeated := [name for name in named if named.count(name) > 1]:
        raise CohortError(f"The table {path} has the column {shorten(repr(repeated[0]))} twice.")


def _rename(missing: str, columns: Sequence[str]) -> str:
    """Return the hint that a column is called otherwise, or nothing."""
    spelling = _SPELLINGS[missing]
    likely = [
        shorten(repr(name))
        for name in columns
        if name and spelling.fullmatch("".join(filter(str.isalnum, name)))
    ]
    return f"; if {' or '.join(likely[:3])} is it, call it {missing!r}" if likely else ""
