"""The base of the reference networks: committed weights, images of so many dimensions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError
from benchmark.model_source import ModelSource
from benchmark.training import load_weights

_IMAGES = {2: "two-dimensional images", 3: "volumes"}


class CommittedModel(ModelSource):
    """A network whose weights are committed under its name, for slices unless it says otherwise."""

    dimensions: ClassVar[tuple[int, ...]] = (2,)
    frozen: ClassVar[bool] = True
    relatives: ClassVar[Path] = Path(__file__).parent / "data"

    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with the committed weights."""
        classifier = self.build(input_shape)
        classifier.source = type(self)
        return load_weights(classifier, self.relatives / f"{self.name}.safetensors")

    def build(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with fresh weights.

        Raises:
            ClassifierError: If the images have another number of dimensions than the network.
        """
        if len(input_shape) not in self.dimensions:
            kinds = " and ".join(_IMAGES[count] for count in self.dimensions)
            other = "smallresnet3d" if len(input_shape) == 3 else "smallresnet"
            raise ClassifierError(
                f"Model {self.name!r} takes {kinds}, but the cohort's images "
                f"have shape {list(input_shape)}; `--model {other}` takes these."
            )
        return self.assemble(input_shape)

    @abstractmethod
    def assemble(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with fresh weights, for images of a shape that fits."""
