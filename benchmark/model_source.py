"""The base of a model plugin: where a classifier's architecture and weights come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.classifier import Classifier
from benchmark.classifier.proofs import NetworkProofs
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.training import Recipe

__all__ = ["ModelSource"]

# A network is proven on so many images of each group.
_OF_GROUP = (2, 1)


class ModelSource(ABC):
    """A model that can be scored; one class in one file.

    A trained network needs ``load`` alone. One that brings only an encoder also overrides ``fit``,
    most simply by ``benchmark.training.fit_probe``. One that can be trained from the start by
    ``python -m benchmark train`` gives a ``recipe`` and ``build``.

    Attributes:
        name: Name of the model in records and on the board.
        description: Sentence for tables.
        dimensions: Numbers of spatial dimensions of the images that it may take, 2 for slices and 3
            for volumes.
        recipe: Recipe to train it by, or None.
        relatives: Folder with committed weights of models trained beside it, such as its twin, or
            None where they are to be fitted when they are needed.
        frozen: Whether the network is frozen with a suite, so that its weights alone name it.
        notice: Sentence that every run says before it scores the model, such as that its weights
            are random; empty for none.
    """

    name: ClassVar[str]
    description: ClassVar[str] = ""
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    recipe: ClassVar[Recipe | None] = None
    relatives: ClassVar[Path | None] = None
    frozen: ClassVar[bool] = False
    notice: ClassVar[str] = ""

    @abstractmethod
    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the classifier with its weights.

        Args:
            input_shape: Spatial shape *S of the cohort's images.

        Raises:
            ClassifierError: If the model does not fit that shape or its weights are not those
                that its recipe names.
        """

    def fit(self, classifier: Classifier, cohort: Cohort) -> Classifier:
        """Return the classifier fitted to the cohort's training split; as it is unless overridden.

        It must give the same weights each time: they are part of every score's identity.
        """
        return classifier

    def build(self, input_shape: Sequence[int]) -> Classifier:
        """Return the untrained classifier that ``recipe`` starts from.

        Raises:
            ClassifierError: If the model cannot be trained here.
        """
        raise ClassifierError(f"Model {self.name!r} has no recipe to train it by.")

    def model_file(self, folder: Path) -> Mapping[str, object]:
        """Return the keys of a ``model.toml`` in ``folder`` that describe the network, no weights.

        They are none for a network that is known by its class alone.
        """
        return {}


def load_fitted(
    source: ModelSource, cohort: Cohort, device: torch.device | str = "cpu"
) -> Classifier:
    """Return the classifier of a source, loaded for a cohort and fitted to it, on a device.

    Raises:
        ClassifierError: If the model does not fit the cohort, or gives what is not finite.
    """
    classifier = source.load(cohort.shape).to(device)
    # What is fitted to such embeddings would fail, and its error would hide why.
    NetworkProofs(classifier, images_to_prove_on(cohort, device)).check_values()
    fitted = source.fit(classifier, cohort).to(device)
    fitted.source = type(source)
    return fitted


def images_to_prove_on(cohort: Cohort, device: torch.device | str = "cpu") -> Tensor:
    """Return a few images [M, 1, *S] of the training split, or of all where there is none.

    They are the same in any order of the rows, and of both groups where there are both.
    """
    in_training = (cohort.participants["split"] == "train").to_numpy()
    rows = np.flatnonzero(in_training if in_training.any() else ~in_training)
    rows = rows[np.argsort(np.array(cohort.keys)[rows])]
    first = [rows[cohort.groups[rows] == group][:count] for group, count in enumerate(_OF_GROUP)]
    # No whole batch: that would make the union of the regions of every image in the cohort.
    return torch.from_numpy(np.ascontiguousarray(cohort.images[np.concatenate(first)])).to(device)
