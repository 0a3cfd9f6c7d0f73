"""Says whether a protocol tells truth from noise, or the network's share from none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.reading import SCORED, Reading, summarise
from benchmark.records.storage.finished import FinishedCell
from benchmark.results.lookup import Protocols, ScoredGroup, group_records
from benchmark.results.paired import paired_difference
from benchmark.results.scores import ORACLE, RANDOM, TRUE_CHANGE, Scores
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.studentised import TOO_FEW
from benchmark.statistics.wording import format_interval

_WORDS = {True: "healthy", False: "unhealthy", None: "not known"}


@dataclass(frozen=True)
class Health:
    """What a run tells of a protocol's health on one model and cohort.

    Attributes:
        healthy: Whether it tells truth from noise; None where that is not known.
        reason: One sentence that begins with ``healthy``, ``unhealthy`` or ``not known``.
    """

    cohort: str
    model: str
    protocol: str
    healthy: bool | None
    reason: str


def protocol_health(records: Sequence[FinishedCell], protocols: Protocols) -> list[Health]:
    """Return for each protocol, model and cohort whether the protocol tells truth from noise.

    Nothing is known without records of ``oracle`` and ``random``. A protocol that asks about a
    model alone has no map to tell from noise, and is left out.
    """
    groups = group_records(records, protocols)
    return [_tell_health(group) for group in groups if group.protocol.explains]


def _tell_health(group: ScoredGroup) -> Health:
    names, (healthy, reason) = group.records[0].names, judge_health(group.scores)
    reason = f"{_WORDS[healthy]}: {reason}"
    scored = next((record for record in group.records if record.state == SCORED), None)
    remark = None if scored is None else group.protocol.remark(scored.to_readings())
    if remark is not None:
        reason = f"{reason}; {remark}"
    return Health(names.cohort, names.model, names.protocol, healthy, reason)


def judge_health(scores: Scores) -> tuple[bool | None, str]:
    """Return whether a protocol tells truth from noise, None where that is not known, and why.

    A protocol is healthy under three conditions. No explainer scores better than the truth by more
    than the margin (lower bound of the paired difference, where the truth leads). No map passes
    that looks at no model. The interval of the chance statistic of noise holds 0 or lies within ±
    margin. Nothing is known without scores of ``oracle`` and ``random``. Scores that are owed to
    the network are judged by their controls; see ``_judge_owed``.
    """
    if scores.scoring.owed:
        return _judge_owed(scores)
    names = [entry.explainer for entry in scores.entries if entry.reading is not None]
    needed = (ORACLE, RANDOM) if scores.scoring.truth_leads else (RANDOM,)
    if absent := [name for name in needed if name not in names]:
        verb = "was" if len(absent) == 1 else "were"
        return None, f"{' and '.join(absent)} {verb} not scored"
    blind = {
        entry.explainer: entry.verdict
        for entry in sorted(scores.entries, key=lambda entry: entry.explainer)
        if entry.blind and entry.reading is not None
    }
    passing = [name for name, verdict in blind.items() if verdict == "pass"]
    faults = [f"{name} passes, and looks at no model" for name in passing]
    faults += scores.faults
    at_chance, noise = _judge_noise(scores)
    if (ahead := _furthest_ahead(scores)) is not None:
        faults.append(f"{ahead[0]} scores better than the truth by {format_interval(ahead[1], 3)}")
    if at_chance is False:
        faults.append(noise)
    if faults:
        return False, "; ".join(faults)
    if at_chance is None:
        return None, noise
    lead = "no map scores better than the truth; " if scores.scoring.truth_leads else ""
    return True, f"{lead}no map that looks at no model passes ({', '.join(blind)}); {noise}"


def _judge_owed(scores: Scores) -> tuple[bool | None, str]:
    """Return whether scores that are owed to the network prove something, and why.

    Such a score needs no truth to divide by: a map that looks at no network owes nothing to it.

    Healthy means that no map that looks at no model passes; that its score is at or below 0: its
    interval holds 0, or lies below 0 or within the margin; that the truth certainly beats each of
    them, where the protocol says that the truth leads; and that the protocol itself found no fault.
    The true change of an image is the truth where it was scored, and the true region elsewhere.
    Nothing is known without a score of such a map, or an interval of it, or where the protocol
    doubts it.

    The sentence lists every control.
    """
    blind = [
        (entry.explainer, entry.reading, entry.verdict)
        for entry in sorted(scores.entries, key=lambda entry: entry.explainer)
        if entry.blind and entry.reading is not None
    ]
    if not blind:
        reason = "no map that looks at no model was scored"
        return (False, "; ".join(scores.faults)) if scores.faults else (None, reason)
    aggregate = scores.scoring.statistic.aggregate
    intervals = {name: summarise(reading, aggregate) for name, reading, _ in blind}
    listed = ", ".join(f"{name} {format_interval(own, 3)}" for name, own in intervals.items())
    faults = [f"{name} passes, and looks at no model" for name, _, word in blind if word == "pass"]
    sides = {name: _is_above(own, scores) for name, own in intervals.items()}
    faults += [f"{name} owes something to a network" for name, above in sides.items() if above]
    beaten, unknown = _compare_with_truth(scores, {name: own for name, own, _ in blind})
    faults += [*beaten, *scores.faults]
    if faults:
        return False, f"{'; '.join(faults)}; controls: {listed}"
    doubts = [TOO_FEW] if unknown or None in sides.values() else []
    if doubts := [*doubts, *scores.doubts]:
        return None, f"{'; '.join(doubts)}; controls: {listed}"
    return True, f"controls owe nothing to a network: {listed}"


def _is_above(interval: Interval, scores: Scores) -> bool | None:
    """Return whether a control's score lies above 0; None where that is not known."""
    if math.isnan(interval.estimate) or math.isnan(interval.low):
        return False if interval.estimate == 0 else None
    return interval.low > 0 and interval.high > scores.scoring.margin


def _compare_with_truth(scores: Scores, blind: dict[str, Reading]) -> tuple[list[str], bool]:
    """Return which controls the truth does not certainly beat, and whether that is unknown."""
    named = ((name, scores.reading_of(name)) for name in (TRUE_CHANGE, ORACLE))
    name, truth = next(((name, own) for name, own in named if own is not None), ("", None))
    if truth is None or not scores.scoring.truth_leads:
        return [], False
    aggregate = scores.scoring.statistic.aggregate
    leads = {
        control: paired_difference(truth, reading, aggregate, scores.scoring.sign)
        for control, reading in blind.items()
    }
    unknown = any(math.isnan(lead.low) for lead in leads.values())
    beaten = [
        f"{name} leads {control} by no more than {format_interval(lead, 3)}"
        for control, lead in leads.items()
        if lead.low <= 0
    ]
    return beaten, unknown


def _furthest_ahead(scores: Scores) -> tuple[str, Interval] | None:
    """Return who beats the truth by most, and by how much, or None where nobody does."""
    scoring, truth = scores.scoring, scores.reading_of(ORACLE)
    if truth is None or not scoring.truth_leads:
        return None
    aggregate, sign = scoring.statistic.aggregate, scoring.sign
    leads = [
        (entry.explainer, paired_difference(entry.reading, truth, aggregate, sign))
        for entry in scores.entries
        if entry.explainer != ORACLE and entry.reading is not None
    ]
    ahead = [(name, lead) for name, lead in leads if lead.low > scoring.margin]
    return max(ahead, key=lambda pair: (pair[1].estimate, pair[0]), default=None)


def _judge_noise(scores: Scores) -> tuple[bool | None, str]:
    """Return whether noise scores as chance has it, and a sentence about it."""
    chance, margin = scores.scoring.chance, scores.scoring.margin
    if chance is None:
        return None, "nothing says under which statistic noise should be 0"
    if scores.noise is None:
        return None, f"there is no {chance.name} of noise"
    interval = summarise(scores.noise, chance.aggregate)
    sentence = f"{chance.name} of noise is {format_interval(interval, 3)}"
    if math.isnan(interval.low):
        return None, f"{sentence}, without an interval"
    if interval.low <= 0 <= interval.high or (interval.low >= -margin and interval.high <= margin):
        return True, sentence
    return False, f"{sentence}, neither at 0 nor within ±{margin:g}"
