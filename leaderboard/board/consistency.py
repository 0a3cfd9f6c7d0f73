"""What records of one board must agree on before they are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter

from benchmark.records.identity import canonical_json, sha256_of
from leaderboard.board.bridge import Bridge, bridged
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.record import PublishedRecord
from leaderboard.published.stored import RecordsByPath


def check_records(records: RecordsByPath, bridges: Sequence[Bridge] = ()) -> None:
    """Refuse records that cannot stand on one board.

    Raises:
        FaultError: ``no-records``, or where a record contradicts the first of its kind. ``twice``:
            two that differ, of one cell. ``other-suite``: of another version or seed.
            ``other-cohort``, ``other-weights``: one name for two things, as for two architectures
            with the same weights. ``two-methods``: two versions, settings or sources of an
            explainer. ``mixed-versions``: of a protocol, with no bridge between them.
            ``other-settings``: of a protocol. ``other-scale``: a protocol's
            score is read in two ways. ``other-subjects``: an image is of another subject or group
            than elsewhere. ``other-section``: a cohort, or two of them under one protocol, in two
            sections. ``other-images``: of a score that is owed, of other images than elsewhere.
    """
    if not records:
        raise FaultError("no-records", "the board", "there is no record")
    for fault in _contradictions(records, bridges):
        raise FaultError(fault.name, fault.location, fault.detail)


def _contradictions(records: RecordsByPath, bridges: Sequence[Bridge]) -> Iterator[Fault]:
    explainer, protocol = attrgetter("names.explainer"), attrgetter("names.protocol")
    cohort, model = attrgetter("names.cohort"), attrgetter("names.cohort", "names.model")
    suite = attrgetter("identity.suite", "identity.seed")
    headers = records.headers
    yield from _apart(headers, "twice", attrgetter("path"), attrgetter("checksum"))
    yield from _apart(headers, "other-suite", lambda _: None, suite)
    yield from _apart(headers, "other-cohort", cohort, attrgetter("identity.cohort_fingerprint"))
    yield from _apart(headers, "other-weights", model, attrgetter("identity.network"))
    yield from _apart(headers, "two-methods", explainer, _method)
    yield from _mixed(headers, bridges)
    yield from _apart(headers, "other-settings", protocol, attrgetter("identity.protocol.config"))
    yield from _apart(headers, "other-scale", protocol, lambda record: record.scale.model_dump())
    yield from _strangers(records)
    yield from _apart(headers, "other-section", attrgetter("names.cohort"), attrgetter("joins"))
    yield from _apart(headers, "other-section", _position, attrgetter("names.cohort"))
    owed = (record for record in records if record.scale.owed and record.scores)
    cell = attrgetter("names.cohort", "names.model", "names.protocol")
    yield from _apart(owed, "other-images", cell, _images)


def check_kept_back(
    kept_back: Sequence[PublishedRecord], records: Sequence[PublishedRecord]
) -> None:
    """Refuse records on data that are kept back which do not compare with those of a board.

    Raises:
        FaultError: As ``check_records``; ``not-owed`` where the board, or a protocol of theirs, has
            no scores that are owed; ``not-kept-back`` where a record is of the board's suite, or
            of data that the board shows; ``mixed-versions``, ``other-weights`` or ``two-methods``
            where protocol, network or method are others than on the board.
    """
    if not kept_back:
        return
    check_records(RecordsByPath(kept_back))
    averaged = [record for record in records if record.scale.owed and record.scale.averaged]
    versions = {record.names.protocol: record.identity.protocol.version for record in averaged}
    data = {_data(record) for record in averaged}
    networks = {(record.names.model, record.identity.network) for record in averaged}
    methods = {record.names.explainer: record.identity.explainer for record in records}
    for record in kept_back:
        protocol, version = record.names.protocol, record.identity.protocol.version
        if protocol not in versions:
            detail = f"{protocol} is no protocol of the board whose scores are owed and averaged"
            raise FaultError("not-owed", record.path, detail)
        if record.identity.suite == records[0].identity.suite:
            detail = "it is of the board's own suite, whose cells anybody publishes from a store"
            raise FaultError("not-kept-back", record.path, detail)
        if _data(record) in data:
            raise FaultError("not-kept-back", record.path, "the board shows scores on these data")
        if version != versions[protocol]:
            detail = f"{protocol} in version {version}, and in {versions[protocol]} on the board"
            raise FaultError("mixed-versions", record.path, detail)
        if (record.names.model, record.identity.network) not in networks:
            detail = f"no model {record.names.model!r} of these weights is on the board"
            raise FaultError("other-weights", record.path, detail)
        method = methods.get(record.names.explainer)
        if method is not None and method != record.identity.explainer:
            detail = f"the board has another version of {record.names.explainer!r}"
            raise FaultError("two-methods", record.path, detail)


def _position(record: PublishedRecord) -> object:
    """Return where a score stands on the board: section, model, explainer and protocol."""
    names = record.names
    return record.joins or names.cohort, names.model, names.explainer, names.protocol


def _images(record: PublishedRecord) -> object:
    return [row[0] for row in record.scores]


def _data(record: PublishedRecord) -> str:
    """Return what names the data and the settings that a score is read on."""
    protocol = record.identity.protocol
    return sha256_of([protocol.name, protocol.config, record.identity.cohort_fingerprint])


def _method(record: PublishedRecord) -> object:
    explainer, method = record.identity.explainer, record.method.model_dump()
    return [explainer.version, explainer.config, explainer.source_sha256, method, record.submitter]


def _apart(
    records: Iterable[PublishedRecord],
    name: str,
    key: Callable[[PublishedRecord], object],
    value: Callable[[PublishedRecord], object],
) -> Iterator[Fault]:
    """Yield the records that differ in ``value`` from the first of the same ``key``."""
    first: dict[object, tuple[str, str, str]] = {}
    for record in records:
        text = canonical_json(value(record))
        own = record.path, text[:120], hashlib.sha256(text.encode()).hexdigest()
        path, kept, digest = first.setdefault(key(record), own)
        if own[2] != digest:
            yield Fault(name, record.path, f"{text[:120]} here, but {kept} in {path}")


def _mixed(records: Sequence[PublishedRecord], bridges: Sequence[Bridge]) -> Iterator[Fault]:
    versions: dict[str, dict[str, str]] = {}
    for record in records:
        paths = versions.setdefault(record.names.protocol, {})
        paths.setdefault(record.identity.protocol.version, record.path)
    for protocol, paths in versions.items():
        if not bridged(list(paths), protocol, bridges):
            detail = f"{protocol} in the versions {', '.join(paths)}, and no bridge between them"
            yield Fault("mixed-versions", list(paths.values())[-1], detail)


def _strangers(records: Sequence[PublishedRecord]) -> Iterator[Fault]:
    known: dict[tuple[str, str], tuple[str, int]] = {}
    for record in records:
        for key, subject, group, *_ in record.scores:
            kept = known.setdefault((record.names.cohort, key), (subject, group))
            if kept != (subject, group):
                yield Fault("other-subjects", record.path, f"{key} is {kept} elsewhere")
