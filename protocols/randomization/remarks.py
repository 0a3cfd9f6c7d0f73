"""What either version of `randomization` says beside its verdict."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.protocol import Badge
from benchmark.reading import Reading, Statistic, find, interval


def badges_of_last_layer(
    readings: Sequence[Reading], last_layer: Statistic, twin: Statistic
) -> list[Badge]:
    """Return whether the map notices the last layer, or nothing where that was not read."""
    last, of_twins = interval(readings, last_layer), interval(readings, twin)
    if last is None or of_twins is None:
        return []
    detail = f"similarity {last.estimate:.2f}, of twins {of_twins.estimate:.2f}"
    return [Badge("notices the last layer", last.high < 1 - 1e-6, detail)]


def remark_on_training(
    readings: Sequence[Reading], covered: Statistic, training_accuracy: Statistic
) -> str | None:
    """Return which share of the parameters was changed, and whether labels were memorised."""
    share, accuracy = find(readings, covered), find(readings, training_accuracy)
    remark = f"randomising changed {share.values[0]:.1%} of weights" if share else ""
    if accuracy is not None:
        remark += f"; permuted labels memorised to {accuracy.values[0]:.2f}"
    return remark or None
