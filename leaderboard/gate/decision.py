"""Decides, for each cell, whether an explanation got worse since the records of a baseline.

A cell is unchanged where every subject has the value that it had, within the protocol's tolerance.
Where scores moved, paired non-inferiority over subjects is tested with a margin δ: a cell passes
where the one-sided 95 % lower bound of new − old lies above −δ, regresses where the upper bound
lies below it, and is inconclusive in between. The 90 % interval that is shown has both bounds.

δ is a share of what the method had to lose: the distance of its old score from that of noise. A
method that was not certainly better than noise had nothing to lose, and δ is a constant. Scale and
direction of a score are the protocol's own, not what the file of a baseline says of them.

The claim that all cells hold is an intersection of claims, each of which is tested at 5 % (Berger
1982), so passes need no correction. The claim that some cell regressed is a union, so regressions
are corrected by Holm over all cells whose scores moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from scipy import stats

from benchmark.reading import SCORED, Reading, Sample, distributions
from benchmark.records.identity import Identity, Names
from benchmark.results.paired import on_images, resample_pair
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.significance import holm
from leaderboard.published.fields import Scale
from leaderboard.published.record import PublishedRecord

Outcome = Literal["failed", "regression", "inconclusive", "pass", "unchanged"]

# From the worst to the best.
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
ALPHA = 0.05
# Largest loss that is no regression, as a share of what the method had above noise.
MARGIN = 0.1
MOST_MARGIN = 1 / 3
# The same in units of the score, for a method that had nothing above noise.
NOTHING_TO_LOSE = 0.02
# Share of the subjects that may lose their value, to a constant map or one that is not finite.
MOST_LOST = 0.05
# Published values have six significant digits.
_ROUNDING = 1e-6
_NAN = float("nan")
_UNKNOWN = Interval(_NAN, _NAN, _NAN, 0)


@dataclass(frozen=True)
class Pair:
    """The old and the new record of a cell.

    Attributes:
        old: Record of the baseline.
        new: Record that was measured now; None where the cell failed.
        failure: Reason why it failed.
        chance: Score that a map of noise has.
    """

    old: PublishedRecord
    new: PublishedRecord | None
    failure: str = ""
    chance: float = 0.0


@dataclass(frozen=True)
class Change:
    """Change of the score of a cell.

    Attributes:
        old: Score of the baseline, over the subjects that both have; NaN where there is none.
        new: Score now, over the same subjects.
        difference: Difference new − old with its 90 % interval, signed so that a drop is negative
            whichever way is better; each limit is a one-sided 95 % bound.
        p: p-value of the hypothesis that the score dropped by no more than the margin; NaN where
            nothing was tested.
        adjusted: p-value after Holm's correction over the cells that moved.
    """

    old: float = _NAN
    new: float = _NAN
    difference: Interval = _UNKNOWN
    p: float = _NAN
    adjusted: float = _NAN


@dataclass(frozen=True)
class Decision:
    """Decision on a cell.

    Attributes:
        outcome: Outcome, of which ``unchanged`` and ``pass`` are good.
        reason: Clause that explains the outcome.
        notes: Other differences, which decide nothing.
        margin: Largest drop of this score that is no regression, δ; NaN where nothing was compared.
    """

    names: Names
    outcome: Outcome
    reason: str
    change: Change = field(default_factory=Change)
    notes: tuple[str, ...] = ()
    margin: float = _NAN

    @property
    def scored(self) -> bool:
        """Whether there is a score on both sides."""
        return not math.isnan(self.change.old) and not math.isnan(self.change.new)


def judge(pairs: Sequence[Pair], margin: float = MARGIN) -> list[Decision]:
    """Decide on every cell; the family of Holm's correction is the cells whose scores moved.

    Args:
        pairs: Old and new record of each cell.
        margin: Largest loss that is no regression, as a share of the distance between the old
            score and that of noise, between 0 and ``MOST_MARGIN``.
    """
    drafts = [_draft(pair, margin) for pair in pairs]
    adjusted = holm([decision.change.p for decision in drafts])
    return [
        _conclude(draft, float(p)) if not math.isnan(p) else draft
        for draft, p in zip(drafts, adjusted, strict=True)
    ]


def worst(decisions: Sequence[Decision]) -> Outcome:
    """Return the worst outcome of any cell."""
    outcomes = {decision.outcome for decision in decisions}
    return min(outcomes, key=OUTCOMES.index, default="unchanged")


def why_incomparable(old: Identity, new: Identity) -> str | None:
    """Return why two records of one name cannot be compared, or None.

    Suite, seed, cohort, and the protocol's major version and settings must be the same; its minor
    version, the explainer and the model's weights may differ.
    """
    pairs = {
        "suite": (old.suite, new.suite),
        "seed": (old.seed, new.seed),
        "cohort's fingerprint": (old.cohort_fingerprint[:12], new.cohort_fingerprint[:12]),
        "protocol's major version": (_major(old), _major(new)),
    }
    for part, (before, now) in pairs.items():
        if before != now:
            return f"the {part} was {before} and is {now}"
    was, now_is = old.protocol.config, new.protocol.config
    for name in sorted({*was, *now_is}):
        if was.get(name) != now_is.get(name):
            return (
                f"the protocol's setting {name!r} was {was.get(name)!r} and is {now_is.get(name)!r}"
            )
    return None


def why_other_scale(old: Scale, new: Scale) -> str | None:
    """Return why scores of two records cannot be subtracted, or None."""
    for part, what in (("statistic", "score"), ("aggregate", "rule that makes one number of it")):
        before, now = getattr(old, part), getattr(new, part)
        if before != now:
            return f"by its file the {what} was {before!r}, and the protocol's is {now!r}"
    return None


def _draft(pair: Pair, margin: float) -> Decision:
    """Return a decision where no test is needed, and elsewhere a draft with a p-value."""
    old, new = pair.old, pair.new
    if new is None:
        return Decision(old.names, "failed", pair.failure or "it failed", Change(old=_score(old)))
    notes = _notes(old, new)
    # What the baseline's file says of the scale may be anything.
    old = old.model_copy(update={"scale": new.scale})
    pair = replace(pair, old=old)
    if old.state != SCORED or new.state != SCORED:
        return replace(_decide_by_state(old, new), notes=notes)
    if new.scale.gate and (old.verdict, new.verdict) == ("pass", "fail"):
        reason = f"the verdict was pass and is fail: {new.reason or 'no reason is given'}"
        return Decision(old.names, "regression", reason, _change(old, new)[0], notes)
    before, now = _both(old, new)
    golden = len(before.sample) == len(old.scores) and _all_close(before, now, new.scale.tolerance)
    change, error = _change(old, new)
    allowed = _allowed_drop(pair, margin)
    if golden and not change.difference.estimate < -allowed:
        reason = "every subject has the value that it had"
        return Decision(old.names, "unchanged", reason, change, notes, allowed)
    if (lost := _share_lost(old, new)) > MOST_LOST:
        reason = f"{lost:.0%} of the subjects lost their value, more than {MOST_LOST:.0%}"
        return Decision(old.names, "regression", reason, change, notes, allowed)
    return replace(_with_p_value(old, change, error, allowed), notes=notes, margin=allowed)


def _allowed_drop(pair: Pair, margin: float) -> float:
    """Return the largest drop of a score that is no regression, in units of the score."""
    old, chance = pair.old, pair.chance
    if old.score is None:
        return NOTHING_TO_LOSE
    estimates, drawn = distributions([old.score], old.scale.aggregate)
    # The sign by which a score above noise is positive, whichever way is better.
    sign = {"higher": 1.0, "lower": -1.0, "none": float(np.sign(estimates[0] - chance))}
    above = sign[old.scale.direction] * (estimates[0] - chance)
    spread = float(np.nanstd(drawn)) if np.isfinite(drawn).any() else _NAN
    certain = old.scale.aggregate == "constant" or above > stats.norm.ppf(1 - ALPHA) * spread
    return margin * float(above) if certain and above > 0 else NOTHING_TO_LOSE


def _with_p_value(old: PublishedRecord, change: Change, error: float, margin: float) -> Decision:
    """Return a draft with the p-value, or a decision where there is nothing to test."""
    difference = change.difference
    if math.isnan(change.old) and math.isnan(change.new):
        return Decision(old.names, "inconclusive", "neither run makes one number", change)
    if math.isnan(change.new):
        return Decision(old.names, "regression", "the subjects no longer make one number", change)
    if math.isnan(change.old):
        return Decision(old.names, "pass", "the subjects make one number, and did not", change)
    if difference.n_subjects < 2 and old.scale.aggregate != "constant":
        return Decision(old.names, "inconclusive", "fewer than two subjects have a value", change)
    distance = difference.estimate + margin
    degrees = max(difference.n_subjects - 1, 1)
    p = float(stats.t.cdf(distance / error, degrees) if error > 0 else distance >= 0)
    if old.scale.direction == "none":
        p = min(2 * p, 1.0)  # the side was chosen after looking
    return Decision(old.names, "inconclusive", "", replace(change, p=p))


def _conclude(draft: Decision, adjusted: float) -> Decision:
    change, margin = replace(draft.change, adjusted=adjusted), draft.margin
    low, high = change.difference.low, change.difference.high
    outcome: Outcome = "inconclusive"
    if low > -margin:
        outcome, reason = "pass", f"a drop of {margin:.2g} or more is ruled out"
    elif not high < -margin:  # also where there is no limit
        reason = f"the interval holds a drop of {margin:.2g}"
    elif adjusted < ALPHA:
        outcome, reason = "regression", f"it dropped by more than {margin:.2g}"
    else:
        reason = f"a drop of more than {margin:.2g} is not certain among so many cells"
    return replace(draft, outcome=outcome, reason=reason, change=change)


def _decide_by_state(old: PublishedRecord, new: PublishedRecord) -> Decision:
    change = Change(_score(old), _score(new))
    if old.state == new.state:
        return Decision(old.names, "unchanged", f"it was and is {new.state}", change)
    why = "" if new.state == SCORED else f": {new.reason}"
    reason = f"it was {old.state} and is {new.state}{why}"
    outcome: Outcome = "regression" if old.state == SCORED else "pass"
    return Decision(old.names, outcome, reason, change)


def _change(old: PublishedRecord, new: PublishedRecord) -> tuple[Change, float]:
    """Return how far the score moved, and the standard error of the difference."""
    paired = resample_pair(*_both(old, new), old.scale.aggregate)
    if paired is None:
        return Change(_score(old), _score(new)), _NAN
    (was, is_now), replicates, bootstrap = paired
    n_subjects = bootstrap.n_subjects
    differences = replicates[:, 1] - replicates[:, 0]
    known = differences[~np.isnan(differences)]
    estimate = float(is_now - was)
    if old.scale.direction == "lower" or (old.scale.direction == "none" and estimate > 0):
        estimate = -estimate
    # A resample's spread is too small by the factor that the variance divides by n, not n − 1.
    factor = math.sqrt(n_subjects / max(n_subjects - 1, 1))
    error = float(known.std()) * factor if len(known) else _NAN
    reach = error * float(stats.t.ppf(1 - ALPHA, max(n_subjects - 1, 1)))
    interval = Interval(estimate, estimate - reach, estimate + reach, n_subjects)
    return Change(float(was), float(is_now), interval), error


def _both(old: PublishedRecord, new: PublishedRecord) -> tuple[Reading, Reading]:
    """Return both scores on the images that both have, in one order."""
    nothing = Reading(old.scale.statistic, Sample((), (), ()), np.empty(0))
    before, now = old.score or nothing, new.score or nothing
    shared = sorted(set(before.sample.keys) & set(now.sample.keys))
    return on_images(before, shared), on_images(now, shared)


def _all_close(before: Reading, now: Reading, tolerance: float) -> bool:
    pairs = [(before.values, now.values)]
    if before.denominators is not None and now.denominators is not None:
        pairs.append((before.denominators, now.denominators))
    return all(
        np.allclose(first, second, rtol=_ROUNDING, atol=tolerance, equal_nan=True)
        for first, second in pairs
    )


def _share_lost(old: PublishedRecord, new: PublishedRecord) -> float:
    """Return the share of the subjects with a value that have lost it.

    Which subjects are measured at all may depend on the model, so a subject that is left out under
    other weights is not counted.
    """
    before, now = old.score, new.score
    if before is None or now is None:
        return 0.0
    have_value = {row[1] for row in new.scores if row[3] is not None}
    measured = set(now.sample.subjects)
    if old.identity.network == new.identity.network:
        measured |= set(before.sample.subjects)
    had_value = {row[1] for row in old.scores if row[3] is not None and row[1] in measured}
    return len(had_value - have_value) / len(had_value) if had_value else 0.0


def _score(record: PublishedRecord) -> float:
    if record.score is None:
        return _NAN
    return float(distributions([record.score], record.scale.aggregate)[0][0])


def _notes(old: PublishedRecord, new: PublishedRecord) -> tuple[str, ...]:
    """Return what else differs between two records."""
    was, now = old.identity, new.identity
    notes = []
    if was.weights_sha256 != now.weights_sha256:
        notes.append("the model's weights differ")
    if was.architecture_sha256 != now.architecture_sha256:
        notes.append("the model's architecture differs")
    for part in ("explainer", "protocol"):
        versions = [getattr(identity, part).version for identity in (was, now)]
        if versions[0] != versions[1]:
            notes.append(f"the {part}'s version was {versions[0]} and is {versions[1]}")
    if was.explainer.config != now.explainer.config:
        notes.append("the explainer's settings differ")
    for part in ("direction", "gate", "tolerance"):
        before, own = getattr(old.scale, part), getattr(new.scale, part)
        if before != own:
            notes.append(
                f"the baseline's file has the {part} {before}, the protocol has {own}, which counts"
            )
    devices = [record.provenance.device for record in (old, new)]
    if devices[0] != devices[1]:
        notes.append(f"it was measured on {devices[0]} and now on {devices[1]}")
    if None not in (old.verdict, new.verdict) and old.verdict != new.verdict:
        notes.append(f"the verdict was {old.verdict} and is {new.verdict}")
    gone = len({row[0] for row in old.scores} - {row[0] for row in new.scores})
    if gone and new.scores:
        notes.append(f"{gone} images of the baseline were not asked about")
    return tuple(notes)


def _major(identity: Identity) -> str:
    return identity.protocol.version.partition(".")[0]
