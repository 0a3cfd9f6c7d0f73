"""What stands beside a row where scores are owed: in which group it finds, and what it knew before.

A badge leaves total and rank as they are. ``one group only``: the weaker group's score is below
half of the stronger one's. ``prior``: a method does better on data that submitters know than on
data that are kept back. The difference is larger than that of methods which are known to follow the
network; part of what it shows was there before the network was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmark.statistics.bootstrap import Interval
from leaderboard.board.board import Badge, Gap
from leaderboard.board.rounding import number_of
from leaderboard.board.totals import Part, difference_of, intervals_of, part_of
from leaderboard.published.record import PublishedRecord

# Protocols whose images are of both groups, each with its own anatomy.
BY_GROUP = ("agreement", "delta_t", "roi_pointing")
WEAKER = 0.5
ONE_GROUP, PRIOR = "one group only", "prior"
# By explainer, of one protocol.
Records = Mapping[str, PublishedRecord]


@dataclass(frozen=True)
class Gaps:
    """Scores of a protocol on published data, and on data that are kept back.

    Attributes:
        protocol: Name of the protocol.
        published: Records on published data by explainer.
        unpublished: Records on data that are kept back.
    """

    protocol: str
    published: Records
    unpublished: Records

    @cached_property
    def explainers(self) -> tuple[str, ...]:
        """Explainers with a score on both."""
        both = self.published.keys() & self.unpublished.keys()
        scored = [name for name in both if self.published[name].scores]
        return tuple(sorted(name for name in scored if self.unpublished[name].scores))

    @cached_property
    def gaps(self) -> dict[str, Interval]:
        """Score on published data minus that on data that are kept back, by explainer."""
        return self._means(1.0, -1.0)

    def numbers(self, explainer: str) -> Gap:
        """Return what the board shows of an explainer: means alone, and no subject's value."""
        return Gap(
            protocol=self.protocol,
            published=number_of(self._published[explainer]),
            unpublished=number_of(self._unpublished[explainer]),
            gap=number_of(self.gaps[explainer]),
        )

    def beyond_honest(self, explainer: str, honest: Sequence[str]) -> tuple[str, Interval] | None:
        """Return the honest method of the largest gap, and how far an explainer's exceeds that.

        None where no honest method has a score on both.
        """
        known = [name for name in honest if name in self.gaps]
        if explainer not in self.gaps or not known:
            return None
        furthest = max(known, key=lambda name: (self.gaps[name].estimate, name))
        parts = [part_of(self.published, 1.0), part_of(self.unpublished, -1.0)]
        return furthest, difference_of(parts, explainer, furthest)

    @cached_property
    def _published(self) -> dict[str, Interval]:
        return self._means(1.0, 0.0)

    @cached_property
    def _unpublished(self) -> dict[str, Interval]:
        return self._means(0.0, 1.0)

    def _means(self, published: float, unpublished: float) -> dict[str, Interval]:
        weighted = (self.published, published), (self.unpublished, unpublished)
        parts: list[Part] = [part_of(records, weight) for records, weight in weighted if weight]
        return intervals_of(parts, self.explainers)


def gaps_of(published: Mapping[str, Records], unpublished: Mapping[str, Records]) -> list[Gaps]:
    """Return the gaps of each protocol, by name, of which there are records on both."""
    names = sorted(published.keys() & unpublished.keys())
    return [Gaps(name, published[name], unpublished[name]) for name in names]


def badges_of(
    own: Mapping[str, PublishedRecord], gaps: Sequence[Gaps], explainer: str, honest: Sequence[str]
) -> tuple[Badge, ...]:
    """Return the badges of an explainer on a model.

    Args:
        own: Records of the explainer by protocol.
        gaps: Gaps of the model's protocols.
        explainer: Name of the explainer.
        honest: Explainers that follow the network.
    """
    if next(iter(own.values())).method.control:
        return ()
    badges = [_one_group_only(own), *(_prior(gap, explainer, honest) for gap in gaps)]
    return tuple(badge for badge in badges if badge is not None)


def _one_group_only(own: Mapping[str, PublishedRecord]) -> Badge | None:
    names = [name for name in BY_GROUP if name in own and own[name].scores]
    if not names:
        return None
    means = np.mean([_by_group(own[name]) for name in names], axis=0)
    if not means.min() < WEAKER * means.max():
        return None
    numbers = " and ".join(
        f"{value:.2f} in group {name}" for name, value in zip("AB", means, strict=True)
    )
    return Badge(name=ONE_GROUP, detail=f"mean of {', '.join(names)}: {numbers}")


def _by_group(record: PublishedRecord) -> tuple[float, float]:
    """Return a record's score in groups A and B."""
    if record.by_group is not None:
        return record.by_group
    values: tuple[list[float], list[float]] = [], []
    for _, _, group, value, _ in record.scores:
        values[group].append(0.0 if value is None else value)
    first, second = (float(np.mean(part)) if part else 0.0 for part in values)
    return first, second


def _prior(gaps: Gaps, explainer: str, honest: Sequence[str]) -> Badge | None:
    beyond = gaps.beyond_honest(explainer, honest)
    if beyond is None or not beyond[1].low > 0:
        return None
    name, excess = beyond
    gap, other = gaps.gaps[explainer].estimate, gaps.gaps[name].estimate
    return Badge(
        name=PRIOR,
        detail=(
            f"{gaps.protocol} loses {gap:.2f} where data are kept back, and {other:.2f} at most "
            f"with methods that follow the network ({name}): {excess.estimate:.2f} more "
            f"[{excess.low:.2f}, {excess.high:.2f}]"
        ),
    )
