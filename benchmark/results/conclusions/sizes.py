"""A word for the size of a calibrated score, and when a verdict may look good.

A calibrated score is 0 at chance and 1 at the best possible. With many subjects, a score that is
hardly above chance passes: the word beside a verdict says so.
"""

from __future__ import annotations

import math
from typing import Literal

from benchmark.records.record import VerdictWord

SizeWord = Literal[
    "below chance",
    "near chance",
    "weak",
    "moderate",
    "strong",
    "near the best possible",
    "not known",
]
Tone = Literal["good", "small", "chance", "unknown", "bad", "plain"]

# The least calibrated score of each word; below the first, a score is near chance.
STEPS: tuple[tuple[float, SizeWord], ...] = (
    (0.1, "weak"),
    (0.3, "moderate"),
    (0.6, "strong"),
    (0.9, "near the best possible"),
)
AT_CHANCE: tuple[SizeWord, ...] = ("below chance", "near chance")
LARGE: tuple[SizeWord, ...] = ("moderate", "strong", "near the best possible")


def size_word(
    estimate: float | None, low: float | None, high: float | None, reaches_best: bool
) -> SizeWord:
    """Return the word for a calibrated score with its 95 % interval.

    An interval that holds 0 is near chance, whatever its mean. Without limits nobody knows whether
    it does, so the size is not known; nor is it where the scale has no upper end.

    Args:
        estimate: Calibrated score; None where there is none.
        low: Lower limit, or None.
        high: Upper limit, or None.
        reaches_best: Whether 1 is the best possible on the scale, or it is a distance from chance
            in the unit of the score.
    """
    if estimate is None or low is None or high is None:
        return "not known"
    if not all(map(math.isfinite, (estimate, low, high))):
        return "not known"
    if high < 0:
        return "below chance"
    if low <= 0:
        return "near chance"
    if not reaches_best:
        return "not known"
    reached = [word for least, word in STEPS if estimate >= least]
    return reached[-1] if reached else "near chance"


def tone_of(verdict: VerdictWord | None, size: SizeWord | None, healthy: bool | None) -> Tone:
    """Return how a verdict may look; it looks good only where its score is at least moderate.

    Args:
        verdict: Verdict of the protocol.
        size: Word for the size of the score.
        healthy: Whether the protocol is healthy; where it is not, a verdict says nothing.
    """
    if verdict is None or healthy is False:
        return "plain"
    if verdict != "pass":
        return "bad" if verdict == "fail" else "plain"
    if size in AT_CHANCE:
        return "chance"
    if size in LARGE:
        return "good"
    return "small" if size == "weak" else "unknown"


def describe_steps() -> list[tuple[SizeWord, str]]:
    """Return each word with the range of calibrated scores that it stands for."""
    ends = [f" to {least:g}" for least, _ in STEPS[1:]]
    ranges = [
        (word, f"{least:g}{end}" if end else f"from {least:g}")
        for (least, word), end in zip(STEPS, [*ends, ""], strict=True)
    ]
    return [("near chance", f"below {STEPS[0][0]:g}, or not surely above 0"), *ranges]
