"""The page that leads from one version of the board to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leaderboard.board import Board
from leaderboard.folder import read_bytes

PAGE = "index.html"
_MOST = 2**24


@dataclass(frozen=True)
class Version:
    """What the page says of a version.

    Attributes:
        name: Of the suite and its folder.
        models: How many.
        methods: How many that are ranked on any of them.
        protocols: Names and versions.
    """

    name: str
    models: int
    methods: int
    protocols: str


def find_versions(folder: Path) -> tuple[Version, ...]:
    """Return the versions whose boards stand below a folder, the newest first.

    Raises:
        FaultError: If a board cannot be read.
    """
    found = []
    for path in folder.glob("v*/board.json"):
        content = read_bytes(path, f"{path.parent.name}/board.json", _MOST)
        board = Board.model_validate_json(content)
        ranked = {
            row.explainer for one in board.models for row in one.rows if row.status == "ranked"
        }
        protocols = ", ".join(f"{one.name} {one.version}" for one in board.protocols)
        found.append(Version(path.parent.name, len(board.models), len(ranked), protocols))
    return tuple(sorted(found, key=lambda one: (len(one.name), one.name), reverse=True))
