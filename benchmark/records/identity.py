"""The identity of a cell: everything that its score depends on, hashed as canonical JSON."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
)

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN, UTF-8.

    Raises:
        ValueError: If it holds NaN or an infinite number.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False
    )


def sha256_of(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class StrictModel(BaseModel):
    """Base of everything that is read from a file; it refuses unknown fields and other types."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Return the key of the first field that a model refuses, dots between levels, and why."""
    fault = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    return key, fault["msg"].removeprefix("Value error, ")


class PluginIdentity(StrictModel):
    """Identity of a plugin: everything of it that a score depends on.

    Attributes:
        name: Name in the catalogue.
        version: Version of its maths.
        config: Settings of the plugin.
        source_sha256: Hash of its file, where it was loaded from a path.
    """

    name: str
    version: str
    config: dict[str, JsonValue]
    source_sha256: Sha256 | None = None


class Identity(StrictModel):
    """Everything that a score depends on; cells of the same identity have the same score.

    Attributes:
        suite: Version of the suite.
        cohort_fingerprint: Hash of images, masks and participants.
        weights_sha256: Hash of the model's parameters and buffers.
        architecture_sha256: Hash of the model's layers and code; None for a network that is frozen
            with a suite, which its weights name, and in records of older versions.
        explainer: Identity of the explainer.
        protocol: Identity of the protocol.
        seed: Seed of the suite.
    """

    suite: str
    cohort_fingerprint: Sha256
    weights_sha256: Sha256
    architecture_sha256: Sha256 | None = None
    explainer: PluginIdentity
    protocol: PluginIdentity
    seed: Count

    @model_serializer(mode="wrap")
    def _leave_out_unnamed(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A network that its weights name has the identity that it has always had.
        fields: dict[str, Any] = serialise(self)
        if self.architecture_sha256 is None:
            fields.pop("architecture_sha256", None)
        return fields

    @property
    def network(self) -> tuple[str, str]:
        """Hashes of weights and architecture, which name the network."""
        return self.weights_sha256, self.architecture_sha256 or ""

    @property
    def sha256(self) -> str:
        """Name of the cell in a store."""
        return sha256_of(self.model_dump(mode="json"))


class Names(StrictModel):
    """Names of the parts of a cell in tables."""

    cohort: str
    model: str
    explainer: str
    protocol: str
