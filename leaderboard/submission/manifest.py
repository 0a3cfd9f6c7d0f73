"""The manifest of a submission: what it says of itself, and the hash of every other file."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, StringConstraints, ValidationError

from benchmark.records.identity import Sha256, StrictModel, canonical_json
from leaderboard.published.fault import FaultError
from leaderboard.published.fields import Name, Text, schema_fault
from leaderboard.published.strict_json import parse

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
MOST_MANIFEST = 2**20

PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
# Windows opens a device under these names, whatever ending they have.
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?", re.IGNORECASE)


def _plain_title(text: str) -> str:
    if not text.strip() or text != text.strip():
        raise ValueError("it must not be empty, nor begin or end with a space")
    if text != unicodedata.normalize("NFC", text):
        raise ValueError("it must be in Unicode's normal form NFC")
    return text


def is_device(name: str) -> bool:
    """Return whether Windows cannot hold a file or folder of this name."""
    return _DEVICE.fullmatch(name) is not None or name.endswith(".")


def _no_device(name: str) -> str:
    if is_device(name):
        raise ValueError(f"reserved-name|Windows can hold no file {name!r}")
    return name


def _one_kind_of_space(text: str) -> str:
    for character in text:
        if character.isspace() and character != " ":
            raise ValueError(f"hidden-character|it holds the space U+{ord(character):04X}")
    return text


def _python_file(name: str) -> str:
    if PART.fullmatch(name) is None or not name.endswith(".py"):
        raise ValueError("a plugin is one .py file of up to 128 of A-Z, a-z, 0-9 and _.+-")
    return name


_TITLE_LENGTH = StringConstraints(min_length=1, max_length=80)
_ONE_SPACE = AfterValidator(_one_kind_of_space)
Title = Annotated[Text, _TITLE_LENGTH, _ONE_SPACE, AfterValidator(_plain_title)]
ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class Manifest(StrictModel):
    """Manifest of a submission.

    Attributes:
        title: Title of the method on the board.
        explainer: Name of the method in records.
        class_name: Name of its class.
        source: Name of its file.
        submitter: Name of whoever measured it.
        files: SHA-256 of every other file, by path with ``/`` between folders.
    """

    kind: Literal["medsanity submission"] = "medsanity submission"
    schema_version: Literal[1] = 1
    suite: Name
    suite_sha256: Sha256
    title: Title
    explainer: Annotated[Name, AfterValidator(_no_device)]
    class_name: ClassName
    source: Annotated[str, AfterValidator(_python_file), AfterValidator(_no_device)]
    source_sha256: Sha256
    submitter: Title
    files: dict[str, Sha256]

    @classmethod
    def of(cls, **fields: Any) -> Manifest:  # noqa: ANN401 - the model's own fields
        """Return a manifest.

        Raises:
            FaultError: Named by what is wrong with a field.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise schema_fault(error, MANIFEST) from error

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Read a manifest, and refuse every byte that ``to_json`` would not have written.

        Raises:
            FaultError: Named by what is wrong.
        """
        value = parse(content, MANIFEST, MOST_MANIFEST)
        if isinstance(value, dict) and value.get("schema_version", 1) != SCHEMA_VERSION:
            detail = f"it has schema version {value['schema_version']!r}; known: {SCHEMA_VERSION}"
            raise FaultError("unknown-schema", MANIFEST, detail[:200])
        try:
            manifest = cls.model_validate_json(canonical_json(value))
        except ValidationError as error:
            raise schema_fault(error, MANIFEST) from error
        for path in manifest.files:
            _check_path(path)
        folded = [path.casefold() for path in manifest.files]
        if len(set(folded)) < len(folded):
            raise FaultError("odd-path", MANIFEST, "two files differ only in upper and lower case")
        if manifest.to_json().encode() != content:
            raise FaultError("not-canonical", MANIFEST, "it is not written as manifests are")
        return manifest

    def to_json(self) -> str:
        """Return the only valid text of this manifest."""
        fields = self.model_dump(mode="json")
        fields["files"] = dict(sorted(fields["files"].items()))
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"


def _check_path(path: str) -> None:
    """Refuse a path in a manifest that could lead out of the bundle, or mean two things."""
    parts = path.split("/")
    leads_out = path.startswith("/") or "\\" in path or ":" in path or "\0" in path
    if leads_out or any(part in ("", ".", "..") for part in parts):
        raise FaultError("path-traversal", MANIFEST, f"the path {path[:80]!r} may lead elsewhere")
    if any(PART.fullmatch(part) is None for part in parts):
        raise FaultError("odd-path", MANIFEST, f"the path {path[:80]!r} is not plainly written")
    if any(map(is_device, parts)):
        raise FaultError("reserved-name", MANIFEST, f"Windows can hold no file {path[:80]!r}")
