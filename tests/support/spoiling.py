"""Ways to spoil a bundle: a piece of text, a field of a record or of the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from submissions import FIRST, Json, edit_manifest, edit_record, relist

from leaderboard.submission.manifest import MANIFEST

Spoil = Callable[[Path], object]
Case = tuple[str, str, Spoil]

RECORD, SIDECAR = f"{FIRST}.json", f"{FIRST}.readings"


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Spoil:
    """Change a file's bytes, and list it as it then is."""

    def spoil(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))
        if name != MANIFEST:
            relist(folder)

    return spoil


def swap(name: str, old: str, new: str) -> Spoil:
    """Replace a piece of text that is there once at least."""

    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode("utf-8", "surrogatepass"), 1)

    return rewrite(name, change)


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path[:-1]:
        value = value[part]
    return value


def in_record(change: Callable[[Json], object]) -> Spoil:
    """Change fields without sealing them again: the schema is asked first."""

    def spoil(folder: Path) -> None:
        fields = json.loads((folder / RECORD).read_text())
        change(fields)
        (folder / RECORD).write_text(json.dumps(fields))
        relist(folder)

    return spoil


def in_manifest(change: Callable[[Json], object]) -> Spoil:
    return lambda folder: edit_manifest(folder, change)


def sealed(change: Callable[[Json], object]) -> Spoil:
    return lambda folder: edit_record(folder, change)


def let(*path: Any, value: object) -> Callable[[Json], object]:
    return lambda fields: at(fields, path).__setitem__(path[-1], value)


def row(place: int, value: object, number: int = 0) -> Callable[[Json], object]:
    return lambda fields: fields["scores"][number].__setitem__(place, value)


def every_score(change: Callable[[float], float]) -> Callable[[Json], object]:
    return lambda f: [one.__setitem__(3, round(change(one[3]), 6)) for one in f["scores"]]
