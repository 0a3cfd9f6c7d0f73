"""What a contract is made of: clauses, each put to a plugin by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from benchmark.errors import ContractError, short_message

P = TypeVar("P")

State = Literal["held", "broken", "not asked"]


class Broken(Exception):
    """What a clause found, in one sentence without a full stop."""


class NotAsked(Exception):
    """Why a clause cannot be asked here."""


@dataclass(frozen=True)
class Clause:
    """A clause before it is put to anyone.

    Attributes:
        claim: What must hold.
        mend: What to do where it does not.
        basis: Whether nothing after it can be asked where it is broken.
        examine: Takes the contract; raises ``Broken``, or returns a remark or None.
    """

    claim: str
    mend: str
    basis: bool
    examine: Callable[[Any], str | None]


@dataclass(frozen=True)
class Check:
    """A clause put to one plugin; calling it examines the plugin.

    Attributes:
        name: Of the clause.
        plugin: Name of the plugin.
        clause: What must hold, and how to mend it.
        examine: Raises ``Broken`` or ``NotAsked``, or returns a remark or None.
    """

    name: str
    plugin: str
    clause: Clause
    examine: Callable[[], str | None]

    def __str__(self) -> str:
        """The name, as pytest shows it."""
        return self.name

    def __call__(self) -> None:
        """Examine the plugin.

        Raises:
            ContractError: If the clause is broken.
        """
        if (found := self.find()).state == "broken":
            raise ContractError(f"{self.plugin} breaks {self.name!r}: {found.detail}")

    def find(self) -> Finding:
        """Return whether the clause holds."""
        try:
            return Finding(self, "held", self.examine() or "")
        except NotAsked as reason:
            return Finding(self, "not asked", str(reason))
        except Broken as found:
            what = str(found)
        except Exception as error:  # the plugin's own code; anything may come back
            what = short_message(error).rstrip(".")
        return Finding(self, "broken", f"{what}. {self.clause.mend}")


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: Which.
        state: ``not asked`` where this machine cannot, or where a clause that this one builds on
            is broken.
        detail: What is broken and how to mend it, why it was not asked, or a remark.
    """

    check: Check
    state: State
    detail: str = ""


def clause(
    claim: str, mend: str, basis: bool = False
) -> Callable[[Callable[[Any], str | None]], Clause]:
    """Make a method of a contract one of its clauses."""
    return lambda examine: Clause(claim, mend, basis, examine)


class Contract(Generic[P]):
    """All clauses of one kind of plugin, in the order in which they stand in its class.

    Args:
        build: Makes the plugin.
        name: How messages call it.
    """

    def __init__(self, build: Callable[[], P], name: str) -> None:
        self.build, self.name = build, name

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every clause, put to this plugin."""
        return tuple(
            Check(name.replace("_", " "), self.name, found, self._examine(found))
            for name, found in vars(type(self)).items()
            if isinstance(found, Clause)
        )

    def _examine(self, found: Clause) -> Callable[[], str | None]:
        return lambda: found.examine(self)
