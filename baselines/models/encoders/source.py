"""Models that a ``model.toml`` describes, and networks by the name of their architecture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from baselines.models.encoders.architectures import usual_input
from baselines.models.encoders.loading import load_classifier
from baselines.models.encoders.model_toml import Input, ModelFile, check_model_file, model_name
from baselines.models.encoders.trained import check_trained_file, source_of_trained
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError, SanityError, short_message
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import LIBRARIES, split_path
from benchmark.records.toml_file import read_toml
from benchmark.training import fit_probe

FAMILIES = {
    "torchvision": "ResNet and its kin, RegNet, DenseNet, VGG, AlexNet, EfficientNet, MobileNet, "
    "ConvNeXt, Swin, ViT, video ResNets",
    "timm": "whatever timm.list_models() names; pip install 'medsanity[timm]'",
    "monai": "DenseNet121 and deeper, resnet10 and deeper, efficientnet-b0 and larger, in two and "
    "three dimensions; pip install 'medsanity[monai]'",
}


class EncoderSource(ModelSource):
    """A network that a ``model.toml`` describes, or one by the name of its architecture.

    Attributes:
        content: Architecture, weights, input and head.
        folder: Folder that paths in it are relative to.
    """

    content: ClassVar[ModelFile]
    folder: ClassVar[Path]

    def load(self, input_shape: Sequence[int]) -> Classifier:
        """Return the network with its weights, and a head of two logits.

        The head of a probe is drawn by the seed until ``fit`` replaces it.

        Raises:
            ClassifierError: If weights or network cannot be read, or do not fit each other or the
                images.
        """
        try:
            return load_classifier(self.name, self.content, self.folder, tuple(input_shape))
        except SanityError:
            raise
        except (Exception, SystemExit) as error:  # the network may be the user's own code
            raise ClassifierError(
                f"Model {self.name!r} of {self.content.architecture} cannot be loaded for images "
                f"of shape {list(input_shape)}: {short_message(error)}."
            ) from error

    def fit(self, classifier: Classifier, cohort: Cohort) -> Classifier:
        """Return the classifier with a logistic regression as its head, where it is a probe."""
        return fit_probe(classifier, cohort) if self.content.head == "probe" else classifier

    def model_file(self, folder: Path) -> dict[str, object]:
        """Return the keys that describe the network, with the path of its code seen from there."""
        omitted = {"name", "weights", "sha256", "prefix", "head", "classes", "input"}
        keys = self.content.model_dump(exclude=omitted, exclude_none=True, exclude_defaults=True)
        code, ending = split_path(self.content.architecture)
        if ending:
            path = Path(os.path.relpath(self.folder / code, folder.resolve())).as_posix()
            keys["architecture"] = f"{path}{ending}"
        return {**keys, "input": self.content.input.model_dump(exclude_none=True)}


def source_of_file(path: Path) -> type[ModelSource]:
    """Return the source that a ``model.toml`` describes; the same for the same contents.

    Raises:
        ClassifierError: If the file cannot be read.
    """
    keys = read_toml(path, "model file", ClassifierError)
    if "model" in keys:
        trained = check_trained_file(path, keys)
        return source_of_trained(path, trained, model_name(path, trained.name))
    content = check_model_file(path, keys)
    name = model_name(path, content.name)
    return _source(name, content.model_dump_json(), path.resolve().parent)


def source_of_architecture(architecture: str) -> type[EncoderSource]:
    """Return the source of an architecture by name, such as ``torchvision.resnet50``.

    Its weights are drawn by seed 0, and its input is what the published weights expect.

    Raises:
        ClassifierError: If its library is not installed.
    """
    content = ModelFile(architecture=architecture, input=Input(**usual_input(architecture)))
    return _source(architecture, content.model_dump_json(), Path())


def families() -> dict[str, str]:
    """Return the libraries whose networks can be named, and which these are."""
    return {f"{library}.NAME": FAMILIES[library] for library in LIBRARIES}


@lru_cache(maxsize=64)
def _source(name: str, content_json: str, folder: Path) -> type[EncoderSource]:
    content = ModelFile.model_validate_json(content_json)
    drawn = f"weights are random, drawn by seed {content.seed}"
    description = content.architecture
    description += f" with {content.weights}" if content.weights else f"; its {drawn}"
    attributes = {
        "name": name,
        "description": description,
        "content": content,
        "folder": folder,
        "notice": ""
        if content.weights
        else f"Model {name!r}: its {drawn}; it has learned nothing.",
        "__module__": __name__,
        "__doc__": EncoderSource.__doc__,
    }
    return type("EncoderSource", (EncoderSource,), attributes)
