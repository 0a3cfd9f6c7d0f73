"""Methods of pytorch-grad-cam, each by the name of its class.

::

    from pytorch_grad_cam import ScoreCAM
    from baselines.adapters.grad_cam import GradCAMExplainer

    class TheirScoreCAM(GradCAMExplainer):
        name = "their_scorecam"
        method = ScoreCAM

The library (``pip install grad-cam``) is needed by these classes alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from baselines.adapters.borrowed import BorrowedExplainer, Scored
from baselines.explainers.class_activation import GradCAM
from benchmark.classifier import Classifier
from benchmark.errors import AttributionError
from benchmark.feature_grid import upsample

__all__ = ["GradCAMExplainer"]

# Methods that go through the network once for each channel of the maps.
_CHANNEL_BY_CHANNEL = ("ScoreCAM", "AblationCAM")


class GradCAMExplainer(BorrowedExplainer):
    """A method of ``pytorch_grad_cam``, before it clips and scales its map.

    The library sets negative values of a map to zero, scales each map to [0, 1] and resizes it.
    The adapter takes what the method's ``get_cam_image`` returns, signed and unscaled, and resizes
    it as the library does, linearly. A method that scales by itself, such as ``FullGrad`` with its
    layers, keeps that; it cannot be undone. ``GradCAMElementWise`` clips cell by cell.

    Attributes:
        method: Class, a subclass of the library's ``BaseCAM``.
        arguments: Arguments of its constructor after network and layers, such as a
            ``reshape_transform``.
        passes: Passes of an image. ``passes_on`` counts those of methods that take channel after
            channel by itself; set ``(1, 0)`` for one without gradients, such as ``EigenCAM``.
        dimensions: Slices alone unless set; the library's Grad-CAM, Grad-CAM++, HiResCAM, LayerCAM
            and XGradCAM take volumes too, ``(2, 3)``.
    """

    family = "class activation"
    polarity = "positive"
    passes = (1, 1)
    dimensions = (2,)
    method: ClassVar[Any] = None
    library = "grad-cam"
    columns = 1

    def supports(self, classifier: Classifier) -> str | None:
        """Return why the model has no map to weigh, or None where it has one."""
        return GradCAM().supports(classifier)

    def passes_on(self, classifier: Classifier) -> tuple[int, int]:
        """Return the passes of an image, one a channel where the method goes through them all."""
        names = {each.__name__ for each in getattr(self.method, "__mro__", ())}
        if names.isdisjoint(_CHANNEL_BY_CHANNEL):
            return self.passes
        return 1 + classifier.maps_shape[0], 0

    def target_layer(self, classifier: Classifier) -> nn.Module:
        """Return the layer whose output is weighed: the trunk, unless overridden."""
        return classifier.trunk

    def explain(self, model: Scored, image: Tensor) -> Tensor:
        """Return the map [1, 1, *S] of one image; see the base class."""
        # An optional package, which a method that is borrowed from it brings.
        from pytorch_grad_cam.base_cam import BaseCAM

        method: Any = self.borrow("method")
        if BaseCAM not in getattr(method, "__mro__", ()):
            raise AttributionError(
                f"Explainer {self.name!r} must set `method` to a subclass of pytorch_grad_cam's "
                f"BaseCAM, but it is {method!r}."
            )
        layer = self.target_layer(model.classifier)
        cam: Any = method(model=model, target_layers=[layer], **self.arguments)
        # The parameters are frozen: without a gradient of the image there is none of the maps.
        cam.compute_input_gradient |= cam.uses_gradients
        if method.compute_cam_per_layer is BaseCAM.compute_cam_per_layer:
            cam.compute_cam_per_layer = _raw_maps(cam, layer)
            cam.aggregate_multi_layers = lambda maps: maps
        try:
            with _without_bars(method):
                maps = cam(image, [lambda output: output[0]])
        finally:
            # Emptied first: the library would detach in place what may be a view.
            cam.activations_and_grads.activations, cam.activations_and_grads.gradients = [], []
            cam.activations_and_grads.release()
        cells = torch.from_numpy(np.asarray(maps)).to(image)
        return upsample(cells.view(1, 1, *cells.shape[1:]), image.shape[2:])


def _raw_maps(cam: Any, layer: nn.Module) -> Callable[..., Any]:  # noqa: ANN401 # a BaseCAM
    """Return what stands in for the library's clipping and scaling: the map as it was made."""

    def maps(image: Tensor, targets: list[Any], eigen_smooth: bool) -> Any:  # noqa: ANN401
        kept = cam.activations_and_grads
        parts: list[Any] = [
            (values[0].numpy() if cam.detach else values[0]) if values else None
            for values in (kept.activations, kept.gradients)
        ]
        return cam.get_cam_image(image, layer, targets, *parts, eigen_smooth)

    return maps


@contextmanager
def _without_bars(method: type) -> Iterator[None]:
    """Keep the library from drawing a progress bar for every image."""
    modules = [sys.modules[each.__module__] for each in method.__mro__]
    drawing: list[Any] = [module for module in modules if hasattr(module, "tqdm")]
    bars = [module.tqdm for module in drawing]
    for module in drawing:
        module.tqdm = SimpleNamespace(tqdm=lambda values, **_: values)
    try:
        yield
    finally:
        for module, drawer in zip(drawing, bars, strict=True):
            module.tqdm = drawer
