"""One sentence for each method: which parts it has, and what it never hides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmark.plugins.catalogue import Catalogue
from benchmark.protocol import SanityProtocol
from benchmark.reading import State
from benchmark.records.record import VerdictWord
from benchmark.results.conclusions.bottom_line import BottomLine, bottom_lines
from benchmark.results.conclusions.sizes import SizeWord
from benchmark.results.health import Health
from benchmark.results.result import Passes, Primary, Result


class Signals(SanityProtocol[Any]):
    """A protocol with words of its own."""

    name, topic = "signals", "planted signals"
    if_passed, if_failed = "finds planted signals", "misses planted signals"


class Training(Signals):
    """Another."""

    name, topic = "training", "training"
    if_passed, if_failed = "depends on training", "hardly depends on training"


class Wordless(SanityProtocol[Any]):
    """A third party's protocol that says nothing in plain words."""

    name = "wordless"


PROTOCOLS: Mapping[str, type[SanityProtocol[Any]]] = {
    protocol.name: protocol for protocol in (Signals, Training, Wordless)
}


def result(
    protocol: str,
    verdict: VerdictWord | None,
    size: SizeWord | None,
    *,
    explainer: str = "cam",
    state: State = "scored",
) -> Result:
    """Return a result with nothing but what decides the sentence."""
    primary = Primary(
        statistic="score", estimate=0.5, low=0.4, high=0.6, n_subjects=40, direction="higher"
    )
    return Result(
        cohort="tiny",
        model="tiny_model",
        explainer=explainer,
        protocol=protocol,
        protocol_version="1.0",
        state=state,
        reason=None,
        verdict=verdict,
        primary=primary.model_copy(update={"size": size}),
        statistics=[],
        passes=Passes(forward=0, backward=0),
        seconds=0.0,
    )


def line_of(*results: Result, unhealthy: str = "") -> BottomLine:
    """Return the only line."""
    health = [Health("tiny", "tiny_model", unhealthy, False, "unhealthy: why")] * bool(unhealthy)
    (line,) = bottom_lines(results, PROTOCOLS, health)
    return line


@pytest.mark.parametrize(
    ("results", "text"),
    [
        (
            [result("signals", "pass", "moderate"), result("training", "pass", "not known")],
            "cam finds planted signals (moderate) and depends on training.",
        ),
        (
            [result("training", "pass", "not known"), result("signals", "fail", "near chance")],
            "cam depends on training, but misses planted signals (near chance).",
        ),
        (
            [result("training", "pass", "near chance"), result("signals", "pass", "near chance")],
            "cam is near chance on training and on planted signals, where its pass means little.",
        ),
        (
            [result("signals", None, "weak"), result("training", None, "near chance")],
            "cam finds planted signals (weak), but hardly depends on training (near chance).",
        ),
        (
            [result("signals", "fail", "strong"), result("wordless", "fail", "not known")],
            "cam misses planted signals and does not pass wordless.",
        ),
        (
            [result("wordless", "pass", "strong"), result("signals", None, "not known")],
            "cam passes wordless (strong). No verdict on: planted signals.",
        ),
        (
            [result("signals", None, None, state="unsupported")],
            "cam has no verdict here. Not measured: planted signals (unsupported).",
        ),
    ],
)
def test_a_sentence_is_made_by_the_stated_rules(results: list[Result], text: str) -> None:
    """If it fails, the first thing that a reader sees is not what was measured."""
    assert line_of(*results).text == text


def test_an_unhealthy_protocol_neither_praises_nor_blames() -> None:
    """If it fails, the bottom line rests on a test that proves nothing."""
    line = line_of(
        result("signals", "pass", "strong"),
        result("training", "pass", "not known"),
        unhealthy="signals",
    )
    assert line.sentence == "depends on training."
    assert line.remarks == (
        "Not to be trusted here, since the test is unhealthy: planted signals.",
    )


def test_controls_and_questions_about_the_model_have_no_sentence() -> None:
    """If it fails, the known truth is listed as the best method."""
    controls = [
        result("signals", "pass", "strong", explainer=name) for name in ("oracle", "random", "none")
    ]
    assert bottom_lines(controls, PROTOCOLS, []) == []


def test_every_protocol_of_the_catalogue_has_words_of_its_own() -> None:
    """If it fails, a clinician reads the name of a program in the first sentence."""
    for entry in Catalogue().protocols.entries:
        protocol = entry.plugin
        if ":" in protocol.name:  # borrowed from another library, and judges nothing
            continue
        assert protocol.topic, protocol.name
        assert bool(protocol.if_passed) == bool(protocol.if_failed), protocol.name
        assert "_" not in protocol.topic + protocol.if_passed + protocol.if_failed
