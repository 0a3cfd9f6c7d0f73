"""The published form of a record: one cell of a board, readable and sealed.

The JSON holds what the board is made of, with the score of every subject on a line of its own, so
that a change can be reviewed. All other readings of the protocol are in a sidecar, whose hash the
record holds. Aggregates are in neither file: they are computed wherever they are shown.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    FailFast,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmark.arrays import FloatArray
from benchmark.reading import SCORED, Reading, Sample, State, find
from benchmark.records.identity import Identity, Names, Sha256, canonical_json
from benchmark.records.provenance import Provenance
from benchmark.records.record import Resources, SealedModel, VerdictWord
from benchmark.records.storage.finished import FinishedCell
from leaderboard.published import fields as kinds
from leaderboard.published.fault import FaultError
from leaderboard.published.fields import (
    Method,
    Name,
    Number,
    Pseudonym,
    Scale,
    SidecarSeal,
    Text,
    Tier,
)
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.sidecar import pack
from leaderboard.published.strict_json import parse

SCHEMA_VERSION = 1
MOST_BYTES = 2**19

# Key, subject, group, value, and the denominator where the score is a ratio.
Row = tuple[Pseudonym, Pseudonym, Literal[0, 1], Number | None, Number | None]
# Fields that a record of an older version lacks.
_OPTIONAL = ("joins", "by_group", "faults")


class PublishedRecord(SealedModel):
    """One cell of a board.

    Attributes:
        schema_version: Version of this format.
        identity: Everything that the score depends on.
        identity_sha256: Hash of the identity.
        names: Names of cohort, model, explainer and protocol.
        method: Description of the explainer.
        scale: Scale of the score.
        submitter: Name of whoever measured it.
        tier: Kind of confirmation: none but the submitter's word, a run that reproduced it, or that
            and a person who read the source.
        state: State in which the cell ended.
        reason: Reason why it did not pass.
        verdict: Judgement of the protocol.
        scores: Rows, one per image, by key: key, subject, group, value, denominator.
        readings: Seal of the sidecar, where there are readings and they are published.
        provenance: Machine and software that measured it.
        resources: Cost of the measurement.
        created: Time of the measurement, UTC in ISO 8601.
        checksum: SHA-256 of the canonical JSON of all the rest.
        joins: Cohort in whose section of the board the score stands, if it is not its own.
        by_group: Score in group A and in group B, where the protocol reads it in each.
        faults: What the protocol found on this model that makes its scores prove nothing.
    """

    schema_version: Literal[1] = 1
    identity: Identity
    identity_sha256: Sha256
    names: Names
    method: Method
    scale: Scale
    submitter: Text
    tier: Tier
    state: State
    reason: Text | None
    verdict: VerdictWord | None
    # One wrong row is enough: a hundred thousand messages about them would fill the memory.
    scores: Annotated[tuple[Row, ...], FailFast()]
    readings: SidecarSeal | None
    provenance: Provenance
    resources: Resources
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    checksum: Sha256
    joins: Name | None = None
    by_group: tuple[Number, Number] | None = None
    faults: tuple[Text, ...] = ()

    @model_serializer(mode="wrap")
    def _leave_out_untold(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialise(self)
        untold = [name for name in _OPTIONAL if not fields.get(name)]
        return {name: value for name, value in fields.items() if name not in untold}

    @classmethod
    def seal(cls, **fields: Any) -> PublishedRecord:  # noqa: ANN401 - the model's own fields
        """Return a record with identity hash and checksum filled in."""
        fields["identity_sha256"] = fields["identity"].sha256
        return cls(**fields, checksum=cls.model_construct(**fields).compute_checksum())

    @classmethod
    def from_json(cls, content: bytes, location: str) -> PublishedRecord:
        """Read a record, and refuse every byte that ``to_json`` would not have written.

        Raises:
            FaultError: Named by what is wrong.
        """
        value = parse(content, location, MOST_BYTES)
        if isinstance(value, dict) and value.get("schema_version") != SCHEMA_VERSION:
            version = repr(value.get("schema_version"))[:100]
            detail = f"it has schema version {version}; known: {SCHEMA_VERSION}"
            raise FaultError("unknown-schema", location, detail)
        try:
            record = cls.model_validate_json(canonical_json(value))
        except ValidationError as error:
            raise kinds.schema_fault(error, location) from error
        if record.to_json().encode() != content:
            detail = "it is not written as records are; nothing but the layout differs"
            raise FaultError("not-canonical", location, detail)
        return record

    def to_json(self) -> str:
        """Return the only valid text of this record: a line per field, and per subject."""
        fields = self.model_dump(mode="json")
        rows = ",\n".join(f"  {canonical_json(row)}" for row in fields["scores"])
        texts = {name: canonical_json(value) for name, value in fields.items()}
        texts["scores"] = f"[\n{rows}\n ]" if rows else "[]"
        lines = [f" {json.dumps(name)}: {text}" for name, text in texts.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @property
    def path(self) -> str:
        """Path in a folder of records, with ``/`` between folders."""
        names = self.names
        return f"{names.cohort}/{names.model}/{names.explainer}/{names.protocol}.json"

    @property
    def score(self) -> Reading | None:
        """Score of each image, or None where there is no score."""
        if not self.scores:
            return None
        keys, subjects, groups, values, denominators = zip(*self.scores, strict=True)
        ratio = self.scale.aggregate == "ratio"
        return Reading(
            self.scale.statistic,
            Sample(keys, subjects, groups),
            _array(values),
            denominators=_array(denominators) if ratio else None,
        )

    @model_validator(mode="after")
    def _check_consistency(self) -> PublishedRecord:
        if self.identity_sha256 != self.identity.sha256:
            raise ValueError("identity-mismatch|identity_sha256 is not that of the identity")
        for part in ("cohort", "model", "explainer", "protocol"):
            name = getattr(self.names, part)
            if kinds.NAME_PATTERN.fullmatch(name) is None or name in (".", ".."):
                raise ValueError(f"odd-name|the {part} is called {name[:80]!r}")
        for part in ("explainer", "protocol"):
            if getattr(self.names, part) != getattr(self.identity, part).name:
                raise ValueError(f"name-mismatch|names and identity differ on the {part}")
        keys = [row[0] for row in self.scores]
        if keys != sorted(set(keys)):
            raise ValueError("subject-order|scores are not sorted by key, each key once")
        self._check_state()
        if self.checksum != self.compute_checksum():
            raise ValueError("checksum-mismatch|the checksum does not match the content")
        return self

    def _check_state(self) -> None:
        if self.state == SCORED and not self.scores:
            raise ValueError("state-mismatch|a scored record needs scores")
        if self.state != SCORED and (self.scores or self.verdict is not None):
            raise ValueError(f"state-mismatch|a record that is {self.state} has a score or verdict")
        if self.state != SCORED and not self.reason:
            raise ValueError(f"state-mismatch|a record that is {self.state} needs a reason")
        ratio = self.scale.aggregate == "ratio"
        for key, _, _, value, denominator in self.scores:
            if (value is None) != (denominator is None) if ratio else denominator is not None:
                raise ValueError(f"state-mismatch|the denominator of {key} does not fit")


def publish(
    record: FinishedCell,
    method: Method,
    scale: Scale,
    pseudonyms: Pseudonyms,
    submitter: str,
    tier: Tier = "self-reported",
    joins: str | None = None,
    faults: Sequence[str] = (),
) -> tuple[PublishedRecord, bytes | None]:
    """Return the published record of a finished cell, and its sidecar.

    Args:
        record: Finished cell of a store.
        method: Description of its explainer.
        scale: Scale of its protocol.
        pseudonyms: Names that replace the subjects' ids.
        submitter: Name of whoever measured it.
        tier: Kind of confirmation, as in the record.
        joins: Cohort in whose section of the board it stands; None for its own.
        faults: Observations of its protocol that make scores on this model prove nothing.

    Raises:
        FaultError: ``failed-cell``, or ``sidecar-malformed`` where a value is beyond float32.
    """
    if record.state == "failed":
        raise FaultError("failed-cell", record.names.protocol, record.reason or "it failed")
    readings = [_with_pseudonyms(reading, pseudonyms) for reading in record.to_readings()]
    sidecar = pack(readings) if readings else None
    score = find(readings, scale.statistic) if record.state == SCORED else None
    sealed = PublishedRecord.seal(
        identity=record.identity,
        names=record.names,
        method=method,
        scale=scale,
        submitter=submitter,
        tier=tier,
        state=record.state,
        reason=record.reason,
        verdict=record.verdict,
        scores=() if score is None else rows_of(score),
        readings=None if sidecar is None else seal_of(sidecar),
        provenance=record.provenance,
        resources=record.resources,
        created=record.created,
        joins=joins,
        by_group=None if score is None else group_means(readings, scale.statistic),
        faults=tuple(faults),
    )
    return sealed, sidecar


def rows_of(score: Reading) -> tuple[Row, ...]:
    """Return the rows of a score in the order of keys, with six significant digits."""
    sample, values, denominators = score.sample, score.values, np.full(len(score.values), np.nan)
    if score.denominators is not None:
        missing = np.isnan(values) | np.isnan(score.denominators)
        values = np.where(missing, np.nan, values)
        denominators = np.where(missing, np.nan, score.denominators)
    numbers = map(_plain, values), map(_plain, denominators)
    rows = zip(sample.keys, sample.subjects, sample.groups, *numbers, strict=True)
    return tuple(sorted(rows))  # type: ignore[arg-type] # groups are 0 and 1


def group_means(readings: Sequence[Reading], statistic: str) -> tuple[float, float] | None:
    """Return the mean of the score's readings under the condition of a group, A before B."""
    means: dict[int, float] = {}
    for reading in readings:
        if reading.statistic == statistic and set(reading.conditions) == {"group"}:
            known = np.isfinite(reading.values)
            groups = set(np.asarray(reading.sample.groups)[known].tolist())
            if len(groups) == 1:
                means[groups.pop()] = float(f"{reading.values[known].mean():.6g}")
    return (means[0], means[1]) if len(means) == 2 else None


def seal_of(sidecar: bytes) -> SidecarSeal:
    """Return the seal of a sidecar."""
    return SidecarSeal(sha256=hashlib.sha256(sidecar).hexdigest(), bytes=len(sidecar))


def _with_pseudonyms(reading: Reading, pseudonyms: Pseudonyms) -> Reading:
    sample = pseudonyms.sample(reading.sample)
    names = dict(zip(reading.sample.keys, sample.keys, strict=True))
    reasons = {names[key]: reason for key, reason in reading.reasons.items() if key in names}
    return replace(reading, sample=sample, reasons=reasons)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.6g}")


def _array(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
