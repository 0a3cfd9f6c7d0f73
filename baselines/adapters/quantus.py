"""Functions that Quantus takes as ``explain_func``, each by its name.

::

    from baselines.adapters.quantus import QuantusExplainer
    from my_package import my_function

    class Mine(QuantusExplainer):
        name = "my_function"
        explain_func = my_function
        passes = (1, 1)
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from baselines.adapters.borrowed import BorrowedExplainer, Scored

__all__ = ["QuantusExplainer"]


class QuantusExplainer(BorrowedExplainer):
    """A function ``explain_func(model, inputs, targets, **arguments) -> np.ndarray``.

    It is called as Quantus calls it: by these names, with NumPy arrays. ``inputs`` is [1, 1, *S],
    ``targets`` [1] is 0, and the model's output [1, 2] holds the explained margin in column 0 and
    zero in column 1: softmax makes of it the probabilities of the network, own class first. A
    function that takes a ``device`` is given it. The array may be [1, *S] or [1, C, *S], whose
    channels are summed.

    What the function itself clips, normalises or takes the magnitude of cannot be undone; choose
    ``polarity = "positive"`` where its maps are magnitudes.

    Attributes:
        explain_func: Function.
        arguments: Arguments that follow the three.
    """

    explain_func: ClassVar[Any] = None
    columns = 2

    def explain(self, model: Scored, image: Tensor) -> Tensor:
        """Return the map [1, 1, *S] of one image; see the base class."""
        function, arguments = self.borrow("explain_func"), dict(self.arguments)
        parameters = inspect.signature(function).parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        from_quantus = str(getattr(function, "__module__", "")).startswith("quantus")
        if "device" in parameters or (takes_any and from_quantus):
            arguments.setdefault("device", str(image.device))
        inputs, targets = image.detach().cpu().numpy(), np.zeros(len(image), dtype=np.int64)
        returned = function(model=model, inputs=inputs, targets=targets, **arguments)
        attributions = torch.as_tensor(returned).to(image)
        if attributions.shape == (len(image), *image.shape[2:]):
            return attributions[:, None]
        if attributions.ndim == image.ndim:
            return attributions.sum(1, keepdim=True)
        return attributions
