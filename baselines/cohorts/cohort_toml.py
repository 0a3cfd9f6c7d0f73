"""Contents of a ``cohort.toml``, of which ``baselines.cohorts.nifti`` shows one."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from benchmark.errors import CohortError


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Intensity(_Table):
    """The intensities that become 0 and 1; what lies beyond is clipped.

    Attributes:
        low: Intensity that becomes 0; given with ``high``.
        high: Intensity that becomes 1; given with ``low``.
        percentiles: Percentiles of each image's own foreground, instead of both.
    """

    low: float | None = None
    high: float | None = None
    percentiles: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _check_window(self) -> Intensity:
        if self.percentiles is None:
            if self.low is None or self.high is None or self.low >= self.high:
                raise ValueError("give low < high, or percentiles = [low, high]")
        elif self.low is not None or self.high is not None:
            raise ValueError("give either low and high, or percentiles")
        elif not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError("percentiles must rise and lie in [0, 100]")
        return self


class Slice(_Table):
    """The slice that is taken of each volume.

    Attributes:
        plane: Plane that the slice lies in.
        mm: Position in world millimetres; the nearest slice is taken.
        index: Index instead of the position, counted from 0 in RAS+ order.
    """

    plane: Literal["axial", "coronal", "sagittal"]
    mm: float | None = None
    index: int | None = None

    @model_validator(mode="after")
    def _check_position(self) -> Slice:
        if (self.mm is None) == (self.index is None):
            raise ValueError("give either mm or index")
        return self


class Foreground(_Table):
    """The files with the masks of the organ, by the pattern of their paths."""

    path: str


class CohortFile(_Table):
    """The whole file; images, regions and control regions are patterns of paths."""

    name: str
    groups: tuple[str, str]
    registered: bool = False
    truth: tuple[str, ...] = ()
    image: str
    intensity: Intensity
    foreground: Foreground
    rois: dict[str, str] = {}
    control_rois: dict[str, str] = {}
    slice: Slice | None = None


def read_cohort_file(toml_path: Path) -> CohortFile:
    """Return the checked contents of a ``cohort.toml``.

    Raises:
        CohortError: If it is missing, is no TOML, or holds what is not understood.
    """
    try:
        content = tomllib.loads(toml_path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CohortError(
            f"The cohort file {toml_path} cannot be read: {error.strerror}."
        ) from error
    except ValueError as error:  # a broken TOML or a broken UTF-8
        raise CohortError(f"The cohort file {toml_path} is no TOML: {error}.") from error
    try:
        return CohortFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            nested = {table.__name__.lower(): table for table in (Intensity, Slice, Foreground)}
            table = nested.get(str(first["loc"][0]), CohortFile)
            problem = f"has the unknown key {key!r}; known: {', '.join(table.model_fields)}"
        elif first["type"] == "missing":
            problem = f"lacks the key {key!r}; it has {', '.join(content) or 'none'}"
        else:
            problem = f"has a wrong {key!r}: {first['msg'].removeprefix('Value error, ')}"
        raise CohortError(f"The cohort file {toml_path} {problem}.") from error


def format_cohort_file(cohort_file: CohortFile) -> str:
    """Return the text of a ``cohort.toml``."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in cohort_file.model_dump(exclude_none=True).items():
        if isinstance(value, dict) and key != "intensity":
            tables += ["", f"[{key}]"]
            tables += [f"{_key(name)} = {_toml(item)}" for name, item in value.items()]
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        items = ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items())
        return f"{{ {items} }}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # JSON's strings, numbers and booleans are TOML's, as long as no character is split in two.
    return json.dumps(value, ensure_ascii=False)
