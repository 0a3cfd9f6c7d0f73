"""What records of one board must agree on before they are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmark.records.identity import canonical_json
from leaderboard.board.bridge import Bridge, bridged
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.record import PublishedRecord


def check_records(records: Sequence[PublishedRecord], bridges: Sequence[Bridge] = ()) -> None:
    """Refuse records that cannot stand on one board.

    Args:
        records: All of a board's.
        bridges: Between MINOR versions of protocols.

    Raises:
        FaultError: ``no-records``, or the first of ``find_contradictions``.
    """
    if not records:
        raise FaultError("no-records", "the board", "there is no record")
    for fault in find_contradictions(records, bridges):
        raise FaultError(fault.name, fault.location, fault.detail)


def find_contradictions(
    records: Sequence[PublishedRecord], bridges: Sequence[Bridge] = ()
) -> list[Fault]:
    """Return where records contradict the first of their kind.

    ``twice``: two that differ, of one cell. ``other-suite``: of another version or seed.
    ``other-cohort``, ``other-weights``: one name for two things. ``two-methods``: two versions,
    settings or sources of an explainer. ``mixed-versions``: of a protocol, with no bridge between
    them. ``other-settings``: of a protocol. ``other-scale``: a protocol's score is read in two
    ways. ``other-subjects``: an image is of another subject or group than elsewhere.
    """
    return [
        *_apart(records, "twice", lambda record: record.path, lambda record: record.checksum),
        *_apart(
            records,
            "other-suite",
            _all,
            lambda record: [record.identity.suite, record.identity.seed],
        ),
        *_apart(
            records, "other-cohort", _cohort, lambda record: record.identity.cohort_fingerprint
        ),
        *_apart(records, "other-weights", _pair, lambda record: record.identity.weights_sha256),
        *_apart(records, "two-methods", _explainer, _of_explainer),
        *_mixed(records, bridges),
        *_apart(
            records, "other-settings", _protocol, lambda record: record.identity.protocol.config
        ),
        *_apart(records, "other-scale", _protocol, lambda record: record.scale.model_dump()),
        *_strangers(records),
    ]


def _all(record: PublishedRecord) -> object:
    return None


def _cohort(record: PublishedRecord) -> object:
    return record.names.cohort


def _pair(record: PublishedRecord) -> object:
    return record.names.cohort, record.names.model


def _explainer(record: PublishedRecord) -> object:
    return record.names.explainer


def _protocol(record: PublishedRecord) -> object:
    return record.names.protocol


def _of_explainer(record: PublishedRecord) -> object:
    explainer, method = record.identity.explainer, record.method.model_dump()
    return [explainer.version, explainer.config, explainer.source_sha256, method, record.submitter]


def _apart(
    records: Iterable[PublishedRecord],
    name: str,
    key: Callable[[PublishedRecord], object],
    value: Callable[[PublishedRecord], object],
) -> list[Fault]:
    """Return the records that differ in ``value`` from the first of the same ``key``."""
    first: dict[object, tuple[str, str]] = {}
    faults = []
    for record in records:
        text = canonical_json(value(record))
        place, kept = first.setdefault(key(record), (record.path, text))
        if text != kept:
            faults.append(
                Fault(name, record.path, f"{text[:120]} here, but {kept[:120]} in {place}")
            )
    return faults


def _mixed(records: Sequence[PublishedRecord], bridges: Sequence[Bridge]) -> list[Fault]:
    versions: dict[str, dict[str, str]] = {}
    for record in records:
        paths = versions.setdefault(record.names.protocol, {})
        paths.setdefault(record.identity.protocol.version, record.path)
    return [
        Fault(
            "mixed-versions",
            list(paths.values())[-1],
            f"{protocol} in the versions {', '.join(paths)}, and no bridge between them",
        )
        for protocol, paths in versions.items()
        if not bridged(list(paths), protocol, bridges)
    ]


def _strangers(records: Iterable[PublishedRecord]) -> list[Fault]:
    known: dict[tuple[str, str], tuple[str, int]] = {}
    faults = []
    for record in records:
        for key, subject, group, *_ in record.scores:
            kept = known.setdefault((record.names.cohort, key), (subject, group))
            if kept != (subject, group):
                faults.append(Fault("other-subjects", record.path, f"{key} is {kept} elsewhere"))
                break
    return faults
