"""`roi_pointing`: does the map load on anatomy that the disease is known to change?

An area share is no safe null: what a map of a network with random weights loads depends on the
architecture and on where the region lies. So every statistic is read a second time on fully
randomised copies of the model, and beside each region stands one of equal area that the disease
leaves alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.cohort import Anatomy
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.maps import localisation, ranking
from benchmark.protocol import ProtocolConfig, SanityProtocol
from benchmark.reading import Plot, Reading, Statistic, Verdict, interval, statistic
from benchmark.trial import RANDOM_COPIES, Study
from benchmark.trial.imputer_health import RegionEffectStatistics
from benchmark.trial.region_effects import region_effects
from benchmark.trial.removal import masking_rows

Regions = Mapping[tuple[str, str], BoolArray]
Scores = dict[tuple[Statistic, str, str], FloatArray]

LIFT_OFFSET = 0.01
MINIMUM_SUBJECTS = 10


class RoiPointingConfig(ProtocolConfig):
    """Settings of `roi_pointing`.

    Attributes:
        confidence: A subject counts if the model gives its own group at least this probability.
        tolerance_mm: Distance beside a region at which the largest value still points at it.
        subjects: Images whose regions are removed, and that randomised copies explain as well.
        repeats: Random regions that each removal is compared with.
    """

    confidence: float = Field(0.8, ge=0.5, lt=1)
    tolerance_mm: float = Field(3.0, ge=0)
    subjects: int = Field(64, ge=4)
    repeats: int = Field(8, ge=1)


class RoiPointing(RegionEffectStatistics, SanityProtocol[RoiPointingConfig]):
    """The map against known anatomy, with randomised models and a control region as nulls."""

    name = "roi_pointing"
    version = "1.1"
    title = "Does the map load on anatomy that the disease is known to change?"
    topic = "the anatomy that the disease changes"
    if_passed = "singles out the anatomy that the disease changes"
    if_failed = "does not single out the anatomy that the disease changes"
    primary = "ap"
    chance = "ap_above_chance"
    margin = 0.02
    Config = RoiPointingConfig

    ap = statistic("average precision of the map against the regions", "higher")
    ap_null = statistic("average precision on fully randomised copies of the model")
    ap_above_null = statistic("ap minus ap_null", "higher")
    ap_above_chance = statistic("ap minus its exact expectation for noise", "higher")
    specificity = statistic("log lift of the region minus log lift of its control", "higher")
    lift = statistic(
        "share of the map in a region over the region's share of the foreground",
        "higher",
        plot=Plot("bars", "roi", ("region", "model"), None, "lift (1 = spread evenly)"),
    )
    rank_accuracy = statistic("share of the region among as many top pixels of the map", "higher")
    pointing = statistic("whether the largest value lies on the region", "higher")
    mass = statistic("signed sum in the region over the sum of magnitudes", "higher")
    mass_absolute = statistic("sum of magnitudes in the region over that of all", "higher")
    mean = statistic("signed mean in the region", "higher")
    leakage = statistic("share of the map outside the foreground", "lower")
    own_probability = statistic("probability of the own group, all test images")

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, config = study.trial, self.config
        if not trial.test.anatomy.rois:
            raise UnsupportedError("the cohort declares no regions of interest")
        rows = np.flatnonzero(trial.evaluation.own_probability >= config.confidence)
        if len(rows) < MINIMUM_SUBJECTS:
            raise NotAssessableError(
                f"the model is confident and correct on {len(rows)} images only, "
                f"fewer than {MINIMUM_SUBJECTS}"
            )
        images, regions = study.of(rows), _regions(trial.test.anatomy)
        maps = trial.attributions[torch.from_numpy(rows)]
        ranked = images.ranked(maps)
        images.note_unrankable(ranked)
        few = images.only(np.intersect1d(rows, masking_rows(trial, config.subjects)))
        trained = self._scores(images, maps, regions)
        copies = [
            self._scores(few, trial.randomised(copy).maps(few.rows), regions)
            for copy in range(RANDOM_COPIES)
        ]
        randomised = {key: _known_mean([copy[key] for copy in copies]) for key in trained}
        self._compare(images, few, trained, randomised)
        leakage = _known_mean([localisation.leakage(ranked, images.foreground).numpy()])
        images.read(self.leakage, leakage)
        self._compare_with_controls(images, trained, regions)
        models = {"trained": (images, trained), "randomised": (few, randomised)}
        for model, (explained, scores) in models.items():
            for (measured, roi, kind), values in scores.items():
                explained.read(measured, values, {"roi": roi, "region": kind, "model": model})
        self._read_model(study)

    def _compare(self, images: Study, few: Study, trained: Scores, randomised: Scores) -> None:
        """Read the score, and how far it lies above that of randomised models and of noise."""
        ap, null = trained[self.ap, "all", "roi"], randomised[self.ap, "all", "roi"]
        union = np.any(list(images.trial.test.anatomy.rois.values()), axis=0)
        truth = torch.from_numpy(union[images.rows])
        chance = localisation.expected_average_precision(truth, images.foreground).numpy()
        images.read(self.ap, ap)
        few.read(self.ap_null, null)
        few.read(self.ap_above_null, ap[np.isin(images.rows, few.rows)] - null)
        images.read(self.ap_above_chance, ap - chance)

    def _compare_with_controls(self, images: Study, trained: Scores, regions: Regions) -> None:
        """Read how much more the map loads on a region than on its control."""
        for roi, kind in regions:
            if kind == "control":
                sides = (trained[self.lift, roi, side] for side in ("roi", "control"))
                of_roi, of_control = (np.log(lift + LIFT_OFFSET) for lift in sides)
                at = {} if roi == "all" else {"roi": roi}
                images.read(self.specificity, of_roi - of_control, at)

    def _scores(self, images: Study, maps: Tensor, regions: Regions) -> Scores:
        """Return every statistic of every region off one set of maps [n, 1, *S]."""
        # A few images at a time, since what is made of a map takes twenty times its memory.
        parts = [
            self._scores_of_few(images.only(rows.numpy()), some, regions)
            for some, rows in ranking.a_few_each(maps, torch.from_numpy(images.rows))
        ]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _scores_of_few(self, images: Study, maps: Tensor, regions: Regions) -> Scores:
        ranked, foreground = images.ranked(maps), images.foreground
        order = ranking.rank_pixels(ranked, foreground)
        signed, magnitudes = maps.double(), maps.abs().double()
        whole = (magnitudes * foreground).flatten(1).sum(1)
        spacing, near = images.trial.cohort.geometry.spacing, self.config.tolerance_mm
        scores: Scores = {}
        for (roi, kind), masks in regions.items():
            mask = torch.from_numpy(masks[images.rows])
            inside = mask & foreground
            in_region = (signed * inside).flatten(1).sum(1)
            values = {
                self.ap: localisation.average_precision(ranked, mask, foreground, order),
                self.lift: localisation.lift(ranked, mask, foreground),
                self.rank_accuracy: localisation.rank_accuracy(ranked, mask, foreground, order),
                self.pointing: localisation.pointing(ranked, mask, foreground, near, spacing),
                self.mass: in_region / whole,
                self.mass_absolute: (magnitudes * inside).flatten(1).sum(1) / whole,
                self.mean: in_region / inside.flatten(1).sum(1),
            }
            for measured, of_images in values.items():
                scores[measured, roi, kind] = _known_mean([of_images.numpy()])
        return scores

    def _read_model(self, study: Study) -> None:
        """Read whether the model uses the regions, and how sure it is."""
        removed = study.balanced(self.config.subjects)
        effects = region_effects(study.trial, removed.rows, self.config.repeats)
        default = next(iter(effects.values()))
        removed.read(self.roi_effect_above_random, default.roi - default.random)
        for name, effect in effects.items():
            removed.read(self.roi_effect, effect.roi, {"imputer": name})
            above = effect.roi - effect.random
            removed.read(self.roi_effect_above_random, above, {"imputer": name})
        study.read(self.own_probability, study.trial.evaluation.own_probability)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map beats the control region and randomised models."""
        used = interval(readings, self.roi_effect_above_random)
        if used is not None and not used.low > 0:
            return Verdict("not assessable", None, "model does not use the ROI")
        clauses = {
            "the control region is loaded as much": interval(readings, self.specificity),
            "randomised models score as well": interval(readings, self.ap_above_null),
        }
        failures = [reason for reason, score in clauses.items() if score and not score.low > 0]
        return Verdict("scored", not failures, "; ".join(failures) or None)


def _regions(anatomy: Anatomy) -> Regions:
    """Return regions and their controls by name and kind, and their union as ``all``."""
    regions = {(name, "roi"): mask for name, mask in anatomy.rois.items()}
    regions |= {(name, "control"): mask for name, mask in anatomy.control_rois.items()}
    for kind, masks in (("roi", anatomy.rois), ("control", anatomy.control_rois)):
        if len(masks) == len(anatomy.rois):
            regions["all", kind] = np.any(list(masks.values()), axis=0)
    return regions


def _known_mean(values: Sequence[FloatArray]) -> FloatArray:
    """Return the mean of the arrays where they are finite, NaN where none is, [n]."""
    stacked = np.stack(values)
    known = np.isfinite(stacked)
    sums, counts = np.where(known, stacked, 0).sum(0), known.sum(0)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    # A third of three times a value is not always the value, and a map that looks at no model must
    # score on copies exactly what it does on the model.
    is_same = known.all(0) & (stacked == stacked[0]).all(0)
    return np.where(is_same, stacked[0], means)
