"""Pictures that protocols add to a report: upright, and with the sides of the patient named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from nibabel.affines import voxel_sizes

from benchmark.cohort import Cohort, Geometry
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_cohort
from benchmark.protocol import Drawing, Exhibit
from benchmark.reading import Reading, Sample
from benchmark.results.explained_model import add_geometry
from protocols.positive_control.figures import planted_drawings
from protocols.positive_control.statistics import TUNED, ZERO
from protocols.randomization.figures import cascade_drawings

KEYS = ("a", "b")
# Volumes [x from right to left, y, z], and slices [z down, y, x]; a radiological picture.
LAS = np.diag([-2.0, 1.0, 3.0, 1.0])
SLICES = np.array([[0, 0, 2.0, 0], [0, 1.0, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1.0]])
PICTURE = np.array([[0, -1.0, 0, 0], [0, 0, 1.0, 0], [-1.0, 0, 0, 0], [0, 0, 0, 1.0]])


def build_test(affine: np.ndarray, oriented: bool = True) -> Cohort:
    shape = SHAPE_2D if affine is PICTURE else SHAPE_3D
    spacing = tuple(voxel_sizes(affine)[: len(shape)].tolist())
    geometry = Geometry(spacing, affine, oriented=oriented)
    return replace(build_cohort(shape).select("test"), geometry=geometry)


def build_site(cohort: Cohort) -> np.ndarray:
    """Return a region [2, 1, *S] on the left of the patient, at half height and depth."""
    linear = cohort.geometry.affine[0, : len(cohort.shape)]
    axis = int(np.abs(linear).argmax())
    length = cohort.shape[axis]
    site = np.zeros((2, 1, *cohort.shape), dtype=np.bool_)
    where = [slice(size // 2 - 1, size // 2 + 2) for size in cohort.shape]
    where[axis] = slice(1, 5) if linear[axis] > 0 else slice(length - 5, length - 1)
    site[(slice(None), 0, *where)] = True
    return site


def planted(cohort: Cohort) -> list[Drawing]:
    """Return the pictures of a signal on the patient's left that a map finds."""
    site = build_site(cohort)
    image = (0.2 + 0.8 * site).astype(np.float32)
    exhibit = {
        "keys": np.array(cohort.keys[:2]),
        "truth": site,
        "clean": image,
        ZERO: 0.5 * image,
        "image strong": 0.7 * image,
        "map strong": site.astype(np.float32),
    }
    sample = Sample(KEYS, KEYS, (0, 1))
    readings = [Reading("auroc", sample, np.ones(2), {"arm": TUNED, "strength": "strong"})]
    exhibits = {"cam": add_geometry(exhibit, cohort)}
    return [
        drawing
        for drawing in planted_drawings(exhibits, {"cam": readings})
        if drawing.kind == "png"
    ]


def cascade(cohort: Cohort) -> list[Drawing]:
    """Return the picture of maps of the patient's left."""
    map_ = build_site(cohort)[:1].astype(np.float32)
    exhibit: Exhibit = {
        "image": map_,
        "foreground": np.ones_like(map_, dtype=np.bool_),
        "trained": map_,
        "cascade": np.concatenate([map_, map_]),
        "stages": np.array(["head", "stem"]),
        "twin": map_,
    }
    return list(cascade_drawings({"cam": add_geometry(exhibit, cohort)}, {"cam": []}))


def check_tile(axes: Axes, number: int) -> None:
    """Assert that the brightest pixels of a tile lie beside its letter L."""
    image = axes.images[number]
    left, right, bottom, top = image.get_extent()
    pixels = np.asarray(image.get_array())[..., :3].sum(2)
    rows, columns = np.nonzero(pixels > 0.9 * pixels.max())
    bright = left + (columns.mean() + 0.5) / pixels.shape[1] * (right - left)
    at = {
        text.get_text(): text.get_position()[0]
        for text in axes.texts
        if left < text.get_position()[0] < right and top < text.get_position()[1] < bottom
    }
    assert abs(bright - at["L"]) < abs(bright - at["R"]) / 2
    # Half way up, as the region is.
    assert abs((rows.mean() + 0.5) / pixels.shape[0] - 0.5) < 0.1


@pytest.mark.parametrize("affine", [LAS, SLICES, PICTURE])
def test_what_is_on_the_patients_left_lies_beside_the_letter_l(affine: np.ndarray) -> None:
    """If it fails, a protocol's picture shows a signal on the wrong side, or lies on its side."""
    cohort = build_test(affine)
    for drawing in (*planted(cohort), *cascade(cohort)):
        (axes,) = drawing.draw().axes
        check_tile(axes, 0)
        words = "left is on the left" if affine is not PICTURE else "the right is on the left"
        assert words in drawing.caption
        if affine is not PICTURE:
            left, right, bottom, top = axes.images[0].get_extent()
            # As wide and high in millimetres as the volume across and upright.
            across, upright = (0, 2) if affine is LAS else (2, 0)
            size = [cohort.shape[axis] * cohort.geometry.spacing[axis] for axis in range(3)]
            expected = size[upright] / size[across]
            assert (bottom - top) / (right - left) == pytest.approx(expected)


@pytest.mark.parametrize("affine", [LAS, PICTURE])
def test_exhibits_without_known_sides_say_so(affine: np.ndarray) -> None:
    """If it fails, a protocol's picture of plain files claims a left and a right."""
    cohort = build_test(affine, oriented=False)
    for drawing in (*planted(cohort), *cascade(cohort)):
        assert "Sides unknown" in drawing.caption
        labels = {text.get_text() for text in drawing.draw().axes[0].texts}
        assert not labels & {"L", "R", "A", "P", "S", "I"}


def test_images_that_lie_differently_keep_their_own_sides() -> None:
    """If it fails, the sides of one scanner are written on the images of another."""
    cohort = build_test(LAS)
    affines = np.stack([np.diag([2.0, 1.0, 3.0, 1.0]), *[LAS] * (len(cohort) - 1)])
    geometry = replace(cohort.geometry, affine=affines[0], affines=affines)
    cohort = replace(cohort, geometry=geometry)
    added = add_geometry({"keys": np.array([cohort.keys[1], cohort.keys[0]])}, cohort)
    np.testing.assert_array_equal(added["affines"], affines[[1, 0]])
    assert bool(added["oriented"])
    unnamed = add_geometry({}, cohort)
    assert not bool(unnamed["oriented"])
