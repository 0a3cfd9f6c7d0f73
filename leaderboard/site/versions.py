"""The page that leads from one version of the board to another.

A board links to this page and not to the other boards, so that a new version does not change the
bytes of an old one. Why a version was superseded is told here alone, from a file beside its board.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import StoreError
from benchmark.records.files import write_atomically
from leaderboard.board.board import Board
from leaderboard.published.folder import read_bytes
from leaderboard.site.pages import make_environment

PAGE = "index.html"
_TITLE = "<title>medsanity boards</title>"
_SUPERSEDED = "superseded.txt"
_MOST, _MOST_NOTE = 2**24, 2**12


def is_version(folder: Path, board: Board) -> bool:
    """Return whether a folder is called as its board's suite, and so stands among versions."""
    return folder.resolve().name == board.suite


def check_page(folder: Path) -> None:
    """Make sure that the page may be written into a folder.

    Raises:
        StoreError: If something else stands in its place.
    """
    path = folder / PAGE
    if path.is_symlink() or (
        path.exists() and _TITLE not in path.read_text("utf-8", errors="replace")
    ):
        raise StoreError(f"The page of all versions would replace {path}, which is something else.")


def write_versions(folder: Path) -> Path:
    """Write the page of the boards below a folder; return its path.

    Raises:
        FaultError: If a board's file is not to be read.
        StoreError: If a file holds no board, or the page may not be written.
    """
    check_page(folder)
    boards = _boards(folder)
    page = make_environment().get_template("versions.html.j2")
    notes = {board.suite: _why_superseded(folder / board.suite) for board in boards}
    text = page.render(root=f"{boards[0].suite}/", boards=boards, notes=notes)
    write_atomically(folder / PAGE, text.encode())
    return folder / PAGE


def _boards(folder: Path) -> list[Board]:
    """Return the boards that stand below a folder, the newest first."""
    boards = []
    for path in folder.glob("v*/board.json"):
        content = read_bytes(path, f"{path.parent.name}/board.json", _MOST)
        try:
            board = Board.model_validate_json(content)
        except ValidationError as error:
            raise StoreError(f"The file {path} holds no board.") from error
        if is_version(path.parent, board):
            boards.append(board)
    return sorted(boards, key=lambda board: (len(board.suite), board.suite), reverse=True)


def _why_superseded(folder: Path) -> str:
    """Return why the board of a folder was superseded, or nothing where it was not."""
    path = folder / _SUPERSEDED
    if not path.is_file():
        return ""
    content = read_bytes(path, f"{folder.name}/{_SUPERSEDED}", _MOST_NOTE)
    return content.decode("utf-8", "replace").strip()
