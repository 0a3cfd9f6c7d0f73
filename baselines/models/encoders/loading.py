"""A network with the weights that a ``model.toml`` names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from baselines.models.encoders.architectures import Fitting, build_network
from baselines.models.encoders.cutting import cut_network, ending_linear, replace_head
from baselines.models.encoders.model_toml import CLASSES_NEEDED, ModelFile
from baselines.models.encoders.weights.checkpoint import Checkpoint, read_checkpoint, usable
from baselines.models.encoders.weights.matching import Match, last_linear, match_weights
from baselines.models.encoders.weights.recognition import build_on_meta, fault_sentence
from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError, UnsupportedError
from benchmark.seeding import seed_of

OWN_PARTS = ("trunk.", "pool.", "head.")


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, as its library builds it.

    Attributes:
        network: Network with all classes of the head that the weights hold, or with two outputs.
        match: Match of the file; None where the weights were drawn.
        classes: Number of classes of the head in the weights; None where they hold none.
    """

    network: nn.Module = field(repr=False)
    match: Match | None = None
    classes: int | None = None


def open_weights(content: ModelFile, folder: Path) -> Checkpoint | None:
    """Return the file of weights that a model names, or None where it names none.

    Raises:
        ClassifierError: If it cannot be read, or is another file than the model was made for.
    """
    if content.weights is None:
        return None
    return read_checkpoint(Path(os.path.normpath(folder / content.weights)), content.sha256)


def load_network(
    content: ModelFile, folder: Path, shape: tuple[int, ...], checkpoint: Checkpoint | None
) -> LoadedNetwork:
    """Return the network of a model as its library builds it, with the weights of a file.

    What the file lacks, and may lack, is drawn by the model's seed.

    Args:
        content: Contents of the model file.
        folder: Folder that paths are relative to.
        shape: Spatial shape of what the network is given.
        checkpoint: Weights, or None where all of them are drawn.

    Raises:
        ClassifierError: If the network cannot be built, or the weights do not fit it.
    """
    fitting = Fitting(shape, content.input.channels, 2, content.settings)
    architecture = content.architecture
    if checkpoint is None:
        return LoadedNetwork(_build(content, fitting, folder))
    empty = build_on_meta(architecture, fitting, folder)
    match = match_weights(empty, checkpoint.tensors, content.prefix)
    if match.faults:
        sentence = fault_sentence(architecture, match, checkpoint)
        raise ClassifierError(
            f"Of {checkpoint.path}, {sentence}{_hint(content, match, checkpoint)}"
        )
    classes = None
    if match.head is not None:
        classes = len(checkpoint.tensors[match.used[match.head]])
    network = _build(
        content, Fitting(shape, fitting.channels, classes or 2, content.settings), folder
    )
    tensors = usable(checkpoint, match.used.values())
    weights = {name: tensors[in_file] for name, in_file in match.used.items()}
    _refuse_other_types(network, weights, checkpoint)
    network.load_state_dict(weights, strict=False)
    return LoadedNetwork(network, match, classes)


def load_classifier(
    name: str, content: ModelFile, folder: Path, input_shape: tuple[int, ...]
) -> Classifier:
    """Return the classifier that a model file describes, with a head of two logits.

    Raises:
        ClassifierError: If anything of it cannot be read, or does not fit.
    """
    preprocessing = content.input.preprocessing
    shape = preprocessing.size or input_shape
    checkpoint = open_weights(content, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("model", content.architecture, content.seed))
        if checkpoint is not None and _is_own(checkpoint):
            trained = _load_own(name, content, folder, input_shape, checkpoint)
            if trained is not None:
                return trained
        loaded = load_network(content, folder, shape, checkpoint)
        if content.head == "checkpoint":
            replace_head(loaded.network, *_two_logits(content, loaded, checkpoint))
        else:
            _renew_head(loaded.network)
        classifier = cut_network(name, loaded.network, input_shape, preprocessing)
        without = loaded.match.without if loaded.match else ()
        return _at_layer(ending_linear(classifier, without), content)


def _load_own(
    name: str,
    content: ModelFile,
    folder: Path,
    input_shape: tuple[int, ...],
    checkpoint: Checkpoint,
) -> Classifier | None:
    """Return a classifier with weights that a training of ours wrote, or None if they are others.

    Raises:
        ClassifierError: If they are ours, but of another architecture.
    """
    preprocessing = content.input.preprocessing
    fitting = Fitting(
        preprocessing.size or input_shape, content.input.channels, 2, content.settings
    )
    network = _build(content, fitting, folder)
    _renew_head(network)
    cut = cut_network(name, network, input_shape, preprocessing)
    tensors = usable(checkpoint, checkpoint.tensors)
    tails = ((), tuple(each for each in network.state_dict() if each.startswith("classifier.")))
    classifier = cut
    for without in dict.fromkeys(tails):
        classifier = _at_layer(ending_linear(cut, without), content)
        if not _difference(classifier, tensors):
            classifier.load_state_dict(tensors)
            return classifier
    if hasattr(network, "trunk"):
        return None
    raise ClassifierError(
        f"The weights {checkpoint.path} do not fit {content.architecture}: "
        f"{_difference(classifier, tensors)}."
    )


def _renew_head(network: nn.Module) -> None:
    """Replace the last linear layer, where there is one, by a fresh one of two outputs."""
    head = last_linear(network)
    if head is not None:
        fresh = nn.Linear(_submodule(network, head).in_features, 2)
        replace_head(network, fresh.weight, fresh.bias)


def _difference(classifier: Classifier, tensors: Mapping[str, Tensor]) -> str:
    """Return in words how weights differ from those of a classifier; empty where they fit."""
    weights = classifier.state_dict()
    missing = [name for name in weights if name not in tensors]
    unexpected = [name for name in tensors if name not in weights]
    misshapen = [
        name for name in weights if name in tensors and weights[name].shape != tensors[name].shape
    ]
    kinds = {"are missing": missing, "are unexpected": unexpected, "have another shape": misshapen}
    return "; ".join(
        f"{len(names)} names {kind}, the first {names[0]}" for kind, names in kinds.items() if names
    )


def _is_own(checkpoint: Checkpoint) -> bool:
    return all(name.startswith(OWN_PARTS) for name in checkpoint.tensors)


def _build(content: ModelFile, fitting: Fitting, folder: Path) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("weights", content.architecture, content.seed))
        return build_network(content.architecture, fitting, folder)


def _submodule(network: nn.Module, name: str) -> nn.Linear:
    module = network.get_submodule(name)
    assert isinstance(module, nn.Linear)  # last_linear names nothing else
    return module


def _two_logits(
    content: ModelFile, loaded: LoadedNetwork, checkpoint: Checkpoint | None
) -> tuple[Tensor, Tensor | None]:
    """Return weight [2, D] and bias [2] of a head for two groups.

    A head of one output is a logit of group 1 against group 0; half of it goes to each.
    """
    path = checkpoint.path if checkpoint is not None else content.weights
    head = last_linear(loaded.network)
    if loaded.classes is None or head is None:
        raise ClassifierError(
            f"The weights {path} hold no head for {content.architecture}; take head = 'probe'."
        )
    linear, classes = _submodule(loaded.network, head), content.classes
    weight: Tensor = linear.weight.detach()
    bias: Tensor | None = linear.bias
    bias = None if bias is None else bias.detach()
    if loaded.classes == 1 and classes is None:
        signs = torch.tensor([-0.5, 0.5])
        return signs[:, None] * weight, bias if bias is None else signs * bias
    if classes is None and loaded.classes != 2:
        raise ClassifierError(
            f"The head in {path} has {loaded.classes} classes: {CLASSES_NEEDED}; or head = 'probe'."
        )
    rows = [0, 1] if classes is None else classes
    if max(rows) >= loaded.classes:
        raise ClassifierError(
            f"classes = {rows}, but the head in {path} has {loaded.classes} classes, counted "
            "from 0."
        )
    return weight[rows], None if bias is None else bias[rows]


def _at_layer(classifier: Classifier, content: ModelFile) -> Classifier:
    if content.layer is None:
        return classifier
    try:
        return classifier.cut(content.layer)
    except UnsupportedError as error:
        raise ClassifierError(
            f"Model {classifier.name!r} cannot be cut at layer = {content.layer!r}: {error}."
        ) from error


def _refuse_other_types(
    network: nn.Module, weights: Mapping[str, Tensor], checkpoint: Checkpoint
) -> None:
    """Refuse integers in the place of weights, as of a network that was quantised by hand."""
    own = network.state_dict()
    for name, tensor in weights.items():
        if own[name].is_floating_point() and not tensor.is_floating_point():
            raise ClassifierError(
                f"The tensor of {name} in {checkpoint.path} is {tensor.dtype}, but weights are "
                "numbers in floating point."
            )


def _hint(content: ModelFile, match: Match, checkpoint: Checkpoint) -> str:
    """Return advice where the stem or the position embedding has another shape."""
    if not match.misshapen:
        return ""
    if checkpoint.tensors[match.misshapen[0]].ndim == 5:
        return " They are of a network for volumes, and the images are two-dimensional."
    if any("pos" in name for name in match.misshapen):
        return " A transformer takes images of the size that it was trained on: see [input] size."
    return f" Does the network take {content.input.channels} channels, as [input] says?"
