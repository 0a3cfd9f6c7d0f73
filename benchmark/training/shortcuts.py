"""Whether the groups can be told apart by what cannot hold the disease.

Probes look at raw pixels, at the masks and at the table, never at an embedding. A corner that was
dimmed in the cases told phantom's groups apart at AUROC 0.95 by the pixels outside the head. By the
embedding of a random encoder it was 0.48, and training would still have learned to see the corner.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from pandas.api import types

from benchmark.arrays import FloatArray
from benchmark.cohort import Cohort
from benchmark.errors import CohortError
from benchmark.maps.thumbnails import (
    border_mask,
    border_widths,
    box_lengths,
    scanned_area,
    thumbnails,
)
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.classification import RESAMPLES, Predicted
from benchmark.training.findings import Metric, ShortcutProbe
from benchmark.training.learning_curve import auroc_within_folds, folds_by_subject
from benchmark.training.probe import probe_margins

THRESHOLD = 0.6  # of the lower limit of the AUROC
# A table has no noise of its own: any covariate that differs between groups is a confounder.
COVARIATE_THRESHOLD = 0.5
NEAR_EQUAL = 0.999  # correlation of thumbnails
SITE_WORDS = ("scanner", "site", "center", "centre", "hospital", "vendor", "manufacturer", "device")
_MOST_LEVELS = 20  # of a column of text
_NEAR_SIDES = {2: 16, 3: 8}
_MOST_ROWS, _MOST_PIXELS = 64, 2**24  # that are held at once
_FLAT = 1e-4  # standard deviation of a thumbnail that shows nothing
_PECULIAR = 0.9  # correlation of what sets two images apart from the mean


@dataclass(frozen=True)
class ShortcutFindings:
    """What the shortcut watch found.

    Attributes:
        probes: Probes that could be asked, with their AUROC.
        warnings: Sentence for each suspicious probe.
        left_out: Sentence for each probe that could not be asked, with the reason.
    """

    probes: tuple[ShortcutProbe, ...]
    warnings: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Question:
    """What a probe is given.

    Attributes:
        name: Short name of the probe.
        sees: Noun phrase that says what it is given.
        features: [N, F] numbers for each image.
        absent: Reason why the question makes no sense where the features never vary.
        threshold: Value of the AUROC's lower limit above which the probe is suspicious.
        context: Whether the features may hold the disease.
    """

    name: str
    sees: str
    features: FloatArray
    absent: str = "it is the same for every image"
    threshold: float = THRESHOLD
    context: bool = False


def watch_shortcuts(cohort: Cohort) -> ShortcutFindings:
    """Return how well probes that cannot know the disease tell the groups apart.

    Each probe is an L2 logistic regression, cross-validated by subject in five folds over all
    splits; its AUROC is that of the predictions for subjects left out, within folds, with a 95 %
    interval over subjects. It is suspicious where the lower limit is above ``THRESHOLD``, for the
    covariates together above ``COVARIATE_THRESHOLD``.

    Args:
        cohort: Cohort with both groups.

    Raises:
        CohortError: If a group has fewer than two subjects.
    """
    order = np.argsort(np.array(cohort.keys), kind="stable")
    groups, subjects = cohort.groups[order], [cohort.subjects[row] for row in order]
    folds = list(folds_by_subject(groups, subjects, name=cohort.name))
    bootstrap = SubjectBootstrap(subjects, RESAMPLES, groups)
    left_out: list[str] = []
    probes, warnings = [], []
    for question in (*_pixel_questions(cohort), *_table_questions(cohort, left_out)):
        features = question.features[order]
        if not np.ptp(features, axis=0).max(initial=0.0) > 0:
            left_out.append(f"The probe {question.name!r} is left out: {question.absent}.")
            continue
        margins = np.full(len(order), np.nan)
        for train, test in folds:
            margins[test] = probe_margins(features[train], groups[train], features[test])
        tested = [test for _, test in folds]
        auroc = auroc_within_folds(Predicted(groups, margins), tested, bootstrap)
        suspicious = not question.context and (auroc.low or 0.0) > question.threshold
        probes.append(
            ShortcutProbe(question.name, question.sees, auroc, suspicious, question.context)
        )
        if suspicious:
            warnings.append(_warning(question, auroc, cohort.group_names))
    return ShortcutFindings(tuple(probes), tuple(warnings), tuple(left_out))


def refuse_equal_images(cohort: Cohort) -> None:
    """Refuse a cohort in which two subjects have the same image.

    Equal images have the same SHA-256; nearly equal ones correlate above ``NEAR_EQUAL`` as
    thumbnails of 16 × 16 cells, or 8 × 8 × 8, as a copy does that was compressed or resized, and
    differ from the mean image in the same way.

    Raises:
        CohortError: If there are such; the message names the two subjects and their splits.
    """
    splits = cohort.participants["split"].astype(str).tolist()
    groups = [cohort.group_names[group] for group in cohort.groups]

    def fault(row: int, other: int, how: str) -> CohortError:
        first, second = sorted((row, other), key=lambda index: cohort.keys[index])
        names = [
            f"{cohort.subjects[index]!r} ({groups[index]}, {splits[index]} split)"
            for index in (first, second)
        ]
        return CohortError(
            f"Cohort {cohort.name!r}: the images of subjects {names[0]} and {names[1]} are {how}; "
            f"an image may belong to one subject only, or what is learned from one is tested on "
            f"the other."
        )

    rows_of: dict[str, int] = {}
    for row in np.argsort(np.array(cohort.keys), kind="stable").tolist():
        digest = hashlib.sha256(np.ascontiguousarray(cohort.images[row]).tobytes()).hexdigest()
        other = rows_of.setdefault(digest, row)
        if cohort.subjects[other] != cohort.subjects[row]:
            raise fault(other, row, "equal (SHA-256)")
    for row, other, correlation in _near_equal_rows(cohort):
        how = f"nearly equal (correlation {math.floor(correlation * 1e4) / 1e4:.4f} as thumbnails)"
        raise fault(row, other, how)


def _near_equal_rows(cohort: Cohort) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of rows of different subjects whose thumbnails are nearly equal.

    Registered images of one template correlate highly too. So a copy must also share what
    sets the image apart from the mean of its group, or of the cohort where the groups differ.
    """
    side, groups = _NEAR_SIDES[len(cohort.shape)], cohort.groups
    images = (torch.from_numpy(np.array(cohort.images[rows])) for rows in _slices(cohort))
    small = torch.cat([thumbnails(part, side) for part in images]).double().numpy()
    means = np.stack([small[groups == group].mean(0) for group in (0, 1)])
    directions, own, general = map(
        _unit_rows, (small, small - means[groups], small - small.mean(0))
    )
    subjects = np.unique(np.array(cohort.subjects), return_inverse=True)[1]
    for start in range(0, len(small), _MOST_ROWS):
        correlations = directions[start : start + _MOST_ROWS] @ directions.T
        for index, other in np.argwhere(correlations > NEAR_EQUAL).tolist():
            row = start + index
            peculiar = own if groups[row] == groups[other] else general
            likeness = float(peculiar[row] @ peculiar[other])
            if row < other and subjects[row] != subjects[other] and likeness > _PECULIAR:
                yield row, other, float(correlations[index, other])


def _slices(cohort: Cohort) -> Iterator[slice]:
    """Yield slices of the rows, of as many images as memory should hold at once."""
    step = max(1, min(_MOST_ROWS, _MOST_PIXELS // math.prod(cohort.shape)))
    yield from (slice(start, start + step) for start in range(0, len(cohort), step))


def _unit_rows(rows: FloatArray) -> FloatArray:
    """Return rows [N, F] without their means and of length 1, or 0 where only rounding is left."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    flat = norms < _FLAT * math.sqrt(rows.shape[1])
    units: FloatArray = np.where(flat, 0.0, centred / np.where(flat, 1.0, norms))
    return units


def _pixel_questions(cohort: Cohort) -> Iterator[_Question]:
    """Yield what can be asked of images and masks, gathered in one walk through them."""
    border = border_mask(cohort.shape)
    parts: dict[str, list[torch.Tensor]] = {}
    for rows in _slices(cohort):
        images = torch.from_numpy(np.array(cohort.images[rows]))
        foreground = torch.from_numpy(np.array(cohort.anatomy.foreground[rows]))
        masks = [foreground, *(torch.from_numpy(mask[rows]) for mask in _rois(cohort).values())]
        scanned = torch.from_numpy(
            np.stack([scanned_area(image) for image in images[:, 0].numpy()])
        )
        size = scanned.flatten(1).sum(1, keepdim=True)
        crop = [box_lengths(foreground), box_lengths(scanned[:, None]), size]
        values = {
            "outside": thumbnails(images * ~foreground),
            "silhouette": thumbnails(foreground),
            "border": thumbnails(images * border)[:, thumbnails(border[None, None])[0] > 0],
            "areas": torch.stack([mask.flatten(1).sum(1) for mask in masks], dim=1),
            "crop": torch.cat(crop, dim=1),
            "image": thumbnails(images),
        }
        for name, value in values.items():
            parts.setdefault(name, []).append(value)
    arrays = {name: torch.cat(values).double().numpy() for name, values in parts.items()}
    whole = "the foreground covers every pixel of every image"
    covered = bool(cohort.anatomy.foreground.all())
    outside = whole if covered else "every image is the same outside its foreground"
    silhouette = whole if covered else "the foreground is the same in every image"
    widths = "–".join(map(str, sorted(set(border_widths(cohort.shape)))))
    names = ", ".join(("foreground", *_rois(cohort)))
    unit = "pixels" if len(cohort.shape) == 2 else "voxels"
    yield _Question(
        "outside the foreground", "what lies outside the foreground", arrays["outside"], outside
    )
    yield _Question("silhouette", "the outline of the foreground", arrays["silhouette"], silhouette)
    yield _Question(
        "border",
        f"the outermost {widths} {unit} of the images",
        arrays["border"],
        "the border is the same in every image",
    )
    yield _Question("size of the masks", f"the size of the masks ({names})", arrays["areas"])
    yield _Question(
        "size of the crop",
        f"the size of the crop (box of the foreground, box and number of {unit} without padding)",
        arrays["crop"],
    )
    yield _Question("whole image", "the whole image as a thumbnail", arrays["image"], context=True)


def _table_questions(cohort: Cohort, left_out: list[str]) -> Iterator[_Question]:
    """Yield what can be asked of the covariates; columns that cannot be used are named."""
    columns: dict[str, FloatArray] = {}
    table = cohort.covariates.rename(columns=str)
    for column in sorted(table.columns):
        if column.startswith((*cohort.anatomy.rois, *cohort.anatomy.subfields)):
            left_out.append(
                f"The column {column!r} is left out of the covariates: it measures a region."
            )
            continue
        values = _encoded(table[column], is_site=_is_site(column))
        if values is None:
            left_out.append(
                f"The column {column!r} is left out of the covariates: its text takes more than "
                f"{_MOST_LEVELS} different values."
            )
        else:
            columns[column] = values
    if not columns:
        left_out.append("The probe 'covariates' is left out: the cohort has none that can be used.")
        return
    names = ", ".join(columns)
    yield _Question(
        "covariates",
        f"the covariates ({names})",
        np.hstack(list(columns.values())),
        threshold=COVARIATE_THRESHOLD,
    )
    for column, values in columns.items():
        if _is_site(column):
            yield _Question(f"{column} alone", f"the column {column!r}", values)


def _encoded(column: pd.Series, is_site: bool) -> FloatArray | None:
    """Return a column as numbers [N, F], or None where its text is as good as a name.

    Numbers stay, with the median where one is missing and a second column that says so; text and
    sites get a column for each value.
    """
    missing = column.isna().to_numpy()
    levels = column.nunique()
    as_levels = not types.is_numeric_dtype(column) or (is_site and levels <= _MOST_LEVELS)
    if as_levels:
        if levels > _MOST_LEVELS:
            return None
        dummies = pd.get_dummies(column.astype(object), dummy_na=bool(missing.any()))
        return np.asarray(dummies.to_numpy(dtype=np.float64))
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = ~np.isfinite(numbers)
    if missing.all():
        return np.zeros((len(numbers), 1))
    filled = np.where(missing, np.median(numbers[~missing]), numbers)
    return np.stack([filled, missing.astype(np.float64)], axis=1)


def _is_site(column: str) -> bool:
    return any(word in column.lower() for word in SITE_WORDS)


def _rois(cohort: Cohort) -> dict[str, np.ndarray]:
    return dict(sorted(cohort.anatomy.rois.items()))


def _warning(question: _Question, auroc: Metric, group_names: tuple[str, str]) -> str:
    return (
        f"possible leakage or shortcut: a probe that is given only {question.sees} tells "
        f"{group_names[0]} from {group_names[1]} at AUROC {auroc.estimate:.2f} "
        f"(95 % interval {auroc.low:.2f} to {auroc.high:.2f})"
    )
