"""What a cohort lacks, and what in it may mislead, in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from benchmark.plugins.cohort_checks import FEWEST_SUBJECTS
from benchmark.results.cohort.overview import CohortOverview

_STRONG = 0.8  # AUROC from which a covariate or a size alone nearly gives the group away
_MUCH_CLIPPED = 0.05  # share of the foreground that a window should not cut off
_MUCH_OUTSIDE = 0.01  # share of a region that no protocol ranks


def find_gaps(overview: CohortOverview) -> tuple[str, ...]:
    """Return what a cohort lacks and what follows from it, a sentence each."""
    return tuple(_gaps(overview))


def find_suspicions(overview: CohortOverview) -> tuple[str, ...]:
    """Return what may mislead a model or its reader, a sentence each."""
    return tuple(_suspicions(overview))


def to_json(overview: CohortOverview) -> str:
    """Return a cohort's overview with its remarks as JSON; what does not exist is null."""
    document = {
        "schema_version": 1,
        **asdict(overview),
        "missing": find_gaps(overview),
        "suspicions": find_suspicions(overview),
    }
    document["covariates"] = [
        {key: None if value != value else value for key, value in asdict(covariate).items()}
        for covariate in overview.covariates
    ]
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _gaps(overview: CohortOverview) -> Iterator[str]:
    by_kind = {
        kind: [mask.name for mask in overview.masks if mask.kind == kind]
        for kind in ("region", "control region")
    }
    if not by_kind["region"]:
        yield "No region: `roi_pointing` needs one that the disease is known to change."
    if alone := [name for name in by_kind["region"] if name not in by_kind["control region"]]:
        names = ", ".join(alone)
        yield f"No control region for {names}, so `roi_pointing` has nothing to compare there."
    if not overview.truth:
        yield "No truth is named, so the control `oracle` is not scored."
    for split, sizes in overview.sizes.items():
        if not any(sizes):
            yield f"No {split} split."
        elif min(sizes) < FEWEST_SUBJECTS:
            group = overview.group_names[sizes.index(min(sizes))]
            yield (
                f"The {split} split has {min(sizes)} subjects of {group}; a score needs "
                f"{FEWEST_SUBJECTS} of each group to train and to test."
            )
    if overview.is_whole:
        yield "No mask of the organ: the foreground is the whole image, background included."
    if overview.orientation is None:
        yield "Orientation unknown: no picture can say where the patient's left is; name the axes."
    if not overview.covariates:
        yield "No covariates: groups may differ in age, sex or scanner unnoticed."
    for covariate in overview.covariates:
        if covariate.n_missing:
            yield f"The covariate {covariate.name!r} lacks {covariate.n_missing} values."
    if 0 < overview.single < overview.subjects:
        yield f"{overview.single} of {overview.subjects} subjects have a single visit."


def _suspicions(overview: CohortOverview) -> Iterator[str]:
    measured = tuple(mask.name for mask in overview.masks if mask.kind in ("region", "subfield"))
    for covariate in overview.covariates:
        # What measures a region that the disease changes should tell the groups apart.
        if _is_strong(covariate.auroc) and not covariate.name.startswith(measured):
            yield (
                f"The covariate {covariate.name!r} alone tells the groups apart with an AUROC of "
                f"{covariate.auroc:.2f}."
            )
    for mask in overview.masks:
        if mask.kind in ("foreground", "control region") and _is_strong(mask.auroc):
            title = "foreground" if mask.kind == "foreground" else f"control region {mask.name!r}"
            yield (
                f"The size of the {title} alone tells the groups apart with an AUROC of "
                f"{mask.auroc:.2f}: a model may look at its edge."
            )
        if mask.outside > _MUCH_OUTSIDE:
            yield (
                f"The {mask.kind} {mask.name!r} has {mask.outside:.0%} of its voxels outside the "
                "foreground, where no protocol ranks any."
            )
    if overview.faint:
        yield (
            f"The foreground of {len(overview.faint)} images, such as that of "
            f"{overview.faint[0]!r}, takes up less than 5 % of the window: other units or bits?"
        )
    if overview.intensities is not None:
        for share, side in (
            (overview.intensities.below, "below"),
            (overview.intensities.above, "above"),
        ):
            if share > _MUCH_CLIPPED:
                yield f"{share:.0%} of the foreground lies {side} the window and is clipped."
        if overview.intensities.blank:
            yield (
                f"{overview.intensities.blank} voxels outside the foreground are NaN or infinite, "
                "and are read as the darkest value."
            )


def _is_strong(auroc: float | None) -> bool:
    return auroc is not None and max(auroc, 1 - auroc) >= _STRONG
