"""Networks of the catalogue, or of a class in a file, with weights of an experiment.

Their ``model.toml`` names the model that was trained by ``model``, in the place of an architecture;
everything of it but the head and the weights stays as it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from baselines.models.encoders.cutting import embedding_width
from baselines.models.encoders.weights.checkpoint import read_checkpoint
from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError, short_message
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import Catalogue, split_path
from benchmark.records.toml_file import describe_fault


class TrainedFile(BaseModel):
    """The whole file.

    Attributes:
        name: Name of the model in records; that of the file's folder unless given.
        model: Name or path of the model that was trained; a path is relative to the file.
        weights: Path of the weights, relative to the file.
        sha256: SHA-256 of the file of the weights; any file is taken unless given.
        head: The head is the one in the weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str | None = None
    model: Annotated[str, Field(min_length=1)]
    weights: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    head: Literal["checkpoint"] = "checkpoint"


class TrainedModel(ModelSource):
    """A model with the weights of an experiment.

    Attributes:
        model: Name or path of the model that was trained.
        weights: Path of the weights.
        sha256: SHA-256 that the file of the weights must have, or None where any is taken.
    """

    model: ClassVar[str]
    weights: ClassVar[Path]
    sha256: ClassVar[str | None]

    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with the weights of the experiment.

        Raises:
            ClassifierError: If the weights are missing, damaged, or of another network.
        """
        classifier = Catalogue().models.find(self.model).create().load(input_shape)
        classifier.name = self.name
        classifier.head = nn.utils.skip_init(nn.Linear, embedding_width(classifier), 2)
        tensors = read_checkpoint(self.weights, self.sha256).tensors
        try:
            classifier.load_state_dict(tensors)
        except RuntimeError as error:
            raise ClassifierError(
                f"The weights {self.weights} do not fit the model {self.model!r} that they were "
                f"trained from: {short_message(error)}"
            ) from error
        classifier.eval().requires_grad_(False)
        return classifier


def check_trained_file(path: Path, content: dict[str, object]) -> TrainedFile:
    """Return the contents of a ``model.toml`` that names a ``model``, if they can be understood.

    Raises:
        ClassifierError: If they cannot.
    """
    try:
        return TrainedFile.model_validate(content)
    except ValidationError as error:
        fault = describe_fault(error, content, TrainedFile)
        raise ClassifierError(f"The model file {path} {fault}.") from error


def source_of_trained(path: Path, file: TrainedFile, name: str) -> type[TrainedModel]:
    """Return the source that a ``model.toml`` with a ``model`` describes."""
    folder = path.resolve().parent
    source, ending = split_path(file.model)
    located = folder / source
    attributes = {
        "name": name,
        "description": f"{file.model} with the weights of an experiment",
        "model": f"{located}{ending}" if located.exists() else file.model,
        "weights": folder / file.weights,
        "sha256": file.sha256,
        "__module__": __name__,
        "__doc__": TrainedModel.__doc__,
    }
    return type("TrainedModel", (TrainedModel,), attributes)
