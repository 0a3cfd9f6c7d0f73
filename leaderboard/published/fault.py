"""Faults of a submission, each under a name of its own.

::

    InputError
    └── FaultError   carries a ``Fault``; a command that meets one exits with code 2

``verify`` collects faults instead of raising them, and exits with code 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.errors import InputError


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        name: Stable name in kebab case, such as ``checksum-mismatch``.
        location: File, or file and key in it.
        detail: Clause that says what arrived and what was expected.
    """

    name: str
    location: str
    detail: str

    def __str__(self) -> str:
        """Return the fault in one line, without characters that would steer a terminal."""
        return f"{self.name}: {plain(self.location)}: {plain(self.detail)}"


class FaultError(InputError):
    """A fault that ends the work; its arguments are those of ``Fault``."""

    def __init__(self, name: str, location: str, detail: str) -> None:
        self.fault = Fault(name, location, detail)
        super().__init__(str(self.fault))


def plain(text: str) -> str:
    """Return a text in which characters that cannot be printed are spelled out."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
