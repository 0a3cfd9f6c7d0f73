"""`agreement`: do methods agree, and which one foretells what removing a region does?

Maps of different subjects agree already, because anatomy is where it is; so each agreement is read
against that of one subject's map with another's. And agreement is no virtue by itself: methods may
be the same method under two names, or wrong together. The score is another: whether the mass that a
map puts on a region foretells how far the model's reading moves when that region alone is removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from benchmark.arrays import FloatArray, Rows
from benchmark.maps.ranking import reason_unrankable
from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol
from benchmark.reading import Reading, Verdict
from benchmark.trial import Keeping, Study
from benchmark.trial.interventions.partition import effects_of, regions_of
from protocols.agreement import measures
from protocols.agreement.statistics import SAME, AgreementConfig, AgreementStatistics


class Agreement(AgreementStatistics, SanityProtocol[AgreementConfig]):
    """The map beside those of a panel, and beside what removing regions does."""

    name = "agreement"
    version = "1.0"
    title = "Does the map agree with others, and foretell what removing a region does?"
    topic = "the effect of removing regions"
    if_passed = "foretells the effect of removing regions"
    if_failed = "does not foretell the effect of removing regions"
    primary = "predicts_delta_t"
    chance = "predicts_delta_t"
    margin = 0.02
    truth_leads = False
    tolerance = 1e-4  # ranks of regions whose effects are all but equal turn on rounding
    Config = AgreementConfig

    @property
    def panel(self) -> tuple[str, ...]:
        """Names of the explainers that every explainer is compared with."""
        return self.config.panel

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        images = study.balanced(self.config.subjects)
        partners = [measures.partner_of(images, number) for number in range(self.config.partners)]
        self._foretell(images, partners)
        self._agree(images, partners)

    def _foretell(self, images: Study, partners: Sequence[Rows]) -> None:
        """Compare the map's mass on regions with what removing them does."""
        ranked = images.ranked(images.maps())
        images.note_unrankable(ranked)
        count = self.config.regions
        effects = effects_of(images.trial, images.rows, count)
        regions = regions_of(images.trial, images.rows, count)
        maps = ranked[:, 0].numpy().copy()
        # A map that cannot be ranked has mass all the same, in proportion to the regions' areas.
        reasons = reason_unrankable(ranked, images.foreground)
        maps[[reason is not None for reason in reasons]] = np.nan
        mass = measures.region_masses(maps, regions, count)
        score = measures.rank_correlations(mass, effects)
        of_others = [measures.region_masses(maps[partner], regions, count) for partner in partners]
        null = np.mean([measures.rank_correlations(other, effects) for other in of_others], axis=0)
        images.read(self.predicts_delta_t, score)
        images.read(self.predicts_delta_t_null, null)
        images.read(self.predicts_delta_t_above_null, score - null)
        images.read(self.predicts_magnitude, measures.rank_correlations(mass, np.abs(effects)))
        images.read(self.region_effect, np.nanmax(effects, axis=1))
        images.exhibit({"masses": mass, "effects": effects})

    def _agree(self, images: Study, partners: Sequence[Rows]) -> None:
        """Compare with every member of the panel, and all with each other."""
        trial, inside = images.trial, images.foreground
        own = measures.RankedMaps.of(images, images.maps(), self.config.quantiles)
        panel = measures.panel_maps(images, self.config.quantiles)
        members = {trial.explainer.name: own, **panel}
        correlations: dict[tuple[str, str], FloatArray] = {}
        for name, other in panel.items():
            correlation, null = measures.compare(own, other, partners, inside)
            images.read(self.spearman, correlation, {"other": name})
            images.read(self.spearman_null, null, {"other": name})
            images.read(self.spearman_corrected, correlation - null, {"other": name})
            correlations[trial.explainer.name, name] = correlation
            for column, q in enumerate(self.config.quantiles):
                overlap, chance = measures.compare_tops(own, other, partners, column)
                images.read(self.iou, overlap, {"other": name, "q": q})
                images.read(self.iou_corrected, overlap - chance, {"other": name, "q": q})
        for first, second in combinations(panel, 2):
            # The pairs of the panel are the same whoever is on trial.
            pair = partial(measures.compare, panel[first], panel[second], partners, inside)
            correlation, null = images.shared((first, second, self.config), pair, Keeping("1"))
            where = {"first": first, "second": second}
            images.read(self.spearman, correlation, where)
            images.read(self.spearman_corrected, correlation - null, where)
            correlations[first, second] = correlation
        same = [pair for pair, values in correlations.items() if (values >= SAME).all()]
        groups = measures.classes(list(members), same)
        alone = [[name] for name in members]
        images.read(self.concordance, measures.concordance_of(members, alone, inside))
        images.read(self.concordance_of_classes, measures.concordance_of(members, groups, inside))

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass no judgement: consensus is not truth."""
        return Verdict("scored", None)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say which methods are this one under another name."""
        same = [
            str(reading.conditions["other"])
            for reading in readings
            if reading.statistic == "spearman"
            and "other" in reading.conditions
            and (reading.values >= SAME).all()
        ]
        detail = f"as {', '.join(same)}" if same else "no other of the panel"
        return (Badge("another method's map", bool(same), detail),)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show who agrees with whom, and mass against effect."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.agreement.figures import agreement_drawings

        return agreement_drawings(exhibits, readings)
