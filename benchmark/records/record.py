"""The record of a finished cell, a strict JSON file: what was measured, on what, and how.

A record is sealed: its checksum covers everything else in it, and it is stored under the hash of
its identity. Reading refuses what writing would not have written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmark.arrays import FloatArray
from benchmark.errors import StoreError
from benchmark.plain_text import one_line
from benchmark.reading import FAILED, SCORED, Condition, Reading, Sample, State
from benchmark.records.identity import (
    Count,
    Identity,
    Names,
    Sha256,
    StrictModel,
    canonical_json,
    first_fault,
    sha256_of,
)
from benchmark.records.provenance import Provenance, utc_now
from benchmark.records.strict_json import parse_strictly

SCHEMA_VERSION = 1

VerdictWord = Literal["pass", "fail"]


class VersionError(StoreError):
    """A record was written by another version of medsanity, which alone can read it."""


class SealedModel(StrictModel):
    """Base of records, whose checksum covers all of their other fields."""

    def compute_checksum(self) -> str:
        """Return the SHA-256 of the canonical JSON of all fields but the checksum."""
        return sha256_of(self.model_dump(mode="json", exclude={"checksum"}))

    def resealed(self, update: Mapping[str, object]) -> Self:
        """Return a copy with other values in some fields, and the checksum of these."""
        draft = self.model_copy(update=update)
        return draft.model_copy(update={"checksum": draft.compute_checksum()})


class SampleEntry(StrictModel):
    """Images that readings are about; several readings share one sample."""

    keys: tuple[str, ...]
    subjects: tuple[str, ...]
    groups: tuple[Literal[0, 1], ...]


class ReadingEntry(StrictModel):
    """A reading; null stands for no value, and ``reasons`` says why, by key.

    Only a reading of a ratio has ``denominators``.
    """

    statistic: str
    sample: Count
    conditions: dict[str, Condition]
    values: tuple[float | None, ...]
    reasons: dict[str, str]
    denominators: tuple[float | None, ...] | None = None

    @model_serializer(mode="wrap")
    def _drop_missing_denominators(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = dump(self)
        if fields["denominators"] is None:
            del fields["denominators"]
        return fields


class Resources(StrictModel):
    """Cost of a cell; what cells share is charged to the first that needs it.

    Attributes:
        seconds: Wall time.
        forward: Number of forward passes, each of one image.
        backward: Number of backward passes, each of one image.
        peak_memory_bytes: Largest resident size of the process so far, or null where unknown.
    """

    seconds: Annotated[float, Field(ge=0)]
    forward: Count
    backward: Count
    peak_memory_bytes: Count | None


@dataclass(frozen=True)
class Outcome:
    """Result of a cell; the reason is always given unless the cell passed."""

    state: State
    reason: str | None = None
    verdict: VerdictWord | None = None
    readings: Sequence[Reading] = ()


class Record(SealedModel):
    """A finished cell.

    Attributes:
        reason: Reason why it did not pass.
        verdict: ``pass`` or ``fail`` where it was scored and the protocol passes judgement.
        samples: Images that readings refer to by position.
        created: Time of the measurement, UTC in ISO 8601.
        checksum: SHA-256 of the canonical JSON of all the rest.
    """

    schema_version: Literal[1] = 1
    identity: Identity
    identity_sha256: Sha256
    names: Names
    state: State
    reason: str | None
    verdict: VerdictWord | None
    samples: tuple[SampleEntry, ...]
    readings: tuple[ReadingEntry, ...]
    provenance: Provenance
    resources: Resources
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    checksum: Sha256

    @classmethod
    def seal(
        cls,
        identity: Identity,
        names: Names,
        outcome: Outcome,
        provenance: Provenance,
        resources: Resources,
    ) -> Record:
        """Return the record of a cell that has just ended."""
        positions: dict[Sample, int] = {}
        readings = [
            _to_entry(reading, positions.setdefault(reading.sample, len(positions)))
            for reading in outcome.readings
        ]
        draft = cls.model_construct(
            identity=identity,
            identity_sha256=identity.sha256,
            names=names,
            state=outcome.state,
            reason=_harmless(outcome.reason),
            verdict=outcome.verdict,
            samples=tuple(SampleEntry.model_validate(vars(sample)) for sample in positions),
            readings=tuple(readings),
            provenance=provenance,
            resources=resources,
            created=utc_now(),
        )
        return cls(**dict(draft), checksum=draft.compute_checksum())

    @classmethod
    def from_json(cls, text: str, source: str = "the record") -> Record:
        """Read a record, and refuse anything that ``to_json`` would not have written.

        Raises:
            VersionError: If it has another schema version, or fields that this one does not know.
            StoreError: If it is not JSON, a key stands twice, a number is NaN or infinite, a field
                is missing, or a checksum does not match.
        """
        try:
            fields = parse_strictly(text)
            version = fields.get("schema_version") if isinstance(fields, dict) else SCHEMA_VERSION
            if isinstance(version, int) and version != SCHEMA_VERSION:
                raise VersionError(
                    f"{source} has schema version {version}, and this version of medsanity reads "
                    f"{SCHEMA_VERSION}; use the version that wrote it, or another store."
                )
            return cls.model_validate_json(text)
        except ValidationError as error:
            key, message = first_fault(error)
            kinds = {fault["type"] for fault in error.errors(include_url=False)}
            if kinds == {"extra_forbidden"}:
                raise VersionError(
                    f"{source} has the field {key[:80]!r}, which this version of medsanity does "
                    "not know; use the version that wrote it, or another store."
                ) from error
            raise StoreError(
                f"{source} is damaged or foreign, at {key or 'the whole'!r}: {message}."
            ) from error
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{source} is damaged or foreign: {error}.") from error

    def to_json(self) -> str:
        """Return the canonical JSON, with a line end."""
        return canonical_json(self.model_dump(mode="json")) + "\n"

    def renamed(self, names: Names) -> Record:
        """Return the same record under other names, since a cohort can go by two."""
        return self if names == self.names else self.resealed({"names": names})

    @property
    def content(self) -> str:
        """Hash of what was measured: identity, state and readings, without time and machine."""
        parts = {"identity", "state", "samples", "readings"}
        return sha256_of(self.model_dump(mode="json", include=parts))

    @property
    def has_readings(self) -> bool:
        """Whether anything was measured."""
        return bool(self.readings)

    def to_readings(self) -> list[Reading]:
        """Return the readings; those of the same images share their sample."""
        samples = [Sample(sample.keys, sample.subjects, sample.groups) for sample in self.samples]
        return [
            Reading(
                statistic=entry.statistic,
                sample=samples[entry.sample],
                values=_from_plain(entry.values),
                conditions=entry.conditions,
                reasons=entry.reasons,
                denominators=None
                if entry.denominators is None
                else _from_plain(entry.denominators),
            )
            for entry in self.readings
        ]

    @model_validator(mode="after")
    def _check_consistency(self) -> Record:
        if self.identity_sha256 != self.identity.sha256:
            raise ValueError("identity_sha256 is not that of the identity")
        for sample in self.samples:
            if not len(sample.keys) == len(sample.subjects) == len(sample.groups):
                raise ValueError("keys, subjects and groups of a sample differ in number")
        for reading in self.readings:
            if reading.sample >= len(self.samples):
                raise ValueError(f"a reading refers to sample {reading.sample}, which is missing")
            width = len(reading.values if reading.denominators is None else reading.denominators)
            if not width == len(reading.values) == len(self.samples[reading.sample].keys):
                raise ValueError(f"a reading of {reading.statistic!r} does not fit its sample")
        if self.verdict is not None and self.state != SCORED:
            raise ValueError("only a scored record has a verdict")
        if self.state == FAILED and not self.reason:
            raise ValueError("a failed record needs a reason")
        if self.checksum != self.compute_checksum():
            raise ValueError("the checksum does not match the content")
        return self


def largest_difference(first: Record, second: Record) -> float:
    """Return the largest difference of any value; infinite where the records differ in form."""
    if first.content == second.content:
        return 0.0
    (form, numbers), (other_form, other_numbers) = map(_form_and_numbers, (first, second))
    if form != other_form:
        return math.inf
    differences = (abs(old - new) for old, new in zip(numbers, other_numbers, strict=True))
    return max(differences, default=0.0)


def _form_and_numbers(record: Record) -> tuple[object, list[float]]:
    """Return the content of a record without its numbers, and the numbers."""
    no_numbers = {"values": (), "denominators": None}
    entries = [entry.model_copy(update=no_numbers) for entry in record.readings]
    columns = [
        column or () for entry in record.readings for column in (entry.values, entry.denominators)
    ]
    missing = [[value is None for value in column] for column in columns]
    numbers = [value for column in columns for value in column if value is not None]
    return (record.identity, record.state, record.samples, entries, missing), numbers


def _to_entry(reading: Reading, sample: int) -> ReadingEntry:
    """Return a reading of that sample; an infinite value becomes none, with a reason."""
    infinite = np.flatnonzero(np.isinf(reading.values))
    reasons = {key: _harmless(reason) for key, reason in reading.reasons.items()}
    reasons |= {reading.sample.keys[row]: "infinite value" for row in infinite}
    below = reading.denominators
    return ReadingEntry(
        statistic=reading.statistic,
        sample=sample,
        conditions=dict(sorted(reading.conditions.items())),
        values=_to_plain(reading.values),
        reasons=reasons,
        denominators=None if below is None else _to_plain(below),
    )


def _harmless(reason: Any) -> Any:  # noqa: ANN401 # what a plugin gave; the record takes text alone
    """Return a reason as a printable line."""
    return one_line(reason) if isinstance(reason, str) else reason


def _to_plain(values: FloatArray) -> tuple[float | None, ...]:
    return tuple(value if math.isfinite(value) else None for value in np.asarray(values).tolist())


def _from_plain(values: Sequence[float | None]) -> FloatArray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)
