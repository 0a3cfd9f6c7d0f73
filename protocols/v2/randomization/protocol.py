"""`randomization` 2: does the map depend on what the model has learned?

A map that stays as it is when the model forgets shows the image, not the model (Adebayo et al.
2018); noise changes too, so what stays is read against the similarity to a twin, the same network
trained from another seed. Ranks over the whole organ say little of the few pixels that a reader
looks at: a fixed stamp on an honest map leaves them as they are. So the overlap of the tops is
compared as well, and the smaller share counts. And a map that shows a prior wherever the network is
sure notices random weights, but not permuted labels, which a network can know by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import NotAssessableError
from benchmark.maps.ranking import reason_unrankable
from benchmark.maps.similarity import entropy
from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol
from benchmark.reading import Reading, Verdict, find, interval
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.statistics.crossed import CrossedShare
from benchmark.statistics.studentised import TOO_FEW
from benchmark.trial import LABEL_MODEL, NullMaps, Retrained, Study, null_maps
from benchmark.trial.needs import NO_TRAINING_SPLIT
from benchmark.trial.null_networks import MEMORISED, NOT_MEMORISED, count_abstentions
from benchmark.trial.study import Conditions
from protocols.randomization.measures import OwnMaps, changed_share
from protocols.randomization.readings import exhibit_cascade, read_smoothed, read_walks
from protocols.randomization.remarks import badges_of_last_layer, remark_on_training
from protocols.v2.randomization.likeness import SPEARMAN, measures_in, similarities_to
from protocols.v2.randomization.shares import (
    TOP,
    Similarities,
    conditions_of,
    read_similarities,
    share_on_copies,
    share_on_labels,
    smaller_share,
)
from protocols.v2.randomization.statistics import RandomizationConfig, RandomizationStatistics

_NEEDED = 0.5
TWIN = "twin"


@dataclass(frozen=True)
class Compared:
    """The maps on trial, compared with those on other networks.

    Attributes:
        is_ranking: [n] whether each map on trial ranks pixels.
        to: Similarities to the maps on the twin, on each copy by its number, and on the network of
            permuted labels.
    """

    is_ranking: BoolArray
    to: Mapping[str | int, Similarities]


class Randomization(RandomizationStatistics, SanityProtocol[RandomizationConfig]):
    """The map on randomised copies and permuted labels, against the map on the model's twin."""

    name = "randomization"
    version = "2.0"
    title = "Does the map depend on what the model has learned?"
    topic = "training"
    if_passed = "depends on training"
    if_failed = "hardly depends on training"
    primary = "learned_share"
    chance = "twin"
    margin = 0.02
    truth_leads = False
    gate = True
    tolerance = 1e-5
    Config = RandomizationConfig

    twin_model = Retrained(seed=1)
    label_model = LABEL_MODEL

    @classmethod
    def score_of_noise(cls, readings: Sequence[Reading]) -> float:
        """Return 0: noise has learned nothing; ``chance`` is the similarity to the twin's map."""
        return 0.0

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, config = study.trial, self.config
        images = study.balanced(config.subjects)
        ranked = images.ranked(trial.attributions[torch.from_numpy(images.rows)])
        count_abstentions(images, ranked)
        images.note_unrankable(ranked)
        nulls = null_maps(images)
        if not nulls.randomised:
            raise NotAssessableError(f"no null: {next(iter(nulls.left_out.values()))}")
        compared = self._compare(images, ranked, nulls)
        self._read_twin(images, compared)
        self._read_copies(images, compared, nulls)
        self._read_entropy(images, ranked, nulls)
        self._read_labels(images, compared, nulls)
        self._read_shares(images)
        images.constant(self.covered, changed_share(trial))
        self._read_secondaries(study)

    def _compare(self, images: Study, ranked: Tensor, nulls: NullMaps) -> Compared:
        """Return the similarities to the maps on every other network."""
        others: dict[str | int, Callable[[], Tensor]] = {}
        if self.twin_model.missing(images.trial) is None:
            twin = self.twin_model.on(images.trial)
            others[TWIN] = lambda: images.ranked(twin.maps(images.rows))
        for copy in nulls.randomised:
            others[copy] = partial(nulls.randomised.__getitem__, copy)
        for number in nulls.of_memorised:
            others[MEMORISED] = partial(nulls.of_memorised.__getitem__, number)
        similarities = similarities_to(images, ranked, list(others.values()), self.config.quantiles)
        reasons = reason_unrankable(ranked, images.foreground)
        is_ranking = np.array([reason is None for reason in reasons], dtype=bool)
        return Compared(is_ranking, dict(zip(others, similarities, strict=True)))

    def _read_twin(self, images: Study, compared: Compared) -> None:
        missing = self.twin_model.missing(images.trial)
        if missing is not None:
            images.read_missing(self.twin, missing)
            return
        read_similarities(images, compared.is_ranking, self.twin, compared.to[TWIN])

    def _read_copies(self, images: Study, compared: Compared, nulls: NullMaps) -> None:
        copies = [compared.to[copy] for copy in nulls.randomised]
        for number, similarities in zip(nulls.randomised, copies, strict=True):
            at: Conditions = {"copy": number}
            read_similarities(images, compared.is_ranking, self.full, similarities, at)
        mean = {name: np.mean([copy[name] for copy in copies], axis=0) for name in copies[0]}
        read_similarities(images, compared.is_ranking, self.full, mean)

    def _read_entropy(self, images: Study, ranked: Tensor, nulls: NullMaps) -> None:
        bits = entropy(ranked, images.foreground).numpy()
        rises = [entropy(maps, images.foreground).numpy() for maps in nulls.randomised.values()]
        rise = np.mean(rises, axis=0) / np.where(bits > 0, bits, np.nan) - 1
        without = [images.keys[row] for row in np.flatnonzero(np.isnan(rise))]
        reasons = dict.fromkeys(without, "constant or non-finite map")
        images.read(self.entropy_rise, rise, reasons=reasons)

    def _read_labels(self, images: Study, compared: Compared, nulls: NullMaps) -> None:
        trial, missing = images.trial, nulls.left_out.get(MEMORISED)
        if self.label_model.missing(trial) is None:
            accuracy = self.label_model.reached(self.label_model.on(trial))
            images.constant(self.training_accuracy, accuracy)
        if MEMORISED not in compared.to:
            images.read_missing(self.memorised, missing or "no map")
            return
        read_similarities(images, compared.is_ranking, self.memorised, compared.to[MEMORISED])

    def _read_shares(self, images: Study) -> None:
        """Read every share by itself, and the smaller of the two that decide as the score."""
        readings = images.readings
        smaller = smaller_share(readings)
        if smaller is None:
            twin = find(readings, self.twin)
            reasons = {} if twin is None else twin.reasons
            images.read(self.learned_share, np.full(len(images.rows), np.nan), reasons=reasons)
            return
        images.read(self.learned_share, smaller[1].values)
        dimensions = len(images.trial.cohort.shape)
        for measure in measures_in(dimensions, self.config.quantiles):
            for statistic, share_on in (
                (self.learned_share, share_on_copies),
                (self.data_share, share_on_labels),
            ):
                share = share_on(readings, measure)
                if share is not None:
                    images.read(statistic, share.values, measure.conditions)

    def _read_secondaries(self, study: Study) -> None:
        """Read the walks, the maps of noisy images, and keep a subject's cascade, as version 1."""
        trial, config = study.trial, self.config
        walked = study.balanced(config.walk_subjects)
        ours, ceilings = OwnMaps(walked, config.quantile), dict[str, FloatArray]()
        if self.twin_model.missing(trial) is None:
            ceilings = ours.likeness_on([self.twin_model.on(trial)])
        cascade = read_walks(ours, config, ceilings)
        read_smoothed(study.balanced(config.smooth_subjects), config)
        others = {"twin": self.twin_model, "memorised": self.label_model}
        exhibit_cascade(study.of(walked.rows[:1]), cascade, others)

    @classmethod
    def score_interval(cls, readings: Sequence[Reading]) -> Interval:
        """Return the smaller share with its interval, in which the copies are a sample too."""
        smaller = smaller_share(readings)
        return NO_INTERVAL if smaller is None else smaller[1].interval()

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if twins' maps agree, and most of that agreement is lost on every other network."""
        reading = find(readings, self.twin)
        if reading is None or NO_TRAINING_SPLIT in reading.reasons.values():
            return Verdict("not assessable", None, NO_TRAINING_SPLIT)
        labels = find(readings, self.memorised)
        missing = "" if labels is None else next(iter(labels.reasons.values()), "")
        if missing == NOT_MEMORISED:
            return Verdict("not assessable", None, f"no null: {missing}")
        for measure, name in ((SPEARMAN, "maps"), (TOP, "tops of the maps")):
            twin = interval(readings, self.twin, **conditions_of(measure))
            if twin is not None and np.isnan(twin.low):
                return Verdict("scored", None, TOO_FEW)
            if twin is None or not twin.low > 0:
                return Verdict("scored", False, f"the {name} of twins do not agree")
        for measure, name in ((SPEARMAN, "map"), (TOP, "map's top 2 %")):
            if not _is_lost(share_on_copies(readings, measure)):
                reason = f"no more than half of what is reproducible in the {name} was learned"
                return Verdict("scored", False, reason)
        if not _is_lost(share_on_labels(readings, TOP)):
            reason = "half or more of the map's top 2 % stays on a network of permuted labels"
            return Verdict("scored", False, reason)
        return Verdict("scored", True)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say whether the map notices the last layer, and labels without meaning."""
        badges = badges_of_last_layer(readings, cls.last_layer, cls.twin)
        share, labels = share_on_labels(readings, SPEARMAN), find(readings, cls.memorised)
        if share is not None:
            limits = share.interval()
            words = TOO_FEW if np.isnan(limits.low) else f"[{limits.low:.2f}, {limits.high:.2f}]"
            detail = f"share {limits.estimate:.2f} {words}"
            is_noticed = None if np.isnan(limits.low) else limits.low > 0
            badges.append(Badge("notices the labels", is_noticed, detail))
        elif labels is not None:
            detail = next(iter(labels.reasons.values()), "not known")
            badges.append(Badge("notices the labels", None, detail))
        return tuple(badges)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say which share of the parameters was changed, and whether labels were memorised."""
        return remark_on_training(readings, cls.covered, cls.training_accuracy)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show one subject's cascade, and the similarity under its ceiling."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.randomization.figures import cascade_drawings

        return cascade_drawings(exhibits, readings)


def _is_lost(share: CrossedShare | None) -> bool:
    """Return whether more than half is surely lost."""
    return share is not None and share.interval().low > _NEEDED
