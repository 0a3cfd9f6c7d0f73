"""All that is read of the planted signals, over the arms and the strengths."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy
import torch

from benchmark.trial import Study
from protocols.positive_control.arms import TunedTo, null_p_values, probed
from protocols.positive_control.readings import (
    planted_arrays,
    read_arm,
    read_edge_artefact,
    read_frozen,
    read_tuned,
    shown_rows,
)
from protocols.positive_control.statistics import (
    ZERO,
    PositiveControlConfig,
    PositiveControlStatistics,
)


def read_signals(
    study: Study, config: PositiveControlConfig
) -> tuple[Study, dict[str, npt.NDArray[np.generic]]]:
    """Read every arm at every strength.

    Returns:
        The study of the images that were explained, and arrays that a report shows of them.
    """
    trial, images = study.trial, study.balanced(config.subjects)
    tuned = [TunedTo(strength).arm(trial) for strength in config.strengths]
    frozen = [probed(trial, strength) for strength in config.strengths]
    arms = list(zip(config.strengths, tuned, frozen, strict=True))
    for strength, learned, probe in arms:
        read_arm(study, learned, strength, config.permutations)
        read_arm(study, probe, strength, config.permutations)
        read_edge_artefact(images, probe, strength.name)
    read_arm(study, probed(trial, None), None, config.permutations)
    read_edge_artefact(images, probed(trial, None), ZERO)
    null = null_p_values(trial, config.splits, config.null_permutations)
    uniformity_p = float(scipy.stats.kstest(null, "uniform").pvalue)
    study.constant(PositiveControlStatistics.uniformity_p, uniformity_p)

    few, maps = study.balanced(config.probe_subjects), []
    indices = torch.from_numpy(np.searchsorted(images.rows, shown_rows(images)))
    for strength, learned, probe in arms:
        maps.append(read_tuned(images, learned, strength.name, config)[indices])
        last = strength is config.strengths[-1]
        read_frozen(few, probe, strength.name, config, last=last)
    return images, planted_arrays(images, tuned, maps, config)
