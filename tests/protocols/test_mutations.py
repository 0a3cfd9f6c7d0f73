"""A hundred thousand damaged records: each refused in a sentence, none read as something else."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np
import pytest
from runs import build_record
from submissions import build_published

from benchmark.errors import StoreError
from benchmark.records.record import Record
from leaderboard.published.fault import FaultError
from leaderboard.published.record import PublishedRecord
from leaderboard.published.sidecar import unpack

MUTANTS = 100_000
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[\[\]{}:,]')
_TOKENS = (
    b"null true false 0 -0 1 -1 1.0 0.1 1e5 1e400 -1e-400 NaN Infinity [] {} [[]] "
    b'"" "x" "\\u0000" "\\ud800" "pass" "scored" { } [ ] : , 00 1. .5'
).split()

Mutation = Callable[[bytes, random.Random], bytes]


def flip(content: bytes, chance: random.Random) -> bytes:
    """Turn one to four bits."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def delete(content: bytes, chance: random.Random) -> bytes:
    """Leave a stretch out, or the rest."""
    start = chance.randrange(len(content))
    length = chance.choice((1, 2, 8, 64, len(content)))
    return content[:start] + content[start + length :]


def insert(content: bytes, chance: random.Random) -> bytes:
    """Put a few bytes in between."""
    place = chance.randrange(len(content) + 1)
    return content[:place] + chance.randbytes(chance.randint(1, 5)) + content[place:]


def swap(content: bytes, chance: random.Random) -> bytes:
    """Let two stretches change places."""
    one, two, three, four = sorted(chance.randrange(len(content) + 1) for _ in range(4))
    parts = content[:one], content[three:four], content[two:three], content[one:two], content[four:]
    return b"".join(parts)


def splice(content: bytes, chance: random.Random) -> bytes:
    """Copy a stretch to another place."""
    start, place = chance.randrange(len(content)), chance.randrange(len(content) + 1)
    piece = content[start : start + chance.randint(1, 200)]
    return content[:place] + piece + content[place:]


def exchange(content: bytes, chance: random.Random) -> bytes:
    """Replace a token by another, of the record or of those that parsers stumble over."""
    found = list(_TOKEN.finditer(content))
    old, other = chance.choice(found), chance.choice(found)
    new = chance.choice((chance.choice(_TOKENS), other[0]))
    return content[: old.start()] + new + content[old.end() :]


def renumber(content: bytes, chance: random.Random) -> bytes:
    """Change a digit, so that all stays well formed."""
    digits = [place for place, one in enumerate(content) if 48 <= one <= 57]
    place = chance.choice(digits)
    return content[:place] + str(chance.randrange(10)).encode() + content[place + 1 :]


def rearrange(content: bytes, chance: random.Random) -> bytes:
    """Let two lines change places, or stand twice."""
    lines = content.split(b"\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    if chance.random() < 0.5:
        lines[one], lines[two] = lines[two], lines[one]
    else:
        lines.insert(one, lines[two])
    return b"\n".join(lines)


MUTATIONS: tuple[Mutation, ...] = (
    flip,
    delete,
    insert,
    swap,
    splice,
    exchange,
    renumber,
    rearrange,
)


def survivors(
    content: bytes, read: Callable[[bytes], object], refusal: type[Exception], seed: int
) -> int:
    """Return how many mutants are read; any other exception than the refusal ends the test.

    A mutant may say the same in other bytes; what it says must be what the original says.
    """
    chance, original, alive = random.Random(seed), read(content), 0
    for number in range(MUTANTS // 2):
        mutant = MUTATIONS[number % len(MUTATIONS)](content, chance)
        if mutant == content:
            continue
        said = ""
        try:
            found = read(mutant)
        except refusal as error:
            said = str(error)
        else:
            assert found == original, mutant
            alive += 1
        assert said.isprintable(), mutant
    return alive


def test_no_damaged_record_of_a_board_is_read() -> None:
    """If it fails, a byte of a published record can change unnoticed, or stop whoever reads it."""
    content = build_published("loading")[0].to_json().encode()

    def read(mutant: bytes) -> object:
        return PublishedRecord.from_json(mutant, "the record")

    assert survivors(content, read, FaultError, seed=1) == 0


def test_no_damaged_record_of_a_store_is_read_as_another() -> None:
    """If it fails, a damaged store gives other scores, or a traceback."""
    record = build_record(values=(0.1, 0.2))
    content = record.to_json().encode()

    def read(mutant: bytes) -> object:
        try:
            text = mutant.decode()
        except UnicodeDecodeError as error:
            raise StoreError("it is not UTF-8") from error
        return Record.from_json(text)

    # White space between two tokens says nothing in JSON, and is not refused.
    assert survivors(content, read, StoreError, seed=2) < MUTANTS / 20


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_sidecar_is_refused_by_name(seed: int) -> None:
    """If it fails, a damaged archive stops whoever unpacks it."""
    content = build_published("loading")[1]
    assert content is not None
    chance, expected = random.Random(seed), unpack(content, "the sidecar")
    for number in range(500):
        mutant = MUTATIONS[number % 5](content, chance)
        try:
            found = unpack(mutant, "the sidecar")
        except FaultError:
            continue
        # What is not covered by a checksum of the archive, such as its dates, may differ.
        for one, other in zip(found, expected, strict=True):
            assert one.sample == other.sample
            assert np.array_equal(one.values, other.values)
