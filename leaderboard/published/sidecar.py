"""Everything that a protocol read, as columns in a compressed file beside the record.

A sidecar is a zip of two members: ``table.json``, which says what each column is, and ``values``,
all numbers as little-endian float32 with the bytes of equal weight side by side, which a compressor
likes. Numbers keep eighteen bits of mantissa: they are off by 2e-6 of their size at most.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from benchmark.reading import Condition, Reading, Sample
from benchmark.records.identity import StrictModel, canonical_json, first_fault
from benchmark.records.record import SampleEntry
from leaderboard.published.fault import FaultError
from leaderboard.published.strict_json import decode, parse

# The largest that suite v1 writes has 0.1 MB, and 0.4 MB unpacked.
MOST_PACKED, MOST_UNPACKED = 2**22, 2**24
_TABLE, _VALUES = "table.json", "values"
_DATE = (1980, 1, 1, 0, 0, 0)
_DROPPED_BITS = 5
_FORMAT = 1


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
    # To the nearest; a carry into the exponent is the right one.
    nearest = ((bits + half) >> np.uint64(_DROPPED_BITS)) << np.uint64(_DROPPED_BITS)
    result = np.where(finite, nearest, bits).astype("<u4").view("<f4")
    return np.where(np.isnan(result), np.float32(np.nan), result)


def pack(readings: Sequence[Reading]) -> bytes:
    """Return the sidecar of readings.

    Args:
        readings: Of one cell.

    Raises:
        FaultError: ``sidecar-malformed`` where a value lies beyond float32.
    """
    places: dict[Sample, int] = {}
    columns, parts = [], []
    for one in readings:
        columns.append(
            {
                "statistic": one.statistic,
                "sample": places.setdefault(one.sample, len(places)),
                "conditions": dict(sorted(one.conditions.items())),
                "reasons": dict(sorted(one.reasons.items())),
                "ratio": one.denominators is not None,
            }
        )
        parts.append(one.values)
        if one.denominators is not None:
            parts.append(one.denominators)
    samples = [
        {"keys": list(one.keys), "subjects": list(one.subjects), "groups": list(one.groups)}
        for one in places
    ]
    whole = np.concatenate(parts) if parts else np.zeros(0)
    with np.errstate(over="ignore"):
        values = rounded(whole)
    if (np.isinf(values)).any():
        raise FaultError("sidecar-malformed", _VALUES, "a value is infinite or beyond float32")
    table = {"format": _FORMAT, "samples": samples, "columns": columns}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, _TABLE, canonical_json(table).encode())
        _add(archive, _VALUES, values.view("u1").reshape(-1, 4).T.tobytes())
    return buffer.getvalue()


def unpack(content: bytes, place: str) -> list[Reading]:
    """Return the readings of a sidecar.

    Args:
        content: Bytes of the file.
        place: For messages.

    Raises:
        FaultError: ``sidecar-bomb`` or ``sidecar-malformed``, or what ``parse`` raises.
    """
    table_text, numbers = _members(content, place)
    told = parse(decode(table_text, f"{place}!{_TABLE}", MOST_UNPACKED), f"{place}!{_TABLE}")
    try:
        table = _Table.model_validate_json(canonical_json(told))
    except ValidationError as error:
        key, message = first_fault(error)
        detail = f"at {key!r}: {message}"
        raise FaultError("sidecar-malformed", f"{place}!{_TABLE}", detail) from error
    return _readings(table, numbers, place)


def _readings(table: _Table, numbers: bytes, place: str) -> list[Reading]:
    for told in table.samples:
        if not len(told.keys) == len(told.subjects) == len(told.groups) == len(set(told.keys)):
            raise FaultError("sidecar-malformed", place, "keys, subjects and groups do not fit")
    if any(not 0 <= one.sample < len(table.samples) for one in table.columns):
        raise FaultError("sidecar-malformed", place, "a column refers to a missing sample")
    samples = [Sample(one.keys, one.subjects, one.groups) for one in table.samples]
    widths = [len(samples[one.sample]) * (2 if one.ratio else 1) for one in table.columns]
    if len(numbers) != 4 * sum(widths):
        detail = f"it has {len(numbers)} bytes of values, and its table {4 * sum(widths)}"
        raise FaultError("sidecar-malformed", place, detail)
    shuffled = np.frombuffer(numbers, "u1").reshape(4, -1)
    values = np.ascontiguousarray(shuffled.T).view("<f4").reshape(-1).astype(np.float64)
    if np.isinf(values).any():
        raise FaultError("sidecar-malformed", place, "a value is infinite")
    readings = []
    ends = np.cumsum([0, *widths])
    for one, start, end in zip(table.columns, ends, ends[1:], strict=False):
        part = values[start:end]
        half = len(samples[one.sample])
        readings.append(
            Reading(
                one.statistic,
                samples[one.sample],
                part[:half],
                one.conditions,
                one.reasons,
                part[half:] if one.ratio else None,
            )
        )
    return readings


def _members(content: bytes, place: str) -> tuple[bytes, bytes]:
    """Return both members, never unpacking more than a sidecar may hold."""
    if len(content) > MOST_PACKED:
        raise FaultError("sidecar-bomb", place, f"it has more than {MOST_PACKED:,} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = archive.infolist()
            if [one.filename for one in found] != [_TABLE, _VALUES]:
                names = ", ".join(one.filename[:40] for one in found[:4])
                detail = f"expected {_TABLE} and {_VALUES} but got {names or 'nothing'}"
                raise FaultError("sidecar-malformed", place, detail)
            if sum(one.file_size for one in found) > MOST_UNPACKED:
                raise FaultError("sidecar-bomb", place, f"it unpacks to over {MOST_UNPACKED:,}")
            parts = []
            for one in found:
                with archive.open(one) as member:
                    parts.append(member.read(MOST_UNPACKED + 1))
                if len(parts[-1]) > MOST_UNPACKED:
                    raise FaultError("sidecar-bomb", place, f"it unpacks to over {MOST_UNPACKED:,}")
    except FaultError:
        raise
    # What a damaged zip raises depends on where it is damaged.
    except (zipfile.BadZipFile, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise FaultError("sidecar-malformed", place, f"it cannot be unpacked: {error}") from error
    except (NotImplementedError, RuntimeError, LookupError, zlib.error, struct.error) as error:
        raise FaultError("sidecar-malformed", place, f"it cannot be unpacked: {error}") from error
    return parts[0], parts[1]


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_LZMA
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
