"""`randomization`: does the map depend on what the model has learned?

A map that stays as it is when the model forgets shows the image, not the model (Adebayo et al.
2018). But noise changes too (Binder et al. 2023), and maps of two well-trained networks do not
agree fully either. So the similarity to randomised copies is read against the similarity to a twin:
the same network trained from another seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol
from benchmark.reading import Reading, Verdict, find, interval
from benchmark.trial import RANDOM_COPIES, Memorised, Retrained, Study
from benchmark.trial.needs import NO_TRAINING_SPLIT
from protocols.randomization.measures import OwnMaps, changed_share
from protocols.randomization.readings import (
    exhibit_cascade,
    read_permuted_labels,
    read_smoothed,
    read_walks,
)
from protocols.randomization.remarks import badges_of_last_layer, remark_on_training
from protocols.randomization.statistics import (
    RandomizationConfig,
    RandomizationStatistics,
    by_measure,
    read_similarity,
)

_NEEDED = 0.5


class Randomization(RandomizationStatistics, SanityProtocol[RandomizationConfig]):
    """The map on randomised copies of the model, against the map on its twin."""

    name = "randomization"
    version = "1.0"
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
    label_model = Memorised(seed=2, accuracy=0.95)

    @classmethod
    def score_of_noise(cls, readings: Sequence[Reading]) -> float:
        """Return 0: noise has learned nothing; ``chance`` is the similarity to the twin's map."""
        return 0.0

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, config = study.trial, self.config
        images = study.balanced(config.subjects)
        own = OwnMaps(images, config.quantile)
        copies = [trial.randomised(copy) for copy in range(RANDOM_COPIES)]
        full, twin, no_twin = own.likeness_on(copies), own.none, self.twin_model.missing(trial)
        if no_twin is None:
            twin = own.likeness_on([self.twin_model.on(trial)])
        for measure, similarity in full.items():
            ceiling, at = twin[measure], by_measure(measure)
            contrast = ceiling - similarity
            read_similarity(images, self.learned_share, contrast, at, no_twin, ceiling)
            read_similarity(images, self.twin, ceiling, at, no_twin)
            read_similarity(images, self.full, similarity, at)
            read_similarity(images, self.contrast, contrast, at, no_twin)
        read_similarity(images, self.entropy_rise, own.entropy_rise_on(copies))
        images.constant(self.covered, changed_share(trial))

        walked = study.balanced(config.walk_subjects)
        among = np.isin(images.rows, walked.rows)
        ceilings = {measure: similarity[among] for measure, similarity in twin.items()}
        cascade = read_walks(OwnMaps(walked, config.quantile), config, ceilings)
        read_permuted_labels(own, twin, self.label_model)
        read_smoothed(study.balanced(config.smooth_subjects), config)
        others = {"twin": self.twin_model, "memorised": self.label_model}
        exhibit_cascade(study.of(walked.rows[:1]), cascade, others)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if twins' maps agree, and most of that agreement is learned."""
        twin, share = interval(readings, self.twin), interval(readings, self.learned_share)
        reading = find(readings, self.twin)
        unknown = reading is None or NO_TRAINING_SPLIT in reading.reasons.values()
        if twin is None or share is None or unknown:
            return Verdict("not assessable", None, NO_TRAINING_SPLIT)
        if not twin.low > 0:
            return Verdict("scored", False, "the maps of twins do not agree")
        if not share.low > _NEEDED:
            reason = "no more than half of what is reproducible in the map was learned"
            return Verdict("scored", False, reason)
        return Verdict("scored", True)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say whether the map notices the last layer, and labels without meaning."""
        badges = badges_of_last_layer(readings, cls.last_layer, cls.twin)
        reading, share = find(readings, cls.data_share), interval(readings, cls.data_share)
        if reading is not None and share is not None:
            known = bool(np.isfinite(share.low))
            detail = f"share {share.estimate:.2f} [{share.low:.2f}, {share.high:.2f}]"
            if not known:
                detail = next(iter(reading.reasons.values()), "not known")
            badges.append(Badge("notices the labels", share.low > 0 if known else None, detail))
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
