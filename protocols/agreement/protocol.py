"""`agreement`: do methods agree, and which one foretells what removing a region does?

Maps of different subjects agree already, because anatomy is where it is; so each agreement is read
against that of one subject's map with another's. And agreement is no virtue by itself: methods may
be the same method under two names, or wrong together. The score is another: whether the mass that a
map puts on a region foretells how far the model's reading moves when that region alone is removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator
from scipy.stats import rankdata

from benchmark.classifier import PassCounter
from benchmark.explainer import importance, why_unsupported
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.ranking import reason_unrankable
from benchmark.maps.similarity import centred_ranks, iou, rank_correlation
from benchmark.protocol import Badge, Drawing, Exhibit, ProtocolConfig, SanityProtocol
from benchmark.reading import Condition, Reading, Statistic, Verdict, find
from benchmark.seeding import seed_of, stream
from benchmark.trial import Trial
from benchmark.trial.removal import masking_rows
from protocols.agreement.concordance import classes, concordance
from protocols.agreement.regions import effects_of, masses, regions_of

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

SAME = 0.99


class AgreementConfig(ProtocolConfig):
    """Settings of `agreement`.

    Attributes:
        panel: Explainers that every explainer is compared with.
        subjects: Images, as many of each group.
        regions: Compact regions that each foreground is cut into.
        quantiles: Shares of the foreground whose overlap is compared.
        partners: Other subjects that each subject's maps are compared with for the null.
    """

    panel: tuple[str, ...] = ("cam", "gradcam", "gradcampp", "layercam", "saliency")
    subjects: int = Field(64, ge=4)
    regions: int = Field(64, ge=4)
    quantiles: tuple[float, ...] = (0.05, 0.10, 0.20)
    partners: int = Field(4, ge=1)

    @field_validator("panel")
    @classmethod
    def _different(cls, panel: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(panel)) < len(panel) or not panel:
            raise ValueError("a panel of different explainers, at least one")
        return panel


class Agreement(SanityProtocol[AgreementConfig]):
    """The map beside those of a panel, and beside what removing regions does."""

    name = "agreement"
    version = "1.0"
    title = "Does the map agree with others, and foretell what removing a region does?"
    primary = "predicts_delta_t"
    chance = "predicts_delta_t"
    margin = 0.02
    truth_leads = False
    tolerance = 1e-4  # ranks of regions whose effects are all but equal turn on rounding
    Config = AgreementConfig
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic(
            "predicts_delta_t",
            "Spearman over regions of the map's mass with the drop of s·φ without the region",
            "higher",
        ),
        Statistic("predicts_delta_t_null", "the same with maps of other subjects", "none"),
        Statistic("predicts_delta_t_above_null", "predicts_delta_t minus its null", "higher"),
        Statistic(
            "predicts_magnitude",
            "the same with the magnitude of the drop, since removal moves the groups oppositely",
            "higher",
        ),
        Statistic("spearman", "Spearman of two methods' maps of one subject", "none"),
        Statistic("spearman_null", "the same with the other map of another subject", "none"),
        Statistic("spearman_corrected", "spearman minus its null", "none"),
        Statistic("iou", "overlap of the tops of two methods' maps of one subject", "none"),
        Statistic("iou_corrected", "iou minus that with the other map of another subject", "none"),
        Statistic("concordance", "Kendall's W over panel and explainer", "none"),
        Statistic("concordance_of_classes", "W where equal methods count once", "none"),
        Statistic("region_effect", "largest drop of s·φ without one region, in T", "none"),
    )

    @property
    def panel(self) -> tuple[str, ...]:
        """The panel."""
        return self.config.panel

    def readings(self, trial: Trial) -> list[Reading]:
        """Measure; see the base class."""
        study = _Study(trial, self.config)
        study.foretell()
        study.agree()
        return study.readings()

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass no judgement: consensus is not truth."""
        return Verdict("scored", None)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say which methods are this one under another name."""
        pairs = [
            one for one in readings if one.statistic == "spearman" and len(one.conditions) == 1
        ]
        same = [str(one.conditions["other"]) for one in pairs if (one.values >= SAME).all()]
        told = f"as {', '.join(same)}" if same else "no other of the panel"
        return (Badge("another method's map", bool(same), told),)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show who agrees with whom, and mass against effect."""
        from protocols.agreement.figures import agreement_drawings

        return agreement_drawings(exhibits, readings)

    def cost(self, trial: Trial) -> PassCounter:
        """Return the passes of all maps and of removing each region."""
        rows = trial.filled(len(masking_rows(trial, self.config.subjects)))
        members = [trial.explainer, *trial.peers.panel.values()]
        forward = sum(one.passes[0] for one in members)
        backward = sum(one.passes[1] for one in members)
        removed = len(masking_rows(trial, self.config.subjects)) * self.config.regions
        return PassCounter(len(trial.test) + rows * forward + removed, rows * backward)


class _Seen:
    """One method's maps, ranked once for all that they are compared with."""

    def __init__(self, trial: Trial, rows: Rows, quantiles: Sequence[float]) -> None:
        foreground = torch.from_numpy(trial.test.anatomy.foreground[rows])
        self.ranked = importance(trial.maps(rows), trial.explainer.polarity)
        self.reasons = reason_unrankable(self.ranked, foreground)
        self.ranks = centred_ranks(self.ranked, foreground)
        keys, suite = [trial.test.keys[row] for row in rows], trial.runtime.suite
        orders = [stream(suite, "agreement", "ties", key) for key in keys]
        order = descending_order(self.ranked.nan_to_num(0.0, 0.0, 0.0), foreground, orders)
        self.tops = top_masks(order, foreground, quantiles)


class _Study:
    """Collects readings of one explainer beside the panel."""

    def __init__(self, trial: Trial, config: AgreementConfig) -> None:
        self._trial, self._config = trial, config
        self._rows = masking_rows(trial, config.subjects)
        self._foreground = torch.from_numpy(trial.test.anatomy.foreground[self._rows])
        self._found: list[Reading] = []
        self._own = _Seen(trial, self._rows, config.quantiles)
        keys = trial.sample(self._rows).keys
        pairs = zip(keys, self._own.reasons, strict=True)
        self._reasons = {key: why for key, why in pairs if why is not None}
        truth = trial.cohort.truth is not None
        self._panel = {
            name: self._see(name)
            for name, one in trial.peers.panel.items()
            if name != trial.explainer.name
            and why_unsupported(one, trial.classifier, truth) is None
        }
        self._partners = [self._partner(number) for number in range(config.partners)]

    def foretell(self) -> None:
        """Compare the map's mass on regions with what removing them does."""
        trial, count = self._trial, self._config.regions
        effects = effects_of(trial, self._rows, count)
        regions = regions_of(trial, self._rows, count)
        maps = self._own.ranked[:, 0].double().numpy()
        # A map that cannot be ranked has mass all the same, in proportion to the regions' areas.
        maps[np.array([why is not None for why in self._own.reasons])] = np.nan
        own = np.stack([self._masses(map_, some) for map_, some in zip(maps, regions, strict=True)])
        score = _rank_correlations(own, effects)
        nulls = []
        for partner in self._partners:
            others = zip(maps[partner], regions, strict=True)
            nulls.append(
                _rank_correlations(np.stack([self._masses(*one) for one in others]), effects)
            )
        null = np.mean(nulls, axis=0)
        self._add("predicts_delta_t", score)
        self._add("predicts_delta_t_null", null)
        self._add("predicts_delta_t_above_null", score - null)
        self._add("predicts_magnitude", _rank_correlations(own, np.abs(effects)))
        self._add("region_effect", np.nanmax(effects, axis=1))
        trial.exhibit(Agreement.name, {"masses": own, "effects": effects})

    def agree(self) -> None:
        """Compare with every member of the panel, and all with each other."""
        for name, other in self._panel.items():
            self._pair(self._own, other, {"other": name})
        self._among_panel()
        members = {self._trial.explainer.name: self._own, **self._panel}
        alike = {
            pair: values
            for pair, values in self._correlations(members).items()
            if not np.isnan(values).any()
        }
        same = [pair for pair, values in alike.items() if (values >= SAME).all()]
        ranks = [one.ranks.numpy() for one in members.values()]
        inside = self._foreground.flatten(1).numpy()
        self._add("concordance", concordance(ranks, inside))
        groups = classes(list(members), same)
        merged = [np.mean([members[one].ranks.numpy() for one in group], 0) for group in groups]
        self._add("concordance_of_classes", concordance(merged, inside))

    def readings(self) -> list[Reading]:
        """Return what was measured."""
        return self._found

    def _see(self, name: str) -> _Seen:
        trial = self._trial.on(explainer=self._trial.peers.panel[name])
        key = ("seen", trial.model_identity, trial.explainer_identity, str(self._rows.tolist()))
        return trial.once(key, lambda: _Seen(trial, self._rows, self._config.quantiles))

    def _pair(self, first: _Seen, second: _Seen, where: dict[str, Condition]) -> None:
        own = rank_correlation(first.ranks, second.ranks).numpy()
        null = np.mean([self._across(first, second, one) for one in self._partners], axis=0)
        self._add("spearman", own, where)
        self._add("spearman_null", null, where)
        self._add("spearman_corrected", own - null, where)
        for place, q in enumerate(self._config.quantiles):
            here, there = first.tops[:, place], second.tops[:, place]
            unsound = np.array([why is not None for why in first.reasons + second.reasons])
            missing = unsound.reshape(2, -1).any(0)
            overlap = np.where(missing, np.nan, iou(here, there).numpy())
            chance = np.mean([iou(here, there[one]).numpy() for one in self._partners], axis=0)
            self._add("iou", overlap, {**where, "q": q})
            self._add("iou_corrected", overlap - chance, {**where, "q": q})

    def _across(self, first: _Seen, second: _Seen, partner: Rows) -> FloatArray:
        """Correlate first's map of i with second's of j, where both foregrounds are."""
        both = self._foreground.flatten(1) & self._foreground[partner].flatten(1)
        pair = []
        for ranks in (first.ranks, second.ranks[partner]):
            inside = torch.where(both, ranks, 0.0)
            middle = inside.sum(1, keepdim=True) / both.sum(1, keepdim=True)
            pair.append(torch.where(both, ranks - middle, 0.0))
        return rank_correlation(pair[0], pair[1]).numpy()

    def _among_panel(self) -> None:
        """Add the pairs of the panel, which are the same whoever is on trial."""
        names = list(self._panel)
        trial = self._trial
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                key = ("panel pair", trial.model_identity, first, second, str(self._config))

                def compute(first: str = first, second: str = second) -> FloatArray:
                    here, there = self._panel[first], self._panel[second]
                    own = rank_correlation(here.ranks, there.ranks).numpy()
                    null = [self._across(here, there, one) for one in self._partners]
                    corrected: FloatArray = own - np.mean(null, axis=0)
                    return np.stack([own, corrected])

                own, corrected = trial.once(key, compute)
                where: dict[str, Condition] = {"first": first, "second": second}
                self._add("spearman", own, where)
                self._add("spearman_corrected", corrected, where)

    def _correlations(self, members: Mapping[str, _Seen]) -> dict[tuple[str, str], FloatArray]:
        names, own = list(members), self._trial.explainer.name
        found = {}
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                where = {"other": second} if first == own else {"first": first, "second": second}
                reading = find(self._found, "spearman", **where)
                if reading is not None:
                    found[(first, second)] = reading.values
        return found

    def _partner(self, number: int) -> Rows:
        """Return for each row another of the same group, by a shift of a seeded order."""
        trial = self._trial
        groups, keys = trial.test.groups[self._rows], trial.sample(self._rows).keys
        partner = np.arange(len(self._rows))
        for group in (0, 1):
            members: list[int] = np.flatnonzero(groups == group).tolist()
            members.sort(key=lambda place: seed_of(trial.runtime.suite, "partners", keys[place]))
            shift = 1 + number % max(1, len(members) - 1)
            for place, member in enumerate(members):
                partner[member] = members[(place + shift) % len(members)]
        return partner

    def _masses(self, values: FloatArray, regions: npt.NDArray[np.int64]) -> FloatArray:
        found = masses(values, regions)
        full = np.full(self._config.regions, np.nan)
        full[: len(found)] = found
        return full

    def _add(
        self, statistic: str, values: FloatArray, where: Mapping[str, Condition] | None = None
    ) -> None:
        sample = self._trial.sample(self._rows)
        self._found.append(Reading(statistic, sample, values, where or {}, self._reasons))


def _rank_correlations(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return Spearman of each row over the columns where both have a value, [n]."""
    found = np.full(len(first), np.nan)
    for row, (here, there) in enumerate(zip(first, second, strict=True)):
        known = np.isfinite(here) & np.isfinite(there)
        if known.sum() > 2 and np.ptp(here[known]) > 0 and np.ptp(there[known]) > 0:
            ranks = rankdata(here[known]), rankdata(there[known])
            found[row] = np.corrcoef(*ranks)[0, 1]
    return found
