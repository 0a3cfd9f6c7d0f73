"""The images that a method is given are its own: what it asks of them reaches no other call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import Variable

from benchmark.classifier import Classifier
from benchmark.cohort import Batch, Cohort
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer
from benchmark.target import Margin, Target
from benchmark.trial import Peers, Runtime, Trial

Gradient = Callable[[Tensor, Callable[[Tensor], Tensor]], Any]


class Asking(Explainer):
    """The gradient, asked for as a function does."""

    name = "asking"
    config = {"kind": ""}  # noqa: RUF012 # of each of them

    def __init__(self, gradient: Gradient) -> None:
        self._gradient = gradient

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return what the function makes of images and score."""
        result: Tensor = self._gradient(images, lambda inputs: target(*classifier(inputs)).sum())
        return result


def by_method(images: Tensor, score: Callable[[Tensor], Tensor]) -> Any:
    images.requires_grad_()
    score(images).backward()
    return images.grad


def by_attribute(images: Tensor, score: Callable[[Tensor], Tensor]) -> Any:
    images.requires_grad = True
    score(images).backward()
    return images.grad


def by_autograd(images: Tensor, score: Callable[[Tensor], Tensor]) -> Any:
    return torch.autograd.grad(score(images.requires_grad_()), images)[0]


def by_variable(images: Tensor, score: Callable[[Tensor], Tensor]) -> Any:
    variable = Variable(images, requires_grad=True)
    score(variable).backward()
    return variable.grad


def by_mode(images: Tensor, score: Callable[[Tensor], Tensor]) -> Any:
    with torch.enable_grad():
        images.requires_grad_()
        images.retain_grad()
        score(images).backward()
    return images.grad


def by_hook(images: Tensor, score: Callable[[Tensor], Tensor]) -> Any:
    gradients: list[Tensor] = []
    images.requires_grad_().register_hook(gradients.append)
    score(images).backward()
    return gradients[0]


def by_copy(images: Tensor, score: Callable[[Tensor], Tensor]) -> Any:
    leaf = images.detach().clone().requires_grad_()
    return torch.autograd.grad(score(leaf), leaf)[0]


WAYS = [by_method, by_attribute, by_autograd, by_variable, by_mode, by_hook]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_to_ask_for_a_gradient_works_in_a_run(
    tiny_classifier: Classifier, tiny_cohort: Cohort, way: Gradient
) -> None:
    """If it fails, a method of a tutorial passes its check and fails its run."""
    runtime = Runtime(torch.device("cpu"), 4)
    maps = [
        Trial(Asking(each), tiny_classifier, tiny_cohort, runtime, Peers({})).attributions
        for each in (way, by_copy)
    ]
    assert torch.equal(*maps)
    assert maps[0].any()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_of_it_stays_with_the_batch(
    tiny_classifier: Classifier, tiny_cohort: Cohort, way: Gradient
) -> None:
    """If it fails, the second method that sees a batch sees what the first made of it."""
    batch = tiny_cohort.batch(np.arange(3))
    first, second = (Asking(way)(tiny_classifier, batch, Margin(0, 1)) for _ in range(2))
    assert torch.equal(first, second)
    assert not batch.images.requires_grad
    assert batch.images.grad is None
    assert batch.images.is_leaf
    assert batch.images._backward_hooks is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_can_be_asked_for_wherever_a_method_is_called(
    tiny_classifier: Classifier, tiny_cohort: Cohort, mode: Callable[[], Any]
) -> None:
    """If it fails, a protocol that saves memory breaks every method that takes gradients."""
    with mode():
        batch = tiny_cohort.batch(np.arange(3))
        maps = Asking(by_method)(tiny_classifier, batch, Margin(0, 1))
    assert not maps.requires_grad
    assert maps.any()


class Writing(Explainer):
    """Writes into what it compares with."""

    name = "writing"
    needs_references = True

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the images."""
        return images

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the images, minus a mean that is written over."""
        assert batch.references is not None
        return batch.images - batch.references.mean.mul_(0.5)


def test_what_batches_share_is_not_written_into(
    tiny_classifier: Classifier, tiny_cohort: Cohort
) -> None:
    """If it fails, one method changes what every later one compares with."""
    peers = Peers({}, references=tiny_cohort.references)
    runtime = Runtime(torch.device("cpu"), 4)
    trial = Trial(Writing(), tiny_classifier, tiny_cohort, runtime, peers)
    with pytest.raises(AttributionError, match="changed the references it was given"):
        _ = trial.attributions


def test_a_change_of_the_images_is_still_named(
    tiny_classifier: Classifier, tiny_cohort: Cohort
) -> None:
    """If it fails, a method that writes into its images is scored on other images."""

    def darken(images: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
        images.data.mul_(0.5)
        return images

    batch = tiny_cohort.batch(np.arange(3))
    before = batch.images.clone()
    with pytest.raises(AttributionError, match="changed the images"):
        Asking(darken)(tiny_classifier, batch, Margin(0, 1))
    assert torch.equal(batch.images, before)
