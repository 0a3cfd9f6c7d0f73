"""Folders of images as hospitals, readers and tools leave them: 24 subjects of two groups."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from dicom_files import write_series
from PIL import Image

SUBJECTS = 24
GROUPS = ("CN", "AD")
SIZE = 24
SHAPE = (12, 14, 16)
# Left, back and below of the middle, 2 mm apart.
AFFINE = np.array([[2.0, 0, 0, -11], [0, 2, 0, -13], [0, 0, 2, -15], [0, 0, 0, 1]])
REGION, CONTROL = (12, 7), (12, 16)
LEFT, RIGHT, OTHER = (3, 7, 8), (8, 7, 8), (6, 11, 8)

Array = npt.NDArray[np.generic]


def ball(shape: tuple[int, ...], centre: tuple[int, ...], radius: float = 2.0) -> Array:
    """Return a ball in an array."""
    indices = np.indices(shape)
    return sum((index - at) ** 2 for index, at in zip(indices, centre, strict=True)) <= radius**2


def picture(number: int) -> Array:
    """Return the picture of a subject in [0, 1]; cases are darker in a region."""
    image = 0.6 + 0.05 * np.random.default_rng(number).standard_normal((SIZE, SIZE))
    image[ball((SIZE, SIZE), REGION)] -= 0.3 * (number % 2)
    return image.clip(0.05, 0.95)


def volume(number: int) -> Array:
    """Return the volume of a subject, 0 outside its brain; cases are darker in two regions."""
    image = 100 + 8 * np.random.default_rng(number).standard_normal(SHAPE)
    image[segmentation() > 2] -= 40 * (number % 2)
    return np.where(brain(), image, 0)


def brain() -> Array:
    """Return the mask of the organ."""
    return ball(SHAPE, (6, 7, 8), 6.0)


def segmentation() -> Array:
    """Return labels as FreeSurfer numbers them: white matter, hippocampi and an amygdala."""
    labels = np.where(brain(), 2, 0)
    for label, centre in ((17, LEFT), (53, RIGHT), (18, OTHER)):
        labels[ball(SHAPE, centre, 1.5)] = label
    return labels


def group(number: int) -> str:
    """Return the group of a subject."""
    return GROUPS[number % 2]


def save_volume(path: Path, voxels: Array, kind: type[np.generic] = np.float32) -> None:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels.astype(kind), AFFINE)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def save_picture(path: Path, values: Array, bits: int = 16) -> None:
    """Write values in [0, 1] as a PNG of 8 or 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint16 if bits == 16 else np.uint8
    Image.fromarray((values * (2**bits - 1)).astype(kind)).save(path)


def write_bids(folder: Path, has_table: bool = True) -> Path:
    """Write T1 images with a segmentation of FreeSurfer's and a brain map of SPM's."""
    for number in range(SUBJECTS):
        name = f"sub-{number:02d}"
        save_volume(folder / name / "anat" / f"{name}_T1w.nii.gz", volume(number))
        masks = folder / "derivatives" / "masks" / name
        save_volume(masks / f"{name}_desc-aseg_dseg.nii.gz", segmentation(), np.int16)
        noise = np.random.default_rng(number).uniform(0, 0.3, SHAPE)
        save_volume(masks / f"{name}_label-brain_probseg.nii.gz", (brain() * (1 - noise)))
    if has_table:
        rows = [f"sub-{number:02d}\t{group(number)}\t{60 + number}" for number in range(SUBJECTS)]
        (folder / "participants.tsv").write_text(
            "\n".join(["participant_id\tgroup\tage", *rows]) + "\n"
        )
    return folder


def write_pictures(folder: Path) -> Path:
    """Write 16-bit PNGs in a folder for each group, with masks of a region and its control."""
    for number in range(SUBJECTS):
        name = f"p{number:03d}"
        save_picture(folder / group(number) / f"{name}.png", picture(number))
        save_picture(folder / "masks" / f"{name}_lesion.png", ball((SIZE, SIZE), REGION), 8)
        save_picture(
            folder / "masks" / f"{name}_lesion_control.png", ball((SIZE, SIZE), CONTROL), 8
        )
    return folder


def write_arrays(folder: Path) -> Path:
    """Write an array for each group, and the masks of both."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in (0, 1):
        images = np.stack([picture(row) for row in range(number, SUBJECTS, 2)])
        np.save(folder / f"group{number + 1}_masked_64_4.npy", images.astype(np.float32))
        for words, centre in (("lesion", REGION), ("lesion_control", CONTROL)):
            mask = np.stack([ball((SIZE, SIZE), centre)] * len(images))
            np.save(folder / f"group{number + 1}_{words}_mask.npy", mask)
    return folder


def write_dicom(folder: Path) -> Path:
    """Write a series for each patient in a folder for each group."""
    for number in range(SUBJECTS):
        voxels = volume(number).clip(0).astype(np.uint16)
        kind = ("control", "patient")[number % 2]
        write_series(folder / kind / f"P{number:03d}", voxels, AFFINE)
    return folder
