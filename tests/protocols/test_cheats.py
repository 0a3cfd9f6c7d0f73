"""Plugins that cheat or break, each named as what it is, and none able to hurt the others."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor
from trials import build_trial

from benchmark.classifier import Classifier
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer
from benchmark.running.cells import conclude
from benchmark.target import Target
from benchmark.trial import Trial
from protocols.delta_t import DeltaT, DeltaTConfig

PROTOCOL = DeltaT(DeltaTConfig(quantiles=(0.1,), repeats=1, secondary_repeats=1, subjects=4))


class Cheat(Explainer):
    """An honest gradient, and a deed beside it."""

    name = "cheat"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return what ``tamper`` makes of the gradient."""
        inputs = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(target(*classifier(inputs)).sum(), inputs)
        return self.tamper(classifier, images, gradient)

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient."""
        return gradient


class Weights(Cheat):
    """Changes the weights where autograd counts it."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Shift a weight."""
        with torch.no_grad():
            next(classifier.head.parameters()).add_(1e-3)
        return gradient


class SecretWeights(Cheat):
    """Changes the weights behind autograd's back."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Shift a weight's data."""
        next(classifier.head.parameters()).data.add_(1e-3)
        return gradient


class Hooks(Cheat):
    """Leaves a hook."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Register one and forget it."""
        classifier.trunk.register_forward_hook(lambda *_: None)
        return gradient


class Mode(Cheat):
    """Leaves the network in training mode."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Switch it."""
        classifier.train()
        return gradient


class TorchSeed(Cheat):
    """Reseeds torch."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Seed."""
        torch.manual_seed(20_201)
        return gradient


class NumpySeed(Cheat):
    """Reseeds NumPy."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Seed."""
        np.random.seed(0)  # noqa: NPY002
        return gradient


class PythonSeed(Cheat):
    """Reseeds Python."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Seed."""
        random.seed(0)
        return gradient


class Flags(Cheat):
    """Leaves gradients switched off for everyone."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Switch them off."""
        torch.set_grad_enabled(False)
        return gradient


class Images(Cheat):
    """Darkens the images that others will be given."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Halve them."""
        images.mul_(0.5)
        return gradient


class Shape(Cheat):
    """Returns a map of another size."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Cut a row off."""
        return gradient[:, :, 1:]


class Device(Cheat):
    """Returns its map on another device."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Move it to where no value is."""
        return gradient.to("meta")


class Integers(Cheat):
    """Returns whole numbers."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Round."""
        return gradient.long()


class Complex(Cheat):
    """Returns complex numbers."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Turn."""
        return gradient * 1j


class NotATensor(Cheat):
    """Returns an array."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Convert."""
        return gradient.numpy()  # type: ignore[return-value]


class BatchMean(Cheat):
    """Subtracts the mean map of its batch."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Look at the neighbours."""
        return gradient - gradient.mean(0, keepdim=True)


class BatchScale(Cheat):
    """Scales by the largest value of its batch."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Look at the neighbours."""
        return gradient / gradient.abs().amax()


class Nothing(Cheat):
    """Returns NaN."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Lose everything."""
        return gradient * float("nan")


class Infinite(Cheat):
    """Returns an infinite value in the middle."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Blow up."""
        middle = tuple(length // 2 for length in gradient.shape[2:])
        return gradient.index_put(
            (torch.arange(len(gradient)), torch.tensor(0), *map(torch.tensor, middle)),
            torch.tensor(float("inf")),
        )


class Constant(Cheat):
    """Returns ones."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Say nothing."""
        return torch.ones_like(gradient)


class Graph(Cheat):
    """Returns a map that still hangs on its graph."""

    def tamper(self, classifier: Classifier, images: Tensor, gradient: Tensor) -> Tensor:
        """Require a gradient."""
        return gradient.requires_grad_() * 2


def _trial(explainer: Explainer) -> Trial:
    return build_trial(explainer)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Weights, "changed the network's parameters"),
        (SecretWeights, "changed the network's weights"),
        (Hooks, "changed the network's hooks"),
        (Mode, "changed the network's train or eval mode"),
        (TorchSeed, "global random state"),
        (NumpySeed, "global random state"),
        (PythonSeed, "global random state"),
        (Flags, "changed torch's gradient mode"),
        (Images, "changed the images"),
        (Shape, "must return attributions"),
        (Device, "must leave its attributions on cpu"),
        (Integers, "must return floating-point"),
        (Complex, "must return floating-point"),
        (NotATensor, "must return a tensor"),
        (BatchMean, "must not depend on the rest of its batch"),
        (BatchScale, "must not depend on the rest of its batch"),
    ],
    ids=lambda one: one.__name__ if isinstance(one, type) else "",
)
def test_a_cheat_is_named(kind: type[Cheat], told: str) -> None:
    """If it fails, the deed goes unseen, or under another name."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with pytest.raises(AttributionError, match=told):
            _ = _trial(kind()).attributions
    finally:
        torch.set_grad_enabled(True)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@pytest.mark.parametrize(
    ("kind", "told"),
    [(Nothing, "non-finite map"), (Infinite, "non-finite map"), (Constant, "constant map")],
    ids=lambda one: one.__name__ if isinstance(one, type) else "",
)
def test_a_map_that_says_nothing_ends_in_a_named_state(kind: type[Cheat], told: str) -> None:
    """If it fails, a method without a map gets a number."""
    outcome = conclude(PROTOCOL, PROTOCOL.readings(_trial(kind())))
    assert outcome.state == "failed"
    assert told in str(outcome.reason)


def test_a_graph_is_cut_off() -> None:
    """If it fails, every map keeps its network's activations in memory."""
    maps = _trial(Graph()).attributions
    assert not maps.requires_grad
    assert maps.grad_fn is None


def test_the_honest_one_passes() -> None:
    """If it fails, the tests above fail for another reason than the cheat."""
    assert _trial(Cheat()).attributions.isfinite().all()
