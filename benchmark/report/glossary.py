"""Words that a page explains in the view that uses them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Term:
    """A word that a clinician may not know.

    Attributes:
        name: The word, and others that mean the same.
        pattern: Regular expression of the word in a sentence.
        meaning: Sentences that explain it.
        formula: Content of a MathML formula, or nothing.
    """

    name: str
    pattern: str
    meaning: str
    formula: str = ""


def terms_in(texts: Iterable[str]) -> list[Term]:
    """Return the terms that any of the texts uses, in the order of the glossary."""
    text = "\n".join(texts)
    return [term for term in _terms() if re.search(term.pattern, text)]


@cache
def _terms() -> tuple[Term, ...]:
    file = resources.files("benchmark.report") / "page" / "glossary.toml"
    return tuple(Term(**term) for term in tomllib.loads(file.read_text("utf-8"))["term"])
