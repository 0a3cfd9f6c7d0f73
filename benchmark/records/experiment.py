"""The card of an experiment, a strict JSON file: what was trained, on what, how, and how well.

A card is replaced as a whole while its training goes on. Its checksum covers everything else in it,
so a number that was typed by hand is refused when the card is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal, cast

from pydantic import Field, StringConstraints, ValidationError

from benchmark.cohort import SPLITS, Cohort
from benchmark.errors import InputError, StoreError
from benchmark.records.identity import (
    Count,
    Sha256,
    StrictModel,
    canonical_json,
    first_fault,
    sha256_of,
)
from benchmark.records.processes import ProcessEntry
from benchmark.records.provenance import Provenance
from benchmark.records.strict_json import parse_strictly
from benchmark.training.findings import Metric, Validation
from benchmark.training.regimes import Epoch, RegimeRecipe

CARD = "card.json"
ID_PATTERN = r"EXP-\d{3,}"

Status = Literal["running", "interrupted", "finished", "stopped early", "failed"]
CrossValidated = Literal["probe", "full"]
ENDED: tuple[Status, ...] = ("finished", "stopped early")


class ModelEntry(StrictModel):
    """The network that an experiment trains.

    Attributes:
        spec: Name or path by which it was given.
        name: Name of the model.
        architecture: Architecture by name, or as far as it is known the class of the trunk.
        head: Head in words.
        encoder_sha256: Hash of the weights and the architecture of trunk and pool before training.
        weights_sha256: Hash of all parameters and buffers after training; null until then.
        trained: Names of the stages that were trained.
        frozen: Names of the stages that were not.
    """

    spec: str
    name: str
    architecture: str
    head: str
    encoder_sha256: Sha256
    weights_sha256: Sha256 | None = None
    trained: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()


class SplitCounts(StrictModel):
    """Size of a split, for the reference group and the cases."""

    split: str
    images: tuple[Count, Count]
    subjects: tuple[Count, Count]


class CohortEntry(StrictModel):
    """The cohort that an experiment trains on.

    Attributes:
        spec: Name or path by which it was given.
        name: Name of the cohort.
        fingerprint: Hash of images, masks and participants.
        groups: Names of the reference group and of the cases.
        splits: Size of each split.
    """

    spec: str
    name: str
    fingerprint: Sha256
    groups: tuple[str, str]
    splits: tuple[SplitCounts, ...]

    @classmethod
    def of(cls, spec: str, cohort: Cohort) -> CohortEntry:
        """Return the entry of a cohort."""
        people = cohort.participants.assign(group=cohort.groups)
        counts = []
        for split in SPLITS:
            members = [people[(people["split"] == split) & (people["group"] == g)] for g in (0, 1)]
            images = len(members[0]), len(members[1])
            subjects = members[0]["subject"].nunique(), members[1]["subject"].nunique()
            counts.append(SplitCounts(split=split, images=images, subjects=subjects))
        return cls(
            spec=spec,
            name=cohort.name,
            fingerprint=cohort.fingerprint,
            groups=cohort.group_names,
            splits=tuple(counts),
        )


class CourseEntry(StrictModel):
    """The course of a training.

    Attributes:
        epochs: Epochs in order.
        best: Number of the epoch whose weights were kept; null while it is not decided.
        remarks: Sentences of the trainer.
    """

    epochs: tuple[Epoch, ...]
    best: Count | None
    remarks: tuple[str, ...] = ()


class ExperimentCard(StrictModel):
    """A training with everything that a reader needs to judge it and to repeat it.

    Attributes:
        id: Number of the experiment, the name of its folder.
        identity: SHA-256 of recipe, refit, cohort and encoder; trainings of one identity give the
            same weights on one machine.
        status: State of the training.
        reason: Reason why it failed or was interrupted.
        created: Start of the experiment, UTC in ISO 8601.
        process: Process that trains, while it does.
        cross_validated: Part that is trained anew in each fold of the cross-validation.
        course: Course of the training; null until it has ended.
        validation: Findings of the validation; null until it has ended.
        warnings: Sentences that a reader must see.
        seconds: Wall time of training and validation, over all attempts.
        peak_memory_bytes: Largest resident size of the process, or null where unknown.
        command: Command that trains it again.
        files: SHA-256 of the files beside the card, by path in the experiment's folder.
        checksum: SHA-256 of the canonical JSON of all the rest.
    """

    schema_version: Literal[1] = 1
    kind: Literal["medsanity experiment"] = "medsanity experiment"
    id: Annotated[str, StringConstraints(pattern=rf"^{ID_PATTERN}$")]
    identity: Sha256
    status: Status
    reason: str | None = None
    created: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    process: ProcessEntry | None
    model: ModelEntry
    cohort: CohortEntry
    recipe: RegimeRecipe
    cross_validated: CrossValidated
    course: CourseEntry | None = None
    validation: Validation | None = None
    warnings: tuple[str, ...] = ()
    seconds: Annotated[float, Field(ge=0)] = 0.0
    peak_memory_bytes: Count | None = None
    provenance: Provenance
    command: str
    files: dict[str, Sha256] = Field(default_factory=dict)
    checksum: Sha256 | None = None

    @classmethod
    def from_json(cls, text: str, source: str = "the card") -> ExperimentCard:
        """Read a card, and refuse anything that ``to_json`` would not have written.

        Raises:
            StoreError: If it is torn, foreign, or was altered after it was written.
        """
        try:
            content = parse_strictly(text)
            card = cls.model_validate_json(text)
        except ValidationError as error:
            key, message = first_fault(error)
            raise StoreError(
                f"{source} is damaged or foreign, at {key or 'the whole'!r}: {message}."
            ) from error
        except InputError as error:  # of a recipe that no training can follow
            raise StoreError(f"{source} is damaged or foreign: {error}") from error
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{source} is damaged or foreign: {error}.") from error
        # Of the text and not of the fields: a field that a later version adds is in no older card.
        if card.checksum != _checksum(cast("dict[str, Any]", content)):
            raise StoreError(f"{source} was altered after it was written; its checksum differs.")
        return card

    def to_json(self) -> str:
        """Return the card as JSON with its checksum, and with a line end."""
        content = self.model_dump(mode="json", exclude={"checksum"})
        return canonical_json({**content, "checksum": _checksum(content)}) + "\n"

    def updated(self, changes: Mapping[str, object]) -> ExperimentCard:
        """Return a copy with other values in some fields, numbers that do not exist left out.

        Raises:
            StoreError: If a value is not what the field holds.
        """
        fresh = {name: without_missing(value) for name, value in changes.items()}
        return ExperimentCard.from_json(self.model_copy(update=fresh).to_json())

    @property
    def present_status(self) -> Status:
        """The status; a training whose process is gone is interrupted."""
        gone = self.status == "running" and self.process is not None and self.process.is_gone
        return "interrupted" if gone else self.status

    def metric(self, split: str, name: str) -> Metric | None:
        """Return a metric on a split, or None where it was not measured."""
        findings = self.validation.splits if self.validation else ()
        metrics = [metric for part in findings if part.split == split for metric in part.metrics]
        return next((metric for metric in metrics if metric.name == name), None)


def experiment_identity(recipe: RegimeRecipe, fingerprint: str, encoder_sha256: str) -> str:
    """Return the SHA-256 of what decides the weights of an experiment."""
    settings = {item.name: getattr(recipe, item.name) for item in fields(recipe)}
    settings["epochs"] = recipe.most_epochs  # the default and the same number said aloud are one
    return sha256_of({"recipe": settings, "cohort": fingerprint, "encoder": encoder_sha256})


def without_missing(value: Any) -> Any:  # noqa: ANN401 # any part of a card
    """Return a value of a card in which no number is NaN or infinite.

    A number of its own becomes None; from a sequence of numbers, such as the draws of a learning
    curve, those without a value are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        parts = {part.name: without_missing(getattr(value, part.name)) for part in fields(value)}
        return replace(value, **parts)
    if isinstance(value, Mapping):
        return {key: without_missing(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        kept = [part for part in value if not _is_missing(part)]
        return type(value)(map(without_missing, kept))  # type: ignore[call-arg]
    return None if _is_missing(value) else value


def _is_missing(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _checksum(content: Mapping[str, Any]) -> str:
    return sha256_of({name: value for name, value in content.items() if name != "checksum"})
