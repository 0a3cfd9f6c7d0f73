"""Whether an imputer is fit for a model; an unfit one makes nonsense of removal.

Three checks, none of which looks at an explainer: removing the cohort's regions must move the
groups more than random regions do, random regions must hardly move them, and the mask itself must
not tell the groups apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.reading import Condition, Reading, Statistic, distributions, find, summarise
from benchmark.trial.region_effects import region_effects
from benchmark.trial.removal import masking_rows
from benchmark.trial.trial import Trial

LARGEST_RANDOM_EFFECT = 0.10

HEALTH_STATISTICS = (
    Statistic(
        "roi_effect", "drop of s·φ without the cohort's regions, in T", "none", "balanced_mean"
    ),
    Statistic(
        "roi_effect_above_random", "the same minus random regions", "higher", "balanced_mean"
    ),
    Statistic(
        "random_effect_t_w", "drop of T_w under random regions, in T", "none", "group_difference"
    ),
    Statistic("group_auroc", "AUROC of φ between the groups", "none", "auroc"),
)


def health_readings(trial: Trial, subjects: int, repeats: int) -> Iterator[Reading]:
    """Yield the readings of ``HEALTH_STATISTICS`` for each imputer that applies to the cohort.

    Args:
        trial: Model and cohort.
        subjects: Images to try it on.
        repeats: Random regions per image.
    """
    sample = trial.sample(masking_rows(trial, subjects))
    signs = 1 - 2 * np.asarray(sample.groups)
    for name, effect in region_effects(trial, subjects, repeats).items():
        imputer: dict[str, Condition] = {"imputer": name}
        yield Reading("roi_effect", sample, effect.roi, imputer)
        yield Reading("roi_effect_above_random", sample, effect.roi - effect.random, imputer)
        yield Reading("random_effect_t_w", sample, signs * effect.random, imputer)
        # Oriented so that more means group B, the positive class of the AUROC.
        yield Reading("group_auroc", sample, -effect.before, imputer | {"mask": "none"})
        for mask, values in enumerate(effect.after.T):
            yield Reading("group_auroc", sample, -values, imputer | {"mask": f"random {mask}"})


def measured_imputers(readings: Sequence[Reading]) -> list[str]:
    """Return the imputers whose health is among the readings, the default one first."""
    health = [one for one in readings if one.statistic == "group_auroc"]
    return list(dict.fromkeys(str(one.conditions["imputer"]) for one in health))


def unfitness(readings: Sequence[Reading], imputer: str) -> str | None:
    """Return why an imputer is unfit for the model, or None where it is fit.

    Args:
        readings: Among them those of ``health_readings``.
        imputer: Its name.
    """
    above = find(readings, "roi_effect_above_random", imputer=imputer)
    known = above is not None and bool(np.isfinite(above.values).any())
    if known and above is not None and not summarise(above, "balanced_mean").low > 0:
        return "removing the regions moves T_w no more than random masks do"
    random = find(readings, "random_effect_t_w", imputer=imputer)
    if random is not None:
        moved = abs(summarise(random, "group_difference").estimate)
        if not moved < LARGEST_RANDOM_EFFECT:
            return f"random masks move T_w by {moved:.2f} T"
    rise = _auroc_rise(readings, imputer)
    if rise is not None and rise > 0:
        return "the mask tells the groups apart"
    return None


def _auroc_rise(readings: Sequence[Reading], imputer: str) -> float | None:
    """Return the lower bound of how much the AUROC rises under masks common to all images."""
    before = find(readings, "group_auroc", imputer=imputer, mask="none")
    after = [
        one
        for one in readings
        if one.statistic == "group_auroc"
        and one.conditions["imputer"] == imputer
        and one.conditions["mask"] != "none"
    ]
    if before is None or not after:
        return None
    replicates = distributions([before, *after], "auroc")[1]
    return float(np.nanquantile(replicates[:, 1:].mean(axis=1) - replicates[:, 0], 0.025))
