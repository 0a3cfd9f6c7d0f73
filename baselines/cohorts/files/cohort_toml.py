"""Contents of a ``cohort.toml``; docs/cohort.md explains each key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from benchmark.errors import CohortError
from benchmark.records.toml_file import describe_fault, format_toml, read_toml

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_LARGEST = 1e30  # intensity; float32 ends not far beyond


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
            if self.low is None or self.high is None or not self.low < self.high:
                raise ValueError("give low < high, or percentiles = [low, high]")
            if max(abs(self.low), abs(self.high)) > _LARGEST:
                raise ValueError(f"low and high must lie between -{_LARGEST:g} and {_LARGEST:g}")
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
        index: Index instead of the position, counted from 0 towards right, anterior or superior.
    """

    plane: Literal["axial", "coronal", "sagittal"]
    mm: float | None = Field(default=None, allow_inf_nan=False)
    index: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check_position(self) -> Slice:
        if (self.mm is None) == (self.index is None):
            raise ValueError("give either mm or index")
        return self


class ImageFile(_Table):
    """Where an image is found.

    Attributes:
        path: Pattern of its path; columns of the table stand in braces.
        index: Number of the image in a file that holds several, from 0, or its column in braces.
        array: Name of the array in an ``.npz``.
    """

    path: str = Field(min_length=1)
    index: int | str | None = None
    array: str | None = None

    @model_validator(mode="after")
    def _check_index(self) -> ImageFile:
        if isinstance(self.index, int) and self.index < 0:
            raise ValueError(f"index counts from 0, but is {self.index}")
        return self


class MaskFile(ImageFile):
    """Where a mask is found, and which of its values belong to it.

    Attributes:
        label: Value, or values, of a segmentation that belong to the mask.
        threshold: Value from which on a voxel of a probability map belongs to the mask.
        axes: Directions of a mask's axes where its file does not say how it lies but the image's
            does.
    """

    label: int | tuple[int, ...] | None = None
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    axes: str | None = None

    @model_validator(mode="after")
    def _check_rule(self) -> MaskFile:
        if self.label is not None and self.threshold is not None:
            raise ValueError("give either label or threshold")
        if self.label == ():
            raise ValueError("give at least one label")
        check_axes(self.axes)
        return self


class Region(MaskFile):
    """The mask of a region that the disease changes, or of a part of one.

    Attributes:
        parent: Name of the region that this is a part of, such as the hippocampus of a subfield.
        volume_sign: −1 where the disease makes the region larger, 1 otherwise.
    """

    parent: str | None = None
    volume_sign: Literal[1, -1] = 1


class Foreground(MaskFile):
    """The mask of the organ.

    Attributes:
        whole: Whether every pixel belongs to it; instead of a path.
    """

    path: str = ""
    whole: bool = False

    @model_validator(mode="after")
    def _check_path(self) -> Foreground:
        if bool(self.path) == self.whole:
            raise ValueError("give the path of a mask, or whole = true for every pixel")
        return self


class Split(_Table):
    """How subjects are divided where the table does not say.

    Attributes:
        path: Path of the table that holds the division, written by ``cohort init``.
        by: Columns within whose values subjects are divided 60/20/20, beside the group.
        seed: Seed of the division.
    """

    path: str = "splits.tsv"
    by: tuple[str, ...] = ()
    seed: int = Field(default=0, ge=0)


class ConceptFile(_Table):
    """Images that show something, and images that do not.

    Attributes:
        present: Folder of images with it, under the key ``with``.
        without: Folder of images without it. Where both folders hold the same names, images of one
            name are a pair.
        where: Condition on the table instead of folders, such as ``age > 75``.
        patch: Small image that is pasted into images of the reference group, instead of folders.
        place: Index of the array of the cohort, one for each axis, where its middle is pasted.
        description: One sentence for tables.
        nuisance: Whether a network that looks at it has found a shortcut.
        covariates: Columns of the table whose sum is its amount.
        added: Difference of that amount between the images with it and their partners.
    """

    present: str | None = Field(default=None, alias="with", min_length=1)
    without: str | None = Field(default=None, min_length=1)
    where: str | None = Field(default=None, min_length=1)
    patch: str | None = Field(default=None, min_length=1)
    place: tuple[Annotated[int, Field(ge=0)], ...] = ()
    description: str = ""
    nuisance: bool = False
    covariates: tuple[str, ...] = ()
    added: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_sets(self) -> ConceptFile:
        folders = self.present is not None, self.without is not None
        if self.where is not None and any(folders):
            raise ValueError("give either where, or with and without")
        if self.patch is not None and (self.where is not None or any(folders)):
            raise ValueError("give either patch and place, or images and where they come from")
        if (self.patch is None) != (not self.place):
            raise ValueError(
                "give patch and place together: a patch alone shows what a network makes of black"
            )
        if self.where is None and self.patch is None and not all(folders):
            raise ValueError("give the folders with and without, or where, or patch and place")
        if (self.added is None) != (not self.covariates):
            raise ValueError("give covariates and added together")
        return self


def _as_table(value: object) -> object:
    """Return the table that a bare pattern of paths stands for."""
    return {"path": value} if isinstance(value, str) else value


_Image = Annotated[ImageFile, BeforeValidator(_as_table)]
_Mask = Annotated[MaskFile, BeforeValidator(_as_table)]
_Region = Annotated[Region, BeforeValidator(_as_table)]
_Foreground = Annotated[Foreground, BeforeValidator(_as_table)]


class CohortFile(_Table):
    """The whole file.

    Attributes:
        name: Name of the cohort in records and tables.
        groups: Reference group and case group, as the table calls them.
        registered: Whether a voxel means the same place in every subject.
        truth: Regions that are known to hold the whole difference.
        participants: Path of the table of subjects.
        image: Path of the images.
        intensity: Intensities that become 0 and 1.
        spacing: Size in mm along each axis of the stored arrays, for files that do not say.
        axes: Direction in which each axis of the arrays runs, as letters of R, L, A, P, S and I:
            what they are turned to, or what they are where files do not say.
        foreground: Mask of the organ.
        rois: Regions that the disease is known to change, and parts of them.
        control_rois: Regions of the same size elsewhere, by name of their region.
        slice: Slice that is taken of each volume.
        split: Division of the subjects.
        concept: Images that show something and images that do not, by name.
    """

    name: str = Field(min_length=1)
    groups: tuple[str, str]
    registered: bool = False
    truth: tuple[str, ...] = ()
    participants: str = "participants.tsv"
    image: _Image
    intensity: Intensity
    spacing: tuple[Annotated[float, Field(ge=1e-3, le=100)], ...] | None = None
    axes: str | None = None
    foreground: _Foreground
    rois: dict[str, _Region] = {}
    control_rois: dict[str, _Mask] = {}
    slice: Slice | None = None
    split: Split | None = None
    concept: dict[str, ConceptFile] = {}

    @model_validator(mode="after")
    def _check_file(self) -> CohortFile:
        if self.groups[0] == self.groups[1]:
            raise ValueError(f"the groups are both called {self.groups[0]!r}")
        check_axes(self.axes)
        whole = [name for name, region in self.rois.items() if region.parent is None]
        for name, region in self.rois.items():
            if region.parent is not None and region.parent not in whole:
                known = ", ".join(whole) or "none"
                raise ValueError(
                    f"the region {name!r} has the parent {region.parent!r}, but the regions that "
                    f"are no part of another are {known}"
                )
        return self

    @property
    def parents(self) -> dict[str, str]:
        """Region of each subfield, by name of the subfield."""
        return {name: region.parent for name, region in self.rois.items() if region.parent}


def check_axes(axes: str | None) -> None:
    """Refuse letters that do not give each axis a direction of its own.

    Raises:
        ValueError: If they do not.
    """
    if axes is None:
        return
    known = [min(letter, _OPPOSITE[letter]) for letter in axes if letter in _OPPOSITE]
    if len(known) != len(axes) or len(axes) not in (2, 3) or len(set(known)) != len(known):
        raise ValueError(
            f"axes must be two or three letters of R, L, A, P, S and I, one for each direction in "
            f"space, such as 'IL', but got {axes!r}"
        )


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
    """Return the text of a ``cohort.toml``; a table of a mere path becomes the path."""
    content = cohort_file.model_dump(exclude_none=True, exclude_unset=True)
    content["image"] = _shorten(content["image"])
    for key in ("rois", "control_rois"):
        content[key] = {name: _shorten(mask) for name, mask in content.get(key, {}).items()}
    inline = ("intensity", "image")
    tables = {
        key: content.pop(key)
        for key, value in list(content.items())
        if isinstance(value, dict) and key not in inline
    }
    return format_toml(content) + "".join(
        f"\n[{key}]\n{format_toml(table)}" for key, table in tables.items() if table
    )


def _shorten(table: Mapping[str, object]) -> object:
    return table["path"] if set(table) == {"path"} else dict(table)
