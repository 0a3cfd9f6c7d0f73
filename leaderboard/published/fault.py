"""What can be wrong with a submission, each by a name of its own.

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
        name: Stable, in kebab case, such as ``checksum-mismatch``.
        place: The file, or the file and the key in it.
        detail: One sentence: what arrived and what was expected.
    """

    name: str
    place: str
    detail: str

    def __str__(self) -> str:
        """The fault in one line, with nothing in it that would steer a terminal."""
        return f"{self.name}: {plain(self.place)}: {plain(self.detail)}"


class FaultError(InputError):
    """A fault that ends the work.

    Args:
        name: Of the fault.
        place: Where it is.
        detail: One sentence.
    """

    def __init__(self, name: str, place: str, detail: str) -> None:
        self.fault = Fault(name, place, detail)
        super().__init__(str(self.fault))


def plain(text: str) -> str:
    """Return text from a stranger with whatever cannot be printed spelled out."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )
