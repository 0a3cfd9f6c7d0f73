"""Names and titles that cannot be told apart by eye, by Unicode's table of confusable characters.

The table is that of ``confusable-homoglyphs``, made from Unicode's ``confusables.txt``. What two
texts are compared by is the skeleton of Unicode Technical Standard 39, and two things more: upper
and lower case of a Latin letter are one, since nobody tells titles by them, and accents are left
out.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# The data write characters from right to left between two marks.
_MARK = "\u200e"
_WORD = re.compile(r"\w+")
# Mathematics writes Greek beside Latin letters.
_BESIDE_LATIN = ("LATIN", "COMMON", "GREEK", "INHERITED")


def skeleton(text: str) -> str:
    """Return what is left of a text when characters that look alike are one, without signs."""
    return "".join(part for part in _lookalike(text) if part.isalnum())


def mixed_word(text: str) -> str | None:
    """Return the first word that hides a letter of another script among Latin ones, or None."""
    if text.isascii():
        return None
    # Reading the table takes 30 ms, which no text without accents costs.
    from confusable_homoglyphs import categories, confusables

    for word in _WORD.findall(text):
        scripts = {categories.alias(letter) for letter in word}
        if "LATIN" not in scripts or not scripts - set(_BESIDE_LATIN):
            continue
        letters = confusables.is_confusable(word, greedy=True, preferred_aliases=["latin"])
        if any(letter["alias"] not in _BESIDE_LATIN for letter in letters or ()):
            return str(word)
    return None


def _lookalike(text: str) -> str:
    prototypes = _prototypes()
    decomposed = unicodedata.normalize("NFKD", text)
    letters = (letter for letter in decomposed if not unicodedata.combining(letter))
    upright = "".join(prototypes.get(letter, letter) for letter in letters)
    small = "".join(prototypes.get(letter, letter) for letter in upright.casefold())
    # The capital of i is the twin of l.
    return small.replace("i", "l")


@cache
def _prototypes() -> dict[str, str]:
    """Return what each character looks like: another character, or several.

    The table pairs each character with its prototype, both ways. So a character with one twin goes
    by it, unless the twin has no other one either; of such two, both go by the smaller.
    """
    from confusable_homoglyphs.confusables import confusables_data  # as above

    twins = {
        letter.strip(_MARK): [twin["c"].strip(_MARK) for twin in twins]
        for letter, twins in confusables_data.items()
    }
    prototypes = {}
    for letter, (twin, *others) in twins.items():
        if len(letter) == 1 and not others:
            is_pair = len(twin) == 1 and len(twins[twin]) == 1
            prototypes[letter] = min(letter, twin) if is_pair else twin
    return prototypes
