"""Methods of Captum, each by the name of its class.

::

    from captum.attr import IntegratedGradients
    from baselines.adapters.captum import CaptumExplainer

    class TheirGradients(CaptumExplainer):
        name = "captum_integrated_gradients"
        method = IntegratedGradients
        arguments = {"n_steps": 64}
        passes = (64, 64)
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from baselines.adapters.borrowed import BorrowedExplainer, Scored

__all__ = ["CaptumExplainer"]


class CaptumExplainer(BorrowedExplainer):
    """A method of ``captum.attr``; what it explains is the target, a margin of logits.

    Attributes:
        method: Class that is made with the network alone and whose ``attribute`` takes an image. A
            method that takes more, such as a layer or a baseline, overrides ``explain``::

                def explain(self, model, image):
                    maps = LayerGradCam(model, model.classifier.trunk).attribute(image)
                    return upsample(maps, image.shape[2:])

        arguments: Arguments of ``attribute``.
    """

    method: ClassVar[Any] = None
    library = "captum"

    def explain(self, model: Scored, image: Tensor) -> Tensor:
        """Return the map [1, 1, *S] of one image; see the base class."""
        attributions: Tensor = self.borrow("method")(model).attribute(image, **self.arguments)
        return attributions
