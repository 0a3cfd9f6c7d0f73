"""Phantom subjects: the ICBM 152 brain, deformed, with hippocampi of known volume.

One smooth backward map carries each subject's sampling points into the template. It is composed,
in this order, of head size and pose, a random deformation, ventricles that widen with age, and
hippocampal atrophy. Then come scanner contrast, bias field, gain and Rician noise, in the order
in which a scanner adds them. Image, brain mask and regions share the map, so truth and image
cannot drift apart.

How far the truth reaches: space draws together smoothly, so tissue round a shrinking hippocampus
moves too. With everything else held fixed, the full ellipsoid holds 53–57 % of the change in
intensity of a slice and 39 % of a box's, the 6 mm round it hold 98 % and 95 %.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.ndimage import binary_fill_holes
from scipy.special import expit

from baselines.cohorts.committed_file import Bytes, intensities_of
from baselines.cohorts.rendering.fields import smooth_field
from baselines.cohorts.rendering.scanner import SCANNERS, Scan, scan_tissue
from baselines.cohorts.template import View, load_template
from benchmark.arrays import BoolArray, FloatArray, ImageArray
from benchmark.cohort import Anatomy, Cohort, Geometry
from benchmark.errors import CohortError
from benchmark.seeding import stream

SIDES: Mapping[str, int] = {"hippocampus_left": -1, "hippocampus_right": 1}
"""Name of each region, and the sign of its x in MNI space: left is negative."""

SEMI_AXES = np.array([20.0, 8.0, 5.5])
"""Semi-axes of the hippocampal ellipsoid in mm: along its length, mediolateral, superoinferior."""

ELLIPSOID_VOLUME = float(4 / 3 * np.pi * SEMI_AXES.prod())
"""Volume in mm³ of a hippocampus of relative volume 1."""

SECTORS = ("lateral_upper", "lateral_lower", "medial_upper", "medial_lower")
"""Quarters of a hippocampus's cross-section, which may shrink each by itself."""

GROUP_EFFECT = 0.28
"""Relative volume of each hippocampus that group B lacks."""

REFERENCE_TIV = 1450.0
"""Intracranial volume in mL at which a head is as large as the template."""

_VOLUMES = (0.45, 1.35)  # the smallest and the largest relative volume
_CENTRE = np.array([27.0, -21.0, -14.5])
_LONG_AXIS = np.array([6.0, -26.0, 13.0])
CSF = 0.13
"""Intensity of cerebrospinal fluid."""
# Window in which space contracts, and the edge of the vacated shell, in units of the semi-axes.
_WINDOW_RADIUS, _WINDOW_SOFTNESS = 1.35, 0.12
_SHELL_SOFTNESS, _HORN_SOFTNESS = 0.07, 0.25
# Knot spacings in mm and standard deviations in mm: 7 and 14 knots across a slice of 144 mm.
_DEFORMATION = ((24.0, 2.2), (11.0, 0.77))
_VENTRICLES, _VENTRICLE_REACH, _VENTRICLE_GROWTH = np.array([0.0, -21.0, 12.0]), 22.0, 0.012
# Width in radians of the edge between two sectors.
_SECTOR_SOFTNESS = 0.1


@dataclass(frozen=True)
class Person:
    """Who a phantom subject is.

    Attributes:
        group: Group 0 (A, large hippocampi) or 1 (B, small).
        age: Age in years.
        sex: Sex, ``"F"`` or ``"M"``.
        tiv: Total intracranial volume in mL.
        scanner: Scanner, ``"scanner1"`` or ``"scanner2"``.
        volumes: Relative volume of each hippocampus, by name of its region; 1 is the template's.
        sectors: Relative volume of each of its ``SECTORS``, by name of its region; where there are
            none, all sectors have that of the hippocampus.
    """

    group: int
    age: float
    sex: str
    tiv: float
    scanner: str
    volumes: Mapping[str, float]
    sectors: Mapping[str, Sequence[float]] = field(default_factory=dict)


def draw_person(rng: np.random.Generator, group: int) -> Person:
    """Return a random subject; its group itself changes hippocampal volume alone.

    Group B is 3.5 years older on average, so age alone tells the groups apart at an AUROC of
    0.62, and true volume at 0.955.
    """
    age = round(float(np.clip(62 + 3.5 * group + 8 * rng.standard_normal(), 40, 90)), 1)
    sex = "M" if rng.random() < 0.5 else "F"
    head = REFERENCE_TIV + (65 if sex == "M" else -65) + 110 * rng.standard_normal()
    tiv = round(float(np.clip(head, 1100, 1850)), 1)
    scanner = "scanner2" if rng.random() < 0.4 else "scanner1"
    volume = 1.0 - GROUP_EFFECT * group - 0.006 * (age - 64) + 0.0002 * (tiv - REFERENCE_TIV)
    volume = float(np.clip(volume + 0.11 * rng.standard_normal(), *_VOLUMES))
    asymmetry = 0.04 * rng.standard_normal()
    volumes = {name: volume * (1 + side * asymmetry) for name, side in SIDES.items()}
    return Person(group, age, sex, tiv, scanner, volumes)


def counterpart(person: Person) -> Person:
    """Return the same subject with the hippocampi that it would have in the other group."""
    volume = sum(person.volumes.values()) / len(person.volumes)
    effect = GROUP_EFFECT if person.group else -GROUP_EFFECT
    factor = float(np.clip(volume + effect, *_VOLUMES)) / volume
    volumes = {name: factor * own for name, own in person.volumes.items()}
    return replace(person, group=1 - person.group, volumes=volumes)


class Wall(Protocol):
    """The boundary of a structure, which can move and take the tissue round it along."""

    @property
    def name(self) -> str:
        """Name of the structure's region."""

    def displacement(self, points: FloatArray, amount: float) -> FloatArray:
        """Return where points [*S, 3] sample the template, as an offset in mm, if it moved."""

    def region(self, points: FloatArray) -> BoolArray:
        """Return the points [*S, 3] that belong to the structure before it moved, [*S]."""


def render(
    person: Person,
    view: View,
    rng: np.random.Generator,
    walls: Sequence[tuple[Wall, float]] = (),
    scan: Scan | None = None,
    horn: float = CSF,
) -> tuple[Bytes, dict[str, BoolArray]]:
    """Return a subject's image in grey levels and masks by name, each [*S]; see ``build_cohort``.

    The foreground is the brain with its fluid spaces, without holes; a region the full ellipsoid,
    with the shell that atrophy vacated; its control as many voxels elsewhere. ``rng`` is the
    subject's own, so that no other subject changes this one; of ``scan`` where it is given, the
    anatomy alone is drawn from it. ``horn`` is the intensity of what fills the temporal horn.
    """
    template = load_template()
    points = _pose(view.points, person.tiv, rng)
    for knots, deviation in _DEFORMATION:
        field = [smooth_field(view, knots, rng) for _ in range(3)]
        points = points + deviation * np.stack(field, axis=-1)
    points = _widen_ventricles(points, person.age)
    sources, fluid, rois = _shrink_hippocampi(points, person)
    for wall, amount in walls:
        sources = sources + wall.displacement(points, amount)

    tissue = template.sample(template.t1, sources)
    tissue = tissue * (1 - fluid) + horn * fluid
    masks = {"foreground": binary_fill_holes(template.sample(template.brain, sources) >= 0.5)}
    masks |= rois
    for name, side in SIDES.items():
        radius, *_ = _frame(points, side, view.control_centre)
        masks[f"control:{name}"] = _nearest(radius, int(rois[name].sum()))
    masks |= {wall.name: wall.region(points) for wall, _ in walls}
    image = scan_tissue(tissue, scan or Scan(SCANNERS[person.scanner], rng), view)
    return np.rint(255 * image).astype(np.uint8), masks


def draw_groups(counts: Mapping[str, int], seed: int) -> pd.DataFrame:
    """Return ``subject``, ``group`` and ``split``, both groups equally often in each split.

    Raises:
        CohortError: If a split has an odd number of subjects.
    """
    rng = stream("phantom", seed, "groups")
    rows: list[tuple[str, int, str]] = []
    for split, count in counts.items():
        if count % 2:
            raise CohortError(
                f"A phantom's splits hold both groups equally often, but {split} "
                f"was given {count} subjects; give an even number."
            )
        for group in rng.permutation(np.arange(count) % 2):
            rows.append((f"sub-{len(rows) + 1:04d}", int(group), split))
    return pd.DataFrame(rows, columns=["subject", "group", "split"])


def subject_stream(number: int, seed: int) -> np.random.Generator:
    """Return the stream from which subject ``number``, from 1, is drawn and then rendered."""
    return stream("phantom", seed, number)


def make_cohort(name: str, view: View, counts: Mapping[str, int], seed: int) -> Cohort:
    """Return a whole cohort, drawn and rendered, with ``counts`` subjects in each split.

    Raises:
        CohortError: If a split has an odd number of subjects.
    """
    people = draw_groups(counts, seed)

    def make(number: int, group: int) -> tuple[Person, Bytes, dict[str, BoolArray]]:
        rng = subject_stream(number, seed)
        person = draw_person(rng, group)
        return person, *render(person, view, rng)

    # Read before there are several threads to read them.
    _ = load_template(), view.points
    persons: list[Person] = []
    images = np.empty((len(people), 1, *view.shape), dtype=np.uint8)
    masks = {
        kind: np.empty(images.shape, dtype=np.bool_)
        for kind in ("foreground", *SIDES, *(f"control:{name}" for name in SIDES))
    }
    # Threads help, since NumPy and SciPy let go of the interpreter while they compute.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(make, range(1, len(people) + 1), people["group"].tolist())
        for row, (person, image, own_masks) in enumerate(made):
            persons.append(person)
            images[row, 0] = image
            for kind, mask in own_masks.items():
                masks[kind][row, 0] = mask
    participants = pd.concat([people, covariates(persons)], axis=1)
    return build_cohort(name, view, images, participants, masks)


def covariates(persons: Sequence[Person]) -> pd.DataFrame:
    """Return the table that a study would record of these subjects, one row each.

    The hippocampal volumes are in mm³ at the template's head size, that is, already divided by
    tiv / 1450 mL, as studies adjust them; 3686 mm³ is a relative volume of 1. They keep the slight
    dependence on head size that proportional adjustment leaves in real data.
    """
    plain = ("age", "sex", "tiv", "scanner")
    table = pd.DataFrame([{name: getattr(person, name) for name in plain} for person in persons])
    for name in SIDES:
        volumes = [round(person.volumes[name] * ELLIPSOID_VOLUME, 1) for person in persons]
        table[f"{name}_volume"] = volumes
    return table


def build_cohort(
    name: str,
    view: View,
    images: Bytes,
    participants: pd.DataFrame,
    masks: Mapping[str, BoolArray],
    normals: ImageArray | None = None,
) -> Cohort:
    """Return the cohort of a phantom's arrays.

    Images are [N, 1, *S] grey levels, of which 255 stands for 1.0; masks are [N, 1, *S], named
    ``foreground``, by their region, or ``control:`` + region; normals are as ``Cohort.normals``.
    """
    return Cohort(
        name=name,
        images=intensities_of(images),
        participants=participants,
        anatomy=Anatomy(
            foreground=masks["foreground"],
            rois={roi: masks[roi] for roi in SIDES},
            control_rois={roi: masks[f"control:{roi}"] for roi in SIDES},
            truth=tuple(SIDES),
        ),
        geometry=Geometry(view.spacing, view.affine, registered=True),
        group_names=("A", "B"),
        normals=normals,
    )


def _pose(points: FloatArray, tiv: float, rng: np.random.Generator) -> FloatArray:
    """Return points scaled to the head's size, rolled a little, shifted as registration does."""
    angle = 0.03 * rng.standard_normal()
    shift = np.array([1.0, 1.5, 1.0]) * rng.standard_normal(3)
    cosine, sine = np.cos(angle), np.sin(angle)
    roll = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])
    return np.asarray((REFERENCE_TIV / tiv) ** (1 / 3) * (points @ roll.T) + shift)


def _widen_ventricles(points: FloatArray, age: float) -> FloatArray:
    offset = points - _VENTRICLES
    window = np.exp(-(offset**2).sum(axis=-1, keepdims=True) / (2 * _VENTRICLE_REACH**2))
    return np.asarray(points - _VENTRICLE_GROWTH * (age - 64) * window * offset)


def _frame(
    points: FloatArray, side: int, centre: Sequence[float]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a hippocampus's radius [*S], 1 on the ellipsoid, and coordinates [*S, 3] in semi-axes.

    The axes [3, 3] come third: along its length, to the right, upwards. ``centre`` is that of the
    right side.
    """
    length = _LONG_AXIS * np.array([side, 1, 1]) / np.linalg.norm(_LONG_AXIS)
    right = np.array([1.0, 0.0, 0.0]) - length[0] * length
    right /= np.linalg.norm(right)
    axes = np.stack([length, right, np.cross(length, right)])
    coordinates = (points - np.asarray(centre) * np.array([side, 1, 1])) @ axes.T / SEMI_AXES
    return np.linalg.norm(coordinates, axis=-1), coordinates, axes


def _shrink_hippocampi(
    points: FloatArray, person: Person
) -> tuple[FloatArray, FloatArray, dict[str, BoolArray]]:
    """Return points drawn together towards each hippocampus's long axis.

    A hippocampus gets thinner, not shorter: its cross-section is proportional to its volume, so
    a slice shows the whole of the change and a box the same change as the slice.

    Returns:
        Points [*S, 3] to sample the template at; share [*S] of each voxel that the temporal horn
        fills; the ellipsoids and their sectors by name.
    """
    sources, fluid = points.copy(), np.zeros(points.shape[:-1])
    rois: dict[str, BoolArray] = {}
    for name, side in SIDES.items():
        radius, coordinates, axes = _frame(points, side, tuple(_CENTRE))
        lateral, upward = coordinates[..., 1] * side, coordinates[..., 2]
        thinness: FloatArray | float = person.volumes[name] ** 0.5
        rois[name] = radius < 1
        if name in person.sectors:
            weights = _sector_weights(lateral, upward)
            thinness = weights @ np.sqrt(person.sectors[name])
            for number, sector in enumerate(SECTORS):
                rois[f"{name}_{sector}"] = rois[name] & (weights.argmax(axis=-1) == number)
        across = coordinates * SEMI_AXES * np.array([0.0, 1.0, 1.0]) @ axes
        window = expit((_WINDOW_RADIUS - radius) / _WINDOW_SOFTNESS)
        sources += np.asarray(1 / thinness - 1)[..., None] * window[..., None] * across
        if np.min(thinness) < 1:
            width = np.stack(np.broadcast_arrays(1.0, thinness, thinness), axis=-1)
            shrunken = np.linalg.norm(coordinates / width, axis=-1)
            shell = expit((shrunken - 1) * thinness / _SHELL_SOFTNESS) * (np.asarray(thinness) < 1)
            shell *= expit((1 - radius) / _SHELL_SOFTNESS)
            # The horn lies above and lateral of the hippocampus, so only that side fills.
            horn = 0.8 * lateral + 0.3 * np.abs(upward) + 0.5 * upward
            fluid = np.maximum(fluid, shell * expit(horn / _HORN_SOFTNESS))
    return sources, fluid, rois


def _sector_weights(lateral: FloatArray, upward: FloatArray) -> FloatArray:
    """Return how far each point belongs to each of the ``SECTORS``, [*S, 4], which add up to 1.

    The arguments are coordinates [*S] across the hippocampus, in semi-axes.
    """
    angle = np.arctan2(upward, lateral)
    is_lateral, is_upper = (
        expit(part / _SECTOR_SOFTNESS) for part in (np.cos(angle), np.sin(angle))
    )
    sides = np.stack([is_lateral, 1 - is_lateral], axis=-1)
    heights = np.stack([is_upper, 1 - is_upper], axis=-1)
    weights: FloatArray = sides[..., :, None] * heights[..., None, :]
    return weights.reshape(*lateral.shape, len(SECTORS))


def _nearest(radius: FloatArray, count: int) -> BoolArray:
    """Return the ``count`` voxels of smallest radius."""
    chosen = np.zeros(radius.size, dtype=np.bool_)
    chosen[np.argpartition(radius, count, axis=None)[:count]] = True
    return chosen.reshape(radius.shape)
