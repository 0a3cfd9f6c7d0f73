"""The board of a model whose scores are what maps owe to the network.

Chance is 0 under every protocol, so nothing is calibrated: the total is the mean of the scores, and
a protocol under which a method has no value counts as chance. Methods are compared all with each
other at once, and a rank comes with the interval that those comparisons leave open.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from benchmark.reading import SCORED, Reading, find
from benchmark.results.scores import Scores
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.simultaneous import Ranking, compare
from leaderboard.board.badges import badges_of, gaps_of
from leaderboard.board.board import (
    BoardProtocol,
    Comparison,
    ModelBoard,
    OwedModel,
    OwedRow,
    Row,
    Standing,
    Status,
)
from leaderboard.board.rounding import number_of
from leaderboard.board.rows import health_of, make_row, order_of, summarise_scores
from leaderboard.board.scores import order_subjects, scores_of
from leaderboard.board.totals import Part, differences_of, intervals_of, make_blocks, part_of
from leaderboard.published.record import PublishedRecord
from leaderboard.published.unpublished import Unpublished

NOTHING_KEPT_BACK = Unpublished((), ())
_UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Section:
    """Records of one model: of a cohort, and of those that join its section.

    Attributes:
        records: Published records.
        protocols: Columns of the board.
        noise: All readings of ``random``, by the path of its record.
        kept_back: Records of the same model on data that are kept back, and who is honest.
    """

    records: Sequence[PublishedRecord]
    protocols: Sequence[BoardProtocol]
    noise: Mapping[str, Sequence[Reading]]
    kept_back: Unpublished

    @cached_property
    def by_explainer(self) -> dict[str, dict[str, PublishedRecord]]:
        """Records by explainer and protocol."""
        return _by(self.records, "explainer", "protocol")

    @cached_property
    def by_protocol(self) -> dict[str, dict[str, PublishedRecord]]:
        """Records by protocol and explainer."""
        return _by(self.records, "protocol", "explainer")

    @cached_property
    def unpublished(self) -> dict[str, dict[str, PublishedRecord]]:
        """Records on data that are kept back, by protocol and explainer."""
        return _by(self.kept_back.records, "protocol", "explainer")

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Scores by protocol, with subjects in the order of their cohorts."""
        scores = {}
        for protocol, own in self.by_protocol.items():
            records = list(own.values())
            noise = (
                find(self.noise.get(record.path, ()), record.scale.statistic) for record in records
            )
            order = order_subjects(reading.sample for reading in noise if reading is not None)
            scores[protocol] = scores_of(records, self.noise, order)
        return scores

    @cached_property
    def averaged(self) -> tuple[str, ...]:
        """Names of the protocols whose mean is the total: those that anybody was asked under."""
        return tuple(
            protocol.name
            for protocol in self.protocols
            if protocol.owed and protocol.averaged and protocol.name in self.by_protocol
        )

    def parts(self, protocol: str, weight: float) -> list[Part]:
        """Return a protocol's parts of a total; where data are kept back, half is of those."""
        published = part_of(self.by_protocol[protocol], weight)
        if protocol not in self.unpublished:
            return [published]
        halves = published, part_of(self.unpublished[protocol], weight)
        return [Part(half.cohort, half.weight / 2, half.readings) for half in halves]


def build_section(section: Section) -> ModelBoard:
    """Return the board of a model."""
    why = {name: _why_unranked(own, section) for name, own in section.by_explainer.items()}
    with_total = [name for name in section.by_explainer if _has_total(name, section)]
    weight = 1 / max(1, len(section.averaged))
    parts = [part for name in section.averaged for part in section.parts(name, weight)]
    totals = intervals_of(parts, with_total)
    eligible = [name for name in with_total if why[name][0] == "ranked"]
    compared = compare(make_blocks(parts, eligible)) if eligible else None
    standings = {} if compared is None else _standings(compared, eligible, totals)
    gaps = gaps_of(section.by_protocol, section.unpublished)
    gates = {protocol.name for protocol in section.protocols if protocol.gate}
    without_limits = gates - set(section.averaged)
    summaries = {
        name: _summarise(scores, name in without_limits) for name, scores in section.scores.items()
    }
    averaged = {name: summaries[name] for name in section.averaged}
    rows = []
    for name, own in section.by_explainer.items():
        row = make_row(
            own, why[name], standings.get(name), section.protocols, (summaries, averaged)
        )
        owed = OwedRow(
            total=number_of(totals[name]) if name in totals else None,
            badges=badges_of(own, gaps, name, section.kept_back.honest),
            gaps=tuple(gap.numbers(name) for gap in gaps if name in gap.explainers),
        )
        rows.append(row.model_copy(update={"owed": owed}))
    comparisons = () if compared is None else _comparisons(compared, eligible, parts, section)
    return _model_board(section, rows, comparisons)


def _summarise(scores: Scores, without_limits: bool) -> dict[str, Interval]:
    """Return the score of each explainer; of a gate alone without limits.

    The copies of a network vary as well, and a record's values per subject cannot tell how much.
    """
    summaries = summarise_scores(scores)
    if not without_limits:
        return summaries
    return {name: replace(own, low=math.nan, high=math.nan) for name, own in summaries.items()}


def _model_board(
    section: Section, rows: Sequence[Row], comparisons: tuple[Comparison, ...]
) -> ModelBoard:
    own = [record for record in section.records if record.joins is None]
    first = (own or list(section.records))[0]
    subjects: dict[str, set[str]] = {}
    for record in section.records:
        if record.names.protocol in section.averaged:
            people = subjects.setdefault(record.names.cohort, set())
            people.update(subject for _, subject, *_ in record.scores)
    return ModelBoard(
        cohort=section_key(first)[0],
        model=first.names.model,
        cohort_fingerprint=first.identity.cohort_fingerprint,
        weights_sha256=first.identity.weights_sha256,
        n_subjects=sum(map(len, subjects.values())),
        tau=None,
        health=tuple(
            health_of(protocol.name, section.scores.get(protocol.name))
            for protocol in section.protocols
        ),
        rows=tuple(sorted(rows, key=order_of)),
        owed=OwedModel(
            subjects={name: len(people) for name, people in sorted(subjects.items())},
            averaged=section.averaged,
            honest=section.kept_back.honest,
            comparisons=comparisons,
        ),
    )


def section_key(record: PublishedRecord) -> tuple[str, str]:
    """Return the cohort and the model in whose section of the board a record stands."""
    return record.joins or record.names.cohort, record.names.model


def _why_unranked(
    own: Mapping[str, PublishedRecord], section: Section
) -> tuple[Status, str | None]:
    if next(iter(own.values())).method.control:
        return "control", "it looks at no model"
    gates = [protocol.name for protocol in section.protocols if protocol.gate]
    for name in gates:
        if name in own and own[name].verdict == "fail":
            return "gate failed", f"{name}: {own[name].reason or 'it failed'}"
    for name in (*section.averaged, *gates):
        if name in own and own[name].state == _UNSUPPORTED:
            return "not ranked", f"{name}: {own[name].state}, {own[name].reason}"
    for name in gates:
        if name not in own:
            return "not ranked", f"no record of {name}"
        if own[name].state != SCORED:
            return "not ranked", f"{name}: {own[name].state}, {own[name].reason}"
        if own[name].verdict is None:
            return "not ranked", f"{name} gave no verdict"
    explainer = next(iter(own.values())).names.explainer
    for name, records in section.unpublished.items():
        if explainer not in records:
            return "not ranked", f"{name}: not yet run on what is kept back"
    if not any(name in own and _has_value(own[name]) for name in section.averaged):
        return "not ranked", "it has a score under no protocol"
    return "ranked", None


def _has_total(explainer: str, section: Section) -> bool:
    """Return whether the method can be scored on the model at all, and is under a protocol."""
    own = section.by_explainer[explainer]
    records = [own[name] for name in section.averaged if name in own]
    supported = all(record.state != _UNSUPPORTED for record in records)
    return supported and any(map(_has_value, records))


def _has_value(record: PublishedRecord) -> bool:
    return any(value is not None for _, _, _, value, _ in record.scores)


def _standings(
    compared: Ranking, explainers: Sequence[str], totals: Mapping[str, Interval]
) -> dict[str, Standing]:
    return {
        name: Standing(
            rank=compared.ranks[index],
            low=compared.low[index],
            high=compared.high[index],
            group=compared.groups[index],
            total=number_of(totals[name]),
        )
        for index, name in enumerate(explainers)
    }


def _comparisons(
    compared: Ranking, explainers: Sequence[str], parts: Sequence[Part], section: Section
) -> tuple[Comparison, ...]:
    """Return the differences of every two explainers, those of better ranks first."""
    order = sorted(
        range(len(explainers)), key=lambda each: (compared.ranks[each], explainers[each])
    )
    pairs = list(itertools.combinations(order, 2))
    by_protocol = {
        name: differences_of([part_of(section.by_protocol[name], 1.0)], explainers, pairs)
        for name in section.averaged
    }
    totals = differences_of(parts, explainers, pairs)
    comparisons = []
    for number, (row, column) in enumerate(pairs):
        first, second = explainers[row], explainers[column]
        better = second if compared.is_better[column, row] else None
        comparisons.append(
            Comparison(
                first=first,
                second=second,
                better=first if compared.is_better[row, column] else better,
                total=number_of(totals[number]),
                scores={name: number_of(own[number]) for name, own in by_protocol.items()},
            )
        )
    return tuple(comparisons)


def _by(
    records: Sequence[PublishedRecord], outer: str, inner: str
) -> dict[str, dict[str, PublishedRecord]]:
    sorted_records: dict[str, dict[str, PublishedRecord]] = {}
    for record in records:
        own = sorted_records.setdefault(getattr(record.names, outer), {})
        own[getattr(record.names, inner)] = record
    return sorted_records
