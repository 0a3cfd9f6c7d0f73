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
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import StringConstraints, ValidationError

from benchmark.reading import Reading, Sample
from benchmark.records.identity import StrictModel, canonical_json, first_fault
from benchmark.records.record import SampleEntry
from leaderboard.published.fault import FaultError
from leaderboard.published.strict_json import parse

# The largest that suite v1 writes has 0.04 MB, and unpacks to a table of 0.12 MB with 190 columns
# and 10,000 values in it, and 0.07 MB of numbers.
MOST_PACKED, MOST_TABLE, MOST_NUMBERS = 2**22, 2**22, 2**24
MOST_VALUES, MOST_COLUMNS, MOST_SAMPLES, MOST_CONDITIONS = 2**18, 2_000, 64, 32
_TABLE, _VALUES = "table.json", "values"
_MOST_OF = {_TABLE: MOST_TABLE, _VALUES: MOST_NUMBERS}
_DATE = (1980, 1, 1, 0, 0, 0)
_DROPPED_BITS = 5
# What a damaged zip raises depends on where it is damaged.
_DAMAGED = (
    *(zipfile.BadZipFile, lzma.LZMAError, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError, LookupError, zlib.error, struct.error),
)
# Signature and rest of a member's own header, lengths of its name and of what follows it.
_HEADER = struct.Struct("<4s22sHH")
# Version of the packer, length of the settings (5), and these: literal and position bits in one
# byte, and the memory that unpacking needs.
_LZMA = struct.Struct("<HHBI")
MOST_MEMORY = 2**23
_NAMED, _TOLD = StringConstraints(max_length=200), StringConstraints(max_length=4_000)


class _Column(StrictModel):
    statistic: Annotated[str, _NAMED]
    sample: int
    conditions: dict[Annotated[str, _NAMED], Annotated[str, _NAMED] | int | float]
    reasons: dict[Annotated[str, _NAMED], Annotated[str, _TOLD]]
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
        FaultError: ``sidecar-bomb``, ``sidecar-malformed``, ``too-many-columns``,
            ``too-many-samples`` or ``too-many-conditions``, or what ``parse`` raises.
    """
    table_text, numbers = _members(content, location)
    table_location = f"{location}!{_TABLE}"
    fields = parse(table_text, table_location, MOST_TABLE, MOST_VALUES)
    _check_counts(fields, table_location)
    try:
        table = _Table.model_validate_json(canonical_json(fields))
    except ValidationError as error:
        key, message = first_fault(error)
        detail = f"at {key[:80]!r}: {message}"[:300]
        raise FaultError("sidecar-malformed", table_location, detail) from error
    return _readings(table, numbers, location)


def _check_counts(fields: object, location: str) -> None:
    """Refuse what would take long to compare, and would make as many messages as it has entries."""
    if not isinstance(fields, dict):
        return
    columns = fields.get("columns")
    lists = [("columns", columns, MOST_COLUMNS), ("samples", fields.get("samples"), MOST_SAMPLES)]
    for name, entries, most in lists:
        if isinstance(entries, list) and len(entries) > most:
            detail = f"it has {len(entries):,}, and may have {most:,}"
            raise FaultError(f"too-many-{name}", location, detail)
    for column in columns if isinstance(columns, list) else ():
        conditions = column.get("conditions") if isinstance(column, dict) else None
        if isinstance(conditions, dict) and len(conditions) > MOST_CONDITIONS:
            detail = f"a column has {len(conditions):,}, and may have {MOST_CONDITIONS}"
            raise FaultError("too-many-conditions", location, detail)


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
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
        if [info.filename for info in infos] != [_TABLE, _VALUES]:
            names = ", ".join(info.filename[:40] for info in infos[:4])
            detail = f"expected {_TABLE} and {_VALUES} but got {names or 'nothing'}"
            raise FaultError("sidecar-malformed", location, detail)
        for info in infos:
            most = _MOST_OF[info.filename]
            if info.file_size > most:
                detail = f"{info.filename} unpacks to over {most:,} bytes"
                raise FaultError("sidecar-bomb", location, detail)
        table, numbers = (_unpacked(content, info, location) for info in infos)
    except _DAMAGED as error:
        detail = f"it cannot be unpacked: {error}"[:300]
        raise FaultError("sidecar-malformed", location, detail) from error
    return table, numbers


def _unpacked(content: bytes, info: zipfile.ZipInfo, location: str) -> bytes:
    """Return a member, of which one byte more than it declares is unpacked at most.

    ``zipfile`` hands all that is packed to the decoder at once, and cuts what comes out: four
    kilobytes become a gigabyte before anybody can stop it.
    """
    signature, _, name_length, extra_length = _HEADER.unpack_from(content, info.header_offset)
    start = info.header_offset + _HEADER.size + name_length + extra_length
    packed = content[start : start + info.compress_size]
    _, length, bits, memory = _LZMA.unpack_from(packed)
    if info.compress_type != zipfile.ZIP_LZMA or signature != b"PK\x03\x04" or length != 5:
        detail = f"{info.filename} is not packed as sidecars are"
        raise FaultError("sidecar-malformed", location, detail)
    if memory > MOST_MEMORY:
        detail = f"{info.filename} asks for {memory:,} bytes of memory, more than {MOST_MEMORY:,}"
        raise FaultError("sidecar-bomb", location, detail)
    positions, literals = divmod(bits, 9)
    settings = {"lc": literals, "lp": positions % 5, "pb": positions // 5, "dict_size": memory}
    filters = [{"id": lzma.FILTER_LZMA1, **settings}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    unpacked = decoder.decompress(packed[_LZMA.size :], max_length=info.file_size + 1)
    if len(unpacked) != info.file_size or zlib.crc32(unpacked) != info.CRC:
        detail = f"{info.filename} is not what its directory says"
        raise FaultError("sidecar-malformed", location, detail)
    return unpacked


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_LZMA
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
