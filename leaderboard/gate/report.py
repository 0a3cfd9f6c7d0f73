"""The report of a gate: plain text, a Markdown summary, JUnit XML for a CI, and JSON.

In Markdown intervals are drawn with plain characters, since a CI shows neither a drawing inside a
summary nor a file beside it.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from xml.etree import ElementTree

from benchmark.commands.exits import DONE, FAILED, INCONCLUSIVE, NOTHING_MEASURED
from benchmark.plain_text import one_line, printable
from benchmark.records.identity import Names
from benchmark.statistics.bootstrap import Interval
from leaderboard.gate.baseline import cell_label
from leaderboard.gate.decision import NOTHING_TO_LOSE, OUTCOMES, Change, Decision, worst

SCHEMA_VERSION = 2
_WIDTH = 31
_PICTURE = "worse ← 0 → better"
_SIGNS = {"unchanged": "✅", "pass": "✅", "inconclusive": "❔", "regression": "❌", "failed": "❌"}


@dataclass(frozen=True)
class Report:
    """Result of a gate.

    Attributes:
        margin: Largest loss that is no regression, as a share of what a method had above noise.
        decisions: Decisions, one a cell.
        ungated: Cells that were asked for and have no baseline.
        enlarged: Cells that were decided on the larger sample.
    """

    suite: str
    margin: float
    decisions: tuple[Decision, ...]
    ungated: tuple[Names, ...] = ()
    enlarged: tuple[Names, ...] = ()


def headline(report: Report) -> str:
    """Return one line: how many cells ended how, the worst first."""
    counts = Counter(decision.outcome for decision in report.decisions)
    numbers = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    return f"gate: {numbers or 'no cell'} (margin {report.margin:.0%})"


def lines(report: Report) -> list[str]:
    """Return the decisions as plain text, the worst first, for a terminal or a failed test."""
    texts = [headline(report)]
    for decision in _ordered(report.decisions):
        sentence = one_line(_sentence(decision))
        texts.append(f"{decision.outcome:<12} {cell_label(decision.names)}: {sentence}")
        texts.extend(f"{'':<12} note: {note}" for note in decision.notes)
    if report.enlarged:
        texts.append(f"decided on the larger sample: {', '.join(map(cell_label, report.enlarged))}")
    if report.ungated:
        texts.append(f"without a baseline, not gated: {', '.join(map(cell_label, report.ungated))}")
    return texts


def to_markdown(report: Report) -> str:
    """Return a summary with a table and an interval drawn for each cell."""
    reach = _reach(report)
    rows = [
        "| | cell | decision | baseline | now | difference, 90 % interval | n | "
        f"{-reach:.2g} · {_PICTURE} · {reach:+.2g} |",
        "|---|---|---|---:|---:|---|---:|---|",
    ]
    for decision in _ordered(report.decisions):
        change, difference = decision.change, decision.change.difference
        cells = [
            _SIGNS[decision.outcome],
            escaped(cell_label(decision.names)),
            f"**{decision.outcome}**: {escaped(decision.reason)}",
            _number(change.old),
            _number(change.new),
            _interval(difference),
            str(difference.n_subjects or "–"),
            f"`{bar(difference, decision.margin, reach)}`",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    decisions = _ordered(report.decisions)
    noted = [(decision.names, note) for decision in decisions for note in decision.notes]
    noted += [(names, "decided on the larger sample") for names in report.enlarged]
    noted += [(names, "no baseline, not gated") for names in report.ungated]
    notes = [f"- {escaped(cell_label(names))}: {escaped(note)}" for names, note in noted]
    legend = (
        f"A negative difference is worse. `┊` marks a loss of {report.margin:.0%} of what the "
        "method had above noise, which is the margin, `│` no change, "
        "`●` the difference and `━` its interval; an interval wholly right of `┊` passes, one "
        "wholly left of it regresses."
    )
    title = f"## {escaped(headline(report))}"
    parts = [title, f"Suite {escaped(report.suite)}.", "\n".join(rows), legend, "\n".join(notes)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_junit(report: Report) -> str:
    """Return JUnit XML: a test case a cell; an inconclusive one is a failure of its own type.

    A CI shows what was skipped in green, and a gate that does not know is not green.
    """
    counts = Counter(decision.outcome for decision in report.decisions)
    totals = {
        "tests": str(len(report.decisions)),
        "failures": str(counts["regression"] + counts["inconclusive"]),
        "errors": str(counts["failed"]),
        "skipped": "0",
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "medsanity gate", **totals})
    for decision in _ordered(report.decisions):
        names = decision.names
        class_name = ".".join(
            printable(part) for part in (names.cohort, names.model, names.explainer)
        )
        attributes = {"classname": class_name, "name": printable(names.protocol)}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if decision.outcome in ("regression", "inconclusive", "failed"):
            kind = "error" if decision.outcome == "failed" else "failure"
            failure = {"type": decision.outcome, "message": printable(_sentence(decision))}
            ElementTree.SubElement(case, kind, failure).text = printable("\n".join(decision.notes))
        else:
            output = ElementTree.SubElement(case, "system-out")
            output.text = printable("\n".join([_sentence(decision), *decision.notes]))
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def to_json(report: Report) -> str:
    """Return everything as JSON; numbers that do not exist are null."""
    document = {
        "suite": report.suite,
        "schema_version": SCHEMA_VERSION,
        "margin": report.margin,
        "outcome": worst(report.decisions),
        "cells": [
            {
                **decision.names.model_dump(),
                "outcome": decision.outcome,
                "reason": decision.reason,
                **_numbers(decision.change),
                "margin": _known(decision.margin),
                "enlarged": decision.names in report.enlarged,
                "notes": list(decision.notes),
            }
            for decision in _ordered(report.decisions)
        ],
        "ungated": [names.model_dump() for names in report.ungated],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def bar(difference: Interval, margin: float, reach: float) -> str:
    """Return an interval in characters, −``margin`` marked; beyond ±``reach`` it is cut off."""

    def column_of(value: float) -> int:
        share = (min(max(value, -reach), reach) + reach) / (2 * reach)
        return round(share * (_WIDTH - 1))

    signs = ["·"] * _WIDTH
    if not math.isnan(margin):
        signs[column_of(-margin)] = "┊"
    signs[column_of(0.0)] = "│"
    if math.isnan(difference.estimate):
        return "".join(signs)
    if not math.isnan(difference.low):
        for column in range(column_of(difference.low), column_of(difference.high) + 1):
            signs[column] = "━"
    signs[column_of(difference.estimate)] = "●"
    return "".join(signs)


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it stands, in one line."""
    flat = html.escape(" ".join(printable(text).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~@-])", r"\\\1", flat)


def _ordered(decisions: Sequence[Decision]) -> list[Decision]:
    return sorted(decisions, key=lambda decision: OUTCOMES.index(decision.outcome))


def _reach(report: Report) -> float:
    """Return the value at the right edge of a bar, beyond all limits but for outliers."""
    limits = [
        abs(limit)
        for decision in report.decisions
        for limit in (decision.change.difference.low, decision.change.difference.high)
        if not math.isnan(limit)
    ]
    margins = [decision.margin for decision in report.decisions if decision.margin > 0]
    widest = max(margins, default=NOTHING_TO_LOSE)
    return min(max([2 * widest, *limits]), 10 * widest)


def _sentence(decision: Decision) -> str:
    change = decision.change
    if math.isnan(change.old) or math.isnan(change.new):
        return decision.reason
    sentence = f"{decision.reason}; {_number(change.old)} → {_number(change.new)}"
    if not math.isnan(change.difference.estimate):
        sentence += f", difference {_interval(change.difference)}, n {change.difference.n_subjects}"
    if not math.isnan(change.adjusted):
        sentence += f", adjusted p {change.adjusted:.2g}"
    return sentence


def _interval(value: Interval) -> str:
    if math.isnan(value.estimate):
        return "–"
    limits = "" if math.isnan(value.low) else f" [{value.low:+.4f}, {value.high:+.4f}]"
    return f"{value.estimate:+.4f}{limits}"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _numbers(change: Change) -> dict[str, object]:
    return {
        "old": _known(change.old),
        "new": _known(change.new),
        "difference": {name: _known(value) for name, value in asdict(change.difference).items()},
        "p": _known(change.p),
        "p_adjusted": _known(change.adjusted),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def exit_code(report: Report) -> int:
    """Return the exit code of the command: 0, 1, 3 or 4."""
    codes = {"failed": FAILED, "regression": FAILED, "inconclusive": INCONCLUSIVE}
    if (outcome := worst(report.decisions)) in codes:
        return codes[outcome]
    return DONE if any(decision.scored for decision in report.decisions) else NOTHING_MEASURED
