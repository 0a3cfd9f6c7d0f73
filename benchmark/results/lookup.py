"""Brings the records of runs into the form that results are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.errors import UnknownNameError
from benchmark.reading import SCORED, Reading, find
from benchmark.records.identity import canonical_json
from benchmark.records.storage.finished import FinishedCell
from benchmark.results.scores import BLIND, CONTROLS, RANDOM, Score, Scores, Scoring

if TYPE_CHECKING:  # what turns records into numbers must not load what measures them
    from benchmark.protocol import SanityProtocol

# Classes of protocols by name, of all records they come with; figures stand in their order.
Protocols = Mapping[str, "type[SanityProtocol[Any]]"]


@dataclass(frozen=True)
class ScoredGroup:
    """Records of one suite, cohort, model and protocol, measured under the same settings.

    Attributes:
        records: Records in the order given.
        protocol: Protocol of the records.
        scores: An entry for each record.
    """

    records: tuple[FinishedCell, ...]
    protocol: type[SanityProtocol[Any]]
    scores: Scores


def by_model(records: Sequence[FinishedCell]) -> list[list[FinishedCell]]:
    """Return the records of each cohort and model, in the order of their first records.

    No result depends on records of two of them, so that each can be summarised by itself.
    """
    pairs: dict[tuple[str, str], list[FinishedCell]] = {}
    for record in records:
        pairs.setdefault((record.names.cohort, record.names.model), []).append(record)
    return list(pairs.values())


def group_records(records: Sequence[FinishedCell], protocols: Protocols) -> Iterator[ScoredGroup]:
    """Yield the records in groups whose scores compare, by suite, cohort, model and protocol.

    The readings of one group are in memory at a time.

    Raises:
        UnknownNameError: If a record's protocol is not among ``protocols``.
    """
    groups: dict[tuple[str, ...], list[FinishedCell]] = {}
    for record in records:
        names, identity = record.names, record.identity
        key = (identity.suite, names.cohort, names.model, names.protocol, str(identity.seed))
        # Canonical, since settings that were read from a store come in another order.
        settings = canonical_json(identity.protocol.model_dump(mode="json"))
        measured = (identity.cohort_fingerprint, *identity.network, settings)
        groups.setdefault((*key, *measured), []).append(record)
        if names.protocol not in protocols:
            raise UnknownNameError("protocol", names.protocol, protocols)
    ordered = [group for _, group in sorted(groups.items(), key=lambda item: item[0])]
    for group in ordered:
        protocol = protocols[group[0].names.protocol]
        yield ScoredGroup(tuple(group), protocol, _scores(group, protocol))


def _scores(records: Sequence[FinishedCell], protocol: type[SanityProtocol[Any]]) -> Scores:
    entries, noise = [], None
    faults: dict[str, None] = {}
    methods: dict[str, list[Reading]] = {}
    for record in records:
        name = record.names.explainer
        readings = record.to_readings() if record.state == SCORED else []
        score = find(readings, protocol.primary)
        entries.append(Score(name, score, record.verdict, name in BLIND))
        if name == RANDOM and noise is None:
            noise = find(readings, protocol.chance)
        if readings:
            faults |= dict.fromkeys(protocol.health_faults(readings))
        if readings and name not in CONTROLS:
            methods[name] = readings
    doubts = protocol.health_doubts(methods)
    scoring = Scoring(
        protocol.statistic(protocol.primary),
        protocol.statistic(protocol.chance),
        protocol.margin,
        protocol.truth_leads,
        gate=not protocol.counts,
        owed=protocol.owes_to_network,
    )
    return Scores(scoring, tuple(entries), noise, tuple(faults), doubts)
