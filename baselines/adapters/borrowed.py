"""What all adapters do: each image alone, a copy of the network, and seeded random numbers."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier
from benchmark.errors import AttributionError
from benchmark.explainer import Explainer
from benchmark.seeding import global_seed, seed_of
from benchmark.target import Target


class Scored(nn.Module):
    """The explained scalar as a network, for libraries that look for a column of its output.

    Args:
        classifier: Network.
        target: Scalar that is explained.
        columns: Number of columns of the output. With 0 it is the scalar of each image, [B]. With 1
            it is [B, 1]. With 2 it is [B, 2]: the scalar, and zero. Of a margin these are logits of
            the same probabilities as the network's own, with the explained class first.
    """

    def __init__(self, classifier: Classifier, target: Target, columns: int = 0) -> None:
        super().__init__()
        self.classifier, self.target, self.columns = classifier, target, columns

    def forward(self, images: Tensor) -> Tensor:
        """Return the scalar of each image [B, 1, *S]."""
        scores = self.target(*self.classifier(images))
        if self.columns == 0:
            return scores
        return torch.stack([scores, *[torch.zeros_like(scores)] * (self.columns - 1)], 1)


class BorrowedExplainer(Explainer):
    """A method of another library, called on one image at a time.

    A map therefore depends on no other image, whatever the library makes of a batch. The network is
    a copy: hooks, gradients and switches that the library leaves behind are thrown away with it.
    Layers that write in place are told not to, which libraries that hook into them need. What the
    library draws from the global random state of Python, NumPy or torch comes from a stream that is
    named by the method and the shape of the image. The state is put back.

    Attributes:
        arguments: Arguments that the library is given. Those that are no text and no number enter
            the identity of scores by their names.
        library: Name of the library's distribution, whose version is part of the identity.
    """

    arguments: ClassVar[Mapping[str, Any]] = {}
    library: ClassVar[str] = ""
    columns: ClassVar[int] = 0

    @property
    def config(self) -> dict[str, str | int | float]:
        """Arguments of the library, and its version."""
        settings = {name: _plain(value) for name, value in self.arguments.items()}
        try:
            return settings | ({self.library: version(self.library)} if self.library else {})
        except PackageNotFoundError:  # of a folder that is not installed
            return settings

    @abstractmethod
    def explain(self, model: Scored, image: Tensor) -> Tensor:
        """Return the signed map [1, 1, *S] of one image.

        Args:
            model: Network whose output is the explained scalar; ``model.classifier`` is the copy of
                the classifier in it, and may be altered.
            image: [1, 1, *S], a leaf that requires gradients.
        """

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the map [B, 1, *S] of each image; see the base class."""
        model = Scored(classifier.copy(), target, self.columns)
        for module in model.modules():
            if getattr(module, "inplace", False) is True:
                module.inplace = False  # type: ignore[assignment] # no tensor, as torch has it
        maps = []
        for image in images.detach().split(1):
            leaf = image.clone().requires_grad_()
            with global_seed(seed_of(self.name, *image.shape), image.device), _without_notices():
                attribution: object = self.explain(model, leaf)
            if not isinstance(attribution, Tensor) or attribution.shape != image.shape:
                what = getattr(attribution, "shape", None)
                fault = type(attribution).__name__ if what is None else list(what)
                raise AttributionError(
                    f"Explainer {self.name!r} must return attributions {list(image.shape)} of one "
                    f"image, but the library returned {fault}."
                )
            maps.append(attribution.detach())
        return torch.cat(maps).to(images.device)

    def borrow(self, name: str) -> Callable[..., Any]:
        """Return the class or function that a subclass names, as it is.

        Raises:
            AttributionError: If the subclass names none.
        """
        for owner in type(self).__mro__:
            if (borrowed := vars(owner).get(name)) is not None:
                function = borrowed.__func__ if isinstance(borrowed, staticmethod) else borrowed
                if callable(function):
                    return function
        raise AttributionError(f"Explainer {self.name!r} must set `{name}` to what it borrows.")


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keep Captum from saying for every image that it sets hooks, which go with the copy."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting (forward|backward)", UserWarning)
        yield


def _plain(value: object) -> str | int | float:
    """Return a value as a record holds it: text or number, or the name of what is neither."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple | list):
        return f"[{', '.join(str(_plain(each)) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_plain(each)}' for key, each in value.items())}}}"
    return "none" if value is None else str(getattr(value, "__qualname__", type(value).__name__))
