"""Threshold-free cluster enhancement of a volume of t, by nilearn.

A voxel's t is replaced by what supports it. That is the sum over thresholds h below |t| of e(h)^½
h² (Smith & Nichols 2009, NeuroImage 44). Here e is the size of the cluster that the voxel lies in
at that threshold. A weak difference over many neighbours can so be found where no voxel stands out
alone; which of them carries it is then less certain. The largest value of each permutation is the
null of all voxels, as for the largest |t|.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmark.arrays import BoolArray, FloatArray
from benchmark.errors import InputError
from benchmark.statistics.linear.design import Design

_OLD_DEFAULT = 'If "tfce" is set to True'  # the warning of nilearn < 0.13 on its own default
# Share of a voxel's squares below which what groups leave of them is rounding.
_LEAST_LEFT = 1e-12


def enhanced_test(
    values: npt.ArrayLike,
    groups: npt.ArrayLike,
    design: Design,
    inside: BoolArray,
    permutations: int,
    seed: int,
) -> FloatArray:
    """Return each voxel's p [V] of the difference between two groups after TFCE, given covariates.

    The p is two-sided and adjusted for the family-wise error rate, (count + 1)/(permutations + 1);
    1 where a voxel does not vary beyond what groups and covariates explain.

    Args:
        values: [n, V] a value of each subject at each voxel.
        groups: [n] group of each subject, 0 or 1.
        design: Covariates without the group; the intercept alone where there are none.
        inside: [z, y, x] bool, which voxels of a volume the V are, in C order. Voxels are
            neighbours that share a face.
        permutations: Number of permutations, which nilearn draws.
        seed: Seed of the permutations, below 2³². They depend on it and on n alone.

    Raises:
        InputError: If ``inside`` is no volume of V voxels.
    """
    # These load for seconds, and few ask for them.
    from nibabel import Nifti1Image
    from nilearn.maskers import NiftiMasker
    from nilearn.mass_univariate import permuted_ols

    maps = np.asarray(values, dtype=np.float64)
    if inside.ndim != 3 or np.count_nonzero(inside) != maps.shape[1]:
        raise InputError(
            f"Expected a volume with {maps.shape[1]} voxels inside but got "
            f"{np.count_nonzero(inside)} of shape {list(inside.shape)}."
        )
    contrast = (np.asarray(groups) == 0).astype(np.float64)
    varies = _varies(maps, contrast, design)
    p = np.ones(maps.shape[1])
    if not varies.any():
        return p
    tested = np.zeros(inside.shape, dtype=np.uint8)
    tested[inside] = varies
    # What lies around the voxels takes part in no cluster and costs as much.
    tested = tested[ndimage.find_objects(tested)[0]]
    masker = NiftiMasker(mask_img=Nifti1Image(tested, np.eye(4)), reports=False).fit()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_OLD_DEFAULT)
        answer = permuted_ols(
            contrast[:, None],
            maps[:, varies],
            design.matrix[:, 1:] if design.used else None,
            n_perm=permutations,
            random_state=seed,
            n_jobs=1,  # another number of jobs would draw other permutations
            masker=masker,
            tfce=True,
        )
    reached = np.rint(10 ** -answer["logp_max_tfce"][0] * (permutations + 1))  # count + 1
    p[varies] = reached / (permutations + 1)
    return p


def _varies(maps: FloatArray, contrast: FloatArray, design: Design) -> BoolArray:
    """Return which voxels [V] have a t: what groups and covariates explain is not all there is."""
    residuals = design.residuals(maps)
    direction = design.residuals(contrast)
    direction = direction / np.linalg.norm(direction)
    squares = (residuals**2).sum(axis=0)
    left = squares - (direction @ residuals) ** 2
    varies: BoolArray = left > _LEAST_LEFT * squares
    return varies
