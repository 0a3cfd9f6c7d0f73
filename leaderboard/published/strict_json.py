"""Strict JSON: refuses, by name, what a careless or hostile file of a stranger may hold."""

from __future__ import annotations

import json
import math
import re

from benchmark.records.strict_json import RefusedJsonError, parse_strictly
from leaderboard.published.fault import FaultError
from leaderboard.published.hidden import hidden_character, texts_of

DEEPEST = 32
# A value costs a reader some hundred bytes of memory, and a file of two bytes each holds many.
MOST_VALUES = 2**16
_DIGITS = 20
# The longest that Python writes of a float has 24 characters.
_LONGEST_FLOAT = 40
# A string without an end matches as well: tried anew from each of its quotes, it would take hours.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_SIGN = re.compile(r"[\[\]{},:]")


def parse(content: bytes, location: str, most_bytes: int, most_values: int = MOST_VALUES) -> object:
    """Return the value of a JSON file, refusing what two readers might read differently.

    Args:
        content: Content of the file.
        location: Path of the file, for messages.
        most_bytes: Size beyond which a file is refused.
        most_values: Number of keys, values and brackets beyond which it is refused.

    Raises:
        FaultError: ``too-large``, ``empty``, ``not-utf8``, ``not-json``, ``duplicate-key``,
            ``not-finite``, ``huge-number``, ``too-deep``, ``too-many-values``,
            ``lone-surrogate`` or ``hidden-character``.
    """
    if len(content) > most_bytes:
        raise FaultError("too-large", location, f"it has more than {most_bytes:,} bytes")
    if not content.strip():
        raise FaultError("empty", location, "it holds nothing")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FaultError("not-utf8", location, f"byte {error.start} is not UTF-8") from error
    _check_structure(text, location, most_values)
    try:
        value = parse_strictly(text, _float, _int)
    except RefusedJsonError as refused:
        raise FaultError(refused.fault, location, refused.detail) from refused
    except json.JSONDecodeError as error:
        detail = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise FaultError("not-json", location, detail) from error
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise FaultError("lone-surrogate", location, "a string holds half a character") from error
    for part in texts_of(value):
        # Settings may have lines; what may not says so itself.
        if (character := hidden_character(part, "\n\t")) is not None:
            raise FaultError("hidden-character", location, f"a string holds {character}")
    return value


def _check_structure(text: str, location: str, most_values: int) -> None:
    """Refuse deep nesting and very many values before a reader meets them."""
    depth, count = 0, 1
    for match in _SIGN.finditer(_STRING.sub("", text)):
        sign = match.group()
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        if depth > DEEPEST:
            raise FaultError("too-deep", location, f"it is nested deeper than {DEEPEST} levels")
        count += sign not in "]}"
        if count > most_values:
            detail = f"it has more than {most_values:,} keys and values"
            raise FaultError("too-many-values", location, detail)


def _float(text: str) -> float:
    if len(text) > _LONGEST_FLOAT:
        raise RefusedJsonError("huge-number", f"a number is written with {len(text)} characters")
    value = float(text)
    if not math.isfinite(value):
        raise RefusedJsonError("huge-number", f"{text[:40]} is beyond any number of 64 bits")
    return value


def _int(text: str) -> int:
    if len(text.lstrip("-")) > _DIGITS:
        raise RefusedJsonError("huge-number", f"an integer has {len(text)} digits")
    return int(text)
