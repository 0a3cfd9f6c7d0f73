"""The base of the reference networks: committed weights, two-dimensional images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError
from benchmark.model_source import ModelSource
from benchmark.training import load_weights


class CommittedModel(ModelSource):
    """A network for two-dimensional images whose weights are committed under its name."""

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
            ClassifierError: If the images are not two-dimensional.
        """
        if len(input_shape) != 2:
            raise ClassifierError(
                f"Model {self.name!r} takes two-dimensional images, "
                f"but the cohort's have shape {list(input_shape)}."
            )
        return self.assemble(input_shape)

    @abstractmethod
    def assemble(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with fresh weights, for images of a shape that fits."""
