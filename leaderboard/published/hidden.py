"""Finds characters that a reader cannot see, or that let a text be read otherwise than it is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

# Unicode's Default_Ignorable_Code_Point beyond the category Cf: joiners, fillers and selectors that
# are letters or marks by category. The blank of Braille is none of them, and looks like a space.
_IGNORABLE = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164),
            *(*range(0xFE00, 0xFE10), 0xFFA0, *range(0xE0100, 0xE01F0)),
        ),
    )
)
# Formats, which include every control of direction, and separators of lines and paragraphs.
_INVISIBLE = ("Cf", "Zl", "Zp")
# Controls, and code points that mean nothing, or not the same everywhere.
_MEANINGLESS = ("Cc", "Cn", "Co", "Cs")


def is_invisible(character: str) -> bool:
    """Return whether a character is invisible or changes the direction of a text."""
    if character.isascii():
        return False
    return character in _IGNORABLE or unicodedata.category(character) in _INVISIBLE


def hidden_character(text: str, allowed: str = "") -> str | None:
    """Return the first character that is invisible or has no meaning, as in U+202E, or None."""
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        meaningless = unicodedata.category(character) in _MEANINGLESS and character not in allowed
        if meaningless or is_invisible(character):
            return f"U+{ord(character):04X}"
    return None


def texts_of(value: object) -> Iterator[str]:
    """Yield every string of a JSON value, keys of tables as well."""
    values = [value]
    while values:
        part = values.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            yield from part
            values += part.values()
        elif isinstance(part, list):
            values += part
