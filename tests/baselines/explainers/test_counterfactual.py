"""The smallest smooth change: known exactly on a linear model, and enough on others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from linear_models import linear
from scipy.ndimage import gaussian_filter

from baselines.explainers.counterfactual import Counterfactual
from benchmark.plugins.examples import build_cohort, build_trained
from benchmark.target import Margin

TARGET = Margin(0, 1)


@pytest.mark.parametrize("shape", [(24, 20), (10, 12, 14)])
def test_on_a_linear_model_it_is_known(shape: tuple[int, ...]) -> None:
    """If it fails, the change is larger than it must be, or rougher, or misses its goal."""
    model, slope = linear(shape)
    method = Counterfactual(smoothness=1 / 12)
    images = torch.full((2, 1, *shape), 0.5)
    images[1] += 0.01
    maps = method.attribute(model.double(), images.double(), TARGET)
    score = TARGET(*model(images.double()))
    smooth = method.smoothed(slope.double()[None, None])[0, 0]
    wanted = (score.abs() / (slope * smooth).sum()).view(-1, 1, *[1] * len(shape)) * smooth
    torch.testing.assert_close(maps, wanted, atol=1e-9, rtol=1e-6)
    after = TARGET(*model(images.double() - maps))
    torch.testing.assert_close(after, score - score.abs(), atol=1e-9, rtol=1e-9)


def test_the_smoothing_is_a_gaussian_twice() -> None:
    """If it fails, `smoothness` is another width than it says."""
    point = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    point[..., 32, 32] = 1
    smooth = Counterfactual(smoothness=1 / 16).smoothed(point)[0, 0].numpy()
    wanted = gaussian_filter(point[0, 0].numpy(), 2**0.5 * 4, truncate=8)
    np.testing.assert_allclose(smooth / smooth.max(), wanted / wanted.max(), atol=1e-3)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_it_takes_the_target_to_zero_within_grey_values(dimensions: int) -> None:
    """If it fails, the map is no counterfactual: the network does not follow it."""
    model = build_trained(dimensions)
    cohort = build_cohort(model.input_shape, subjects=96).select("test")
    rows = np.flatnonzero(cohort.groups == 0)[:6]
    images = cohort.batch(rows).images
    maps = Counterfactual().attribute(model, images, TARGET)
    with torch.no_grad():
        before = TARGET(*model(images))
        after = TARGET(*model(images - maps))
    changed = images - maps
    assert float(changed.min()) >= -1e-6
    assert float(changed.max()) <= 1 + 1e-6
    assert (before > 0).all()
    assert float((after.abs() / before).median()) < 0.1
    assert (after < before).all()
