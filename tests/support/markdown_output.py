"""What the acceptance scripts print: lines, and the tables that docs pages hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmark.protocol import Table


def write_line(line: str) -> None:
    """Write a line at once, since what follows may take minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write_table(table: Table) -> None:
    """Write a protocol's table in Markdown."""
    write_line("\n" + _row(table.columns))
    write_line("|---" * len(table.columns) + "|")
    for row in table.rows:
        write_line(_row(row))


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join("–" if cell is None else str(cell) for cell in cells) + " |"
