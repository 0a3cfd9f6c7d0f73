"""The board as a static site in a folder, which may hold other things that are left alone.

::

    index.html  board.css  board.js  board.csv  board.json  record.schema.json  CHANGES.md
    methods/<explainer>.html
    figures/models/<cohort>/<model>/protocol.<protocol>.svg  …/ranks.svg  …/cost.svg
    figures/methods/<explainer>.svg
    overlays/<explainer>.<model>.webp
    site.json      names every file above, so that the next build knows what to remove, and what
                   drew the figures, which another version draws with other bytes
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from benchmark.errors import StoreError
from benchmark.records.files import write_atomically
from leaderboard.board import changes
from leaderboard.board.board import Board
from leaderboard.published.fault import FaultError
from leaderboard.published.fields import LATER_TIERS, NAME_PATTERN
from leaderboard.published.folder import holds
from leaderboard.site import figures as drawings
from leaderboard.site.pages import Pages, read_part
from leaderboard.site.table import to_csv
from leaderboard.site.view import explainers_of

MANIFEST = "site.json"
CHANGES, BOARD, SCHEMA = "CHANGES.md", "board.json", "record.schema.json"
# Taken from the package as they are.
_PARTS = ("board.css", "board.js", SCHEMA)
_PLAIN = ("index.html", "board.csv", BOARD, CHANGES, *_PARTS)
_FOLDERS = ("methods", "figures", "overlays")
_WEBP = b"RIFFWEBP"  # around four bytes of length


def write_site(
    board: Board, out: Path, overlays: Path | None = None, versioned: bool = False
) -> Path:
    """Write the site of a board; the same board gives the same bytes.

    Files of an earlier site that the new one lacks are removed, and nothing else is touched.

    Args:
        board: Board to show.
        out: Folder; made if it does not exist.
        overlays: Folder of pictures ``<explainer>.<model>.webp``; others in it are not taken.
        versioned: Whether boards of other versions stand beside ``out``, and a page that leads to
            them; see ``leaderboard.site.versions``.

    Returns:
        Path of ``index.html``.

    Raises:
        FaultError: ``odd-name`` where a name in the board cannot be that of a file.
        StoreError: If the folder cannot be read or written.
    """
    _check_names(board)
    try:
        pictures = {} if overlays is None else _read_overlays(board, overlays)
        files = _render(board, pictures, versioned)
        earlier = (out / CHANGES).read_text("utf-8") if (out / CHANGES).is_file() else ""
        files[CHANGES] = changes.update(_read_json(out / BOARD), earlier, board).encode()
        _write(out, files, board.content)
    except OSError as error:
        raise StoreError(f"The board cannot be written to {out}: {error}.") from error
    return out / "index.html"


def _render(board: Board, overlays: Mapping[str, bytes], versioned: bool) -> dict[str, bytes]:
    figures = _figures(board)
    sizes = {address: drawings.size_of(figure) for address, figure in figures.items()}
    pages = Pages(board, versioned, sizes)
    files = {**overlays, **figures}
    for name, entries in explainers_of(board).items():
        files[f"methods/{name}.html"] = pages.method(name, entries, overlays).encode()
    texts = {"index.html": pages.index(), "board.csv": to_csv(board), BOARD: board.to_json()}
    texts |= {name: read_part(name) for name in _PARTS}
    if not (board.owed or board.has_later_tiers):
        # Suite v1 was published without them, and its board stays the same to the byte.
        for tier in LATER_TIERS:
            texts[SCHEMA] = texts[SCHEMA].replace(f'    "{tier}",\n', "")
    return files | {name: text.encode() for name, text in texts.items()}


def _figures(board: Board) -> dict[str, bytes]:
    """Return every figure by its address below the site."""
    figures = {}
    for name in explainers_of(board):
        figures[f"figures/methods/{name}.svg"] = drawings.draw_method(board, name)
    for model in board.models:
        folder = f"figures/models/{model.key}"
        for index, protocol in enumerate(board.protocols):
            drawn = drawings.draw_forest(model, protocol, index)
            figures[f"{folder}/protocol.{protocol.name}.svg"] = drawn
        figures[f"{folder}/ranks.svg"] = drawings.draw_ranks(model)
        figures[f"{folder}/cost.svg"] = drawings.draw_costs(model)
    return figures


def _write(out: Path, files: Mapping[str, bytes], content: str) -> None:
    """Write everything beside the folder first, then move it in, file by file."""
    out.mkdir(parents=True, exist_ok=True)
    earlier = _earlier_files(out)
    fresh = {
        name: content for name, content in files.items() if not holds(_inside(out, name), content)
    }
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        for name, text in fresh.items():
            path = Path(temporary, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        # Named before they come, so that a build that breaks off leaves nothing unknown behind.
        _put_manifest(out, sorted({*earlier, *files}), content)
        for name in fresh:
            path = _inside(out, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            Path(temporary, name).replace(path)
    for name in sorted(earlier - files.keys()):
        _inside(out, name).unlink(missing_ok=True)
    _remove_empty(out)
    _put_manifest(out, sorted(files), content)


def _put_manifest(out: Path, names: Sequence[str], content: str) -> None:
    manifest = {"schema_version": 1, "content": content, "matplotlib": version("matplotlib")}
    text = (json.dumps(manifest | {"files": names}, indent=1) + "\n").encode()
    if not holds(out / MANIFEST, text):
        write_atomically(out / MANIFEST, text)


def _earlier_files(out: Path) -> set[str]:
    """Return the files of an earlier site, those alone that a site may have."""
    names = (_read_json(out / MANIFEST) or {}).get("files")
    if not isinstance(names, list):
        return set()
    return {name for name in names if isinstance(name, str) and _is_ours(name)}


def _is_ours(name: str) -> bool:
    parts = PurePosixPath(name).parts
    plain = all(NAME_PATTERN.fullmatch(PurePosixPath(part).stem) for part in parts)
    return name in _PLAIN or (len(parts) > 1 and parts[0] in _FOLDERS and plain)


def _inside(out: Path, name: str) -> Path:
    """Return the path of a file, if no link leads out of the folder on the way there."""
    path = out / name
    if not path.parent.resolve().is_relative_to(out.resolve()) or path.is_symlink():
        raise StoreError(f"The board is not written to {path}, since a link leads away from there.")
    return path


def _read_json(path: Path) -> dict[str, object] | None:
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _read_overlays(board: Board, folder: Path) -> dict[str, bytes]:
    """Return the pictures of maps that are there, by their place in the site."""
    overlays = {}
    pairs = [(row.explainer, model.model) for model in board.models for row in model.rows]
    for explainer, model in pairs:
        path = folder / f"{explainer}.{model}.webp"
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if content[:4] + content[8:12] != _WEBP:
                raise StoreError(f"The overlay {path} is not a WebP file.")
            overlays[f"overlays/{path.name}"] = content
    return overlays


def _check_names(board: Board) -> None:
    names = {protocol.name: "protocol" for protocol in board.protocols}
    for model in board.models:
        names |= {model.cohort: "cohort", model.model: "model"}
        names |= {row.explainer: "explainer" for row in model.rows}
    for name, kind in names.items():
        if NAME_PATTERN.fullmatch(name) is None:
            raise FaultError("odd-name", kind, f"{name[:80]!r} cannot be the name of a file")


def _remove_empty(out: Path) -> None:
    for name in _FOLDERS:
        folders = sorted((out / name).rglob("*"), reverse=True) if (out / name).is_dir() else []
        for folder in (*folders, out / name):
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                shutil.rmtree(folder)
