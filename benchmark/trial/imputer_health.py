"""Whether an imputer is fit for a model; an unfit one makes nonsense of removal.

Three checks, none of which looks at an explainer: removing the cohort's regions must move the
groups more than random regions do, random regions must hardly move them, and the mask itself must
not tell the groups apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.reading import Reading, distributions, find, interval, statistic
from benchmark.trial.region_effects import region_effects
from benchmark.trial.study import Study

LARGEST_RANDOM_EFFECT = 0.10


class RegionEffectStatistics:
    """Statistics of what removing the cohort's regions does, for a protocol to inherit."""

    roi_effect = statistic(
        "drop of the signed group projection without the cohort's regions, in units of T",
        aggregate="balanced_mean",
    )
    roi_effect_above_random = statistic(
        "roi_effect minus that of random regions", "higher", "balanced_mean"
    )


class ImputerHealth(RegionEffectStatistics):
    """Statistics that tell whether an imputer is fit, for a protocol to inherit."""

    random_effect_t_w = statistic(
        "drop of the difference of the groups' mean projections without random regions",
        aggregate="group_difference",
    )
    group_auroc = statistic("AUROC of the group projection between the groups", aggregate="auroc")


def read(study: Study, repeats: int) -> None:
    """Read ``ImputerHealth`` for each imputer from as many rows of each group.

    Each image is compared with ``repeats`` random regions.
    """
    health, signs = ImputerHealth, 1 - 2 * study.groups
    for name, effect in region_effects(study.trial, study.rows, repeats).items():
        study.read(health.roi_effect, effect.roi, {"imputer": name})
        study.read(health.roi_effect_above_random, effect.roi - effect.random, {"imputer": name})
        study.read(health.random_effect_t_w, signs * effect.random, {"imputer": name})
        # Oriented so that more means group B, the positive class of the AUROC.
        study.read(health.group_auroc, -effect.before, {"imputer": name, "mask": "none"})
        for number, values in enumerate(effect.after.T):
            study.read(health.group_auroc, -values, {"imputer": name, "mask": f"random {number}"})


def unfit_imputers(readings: Sequence[Reading]) -> dict[str, str | None]:
    """Return why each measured imputer is unfit, None where it is fit; the default one first."""
    health = [reading for reading in readings if reading.statistic == "group_auroc"]
    names = (str(reading.conditions["imputer"]) for reading in health)
    return {name: unfitness(readings, name) for name in dict.fromkeys(names)}


def unfitness(readings: Sequence[Reading], imputer: str) -> str | None:
    """Return why an imputer is unfit for the model, or None where it is fit."""
    above = interval(readings, ImputerHealth.roi_effect_above_random, imputer=imputer)
    if above is not None and above.n_subjects and not above.low > 0:
        return "removing the regions moves T_w no more than random masks do"
    random = interval(readings, ImputerHealth.random_effect_t_w, imputer=imputer)
    if random is not None and not abs(random.estimate) < LARGEST_RANDOM_EFFECT:
        return f"random masks move T_w by {abs(random.estimate):.2f} T"
    rise = _auroc_rise(readings, imputer)
    return "the mask tells the groups apart" if rise is not None and rise > 0 else None


def _auroc_rise(readings: Sequence[Reading], imputer: str) -> float | None:
    """Return the lower bound of how much the AUROC rises under masks common to all images."""
    before = find(readings, ImputerHealth.group_auroc, imputer=imputer, mask="none")
    measured = [reading for reading in readings if reading.statistic == "group_auroc"]
    of_imputer = [reading for reading in measured if reading.conditions["imputer"] == imputer]
    after = [reading for reading in of_imputer if reading.conditions["mask"] != "none"]
    if before is None or not after:
        return None
    replicates = distributions([before, *after], "auroc")[1]
    return float(np.nanquantile(replicates[:, 1:].mean(axis=1) - replicates[:, 0], 0.025))
