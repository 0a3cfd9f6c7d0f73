"""Models trained beside the model on trial, such as its twin, and their committed weights.

A relative is named by everything that decides its weights but the machine that trained it. So
committed weights are taken on every machine, for the model and cohort that they were made for, and
on no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmark.arrays import Arrays
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.training.threads import torch_threads
from benchmark.training.weights import load_weights


@dataclass(frozen=True)
class Relative:
    """A model that a protocol needs beside the model on trial.

    Attributes:
        name: Name of its relation to the model, such as ``twin``; part of a file name.
        settings: Settings that decide its weights beside model and cohort, as plain JSON.
        fit: Function that trains it; it must give the same weights each time.
        description: Name of the model for whoever waits while it is trained, such as ``the twin``.
    """

    name: str
    settings: Mapping[str, object]
    fit: Callable[[], Classifier] = field(repr=False, compare=False)
    description: str = field(default="", compare=False)

    def train(self) -> Classifier:
        """Return the trained model, which is the same however many threads there are."""
        with torch_threads(1):
            return self.fit()


def relation(relative: Relative, cohort: Cohort, weights_sha256: str) -> str:
    """Return the SHA-256 that names a relative of these weights on this cohort."""
    parts = [relative.name, dict(relative.settings), cohort.fingerprint, weights_sha256]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


def load_committed(
    classifier: Classifier, folder: Path | None, name: str, related: str
) -> Classifier | None:
    """Return a relative from its committed weights, or None where there are none of that relation.

    The card beside the weights must name the same SHA-256 from ``relation``.

    Raises:
        ClassifierError: If the weights are not those that their card names.
    """
    if folder is None:
        return None
    other = _named_copy(classifier, name)
    weights, card = folder / f"{other.name}.safetensors", folder / f"{other.name}.json"
    if not weights.is_file() or not card.is_file():
        return None
    is_related = json.loads(card.read_text(encoding="utf-8")).get("relation") == related
    return load_weights(other, weights) if is_related else None


def to_arrays(classifier: Classifier) -> dict[str, npt.NDArray[np.generic]]:
    """Return parameters and buffers as arrays; bfloat16, which NumPy lacks, as float32."""
    tensors = {name: tensor.detach().cpu() for name, tensor in classifier.state_dict().items()}
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for name, tensor in tensors.items()
    }


def from_arrays(classifier: Classifier, name: str, arrays: Arrays) -> Classifier:
    """Return a relative of ``classifier`` with the weights that ``to_arrays`` gave."""
    other = _named_copy(classifier, name)
    tensors = {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
    other.load_state_dict(tensors)
    return other


def _named_copy(classifier: Classifier, name: str) -> Classifier:
    other = classifier.copy()
    other.name = f"{classifier.name}-{name}"
    return other
