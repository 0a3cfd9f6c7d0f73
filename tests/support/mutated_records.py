"""Records changed at random, each read again: refused by name, or equal to what was written.

::

    OMP_NUM_THREADS=1 python tests/support/mutated_records.py --count 100000 --seed 0

A third of the changes are made to bytes, a third to fields, and a third to fields of a record that
is sealed again and laid out as records are, so that the reader looks at more than the surface. The
script ends with 1 where a record was accepted that does not say, to the byte, what the file says,
or where anything but a named fault came out.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from submissions import Json, build_published, lay_out, reseal

from leaderboard.published.fault import FaultError
from leaderboard.published.record import PublishedRecord

_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        64,
        0.5,
        -0.0,
        1e-300,
        1e300,
        2**53,
        2**63,
        10**19,
        -1e6,
        1e6,
    ),
    *("", " ", "0", "v1", "mine", "loading", "higher", "a" * 12, "f" * 64, "x" * 401, "../x", "é"),
    *("\u202e", "\u200b", "\ud800", "\n", "NaN", "self-reported", "scored", "failed", "pass"),
    *([], {}, [0], [[]], {"a": 1}, {"": {}}, [None, None], "2026-11-26T00:00:00Z"),
)
_PIECES = (
    *(
        b"",
        b"\0",
        b"\xff",
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b" ",
        b"0",
        b"9",
    ),
    *(b"1e999", b"NaN", b"-", b"null", b"true", b"\\u202e", b"\\ud800", b"\xe2\x80\xae", b'"a":1,'),
)


def mutants(count: int, seed: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield changed records, and the only content that a reader may make of each, if it is known.

    Where a record was not sealed again, that is the record as it was before the change.
    """
    generator = random.Random(seed)
    originals = [build_published(name)[0].to_json().encode() for name in ("loading", "second")]
    for number in range(count):
        original = originals[number % 2]
        if number % 3 == 0:
            yield _with_bytes(original, generator), original
        else:
            fields = json.loads(original)
            for _ in range(generator.choice((1, 1, 1, 2, 4))):
                _change(fields, generator)
            resealed = number % 3 == 2
            text = _laid_out(fields, resealed)
            yield text, text if resealed else original


def judge(content: bytes, expected: bytes | None) -> str:
    """Return the name of the fault of a record, or ``accepted``.

    Raises:
        AssertionError: If it was accepted and says something else than the file.
    """
    try:
        record = PublishedRecord.from_json(content, "a record")
    except FaultError as error:
        if not str(error).isprintable():
            raise AssertionError(f"The message {str(error)!r} would steer a terminal.") from error
        return error.fault.name
    written = record.to_json().encode()
    if written != content or content != expected:
        raise AssertionError(f"A record was read that nobody wrote:\n{content.decode()}")
    return "accepted"


def _with_bytes(original: bytes, generator: random.Random) -> bytes:
    content = bytearray(original)
    for _ in range(generator.choice((1, 1, 2, 8))):
        start = generator.randrange(len(content) + 1)
        kind = generator.randrange(4)
        if kind == 0 and content:
            content[start % len(content)] ^= 1 << generator.randrange(8)
        elif kind == 1:
            content[start : start + generator.choice((1, 2, 20, 400))] = b""
        elif kind == 2:
            content[start:start] = generator.choice(_PIECES) * generator.choice((1, 1, 40))
        else:
            end = start + generator.randrange(1, 200)
            target = generator.randrange(len(content) + 1)
            content[target:target] = content[start:end]
    return bytes(content)


def _change(fields: Json, generator: random.Random) -> None:
    """Replace, delete, add, double or exchange a value anywhere in a record."""
    parents = list(_parents(fields))
    parent = generator.choice(parents)
    keys: list[Any] = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    kind = generator.randrange(6)
    if not keys or kind == 0:
        odd = copy.deepcopy(generator.choice(_ODD))
        if isinstance(parent, dict):
            parent[str(generator.choice(_ODD))] = odd
        else:
            parent.insert(generator.randrange(len(parent) + 1), odd)
        return
    key = generator.choice(keys)
    if kind == 1:
        del parent[key]
    elif kind == 2:
        other = generator.choice(parents)
        values = list(other.values()) if isinstance(other, dict) else list(other)
        if values:
            parent[key] = json.loads(json.dumps(generator.choice(values)))
    elif kind == 3 and isinstance(parent[key], int | float):
        parent[key] = parent[key] * generator.choice((-1, 0.5, 2, 1e9)) + generator.choice(
            (0, 1e-7)
        )
    elif kind == 4 and isinstance(parent[key], str) and parent[key]:
        position = generator.randrange(len(parent[key]))
        letter = generator.choice("0aZ_.\u0430\u202e\n ")
        parent[key] = parent[key][:position] + letter + parent[key][position + 1 :]
    else:
        parent[key] = copy.deepcopy(generator.choice(_ODD))


def _parents(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _parents(part)


def _laid_out(fields: Json, resealed: bool) -> bytes:
    """Return the content of a record, laid out as records are where it still has their form."""
    try:
        return lay_out(reseal(fields) if resealed else fields).encode("utf-8", "surrogatepass")
    except (KeyError, TypeError, ValueError, AttributeError):
        return json.dumps(fields, indent=1, allow_nan=True).encode()


def main() -> int:
    """Read so many changed records, and print how many ended in which way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start, counts, wrong = time.monotonic(), Counter[str](), 0
    for content, expected in mutants(given.count, given.seed):
        try:
            counts[judge(content, expected)] += 1
        except Exception as error:  # whatever it is, it must not be
            wrong += 1
            sys.stdout.write(f"WRONG: {type(error).__name__}: {error}\n{content!r}\n")
    for name, count in counts.most_common():
        sys.stdout.write(f"{count:8,} {name}\n")
    minutes, cpu = (time.monotonic() - start) / 60, time.process_time() / 60
    sys.stdout.write(
        f"{given.count:,} records of seed {given.seed}, {wrong} wrong, {minutes:.1f} minutes, "
        f"{cpu:.1f} of a processor\n"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
