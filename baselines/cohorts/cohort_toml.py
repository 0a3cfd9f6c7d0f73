"""Contents of a ``cohort.toml``, of which ``baselines.cohorts.nifti`` shows one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from benchmark.errors import CohortError
from benchmark.records.toml_file import describe_fault, format_toml, read_toml


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
    content = read_toml(toml_path, "cohort file", CohortError)
    try:
        return CohortFile.model_validate(content)
    except ValidationError as error:
        fault = describe_fault(error, content, CohortFile)
        raise CohortError(f"The cohort file {toml_path} {fault}.") from error


def format_cohort_file(cohort_file: CohortFile) -> str:
    """Return the text of a ``cohort.toml``."""
    content = cohort_file.model_dump(exclude_none=True)
    tables = {
        key: content.pop(key)
        for key, value in list(content.items())
        if isinstance(value, dict) and key != "intensity"
    }
    return format_toml(content) + "".join(
        f"\n[{key}]\n{format_toml(table)}" for key, table in tables.items()
    )
