"""What names a cohort: the SHA-256 of everything in it that a score depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from benchmark.cohort import Cohort

_PLAIN = tuple(map(np.dtype, "?bBhHiIlLqQefdO"))


def fingerprint_of(cohort: Cohort) -> str:
    """Return the SHA-256 of images, masks, participants and geometry, in any order of the rows."""
    anatomy = cohort.anatomy
    masks = {f"roi:{name}": mask for name, mask in anatomy.rois.items()}
    masks |= {f"control:{name}": mask for name, mask in anatomy.control_rois.items()}
    masks |= {f"subfield:{name}": mask for name, mask in anatomy.subfields.items()}
    masks = {"foreground": anatomy.foreground, **dict(sorted(masks.items()))}
    covariates = cohort.covariates.sort_index(axis=1)
    rows, splits = [], cohort.participants["split"].tolist()
    for row, values in enumerate(_rows_of(covariates)):
        digest = hashlib.sha256(np.ascontiguousarray(cohort.images[row], dtype="<f4").tobytes())
        for mask in masks.values():
            digest.update(np.packbits(mask[row]).tobytes())
        who, group = cohort.subjects[row], int(cohort.groups[row])
        person = [who, group, str(splits[row]), *map(_to_json, values)]
        digest.update(json.dumps(person).encode())
        if cohort.geometry.affines is not None and cohort.geometry.oriented:
            affine = np.round(cohort.geometry.affines[row], 4) + 0.0  # no negative zero
            digest.update(json.dumps(affine.tolist()).encode())
        for part in _counterfactuals(cohort, row):
            digest.update(part)
        rows.append(digest.hexdigest())
    head: dict[str, object] = {
        "shape": cohort.shape,
        "spacing": [round(float(value), 6) for value in cohort.geometry.spacing],
        "affine": _common_affine(cohort),
        "registered": cohort.geometry.registered,
        "masks": list(masks),
        "truth": list(anatomy.truth),
        "covariates": list(covariates.columns),
        "groups": list(cohort.group_names),
        "rows": sorted(rows),
    }
    if anatomy.subfields:
        head["parents"] = {name: anatomy.parents[name] for name in anatomy.subfields}
    if negative := sorted(name for name, sign in anatomy.volume_signs.items() if sign < 0):
        head["volumes that grow with the disease"] = negative
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()


def _rows_of(table: pd.DataFrame) -> Iterable[Iterable[object]]:
    """Return the values of each row of a table, in the type that the columns have in common."""
    # To cut a row out of a table takes as long as to hash an image of 96 × 96 pixels, but what is
    # neither a number nor a text, such as a date, is written otherwise in an array.
    if all(isinstance(dtype, pd.StringDtype) or dtype in _PLAIN for dtype in table.dtypes):
        return cast("Iterable[Iterable[object]]", table.to_numpy())
    return (table.iloc[row] for row in range(len(table)))


def _counterfactuals(cohort: Cohort, row: int) -> Iterator[bytes]:
    """Yield what an image's pose, partner and sources add to its fingerprint; often nothing."""
    if cohort.geometry.poses is not None:
        pose = np.round(cohort.geometry.poses[row], 4) + 0.0
        yield json.dumps(["pose", pose.tolist()]).encode()
    if cohort.partners is not None:
        yield b"partner" + np.ascontiguousarray(cohort.partners[row], dtype="<f4").tobytes()
    for name, source in sorted(cohort.sources.items()):
        yield json.dumps([name, int(source.labels[row]), *source.rois]).encode()
        if source.partners is not None:
            yield np.ascontiguousarray(source.partners[row], dtype="<f4").tobytes()


def _common_affine(cohort: Cohort) -> list[list[float]] | None:
    """Return the affine that all images share and that says something, or None."""
    geometry = cohort.geometry
    is_common = geometry.affines is None and geometry.oriented
    return np.round(geometry.affine, 4).tolist() if is_common else None


def _to_json(value: object) -> object:
    if isinstance(value, (float, np.floating)):
        return None if np.isnan(value) else float(f"{float(value):.6g}")
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return int(value) if isinstance(value, (int, np.integer)) else str(value)
