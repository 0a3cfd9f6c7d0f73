"""The files that a gate writes: what may stand at their paths before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.errors import InputError, StoreError
from benchmark.records.files import check_file, store_errors

# How a file begins that an earlier gate has written, and what follows within a page of it; anything
# else is not its to replace.
_MARKS = {
    "--summary": (b"## gate", b"margin"),
    "--junit": (b"<?xml", b'name="medsanity gate"'),
    "--json": (b'{\n  "suite": ', b'"margin": '),
}
_PAGE = 4096


def check_all(
    files: Mapping[str, Path | None], update_baseline: bool, folders: Sequence[Path | None]
) -> None:
    """Refuse files that a gate must not write, before anything is measured.

    Args:
        files: Path of each option.
        update_baseline: Whether a baseline is written, which decides nothing.
        folders: Folders of records, in which nothing else is written.

    Raises:
        InputError: If two are one file, or one is a file of something else.
        StoreError: If one cannot be written.
    """
    options_by_file: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
        if update_baseline:
            raise InputError(f"--update-baseline decides nothing, so {path} cannot be written.")
        other = options_by_file.setdefault(path.resolve(), option)
        if other is not option:
            raise InputError(f"{other} and {option} are both {path}; name two files.")
        for folder in folders:
            if folder is not None and path.resolve().is_relative_to(folder.resolve()):
                raise InputError(
                    f"{option} is {path}, among the records of {folder}; name a file elsewhere."
                )
        check_file(path)
        _check_content(option, path)


def _check_content(option: str, path: Path) -> None:
    """Refuse to replace a file that is neither empty nor an earlier gate's.

    Raises:
        StoreError: If it is, or cannot be read.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise StoreError(f"{option} is {path}, which is no regular file.")
    beginning, mark = _MARKS[option]
    with store_errors(path), path.open("rb") as file:
        content = file.read(_PAGE)
    if content and not (content.startswith(beginning) and mark in content):
        raise StoreError(
            f"{option} is {path}, which exists and was not written by a gate as {option}; name "
            "another file, or remove it."
        )
