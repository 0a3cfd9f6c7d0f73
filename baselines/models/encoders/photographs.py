"""Classes that a network tells of photographs, as the ImageNet networks are evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn

from benchmark.classifier import Preprocessing
from benchmark.errors import InputError

# Of the shorter side, the share that the central crop keeps: 224 of 256 pixels.
_CROP = 0.875
_TOP = 5
_MODES = {1: "L", 3: "RGB"}
_DEEP = ("I", "F")


@dataclass(frozen=True)
class Prediction:
    """A class that a network tells of an image.

    Attributes:
        index: Number of the class, from 0.
        name: Name of the class; empty where none is known.
        logit: Output of the network.
        probability: Share of the class after softmax.
    """

    index: int
    name: str
    logit: float
    probability: float


def read_photograph(path: Path, channels: int, size: tuple[int, ...]) -> Tensor:
    """Return an image file as the network takes it, [1, channels, *size] in [0, 1].

    The shorter side is resized to 8/7 of the size, bicubically, and the centre is cut out.

    Raises:
        InputError: If it cannot be read as an image of eight bits.
    """
    if channels not in _MODES:
        raise InputError(f"A photograph has 1 or 3 channels, but the network takes {channels}.")
    try:
        with Image.open(path) as file:
            if file.mode.startswith(_DEEP):
                raise InputError(
                    f"The image {path} has more than eight bits (mode {file.mode}); convert it to "
                    "eight, since its range is not known."
                )
            photograph = ImageOps.exif_transpose(file).convert(_MODES[channels])
    except UnidentifiedImageError as error:
        raise InputError(f"The file {path} is no image that Pillow can read.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"The image {path} cannot be read: {reason}.") from error
    height, width = size
    enlarged = (round(width / _CROP), round(height / _CROP))
    cropped = ImageOps.fit(photograph, enlarged, Image.Resampling.BICUBIC)
    left, top = (enlarged[0] - width) // 2, (enlarged[1] - height) // 2
    pixels = np.asarray(cropped.crop((left, top, left + width, top + height)), np.float32) / 255
    return torch.from_numpy(pixels.reshape(1, height, width, channels).transpose(0, 3, 1, 2).copy())


def predict_classes(
    network: nn.Module, preprocessing: Preprocessing, photograph: Tensor, names: list[str]
) -> list[Prediction]:
    """Return the five most probable classes of an image, the first the most probable.

    Args:
        network: Network in evaluation mode, with all classes of its head.
        preprocessing: Step from images in [0, 1] to what it expects.
        photograph: [1, channels, *size].
        names: Names of the classes; empty where none are known.
    """
    with torch.inference_mode():
        logits = network(preprocessing(photograph))[0]
    probabilities = logits.double().softmax(0)
    return [
        Prediction(
            index, names[index] if names else "", float(logits[index]), float(probabilities[index])
        )
        for index in probabilities.topk(min(_TOP, len(logits))).indices.tolist()
    ]


def read_class_names(path: Path, count: int) -> list[str]:
    """Return the names of classes, one a line.

    Raises:
        InputError: If the file cannot be read, or has another number of lines.
    """
    try:
        names = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"The names of classes {path} cannot be read: {error}.") from error
    if len(names) != count:
        raise InputError(f"{path} names {len(names)} classes, but the head has {count}.")
    return names
