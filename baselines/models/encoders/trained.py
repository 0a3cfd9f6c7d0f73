"""Networks of the catalogue, or of a class in a file, with weights of an experiment.

Their ``model.toml`` names the model that was trained by ``model``, in the place of an architecture;
everything of it but the head and the weights stays as it is there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import Catalogue


class TrainedFile(BaseModel):
    """The whole file.

    Attributes:
        name: Name of the model in records; that of the file's folder unless given.
        model: Name or path of the model that was trained; a path is relative to the file.
        weights: Path of the weights, relative to the file.
        head: The head is the one in the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str | None = None
    model: Annotated[str, Field(min_length=1)]
    weights: str
    head: Literal["checkpoint"] = "checkpoint"


class TrainedModel(ModelSource):
    """A model with the weights of an experiment.

    Attributes:
        model: Name or path of the model that was trained.
        weights: Path of the weights.
    """

    model: ClassVar[str]
    weights: ClassVar[Path]

    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with the weights of the experiment.

        Raises:
            ClassifierError: If the weights are missing, damaged, or of another network.
        """
        classifier = Catalogue().models.find(self.model).create().load(input_shape)
        with torch.no_grad():
            width = classifier(classifier.example)[1].shape[1]
        classifier.name = self.name
        classifier.head = nn.utils.skip_init(nn.Linear, width, 2)
        try:
            classifier.load_state_dict(load_file(self.weights))
        except (OSError, SafetensorError) as error:
            raise ClassifierError(f"The weights {self.weights} cannot be read: {error}.") from error
        except RuntimeError as error:
            raise ClassifierError(
                f"The weights {self.weights} do not fit the model {self.model!r} that they were "
                f"trained from: {str(error).splitlines()[1].strip()}"
            ) from error
        classifier.eval().requires_grad_(False)
        return classifier


def read_trained_file(path: Path) -> TrainedFile | None:
    """Return the contents of a ``model.toml`` that names a ``model``; None for any other file.

    Raises:
        ClassifierError: If it holds what is not understood.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # the reader of the others says what is wrong
        return None
    if "model" not in content:
        return None
    try:
        return TrainedFile.model_validate(content)
    except ValidationError as error:
        # A key that is not known comes first: it is the one that is missing, written otherwise.
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        key = ".".join(map(str, faults[0]["loc"]))
        raise ClassifierError(
            f"The model file {path} has a wrong {key!r}: {faults[0]['msg']}. Beside 'model' it "
            "may hold 'name', 'weights' and 'head'."
        ) from error


def source_of_trained(path: Path, file: TrainedFile, name: str) -> type[TrainedModel]:
    """Return the source that a ``model.toml`` with a ``model`` describes."""
    folder = path.resolve().parent
    source, separator, class_name = file.model.rpartition(":")
    if not source.endswith(".py"):
        source, separator, class_name = file.model, "", ""
    relative = folder / source
    attributes = {
        "name": name,
        "description": f"{file.model} with the weights of an experiment",
        "model": f"{relative}{separator}{class_name}" if relative.exists() else file.model,
        "weights": folder / file.weights,
        "__module__": __name__,
        "__doc__": TrainedModel.__doc__,
    }
    return type("TrainedModel", (TrainedModel,), attributes)
