"""The base of every attribution method; its call is the gate that a map must pass.

A method is one class with one function::

    class MyCAM(Explainer):
        name = "my_cam"
        polarity = "positive"

        def attribute(self, classifier, images, target):
            maps = classifier.feature_maps(images).requires_grad_()
            gradient, = torch.autograd.grad(target(*classifier.tail(maps)).sum(), maps)
            ...
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.classifier.side_effects import watch
from benchmark.cohort import Batch
from benchmark.errors import AttributionError, UnsupportedError
from benchmark.target import Target

__all__ = ["Control", "Explainer", "Polarity", "importance"]

Polarity = Literal["positive", "absolute"]

NO_EXPLAINER = "none"
"""Name in records of protocols that ask about the model alone; no explainer can go by it."""

# Rounding moves no map by more, as a share of its norm.
SAME_MAP = 0.05

# What images of so many spatial dimensions are called.
_IMAGES_OF = {2: "slices", 3: "volumes"}


class Explainer(ABC):
    """An attribution method; the model is an argument of every call and never kept.

    Attributes:
        name: Name of the method in records and on the board.
        version: Version, which counts up when the maps change.
        family: Kind of method, for tables.
        polarity: ``"positive"`` where only the positive part of the map marks evidence, as in
            class activation maps; ``"absolute"`` where both signs do.
        passes: Numbers of forward and backward image passes that a map costs, to foretell progress;
            ``passes_on`` says them of one network where they depend on it.
        dimensions: Numbers of spatial dimensions that the method can explain: ``(2,)`` for slices
            alone, ``(3,)`` for volumes alone.
        paper: Paper that the method comes from.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1.0"
    family: ClassVar[str] = "other"
    polarity: ClassVar[Polarity] = "absolute"
    passes: ClassVar[tuple[int, int]] = (1, 1)
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    paper: ClassVar[str] = ""

    @property
    def config(self) -> dict[str, str | int | float]:
        """Settings that change the maps; part of every score's identity.

        What the constructor takes goes by the constructor's names, so that a suite can set it under
        ``[explainer.NAME]`` and a report make the same method again.
        """
        return {}

    @property
    def needs_references(self) -> bool:
        """Whether a batch must bring images of the training split to compare with."""
        return False

    def supports(self, classifier: Classifier) -> str | None:
        """Return why the method cannot explain this model, or None where it can."""
        return None

    def passes_on(self, classifier: Classifier) -> tuple[int, int]:
        """Return the forward and backward image passes that a map of this model costs.

        It is ``passes`` unless overridden, as by a method that masks one channel after another::

            def passes_on(self, classifier):
                return 1 + classifier.maps_shape[0], 0
        """
        return self.passes

    @abstractmethod
    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the signed attribution of each pixel.

        Args:
            classifier: Model that takes images to logits [B, 2] and embedding [B, D].
            images: [B, 1, *S] float32 in [0, 1], on the run's device. They belong to this call: a
                leaf that requires no gradient, of which ``requires_grad_()`` may ask for one.
            target: Function from logits and embedding to the explained scalar, [B].

        Returns:
            [B, 1, *S]; unclipped, unscaled.
        """

    def __call__(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the attributions of a batch, [B, 1, *S] float32, after checking them.

        Values that are not finite are let through: they cost the subject its score, with a reason,
        and not the method its run.

        Raises:
            AttributionError: If the result has another shape, type or device, or if the network,
                its mode, hooks or gradients, or the global random state were changed.
        """
        with torch.inference_mode(False), torch.enable_grad():
            own_batch = _detached(batch)
            with _untouched(self.name, classifier), _unwritten(self.name, own_batch):
                attributions = self.attribute_batch(classifier, own_batch, target)
        if not torch.equal(own_batch.images.detach(), batch.images):
            raise AttributionError(f"Explainer {self.name!r} changed the images it was given.")
        self.check_map(attributions, batch.images)
        return attributions.detach().to(torch.float32)

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the attributions [B, 1, *S] of a batch; override it to see more than the images.

        The batch brings ``references`` where ``needs_references`` asks for them. A method that
        looks at foreground or truth is a ``Control``.
        """
        return self.attribute(classifier, batch.images, target)

    def check_map(self, attributions: Tensor, images: Tensor) -> None:
        """Refuse what is no map of these images.

        Raises:
            AttributionError: If it has another shape, type or device.
        """
        if not isinstance(attributions, Tensor):
            duty, fault = "return a tensor", f"{type(attributions).__name__}"
        elif attributions.shape != images.shape:
            duty, fault = f"return attributions {list(images.shape)}", f"{list(attributions.shape)}"
        elif not attributions.is_floating_point():
            duty, fault = "return floating-point attributions", f"{attributions.dtype}"
        elif attributions.device != images.device:
            duty = f"leave its attributions on {images.device}"
            fault = f"them on {attributions.device}"
        else:
            return
        raise AttributionError(f"Explainer {self.name!r} must {duty}, but returned {fault}.")


class Control(Explainer):
    """A map made without looking at any model, which a method must beat.

    Attributes:
        redrawn: Whether a model gets a map of its own, as noise must: the same noise on two models
            would pass for agreement between them. The keys of the batch then name the model too.
        needs_normals: Whether it compares images with the same subjects at normal volume, which are
            no part of the cohort's fingerprint and so name the control's maps.
    """

    family = "control"
    polarity: ClassVar[Polarity] = "positive"
    passes = (0, 0)
    redrawn: ClassVar[bool] = False
    needs_normals: ClassVar[bool] = False

    @abstractmethod
    def draw(self, batch: Batch) -> Tensor:
        """Return the map [B, 1, *S] of each image of the batch."""

    def supports_cohort(self, has_truth: bool) -> str | None:
        """Return why the control cannot be drawn on such a cohort, or None where it can.

        ``has_truth`` says whether the cohort declares regions, of which some may be the truth.
        """
        return None

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Refuse: a control is drawn from the batch, not from the model."""
        raise AttributionError(f"Control {self.name!r} explains no model; call it with a batch.")

    def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
        """Return the map of each image, whatever the model."""
        return self.draw(batch)


class NoExplainer(Explainer):
    """What stands in the place of an explainer where a protocol asks about the model alone.

    It is in no catalogue, explains no model, and refuses to draw.
    """

    name = NO_EXPLAINER
    passes = (0, 0)

    def supports(self, classifier: Classifier) -> str | None:
        """Return why there is no map, whatever the model."""
        return "the model is asked without an explainer, so there is no map"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Refuse to draw."""
        raise UnsupportedError("the model is asked without an explainer, so there is no map")


def importance(attributions: Tensor, polarity: Polarity) -> Tensor:
    """Return the non-negative map that ranks pixels, of the same shape: a⁺, or its magnitude."""
    return attributions.clamp_min(0) if polarity == "positive" else attributions.abs()


def why_unsupported(explainer: Explainer, classifier: Classifier, has_truth: bool) -> str | None:
    """Return why the explainer cannot be scored, or None where it can.

    A control depends on the cohort, any other method on the model; ``has_truth`` says whether the
    cohort declares regions, of which some may be the truth.
    """
    taken: object = explainer.dimensions
    # ``(2)`` is a number: the comma is forgotten so often that both are taken.
    allowed = taken if isinstance(taken, Collection) else (taken,)
    if (dimensions := len(classifier.input_shape)) not in allowed:
        own = [name for number, name in _IMAGES_OF.items() if number in allowed]
        return (
            f"it is made for {' and '.join(own) or f'dimensions {taken!r}'} alone, and these "
            f"images are {_IMAGES_OF[dimensions]}"
        )
    if isinstance(explainer, Control):
        return explainer.supports_cohort(has_truth)
    return explainer.supports(classifier)


def check_independence(
    explainer: Explainer, classifier: Classifier, batch: Batch, target: Target, batch_map: Tensor
) -> None:
    """Refuse a map [1, 1, *S] that was made in a larger batch and depends on its other images.

    Its image is explained again without the others. Rounding moves maps of a float32 network
    by up to 1e-4 of their largest value, and a ReLU at its kink single pixels by more; what
    normalises, ranks or averages over a batch moves all of the map.

    Raises:
        AttributionError: If the two maps differ by more than 5 % in the L2 norm.
    """
    if not same_map(explainer(classifier, batch, target).to(batch_map.device), batch_map):
        raise AttributionError(
            f"Explainer {explainer.name!r} gives an image another map when it is explained alone; "
            "a map must not depend on the rest of its batch."
        )


def same_map(first: Tensor, second: Tensor) -> bool:
    """Return whether two maps of one shape differ by rounding alone: up to 5 % in the L2 norm."""
    return map_distance(first, second) <= SAME_MAP


def map_distance(first: Tensor, second: Tensor) -> float:
    """Return the L2 distance of two maps as a share of the larger norm.

    It is infinite where a pixel is finite in one map and not in the other.
    """
    if not torch.equal(first.isfinite(), second.isfinite()):
        return math.inf
    x, y = (values.nan_to_num(0.0, 0.0, 0.0).double() for values in (first, second))
    distance = float((x - y).norm())
    return distance / max(float(x.norm()), float(y.norm())) if distance else 0.0


@contextmanager
def _untouched(name: str, classifier: Classifier) -> Iterator[None]:
    """Refuse what changes the network, torch's switches or the global random state inside."""
    with watch(classifier) as effects:
        yield
    if effects.changes:
        raise AttributionError(f"Explainer {name!r} changed {effects.changes[0]}.")
    if effects.drew:
        raise AttributionError(
            f"Explainer {name!r} drew from the global random state; "
            "use a generator of its own, seeded by what it is for."
        )


def _detached(batch: Batch) -> Batch:
    """Return the batch with images of its own, which hold no gradient and need none."""
    references = batch.references
    if references is not None:
        mean, group = references.mean.detach(), references.group.detach()
        references = replace(references, mean=mean, group=group)
    return replace(batch, images=batch.images.detach().clone(), references=references)


@contextmanager
def _unwritten(name: str, batch: Batch) -> Iterator[None]:
    """Refuse what writes into masks or references of a batch, which later batches share."""
    parts = {"foreground": batch.foreground, "truth": batch.truth}
    parts |= {"change": batch.change, "regions": batch.regions}
    if batch.references is not None:
        parts |= {"references": batch.references.mean, "reference group": batch.references.group}
    shared = {part: t for part, t in parts.items() if t is not None and not t.is_inference()}
    versions = {part: tensor._version for part, tensor in shared.items()}
    yield
    if changed := [part for part, tensor in shared.items() if tensor._version != versions[part]]:
        raise AttributionError(f"Explainer {name!r} changed the {changed[0]} it was given.")
