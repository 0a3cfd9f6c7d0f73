"""Submissions whose sidecars are damaged, or tell other readings than the record."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
from spoiling import SIDECAR, Case, Spoil
from submissions import forge, replace_sidecar

from benchmark.reading import Reading, Sample
from leaderboard.published.sidecar import pack, unpack


def sidecars() -> Iterator[Case]:
    def of(content: bytes) -> Spoil:
        return lambda folder: replace_sidecar(folder, content)

    table = json.dumps({"columns": [], "format": 1, "samples": []})
    zeros = zipped({"table.json": table, "values": bytes(2**25)})
    yield "a bomb of zeros", "sidecar-bomb", of(zeros)
    yield "a bomb of text", "sidecar-bomb", of(zipped({"table.json": b" " * 2**25, "values": b""}))
    yield "a bomb that lies", "sidecar-malformed", of(lying(zeros))
    yield (
        "a deflated bomb",
        "sidecar-bomb",
        of(zipped({"table.json": table, "values": bytes(2**25)}, zipfile.ZIP_DEFLATED)),
    )
    yield "a bomb in a bomb", "sidecar-malformed", of(zipped({"inner.zip": zeros}))
    yield "no zip", "sidecar-malformed", of(b"not a zip at all")
    yield "an empty zip", "sidecar-malformed", of(zipped({}))
    yield (
        "a zip with a traversal",
        "sidecar-malformed",
        of(zipped({"../table.json": "", "values": ""})),
    )
    yield (
        "a zip with more",
        "sidecar-malformed",
        of(zipped({"table.json": table, "values": "", "x": ""})),
    )
    yield (
        "a zip in another order",
        "sidecar-malformed",
        of(zipped({"values": "", "table.json": table})),
    )
    tables = (
        ("[]", "sidecar-malformed"),
        ("{}", "sidecar-malformed"),
        ("", "empty"),
        ("{", "not-json"),
        ('{"format":1,"format":1}', "duplicate-key"),
        ('{"format":NaN}', "not-finite"),
        ("[" * 50_000, "too-deep"),
        ('"' + '\\"' * 400_000, "not-json"),
        ('{"columns":[],"format":2,"samples":[]}', "sidecar-malformed"),
        ('{"columns":[],"format":1,"samples":[],"more":1}', "sidecar-malformed"),
        (table, "scores-differ"),
        (of_table(sample=5), "sidecar-malformed"),
        (of_table(sample=-1), "sidecar-malformed"),
        (of_table(keys=["a", "a"]), "sidecar-malformed"),
        (of_table(subjects=["a"]), "sidecar-malformed"),
        (of_table(groups=[0, 7]), "sidecar-malformed"),
    )
    for number, (text, fault) in enumerate(tables):
        yield (
            f"a table {number}: {text[:24]!r}",
            fault,
            of(zipped({"table.json": text, "values": ""})),
        )
    whole = of_table()
    for size in (0, 4, 7, 12, 800):
        content = zipped({"table.json": whole, "values": bytes(size)})
        yield f"{size} bytes of values", "sidecar-malformed", of(content)
    infinite = np.array([np.inf, 0], "<f4").view("u1").reshape(-1, 4).T.tobytes()
    yield (
        "infinite values",
        "sidecar-malformed",
        of(zipped({"table.json": whole, "values": infinite})),
    )
    yield "a score inflated in the sidecar alone", "scores-differ", inflate_sidecar


def zipped(members: dict[str, str | bytes], method: int = zipfile.ZIP_LZMA) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def lying(content: bytes) -> bytes:
    """Let the directory say that each member unpacks to a few bytes."""
    return content.replace(struct.pack("<I", 2**25), struct.pack("<I", 8))


def of_table(sample: int = 0, **changes: object) -> str:
    told = {"keys": ["a", "b"], "subjects": ["a", "b"], "groups": [0, 1]} | changes
    column = {
        "statistic": "share",
        "sample": sample,
        "conditions": {},
        "reasons": {},
        "ratio": False,
    }
    return json.dumps({"columns": [column], "format": 1, "samples": [told]})


def inflate_sidecar(folder: Path) -> None:
    readings = unpack((folder / SIDECAR).read_bytes(), "x")
    replace_sidecar(folder, pack([replace(one, values=one.values + 0.1) for one in readings]))


def forgeries() -> Iterator[Case]:
    def forged(change: Callable[[Reading], Reading]) -> Spoil:
        return lambda folder: forge(folder, change)

    for name, fault, change in (
        ("with a stranger", "unknown-subject", lambda one: renamed(one, ("feedfeedfeed",) * 2)),
        ("with strangers' images", "unknown-subject", lambda one: renamed(one, ("#0",) * 2)),
        ("with two subjects swapped", "renamed-subject", swapped),
        ("with groups turned", "renamed-subject", turned),
        ("without its worst subject", "subject-missing", without_worst),
        ("of one subject", "subject-missing", lambda one: first(one, 1)),
        ("with no value of its worst subject", "subject-unscored", worst_nulled),
        ("that failed and says pass", "verdict-differs", lambda one: raised(one, -1.0)),
        ("without what the verdict needs", "verdict-differs", forgotten),
    ):
        yield f"a forgery {name}", fault, forged(change)


def renamed(one: Reading, names: tuple[str, str]) -> Reading:
    key, subject = names
    if key.startswith("#"):
        key, subject = one.sample.keys[0] + key, one.sample.subjects[0]
    sample = replace(
        one.sample, keys=(key, *one.sample.keys[1:]), subjects=(subject, *one.sample.subjects[1:])
    )
    return replace(one, sample=sample)


def swapped(one: Reading) -> Reading:
    first, second, *rest = one.sample.subjects
    return replace(one, sample=replace(one.sample, subjects=(second, first, *rest)))


def turned(one: Reading) -> Reading:
    groups = tuple(1 - group for group in one.sample.groups)
    return replace(one, sample=replace(one.sample, groups=groups))


def first(one: Reading, count: int) -> Reading:
    return kept(one, np.arange(count))


def without_worst(one: Reading) -> Reading:
    return kept(one, np.flatnonzero(one.values > one.values.min()))


def worst_nulled(one: Reading) -> Reading:
    values = np.where(one.values == one.values.min(), np.nan, one.values)
    gaps = [key for key, value in zip(one.sample.keys, values, strict=True) if np.isnan(value)]
    return replace(one, values=values, reasons=dict.fromkeys(gaps, "constant map"))


def kept(one: Reading, rows: np.ndarray[Any, Any]) -> Reading:
    names = [tuple(part[row] for row in rows) for part in astuple(one.sample)]
    return replace(one, sample=Sample(*names), values=one.values[rows])


def raised(one: Reading, by: float) -> Reading:
    return replace(one, values=one.values + by)


def forgotten(one: Reading) -> Reading:
    return replace(one, statistic="other") if one.statistic == "excess" else one
