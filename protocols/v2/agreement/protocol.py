"""`agreement` 2: does the map mark the cells that move the model?

The foreground is cut into cells, and each alone is exchanged for the partner's or, where subjects
have none, removed. The score is the part of the largest effects that lies in the cells that the map
marks. It is measured above what the maps of networks capture that know nothing of the task: on real
slices edges alone capture 0.43, because an image's own contrast decides what can be removed.
Pairwise agreement, concordance and the signed correlation of mass with effect stand beside it, as
in version 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.maps.ranking import reason_unrankable
from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol
from benchmark.reading import Reading, Verdict
from benchmark.statistics.own import of_mean, own
from benchmark.trial import LABEL_MODEL, Study, null_maps
from benchmark.trial.interventions.partition import effects_of, regions_of
from benchmark.trial.null_networks import CHANCE, count_abstentions, name_left_out, read_left_out
from benchmark.trial.removal import scored_substitute
from protocols.agreement.protocol import Agreement as PairwiseAgreement
from protocols.agreement.statistics import AgreementStatistics
from protocols.v2.agreement.capture import capture
from protocols.v2.agreement.statistics import AgreementConfig, CaptureStatistics


class Agreement(CaptureStatistics, AgreementStatistics, SanityProtocol[AgreementConfig]):
    """The effect of the cells that a map marks, and the map beside those of a panel."""

    name = "agreement"
    version = "2.0"
    title = "Does the map mark the cells that move the model?"
    topic = "the places that move the model"
    if_passed = "marks the places that move the model"
    if_failed = "does not mark the places that move the model"
    primary = "capture"
    chance = "capture"
    margin = 0.02
    truth_leads = False
    owes_to_network = True
    tolerance = 1e-4  # cells whose means are all but equal turn on rounding
    Config = AgreementConfig

    memorised_labels = LABEL_MODEL

    @property
    def panel(self) -> tuple[str, ...]:
        """Names of the explainers that every explainer is compared with."""
        return self.config.panel

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        images = study.balanced(self.config.subjects)
        self._capture(images)
        # Version 1 measures what stands beside the score, of the same images.
        PairwiseAgreement(self.config).measure(study)

    def _capture(self, images: Study) -> None:
        """Read what the map captures, what its nulls do, and what it owes to the network."""
        trial, config = images.trial, self.config
        ranked = images.ranked(trial.attributions[torch.from_numpy(images.rows)])
        count_abstentions(images, ranked)
        substitute = scored_substitute(trial)
        effects = np.abs(effects_of(trial, images.rows, config.regions, substitute))
        cells = regions_of(trial, images.rows, config.regions)

        def measure(maps: Tensor) -> FloatArray:
            values = maps[:, 0].numpy().copy()
            reasons = reason_unrankable(maps, images.foreground)
            values[[reason is not None for reason in reasons]] = np.nan
            return capture(values, cells, effects, config.marked, images.streams("cells"))

        captured = measure(ranked)
        maps_of_nulls = null_maps(images)
        nulls = maps_of_nulls.measure(measure, np.zeros(len(images.rows)))
        owed = own(captured, nulls)
        score = of_mean(owed.values, 1 - owed.subtracted)
        images.read(self.capture, score)
        images.read_by_group(self.capture, owed.values / (1 - float(owed.subtracted.mean())))
        heights = {"model": np.where(np.isnan(captured), nulls[CHANCE], captured), **nulls}
        for name, values in heights.items():
            images.read(self.captured, values, {"maps": name}, reasons={})
        read_left_out(images, maps_of_nulls, self.captured, "maps")
        images.read(self.abstained, np.isnan(captured).astype(np.float64), reasons={})

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass no judgement: consensus is not truth."""
        return Verdict("scored", None)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say which methods are this one under another name."""
        return PairwiseAgreement.badges(readings)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say which null networks have no maps, and why."""
        return "; ".join(name_left_out(readings, cls.captured, "maps")) or None

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show who agrees with whom, and mass against effect."""
        return PairwiseAgreement.drawings(exhibits, readings)
