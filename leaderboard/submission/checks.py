"""Checks of a submission that do not run it; each yields faults by name.

Expectations are made elsewhere, from what the verifier trusts: their own suite, cohort and models.
Nothing in this file trusts a bundle, imports its plugin or writes anything.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from benchmark.reading import Reading, find
from benchmark.records.identity import PluginIdentity, sha256_of
from leaderboard.published.budget import Budget
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.fields import Scale
from leaderboard.published.folder import read_readings
from leaderboard.published.record import PublishedRecord, group_means
from leaderboard.submission.bundle import Bundle
from leaderboard.submission.names import NamedFault, name_faults
from leaderboard.submission.plausibility import record_faults

# Six digits in a record, eighteen bits in its sidecar.
_ROUNDING = 1e-5
# A protocol may read some parts of each image.
_MOST_PARTS = 64
# Returns the state and verdict that readings lead to.
Judge = Callable[[Sequence[Reading]], tuple[str, str | None]]
# Cohort, model and protocol.
CellKey = tuple[str, str, str]
People = Mapping[str, tuple[str, int]]


@dataclass(frozen=True)
class Expectation:
    """Fields that all records of one cohort, model and protocol have in common.

    Attributes:
        people: Subject and group of each image that may be read, by key.
        scored: Keys that every score covers, or None where they are not known.
        judge: Function that derives state and verdict from readings, or None where there is none.
        joins: Cohort in whose section of the board the records stand, or None for their own.
    """

    cohort_fingerprint: str
    weights_sha256: str
    protocol: PluginIdentity
    seed: int
    scale: Scale
    people: People
    scored: frozenset[str] | None = None
    judge: Judge | None = None
    joins: str | None = None


@dataclass(frozen=True)
class Standard:
    """Knowledge of a verifier that submissions are compared with.

    Attributes:
        cells: Expectation of each cell of the board.
        built_in: Names of the package's own explainers.
        others: Records that are on the board already.
    """

    suite: str
    suite_sha256: str
    cells: Mapping[CellKey, Expectation]
    built_in: frozenset[str] = frozenset()
    others: tuple[PublishedRecord, ...] = field(default=(), repr=False)

    @cached_property
    def most_unscored(self) -> Mapping[str, int]:
        """The most images that a method on the board leaves without a value, by protocol.

        It is known where the score is a mean over the images that have one, so that a method rises
        by giving no map where it does badly. An owed score counts such an image as chance.
        """
        most: dict[str, int] = {}
        for record in self.others:
            if record.scores and not record.scale.owed:
                protocol = record.names.protocol
                most[protocol] = max(most.get(protocol, 0), len(_unscored(record)))
        return most


def expectations_of(records: Iterable[PublishedRecord], control: str) -> dict[CellKey, Expectation]:
    """Return the expectation of each cell, made from the trusted records of a control."""
    trusted = [record for record in records if record.names.explainer == control and record.scores]
    people: dict[str, dict[str, tuple[str, int]]] = defaultdict(dict)
    for record in trusted:
        people[record.names.cohort] |= {row[0]: row[1:3] for row in record.scores}
    return {
        cell_key(record): Expectation(
            record.identity.cohort_fingerprint,
            record.identity.weights_sha256,
            record.identity.protocol,
            record.identity.seed,
            record.scale,
            people[record.names.cohort],
            frozenset(row[0] for row in record.scores),
            joins=record.joins,
        )
        for record in trusted
    }


def cell_key(record: PublishedRecord) -> CellKey:
    """Return cohort, model and protocol of a record, which name its cell."""
    return record.names.cohort, record.names.model, record.names.protocol


def verify(bundle: Bundle, standard: Standard) -> list[Fault]:
    """Return all faults of a bundle that can be found without running it."""
    about_manifest = _manifest_faults(bundle, standard)
    faults = [Fault(name, "manifest.json", detail) for name, detail in about_manifest]
    faults += _bundle_faults(bundle, standard)
    budget = Budget()
    for record in bundle.records:
        location = f"records/{record.path}"
        try:
            budget.check(location)
        except FaultError as error:
            return [*faults, error.fault]
        named_faults = [*_record_faults(record, bundle), *record_faults(record)]
        if (expected := standard.cells.get(cell_key(record))) is None:
            known = sorted({" × ".join(key) for key in standard.cells})
            detail = f"suite {standard.suite} has no such cell; known: {', '.join(known)}"
            named_faults.append(("unknown-cell", detail[:300]))
        else:
            named_faults += [*_identity_faults(record, expected), *_score_faults(record, expected)]
            named_faults += _gap_faults(record, standard.most_unscored)
            named_faults += _reading_faults(record, bundle, expected)
        faults += [Fault(name, location, detail) for name, detail in named_faults]
    return faults


def _manifest_faults(bundle: Bundle, standard: Standard) -> Iterator[NamedFault]:
    manifest = bundle.manifest
    if manifest.suite != standard.suite:
        yield "other-suite", f"it is of suite {manifest.suite!r}, and not of {standard.suite!r}"
    elif manifest.suite_sha256 != standard.suite_sha256:
        yield "other-suite", f"its suite {manifest.suite!r} has another file than the one here"
    identity = bundle.records[0].identity.explainer if bundle.records else None
    words = {standard.suite: "the suite"}
    for cell in standard.cells:
        kinds = ("a cohort", "a model", "a protocol")
        words |= {name: f"{kind} of the suite" for name, kind in zip(cell, kinds, strict=True)}
    yield from name_faults(manifest, standard.built_in, words, identity, standard.others)


def _bundle_faults(bundle: Bundle, standard: Standard) -> Iterator[Fault]:
    for cell in sorted(standard.cells.keys() - map(cell_key, bundle.records)):
        detail = "there is no faultless record of this cell"
        yield Fault("cell-missing", f"records: {' × '.join(cell)}", detail)
    methods = {
        sha256_of([record.method.model_dump(), record.identity.explainer.model_dump(mode="json")])
        for record in bundle.records
    }
    if len(methods) > 1:
        yield Fault("explainer-differs", "records", "they are not all of one method as it is told")


def _record_faults(record: PublishedRecord, bundle: Bundle) -> Iterator[NamedFault]:
    manifest, identity = bundle.manifest, record.identity
    if identity.suite != manifest.suite:
        yield "other-suite", f"it is of suite {identity.suite[:40]!r}"
    if record.names.explainer != manifest.explainer:
        yield "explainer-differs", f"the manifest is about {manifest.explainer!r}"
    if identity.explainer.source_sha256 != manifest.source_sha256:
        yield "source-differs", "it was measured with another source than the bundle's"
    if record.method.title != manifest.title:
        yield "title-differs", f"the manifest says {manifest.title!r}"
    if record.submitter != manifest.submitter:
        yield "submitter-differs", f"the manifest says {manifest.submitter!r}"
    if record.method.control:
        yield "is-control", "a control is told the truth or asks no model, and is no submission"
    if record.tier != "self-reported":
        yield "tier-claimed", f"nobody but a verifier may call it {record.tier!r}"
    if record.state == "failed":
        yield "failed-cell", "a cell that failed is no result"


def _identity_faults(record: PublishedRecord, expected: Expectation) -> Iterator[NamedFault]:
    identity = record.identity
    if identity.cohort_fingerprint != expected.cohort_fingerprint:
        yield "cohort-differs", f"its cohort is {identity.cohort_fingerprint[:12]}"
    if identity.weights_sha256 != expected.weights_sha256:
        yield "weights-differ", f"its model's weights are {identity.weights_sha256[:12]}"
    if record.joins != expected.joins:
        yield "section-differs", f"it joins {record.joins}, and in the suite {expected.joins}"
    submitted, suites = identity.protocol, expected.protocol
    if sha256_of(submitted.model_dump(mode="json")) != sha256_of(suites.model_dump(mode="json")):
        same_version = submitted.version == suites.version
        part = "settings" if same_version else f"version {submitted.version[:20]!r}"
        yield "protocol-differs", f"{part} of {submitted.name!r} are not the suite's"
    if identity.seed != expected.seed:
        yield "seed-differs", f"its seed is {identity.seed}, and the suite's {expected.seed}"
    if record.scale != expected.scale:
        wrong = [name for name, value in expected.scale if getattr(record.scale, name) != value]
        yield "scale-differs", f"{', '.join(wrong)} are not the protocol's"


def _score_faults(record: PublishedRecord, expected: Expectation) -> Iterator[NamedFault]:
    if not record.scores:
        return
    rows, people = {row[0]: row[1:3] for row in record.scores}, expected.people
    if strangers := sorted(rows.keys() - people.keys()):
        yield "unknown-subject", f"{len(strangers)} are not of the cohort, such as {strangers[0]}"
    if renamed := [key for key, person in rows.items() if people.get(key, person) != person]:
        detail = f"{len(renamed)} have another subject or group than the cohort's, such as "
        yield "renamed-subject", detail + renamed[0]
    if expected.scored is not None:
        if left_out := sorted(expected.scored - rows.keys()):
            detail = f"it leaves out {len(left_out)} that every method is scored on: {left_out[0]}"
            yield "subject-missing", detail
        if (added := sorted(rows.keys() - expected.scored)) and not strangers:
            yield "unknown-subject", f"{len(added)} are not scored here, such as {added[0]}"


def _gap_faults(record: PublishedRecord, most_unscored: Mapping[str, int]) -> Iterator[NamedFault]:
    most, unscored = most_unscored.get(record.names.protocol), _unscored(record)
    if most is not None and not record.scale.owed and len(unscored) > most:
        yield (
            "subject-unscored",
            f"{len(unscored)} images have no value, such as {unscored[0]}, and at most {most} of "
            "any method on the board; the mean of the others is no score",
        )


def _unscored(record: PublishedRecord) -> list[str]:
    return [row[0] for row in record.scores if row[3] is None]


def _reading_faults(
    record: PublishedRecord, bundle: Bundle, expected: Expectation
) -> Iterator[NamedFault]:
    if record.readings is None:
        if record.state == "scored":
            yield "sidecar-missing", "a scored record needs its readings"
        return
    try:
        readings = read_readings(bundle.records_folder, record)
    except FaultError as error:
        yield error.fault.name, error.fault.detail
        return
    means = group_means(readings, record.scale.statistic) if record.scores else None
    if not _is_close(record.by_group, means):
        yield "groups-differ", "its score in either group is not that of its readings"
    sample_faults = list(_sample_faults(record, readings, expected.people))
    yield from sample_faults
    if sample_faults or expected.judge is None:
        return
    try:
        judged = expected.judge(readings)
    except Exception as error:  # a protocol may stumble in any way over readings that are not its
        yield "verdict-differs", f"its readings cannot be judged: {type(error).__name__}"
        return
    if judged != (record.state, record.verdict):
        detail = f"it says {record.state}, {record.verdict or 'no verdict'}, but its readings say "
        yield "verdict-differs", f"{detail}{judged[0]}, {judged[1] or 'no verdict'}"


def _is_close(claimed: tuple[float, float] | None, read: tuple[float, float] | None) -> bool:
    if claimed is None or read is None:
        return claimed is read
    return all(
        math.isclose(own, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        for own, other in zip(claimed, read, strict=True)
    )


def _sample_faults(
    record: PublishedRecord, readings: Sequence[Reading], people: People
) -> Iterator[NamedFault]:
    """Compare a sidecar's images with the cohort; a protocol may plant groups and rename parts."""
    subjects = {subject for subject, _ in people.values()}
    # Readings share their samples; hashing the keys of each would take most of the time.
    samples = {id(reading.sample): reading.sample for reading in readings}
    for sample in samples.values():
        if len(sample) > _MOST_PARTS * len(people):
            yield "too-many-images", f"its sidecar reads {len(sample):,} parts of {len(people)}"
            return
        if strangers := sorted(set(sample.subjects) - subjects):
            detail = f"{len(strangers)} in its sidecar are not of the cohort: {strangers[0][:40]}"
            yield "unknown-subject", detail
        pairs = zip(sample.keys, sample.subjects, strict=True)
        if renamed := [key for key, name in pairs if people.get(key, (name, 0))[0] != name]:
            detail = f"{len(renamed)} in its sidecar have another subject than the cohort's: "
            yield "renamed-subject", detail + renamed[0][:40]
    if (score := find(readings, record.scale.statistic)) is not None and record.scores:
        sample = score.sample
        rows = zip(sample.keys, sample.subjects, sample.groups, strict=True)
        if set(rows) != {row[:3] for row in record.scores}:
            yield "scores-differ", "subjects or groups of the sidecar's score are not the record's"
