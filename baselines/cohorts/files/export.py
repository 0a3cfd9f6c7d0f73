"""Export of any cohort as a BIDS-like folder of NIfTI files, which reads back as it was."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from baselines.cohorts.files import participants as tables
from baselines.cohorts.files.cohort_toml import CohortFile, format_cohort_file
from baselines.cohorts.files.layout import PLANES, default_axes
from baselines.cohorts.files.participants import PARTICIPANTS
from benchmark.arrays import FloatArray
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.records.storage.owners import temporary_beside

_BIDS_VERSION = "1.10.0"
_MASKS = "derivatives/medsanity"


def write_cohort(cohort: Cohort, folder: Path) -> Path:
    """Write a cohort as NIfTI files and tables, and return the path of its ``cohort.toml``.

    Images whose values are multiples of 1/255 are stored as bytes, others as float32; either way
    they read back bit by bit, and so does the whole cohort, with the same fingerprint. Only the
    third axis of a slice, along which it has no extent, always reads back towards right, front or
    head. Files have no place for poses, partners, normals and sources, so these are left out. A
    cohort that has any of them reads back without, and all but normals change the fingerprint. The
    folder must be new or empty, and nothing stays behind if writing fails.

    Raises:
        CohortError: If the folder holds something, or the cohort does not fit a table of text.
    """
    folder = Path(folder)
    check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename within one file system.
        temporary = temporary_beside(folder)
        temporary.mkdir()
        try:
            _write(cohort, temporary)
            if folder.exists():
                folder.rmdir()
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise CohortError(f"The cohort cannot be written to {folder}: {error.strerror}.") from error
    return folder / "cohort.toml"


def check_target(folder: Path) -> None:
    """Refuse a folder that a cohort cannot be written to.

    Raises:
        CohortError: If it holds something, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError(f"The cohort cannot go to {folder}, which exists and is not empty.")


def _write(cohort: Cohort, folder: Path) -> None:
    rows = _rows(cohort)
    (folder / PARTICIPANTS).write_text(tables.format_rows(rows), encoding="utf-8")
    _check_table(cohort, folder / PARTICIPANTS)

    in_bytes = all(
        np.array_equal(_levels(image).astype(np.float32) / np.float32(255), image)
        for image in cohort.images
    )
    cohort_file = _describe(cohort, rows[0], in_bytes)
    (folder / "cohort.toml").write_text(format_cohort_file(cohort_file), encoding="utf-8")
    anatomy = cohort.anatomy
    files, controls = cohort_file.rois, cohort_file.control_rois
    masks = [(cohort_file.foreground.path, anatomy.foreground)]
    regions = {**anatomy.rois, **anatomy.subfields}
    masks += [(files[name].path, mask) for name, mask in regions.items()]
    masks += [(controls[name].path, mask) for name, mask in anatomy.control_rois.items()]
    for number, row in enumerate(rows):
        image, geometry = cohort.images[number, 0], cohort.geometry
        affine = geometry.affine_of(number) if geometry.oriented else None
        voxels = _levels(image) if in_bytes else image
        _write_volume(
            folder / cohort_file.image.path.format_map(row), voxels, affine, geometry.spacing
        )
        for pattern, mask in masks:
            voxels = mask[number, 0].astype(np.uint8)
            _write_volume(folder / pattern.format_map(row), voxels, affine, geometry.spacing)

    _write_description(folder, cohort.name, {"DatasetType": "raw"})
    derived = {"DatasetType": "derivative", "GeneratedBy": [{"Name": "medsanity"}]}
    _write_description(folder / _MASKS, f"{cohort.name} masks", derived)
    # BIDS validators complain about files that the standard does not know.
    (folder / ".bidsignore").write_text("cohort.toml\n", encoding="utf-8")


def _rows(cohort: Cohort) -> list[dict[str, object]]:
    """Return the table's rows; images of a subject are numbered as sessions where it has many."""
    people, covariates = cohort.participants, cohort.covariates
    reserved = {"participant_id", *tables.SESSIONS} & set(map(str, covariates.columns))
    if reserved:
        raise CohortError(
            f"The covariate {min(reserved)!r} of cohort {cohort.name!r} has a name that "
            f"{PARTICIPANTS} uses otherwise; rename it."
        )
    repeated = len(set(cohort.subjects)) < len(cohort)
    sessions: Counter[str] = Counter()
    rows: list[dict[str, object]] = []
    for number, subject in enumerate(cohort.subjects):
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", subject, re.ASCII):
            raise CohortError(
                f"Subject {subject!r} of cohort {cohort.name!r} cannot name a file; "
                "use letters, digits, '-', '_', '+' and '.'."
            )
        sessions[subject] += 1
        row: dict[str, object] = {"participant_id": subject}
        if repeated:
            row["session"] = f"{sessions[subject]:02d}"
        row["group"] = cohort.group_names[int(cohort.groups[number])]
        row["split"] = str(people["split"].iloc[number])
        row |= {str(name): covariates[name].iloc[number] for name in covariates.columns}
        rows.append(row)
    return rows


def _check_table(cohort: Cohort, path: Path) -> None:
    """Refuse a cohort whose covariates do not survive as text, such as text that reads as 1.0."""
    participants = tables.build_participants(tables.read_rows(path), cohort.group_names, path)
    if replace(cohort, participants=participants).fingerprint != cohort.fingerprint:
        changed = [
            str(name)
            for name in cohort.covariates.columns
            if list(map(repr, participants[name].tolist()))
            != list(map(repr, cohort.covariates[name].tolist()))
        ]
        raise CohortError(
            f"The covariate(s) {', '.join(changed)} of cohort {cohort.name!r} would read back "
            "as another type; text must not look like a number, a truth value or n/a."
        )


def _describe(cohort: Cohort, row: Mapping[str, object], in_bytes: bool) -> CohortFile:
    """Return the ``cohort.toml`` of a cohort whose table has rows like ``row``."""
    prefix = "" if all(name.startswith("sub-") for name in cohort.subjects) else "sub-"
    person = f"{prefix}{{participant_id}}"
    subfolder, stem = f"{person}/anat", person
    if "session" in row:
        subfolder, stem = f"{person}/ses-{{session}}/anat", f"{person}_ses-{{session}}"
    masks = f"{_MASKS}/{subfolder}/{stem}"
    anatomy = cohort.anatomy
    names = (*anatomy.rois, *anatomy.subfields)
    labels = {name: re.sub(r"[\W_]", "", name, flags=re.ASCII) for name in names}
    if "" in labels.values() or len(set(labels.values())) < len(labels):
        raise CohortError(
            f"The regions {', '.join(labels)} of cohort {cohort.name!r} cannot be told apart by "
            "their letters and digits, which is all that BIDS allows in a label."
        )
    own_axes = "".join(nibabel.aff2axcodes(cohort.geometry.affine))[: len(cohort.shape)]
    # The third axis of a slice's affine is the one that it has no extent along.
    across = int(np.abs(cohort.geometry.affine[:3, 2]).argmax())
    plane = PLANES[across] if len(cohort.shape) == 2 else None
    is_plain = not cohort.geometry.oriented or own_axes == default_axes(plane)
    return CohortFile.model_validate(
        {
            "name": cohort.name,
            "groups": cohort.group_names,
            "registered": cohort.geometry.registered,
            "truth": cohort.anatomy.truth,
            "image": f"{subfolder}/{stem}_T1w.nii.gz",
            "intensity": {"low": 0, "high": 255 if in_bytes else 1},
            "foreground": {"path": f"{masks}_desc-foreground_mask.nii.gz"},
            "rois": {
                name: {
                    "path": f"{masks}_label-{label}_mask.nii.gz",
                    **({"parent": anatomy.parents[name]} if name in anatomy.subfields else {}),
                    **({"volume_sign": -1} if anatomy.volume_signs.get(name) == -1 else {}),
                }
                for name, label in labels.items()
            },
            "control_rois": {
                name: f"{masks}_label-{labels[name]}_desc-control_mask.nii.gz"
                for name in cohort.anatomy.control_rois
            },
            "slice": {"plane": plane, "index": 0} if plane and cohort.geometry.oriented else None,
            "axes": None if is_plain else own_axes,
        }
    )


def _levels(image: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.rint(image * 255).astype(np.uint8)


def _write_volume(
    path: Path,
    voxels: npt.NDArray[np.float32] | npt.NDArray[np.uint8],
    affine: FloatArray | None,
    spacing: tuple[float, ...],
) -> None:
    """Write voxels with their affine, or as they stand where nobody knows how they lie."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels.reshape((*voxels.shape, 1)[:3]), affine)
    if affine is None:
        image.header.set_zooms((*spacing, 1.0)[:3])
    else:
        image = nibabel.as_closest_canonical(image)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _write_description(folder: Path, name: str, fields: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"Name": name, "BIDSVersion": _BIDS_VERSION, **fields}
    path = folder / "dataset_description.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
