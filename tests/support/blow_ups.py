"""Bundles of a few kilobytes or megabytes that were made to fill a memory or to keep a CPU busy."""

from __future__ import annotations

import io
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from submissions import (
    FIRST,
    FOLDER,
    Json,
    edit_manifest,
    edit_record,
    lay_out,
    relist,
    replace_sidecar,
    reseal,
    sha256,
    write_valid,
)

from leaderboard.published.record import MOST_BYTES
from leaderboard.published.sidecar import MOST_NUMBERS, MOST_PACKED
from leaderboard.submission.bundle import MOST_SOURCE

Spoil = Callable[[Path], object]
Case = tuple[str, str, Spoil]

_GIBIBYTE = 2**30
_TABLE = {"columns": [], "format": 1, "samples": []}
_COLUMN = {"conditions": {}, "ratio": False, "reasons": {}, "sample": 0, "statistic": "share"}
_SAMPLE: Json = {"keys": ["a"], "subjects": ["a"], "groups": [0]}


def cases() -> Iterator[Case]:
    """Yield name, expected fault and spoiler of each bundle."""
    yield from sidecars()
    yield from tables()
    yield from records()
    yield from manifests_and_sources()


def sidecars() -> Iterator[Case]:
    """Yield archives that are not what they say."""
    for size, told, fault in (
        (_GIBIBYTE, _GIBIBYTE, "sidecar-bomb"),
        (_GIBIBYTE, 8, "sidecar-malformed"),
        (_GIBIBYTE, MOST_NUMBERS, "sidecar-malformed"),
        (MOST_NUMBERS, MOST_NUMBERS, "sidecar-malformed"),
        (2**16, 2**32 - 1, "sidecar-bomb"),
    ):
        name = f"{size:,} zeros that say {told:,}"
        yield name, fault, lambda f, s=size, t=told: replace_sidecar(f, _archive(_zeros(s), t))
    for memory in (2**23 + 1, 2**30, 2**32 - 1):
        packed = _zeros(2**16, memory)
        name = f"a decoder of {memory:,} bytes"
        yield name, "sidecar-bomb", lambda f, p=packed: replace_sidecar(f, _archive(p, 2**16))
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_STORED):
        name = f"packed by method {method}"
        content = _zipped({"table.json": json.dumps(_TABLE), "values": ""}, method)
        yield name, "sidecar-malformed", lambda f, c=content: replace_sidecar(f, c)
    many = _zipped({f"{number}": "" for number in range(20_000)}, zipfile.ZIP_STORED)
    yield "20,000 members", "sidecar-malformed", lambda folder: replace_sidecar(folder, many)
    yield "members that overlap", "sidecar-malformed", _overlap
    yield "a long comment", "sidecar-malformed", lambda f: replace_sidecar(f, b"PK" * 2**20)
    yield (
        "more than may be packed",
        "too-large",
        lambda f: replace_sidecar(f, b"P" * MOST_PACKED * 2),
    )


def tables() -> Iterator[Case]:
    """Yield tables of sidecars that unfold while they are read."""
    whole = {"keys": [f"{n}" for n in range(40_000)], "groups": [0] * 40_000}
    conditions = {f"c{number}": 1 for number in range(100_000)}
    texts: tuple[tuple[str, str, Any], ...] = (
        ("150,000 empty columns", "too-many-values", {**_TABLE, "columns": [{}] * 150_000}),
        (
            "100,000 columns that are null",
            "too-many-columns",
            {**_TABLE, "columns": [None] * 100_000},
        ),
        ("20,000 columns", "too-many-columns", _of(columns=[_COLUMN] * 20_000)),
        ("20,000 samples", "too-many-samples", _of(samples=[_SAMPLE] * 20_000)),
        ("samples that are null", "too-many-samples", _of(samples=[None] * 100_000)),
        (
            "100,000 conditions",
            "too-many-conditions",
            _of(columns=[{**_COLUMN, "conditions": conditions}]),
        ),
        (
            "80,000 reasons without values",
            "scores-differ",
            _of(columns=[{**_COLUMN, "reasons": {f"{n}": "x" for n in range(80_000)}}]),
        ),
        (
            "2,000 columns of 40,000 images",
            "sidecar-malformed",
            _of(columns=[_COLUMN] * 2_000, samples=[{**whole, "subjects": whole["keys"]}]),
        ),
        (
            "a reason of 3 MB",
            "sidecar-malformed",
            _of(columns=[{**_COLUMN, "reasons": {"a": "x" * 3_000_000}}]),
        ),
        ("a name of 3 MB", "sidecar-malformed", _of(columns=[{**_COLUMN, "x" * 3_000_000: 1}])),
    )
    for name, fault, table in texts:
        yield name, fault, lambda f, t=table: _tabled(f, json.dumps(t))
    raw = (
        ("a key 80,000 times", "duplicate-key", "{" + '"a":1,' * 80_000 + '"a":1}'),
        ("a million brackets", "too-deep", "[" * 1_000_000),
        ("two million empty lists", "too-many-values", "[" + "[]," * 1_000_000 + "[]]"),
        ("a number of 3 MB", "huge-number", "9" * 3_000_000),
        ("a fraction of 3 MB", "huge-number", "0." + "9" * 3_000_000),
        ("a string without end", "not-json", '"' + "\\u" * 1_000_000),
        ("a million quotes", "not-json", '"' * 1_000_001),
    )
    for name, fault, text in raw:
        yield name, fault, lambda f, t=text: _tabled(f, t)


def records() -> Iterator[Case]:
    """Yield records that are small, and become large where they are read."""
    row = ["0" * 12, "0" * 12, 0, 0.5, None]
    rows = [[f"{number:012x}", *row[1:]] for number in range(9_000)]
    for name, fault, change in (
        ("70,000 wrong rows", "too-many-values", lambda f: f.update(scores=[0] * 70_000)),
        ("60,000 wrong rows", "wrong-type", lambda f: f.update(scores=[0] * 60_000)),
        ("9,000 strangers", "scores-differ", lambda f: f.update(scores=rows)),
        (
            "a setting of 400 kB",
            "explainer-differs",
            lambda f: f["identity"]["explainer"].update(config={"a": "x" * 400_000}),
        ),
        (
            "30,000 settings",
            "explainer-differs",
            lambda f: f["identity"]["explainer"].update(config={f"{n}": 1 for n in range(30_000)}),
        ),
        (
            "20,000 packages",
            "odd-version",
            lambda f: f["provenance"].update(packages={f"{n}": None for n in range(20_000)}),
        ),
        ("a reason of 400 kB", "wrong-type", lambda f: f.update(reason="x" * 400_000)),
    ):
        yield name, fault, lambda f, c=change: edit_record(f, c)
    more = {"faults": ["x"] * 20_000}
    yield "20,000 faults", "checksum-mismatch", lambda folder: _unsealed(folder, more)
    yield "a record of brackets", "too-deep", lambda f: _raw(f, b"[" * MOST_BYTES)
    yield "a record of digits", "huge-number", lambda f: _raw(f, b"9" * MOST_BYTES)
    yield "a record of commas", "too-many-values", lambda f: _raw(f, b"[" + b"1," * 250_000 + b"1]")
    yield "450 records of 20 kB each", "too-large", lambda f: _many(f, 450, 20_000)
    yield "450 small records", "unknown-cell", lambda f: _many(f, 450, 0)


def manifests_and_sources() -> Iterator[Case]:
    """Yield manifests and sources that take long to read."""

    def listed(folder: Path) -> None:
        files = {f"records/{number}.json": "0" * 64 for number in range(9_000)}
        edit_manifest(folder, lambda fields: fields["files"].update(files))

    yield "9,000 files that are not there", "file-missing", listed
    for name, fault, source in (
        ("a source of brackets", "not-python", b"(" * (MOST_SOURCE - 1)),
        ("a source of minus signs", "not-python", b"-" * (MOST_SOURCE - 2) + b"1"),
        ("a source of powers", "reaches-out", b"x = " + b"y ** " * 900 + b"y"),
        ("a source of names", "reaches-out", b";".join(b"a%d" % n for n in range(30_000))),
        ("a source of imports", "reaches-out", b"import " + b"a,".join([b""] * 60_000) + b"a"),
        ("a source of attributes", "reaches-out", b"x" + b".a" * 900),
        ("a source of strings", "source-differs", b"'a'\n" * 60_000),
    ):
        yield name, fault, lambda f, s=source: _source(f, s)


def _of(**changes: Any) -> Json:
    return {**_TABLE, "columns": [_COLUMN], "samples": [_SAMPLE]} | changes


def _tabled(folder: Path, table: str) -> None:
    content = _zipped({"table.json": table, "values": bytes(4)}, zipfile.ZIP_LZMA)
    replace_sidecar(folder, content)


def _zipped(members: dict[str, str | bytes], method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _zeros(size: int, memory: int = 2**20) -> bytes:
    """Return zeros as a member is packed, with settings that ask for so much memory."""
    filters = [{"id": lzma.FILTER_LZMA1, "preset": 0, "dict_size": 2**16}]
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=filters)
    chunk = bytes(2**20)
    parts = [packer.compress(chunk[: size - at]) for at in range(0, size, len(chunk))]
    return struct.pack("<HHBI", 0, 5, 93, memory) + b"".join(parts) + packer.flush()


def _archive(packed: bytes, told: int) -> bytes:
    """Return a sidecar whose values are packed already, and say to be of another size."""
    table = json.dumps(_TABLE).encode()
    small = _zipped({"table.json": table, "values": b"V" * 3}, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(io.BytesIO(small)) as archive:
        info = archive.getinfo("values")
    start = info.header_offset + 30 + len("values")
    head, directory = small[:start], small[start + info.compress_size :]
    crc = zlib.crc32(bytes(8))
    sizes = struct.pack("<III", crc, len(packed), told)
    head = head[: info.header_offset + 14] + sizes + head[info.header_offset + 26 :]
    at = directory.rindex(b"PK\x01\x02")
    directory = directory[: at + 16] + sizes + directory[at + 28 :]
    moved = len(head) + len(packed)
    end = directory.rindex(b"PK\x05\x06")
    directory = directory[: end + 16] + struct.pack("<I", moved) + directory[end + 20 :]
    return head + packed + directory


def _overlap(folder: Path) -> None:
    """Let both members of the directory be one."""
    content = _zipped({"table.json": b" " * 2**20, "values": b""}, zipfile.ZIP_LZMA)
    at = content.rindex(b"PK\x01\x02")
    content = content[: at + 42] + bytes(4) + content[at + 46 :]
    replace_sidecar(folder, content)


def _unsealed(folder: Path, more: Json) -> None:
    path = folder / f"{FIRST}.json"
    path.write_text(lay_out(json.loads(path.read_text()) | more))
    relist(folder)


def _raw(folder: Path, content: bytes) -> None:
    (folder / f"{FIRST}.json").write_bytes(content)
    relist(folder)


def _many(folder: Path, count: int, padding: int) -> None:
    """Write many records of other cells, each whole, with settings of some length."""
    fields = json.loads((folder / f"{FIRST}.json").read_text())
    fields["identity"]["explainer"]["config"] = {"a": "x" * padding}
    sidecar = (folder / f"{FIRST}.readings").read_bytes()
    for number in range(count):
        name = f"p{number}"
        fields["names"]["protocol"] = fields["identity"]["protocol"]["name"] = name
        (folder / FOLDER / f"{name}.json").write_text(lay_out(reseal(fields)))
        (folder / FOLDER / f"{name}.readings").write_bytes(sidecar)
    relist(folder)


def _source(folder: Path, source: bytes) -> None:
    if source.startswith(b"'"):
        (folder / "source/mine.py").write_bytes(source)
        edit_manifest(folder, lambda f: f.update(source_sha256=sha256(source)))
        relist(folder)
    else:
        write_valid(folder, source)
