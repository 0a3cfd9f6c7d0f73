"""`positive_control`: does the map find a signal that was planted?

The signal is a smooth blur with a site, a strength and a model that is known to use it, so the
truth is known to the pixel. Three arms are read: the model tuned to the signal (the score), the
frozen model with a probe, and a difference of maps. The last is that between an image with and
without the signal on the frozen model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol
from benchmark.reading import Reading, Verdict, find, interval, subject_means, summarise
from benchmark.statistics.significance import holm, sign_flip_p
from benchmark.trial import Need, Study
from protocols.positive_control.arms import TunedTo
from protocols.positive_control.dose_response import dose_badges
from protocols.positive_control.signals import read_signals
from protocols.positive_control.statistics import (
    LEVEL,
    TUNED,
    PositiveControlConfig,
    PositiveControlStatistics,
    assessable_strengths,
    strengths_of,
)


class PositiveControl(PositiveControlStatistics, SanityProtocol[PositiveControlConfig]):
    """The map against a planted signal, on a model that is known to use it."""

    name = "positive_control"
    version = "1.0"
    title = "Does the map find a signal that was planted?"
    topic = "planted signals"
    if_passed = "finds planted signals"
    if_failed = "misses planted signals"
    primary = "found"
    chance = "found"
    margin = 0.02
    tolerance = 1e-5  # a probe's margins move a little with the rounding of its embeddings
    Config = PositiveControlConfig

    @property
    def needs(self) -> tuple[Need, ...]:
        """The model tuned to each strength."""
        return tuple(map(TunedTo, self.config.strengths))

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        images, arrays = read_signals(study, self.config)
        images.exhibit(arrays)
        study.readings.insert(0, self._score(images))

    def _score(self, images: Study) -> Reading:
        """Return the mean over the strengths that the model has learned."""
        readings = images.readings
        strengths = assessable_strengths(readings) or strengths_of(readings)
        scores = [find(readings, self.found, arm=TUNED, strength=name) for name in strengths]
        values = np.mean([score.values for score in scores if score is not None], axis=0)
        return Reading(self.found.name, images.sample, values, {}, images.reasons)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map beats noise, and itself at sites without a signal, where it can."""
        assessable = assessable_strengths(readings)
        if not assessable:
            return Verdict("not assessable", None, "signal not learned")
        judged = [name for name in strengths_of(readings)[1:] if name in assessable]
        if not judged:
            return Verdict("not assessable", None, "signal learned at the weakest strength only")
        short, p_values = [], {}
        for strength in judged:
            for measured, rival in ((self.found, "noise"), (self.ap_above_decoys, "other places")):
                reading = find(readings, measured, arm=TUNED, strength=strength)
                if reading is None or not summarise(reading).low > 0:
                    short.append(f"no better than {rival} at {strength}")
                else:
                    p_values[f"{rival} at {strength}"] = sign_flip_p(subject_means(reading))
        adjusted = holm(list(p_values.values()))
        short += [
            f"no better than {name} after Holm"
            for name, p in zip(p_values, adjusted, strict=True)
            if not p <= LEVEL
        ]
        return Verdict("scored", not short, "; ".join(short) or None)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say what rises with the dose, and the weakest strength that is found."""
        return dose_badges(readings, strengths_of(readings))

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say how well the model learned each strength, and that nothing is found in nothing."""
        learned = {
            strength: interval(readings, cls.auroc, arm=TUNED, strength=strength)
            for strength in strengths_of(readings)
        }
        aurocs = [f"{name} {auroc.estimate:.2f}" for name, auroc in learned.items() if auroc]
        uniform = find(readings, cls.uniformity_p)
        flat = "" if uniform is None else f"; at strength 0, KS p {uniform.values[0]:.2f}"
        return f"AUROC of the tuned models: {', '.join(aurocs)}{flat}"

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show planted images beside the zeroed one, and the dose–response curves."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.positive_control.figures import planted_drawings

        return planted_drawings(exhibits, readings)
