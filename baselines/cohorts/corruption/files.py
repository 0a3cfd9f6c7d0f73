"""A corrupted cohort as files: an exported cohort, with ``corruption.json`` beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from baselines.cohorts.corruption.corrupted import Corrupted
from baselines.cohorts.corruption.kinds import KINDS
from baselines.cohorts.corruption.sites import voxel_of
from baselines.cohorts.files import export
from baselines.cohorts.files.reader import read_cohort
from benchmark.arrays import BoolArray
from benchmark.cohort import SPLITS, Cohort
from benchmark.errors import CohortError
from benchmark.records.files import check_folder
from benchmark.records.storage.owners import temporary_beside

COHORT_FILE, RECORD = "cohort.toml", "corruption.json"
SCHEMA_VERSION = "1"


def check_target(folder: Path) -> None:
    """Refuse a folder that holds something or cannot be made, before anything is computed for it.

    Raises:
        CohortError: If it holds something, or is a file.
        StoreError: If the folder round it cannot be written to.
    """
    export.check_target(folder)
    check_folder(folder.absolute().parent)


def write_corrupted(
    corrupted: Iterable[Corrupted],
    folder: Path,
    source: Cohort,
    origin: Mapping[str, object] = MappingProxyType({}),
) -> dict[Path, dict[str, object]]:
    """Write corrupted cohorts, and return each record by the path of its ``cohort.toml``.

    One goes into the folder itself, several into a folder each, such as ``blur-2``. The folder must
    be new or empty, and nothing stays behind if writing fails.

    Args:
        corrupted: Cohorts by different corruptions; each is let go when it is written.
        folder: Folder to write.
        source: The whole cohort that they were made of.
        origin: Origin that a record names beside what is known here, such as where maps come from.

    Raises:
        CohortError: If the folder holds something, or a cohort cannot be written.
    """
    folder = Path(folder)
    check_target(folder)
    temporary = temporary_beside(folder.absolute())
    records: dict[str, dict[str, object]] = {}
    try:
        try:
            for each in corrupted:
                toml_path = export.write_cohort(each.cohort, temporary / each.corruption.name)
                # As a run will see it, which also proves that the files can be read.
                fingerprint = read_cohort(toml_path).fingerprint
                record = _record(each, source, fingerprint) | dict(origin)
                _write_record(toml_path.with_name(RECORD), record)
                records[each.corruption.name] = record
            if folder.exists():
                folder.rmdir()
            alone = temporary / next(iter(records)) if len(records) == 1 else temporary
            alone.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise CohortError(
            f"The corrupted cohort cannot be written to {folder}: {error.strerror}."
        ) from error
    parts = [Path()] if len(records) == 1 else [Path(name) for name in records]
    paths = [folder / part / COHORT_FILE for part in parts]
    return dict(zip(paths, records.values(), strict=True))


def _write_record(path: Path, record: Mapping[str, object]) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    # BIDS validators complain about files that the standard does not know.
    with path.with_name(".bidsignore").open("a", encoding="utf-8") as file:
        file.write(f"{RECORD}\n")


def _record(corrupted: Corrupted, source: Cohort, fingerprint: str) -> dict[str, object]:
    """Return what was done, for a file of JSON."""
    result, corruption = corrupted.cohort, corrupted.corruption
    is_corrupted = result.groups == 1
    subjects = np.array(result.subjects)
    sizes = corrupted.sites.masks.sum(axis=tuple(range(1, result.images.ndim)))
    return {
        "schema_version": SCHEMA_VERSION,
        "source": {"name": source.name, "fingerprint": source.fingerprint},
        "corruption": {
            "kind": corruption.kind,
            "strength": corruption.strength,
            "strength_means": KINDS[corruption.kind],
            "soft_edge_mm": corruption.soft_edge,
        },
        "sites": {**corrupted.sites.description, **_points(corrupted)},
        "seed": corrupted.seed,
        "result": {
            "name": result.name,
            "fingerprint": fingerprint,
            "groups": list(result.group_names),
            "subjects_by_split": _counts(corrupted, is_corrupted),
            "corrupted_subjects": sorted(set(subjects[is_corrupted].tolist())),
            "region_voxels": _spread(sizes),
            "has_control_region": bool(result.anatomy.control_rois),
            "share_of_intensity_changed": _spread(corrupted.changed[is_corrupted]),
        },
    }


def _points(corrupted: Corrupted) -> dict[str, object]:
    """Return the points in mm and in voxels: once where all images share them, else by image."""
    geometry, points = corrupted.source.geometry, corrupted.sites.points
    if not points:
        return {}
    by_image = {
        key: [
            {
                "mm": list(point),
                "voxel": voxel_of(geometry.affine_of(row), point, len(geometry.spacing)),
            }
            for point in points[row]
        ]
        for row, key in enumerate(corrupted.source.keys)
    }
    first = next(iter(by_image.values()))
    if all(image == first for image in by_image.values()):
        return {"points": first}
    return {"points_by_image": dict(sorted(by_image.items()))}


def _counts(corrupted: Corrupted, is_corrupted: BoolArray) -> dict[str, dict[str, int]]:
    people = corrupted.cohort.participants
    counts = {}
    for split in SPLITS:
        rows = (people["split"] == split).to_numpy()
        if rows.any():
            names = people["subject"].to_numpy()
            counts[split] = {
                "clean": len(set(names[rows & ~is_corrupted])),
                "corrupted": len(set(names[rows & is_corrupted])),
            }
    return counts


def _spread(values: np.ndarray) -> dict[str, float]:
    """Return the least, mean and greatest of some values, to six digits."""
    summary = {"least": values.min(), "mean": values.mean(), "greatest": values.max()}
    return {name: float(f"{value:.6g}") for name, value in summary.items()}
