"""The network as other libraries want it, and the explainer as they call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.errors import UnsupportedError
from benchmark.target import own_margin
from benchmark.trial import Trial
from benchmark.trial.maps import draw_altered

Array = npt.NDArray[Any]


class OwnClassFirst(nn.Module):
    """A network of two outputs for images of one group: the explained margin, and zero.

    Column 0 is the very scalar that the maps explain, and softmax makes of the two columns the
    probabilities of the network, own class first. So a metric meets the explained output whether it
    asks for logits or for probabilities. The network is a copy: hooks that a library leaves behind
    are thrown away with it.

    Args:
        classifier: Network.
        group: Group of the images, 0 or 1.
    """

    def __init__(self, classifier: Classifier, group: int) -> None:
        super().__init__()
        self.classifier, self.group = classifier.copy(), group
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return margin and zero of each image [B, 1, *S], [B, 2]."""
        margins = own_margin(self.group)(*self.classifier(images))
        return torch.stack([margins, torch.zeros_like(margins)], 1)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield every layer, but not the classifier around them, which returns no single tensor."""
        for name, module in super().named_modules(memo, prefix, remove_duplicate):
            if module is not self.classifier:
                yield name, module


class ImageExplainer:
    """The explainer on trial as a function of altered images of one test row.

    Masks of the row stay with its images, so that controls can be drawn. Noise is drawn anew in
    every call, as whoever explains by noise would do it.

    Args:
        trial: Explainer, model and cohort.
        row: Test row.
        prepare: Function that changes a map before a metric sees it.
    """

    def __init__(self, trial: Trial, row: int, prepare: Callable[[Tensor], Tensor]) -> None:
        self._trial, self._row, self._prepare = trial, row, prepare
        self._group, self._calls = int(trial.test.groups[row]), 0

    def maps_of(self, images: Tensor, classifier: Classifier, column: int = 0) -> Tensor:
        """Return the maps [n, 1, *S] that a network has of altered images [n, 1, *S].

        Args:
            images: Images.
            classifier: Network; the one on trial, or a copy whose weights were altered.
            column: Explained output of ``OwnClassFirst``: 0 is the own class, 1 the other.
        """
        self._calls += 1
        trial = self._trial.on(classifier=classifier)
        target = own_margin(self._group if column == 0 else 1 - self._group)
        return self._prepare(draw_altered(trial, self._row, images, target, self._calls))

    def explain(self, model: OwnClassFirst, inputs: Array, targets: Array, **_: object) -> Array:
        """Return maps of a batch; the signature is that of Quantus' ``explain_func``."""
        columns = np.unique(np.asarray(targets))
        if len(columns) != 1:
            raise UnsupportedError("the metric explains several classes in one batch")
        images = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
        maps = self.maps_of(
            images.to(self._trial.runtime.device), model.classifier, int(columns[0])
        )
        return maps.cpu().numpy()
