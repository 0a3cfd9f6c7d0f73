"""`uncertainty`: are maps unstable where the model is uncertain?

A prediction and its map are asked of several networks that differ by chance. How uncertain the
model is of a subject is the entropy of their mean prediction; how stable the map is, the rank
correlation of the maps on pairs of them. The relation of both over subjects is the result: it holds
for one method and reverses for another on the same model, so it is told for each and never pooled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.errors import NotAssessableError
from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol, Table
from benchmark.reading import Reading, Verdict, find, summarise
from benchmark.seeding import seed_of
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.rank_association import influence_values
from benchmark.statistics.wording import format_interval
from benchmark.target import Target, own_margin
from benchmark.trial import Study
from protocols.uncertainty.measures import deranged, entropies, steadiness
from protocols.uncertainty.members import Members, members_of
from protocols.uncertainty.statistics import (
    ASSOCIATIONS,
    FEW_ERRORS,
    UncertaintyConfig,
    UncertaintyStatistics,
    association,
    association_of,
    claim_of,
    columns_of,
)
from protocols.uncertainty.tables import uncertainty_tables

CHANCE_LEVEL = 0.6  # AUROC that the lower bound of the members' mean prediction must exceed
SATURATED = 0.01  # nats of entropy below which a prediction is certain
CONSTANT = 1e-6  # range of stability over subjects below which it is one number

_SHOWN = 2  # members whose maps a report shows, and whose maps of other subjects are compared
_PARTNERS = 2
_PIXELS = 2**20  # of a member's maps that are compared at once


class Uncertainty(UncertaintyStatistics, SanityProtocol[UncertaintyConfig]):
    """Entropy of members' predictions against the stability of the map over members."""

    name = "uncertainty"
    version = "1.0"
    title = "Are maps unstable where the model is uncertain?"
    topic = "maps where the model is uncertain"
    primary = "relation"
    chance = "relation"
    margin = 0.35
    truth_leads = False
    counts = False
    tolerance = 1e-5
    Config = UncertaintyConfig

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        images = study.balanced(self.config.subjects)
        self._require_subjects(len(set(images.sample.subjects)))
        members = members_of(images, self.config)
        entropy, information = entropies(members.probabilities)
        mean = np.sort(members.probabilities, axis=0).mean(0)
        predicted = (mean[:, 1] > mean[:, 0]).astype(np.int64)
        odds = np.log(np.maximum(mean[:, 1], 1e-300)) - np.log(np.maximum(mean[:, 0], 1e-300))
        images.read(self.margin_curve, odds)
        self._require_signal(images, entropy)
        errors = (predicted != images.groups).astype(np.float64)
        for statistic, values in (
            (self.entropy, entropy),
            (self.mutual_information, information),
            (self.error, errors),
        ):
            images.read(statistic, values, reasons={})
        explained = predicted if self.config.target == "predicted" else images.groups
        self._read_maps(images, members, explained)
        self._read_associations(images)

    def _require_subjects(self, count: int) -> None:
        if count < self.config.fewest:
            raise NotAssessableError(f"fewer than {self.config.fewest} subjects")

    def _require_signal(self, images: Study, entropy: FloatArray) -> None:
        reading = find(images.readings, self.margin_curve)
        if reading is not None and not summarise(reading, "auroc").low > CHANCE_LEVEL:
            raise NotAssessableError(
                f"model at chance: the lower bound of the AUROC is at most {CHANCE_LEVEL}"
            )
        if np.mean(entropy < SATURATED) > 0.5:
            raise NotAssessableError(
                f"predictions saturated: more than half have an entropy below {SATURATED}"
            )

    def _read_maps(self, images: Study, members: Members, explained: Rows) -> None:
        """Draw the maps of a few images at a time on every member, and read what stays."""
        count = len(images.rows)
        stability, overlap, contrast = (np.full(count, np.nan) for _ in range(3))
        shape = images.trial.test.images.shape[1:]
        few = [torch.zeros(count, *shape) for _ in members.classifiers[:_SHOWN]]
        for places in self._chunks(images, explained):
            some = images.only(images.rows[places])
            targets = [_MARGINS[group] for group in explained[places].tolist()]
            maps = [
                images.ranked(images.trial.on(classifier=member).draw(some.rows, targets))
                for member in members.classifiers
            ]
            for kept, own in zip(few, maps, strict=False):
                kept[torch.from_numpy(places)] = own
            steady = steadiness(some, maps, self.config.quantile)
            stability[places], overlap[places] = steady.stability, steady.overlap
            contrast[places] = steady.contrast
            pairs = zip(some.keys, steady.reasons, strict=True)
            images.reasons |= {key: reason for key, reason in pairs if reason}
        known = stability[np.isfinite(stability)]
        if len(known) > 1 and np.ptp(known) < CONSTANT:
            raise NotAssessableError("stability is constant")
        images.read(self.stability, stability)
        images.read(self.overlap, overlap)
        images.read(self.contrast, contrast)
        self._read_derangement(images, few, np.isfinite(stability))
        _exhibit(images, few, stability)

    def _chunks(self, images: Study, explained: Rows) -> Iterator[Rows]:
        """Yield positions of images of one target, in full lanes, that memory has room for."""
        lane = images.trial.lane
        pixels = int(np.prod(images.trial.test.images.shape[1:]))
        size = max(lane, _PIXELS // pixels // lane * lane)
        for group in (0, 1):
            places = np.flatnonzero(explained == group)
            for start in range(0, len(places), size):
                yield places[start : start + size]

    def _read_derangement(
        self, images: Study, few: Sequence[Tensor], known: npt.NDArray[np.bool_]
    ) -> None:
        """Read how alike maps of other subjects are, as a mean of the cohort alone."""
        order = np.argsort(
            [seed_of(images.trial.runtime.suite, self.name, "order", key) for key in images.keys]
        )
        subjects, values = np.array(images.trial.test.subjects)[images.rows], []
        for step in range(1, _PARTNERS + 1):
            partners = np.empty(len(order), dtype=np.int64)
            partners[order] = np.roll(order, -step)
            alike = deranged(few[0], few[1], images.foreground, partners.tolist())
            is_other = (subjects[partners] != subjects) & known & known[partners]
            values.append(np.where(is_other, alike, np.nan))
        table = np.stack(values)
        counts = np.isfinite(table).sum(0)
        mean = np.nansum(table, axis=0) / np.where(counts > 0, counts, np.nan)
        missing = [images.keys[row] for row in np.flatnonzero(counts == 0)]
        images.read(self.derangement, mean, reasons=dict.fromkeys(missing, "no other map to rank"))

    def _read_associations(self, images: Study) -> None:
        columns, subjects = columns_of(images.readings), images.sample.subjects
        known = np.isfinite(columns["stability"])
        errors = len({subjects[row] for row in np.flatnonzero(columns["error"] == 1)})
        for name in ASSOCIATIONS:
            statistic = self.statistic(name)
            if not known.any():
                images.read(statistic, np.full(len(known), np.nan))
            elif name == "use" and errors < self.config.fewest_errors:
                images.read_missing(statistic, FEW_ERRORS.format(self.config.fewest_errors))
            else:
                values = influence_values(association(name, columns), subjects)
                images.read(statistic, np.where(known, values, np.nan))

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Say whether the claim holds; a map neither passes nor fails by it."""
        reading = find(readings, self.stability)
        known = [] if reading is None else np.flatnonzero(np.isfinite(reading.values)).tolist()
        subjects = set() if reading is None else {reading.sample.subjects[row] for row in known}
        if 0 < len(subjects) < self.config.fewest:
            reason = f"fewer than {self.config.fewest} subjects have maps that rank pixels"
            return Verdict("not assessable", None, reason)
        return Verdict("scored", None, claim_of(readings)[1])

    @classmethod
    def score_interval(cls, readings: Sequence[Reading]) -> Interval:
        """Return the relation with its interval by bootstrap of the subjects."""
        return association_of(readings, cls.primary)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say whether maps are unstable where the model is uncertain."""
        relation = format_interval(association_of(readings, cls.primary)) or ""
        return (Badge("unstable where uncertain", claim_of(readings)[0], relation),)

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield the relations of each method, and what instability says of errors."""
        return uncertainty_tables(readings)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show uncertainty against stability, and maps that stay and maps that do not."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.uncertainty.figures import uncertainty_drawings

        return uncertainty_drawings(exhibits, readings)


_MARGINS: tuple[Target, Target] = (own_margin(0), own_margin(1))


def _exhibit(images: Study, few: Sequence[Tensor], stability: FloatArray) -> None:
    """Keep the maps of the two most and the two least stable subjects."""
    known = np.flatnonzero(np.isfinite(stability))
    if len(known) < 4:
        return
    by_stability = known[np.argsort(-stability[known], kind="stable")]
    chosen = np.concatenate([by_stability[:2], by_stability[-2:]])
    rows = images.rows[chosen]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "keys": np.array([images.keys[row] for row in chosen]),
        "image": images.trial.test.images[rows],
        "stability": stability[chosen],
    }
    for number, maps in enumerate(few):
        arrays[f"member {number + 1}"] = maps[torch.from_numpy(chosen)].numpy()
    images.exhibit(arrays)
