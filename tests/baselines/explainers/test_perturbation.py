"""RISE against its formula; occlusion's closed form stands in test_baseline.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from images import build_images
from scipy.stats import spearmanr

from baselines.explainers.perturbation import MASKS, RISE, Occlusion, draw_masks
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_cohort, build_trained
from benchmark.target import Margin

TARGET = Margin(0, 1)


@pytest.mark.parametrize("size", [SHAPE_2D, SHAPE_3D, (97, 64)])
def test_masks_keep_half_and_are_the_same_each_time(size: tuple[int, ...]) -> None:
    """If it fails, a map moves from call to call, or parts of the image are hidden more often."""
    masks = draw_masks(size)
    assert masks.shape == (MASKS, 1, *size)
    assert torch.equal(masks, draw_masks(size))
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1
    often = masks.mean(0)
    assert float((often - 0.5).abs().max()) < 0.15
    assert float(masks.mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_rise_is_its_formula(dimensions: int) -> None:
    """If it fails, masks are weighted by another image's score, or scaled wrongly."""
    model = build_trained(dimensions)
    images = build_images(2, model.input_shape)
    masks = draw_masks(model.input_shape)
    with torch.no_grad():
        scores = torch.stack([TARGET(*model(masks * image)) for image in images])
    maps = RISE().attribute(model, images, TARGET)
    for made, score in zip(maps, scores, strict=True):
        weights = (score - score.mean()).double().numpy() / (0.5 * MASKS)
        wanted = np.tensordot(weights, masks.double().numpy(), axes=1)
        np.testing.assert_allclose(made, wanted, atol=1e-4 * float(np.abs(wanted).max()))


def test_a_constant_in_the_target_leaves_the_map_of_rise_alone() -> None:
    """If it fails, a bias of the network shows up as noise of the masks."""
    model = build_trained()
    shifted = model.copy()
    shifted.head.bias.data += torch.tensor([50.0, 0.0])
    images = build_images(1)
    torch.testing.assert_close(
        RISE().attribute(model, images, TARGET),
        RISE().attribute(shifted, images, TARGET),
        atol=1e-4,
        rtol=1e-3,
    )


@pytest.mark.parametrize("method", [Occlusion("mean"), RISE("mean")])
def test_what_the_network_learned_is_marked(method: Occlusion | RISE) -> None:
    """If it fails, losses are laid out at the wrong place of the image."""
    cohort = build_cohort(SHAPE_2D, subjects=96)
    test = cohort.select("test")
    cases = np.flatnonzero(test.groups == 1)[:4]

    batch = replace(test.batch(cases), references=cohort.references)
    maps = method.attribute_batch(build_trained(), batch, Margin(1, 0))
    assert batch.truth is not None
    inside = [float(one[where].mean()) for one, where in zip(maps, batch.truth, strict=True)]
    outside = [float(one[~where].mean()) for one, where in zip(maps, batch.truth, strict=True)]
    assert min(inside) > 3 * max(0.0, *outside)


def test_occlusion_and_rise_rank_regions_alike() -> None:
    """If it fails, one of them has its sign turned round."""
    cohort = build_cohort(SHAPE_2D, subjects=96).select("test")
    images = torch.from_numpy(cohort.images[:4])
    both = [one.attribute(build_trained(), images, TARGET) for one in (Occlusion(), RISE())]
    for one, other in zip(*both, strict=True):
        assert spearmanr(one.flatten(), other.flatten()).statistic > 0.3
