"""`hippocampus`: sagittal MRI slices of large and of small hippocampi, from real patients.

256 crops around one hippocampus of the Medical Segmentation Decathlon, of which the 85 largest and
the 85 smallest by expert mask are taken; nothing else is known of the patients, neither diagnosis
nor age nor sex. Licence CC BY-SA 4.0, see ``data/NOTICE.md``.

Three things of the source that could make a score untrue, and what was done about them:

- Crops are as long as their hippocampus needs, so the edge of the scan gives the group away. Every
  crop is cut to one box round the centre of its mask that lies inside the scan in all of them. So
  the foreground is the whole image in everyone. The box cuts off 2 % of a large hippocampus and
  1 % of a small one, most often the tip of the tail; the masks end where the box ends.
- Numbers 2k − 1 and 2k are two crops of one person, for all that can be told: total volumes within
  such a pair correlate at 0.91, those of 2k and 2k + 1 at 0.06. They are one subject here and never
  in two splits. All crops run the same way (medial at larger x, as a left hippocampus lies), so the
  source seems to have mirrored one side; which is not recorded.
- Intensities were cut at percentiles of each crop, so the scale of grey depends a little on how
  much was cropped.

No truth is claimed. The groups differ by the size of the hippocampus alone, but where it is large
its neighbours make way: pixels beyond every mask tell the groups apart too. For the same reason
there is no control region: no part of a box of 26 × 40 mm is known to keep still.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from baselines.cohorts.committed_file import (
    FOLDER,
    CommittedArrays,
    intensities_of,
    read_arrays,
    write_arrays,
)
from benchmark.arrays import FloatArray, Rows
from benchmark.cohort import Anatomy, Cohort, Geometry, split_by_subject
from benchmark.cohort_source import CohortSource

DATA = FOLDER / "hippocampus.npz"
LABELS = {"anterior": 1, "posterior": 2}
"""Name of each region and its label in the expert masks."""

# First and last index of the box along R, A and S of the source's arrays, whose centre is that of
# the mask. All but 4 of 260 crops hold it; the box that all hold cuts off three times as much.
_BOX = ((5, 31), (3, 42), (9, 34))
_CENTRE = (16, 24, 20)
_SLICE = _CENTRE[0] - _BOX[0][0]
_CROP = "crop"  # the source's name of an image, kept in the file only


class Hippocampus(CohortSource):
    """Slices of 26 × 40 pixels at 1 mm through the middle of each mask; read from the package.

    Rows run down and columns forwards. Millimetres count from the centre of each mask.
    """

    name: ClassVar[str] = "hippocampus"
    description: ClassVar[str] = "Sagittal MRI slices of large and small hippocampi (CC BY-SA 4.0)."
    model: ClassVar[str | None] = "hippocampus_resnet"

    def load(self) -> Cohort:
        """Return the cohort that ships with the package."""
        arrays = read_arrays(DATA, self.name)

        plane = (slice(None), slice(None), slice(None, None, -1), slice(None), _SLICE)
        images = np.ascontiguousarray(arrays.images[plane])
        masks = {name: np.ascontiguousarray(mask[plane]) for name, mask in arrays.masks.items()}
        affine = np.eye(4)
        first, last = _millimetres(0), _millimetres(-1)
        # The third axis of a slice is the one that it has no extent along, here x.
        affine[:3] = [0, 0, 1, 0], [0, 1, 0, first[1]], [-1, 0, 0, last[2]]
        content = CommittedArrays(images, arrays.participants, masks)
        return build_cohort(self.name, content, affine)


def build_cohort(name: str, content: CommittedArrays, affine: FloatArray) -> Cohort:
    """Return the cohort of slices or volumes, of which every pixel is foreground."""
    images = intensities_of(content.images)
    return Cohort(
        name=name,
        images=images,
        participants=content.participants.drop(columns=_CROP),
        anatomy=Anatomy(
            foreground=np.ones(images.shape, dtype=np.bool_),
            rois={roi: content.masks[roi] for roi in LABELS},
        ),
        # Every mask's centre is in the middle, but nothing was turned or scaled.
        geometry=Geometry((1.0,) * (images.ndim - 2), affine, registered=False),
        group_names=("large", "small"),
    )


def volume_affine() -> FloatArray:
    """Return the affine of the volumes, whose axes are [z, y, x] ascending."""
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[::-1]
    affine[:3, 3] = _millimetres(0)
    return affine


def write_hippocampus(source: Path, path: Path) -> None:
    """Choose, crop, split and write the subjects of ``msd_hippocampus.npz``.

    Args:
        source: File with ``images`` and ``labels`` [N, R, A, S], ``valid`` as packed bits, ``ids``
            and ``volumes_mm3`` [N, 2]; ``data/NOTICE.md`` says how it was made of the Decathlon's.
        path: File to write.
    """
    with np.load(source, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
        valid = np.unpackbits(arrays["valid"], count=images.size).reshape(images.shape)
        names, volumes = arrays["ids"], arrays["volumes_mm3"]
    box = (slice(None), *(slice(first, last + 1) for first, last in _BOX))
    whole = np.flatnonzero(valid[box].all(axis=(1, 2, 3)))
    rows, groups = _thirds(whole, volumes.sum(1))
    numbers = [int(str(name).rpartition("_")[2]) for name in names[rows]]
    subjects = [f"sub-{(number + 1) // 2:03d}" for number in numbers]
    people = pd.DataFrame(
        {
            "subject": subjects,
            "group": groups,
            "split": split_by_subject(subjects, groups.tolist()),
            _CROP: names[rows],
            **{f"{roi}_volume": volumes[rows, index] for index, roi in enumerate(LABELS)},
        }
    )
    cropped, regions = (
        array[rows][box].transpose(0, 3, 2, 1)[:, None] for array in (images, labels)
    )
    masks = {roi: regions == label for roi, label in LABELS.items()}
    write_arrays(path, CommittedArrays(cropped, people, masks))


def _thirds(whole: Rows, sizes: Rows) -> tuple[Rows, Rows]:
    """Return the rows of the largest and the smallest third of whole crops, and their groups."""
    by_size = whole[np.argsort(sizes[whole], kind="stable")]
    count = len(whole) // 3
    groups = np.full(len(sizes), -1, dtype=np.int64)
    groups[by_size[:count]], groups[by_size[-count:]] = 1, 0
    rows = np.flatnonzero(groups >= 0)
    return rows, groups[rows]


def _millimetres(index: int) -> list[float]:
    """Return x, y and z of the box's first (0) or last (−1) voxel, from the centre of the mask."""
    return [float(ends[index] - centre) for ends, centre in zip(_BOX, _CENTRE, strict=True)]
