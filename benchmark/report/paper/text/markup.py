"""Plain text as it stands in LaTeX and in Markdown."""

from __future__ import annotations

import unicodedata

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': r"''",
    "Δ": r"\ensuremath{\Delta}",
    "ρ": r"\ensuremath{\rho}",
    "φ": r"\ensuremath{\varphi}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "−": r"\ensuremath{-}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "²": r"\ensuremath{^2}",
    "³": r"\ensuremath{^3}",
    "°": r"\ensuremath{^\circ}",
    "→": r"\ensuremath{\rightarrow}",
    "†": r"\ensuremath{\dagger}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "\u00a0": "~",
    "\u2009": r"\,",
}
_MARKDOWN = "\\`*[]|"


def to_latex(text: str) -> str:
    """Return plain text for LaTeX; a character that it would not print becomes a question mark."""
    own = "".join(_LATEX.get(character) or _printable(character) for character in text)
    return own.replace("--", "-{}-")  # an option, and no dash


def to_markdown(text: str) -> str:
    """Return plain text for Markdown, in which no character of a name marks anything up."""
    escaped = "".join(
        f"\\{character}" if character in _MARKDOWN else character for character in text
    )
    return " ".join(escaped.replace("<", "&lt;").replace("_", "\\_").split())


def _printable(character: str) -> str:
    """Return an ASCII character or a Latin letter with its accent as it is, else its nearest."""
    if character.isascii():
        return character if character.isprintable() or character == "\n" else " "
    if "À" <= character <= "ÿ" and character.isalpha():
        return character  # which LaTeX composes from UTF-8
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(_LATEX.get(letter, letter) for letter in plain) or "?"
