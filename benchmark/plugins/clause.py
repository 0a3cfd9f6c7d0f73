"""A contract consists of clauses, and a plugin is checked against each of them by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal

from benchmark.errors import ContractError, short_message
from benchmark.plugins.blame import author_line
from benchmark.plugins.kinds import P
from benchmark.stopping import is_stop

State = Literal["held", "broken", "not asked"]


class Broken(Exception):
    """A clause does not hold; the message is one sentence without a full stop.

    Args:
        message: Fault.
        mend: Advice that fits it better than the clause's own; empty where there is none.
        partial: Whether the clauses that build on this one can still be asked.
    """

    def __init__(self, message: str, mend: str | None = None, partial: bool = False) -> None:
        super().__init__(message)
        self.mend, self.partial = mend, partial


class NotAsked(Exception):
    """A clause cannot be checked on this machine; the message says why."""


@dataclass(frozen=True)
class Clause:
    """A clause of a contract, not yet tied to a plugin.

    Attributes:
        claim: Statement that must hold.
        mend: Advice for a plugin of which it does not hold.
        basis: Whether the clauses after it make no sense where this one is broken.
        examine: Function of the contract that raises ``Broken`` or ``NotAsked``, or returns a
            remark or None.
    """

    claim: str
    mend: str
    basis: bool
    examine: Callable[[Any], str | None]


@dataclass(frozen=True)
class Check:
    """A clause and the plugin that it is checked on; calling it examines the plugin.

    Attributes:
        name: Name of the clause.
        plugin: Name of the plugin.
        clause: Clause that is checked.
        examine: Function that raises ``Broken`` or ``NotAsked``, or returns a remark or None.
        plugin_file: File of the plugin's class, whose lines are shown where its code raises.
        advise: Function from what the code raised to advice that fits it, or None.
    """

    name: str
    plugin: str
    clause: Clause
    examine: Callable[[], str | None]
    plugin_file: str = ""
    advise: Callable[[BaseException], str | None] = field(default=lambda _: None, repr=False)

    def __str__(self) -> str:
        """Return the name, which pytest shows."""
        return self.name

    def __call__(self) -> None:
        """Examine the plugin.

        Raises:
            ContractError: If the clause is broken.
        """
        if (finding := self.find()).state == "broken":
            raise ContractError(f"{self.plugin} breaks {self.name!r}: {finding.detail}")

    def find(self) -> Finding:
        """Examine the plugin and return whether the clause holds."""
        try:
            return Finding(self, "held", self.examine() or "")
        except NotAsked as reason:
            return Finding(self, "not asked", str(reason))
        except Broken as fault:
            return self._broken(fault, str(fault), fault.mend, fault.partial)
        except BaseException as error:  # the plugin's own code; anything may come back
            if is_stop(error):
                raise
            return self._broken(error, short_message(error).rstrip("."), self.advise(error))

    def _broken(
        self, error: BaseException, message: str, mend: str | None, partial: bool = False
    ) -> Finding:
        """Return the finding of an error: the fault, the author's line, and how to mend it."""
        line = author_line(error, self.plugin_file)
        advice = self.clause.mend if mend is None else mend
        detail = f"{message}, at {line}." if line else f"{message}."
        return Finding(self, "broken", f"{detail} {advice}".rstrip(), partial)


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    Attributes:
        state: Outcome; ``not asked`` where this machine cannot check the clause, or where a clause
            that it builds on is broken.
        detail: Fault and how to mend it, reason why it was not checked, or a remark.
        partial: Whether the clause is broken, but those that build on it can still be asked.
    """

    check: Check
    state: State
    detail: str = ""
    partial: bool = False


def clause(
    claim: str, mend: str, basis: bool = False
) -> Callable[[Callable[[Any], str | None]], Clause]:
    """Return a decorator that makes a method of a contract one of its clauses."""
    return lambda examine: Clause(claim, mend, basis, examine)


class Contract(Generic[P]):
    """All clauses of one kind of plugin, in the order in which they stand in its class."""

    def __init__(self, build: Callable[[], P], name: str, plugin_file: str = "") -> None:
        self.build, self.name, self.plugin_file = build, name, plugin_file

    def advise(self, error: BaseException) -> str | None:
        """Return how to mend what the plugin's code raised; None for the clause's own advice."""
        return None

    @property
    def checks(self) -> tuple[Check, ...]:
        """Checks of this plugin, one a clause."""
        return tuple(
            Check(
                name.replace("_", " "),
                self.name,
                clause_,
                partial(clause_.examine, self),
                self.plugin_file,
                self.advise,
            )
            for name, clause_ in vars(type(self)).items()
            if isinstance(clause_, Clause)
        )
