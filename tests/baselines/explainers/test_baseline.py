"""Methods that compare with a baseline: on a linear model every one of them is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from linear_models import linear
from torch import Tensor

from baselines.explainers import path
from baselines.explainers.baseline import Baseline, ComparingExplainer, baselines_of
from baselines.explainers.path import GradientSHAP, IntegratedGradients
from baselines.explainers.perturbation import Occlusion
from baselines.explainers.reference_difference import DeepLIFT, DeepLIFTSHAP
from benchmark.classifier import Classifier
from benchmark.cohort import Batch, References
from benchmark.errors import AttributionError
from benchmark.plugins.examples import build_cohort, build_trained
from benchmark.seeding import torch_stream
from benchmark.target import Margin

SHAPES = ((12, 10), (6, 7, 8))
TARGET = Margin(0, 1)


def batch_of(shape: tuple[int, ...]) -> Batch:
    cohort = build_cohort(shape, subjects=96)
    batch = cohort.select("test").batch(np.arange(3))
    return replace(batch, references=cohort.references)


def references_of(batch: Batch) -> References:
    assert batch.references is not None
    return batch.references


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["black", "mean", "blurred"])
@pytest.mark.parametrize("method", [IntegratedGradients, DeepLIFT, GradientSHAP])
def test_on_a_linear_model_it_is_the_slope_times_the_difference(
    shape: tuple[int, ...], kind: Baseline, method: type[ComparingExplainer]
) -> None:
    """If it fails, a path, a rule or a baseline is wrong."""
    (model, slope), batch = linear(shape), batch_of(shape)
    (baselines,) = baselines_of(kind, batch.images, references_of(batch)).unbind(1)
    maps = method(kind).attribute_batch(model, batch, TARGET)
    torch.testing.assert_close(maps, slope * (batch.images - baselines), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", [DeepLIFTSHAP(), GradientSHAP()])
def test_against_a_group_it_is_the_mean_over_its_images(
    shape: tuple[int, ...], method: ComparingExplainer
) -> None:
    """If it fails, images of the reference group are drawn unevenly, or others are."""
    (model, slope), batch = linear(shape), batch_of(shape)
    group = references_of(batch).group
    assert len(group) == 16
    maps = method.attribute_batch(model, batch, TARGET)
    wanted = slope * (batch.images - group.mean(0))
    torch.testing.assert_close(maps, wanted, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_occlusion_of_a_linear_model_is_exact(shape: tuple[int, ...]) -> None:
    """If it fails, windows are misplaced, or losses are summed over them."""
    (model, slope), batch = linear(shape), batch_of(shape)
    maps = Occlusion().attribute_batch(model, batch, TARGET)
    count = {2: 15, 3: 7}[len(shape)]
    steps = [-(-length // (count + 1)) for length in shape]
    windows = [min(2 * step, length) for step, length in zip(steps, shape, strict=True)]
    starts = [
        np.arange(0, max(length - window, 0) + step, step)
        for length, window, step in zip(shape, windows, steps, strict=True)
    ]
    effect = (slope * batch.images).double()
    total, times = torch.zeros_like(effect), torch.zeros(shape, dtype=torch.float64)
    for corner in np.array(np.meshgrid(*starts)).reshape(len(shape), -1).T:
        # The last window of an axis may reach beyond it, and is cut there.
        here = tuple(
            slice(first, first + window) for first, window in zip(corner, windows, strict=True)
        )
        inside = effect[(..., *here)]
        total[(..., *here)] += inside.flatten(1).sum(1).view(-1, 1, *[1] * len(shape))
        times[here] += 1
    torch.testing.assert_close(maps.double(), total / times, atol=1e-5, rtol=1e-3)


def test_baselines_are_what_they_are_called() -> None:
    """If it fails, a map answers another question than its config says."""
    batch = batch_of((12, 10))
    references = references_of(batch)
    assert not baselines_of("black", batch.images).any()
    mean = baselines_of("mean", batch.images, references)
    assert torch.equal(mean, references.mean.expand(3, 1, 12, 10)[:, None])
    group = baselines_of("reference", batch.images, references)
    assert group.shape == (3, 16, 1, 12, 10)
    assert torch.equal(group[0], group[2])
    blurred = baselines_of("blurred", batch.images)[:, 0]
    assert (blurred.flatten(1).std(1) < batch.images.flatten(1).std(1)).all()
    flat = torch.full((1, 1, 12, 10), 0.3)
    torch.testing.assert_close(baselines_of("blurred", flat)[:, 0], flat)


def test_a_baseline_that_is_not_there_is_named() -> None:
    images = batch_of((12, 10)).images
    with pytest.raises(AttributionError, match="no baseline 'grey'; known: "):
        baselines_of("grey", images)  # type: ignore[arg-type]
    with pytest.raises(AttributionError, match="'mean' needs images of the training split"):
        baselines_of("mean", images)


def test_only_baselines_of_training_images_ask_for_them() -> None:
    """If it fails, records of a black baseline name training images, or others do not."""
    needs = {kind: IntegratedGradients(kind).needs_references for kind in ("black", "blurred")}
    assert needs == {"black": False, "blurred": False}
    assert IntegratedGradients("mean").needs_references
    assert GradientSHAP().needs_references
    assert GradientSHAP().config == {"baseline": "reference", "samples": 64}


def _gaps(model: Classifier, batch: Batch) -> Tensor:
    """Return how far each image's expected gradients are from adding up.

    In shares of the largest difference: that of an image like its references is next to nothing.
    """
    references = references_of(batch)
    with torch.no_grad():
        whole = TARGET(*model(batch.images)) - TARGET(*model(references.group)).mean()
    maps = GradientSHAP().attribute_batch(model, batch, TARGET)
    return (maps.flatten(1).sum(1) - whole) / whole.abs().max()


def test_expected_gradients_are_efficient_in_expectation(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, draws are biased: the Shapley values do not add up to what is explained."""
    model, cohort = build_trained(), build_cohort((24, 24), subjects=96)
    batch = replace(cohort.select("test").batch(np.arange(4)), references=cohort.references)
    gaps = []
    for seed in range(40):
        stream = torch_stream("test", seed)
        monkeypatch.setattr(path, "torch_stream", lambda *_, one=stream: one)
        gaps.append(_gaps(model, batch))
    every = torch.stack(gaps)
    error = every.std(0) / len(gaps) ** 0.5
    assert (every.mean(0).abs() < 4 * error + 1e-4).all()
    # One set of draws is near, too, and more of them are nearer.
    assert float(every.abs().mean()) < 0.1
    monkeypatch.setattr(path, "STEPS", 4096)
    assert float(_gaps(model, batch).abs().max()) < 0.02


def test_the_draws_of_expected_gradients_are_stratified() -> None:
    """If it fails, some reference images or parts of the way count more than others."""
    places, rows = path.stratified_draws(16)
    assert torch.bincount(rows).tolist() == [4] * 16
    for row in range(16):
        parts = (places[rows == row] * 4).long()
        assert sorted(parts.tolist()) == [0, 1, 2, 3]
    places, rows = path.stratified_draws(5)
    assert sorted(torch.bincount(rows).tolist()) == [12, 13, 13, 13, 13]
    assert ((places >= 0) & (places < 1)).all()
