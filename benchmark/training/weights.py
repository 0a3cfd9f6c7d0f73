"""Weights of trained networks on disk, with a card that says how they were trained."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.training.fine_tuning import Recipe

# Rounding, also of other processors, moves logits by less, as a share of the larger.
_SAME_LOGITS = 1e-3


def save_weights(classifier: Classifier, folder: Path, card: dict[str, object]) -> Path:
    """Write ``NAME.safetensors`` and its card ``NAME.json``, and return the path of the weights.

    Args:
        classifier: Model whose parameters and buffers are written.
        folder: Folder to write into, made if missing.
        card: Recipe and results; the SHA-256 of the weights, and the logits of a known image are
            added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{classifier.name}.safetensors"
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    save_file(tensors, path)
    shape = list(classifier.input_shape)
    known_image = {"shape": shape, "logits": known_logits(classifier, shape)}
    card = {"name": classifier.name, "sha256": classifier.weights_sha256, **card}
    card["known_image"] = known_image
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def load_weights(classifier: Classifier, path: Path) -> Classifier:
    """Return a classifier with weights that ``save_weights`` wrote, checked against their card.

    Args:
        classifier: Model of the same architecture, which is changed in place and returned.
        path: Path of the ``.safetensors`` file.

    Raises:
        ClassifierError: If the file is missing, belongs to another architecture, or holds other
            weights than its card names, or if the network computes other logits of a known image.
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
    _check_known_image(classifier, path, card.get("known_image"))
    return classifier


def known_logits(classifier: Classifier, shape: Sequence[int]) -> list[float]:
    """Return the logits of one image that is the same everywhere, without counting a pass."""
    waves = torch.arange(math.prod(shape), device=classifier.device).mul(0.37).sin()
    image = classifier.preprocessing((1 + waves.view(1, 1, *shape)) / 2)
    with torch.no_grad():
        logits, _ = classifier.tail(classifier.trunk(image))
    return [float(value) for value in logits[0]]


def _check_known_image(classifier: Classifier, path: Path, known: dict[str, Any] | None) -> None:
    """Refuse a network that has the right weights and computes something else with them."""
    if known is None:
        return
    logits = known_logits(classifier, known["shape"])
    tolerance = _SAME_LOGITS * max(1.0, *map(abs, known["logits"]))
    if any(abs(a - b) > tolerance for a, b in zip(logits, known["logits"], strict=True)):
        raise ClassifierError(
            f"Model {classifier.name!r} is another network than the weights {path.name} were "
            f"trained for: it gives a known image the logits {logits}, but their card names "
            f"{known['logits']}."
        )


def recipe_card(recipe: Recipe, cohort: Cohort, seed: int) -> dict[str, object]:
    """Return what a reader needs to train the same network again."""
    return {
        "recipe": asdict(recipe),
        "seed": seed,
        "cohort": cohort.name,
        "cohort_fingerprint": cohort.fingerprint,
        "torch": torch.__version__,
    }
