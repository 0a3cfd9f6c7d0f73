"""`roi_pointing`: does the map load on anatomy that the disease is known to change?

An area share is no safe null: what a map of a network with random weights loads depends on the
architecture and on where the region lies. So every statistic is read a second time on fully
randomised copies of the model, and beside each region stands one of equal area that the disease
leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from benchmark.classifier import PassCounter
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.explainer import importance
from benchmark.maps import localisation, ranking
from benchmark.protocol import ProtocolConfig, SanityProtocol
from benchmark.reading import Condition, Plot, Reading, Statistic, Verdict, find, summarise
from benchmark.trial import RANDOM_COPIES, Trial
from benchmark.trial.region_effects import region_effects, union_of
from benchmark.trial.removal import imputers, masking_rows

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

LIFT_OFFSET = 0.01
MINIMUM_SUBJECTS = 10


class RoiPointingConfig(ProtocolConfig):
    """Settings of `roi_pointing`.

    Attributes:
        confidence: A subject counts if the model gives its own group at least this probability.
        tolerance_mm: How far beside a region the largest value may lie and still point at it.
        subjects: Images on which removing the regions is tried, and on which those that count are
            explained on randomised copies of the model too.
        repeats: Random regions that each removal is compared with.
    """

    confidence: float = Field(0.8, ge=0.5, lt=1)
    tolerance_mm: float = Field(3.0, ge=0)
    subjects: int = Field(64, ge=4)
    repeats: int = Field(8, ge=1)


class RoiPointing(SanityProtocol[RoiPointingConfig]):
    """The map against known anatomy, with randomised models and a control region as nulls."""

    name = "roi_pointing"
    version = "1.1"
    title = "Does the map load on anatomy that the disease is known to change?"
    primary = "ap"
    chance = "ap_above_chance"
    margin = 0.02
    Config = RoiPointingConfig
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("ap", "average precision of the map against the regions", "higher"),
        Statistic("ap_null", "the same on fully randomised copies of the model"),
        Statistic("ap_above_null", "ap minus ap_null", "higher"),
        Statistic("ap_above_chance", "ap minus its exact expectation for noise", "higher"),
        Statistic("specificity", "log lift of the region minus log lift of its control", "higher"),
        Statistic(
            "lift",
            "share of the map in a region over the region's share of the foreground",
            "higher",
            plot=Plot("bars", "roi", ("region", "model"), None, "lift (1 = spread evenly)"),
        ),
        Statistic("rank_accuracy", "share of the region among as many top pixels", "higher"),
        Statistic("pointing", "whether the largest value lies on the region", "higher"),
        Statistic("mass", "signed sum in the region over the sum of magnitudes", "higher"),
        Statistic("mass_absolute", "sum of magnitudes in the region over that of all", "higher"),
        Statistic("mean", "signed mean in the region", "higher"),
        Statistic("leakage", "share of the map outside the foreground", "lower"),
        Statistic("roi_effect", "drop of s·φ without the regions, in T", "none", "balanced_mean"),
        Statistic(
            "roi_effect_above_random", "the same minus random regions", "higher", "balanced_mean"
        ),
        Statistic("own_probability", "probability of the own group, all test images", "none"),
    )

    def readings(self, trial: Trial) -> list[Reading]:
        """Measure; see the base class."""
        if not trial.cohort.anatomy.rois:
            raise UnsupportedError("the cohort declares no regions of interest")
        rows = np.flatnonzero(trial.evaluation.own_probability >= self.config.confidence)
        if len(rows) < MINIMUM_SUBJECTS:
            raise NotAssessableError(
                f"the model is confident and correct on {len(rows)} images only, "
                f"fewer than {MINIMUM_SUBJECTS}"
            )
        notebook = _Notebook(trial, rows, self.config)
        notebook.write(trial.attributions[torch.from_numpy(rows)])
        both = np.flatnonzero(np.isin(rows, masking_rows(trial, self.config.subjects)))
        for copy in range(RANDOM_COPIES):
            notebook.write(trial.randomised(copy).maps(rows[both]), both)
        return [*notebook.readings(), *self._model_readings(trial)]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map beats the control region and randomised models."""
        used = find(readings, "roi_effect_above_random")
        if used is not None and not summarise(used, "balanced_mean").low > 0:
            return Verdict("not assessable", None, "model does not use the ROI")
        failures = []
        for statistic, what in (
            ("specificity", "the control region is loaded as much"),
            ("ap_above_null", "randomised models score as well"),
        ):
            reading = find(readings, statistic)
            if reading is not None and not summarise(reading).low > 0:
                failures.append(what)
        return Verdict("scored", not failures, "; ".join(failures) or None)

    def cost(self, trial: Trial) -> PassCounter:
        """Return the passes of maps on the model and its copies, and of removing the regions."""
        few = len(masking_rows(trial, self.config.subjects))
        maps = trial.filled(len(trial.test)) + trial.filled(few) * RANDOM_COPIES
        forward, backward = trial.explainer.passes
        masked = few * (1 + 2 * self.config.repeats) * len(imputers(trial))
        return PassCounter(len(trial.test) + maps * forward + masked, maps * backward)

    def _model_readings(self, trial: Trial) -> Iterator[Reading]:
        rows = masking_rows(trial, self.config.subjects)
        sample = trial.sample(rows)
        effects = region_effects(trial, self.config.subjects, self.config.repeats)
        for place, (name, effect) in enumerate(effects.items()):
            excess = effect.roi - effect.random
            if place == 0:
                yield Reading("roi_effect_above_random", sample, excess)
            conditions: dict[str, Condition] = {"imputer": name}
            yield Reading("roi_effect", sample, effect.roi, conditions)
            yield Reading("roi_effect_above_random", sample, excess, conditions)
        yield Reading("own_probability", trial.sample(), trial.evaluation.own_probability)


class _Notebook:
    """Collects what each region shows on the trained model and on its randomised copies."""

    def __init__(self, trial: Trial, rows: Rows, config: RoiPointingConfig) -> None:
        anatomy = trial.test.anatomy
        self._trial, self._rows, self._config = trial, rows, config
        self._foreground = torch.from_numpy(anatomy.foreground[rows])
        regions = {(name, "roi"): mask for name, mask in anatomy.rois.items()}
        regions |= {(name, "control"): mask for name, mask in anatomy.control_rois.items()}
        for kind, masks in (("roi", anatomy.rois), ("control", anatomy.control_rois)):
            if len(masks) == len(anatomy.rois):
                regions[("all", kind)] = union_of(list(masks.values()))
        self._regions = {key: torch.from_numpy(mask[rows]) for key, mask in regions.items()}
        self._values: dict[tuple[str, str, str, str], list[FloatArray]] = {}
        self._reasons: dict[str, str] = {}

    def write(self, signed: Tensor, places: Rows | None = None) -> None:
        """Read every statistic of every region off one set of maps.

        Args:
            signed: [n, 1, *S].
            places: [n] which of the rows were explained on a randomised copy; None for all of
                them on the model itself.
        """
        ranked = importance(signed, self._trial.explainer.polarity)
        foreground = self._foreground if places is None else self._foreground[places]
        model = "trained" if places is None else "randomised"
        if places is None:
            reasons = ranking.reason_unrankable(ranked, foreground)
            keys = self._trial.sample(self._rows).keys
            self._reasons = {key: why for key, why in zip(keys, reasons, strict=True) if why}
            self._note("leakage", "", "", model, localisation.leakage(ranked, foreground))
        order = ranking.rank_pixels(ranked, foreground)
        for (roi, kind), mask in self._regions.items():
            some = mask if places is None else mask[places]
            for name, values in self._statistics(signed, ranked, some, foreground, order).items():
                self._note(name, roi, kind, model, values, places)

    def readings(self) -> Iterator[Reading]:
        """Yield scores first, then every statistic by region and model."""
        ap, null = (
            self._mean("ap", "all", "roi", "trained"),
            self._mean("ap", "all", "roi", "randomised"),
        )
        truth, foreground = self._regions[("all", "roi")], self._foreground
        chance = localisation.expected_average_precision(truth, foreground).numpy()
        yield self._reading("ap", ap)
        yield self._reading("ap_null", null)
        yield self._reading("ap_above_null", ap - null)
        yield self._reading("ap_above_chance", ap - chance)
        yield self._reading("leakage", self._mean("leakage", "", "", "trained"))
        for roi, kind in self._regions:
            if kind == "control":
                lifts = [self._mean("lift", roi, side, "trained") for side in ("roi", "control")]
                specificity = np.log(lifts[0] + LIFT_OFFSET) - np.log(lifts[1] + LIFT_OFFSET)
                yield self._reading(
                    "specificity", specificity, {} if roi == "all" else {"roi": roi}
                )
        for statistic, roi, kind, model in self._values:
            if roi:
                conditions: dict[str, Condition] = {"roi": roi, "region": kind, "model": model}
                yield self._reading(statistic, self._mean(statistic, roi, kind, model), conditions)

    def _statistics(
        self,
        signed: Tensor,
        ranked: Tensor,
        mask: Tensor,
        foreground: Tensor,
        order: ranking.Ranking,
    ) -> dict[str, Tensor]:
        inside = mask & foreground
        magnitude = (signed.abs().double() * foreground).flatten(1).sum(1)
        in_region = (signed.double() * inside).flatten(1).sum(1)
        absolute = (signed.abs().double() * inside).flatten(1).sum(1)
        spacing = self._trial.cohort.geometry.spacing
        tolerance = self._config.tolerance_mm
        return {
            "ap": localisation.average_precision(ranked, mask, foreground, order),
            "lift": localisation.lift(ranked, mask, foreground),
            "rank_accuracy": localisation.rank_accuracy(ranked, mask, foreground, order),
            "pointing": localisation.pointing(ranked, mask, foreground, tolerance, spacing),
            "mass": in_region / magnitude,
            "mass_absolute": absolute / magnitude,
            "mean": in_region / inside.flatten(1).sum(1),
        }

    def _note(
        self,
        statistic: str,
        roi: str,
        kind: str,
        model: str,
        values: Tensor,
        places: Rows | None = None,
    ) -> None:
        full = np.full(len(self._rows), np.nan)
        full[slice(None) if places is None else places] = values.numpy()
        self._values.setdefault((statistic, roi, kind, model), []).append(full)

    def _mean(self, statistic: str, roi: str, kind: str, model: str) -> FloatArray:
        """Return the mean over copies of the model, NaN where every copy has none, [n]."""
        values = np.stack(self._values[(statistic, roi, kind, model)])
        known = np.isfinite(values)
        sums, counts = np.where(known, values, 0).sum(0), known.sum(0)
        result: FloatArray = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
        return result

    def _reading(
        self, statistic: str, values: FloatArray, conditions: dict[str, Condition] | None = None
    ) -> Reading:
        sample = self._trial.sample(self._rows)
        return Reading(statistic, sample, values, conditions or {}, self._reasons)
