"""A file in TOML is read, or refused in one short sentence, whatever it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from baselines.cohorts.files.cohort_toml import read_cohort_file
from baselines.models.encoders.model_toml import read_model_file
from benchmark.errors import InputError
from benchmark.records.recipe_file import read_recipe
from benchmark.records.toml_file import list_some, read_toml
from benchmark.running.suite import load_suite

READERS: dict[str, Callable[[Path], object]] = {
    "cohort": read_cohort_file,
    "model": read_model_file,
    "suite": lambda path: load_suite(str(path)),
    "recipe": read_recipe,
}
DEEP = "is (nested|too deep)|nests its tables or lists more than 20 deep"
CONTENTS: dict[str, tuple[bytes, str]] = {
    "deep list": (b"a = " + b"[" * 50_000 + b"]" * 50_000, DEEP),
    "deep inline table": (b"a = " + b"{a = " * 20_000 + b"1" + b"}" * 20_000, DEEP),
    "deep key": (b".".join([b"a"] * 900) + b" = 1", DEEP),
    "endless key": (b".".join([b"a"] * 400_000) + b" = 1", "a line of more than 1000 dots"),
    "deep header": (b"[" + b".".join([b"a"] * 900) + b"]\nb = 1", DEEP),
    "200 deep": (b"name = " + b"[" * 200 + b"]" * 200, DEEP),
    "20,000 keys": (b"\n".join(b"k%d = 1" % n for n in range(20_000)), "unknown|lacks|missing"),
    "long key": (b"k" * 900_000 + b" = 1", "unknown|lacks|missing"),
    "long value": (b'name = "' + b"v" * 900_000 + b'"\nnamed = 1', "unknown|lacks|missing|regime"),
    "long number": (b"seed = " + b"1" * 900_000, "no TOML|not TOML|unknown|lacks"),
    "2 MiB": (b"# " + b"c" * 2 * 2**20, "is larger than 1 MiB"),
    "other letters": ("name = 'Gefäß'".encode("latin-1"), "not UTF-8 text"),
    "UTF-16": ("name = 'x'".encode("utf-16"), "not UTF-8 text"),
    "binary": (bytes(range(32)) * 20, "no TOML|not TOML"),
}


def _refusal(kind: str, path: Path) -> str:
    with pytest.raises(InputError) as refusal:
        READERS[kind](path)
    message = str(refusal.value).replace(str(path), "FILE")
    assert "FILE" in message
    assert "\n" not in message
    assert len(message) < 900
    return message


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("content", CONTENTS)
def test_content_that_nobody_expects_is_refused(content: str, kind: str, tmp_path: Path) -> None:
    """If it fails, a damaged or hostile file ends in a traceback or a message of megabytes."""
    written, message = CONTENTS[content]
    path = tmp_path / "file.toml"
    path.write_bytes(written)
    refusal = _refusal(kind, path)
    assert any(part in refusal for part in message.split("|")) or pytest.fail(refusal)


@pytest.mark.parametrize("kind", READERS)
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    """If it fails, a folder or a pipe by the name of the file ends in a traceback, or never."""
    path = tmp_path / "file.toml"
    assert "cannot be read: No such file" in _refusal(kind, path)
    path.mkdir()
    assert "cannot be read: " in _refusal(kind, path)
    path.rmdir()
    os.mkfifo(path)
    assert "cannot be read: it is no regular file" in _refusal(kind, path)


def test_a_mark_and_other_line_ends_are_read(tmp_path: Path) -> None:
    """If it fails, a file that Windows' editor saved is called broken."""
    path = tmp_path / "file.toml"
    path.write_bytes(b"\xef\xbb\xbfname = 'x'\r\nvalues = [[1], [2]]\r\n")
    assert read_toml(path, "file", InputError) == {"name": "x", "values": [[1], [2]]}


def test_lists_in_messages_are_short() -> None:
    """If it fails, one message fills the terminal with the names of 100,000 columns."""
    assert list_some([]) == "none"
    assert list_some("abc") == "a, b, c"
    assert list_some(map(str, range(99)), 2) == "0, 1, … (99 in all)"
    assert len(list_some(["x" * 10**6] * 50)) < 2000
