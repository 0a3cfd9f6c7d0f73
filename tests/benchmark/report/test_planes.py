"""Pictures of images: which plane is shown, and that left is where the letter L stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from exhibits import build_explained_model
from matplotlib.figure import Figure
from nibabel.affines import apply_affine, voxel_sizes

from benchmark.cohort import Cohort, Geometry
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_cohort
from benchmark.report.figures.overlays import Tiles, cut_tiles, draw_overlays, draw_strip
from benchmark.report.figures.planes import find_exhibit_planes, find_planes
from benchmark.report.figures.sides import EdgeLetters

TURN = np.array([[0.96, -0.24, 0.14], [0.26, 0.95, -0.17], [-0.09, 0.2, 0.97]])


def rows(*numbers: float) -> np.ndarray:
    """Return an affine from the three rows of its linear part."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(numbers, (3, 3))
    return affine


LAS = rows(-2, 0, 0, 0, 1, 0, 0, 0, 3)
VOLUMES = {
    "RAS": rows(2, 0, 0, 0, 1, 0, 0, 0, 3),
    "LAS": LAS,
    "LPS": rows(-2, 0, 0, 0, -1, 0, 0, 0, 3),
    "RPI": rows(2, 0, 0, 0, -1, 0, 0, 0, -3),
    "slices from above": rows(0, 0, -2, 0, 1, 0, -3, 0, 0),
    "oblique": rows(*(TURN @ LAS[:3, :3]).ravel()),
}
PICTURES = {
    "upright": rows(0, 1, 0, 0, 0, 1, -1, 0, 0),
    "radiological": rows(0, -1, 0, 0, 0, 1, -1, 0, 0),
    "on its side": rows(2, 0, 0, 0, 0, 1, 0, 1, 0),
}


def leftmost_voxel(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the voxel at the middle of the patient's left side, by nibabel alone."""
    voxel = [length // 2 for length in shape]
    codes = nibabel.aff2axcodes(affine)[: len(shape)]
    axis = next(axis for axis, code in enumerate(codes) if code in "LR")
    voxel[axis] = 1 if codes[axis] == "R" else shape[axis] - 2
    middle = [length // 2 for length in (*shape, 1)[:3]]
    assert apply_affine(affine, (*voxel, 0)[:3])[0] < apply_affine(affine, middle)[0]
    return tuple(voxel)


def with_bright_voxel(affine: np.ndarray, shape: tuple[int, ...]) -> Tiles:
    """Return tiles of images that are bright in one voxel on the patient's left."""
    explained = build_explained_model(["cam"], build_cohort(shape))
    cohort = explained.cohort
    voxel = leftmost_voxel(affine, shape)
    images = 0.3 * cohort.images
    images[(slice(None), 0, *voxel)] = 1
    truth = {name: np.zeros_like(mask) for name, mask in cohort.anatomy.rois.items()}
    for mask in truth.values():
        mask[(slice(None), 0, *voxel)] = True
    spacing = tuple(voxel_sizes(affine)[: len(shape)].tolist())
    cohort = replace(
        cohort,
        images=images,
        anatomy=replace(cohort.anatomy, rois=truth, control_rois={}),
        geometry=Geometry(spacing, affine),
    )
    return cut_tiles(cohort, explained.evaluation, np.array([0, 1]))


def draw_all(tiles: Tiles) -> Figure:
    return draw_overlays(tiles, {"cam": tiles.images})


def draw_one(tiles: Tiles) -> Figure:
    return draw_strip(tiles, tiles.images)


@pytest.mark.parametrize("draw", [draw_all, draw_one])
@pytest.mark.parametrize("name", [*VOLUMES, *PICTURES])
def test_what_is_on_the_patients_left_lies_beside_the_letter_l(
    name: str, draw: Callable[[Tiles], Figure]
) -> None:
    """If it fails, a figure shows a lesion on the wrong side."""
    shape = SHAPE_3D if name in VOLUMES else SHAPE_2D
    tiles = with_bright_voxel({**VOLUMES, **PICTURES}[name], shape)
    axes = draw(tiles).axes[0]
    pixels = np.asarray(axes.images[0].get_array())
    height, width = pixels.shape[:2]
    left, right, bottom, top = axes.images[0].get_extent()
    # The first tile alone: the others hold a bright voxel of their own, and gaps are white.
    height, width = int(height / (bottom - top)), int(width / (right - left))
    tile = pixels[:height, :width].astype(int).sum(2)
    tile[[0, 1, -1, -2]] = tile[:, [0, 1, -1, -2]] = 0
    y, x = np.unravel_index(tile.argmax(), tile.shape)
    bright = np.array([(x + 0.5) / width, (y + 0.5) / height])
    at = {
        text.get_text(): np.array(text.get_position())
        for text in axes.texts
        if text.get_text() in ("L", "R") and 0 < min(text.get_position()) < 1
        if max(text.get_position()) < 1
    }
    assert np.abs(bright - at["L"]).sum() < np.abs(bright - at["R"]).sum() / 2


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_stand_upright_with_the_left_on_the_left(name: str) -> None:
    """If it fails, heads lie on their side, or are mirrored without a word."""
    planes = with_bright_voxel(VOLUMES[name], SHAPE_3D).planes
    assert set(planes.letters) == {EdgeLetters("L", "R", "S", "I")}
    assert planes.aspect == pytest.approx(1.5, rel=0.03)


def test_pictures_stay_as_they_are_stored() -> None:
    """If it fails, an X-ray is mirrored before it is shown."""
    tiles = with_bright_voxel(PICTURES["radiological"], SHAPE_2D)
    assert set(tiles.planes.letters) == {EdgeLetters("R", "L", "S", "I")}
    stored = leftmost_voxel(PICTURES["radiological"], SHAPE_2D)
    assert tiles.images[0][stored] == 1


def own_affines(cohort: Cohort) -> Cohort:
    """Return the cohort with every second image mirrored in the world."""
    affines = np.stack([LAS if row % 2 else VOLUMES["RAS"] for row in range(len(cohort))])
    return replace(cohort, geometry=Geometry((2.0, 1.0, 3.0), affines[0], affines=affines))


def test_images_that_lie_differently_have_letters_of_their_own() -> None:
    """If it fails, the sides of the first scanner are written on the images of all others."""
    explained = build_explained_model(["cam"], build_cohort(SHAPE_3D))
    cohort = own_affines(explained.cohort)
    tiles = cut_tiles(cohort, explained.evaluation, np.array([2, 3]))
    assert [letters and letters.left for letters in tiles.planes.letters] == ["L", "R"]


@pytest.mark.parametrize("shape", [SHAPE_2D, SHAPE_3D])
def test_images_that_do_not_know_their_sides_get_no_letters(shape: tuple[int, ...]) -> None:
    """If it fails, a figure of plain pictures claims a left and a right."""
    explained = build_explained_model(["cam"], build_cohort(shape))
    geometry = replace(explained.cohort.geometry, oriented=False)
    cohort = replace(explained.cohort, geometry=geometry)
    tiles = cut_tiles(cohort, explained.evaluation, np.array([0, 1]))
    stored = cohort.images[0, 0]
    assert any(np.array_equal(tiles.images[0], plane) for plane in (stored, *stored))
    labels = [text.get_text() for axes in draw_all(tiles).axes for text in axes.texts]
    assert not {"L", "R", "A", "P", "S", "I"} & set(labels)
    assert any("Sides unknown" in label for label in labels)


def test_a_plane_meets_a_region_of_two_parts() -> None:
    """If it fails, a picture runs between the parts of a region and shows neither."""
    region = np.zeros((1, 1, 8, 10, 8), dtype=np.bool_)
    region[:, :, 3, [1, 8], 3] = True
    planes = find_planes(Geometry((1.0,) * 3, np.eye(4)), region)
    assert planes.cut(region).any()


def test_an_exhibit_is_shown_as_its_cohort_is() -> None:
    """If it fails, a protocol's picture stands on its head or names the wrong side."""
    cohort = own_affines(build_cohort(SHAPE_3D).select("test"))
    geometry, regions = cohort.geometry, cohort.anatomy.rois["left"]
    exhibit = {
        "spacing": np.array(geometry.spacing),
        "affines": geometry.affines[:2],
        "oriented": np.array(True),
    }
    planes = find_exhibit_planes(exhibit, regions[:2])
    assert planes == find_planes(geometry.take(np.array([0, 1])), regions[:2])
    assert planes.of(1).letters == planes.letters[1:]
    bare = find_exhibit_planes({}, regions[:1])
    assert bare.letters == (None,)


@pytest.mark.parametrize("shape", [SHAPE_2D, SHAPE_3D])
def test_one_image_is_cut_as_all_are(shape: tuple[int, ...]) -> None:
    """If it fails, a row of a picture shows another subject's image or another plane."""
    cohort = build_cohort(shape).select("test")
    planes = find_planes(cohort.geometry, cohort.anatomy.rois["left"])
    whole = planes.cut(cohort.images)
    for image in range(len(whole)):
        np.testing.assert_array_equal(planes.cut_one(cohort.images, image), whole[image])
