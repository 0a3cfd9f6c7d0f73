"""The gate: whatever an explainer returns or touches, it is named before anything is scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from images import build_images
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.cohort import Batch, Cohort
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer, importance, map_distance
from benchmark.target import Margin, Target

Behaviour = Callable[[Classifier, Tensor], Any]


class Behaving(Explainer):
    """An explainer that does what it is told."""

    name = "behaving"

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return what the behaviour returns."""
        result: Tensor = self._behaviour(classifier, images)
        return result


@pytest.fixture
def batch(tiny_cohort: Cohort) -> Batch:
    return tiny_cohort.batch(np.arange(3))


def change_weight(classifier: Classifier, images: Tensor) -> Tensor:
    with torch.no_grad():
        next(classifier.parameters()).add_(1)
    return images


def change_buffer(classifier: Classifier, images: Tensor) -> Tensor:
    next(classifier.buffers()).zero_()
    return images


def replace_weight(classifier: Classifier, images: Tensor) -> Tensor:
    classifier.head.weight = nn.Parameter(torch.zeros(2, 8), requires_grad=False)
    return images


def train(classifier: Classifier, images: Tensor) -> Tensor:
    classifier.trunk.train()
    return images


def leave_forward_hook(classifier: Classifier, images: Tensor) -> Tensor:
    classifier.trunk.register_forward_hook(lambda *_: None)
    return images


def leave_backward_hook(classifier: Classifier, images: Tensor) -> Tensor:
    classifier.head.register_full_backward_hook(lambda *_: None)
    return images


def leave_gradients(classifier: Classifier, images: Tensor) -> Tensor:
    classifier.requires_grad_(True)
    classifier(images)[0].sum().backward()
    classifier.requires_grad_(False)
    return images


def leave_requires_grad(classifier: Classifier, images: Tensor) -> Tensor:
    classifier.requires_grad_(True)
    return images


def leave_forward(model: Classifier, images: Tensor) -> Tensor:
    layer = next(model.trunk.modules())
    layer.forward = torch.nn.Identity().forward  # type: ignore[method-assign]
    return images.clone()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (lambda _, images: images.numpy(), "must return a tensor, but returned ndarray"),
        (lambda _, images: None, "must return a tensor, but returned NoneType"),
        (
            lambda _, images: images[:, 0],
            r"must return attributions \[3, 1, 24, 24\], but returned \[3, 24, 24\]",
        ),
        (
            lambda _, images: images[:2],
            r"must return attributions \[3, 1, 24, 24\], but returned \[2, 1, 24, 24\]",
        ),
        (
            lambda _, images: images.long(),
            r"must return floating-point attributions, but returned torch\.int64",
        ),
        (
            lambda _, images: images.to("meta"),
            "must leave its attributions on cpu, but returned them on meta",
        ),
        (change_weight, "changed the network's parameters or buffers"),
        (change_buffer, "changed the network's parameters or buffers"),
        (replace_weight, "changed the network's parameters or buffers"),
        (train, "changed the network's train or eval mode"),
        (leave_forward_hook, "changed the network's hooks"),
        (leave_backward_hook, "changed the network's hooks"),
        (leave_forward, "changed the network's own code"),
        (leave_gradients, "changed the network's gradients"),
        (leave_requires_grad, "changed the network's requires_grad flags"),
        (lambda _, images: torch.rand_like(images), "drew from the global random state"),
    ],
)
def test_the_gate_names_what_broke_the_contract(
    tiny_classifier: Classifier, batch: Batch, behaviour: Behaviour, message: str
) -> None:
    """If it fails, a map that is none, or a network that is another, is scored."""
    with pytest.raises(AttributionError, match=f"^Explainer 'behaving' {message}"):
        Behaving(behaviour)(tiny_classifier, batch, Margin(0, 1))


def test_the_random_state_is_put_back(tiny_classifier: Classifier, batch: Batch) -> None:
    """If it fails, one careless explainer changes what runs after it."""
    before = torch.get_rng_state()
    with pytest.raises(AttributionError):
        Behaving(lambda _, images: torch.rand_like(images))(tiny_classifier, batch, Margin(0, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_hooks_that_are_removed_again_are_no_offence(
    tiny_classifier: Classifier, batch: Batch
) -> None:
    """If it fails, methods that need hooks, such as guided backpropagation, cannot be scored."""

    def hook_and_leave(classifier: Classifier, images: Tensor) -> Tensor:
        handle = classifier.trunk.register_forward_hook(lambda *_: None)
        classifier(images)
        handle.remove()
        return images

    assert Behaving(hook_and_leave)(tiny_classifier, batch, Margin(0, 1)).shape == (3, 1, 24, 24)


def test_maps_come_out_as_float32_without_a_graph(
    tiny_classifier: Classifier, batch: Batch
) -> None:
    """If it fails, every stored map holds its whole graph, or types differ between methods."""

    def in_double(classifier: Classifier, images: Tensor) -> Tensor:
        return images.double().requires_grad_() * 2

    maps = Behaving(in_double)(tiny_classifier, batch, Margin(0, 1))
    assert maps.dtype == torch.float32
    assert not maps.requires_grad


def test_values_that_are_not_finite_are_let_through(
    tiny_classifier: Classifier, batch: Batch
) -> None:
    """If it fails, one subject without a map costs the method all its subjects."""

    def spoil_one(classifier: Classifier, images: Tensor) -> Tensor:
        spoiled = images.clone()
        spoiled[1] = torch.nan
        return spoiled

    maps = Behaving(spoil_one)(tiny_classifier, batch, Margin(0, 1))
    assert torch.isfinite(maps).flatten(1).all(1).tolist() == [True, False, True]


def test_importance_follows_the_polarity() -> None:
    """If it fails, negative evidence ranks high in a CAM, or is lost from a gradient."""
    signed = torch.tensor([-2.0, 0.0, 1.0])
    assert importance(signed, "positive").tolist() == [0, 0, 1]
    assert importance(signed, "absolute").tolist() == [2, 0, 1]


def test_the_defaults_of_a_new_explainer_hide_nothing() -> None:
    """If it fails, a method of one class and one function has to declare more than its name."""
    explainer = Behaving(lambda _, images: images)
    assert explainer.polarity == "absolute"
    assert explainer.config == {}
    assert explainer.attribute(None, build_images(1), Margin(0, 1)).shape == (1, 1, 24, 24)  # type: ignore[arg-type]


def test_maps_are_compared_by_their_norm() -> None:
    """If it fails, rounding passes for a cheat, or a cheat for rounding."""
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 8, 8)))
    assert map_distance(image, image) == 0
    assert map_distance(image, image * 1.01) == pytest.approx(0.0099, abs=1e-3)
    assert map_distance(image, -image) == pytest.approx(2.0)
    assert map_distance(torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)) == 0
    assert map_distance(image, image.where(image < 1, torch.nan)) == float("inf")
