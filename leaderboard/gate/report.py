"""What a gate says: a Markdown summary, JUnit XML for a CI, and JSON.

The Markdown draws its intervals in plain characters, since a CI shows neither a drawing inside a
summary nor a file beside it.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from benchmark.commands.exits import (
    DONE,
    FAILED,
    INCONCLUSIVE,
    NOTHING_MEASURED,
)
from benchmark.records.identity import Names
from benchmark.statistics.bootstrap import Interval
from leaderboard.gate.decision import OUTCOMES, Change, Decision, worst

if TYPE_CHECKING:
    pass

SCHEMA_VERSION = 1
_WIDTH = 31
_PICTURE = "worse ← 0 → better"
# What XML 1.0 has no place for.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SIGNS = {
    "unchanged": "✅",
    "pass": "✅",
    "inconclusive": "❔",
    "regression": "❌",
    "failed": "❌",
}


@dataclass(frozen=True)
class Report:
    """Everything that a gate found.

    Attributes:
        suite: Version of the suite.
        margin: δ.
        decisions: One a cell.
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
    counts = Counter(one.outcome for one in report.decisions)
    told = ", ".join(f"{counts[one]} {one}" for one in OUTCOMES if counts[one])
    return f"gate: {told or 'no cell'} (margin {report.margin:g})"


def lines(report: Report) -> list[str]:
    """Return the decisions as plain text, the worst first, for a terminal or a failed test."""
    found = [headline(report)]
    for one in _ordered(report.decisions):
        found.append(f"{one.outcome:<12} {_cell(one.names)}: {_sentence(one)}")
        found.extend(f"{'':<12} note: {note}" for note in one.notes)
    if report.enlarged:
        cells = ", ".join(map(_cell, report.enlarged))
        found.append(f"decided on the larger sample: {cells}")
    if report.ungated:
        found.append(f"without a baseline, not gated: {', '.join(map(_cell, report.ungated))}")
    return found


def to_markdown(report: Report) -> str:
    """Return a summary with a table and an interval drawn for each cell."""
    reach = _reach(report)
    rows = [
        "| | cell | decision | baseline | now | difference, 90 % interval | n | "
        f"{-reach:.2g} · {_PICTURE} · {reach:+.2g} |",
        "|---|---|---|---:|---:|---|---:|---|",
    ]
    for one in _ordered(report.decisions):
        change, difference = one.change, one.change.difference
        cells = [
            _SIGNS[one.outcome],
            escaped(_cell(one.names)),
            f"**{one.outcome}**: {escaped(one.reason)}",
            _number(change.old),
            _number(change.new),
            _interval(difference),
            str(difference.n_subjects or "–"),
            f"`{bar(difference, report.margin, reach)}`",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    notes = [
        f"- {escaped(_cell(one.names))}: {escaped(note)}"
        for one in _ordered(report.decisions)
        for note in one.notes
    ]
    notes += [f"- {escaped(_cell(one))}: decided on the larger sample" for one in report.enlarged]
    notes += [f"- {escaped(_cell(one))}: no baseline, not gated" for one in report.ungated]
    legend = (
        f"A negative difference is worse. `┊` marks the margin −{report.margin:g}, `│` no change, "
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
    counts = Counter(one.outcome for one in report.decisions)
    totals = {
        "tests": str(len(report.decisions)),
        "failures": str(counts["regression"] + counts["inconclusive"]),
        "errors": str(counts["failed"]),
        "skipped": "0",
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "medsanity gate", **totals})
    for one in _ordered(report.decisions):
        names = one.names
        place = ".".join(_xml(part) for part in (names.cohort, names.model, names.explainer))
        attributes = {"classname": place, "name": _xml(names.protocol)}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if one.outcome in ("regression", "inconclusive", "failed"):
            kind = "error" if one.outcome == "failed" else "failure"
            told = {"type": one.outcome, "message": _xml(_sentence(one))}
            ElementTree.SubElement(case, kind, told).text = _xml("\n".join(one.notes))
        else:
            said = ElementTree.SubElement(case, "system-out")
            said.text = _xml("\n".join([_sentence(one), *one.notes]))
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
                **one.names.model_dump(),
                "outcome": one.outcome,
                "reason": one.reason,
                **_numbers(one.change),
                "enlarged": one.names in report.enlarged,
                "notes": list(one.notes),
            }
            for one in _ordered(report.decisions)
        ],
        "ungated": [one.model_dump() for one in report.ungated],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def bar(difference: Interval, margin: float, reach: float) -> str:
    """Return an interval in characters; what lies beyond the edges is cut off there.

    Args:
        difference: NaN where there is none; then the bar is empty.
        margin: δ, marked at −δ.
        reach: Value at either edge.
    """

    def place(value: float) -> int:
        share = (min(max(value, -reach), reach) + reach) / (2 * reach)
        return round(share * (_WIDTH - 1))

    signs = ["·"] * _WIDTH
    signs[place(-margin)], signs[place(0.0)] = "┊", "│"
    if math.isnan(difference.estimate):
        return "".join(signs)
    if not math.isnan(difference.low):
        for column in range(place(difference.low), place(difference.high) + 1):
            signs[column] = "━"
    signs[place(difference.estimate)] = "●"
    return "".join(signs)


def escaped(text: str) -> str:
    """Return text that Markdown and HTML show as it stands, in one line."""
    flat = " ".join(text.split())
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        flat = flat.replace(character, name)
    return re.sub(r"([\\`*_{}\[\]()#+!|~@-])", r"\\\1", flat)


def _ordered(decisions: Sequence[Decision]) -> list[Decision]:
    return sorted(decisions, key=lambda one: OUTCOMES.index(one.outcome))


def _reach(report: Report) -> float:
    """Return half the width of the picture: all that matters, and no outlier."""
    limits = [
        abs(limit)
        for one in report.decisions
        for limit in (one.change.difference.low, one.change.difference.high)
        if not math.isnan(limit)
    ]
    return min(max([2 * report.margin, *limits]), 10 * report.margin)


def _sentence(one: Decision) -> str:
    change = one.change
    if math.isnan(change.old) or math.isnan(change.new):
        return one.reason
    told = f"{one.reason}; {_number(change.old)} → {_number(change.new)}"
    if not math.isnan(change.difference.estimate):
        told += f", difference {_interval(change.difference)}, n {change.difference.n_subjects}"
    if not math.isnan(change.adjusted):
        told += f", adjusted p {change.adjusted:.2g}"
    return told


def _cell(names: Names) -> str:
    return f"{names.explainer} · {names.protocol} on {names.cohort} × {names.model}"


def _interval(value: Interval) -> str:
    if math.isnan(value.estimate):
        return "–"
    if math.isnan(value.low):
        return f"{value.estimate:+.4f}"
    return f"{value.estimate:+.4f} [{value.low:+.4f}, {value.high:+.4f}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _numbers(change: Change) -> dict[str, object]:
    difference = change.difference
    return {
        "old": _known(change.old),
        "new": _known(change.new),
        "difference": {
            "estimate": _known(difference.estimate),
            "low": _known(difference.low),
            "high": _known(difference.high),
            "n_subjects": difference.n_subjects,
        },
        "p": _known(change.p),
        "p_adjusted": _known(change.adjusted),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _xml(text: str) -> str:
    return _NO_XML.sub("�", text)


def exit_code(report: Report) -> int:
    """Return how the command ends: 0, 1, 3 or 4."""
    from leaderboard.gate.decision import worst

    outcome = worst(report.decisions)
    if outcome in ("failed", "regression"):
        return FAILED
    if outcome == "inconclusive":
        return INCONCLUSIVE
    return DONE if any(one.scored for one in report.decisions) else NOTHING_MEASURED
