"""Places a score between that of noise and that of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.protocol import SanityProtocol
from benchmark.reading import (
    SCORED,
    distributions,
    find,
    shared_bootstrap,
)
from benchmark.records.record import Record
from benchmark.results.lookup import ORACLE, RANDOM, is_beside
from benchmark.results.paired import on_common_images
from benchmark.results.result import (
    Calibrated,
    number,
)


def calibrated_score(
    record: Record, records: Sequence[Record], protocol: type[SanityProtocol[Any]]
) -> Calibrated | None:
    """Return where a score lies between noise, 0, and the truth, 1; None where one is missing."""
    if record.state != SCORED:
        return None
    chosen = []
    for name in (record.names.explainer, RANDOM, ORACLE):
        other = next((one for one in records if is_beside(one, record, name)), None)
        score = find(other.to_readings(), protocol.primary) if other else None
        if score is None:
            return None
        chosen.append(score)
    common = on_common_images(chosen)
    if not len(common[0].sample):
        return None
    estimates, replicates = distributions(common, protocol.statistic(protocol.primary).aggregate)
    above, drawn_above = estimates - estimates[1], replicates - replicates[:, 1:2]
    bootstrap = shared_bootstrap(common[0].sample.subjects)
    span = bootstrap.statistic_interval(float(above[2]), drawn_above[:, 2])
    # A range from noise to truth that may be zero cannot be a unit of measurement.
    if not (span.low > 0 or span.high < 0):
        return None
    drawn = np.full(len(replicates), np.nan)
    np.divide(drawn_above[:, 0], drawn_above[:, 2], out=drawn, where=drawn_above[:, 2] != 0)
    ratio = bootstrap.statistic_interval(float(above[0] / above[2]), drawn)
    return Calibrated(
        estimate=number(ratio.estimate), low=number(ratio.low), high=number(ratio.high)
    )
