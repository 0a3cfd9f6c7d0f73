"""`roi_pointing` 2: does the map owe it to the network that it loads on anatomy the network uses?

A region is found by whoever knows the anatomy, with no network at all: a fixed atlas, or one that
registration carries to each subject. So the average precision of a map is read against that of the
maps which the same method draws for networks without the task, on the same images. What does not
follow the network owes nothing to it.

It is asked only where the network uses the region, which one mask for everybody decides
(:mod:`benchmark.trial.interventions.region_use`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.cohort import Cohort
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.maps import localisation, ranking
from benchmark.protocol import SanityProtocol
from benchmark.reading import Reading, Statistic, Verdict, interval
from benchmark.statistics.own import own
from benchmark.statistics.studentised import TOO_FEW
from benchmark.trial import LABEL_MODEL, NullMaps, Study, null_maps
from benchmark.trial.interventions import mask_leak, region_use
from benchmark.trial.null_networks import CHANCE, count_abstentions, name_left_out, read_left_out
from protocols.v2.roi_pointing.statistics import RoiPointingConfig, RoiPointingStatistics

LIFT_OFFSET = 0.01
ASKED = "all"  # name of the regions whose union the score asks for
NETWORK = "own"


class RoiPointing(RoiPointingStatistics, SanityProtocol[RoiPointingConfig]):
    """The map against known anatomy, beyond what networks that know nothing of the task give."""

    name = "roi_pointing"
    version = "2.0"
    title = "Does the map load on anatomy that the network uses, and owe it to the network?"
    topic = "the anatomy that the network uses"
    if_passed = "points at the anatomy that the network uses, because of the network"
    if_failed = "does not single out the anatomy that the network uses"
    primary = "own_ap"
    chance = "own_ap"
    margin = 0.02
    truth_leads = False
    owes_to_network = True
    Config = RoiPointingConfig

    memorised = LABEL_MODEL

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, config = study.trial, self.config
        truth = asked_regions(trial.test)
        if truth is None:
            raise UnsupportedError("the cohort declares no regions of interest")
        if self.memorised.missing(trial) is not None:
            raise NotAssessableError(
                "no common mask of the regions, since the cohort has no training split"
            )
        balanced = study.balanced(config.subjects)
        images, ranked = self._confident(balanced, truth)
        count_abstentions(images, ranked)
        nulls = null_maps(balanced)
        self._read_score(images, balanced, ranked, nulls, truth)
        self._read_specificity(images, balanced, ranked, nulls)
        self._read_regions(images, ranked)
        self._read_model(study, balanced, truth)

    def _confident(self, balanced: Study, truth: BoolArray) -> tuple[Study, Tensor]:
        """Return the study of the images that count, and the importance of their maps.

        Raises:
            NotAssessableError: If there are too few.
        """
        trial, rows = balanced.trial, balanced.rows
        inside = truth[rows] & trial.test.anatomy.foreground[rows]
        is_sure = trial.evaluation.own_probability[rows] >= self.config.confidence
        images = balanced.of(rows[is_sure & inside.reshape(len(rows), -1).any(1)])
        if len(images.rows) < self.config.fewest:
            raise NotAssessableError(
                f"the model is confident and correct on {len(images.rows)} images only, "
                f"fewer than {self.config.fewest}"
            )
        return images, images.ranked(trial.attributions[torch.from_numpy(images.rows)])

    def _read_score(
        self, images: Study, balanced: Study, ranked: Tensor, nulls: NullMaps, truth: BoolArray
    ) -> None:
        """Read what the average precision owes to the network, in all and by group."""
        images.note_unrankable(ranked)
        scaled = partial(_scaled_ap, truth=torch.from_numpy(truth[balanced.rows]))
        everyone = balanced.foreground
        of_nulls = nulls.measure(
            lambda maps: scaled(maps, foreground=everyone), np.zeros(len(balanced.rows))
        )
        is_confident = np.isin(balanced.rows, images.rows)
        of_nulls = {name: values[is_confident] for name, values in of_nulls.items()}
        mask = torch.from_numpy(truth[images.rows])
        values = _scaled_ap(ranked, mask, images.foreground)
        owed = own(values, of_nulls)
        images.read(self.own_ap, owed.values, reasons={})
        images.read(self.abstained, np.isnan(values).astype(np.float64), reasons={})
        images.read_by_group(self.own_ap, owed.values)
        ap = localisation.average_precision(ranked, mask, images.foreground).numpy()
        images.read(self.ap, ap)
        images.read(self.scaled_ap, values, {"network": NETWORK})
        for name, null in of_nulls.items():
            if name != CHANCE:
                images.read(self.scaled_ap, null, {"network": name}, reasons={})
        read_left_out(images, nulls, self.scaled_ap, "network")

    def _read_specificity(
        self, images: Study, balanced: Study, ranked: Tensor, nulls: NullMaps
    ) -> None:
        """Read how much more the map loads on regions than on their controls, beyond the nulls."""
        anatomy = images.trial.test.anatomy
        pairs = [(anatomy.rois[name], control) for name, control in anatomy.control_rois.items()]
        if not pairs or len(pairs) < len(anatomy.rois):
            return
        region, control = (np.logical_or.reduce(masks) for masks in zip(*pairs, strict=True))

        def contrast(maps: Tensor, study: Study) -> FloatArray:
            sides = (torch.from_numpy(masks[study.rows]) for masks in (region, control))
            of_region, of_control = (
                np.log(localisation.lift(maps, side, study.foreground).numpy() + LIFT_OFFSET)
                for side in sides
            )
            return np.asarray(of_region - of_control)

        of_nulls = nulls.measure(
            lambda maps: contrast(maps, balanced), np.zeros(len(balanced.rows))
        )
        is_confident = np.isin(balanced.rows, images.rows)
        of_nulls = {name: values[is_confident] for name, values in of_nulls.items()}
        owed = own(contrast(ranked, images), of_nulls)
        images.read(self.specificity, owed.values, reasons={})

    def _read_regions(self, images: Study, ranked: Tensor) -> None:
        """Read how the map loads on each region and on its control."""
        foreground = images.foreground
        # A few images at a time, since what is made of a map takes several times its memory.
        few: list[tuple[Tensor, ...]] = [(ranked, torch.from_numpy(images.rows))]
        if ranking.are_many_slices(ranked):
            few = list(ranking.a_few_each(*few[0]))
        parts = [self._of_regions(images.only(rows.numpy()), maps) for maps, rows in few]
        for measured, name, kind in parts[0]:
            values = np.concatenate([part[measured, name, kind] for part in parts])
            images.read(measured, values, {"roi": name, "region": kind})
        images.read(self.leakage, localisation.leakage(ranked, foreground).numpy())

    def _of_regions(
        self, images: Study, ranked: Tensor
    ) -> dict[tuple[Statistic, str, str], FloatArray]:
        """Return statistics of every region and control [n], by statistic, name and kind."""
        foreground, spacing = images.foreground, images.trial.cohort.geometry.spacing
        order = ranking.rank_pixels(ranked, foreground)
        anatomy, near = images.trial.test.anatomy, self.config.tolerance_mm
        values: dict[tuple[Statistic, str, str], FloatArray] = {}
        for kind, masks in (("roi", anatomy.rois), ("control", anatomy.control_rois)):
            for name, mask in masks.items():
                region = torch.from_numpy(mask[images.rows])
                lift = localisation.lift(ranked, region, foreground)
                hits = localisation.rank_accuracy(ranked, region, foreground, order)
                points = localisation.pointing(ranked, region, foreground, near, spacing)
                values[self.lift, name, kind] = lift.numpy()
                values[self.rank_accuracy, name, kind] = hits.numpy()
                values[self.pointing, name, kind] = points.numpy()
        return values

    def _read_model(self, study: Study, balanced: Study, truth: BoolArray) -> None:
        """Read whether the model uses the regions, what masks tell, and how sure the model is."""
        test, train = study.trial.test, study.trial.train
        of_train = asked_regions(train)
        masks = {} if of_train is None else {ASKED: (of_train, truth)}
        if len(test.anatomy.rois) > 1:
            masks |= {
                name: (train.anatomy.rois[name], mask) for name, mask in test.anatomy.rois.items()
            }
        uses = region_use.region_use(balanced, masks, self.config.repeats)
        region_use.read(study, balanced, uses, ASKED)
        mask_leak.read(study, balanced, truth, uses[ASKED].share)
        study.read(self.own_probability, study.trial.evaluation.own_probability, reasons={})

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map owes its precision, and its preference for regions, to the network."""
        gate = region_use.judge(readings)
        if gate.answer == "no":
            reason = f"model does not use the region ({gate.reason})"
            return Verdict("not assessable", None, reason)
        limits = {
            "networks that know nothing of the task rank the regions as well": self.own_ap,
            "the control region is loaded as much": self.specificity,
        }
        scores = {reason: interval(readings, score) for reason, score in limits.items()}
        if any(score is not None and np.isnan(score.low) for score in scores.values()):
            return Verdict("scored", None, TOO_FEW)
        failures = [reason for reason, score in scores.items() if score and not score.low > 0]
        return Verdict("scored", not failures, "; ".join(failures) or None)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say whether the model uses the regions, each alone as well, and what masks tell."""
        gate = region_use.judge(readings)
        parts = [f"the model uses the region: {gate.answer} ({gate.reason})"]
        names = dict.fromkeys(
            str(reading.conditions["roi"])
            for reading in readings
            if reading.statistic == "region_magnitude" and "roi" in reading.conditions
        )
        if names:
            answers = (f"{name} {region_use.judge(readings, name).answer}" for name in names)
            parts.append(f"each alone: {', '.join(answers)}")
        if (leak := mask_leak.warning(readings)) is not None:
            parts.append(leak)
        parts.extend(name_left_out(readings, cls.scaled_ap, "network"))
        return "; ".join(parts)


def asked_regions(cohort: Cohort) -> BoolArray | None:
    """Return the truth where it is known, otherwise the union of all regions, [N, 1, *S]."""
    return cohort.regions if cohort.truth is None else cohort.truth


def _scaled_ap(maps: Tensor, truth: Tensor, foreground: Tensor) -> FloatArray:
    """Return (ap − π)/(1 − π) of importance [n, 1, *S], 0 in expectation for noise, [n]."""
    chance = localisation.expected_average_precision(truth, foreground)
    ap = localisation.average_precision(maps, truth, foreground)
    scaled: FloatArray = ((ap - chance) / (1 - chance)).numpy()
    return scaled
