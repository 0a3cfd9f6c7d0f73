"""The form of messages between a worker and whoever judges it.

What goes to the worker is pickled, since its sender is trusted. What comes back never is: it is a
header of bounded size in strict JSON, and behind it as many bytes as the receiver expects.

::

    to the worker      8 bytes: length | a pickled request
    from the worker    4 bytes: length of the header, 8 bytes: length of the payload | both
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

REQUEST = struct.Struct("<Q")
REPLY = struct.Struct("<IQ")

MOST_HEADER = 2**16
MOST_TEXT = 2_000  # characters of an error's message

Header = dict[str, Any]


class GarbageError(ValueError):
    """A reply that is none; its message says in a few words what arrived."""


def pack_reply(header: Mapping[str, object], payload: memoryview | bytes = b"") -> bytes:
    """Return what stands before the payload of a reply: both lengths, and the header.

    Raises:
        ValueError: If the header holds what is no JSON, or is too long.
    """
    text = json.dumps(header, allow_nan=False).encode()
    if len(text) > MOST_HEADER:
        raise ValueError(f"a reply of {len(text):,} bytes is longer than {MOST_HEADER:,}")
    return REPLY.pack(len(text), len(payload)) + text


def unpack_lengths(prefix: bytes, expected: int) -> int:
    """Return the length of a reply's header, whose payload must be empty or as expected.

    Raises:
        GarbageError: If header or payload have another length.
    """
    header, payload = REPLY.unpack(prefix)
    if not 2 <= header <= MOST_HEADER:
        raise GarbageError(f"a header of {header:,} bytes")
    if payload not in (0, expected):
        raise GarbageError(f"{payload:,} bytes of maps where {expected:,} were expected")
    return int(header)


def payload_of(prefix: bytes) -> int:
    """Return the length of a reply's payload."""
    return int(REPLY.unpack(prefix)[1])


def unpack_header(text: bytes) -> Header:
    """Return the header of a reply.

    Raises:
        GarbageError: If it is no JSON object.
    """
    try:
        header = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise GarbageError(f"a header that is no JSON ({type(error).__name__})") from error
    if not isinstance(header, dict):
        raise GarbageError("a header that is no JSON object")
    return header


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
