"""Submissions whose files lie wrong, are missing, or are no files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spoiling import RECORD, SIDECAR, Case, let
from submissions import FIRST, FOLDER, edit_record, relist

from leaderboard.published.fault import plain
from leaderboard.published.record import MOST_BYTES
from leaderboard.published.sidecar import MOST_PACKED
from leaderboard.submission.bundle import MOST_SOURCE
from leaderboard.submission.manifest import MANIFEST


def files_there() -> Iterator[Case]:
    for name in (MANIFEST, RECORD, SIDECAR, "source/mine.py"):
        yield f"{name} deleted", "file-missing", lambda folder, n=name: (folder / n).unlink()
        yield f"{name} a link to itself", "symlink", lambda f, n=name: link(f / n, f / n)
        yield f"{name} a link out", "symlink", lambda f, n=name: link(f / n, Path("/etc/passwd"))
        yield f"{name} a pipe", "not-a-file", lambda folder, n=name: pipe(folder / n)
        yield f"{name} a folder", "file-missing", lambda folder, n=name: become_folder(folder / n)
    for name in (RECORD, SIDECAR, "source/mine.py"):
        yield f"{name} flipped", "hash-mismatch", lambda folder, n=name: flip(folder / n)
    for name in ("records", "source"):
        yield (
            f"{name} a link to a folder",
            "symlink",
            lambda folder, n=name: link_folder(folder / n),
        )
    for name, fault in (
        (".git", "hidden-file"),
        ("records/.env", "hidden-file"),
        ("records/tiny/.DS_Store", "hidden-file"),
        ("notes.txt", "unknown-file"),
        ("run.sh", "unknown-file"),
        ("source/mine.so", "unknown-file"),
        ("source/deep/mine.py", "unknown-file"),
        ("source/second.py", "unlisted-file"),
        ("records/cat.jpg", "unknown-file"),
        (f"{FOLDER}/third.readings", "sidecar-orphan"),
        ("records/with space.json", "odd-path"),
        ("records/new\nline.json", "odd-path"),
        ("records/\u202ereversed.json", "odd-path"),
        ("records/ｗｉｄｅ.json", "odd-path"),
        ("records/\x1b[31m.json", "odd-path"),
        ("-rf", "odd-path"),
        ("/".join("abcdefghijk") + "/x.json", "too-deep"),
    ):
        yield f"there is {plain(name)}", fault, lambda folder, n=name: add(folder / n)
    yield "a second source, listed", "unknown-file", second_source
    yield (
        "a name that is no text",
        "odd-path",
        lambda f: add(Path(os.fsdecode(bytes(f) + b"/\xff"))),
    )
    yield "a folder without end", "too-deep", deep_folder
    yield "files without number", "too-many-files", many_files
    yield "a record at another place", "misplaced", move_record
    yield "one record less", "cell-missing", lambda folder: remove_record(folder)
    yield "a cell of another model", "unknown-cell", other_cell
    yield "an endless source", "too-large", lambda f: enlarge(f / "source/mine.py", MOST_SOURCE)
    yield "an endless record", "too-large", lambda folder: enlarge(folder / RECORD, MOST_BYTES)
    yield "an endless sidecar", "too-large", lambda folder: enlarge(folder / SIDECAR, MOST_PACKED)
    yield "an endless manifest", "too-large", lambda folder: enlarge(folder / MANIFEST, 2**20)


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def link_folder(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


def second_source(folder: Path) -> None:
    add(folder / "source/second.py")
    relist(folder)


def deep_folder(folder: Path) -> None:
    here = folder / "records"
    for _ in range(60):
        here /= "deep"
    here.mkdir(parents=True)


def many_files(folder: Path) -> None:
    for number in range(1_001):
        (folder / f"records/{number}.json").touch()


def move_record(folder: Path) -> None:
    (folder / "records/other").mkdir()
    for end in ("json", "readings"):
        (folder / f"{FIRST}.{end}").rename(folder / f"records/other/loading.{end}")
    relist(folder)


def remove_record(folder: Path) -> None:
    for end in ("json", "readings"):
        (folder / f"{FIRST}.{end}").unlink()
    relist(folder)


def other_cell(folder: Path) -> None:
    edit_record(folder, let("names", "model", value="other"))
    (folder / "records/tiny/other/mine").mkdir(parents=True)
    for end in ("json", "readings"):
        target = folder / f"records/tiny/other/mine/loading.{end}"
        (folder / f"{FIRST}.{end}").rename(target)
    relist(folder)


def enlarge(path: Path, most: int) -> None:
    path.write_bytes(path.read_bytes() + b" " * most)
