"""Parity with Quantus 0.6 where it is right, and a record of each place where it is not.

Each of the latter shows what Quantus gives beside what ours gives on the same input, so that a
release which mends it fails here and the note goes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from builders import build_classifier, build_images
from torch import Tensor, nn
from trials import build_trial, trained

from baselines.explainers.gradient import Saliency
from benchmark import similarity
from benchmark.classifier import Classifier
from benchmark.masking import descending_order, top_masks
from benchmark.seeding import stream
from benchmark.target import ClassLogit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its many imports
    import quantus
    from quantus.helpers.model.pytorch_model import PyTorchModel
    from quantus.helpers.utils import calculate_auc

Array = npt.NDArray[np.float64]
RNG = np.random.default_rng(0)
COUNT, SIDE = 8, 16
EVERYWHERE = torch.ones(COUNT, 1, SIDE, SIDE, dtype=torch.bool)


@pytest.fixture(scope="module")
def maps() -> Array:
    """Return maps without ties, [COUNT, 1, SIDE, SIDE]."""
    return RNG.permutation(COUNT * SIDE**2).reshape(COUNT, 1, SIDE, SIDE) / 1000


@pytest.fixture(scope="module")
def truth() -> Array:
    """Return a mask in each map of another size, [COUNT, 1, SIDE, SIDE]."""
    masks = np.zeros((COUNT, 1, SIDE, SIDE))
    for row in range(COUNT):
        masks[row, 0, row : row + 4, 3 : 6 + row] = 1
    return masks


def _tensors(maps: Array, truth: Array) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(maps), torch.from_numpy(truth).bool()


def test_relevance_rank_and_mass_accuracy_agree(maps: Array, truth: Array) -> None:
    """If it fails, one of the two is not what the literature calls it."""
    importance, mask = _tensors(maps, truth)
    rank = quantus.RelevanceRankAccuracy(disable_warnings=True)
    ours = similarity.rank_accuracy(importance, mask, EVERYWHERE)
    np.testing.assert_allclose(rank.evaluate_batch(a_batch=maps, s_batch=truth), ours)
    mass = quantus.RelevanceMassAccuracy(disable_warnings=True)
    ours = similarity.mass(importance, mask, EVERYWHERE)
    np.testing.assert_allclose(mass.evaluate_batch(a_batch=maps, s_batch=truth), ours)


def test_top_k_intersection_agrees(maps: Array, truth: Array) -> None:
    """If it fails, the top of a map is another set of pixels."""
    importance, mask = _tensors(maps, truth)
    theirs = quantus.TopKIntersection(k=40, disable_warnings=True)
    order = descending_order(importance, EVERYWHERE, [stream("top", row) for row in range(COUNT)])
    top = top_masks(order, EVERYWHERE, [40 / SIDE**2])
    ours = (top & mask).flatten(1).sum(1) / 40
    np.testing.assert_allclose(theirs.evaluate_batch(a_batch=maps, s_batch=truth), ours)
    hits = similarity.hits(importance, mask, EVERYWHERE, torch.full((COUNT,), 40))
    np.testing.assert_allclose(hits / 40, ours)


def test_the_pointing_game_agrees_without_ties(maps: Array, truth: Array) -> None:
    """If it fails, the largest value is looked for elsewhere."""
    importance, _ = _tensors(maps, truth)
    largest = maps.reshape(COUNT, -1).argmax(1)
    pointed = truth.copy()
    pointed.reshape(COUNT, -1)[np.arange(0, COUNT, 2), largest[::2]] = 1
    theirs = quantus.PointingGame(disable_warnings=True)
    ours = similarity.pointing(
        importance, torch.from_numpy(pointed).bool(), EVERYWHERE, 0.0, (1, 1)
    )
    found = np.asarray(theirs.evaluate_batch(a_batch=maps, s_batch=pointed), dtype=float)
    np.testing.assert_allclose(found, ours)
    assert 0 < found.mean() < 1


class _Logits(nn.Module):
    """A classifier as Quantus takes it: images to logits."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.classifier(images)[0]
        return logits


def _explain(model: _Logits, inputs: Array, targets: Array, **_: object) -> Array:
    images = torch.as_tensor(inputs, dtype=torch.float32)
    maps = Saliency().attribute(model.classifier, images, ClassLogit(0))
    return maps.abs().numpy()


def test_mprt_on_one_layer_agrees_with_our_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, the similarity to a randomised model is another number."""
    model, images = trained(), build_images(6)
    head = model.partly(model.randomised(1, images), [model.stages[0]], images)

    def ours_only(*_: object, **__: object) -> Iterator[tuple[str, nn.Module]]:
        yield "head", _Logits(head)

    monkeypatch.setattr(PyTorchModel, "get_random_layer_generator", ours_only)
    monkeypatch.setattr(PyTorchModel, "random_layer_generator_length", 1)
    metric = quantus.MPRT(
        similarity_func=quantus.similarity_func.correlation_spearman,
        normalise=False,
        disable_warnings=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metric(
            model=_Logits(model),
            x_batch=images.numpy(),
            y_batch=np.zeros(6, dtype=int),
            a_batch=None,
            explain_func=_explain,
            channel_first=True,
            batch_size=6,
        )
    maps = [Saliency().attribute(one, images, ClassLogit(0)).abs() for one in (model, head)]
    everywhere = torch.ones_like(maps[0], dtype=torch.bool)
    ours = similarity.spearman(maps[0], maps[1], everywhere)
    np.testing.assert_allclose(found["head"], ours, atol=1e-6)


def test_quantus_counts_an_empty_mask_as_a_hit(maps: Array) -> None:
    """Its NaN is written into an array of bools, where it becomes True; ours stays NaN."""
    nothing = np.zeros_like(maps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = quantus.PointingGame(disable_warnings=True).evaluate_batch(
            a_batch=maps, s_batch=nothing
        )
    assert np.all(theirs)
    importance, mask = _tensors(maps, nothing)
    assert similarity.pointing(importance, mask, EVERYWHERE, 0.0, (1, 1)).isnan().all()


def test_quantus_weighted_localisation_depends_on_the_batch(maps: Array, truth: Array) -> None:
    """It divides by the pixels of the batch's third image onwards; ours looks at one image."""
    metric = quantus.AttributionLocalisation(
        weighted=True, positive_attributions=True, disable_warnings=True, max_size=1e9
    )

    def first(count: int) -> float:
        scores = metric.evaluate_batch(
            x_batch=maps[:count], a_batch=maps[:count], s_batch=truth[:count]
        )
        return float(scores[0])

    assert first(4) == pytest.approx(3 * first(8))
    importance, mask = _tensors(maps, truth)
    ours = [similarity.lift(importance[:n], mask[:n], EVERYWHERE[:n])[0] for n in (4, 8)]
    assert ours[0] == ours[1]


def test_quantus_gives_layers_of_one_shape_the_same_weights() -> None:
    """It seeds every layer alike; ours names a stream after each parameter."""
    layers = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5))
    *_, (_, randomised) = PyTorchModel(layers, channel_first=True).get_random_layer_generator()
    assert torch.equal(randomised[0].weight, randomised[2].weight)
    model = Classifier("small", nn.Sequential(nn.Flatten(), *layers), nn.Linear(5, 2), (5, 1))
    ours = model.randomised(1, build_images(2, (5, 1)))
    weights = [one for name, one in ours.named_parameters() if one.shape == (5, 5)]
    assert len(weights) == 2
    assert not torch.equal(weights[0], weights[1])


def test_quantus_road_averages_the_first_batch_only() -> None:
    """What later batches gave is thrown away; ours aggregates over subjects."""
    metric = quantus.ROAD(percentages=[10], disable_warnings=True)
    metric.evaluation_scores = [np.zeros((4, 1)), np.ones((4, 1))]
    metric.custom_postprocess()
    assert metric.evaluation_scores == {10: 0.0}


def test_quantus_area_grows_with_the_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same curve in finer steps has a larger area; ours is over the share removed.

    It calls ``np.trapz``, which NumPy 2.4 no longer has, so without help it does not run at all.
    """
    from protocols.delta_t import DeltaT, DeltaTConfig, _Study

    if not hasattr(np, "trapz"):
        with pytest.raises(AttributeError, match="trapz"):
            calculate_auc(np.ones(3))
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    coarse, fine = np.linspace(1, 0, 11), np.linspace(1, 0, 101)
    assert calculate_auc(fine) == pytest.approx(10 * calculate_auc(coarse))
    areas = []
    for steps in (5, 20):
        quantiles = tuple(np.linspace(0, 0.2, steps + 1)[1:])
        config = DeltaTConfig(quantiles=quantiles, repeats=1, subjects=4)
        trial = build_trial(Saliency(), classifier=build_classifier())
        study = _Study(trial, np.array([0, 1]), config)
        values = 1 - np.array(quantiles)[None] / 0.2
        areas.append(float(study._area(values, 1.0)[0]))
    assert areas == pytest.approx([0.5, 0.5])
    assert DeltaT.version
