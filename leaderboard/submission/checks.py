"""What a submission is held to without running it: each check gives faults by name.

What to expect is made elsewhere, from what the verifier trusts: their own suite, cohort and models.
Nothing here believes a bundle, imports its plugin or writes anything.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.reading import Reading, find
from benchmark.records.identity import PluginIdentity, canonical_json
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.fields import Scale
from leaderboard.published.folder import read_readings
from leaderboard.published.record import PublishedRecord
from leaderboard.submission.bundle import Bundle

# State and verdict that readings lead to.
Judge = Callable[[Sequence[Reading]], tuple[str, str | None]]
# Cohort, model and protocol.
Place = tuple[str, str, str]
People = Mapping[str, tuple[str, int]]


@dataclass(frozen=True)
class Expectation:
    """What every record of one cohort, model and protocol has in common.

    Attributes:
        cohort_fingerprint: Of the cohort.
        weights_sha256: Of the model.
        protocol: With version and settings.
        seed: Of the suite.
        scale: How the score is read.
        people: Subject and group of each image that may be read, by key.
        scored: Keys that every score covers, or None where that is not known.
        judge: Comes to state and verdict from readings, or None where nobody can.
    """

    cohort_fingerprint: str
    weights_sha256: str
    protocol: PluginIdentity
    seed: int
    scale: Scale
    people: People
    scored: frozenset[str] | None = None
    judge: Judge | None = None


@dataclass(frozen=True)
class Standard:
    """What a verifier knows.

    Attributes:
        suite: Its version.
        suite_sha256: Of its file.
        cells: What is expected of each cell of the board.
        built_in: Names that the package takes itself.
        others: Records that the board has already.
    """

    suite: str
    suite_sha256: str
    cells: Mapping[Place, Expectation]
    built_in: frozenset[str] = frozenset()
    others: tuple[PublishedRecord, ...] = field(default=(), repr=False)


def expectations_of(records: Iterable[PublishedRecord], control: str) -> dict[Place, Expectation]:
    """Return what is expected of each cell, going by a control's records.

    Args:
        records: Trusted.
        control: Name of an explainer that is scored on every cell.
    """
    own = [one for one in records if one.names.explainer == control and one.scores]
    people: dict[str, dict[str, tuple[str, int]]] = {}
    for one in own:
        known = people.setdefault(one.names.cohort, {})
        known.update({key: (subject, group) for key, subject, group, *_ in one.scores})
    return {
        place_of(one): Expectation(
            one.identity.cohort_fingerprint,
            one.identity.weights_sha256,
            one.identity.protocol,
            one.identity.seed,
            one.scale,
            people[one.names.cohort],
            frozenset(row[0] for row in one.scores),
        )
        for one in own
    }


def place_of(record: PublishedRecord) -> Place:
    """Return cohort, model and protocol of a record."""
    return record.names.cohort, record.names.model, record.names.protocol


def verify(bundle: Bundle, standard: Standard) -> list[Fault]:
    """Return everything that is wrong with a bundle, as far as can be seen without running it.

    Args:
        bundle: That could be read.
        standard: What it must match.
    """
    faults = [*_of_manifest(bundle, standard), *_of_whole(bundle, standard)]
    for record in bundle.records:
        place = f"records/{record.path}"
        faults += [Fault(name, place, detail) for name, detail in _of_record(record, bundle)]
        expected = standard.cells.get(place_of(record))
        if expected is None:
            known = sorted({" × ".join(one) for one in standard.cells})
            detail = f"suite {standard.suite} has no such cell; known: {', '.join(known)}"
            faults.append(Fault("unknown-cell", place, detail[:300]))
            continue
        told = [*_of_identity(record, expected), *_of_scores(record, expected)]
        told += _of_readings(record, bundle, expected)
        faults += [Fault(name, place, detail) for name, detail in told]
    return faults


def _of_manifest(bundle: Bundle, standard: Standard) -> Iterator[Fault]:
    manifest, place = bundle.manifest, "manifest.json"
    if manifest.suite != standard.suite:
        detail = f"it is of suite {manifest.suite!r}, and not of {standard.suite!r}"
        yield Fault("other-suite", place, detail)
    elif manifest.suite_sha256 != standard.suite_sha256:
        detail = f"its suite {manifest.suite!r} has another file than the one here"
        yield Fault("other-suite", place, detail)
    if manifest.explainer.casefold() in {one.casefold() for one in standard.built_in}:
        detail = f"the package has an explainer {manifest.explainer!r} of its own"
        yield Fault("name-taken", place, detail)
    if _looks(manifest.title) in {_looks(one) for one in standard.built_in}:
        detail = f"the package has a method of its own that is called like {manifest.title!r}"
        yield Fault("title-taken", place, detail)
    identity = bundle.records[0].identity.explainer if bundle.records else None
    for other in standard.others:
        same = identity is not None and other.identity.explainer == identity
        if same and other.submitter == manifest.submitter:
            continue
        if other.names.explainer.casefold() == manifest.explainer.casefold():
            detail = f"{other.submitter!r} has a method {other.names.explainer!r} on the board"
            yield Fault("name-taken", place, detail)
            return
        if _looks(other.method.title) == _looks(manifest.title):
            detail = f"{other.submitter!r} has a method {other.method.title!r} on the board"
            yield Fault("title-taken", place, detail)
            return


def _of_whole(bundle: Bundle, standard: Standard) -> Iterator[Fault]:
    there = {place_of(one) for one in bundle.records}
    for cell in sorted(standard.cells.keys() - there):
        detail = "there is no faultless record of this cell"
        yield Fault("cell-missing", f"records: {' × '.join(cell)}", detail)
    methods = {
        canonical_json([one.method.model_dump(), one.identity.explainer.model_dump(mode="json")])
        for one in bundle.records
    }
    if len(methods) > 1:
        yield Fault("explainer-differs", "records", "they are not all of one method as it is told")


def _of_record(record: PublishedRecord, bundle: Bundle) -> Iterator[tuple[str, str]]:
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


def _of_identity(record: PublishedRecord, expected: Expectation) -> Iterator[tuple[str, str]]:
    identity = record.identity
    if identity.cohort_fingerprint != expected.cohort_fingerprint:
        yield "cohort-differs", f"its cohort is {identity.cohort_fingerprint[:12]}"
    if identity.weights_sha256 != expected.weights_sha256:
        yield "weights-differ", f"its model's weights are {identity.weights_sha256[:12]}"
    here, there = identity.protocol, expected.protocol
    if canonical_json(here.model_dump(mode="json")) != canonical_json(
        there.model_dump(mode="json")
    ):
        what = "settings" if here.version == there.version else f"version {here.version[:20]!r}"
        yield "protocol-differs", f"{what} of {here.name!r} are not the suite's"
    if identity.seed != expected.seed:
        yield "seed-differs", f"its seed is {identity.seed}, and the suite's {expected.seed}"
    if record.scale != expected.scale:
        wrong = [
            name
            for name, value in expected.scale.model_dump().items()
            if getattr(record.scale, name) != value
        ]
        yield "scale-differs", f"{', '.join(wrong)} are not the protocol's"


def _of_scores(record: PublishedRecord, expected: Expectation) -> Iterator[tuple[str, str]]:
    if not record.scores:
        return
    rows = {key: (subject, group) for key, subject, group, *_ in record.scores}
    yield from _of_people(rows, expected.people)
    if expected.scored is not None:
        if left_out := sorted(expected.scored - rows.keys()):
            detail = f"it leaves out {len(left_out)} that every method is scored on: {left_out[0]}"
            yield "subject-missing", detail
        added = sorted(rows.keys() - expected.scored)
        if added and not rows.keys() - expected.people.keys():
            yield "unknown-subject", f"{len(added)} are not scored here, such as {added[0]}"


def _of_people(rows: Mapping[str, tuple[str, int]], people: People) -> Iterator[tuple[str, str]]:
    if strangers := sorted(rows.keys() - people.keys()):
        yield "unknown-subject", f"{len(strangers)} are not of the cohort, such as {strangers[0]}"
    renamed = [key for key, told in rows.items() if key in people and people[key] != told]
    if renamed:
        detail = f"{len(renamed)} have another subject or group than the cohort's, such as "
        yield "renamed-subject", detail + renamed[0]


def _of_readings(
    record: PublishedRecord, bundle: Bundle, expected: Expectation
) -> Iterator[tuple[str, str]]:
    if record.readings is None:
        if record.state == "scored":
            yield "sidecar-missing", "a scored record needs its readings"
        return
    try:
        readings = read_readings(bundle.records_folder, record)
    except FaultError as error:
        yield error.fault.name, error.fault.detail
        return
    strange = list(_of_samples(record, readings, expected.people))
    yield from strange
    if strange or expected.judge is None:
        return
    try:
        judged = expected.judge(readings)
    except Exception as error:  # a protocol may stumble in any way over readings that are not its
        yield "verdict-differs", f"its readings cannot be judged: {type(error).__name__}"
        return
    if judged != (record.state, record.verdict):
        told_here = f"{record.state}, {record.verdict or 'no verdict'}"
        found = f"{judged[0]}, {judged[1] or 'no verdict'}"
        yield "verdict-differs", f"it says {told_here}, but its readings say {found}"


def _of_samples(
    record: PublishedRecord, readings: Sequence[Reading], people: People
) -> Iterator[tuple[str, str]]:
    """Hold a sidecar's images to the cohort; a protocol may plant groups, and name parts anew."""
    subjects = {subject for subject, _ in people.values()}
    for sample in dict.fromkeys(one.sample for one in readings):
        if strangers := sorted(set(sample.subjects) - subjects):
            detail = f"{len(strangers)} in its sidecar are not of the cohort: {strangers[0][:40]}"
            yield "unknown-subject", detail
        pairs = zip(sample.keys, sample.subjects, strict=True)
        renamed = [key for key, subject in pairs if people.get(key, (subject, 0))[0] != subject]
        if renamed:
            detail = f"{len(renamed)} in its sidecar have another subject than the cohort's: "
            yield "renamed-subject", detail + renamed[0][:40]
    score = find(readings, record.scale.statistic)
    if score is not None and record.scores:
        told = zip(score.sample.keys, score.sample.subjects, score.sample.groups, strict=True)
        if set(told) != {row[:3] for row in record.scores}:
            yield "scores-differ", "subjects or groups of the sidecar's score are not the record's"


def _looks(title: str) -> str:
    """Return what is left of a title when nobody looks closely."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return "".join(one for one in folded if one.isalnum())
