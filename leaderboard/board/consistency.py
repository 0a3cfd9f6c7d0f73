"""What records of one board must agree on before they are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter

from benchmark.records.identity import canonical_json
from leaderboard.board.bridge import Bridge, bridged
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.record import PublishedRecord


def check_records(records: Sequence[PublishedRecord], bridges: Sequence[Bridge] = ()) -> None:
    """Refuse records that cannot stand on one board.

    Raises:
        FaultError: ``no-records``, or where a record contradicts the first of its kind. ``twice``:
            two that differ, of one cell. ``other-suite``: of another version or seed.
            ``other-cohort``, ``other-weights``: one name for two things, as for two architectures
            with the same weights. ``two-methods``: two versions, settings or sources of an
            explainer. ``mixed-versions``: of a protocol, with no bridge between them.
            ``other-settings``: of a protocol. ``other-scale``: a protocol's
            score is read in two ways. ``other-subjects``: an image is of another subject or group
            than elsewhere.
    """
    if not records:
        raise FaultError("no-records", "the board", "there is no record")
    for fault in _contradictions(records, bridges):
        raise FaultError(fault.name, fault.location, fault.detail)


def _contradictions(
    records: Sequence[PublishedRecord], bridges: Sequence[Bridge]
) -> Iterator[Fault]:
    explainer, protocol = attrgetter("names.explainer"), attrgetter("names.protocol")
    cohort, model = attrgetter("names.cohort"), attrgetter("names.cohort", "names.model")
    suite = attrgetter("identity.suite", "identity.seed")
    yield from _apart(records, "twice", attrgetter("path"), attrgetter("checksum"))
    yield from _apart(records, "other-suite", lambda _: None, suite)
    yield from _apart(records, "other-cohort", cohort, attrgetter("identity.cohort_fingerprint"))
    yield from _apart(records, "other-weights", model, attrgetter("identity.network"))
    yield from _apart(records, "two-methods", explainer, _method)
    yield from _mixed(records, bridges)
    yield from _apart(records, "other-settings", protocol, attrgetter("identity.protocol.config"))
    yield from _apart(records, "other-scale", protocol, lambda record: record.scale.model_dump())
    yield from _strangers(records)


def _method(record: PublishedRecord) -> object:
    explainer, method = record.identity.explainer, record.method.model_dump()
    return [explainer.version, explainer.config, explainer.source_sha256, method, record.submitter]


def _apart(
    records: Sequence[PublishedRecord],
    name: str,
    key: Callable[[PublishedRecord], object],
    value: Callable[[PublishedRecord], object],
) -> Iterator[Fault]:
    """Yield the records that differ in ``value`` from the first of the same ``key``."""
    first: dict[object, tuple[str, str]] = {}
    for record in records:
        text = canonical_json(value(record))
        path, kept = first.setdefault(key(record), (record.path, text))
        if text != kept:
            yield Fault(name, record.path, f"{text[:120]} here, but {kept[:120]} in {path}")


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
