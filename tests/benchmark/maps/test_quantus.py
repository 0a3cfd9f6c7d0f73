"""Quantus 0.6 as the reference where it is right, and what it does where it is not.

Each test of the second half shows the behaviour of Quantus that a score here must not have, and
what comes out here on the same input. If Quantus mends one, the test fails and the sentence about
it can go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import quantus
import torch
from images import build_images
from quantus.helpers.model.pytorch_model import PyTorchModel
from torch import Tensor, nn
from trials import build_trial, trained

from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.classifier.redrawing import redraw
from benchmark.maps import localisation, similarity
from benchmark.maps.imputers import NoisyLinear
from benchmark.maps.masks import descending_order, top_masks
from benchmark.plugins.examples import build_classifier
from benchmark.reading import Reading, find, summarise
from benchmark.seeding import stream
from benchmark.target import own_margin
from protocols.delta_t import DeltaT, DeltaTConfig

Array = npt.NDArray[np.float32]

SHAPE, COUNT = (20, 24), 6
PIXELS = SHAPE[0] * SHAPE[1]


def maps_and_truth() -> tuple[Tensor, Tensor, Tensor]:
    """Return maps without ties, regions of different sizes, and a foreground of every pixel."""
    generator = stream("test_quantus", "maps")
    maps = np.stack([generator.permutation(PIXELS) for _ in range(COUNT)]) + 1.0
    importance = torch.from_numpy(maps.reshape(COUNT, 1, *SHAPE)).float() / PIXELS
    truth = torch.zeros(COUNT, 1, *SHAPE, dtype=torch.bool)
    for image in range(COUNT):
        truth[image, 0, 4 : 7 + image, 5 : 9 + 2 * image] = True
    importance[::2] += 0.5 * truth[::2] * importance[::2]  # Every second map points at its region.
    return importance, truth, torch.ones_like(truth)


def measured(
    metric: Any, importance: Tensor, truth: Tensor, batch_size: int = COUNT
) -> npt.NDArray[np.float64]:
    """Return Quantus' localisation scores; these metrics look at no model."""
    scores = metric(
        model=None,
        x_batch=np.zeros(importance.shape, dtype=np.float32),
        y_batch=np.zeros(len(importance), dtype=int),
        a_batch=importance.numpy(),
        s_batch=truth.numpy(),
        channel_first=True,
        batch_size=batch_size,
    )
    return np.array(scores, dtype=np.float64)


def explain(model: nn.Module, inputs: Array, targets: npt.NDArray[np.int64]) -> Array:
    """Return saliency of the reference group's margin, as Quantus wants explanations."""
    assert isinstance(model, Classifier)
    images = torch.as_tensor(inputs)
    maps: Array = Saliency().attribute(model, images, own_margin(0)).numpy()
    return maps


class Logits(nn.Module):
    """A classifier that returns its logits alone, as Quantus wants models."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, [B, 2]."""
        logits: Tensor = self.classifier(images)[0]
        return logits


@lru_cache(maxsize=1)
def removal_inputs() -> tuple[Array, npt.NDArray[np.int64], Array]:
    """Return six test images of each group, group by group, with their groups and maps."""
    trial = build_trial(Saliency())
    groups = trial.test.groups
    rows = np.concatenate([np.flatnonzero(groups == group)[:6] for group in (0, 1)])
    return trial.test.images[rows], groups[rows], trial.importance.numpy()[rows]


def removed(quantiles: tuple[float, ...], batch_size: int = 64) -> list[Reading]:
    """Return ``delta_t`` of saliency on the same model and cohort."""
    config = DeltaTConfig(quantiles=quantiles, repeats=1, secondary_repeats=1, subjects=12)
    return DeltaT(config).readings(build_trial(Saliency(), batch_size=batch_size))


def reading_of(readings: list[Reading], statistic: str, **conditions: str | float) -> Reading:
    reading = find(readings, statistic, **conditions)
    assert reading is not None
    return reading


# Where Quantus is right.


def rank_accuracy(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    return localisation.rank_accuracy(importance, truth, foreground)


def pointing(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    return localisation.pointing(importance, truth, foreground, 0.0, (1.0, 1.0))


def top_k(importance: Tensor, truth: Tensor, foreground: Tensor) -> Tensor:
    ties = [stream("test_quantus", "ties", image) for image in range(len(importance))]
    top = top_masks(descending_order(importance, foreground, ties), foreground, (48 / PIXELS,))
    return (top & truth).flatten(1).sum(1) / 48


@pytest.mark.parametrize(
    ("metric", "ours"),
    [
        (quantus.RelevanceRankAccuracy, rank_accuracy),
        (quantus.RelevanceMassAccuracy, localisation.mass),
        (lambda: quantus.TopKIntersection(k=48), top_k),
        (quantus.PointingGame, pointing),
    ],
    ids=["rank_accuracy", "mass", "top_k", "pointing"],
)
def test_localisation_agrees(
    metric: Callable[[], Any], ours: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> None:
    """If it fails, a measure that bears a published name is not the published one."""
    importance, truth, foreground = maps_and_truth()
    expected = measured(metric(), importance, truth)
    assert len(set(expected)) > 1
    np.testing.assert_allclose(ours(importance, truth, foreground), expected, rtol=1e-6)


@pytest.mark.parametrize("stage", ["head", "block", "stem"])
def test_similarity_after_randomising_one_layer_agrees(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, the similarity of maps before and after is not that of the published test."""
    classifier, images = build_classifier(), build_images(5)
    other = classifier.copy()
    (part,) = [one.module for one in other.stages if one.name == stage]
    redraw(part, seed=3)

    def our_weights(self: PyTorchModel, order: str, seed: int) -> Iterator[tuple[str, nn.Module]]:
        yield stage, other

    monkeypatch.setattr(PyTorchModel, "get_random_layer_generator", our_weights)
    before, after = (
        torch.from_numpy(explain(model, images.numpy(), np.zeros(5, dtype=int))).abs()
        for model in (classifier, other)
    )
    scores = quantus.MPRT()(
        classifier,
        images.numpy(),
        np.zeros(5, dtype=int),
        explain_func=explain,
        channel_first=True,
        batch_size=2,
    )
    ours = similarity.spearman(before, after, torch.ones_like(images, dtype=torch.bool))
    np.testing.assert_allclose(scores["original"], 1)
    np.testing.assert_allclose(ours, scores[stage], atol=1e-9)
    assert ours.abs().max() < 0.999


def test_linear_imputation_agrees() -> None:
    """If it fails, the fill under the name of ROAD is not ROAD's."""
    importance, truth, _ = maps_and_truth()
    border = torch.zeros_like(truth)
    border[..., :5, 15:] = True
    masks = torch.cat([truth, border, importance > 0.9], dim=1)
    fill = NoisyLinear(0, noise=0.0).prepare(importance, ~truth, [str(n) for n in range(COUNT)])
    filled = fill(masks)
    for image in range(COUNT):
        for place in range(3):
            removed_pixels = masks[image, place].flatten().nonzero()[:, 0].numpy()
            expected = quantus.functions.perturb_func.noisy_linear_imputation(
                importance[image].numpy(), removed_pixels, noise=0.0
            )
            np.testing.assert_allclose(filled[image, place], expected[0], atol=1e-5)


# Where it is not.


def test_quantus_counts_an_empty_region_as_a_hit() -> None:
    """NaN is written into an array of bool and reads True. If it fails, ours may do so too."""
    importance, truth, foreground = maps_and_truth()
    truth[3] = False
    assert measured(quantus.PointingGame(), importance, truth).tolist() == [1, 0, 1, 1, 1, 0]
    assert pointing(importance, truth, foreground)[3].isnan()


@pytest.mark.filterwarnings(
    "ignore:divide by zero:RuntimeWarning:quantus", "ignore:Ratio is smaller:UserWarning:quantus"
)
def test_quantus_weights_a_region_by_the_size_of_the_batch() -> None:
    """A pixel count runs over all images but two. If it fails, ours may depend on neighbours."""
    importance, truth, foreground = maps_and_truth()
    metric = quantus.AttributionLocalisation(weighted=True)
    together = measured(metric, importance, truth, batch_size=6)
    apart = measured(metric, importance, truth, batch_size=3)
    np.testing.assert_allclose(apart, 4 * together)
    assert np.isinf(measured(metric, importance, truth, batch_size=2)).all()
    lifts = [
        torch.cat(
            [
                localisation.lift(*parts)
                for parts in zip(
                    importance.split(size), truth.split(size), foreground.split(size), strict=True
                )
            ]
        )
        for size in (1, 3, 6)
    ]
    assert torch.equal(lifts[0], lifts[2])
    assert torch.equal(lifts[1], lifts[2])


def test_quantus_draws_layers_of_one_shape_alike() -> None:
    """Every layer is reset after the same seed. If it fails, our copies may be less random."""
    trunk = nn.Sequential(nn.Conv2d(1, 8, 3), *(nn.Conv2d(8, 8, 3) for _ in range(2)))
    classifier = Classifier("twins", trunk, nn.Linear(8, 2), (24, 24))
    seen: list[tuple[Tensor, Tensor]] = []

    def watch(model: nn.Module, inputs: Array, targets: npt.NDArray[np.int64]) -> Array:
        assert isinstance(model, Classifier)
        first, second = (model.trunk.get_submodule(name) for name in "12")
        seen.append((first.weight.clone(), second.weight.clone()))
        return explain(model, inputs, targets)

    images = build_images(2).numpy()
    quantus.MPRT()(classifier, images, np.zeros(2, int), explain_func=watch, channel_first=True)
    assert not torch.equal(*seen[0])
    assert torch.equal(*seen[-1])
    ours = classifier.copy()
    redraw(ours, seed=42)
    weights = [ours.trunk.get_submodule(name).weight for name in "12"]
    correlation = np.corrcoef([one.flatten().numpy() for one in weights])[0, 1]
    assert abs(correlation) < 0.15


def test_quantus_averages_the_first_batch_of_road_only() -> None:
    """Later batches are computed and dropped. If it fails, ours may score part of the cohort."""
    images, groups, maps = removal_inputs()
    model, always = Logits(trained()), np.zeros(len(groups), dtype=np.int64)
    scores = {
        batch_size: quantus.ROAD(percentages=[1], noise=0.0)(
            model,
            images,
            always,  # Whether group 0 is recognised, which few of the last six images are.
            a_batch=maps,
            channel_first=True,
            batch_size=batch_size,
        )[1]
        for batch_size in (6, 12)
    }
    first = quantus.ROAD(percentages=[1], noise=0.0)(
        model, images[:6], always[:6], a_batch=maps[:6], channel_first=True
    )[1]
    assert scores[6] == first > 0.8
    assert scores[12] < 0.7
    ours = [
        reading_of(removed((0.01,), size), "probability", arm="map", q=0.01) for size in (6, 64)
    ]
    assert sorted(ours[0].sample.groups) == [0] * 6 + [1] * 6
    assert np.isfinite(ours[0].values).all()
    np.testing.assert_allclose(ours[0].values, ours[1].values, rtol=1e-6)


def test_quantus_area_of_pixel_flipping_grows_with_the_number_of_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps are one apart however many there are. If it fails, our areas may not compare."""
    # Quantus calls np.trapz, which NumPy 2.4 no longer has.
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    images, groups, maps = removal_inputs()
    coarse, fine = (
        np.mean(
            quantus.PixelFlipping(features_in_step=pixels, return_auc_per_sample=True)(
                Logits(trained()), images, groups, a_batch=maps, channel_first=True
            )
        )
        for pixels in (48, 12)
    )
    assert fine > 3.5 * coarse > 3.5
    areas = [
        summarise(reading_of(removed(quantiles), "probability_area", arm="map")).estimate
        for quantiles in ((0.1, 0.2), (0.05, 0.1, 0.15, 0.2))
    ]
    assert areas[1] == pytest.approx(areas[0], rel=0.1)
    assert 0 < min(areas) <= max(areas) < 1
