"""The page that leads from one version of the board to another.

A board links to this page and not to the other boards, so that a new version does not change the
bytes of an old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import StoreError
from benchmark.records.files import write_atomically
from leaderboard.board.board import Board
from leaderboard.published.folder import read_bytes
from leaderboard.site.pages import make_environment

PAGE = "index.html"
_TITLE = "<title>medsanity boards</title>"
_MOST = 2**24


@dataclass(frozen=True)
class Version:
    """What the page says of a board.

    Attributes:
        name: Name of the suite and its folder.
        models: How many.
        methods: How many that are ranked on any of them.
        records: How many it is computed from.
        protocols: Names and versions.
    """

    name: str
    models: int
    methods: int
    records: int
    protocols: str


def is_version(folder: Path, board: Board) -> bool:
    """Return whether a folder is called as its board's suite, and so stands among versions."""
    return folder.resolve().name == board.suite


def check_page(folder: Path) -> None:
    """Make sure that the page may be written into a folder.

    Raises:
        StoreError: If something else stands in its place.
    """
    path = folder / PAGE
    if path.is_symlink() or (path.exists() and _TITLE not in _text(path)):
        raise StoreError(f"The page of all versions would replace {path}, which is something else.")


def find_versions(folder: Path) -> tuple[Version, ...]:
    """Return the versions whose boards stand below a folder, the newest first.

    Raises:
        FaultError: If a file is not to be read.
        StoreError: If it holds no board.
    """
    versions = []
    for path in folder.glob("v*/board.json"):
        content = read_bytes(path, f"{path.parent.name}/board.json", _MOST)
        try:
            board = Board.model_validate_json(content)
        except ValidationError as error:
            raise StoreError(f"The file {path} holds no board.") from error
        if not is_version(path.parent, board):
            continue
        ranked = {
            row.explainer for model in board.models for row in model.rows if row.status == "ranked"
        }
        protocols = ", ".join(f"{protocol.name} {protocol.version}" for protocol in board.protocols)
        counts = len(board.models), len(ranked), len(board.records)
        versions.append(Version(board.suite, *counts, protocols))
    return tuple(
        sorted(versions, key=lambda version: (len(version.name), version.name), reverse=True)
    )


def write_versions(folder: Path) -> Path:
    """Write the page of the boards below a folder; return its path.

    Raises:
        FaultError: If a board's file is not to be read.
        StoreError: If a file holds no board, or the page may not be written.
    """
    check_page(folder)
    versions = find_versions(folder)
    page = make_environment().get_template("versions.html.j2")
    text = page.render(root=f"{versions[0].name}/", versions=versions)
    write_atomically(folder / PAGE, text.encode())
    return folder / PAGE


def _text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace")
