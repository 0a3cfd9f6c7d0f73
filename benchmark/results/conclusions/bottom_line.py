"""One plain sentence for each method, made of verdicts, sizes and the protocols' own words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmark.explainer import NO_EXPLAINER
from benchmark.reading import SCORED
from benchmark.results.conclusions.sizes import AT_CHANCE, SizeWord
from benchmark.results.health import Health
from benchmark.results.lookup import Protocols
from benchmark.results.result import Result
from benchmark.results.scores import CONTROLS

_Kind = Literal["for", "against", "hollow", "silent", "unhealthy", "unmeasured"]


@dataclass(frozen=True)
class BottomLine:
    """What a run says of one method.

    Attributes:
        explainer: Name of the method, the subject of both sentences.
        sentence: Sentence on what it does and does not do; begins with the verb.
        remarks: Sentences on what says nothing of it.
    """

    explainer: str
    sentence: str
    remarks: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Everything, with the name of the method."""
        return " ".join((f"{self.explainer} {self.sentence}", *self.remarks))


@dataclass
class _Clauses:
    """Parts of the sentences of one method, by what they say of it."""

    of_kind: dict[_Kind, list[str]] = field(default_factory=dict)

    def add(self, kind: _Kind, clause: str) -> None:
        """Add a clause once, though several seeds say it."""
        clauses = self.of_kind.setdefault(kind, [])
        if clause not in clauses:
            clauses.append(clause)

    def joined(self, kind: _Kind) -> str:
        """Return the clauses of a kind as a list in a sentence."""
        return _join(self.of_kind.get(kind, []))


def bottom_lines(
    results: Sequence[Result], protocols: Protocols, health: Iterable[Health]
) -> list[BottomLine]:
    """Return the sentence of each method on one model and cohort, in the order of the results.

    By these rules: a pass speaks for a method, with the word of its size, and a fail against it. A
    pass whose score is at chance or below it speaks against it. Where a protocol gives no verdict,
    the size alone decides. What an unhealthy protocol says is left out, and named; so is what was
    not measured. Controls have no sentence.

    Args:
        results: Results of one model on one cohort.
        protocols: Protocols of the records.
        health: Health of each protocol on that model and cohort.
    """
    unhealthy = {each.protocol for each in health if each.healthy is False}
    clauses: dict[str, _Clauses] = {}
    for result in results:
        if result.explainer in CONTROLS or result.explainer == NO_EXPLAINER:
            continue
        own = clauses.setdefault(result.explainer, _Clauses())
        own.add(*_clause(result, protocols, is_unhealthy=result.protocol in unhealthy))
    return [_write(explainer, own) for explainer, own in clauses.items()]


def _clause(result: Result, protocols: Protocols, *, is_unhealthy: bool) -> tuple[_Kind, str]:
    """Return what a result says, and whether that speaks for the method."""
    protocol = protocols[result.protocol]
    topic, size = protocol.topic or protocol.name, result.primary.size
    if result.state != SCORED:
        return "unmeasured", f"{topic} ({result.state})"
    if is_unhealthy:
        return "unhealthy", topic
    if result.verdict == "pass" and size in AT_CHANCE:
        return "hollow", f"on {topic}"
    if result.verdict == "fail" or (result.verdict is None and size in AT_CHANCE):
        clause = protocol.if_failed or f"does not pass {protocol.name}"
        return "against", f"{clause} ({size})" if size in AT_CHANCE else clause
    if result.verdict is None and not (_is_known(size) and protocol.if_passed):
        return "silent", topic
    clause = protocol.if_passed or f"passes {protocol.name}"
    return "for", f"{clause} ({size})" if _is_known(size) else clause


def _is_known(size: SizeWord | None) -> bool:
    return size is not None and size != "not known"


def _write(explainer: str, clauses: _Clauses) -> BottomLine:
    good, bad = clauses.joined("for"), list(clauses.of_kind.get("against", []))
    if hollow := clauses.joined("hollow"):
        bad.append(f"is near chance {hollow}, where its pass means little")
    sentence = ", but ".join(filter(None, (good, _join(bad)))) or "has no verdict here"
    remarks = {
        "Not measured": clauses.joined("unmeasured"),
        "No verdict on": clauses.joined("silent"),
        "Not to be trusted here, since the test is unhealthy": clauses.joined("unhealthy"),
    }
    sentences = tuple(f"{words}: {topics}." for words, topics in remarks.items() if topics)
    return BottomLine(explainer, f"{sentence}.", sentences)


def _join(clauses: Sequence[str]) -> str:
    """Return clauses as a list in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(clauses[:-1]), *clauses[-1:])))
