"""The sidecar of a record: all readings, as columns in a compressed file beside it.

A sidecar is a zip of two members: ``table.json``, which describes each column, and ``values``, all
numbers as little-endian float32. Bytes of equal weight stand side by side, which compresses better.
Numbers keep eighteen bits of mantissa: they are off by 2e-6 of their size at most.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from benchmark.reading import Condition, Reading, Sample
from benchmark.records.identity import StrictModel, canonical_json, first_fault
from benchmark.records.record import SampleEntry
from leaderboard.published.fault import FaultError
from leaderboard.published.strict_json import parse

# The largest that suite v1 writes has 0.1 MB, and 0.4 MB unpacked.
MOST_PACKED, MOST_UNPACKED = 2**22, 2**24
_TABLE, _VALUES = "table.json", "values"
_DATE = (1980, 1, 1, 0, 0, 0)
_DROPPED_BITS = 5
# What a damaged zip raises depends on where it is damaged.
_DAMAGED = (
    *(zipfile.BadZipFile, lzma.LZMAError, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError, LookupError, zlib.error, struct.error),
)


class _Column(StrictModel):
    statistic: str
    sample: int
    conditions: dict[str, Condition]
    reasons: dict[str, str]
    ratio: bool


class _Table(StrictModel):
    format: Literal[1]
    samples: tuple[SampleEntry, ...]
    columns: tuple[_Column, ...]


def rounded(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the values as float32 rounded to eighteen bits of mantissa, NaN for NaN."""
    bits = np.asarray(values, dtype="<f4").view("<u4").astype(np.uint64)
    finite = np.isfinite(np.asarray(values, dtype="<f4"))
    half = np.uint64(1 << (_DROPPED_BITS - 1))
    # Rounds to the nearest; a carry into the exponent gives the right number.
    nearest = ((bits + half) >> np.uint64(_DROPPED_BITS)) << np.uint64(_DROPPED_BITS)
    result = np.where(finite, nearest, bits).astype("<u4").view("<f4")
    return np.where(np.isnan(result), np.float32(np.nan), result)


def pack(readings: Sequence[Reading]) -> bytes:
    """Return the sidecar of readings.

    Raises:
        FaultError: ``sidecar-malformed`` where a value lies beyond float32.
    """
    positions: dict[Sample, int] = {}
    columns, parts = [], []
    for reading in readings:
        columns.append(
            {
                "statistic": reading.statistic,
                "sample": positions.setdefault(reading.sample, len(positions)),
                "conditions": dict(sorted(reading.conditions.items())),
                "reasons": dict(sorted(reading.reasons.items())),
                "ratio": reading.denominators is not None,
            }
        )
        parts.append(reading.values)
        if reading.denominators is not None:
            parts.append(reading.denominators)
    samples = [asdict(sample) for sample in positions]
    with np.errstate(over="ignore"):
        values = rounded(np.concatenate([*parts, []]))
    if np.isinf(values).any():
        raise FaultError("sidecar-malformed", _VALUES, "a value is infinite or beyond float32")
    table = {"format": 1, "samples": samples, "columns": columns}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, _TABLE, canonical_json(table).encode())
        _add(archive, _VALUES, values.view("u1").reshape(-1, 4).T.tobytes())
    return buffer.getvalue()


def unpack(content: bytes, location: str) -> list[Reading]:
    """Return the readings of a sidecar.

    Raises:
        FaultError: ``sidecar-bomb`` or ``sidecar-malformed``, or what ``parse`` raises.
    """
    table_text, numbers = _members(content, location)
    table_location = f"{location}!{_TABLE}"
    fields = parse(table_text, table_location, MOST_UNPACKED)
    try:
        table = _Table.model_validate_json(canonical_json(fields))
    except ValidationError as error:
        key, message = first_fault(error)
        detail = f"at {key!r}: {message}"
        raise FaultError("sidecar-malformed", table_location, detail) from error
    return _readings(table, numbers, location)


def _readings(table: _Table, numbers: bytes, location: str) -> list[Reading]:
    for entry in table.samples:
        if not len(entry.keys) == len(entry.subjects) == len(entry.groups) == len(set(entry.keys)):
            raise FaultError("sidecar-malformed", location, "keys, subjects and groups do not fit")
    if any(not 0 <= column.sample < len(table.samples) for column in table.columns):
        raise FaultError("sidecar-malformed", location, "a column refers to a missing sample")
    samples = [Sample(entry.keys, entry.subjects, entry.groups) for entry in table.samples]
    widths = [len(samples[column.sample]) * (2 if column.ratio else 1) for column in table.columns]
    if len(numbers) != 4 * sum(widths):
        detail = f"it has {len(numbers)} bytes of values, and its table {4 * sum(widths)}"
        raise FaultError("sidecar-malformed", location, detail)
    shuffled = np.frombuffer(numbers, "u1").reshape(4, -1)
    values = np.ascontiguousarray(shuffled.T).view("<f4").reshape(-1).astype(np.float64)
    if np.isinf(values).any():
        raise FaultError("sidecar-malformed", location, "a value is infinite")
    readings = []
    parts = np.split(values, np.cumsum(widths)[:-1])
    for column, part in zip(table.columns, parts, strict=False):  # a split has at least one part
        sample = samples[column.sample]
        own, below = part[: len(sample)], part[len(sample) :] if column.ratio else None
        about = column.conditions, column.reasons
        readings.append(Reading(column.statistic, sample, own, *about, below))
    return readings


def _members(content: bytes, location: str) -> tuple[bytes, bytes]:
    """Return both members, without unpacking more than a sidecar may hold."""
    if len(content) > MOST_PACKED:
        raise FaultError("sidecar-bomb", location, f"it has more than {MOST_PACKED:,} bytes")
    bomb = f"it unpacks to over {MOST_UNPACKED:,}"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            if [info.filename for info in infos] != [_TABLE, _VALUES]:
                names = ", ".join(info.filename[:40] for info in infos[:4])
                detail = f"expected {_TABLE} and {_VALUES} but got {names or 'nothing'}"
                raise FaultError("sidecar-malformed", location, detail)
            if sum(info.file_size for info in infos) > MOST_UNPACKED:
                raise FaultError("sidecar-bomb", location, bomb)
            parts = []
            for info in infos:
                with archive.open(info) as member:
                    parts.append(member.read(MOST_UNPACKED + 1))
                if len(parts[-1]) > MOST_UNPACKED:
                    raise FaultError("sidecar-bomb", location, bomb)
    except _DAMAGED as error:
        detail = f"it cannot be unpacked: {error}"
        raise FaultError("sidecar-malformed", location, detail) from error
    return parts[0], parts[1]


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_LZMA
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
