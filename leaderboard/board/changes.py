"""What changed between two builds of a board, told on top of what was told before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leaderboard.board.board import Board

SHORT_HASH = 12
_HEAD = """# Changes

Each section is a build of the board, the newest first, named by the start of the checksum of its \
records.
"""


def update(previous_board: Mapping[str, Any] | None, previous_text: str, board: Board) -> str:
    """Return the changelog after a build.

    A build that added, changed or removed a record puts a section on top that names each; any other
    build leaves the text as it was. Who changes how a board is computed adds a section by hand.

    Args:
        previous_board: Content of the earlier ``board.json``; None where there is none.
        previous_text: Text of the earlier changelog; may be empty.
        board: Board as it is now.
    """
    before, after = _records(previous_board), board.records
    if before is None:
        count = f"{len(after)} record{'' if len(after) == 1 else 's'}"
        return _with(previous_text, board, [f"First build, of {count}."])
    kinds = {
        "Added": sorted(after.keys() - before.keys()),
        "Changed": sorted(path for path in after if before.get(path, after[path]) != after[path]),
        "Removed": sorted(before.keys() - after.keys()),
    }
    lines = []
    for kind, paths in kinds.items():
        if paths:
            lines += [f"{kind}: {len(paths)}", "", *(f"- `{path}`" for path in paths), ""]
    return _with(previous_text, board, lines[:-1]) if lines else previous_text


def _records(board: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Return the checksums of a board that may come from anywhere."""
    records = board.get("records") if board is not None else None
    if not isinstance(records, dict):
        return None
    # A path stands in the text between grave accents, and on one line.
    return {
        "".join(
            character if character.isprintable() and character != "`" else "�"
            for character in str(path)
        ): str(value)
        for path, value in records.items()
    }


def _with(text: str, board: Board, lines: list[str]) -> str:
    section = "\n".join([f"## {board.content[:SHORT_HASH]}", "", *lines])
    return f"{_HEAD}\n{section}\n{text.removeprefix(_HEAD)}"
