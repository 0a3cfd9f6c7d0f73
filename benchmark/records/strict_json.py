"""JSON in which nothing can be read in two ways: no key twice, and no number that is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import NoReturn


class RefusedJsonError(ValueError):
    """A text that is JSON to some readers and not to others, with the name of its fault."""

    def __init__(self, fault: str, detail: str) -> None:
        self.fault, self.detail = fault, detail
        super().__init__(detail)


def parse_strictly(
    text: str, parse_float: Callable[[str], float] = float, parse_int: Callable[[str], int] = int
) -> object:
    """Return what a JSON text says; the two functions read its numbers, and may refuse them.

    Raises:
        RefusedJsonError: ``duplicate-key`` or ``not-finite``, or what the two functions raise.
        ValueError: If it is not JSON.
        RecursionError: If it is nested too deeply.
    """
    return json.loads(
        text,
        object_pairs_hook=_to_object,
        parse_constant=_refuse_constant,
        parse_float=parse_float,
        parse_int=parse_int,
    )


def _to_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        # Counted once: asking for each of 100,000 keys how often it stands there takes minutes.
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise RefusedJsonError("duplicate-key", f"the key {twice[:60]!r} stands twice")
    return result


def _refuse_constant(text: str) -> NoReturn:
    raise RefusedJsonError("not-finite", f"{text} is not a number in JSON")
