"""Masks as tools write them are read by the rule that is named, and never by a guess."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from baselines.cohorts.files.cohort_toml import MaskFile
from baselines.cohorts.files.formats.scan import Scan, Source
from baselines.cohorts.files.masks import to_mask, turn
from benchmark.errors import CohortError

LABELS = np.array([[0, 2, 17], [17, 53, 0]])
PROBABILITIES = np.array([[0.0, 0.2, 0.5], [0.7, 1.0, np.nan]], dtype=np.float32)
Values = npt.NDArray[np.generic]


def _scan(values: Values) -> Scan:
    return Scan(Source(Path("aseg.nii.gz"), "region 'left' of 'sub-01'"), values)


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ({"label": 17}, LABELS, [[0, 0, 1], [1, 0, 0]]),
        ({"label": [17, 53]}, LABELS, [[0, 0, 1], [1, 1, 0]]),
        ({"label": 17}, LABELS.astype(np.float32) + 0.0004, [[0, 0, 1], [1, 0, 0]]),
        ({"label": 0}, LABELS, [[1, 0, 0], [0, 0, 1]]),
        ({"threshold": 0.5}, PROBABILITIES, [[0, 0, 1], [1, 1, 0]]),
        ({"threshold": 50}, 100 * PROBABILITIES, [[0, 0, 1], [1, 1, 0]]),
        ({}, np.array([[0, 255], [255, 0]], dtype=np.uint8), [[0, 1], [1, 0]]),
        ({}, np.array([[0, 1], [1, np.nan]]), [[0, 1], [1, 0]]),
        ({}, np.array([[False, True]]), [[0, 1]]),
        ({}, np.array([[-1, 0]]), [[1, 0]]),
        ({}, np.zeros((1, 2)), [[0, 0]]),
    ],
)
def test_the_named_rule_says_what_belongs(
    rule: dict[str, object], values: Values, expected: list[list[int]]
) -> None:
    """If it fails, a region holds other structures than the one that was asked for."""
    mask = to_mask(_scan(values), MaskFile.model_validate({"path": "x", **rule}))
    assert mask.dtype == np.bool_
    assert mask.astype(int).tolist() == expected


@pytest.mark.parametrize(
    ("rule", "values", "message"),
    [
        ({}, LABELS, "holds the values 0, 2, 17, 53, but a mask holds 0 and one other"),
        ({}, PROBABILITIES, "holds the values 0, 0.2, 0.5, 0.7, 1, but a mask"),
        ({}, np.arange(300), re.escape("0, 1, 2, 3, 4, 5, 6, 7, … (300 values)")),
        ({}, np.array([1, 2]), "holds the values 1, 2, but a mask"),
        ({"label": 18}, LABELS, "has no voxel of label 18; its values are 0, 2, 17, 53"),
        ({"label": [17, 99]}, LABELS, "has no voxel of label 99"),
        ({"label": 1}, PROBABILITIES, "are no labels; for a probability map name a threshold"),
        ({"threshold": 50}, PROBABILITIES, r"no voxel at or above the threshold 50; .*\[0, 1\]"),
    ],
)
def test_a_mask_that_fits_no_rule_is_refused_with_its_values(
    rule: dict[str, object], values: Values, message: str
) -> None:
    """If it fails, a segmentation of many labels becomes one region in silence."""
    with pytest.raises(CohortError, match=message) as refusal:
        to_mask(_scan(values), MaskFile.model_validate({"path": "x", **rule}))
    assert "region 'left' of 'sub-01', aseg.nii.gz" in str(refusal.value)


def test_axes_turn_a_mask_to_its_image() -> None:
    """If it fails, a mask saved as an array lies mirrored over its image."""
    mask = np.zeros((2, 3, 4), dtype=bool)
    mask[0, 0, 0] = True
    turned = turn(mask, "SPL", "RAS")
    assert turned is not None
    assert turned.shape == (4, 3, 2)
    assert np.argwhere(turned).tolist() == [[3, 2, 0]]
    assert turn(mask[0], "IL", "RA") is None
