"""What trunk, pool and head give for two black images, and how they treat what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmark.classifier.side_effects import version
from benchmark.errors import ClassifierError, short_message

if TYPE_CHECKING:
    from benchmark.classifier.network import Classifier

HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Handling:
    """How the parts of a network treat tensors.

    Attributes:
        writes_maps: Whether pool or head write into the feature maps, as ``ReLU(inplace=True)``
            behind them does.
        writes_embedding: Whether the head writes into the embedding.
        halved: Type of the feature maps where they come in half precision.
    """

    writes_maps: bool = False
    writes_embedding: bool = False
    halved: torch.dtype | None = None


def examine_parts(classifier: Classifier) -> Handling:
    """Send two black images through trunk, pool and head, one after the other, uncounted.

    Raises:
        ClassifierError: If a part fails, or returns what is no tensor of the shape that is needed.
    """
    if next(classifier.parameters(), None) is None:
        raise ClassifierError(
            f"Model {classifier.name!r} has no parameter, so there is nothing to randomise."
        )
    with torch.inference_mode(False), torch.no_grad():
        # As a run gives them, whatever the type of the weights.
        images = torch.zeros(2, 1, *classifier.input_shape, device=classifier.device)
        try:
            images = classifier.preprocessing(images)
        except (RuntimeError, ValueError) as error:
            raise ClassifierError(
                f"Model {classifier.name!r} cannot take grey images of shape "
                f"{list(classifier.input_shape)}: {short_message(error)}"
            ) from error
        maps = _part_output(classifier, "trunk", images, "feature maps [B, K, *s]")
        before = version(maps)
        embedding = _part_output(classifier, "pool", maps, "an embedding [B, D]")
        between = version(embedding)
        logits = _part_output(classifier, "head", embedding, "logits [B, 2]")
    if logits.shape != (2, 2):
        raise ClassifierError(
            f"Model {classifier.name!r} must return logits [B, 2] and an embedding [B, D], "
            f"but for two images it returned {list(logits.shape)} and {list(embedding.shape)}."
        )
    halved = maps.dtype if maps.dtype in HALVES else None
    return Handling(version(maps) != before, version(embedding) != between, halved)


def single(values: Tensor) -> Tensor:
    """Return values in half precision as float32, and others as they are."""
    return values.float() if values.dtype in HALVES else values


def _part_output(classifier: Classifier, name: str, inputs: Tensor, expected: str) -> Tensor:
    part = getattr(classifier, name)
    try:
        output = part(inputs)
    except (Exception, SystemExit) as error:  # the network's own code; anything may come back
        where = "" if name == "trunk" else f"its {name}, given {list(inputs.shape)}, raises "
        held = {parameter.dtype for parameter in part.parameters()} - {inputs.dtype}
        types = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in held))
        hint = f" (it has {types} weights: call .float() on it, or cast within it)" if held else ""
        if "single memory location" in str(error):  # a write into a grey image's repeated channels
            hint = " (it changes the images that it is given: write `x = x - 0.5`, not `x -= 0.5`)"
        raise ClassifierError(
            f"Model {classifier.name!r} cannot take grey images of shape "
            f"{list(classifier.input_shape)}: {where}{short_message(error)}{hint}"
        ) from error
    if not isinstance(output, Tensor):
        raise ClassifierError(
            f"The {name} of model {classifier.name!r} must return one tensor, {expected}, but "
            f"returned {_described(output)}; wrap it in a module that returns the one that counts."
        )
    fits = output.ndim >= 2 if name == "trunk" else output.ndim == 2
    if not fits or len(output) != 2 or not output.is_floating_point():
        raise ClassifierError(
            f"The {name} of model {classifier.name!r} must return {expected}, but for two images "
            f"it returned {output.dtype} of shape {list(output.shape)}."
        )
    return output


def _described(output: object) -> str:
    """Return the kind of what is no tensor, and what it holds."""
    kind = type(output).__name__
    if isinstance(output, Mapping):
        return f"a {kind} of {', '.join(map(repr, output)) or 'nothing'}"
    if isinstance(output, tuple | list):
        shapes = (list(part.shape) if isinstance(part, Tensor) else part for part in output)
        return f"a {kind} of {', '.join(map(str, shapes)) or 'nothing'}"
    return kind
