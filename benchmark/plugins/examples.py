"""Small models and cohorts that plugins are checked on, and tests are built from.

The models are untrained, and the cases of a cohort are darker in regions that it knows. All of it
is made in a moment, and the same each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmark.arrays import BoolArray, ImageArray, Rows
from benchmark.classifier import Classifier, Preprocessing
from benchmark.cohort import Anatomy, Cohort, Geometry, Source
from benchmark.concept import Concept, ConceptImages
from benchmark.training import Recipe, fine_tune

SHAPE_2D = (24, 24)
SHAPE_3D = (12, 14, 16)
WIDTH = 8

# Half of the subjects are tested on, so that a statistic over the test split means something.
_SPLIT_CYCLE = ("test", "train", "test", "train", "test", "validation")
_CONTRAST = 0.35
_ANATOMY = 0.15


@dataclass(frozen=True)
class Example:
    """A model with images that fit it, and its description in a few words."""

    name: str
    classifier: Classifier
    cohort: Cohort


def build_examples() -> tuple[Example, ...]:
    """Return a conv net and a transformer, for images and for volumes."""
    return tuple(
        Example(f"a small {kind} in {dimensions}-D", build(dimensions), _cohort(dimensions))
        for dimensions in (2, 3)
        for kind, build in (("conv net", build_classifier), ("transformer", build_transformer))
    )


@lru_cache(maxsize=2)
def _cohort(dimensions: int) -> Cohort:
    # So many that the reference group of the training split is full.
    return build_cohort(_shape(dimensions), subjects=96)


def _shape(dimensions: int) -> tuple[int, ...]:
    return SHAPE_2D if dimensions == 2 else SHAPE_3D


def _convolution(dimensions: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    return nn.Conv2d if dimensions == 2 else nn.Conv3d


@lru_cache(maxsize=2)
def build_trained(dimensions: int = 2) -> Classifier:
    """Return the small conv net after learning what its example's cohort shows."""
    recipe = Recipe(120, batch_size=8, learning_rate=2e-2, weight_decay=0.0, shift=0, mirror=False)
    return fine_tune(build_classifier(dimensions), _cohort(dimensions), recipe)


def build_trunk(dimensions: int = 2, inputs: int = 1) -> nn.Sequential:
    """Return an untrained trunk of two stages; the maps are half as wide as the image."""
    conv = _convolution(dimensions)
    norm = nn.BatchNorm2d(WIDTH) if dimensions == 2 else nn.BatchNorm3d(WIDTH)
    stem = nn.Sequential(OrderedDict(conv=conv(inputs, WIDTH, 3, 1, 1), norm=norm, relu=nn.ReLU()))
    block = nn.Sequential(OrderedDict(conv=conv(WIDTH, WIDTH, 3, 2, 1), relu=nn.ReLU()))
    return nn.Sequential(OrderedDict(stem=stem, block=block))


def build_classifier(
    dimensions: int = 2,
    seed: int = 0,
    input_shape: Sequence[int] | None = None,
    preprocessing: Preprocessing | None = None,
) -> Classifier:
    """Return an untrained classifier: trunk, global average pooling, linear head.

    Args:
        dimensions: Number of spatial dimensions, 2 or 3.
        seed: Seed of the weights; the global random state is left as it was.
        input_shape: Shape *S of an image; ``SHAPE_2D`` or ``SHAPE_3D`` unless given.
        preprocessing: Preprocessing of images; unless given they stay grey and as they are.
    """
    shape = input_shape or _shape(dimensions)
    inputs = 1 if preprocessing is None else preprocessing.channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk, head = build_trunk(dimensions, inputs), nn.Linear(WIDTH, 2)
    return Classifier("tiny", trunk, head, shape, preprocessing=preprocessing)


def build_cohort(
    shape: Sequence[int] = SHAPE_2D,
    subjects: int = 24,
    regions: int = 2,
    truth: bool = True,
    visits: int = 1,
    seed: int = 0,
) -> Cohort:
    """Return a cohort whose cases are darker in a region or two of a bright ellipsoid.

    Splits are divided test : train : validation = 3 : 2 : 1 within each group.

    Args:
        shape: Shape *S of an image.
        subjects: Number of subjects; every second one is a case.
        regions: Number of regions: 1 for the left side, 2 for both; each has a control region of
            the same area.
        truth: Whether the cohort knows that the regions hold the whole difference.
        visits: Number of images of each subject.
        seed: Seed of anatomy and noise.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    names = ("left", "right")[:regions]
    foreground = _ellipsoid(shape, (0.5,) * len(shape), 0.42)
    rois = {name: _ellipsoid(shape, _site(shape, name, 0.64), 0.115) for name in names}
    controls = {name: _ellipsoid(shape, _site(shape, name, 0.36), 0.115) for name in names}
    # Anatomy that everyone shares; without it a mean image matched by least squares would match
    # the regions, the only structure there is, and put the difference back.
    positions = np.indices(tuple(shape)).sum(0) / max(shape)
    pattern = _ANATOMY * np.cos(4 * np.pi * positions)
    images, rows = [], []
    for index in range(subjects):
        group, level = index % 2, generator.normal(0.6, 0.01)
        split = _SPLIT_CYCLE[(index // 2) % len(_SPLIT_CYCLE)]
        person = {"age": float(generator.uniform(55, 85)), "sex": ("f", "m")[(index // 2) % 2]}
        for _ in range(visits):
            noise = generator.normal(0, 0.04, tuple(shape))
            image = np.where(foreground, level + pattern, 0.05) + noise
            for mask in rois.values():
                image[mask] -= _CONTRAST * group
            images.append(np.clip(image, 0, 1)[None].astype(np.float32))
            rows.append({"subject": f"s{index:03d}", "group": group, "split": split, **person})
    stacked: ImageArray = np.stack(images)

    def of_all(mask: BoolArray) -> BoolArray:
        return np.broadcast_to(mask, stacked.shape).copy()

    anatomy = Anatomy(
        of_all(foreground),
        {name: of_all(mask) for name, mask in rois.items()},
        {name: of_all(mask) for name, mask in controls.items()},
        truth=names if truth else (),
    )
    geometry = Geometry((1.5,) * len(shape), np.diag([1.5, 1.5, 1.5, 1.0]), registered=True)
    return Cohort("tiny", stacked, pd.DataFrame(rows), anatomy, geometry)


def with_sources(cohort: Cohort) -> Cohort:
    """Return the subjects of ``build_cohort``, whose regions darken independently of each other.

    Each region is a source of its own. The labels of the first are the groups; those of another
    change from subject to subject within each group and split.
    """
    rois, groups = cohort.anatomy.rois, cohort.groups
    split = cohort.participants["split"].to_numpy()
    order = np.lexsort((np.array(cohort.keys), groups, split))
    labels, images = {}, cohort.images
    for number, (name, mask) in enumerate(rois.items()):
        own = groups.copy()
        if number:
            own[order] = np.arange(len(groups)) // number % 2
        labels[name], images = own, _darken(images, mask, own - groups)
    sources = {
        name: Source(own, (name,), _darken(images, rois[name], 1 - 2 * own))
        for name, own in labels.items()
    }
    return replace(cohort, images=images, sources=sources)


def with_volumes(cohort: Cohort) -> Cohort:
    """Return a cohort whose table says how large each region is: as large as it is bright.

    So the volumes differ between the groups, and within them by as little as noise leaves.
    """
    columns = {
        f"{name}_volume": [
            1000 * image.astype(np.float64)[mask].mean()
            for image, mask in zip(cohort.images, masks, strict=True)
        ]
        for name, masks in cohort.anatomy.rois.items()
    }
    return replace(cohort, participants=cohort.participants.assign(**columns))


def with_concepts(cohort: Cohort) -> Cohort:
    """Return the cohort with two concepts of subjects of their own, one in pairs, one in sets."""
    others = build_cohort(cohort.shape, subjects=40, seed=7)
    names = np.array([f"concept-{subject}" for subject in others.subjects])
    is_case = others.groups == 1
    whole = np.logical_or.reduce(list(others.anatomy.rois.values()))
    darker = _darken(others.images, whole, np.ones(len(others), dtype=np.int64))
    absent = ConceptImages(others.images, tuple(names))
    concepts = {
        "darker": Concept(ConceptImages(darker, tuple(names)), absent, paired=True),
        "case": Concept(
            ConceptImages(others.images[is_case], tuple(names[is_case])),
            ConceptImages(others.images[~is_case], tuple(names[~is_case])),
            paired=False,
        ),
    }
    return replace(cohort, concepts=concepts)


def _darken(images: ImageArray, mask: BoolArray, steps: Rows) -> ImageArray:
    """Return images [N, 1, *S] whose region is darker by so many steps [N] of the contrast."""
    by = _CONTRAST * steps.reshape(-1, *[1] * (images.ndim - 1)) * mask
    return np.clip(images - by, 0, 1).astype(np.float32)


def _site(shape: Sequence[int], side: str, height: float) -> tuple[float, ...]:
    """Return a centre on one side, in shares of the image; the last axis runs across."""
    return (*(height,) * (len(shape) - 1), 0.34 if side == "left" else 0.66)


def _ellipsoid(shape: Sequence[int], centre: Sequence[float], radius: float) -> BoolArray:
    """Return the voxels within ``radius`` of ``centre``, both in shares of each axis."""
    axes = np.meshgrid(*(np.arange(length) / (length - 1) for length in shape), indexing="ij")
    distance = sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True))
    return np.asarray(distance <= radius**2)


class _Patches(nn.Module):
    """Trunk that embeds patches, and adds a class token and position embeddings."""

    def __init__(self, dimensions: int, shape: Sequence[int], width: int = 16) -> None:
        super().__init__()
        self.embed = _convolution(dimensions)(1, width, 4, 4)
        self.block = nn.TransformerEncoderLayer(
            width, 2, 2 * width, dropout=0.0, activation="gelu", batch_first=True
        )
        count = int(np.prod([length // 4 for length in shape]))
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(0.1 * torch.randn(1, 1 + count, width))

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token's embedding, [B, width]."""
        patches = self.embed(images).flatten(2).transpose(1, 2)
        token = self.token.expand(images.shape[0], -1, -1)
        tokens = torch.cat([token, patches], 1) + self.position
        result: Tensor = self.block(tokens)[:, 0]
        return result


def build_transformer(dimensions: int = 2, seed: int = 0) -> Classifier:
    """Return an untrained vision transformer: 4-pixel patches, one block, a class token."""
    shape = _shape(dimensions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk, head = _Patches(dimensions, shape), nn.Linear(16, 2)
    return Classifier("tiny-transformer", trunk, head, shape)
