"""Weights of trained networks on disk, with a card that says how they were trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.training.fine_tuning import Recipe


def save_weights(classifier: Classifier, folder: Path, card: dict[str, object]) -> Path:
    """Write ``NAME.safetensors`` and its card ``NAME.json``, and return the path of the weights.

    Args:
        classifier: Model whose parameters and buffers are written.
        folder: Folder to write into, made if missing.
        card: Recipe and results; the SHA-256 of the weights is added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{classifier.name}.safetensors"
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(tensors, path)
    card = {"name": classifier.name, "sha256": classifier.weights_sha256, **card}
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def load_weights(classifier: Classifier, path: Path) -> Classifier:
    """Return a classifier with weights that ``save_weights`` wrote, checked against their card.

    Args:
        classifier: Model of the same architecture, which is changed in place and returned.
        path: Path of the ``.safetensors`` file.

    Raises:
        ClassifierError: If the file is missing, belongs to another architecture, or holds other
            weights than its card names.
    """
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        classifier.load_state_dict(load_file(path))
    except (OSError, ValueError, SafetensorError) as error:
        raise ClassifierError(f"The weights {path.name} cannot be read: {error}") from error
    except RuntimeError as error:
        raise ClassifierError(
            f"The weights {path.name} do not fit the architecture of {classifier.name!r}."
        ) from error
    if classifier.weights_sha256 != card.get("sha256"):
        raise ClassifierError(
            f"The weights {path.name} have SHA-256 {classifier.weights_sha256}, "
            f"but their card names {card.get('sha256')}."
        )
    return classifier


def recipe_card(recipe: Recipe, cohort: Cohort, seed: int) -> dict[str, object]:
    """Return what a reader needs to train the same network again."""
    return {
        "recipe": asdict(recipe),
        "seed": seed,
        "cohort": cohort.name,
        "cohort_fingerprint": cohort.fingerprint,
        "torch": torch.__version__,
    }
