"""From a checkpoint to a ``model.toml``, and what a ``model.toml`` stands for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from baselines.models.encoders.architectures import usual_input
from baselines.models.encoders.cutting import embedding_width
from baselines.models.encoders.loading import load_classifier, load_network, open_weights
from baselines.models.encoders.model_toml import (
    CLASSES_NEEDED,
    Input,
    ModelFile,
    format_model_file,
    model_name,
)
from baselines.models.encoders.photographs import (
    Prediction,
    predict_classes,
    read_class_names,
    read_photograph,
)
from baselines.models.encoders.weights.checkpoint import Checkpoint, read_checkpoint
from baselines.models.encoders.weights.recognition import (
    Recognition,
    build_on_meta,
    fault_sentence,
    fit_architecture,
    recognise,
)
from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError, InputError
from benchmark.plugins.catalogue import split_path
from benchmark.records.files import write_text

# Tried in turn, since a network does not say which shapes it takes.
SHAPES = ((96, 96), (64, 64, 64))
_FIRST = 4
_USUAL_SIZE = (224, 224)
_PROJECTION = re.compile(r"proj|predictor|fc\.\d|contrast|prototypes|queue|\bmlp\b|head")


def write_model_file(
    weights: Path, out: Path, architecture: str | None = None, side: int | None = None
) -> dict[str, str]:
    """Write the ``model.toml`` of a checkpoint, and return what was recognised, as rows of a table.

    Args:
        weights: Path of the checkpoint.
        out: Path of the file to write, which must not exist.
        architecture: Name of the architecture; recognised by the weights unless given.
        side: Length of each side that images are resized to inside the model; the network's own
            size where it has one, and as they are otherwise.

    Raises:
        ClassifierError: If the checkpoint cannot be read, recognised or loaded.
        InputError: If the file exists already, or cannot be written.
    """
    if out.is_dir():
        raise InputError(f"{out} is a folder; name the file to write, as in {out / 'model.toml'}.")
    if out.exists():
        raise InputError(f"{out} exists already; remove it, or name another file by --out.")
    checkpoint = read_checkpoint(weights)
    folder = out.resolve().parent
    if architecture is None:
        recognition = recognise(checkpoint)
    else:
        architecture = _relative_architecture(architecture, folder)
        recognition = fit_architecture(architecture, checkpoint.tensors, folder)
        if recognition.match.faults:
            raise ClassifierError(
                f"Of {weights}, {fault_sentence(architecture, recognition.match, checkpoint)}"
            )
    content = _contents(recognition, checkpoint, folder, side)
    name = model_name(out, content.name)
    # Loaded before it is written, so that what is written can be loaded.
    shape = None if ".py" in content.architecture else recognition.fitting.shape
    classifier = load_anyhow(name, content, folder, shape)
    comments = [f"Recognised by `python -m benchmark model init {weights.name}`."]
    comments.append(
        "No checkpoint says how its images were scaled: compare [input] with the training."
    )
    write_text(out, format_model_file(content, tuple(comments)))
    return _introduction(recognition, checkpoint, content, classifier)


def load_anyhow(
    name: str, content: ModelFile, folder: Path, shape: Sequence[int] | None = None
) -> Classifier:
    """Return the classifier for a shape of image, or for the first of some that it takes.

    Raises:
        ClassifierError: If it takes none of them.
    """
    shapes = list(SHAPES) if shape is None else [tuple(shape)]
    if content.input.size is not None and shape is None:
        shapes = [tuple(content.input.size)]
    refusals = []
    for each in shapes:
        try:
            return load_classifier(name, content, folder, each)
        except ClassifierError as error:
            refusals.append(error)
    raise refusals[0]


def describe_model(classifier: Classifier, content: ModelFile) -> dict[str, str]:
    """Return what a model consists of, as rows of a table."""
    weights = f"drawn by seed {content.seed}" if content.weights is None else content.weights
    grid = classifier.feature_grid
    maps = " × ".join(map(str, classifier.maps_shape))
    if grid.shape:
        steps = " × ".join(f"{step:g}" for step in grid.step)
        maps += f", a cell every {steps} pixels of an image {_times(classifier.input_shape)}"
    else:
        maps += ", without a grid of cells: class activation maps refuse it"
    rows = {
        "architecture": content.architecture,
        "weights": weights,
        "sha256 of the model": classifier.weights_sha256,
        "input": _input_row(content.input),
        "layer": content.layer or "the last",
        "feature maps": maps,
        "embedding": str(embedding_width(classifier)),
        "head": _head_row(content),
    }
    for stage in classifier.stages:
        sizes = dict(classifier.named_parameters())
        count = sum(sizes[name].numel() for name in stage.parameters)
        rows[f"stage {stage.name}"] = f"{count:,} parameters"
    return rows


def classify_photographs(
    content: ModelFile, folder: Path, paths: Sequence[Path], class_names: Path | None = None
) -> dict[str, list[Prediction]]:
    """Return the most probable classes of each photograph by the head that the weights hold.

    Args:
        content: Contents of the model file.
        folder: Folder that paths in it are relative to.
        paths: Image files.
        class_names: Text file with the name of a class on each line; none where only numbers are
            to be told.

    Raises:
        ClassifierError: If the weights hold no head.
        InputError: If an image or the names cannot be read.
    """
    size = tuple(content.input.size or _USUAL_SIZE)
    if len(size) != 2:
        raise ClassifierError("Photographs are for networks of two-dimensional images.")
    loaded = load_network(content, folder, size, open_weights(content, folder))
    if loaded.classes is None:
        raise ClassifierError(
            f"{content.weights or 'A network of random weights'} holds no head for "
            f"{content.architecture}, so there are no classes to tell of a photograph."
        )
    network = loaded.network.eval()
    names = [] if class_names is None else read_class_names(class_names, loaded.classes)
    photographs = {str(path): read_photograph(path, content.input.channels, size) for path in paths}
    step = content.input.preprocessing
    return {
        path: predict_classes(network, step, photograph, names)
        for path, photograph in photographs.items()
    }


def _relative_architecture(architecture: str, folder: Path) -> str:
    path, ending = split_path(architecture)
    if not path.endswith(".py"):
        return architecture
    # A file without a function is moved too; the function is asked for where the file is read.
    return f"{_relative(Path(path), folder)}{ending}"


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder)).as_posix()
    except ValueError:  # on another drive
        return str(path.resolve())


def _contents(
    recognition: Recognition, checkpoint: Checkpoint, folder: Path, side: int | None
) -> ModelFile:
    usual, fitting = usual_input(recognition.architecture), recognition.fitting
    channels = fitting.channels
    if ".py" in recognition.architecture:
        channels = _stem_channels(
            build_on_meta(recognition.architecture, fitting, folder), channels
        )
    scale = {"mean": usual["mean"], "std": usual["std"]}
    if channels != usual["channels"]:
        scale = {"mean": [0.0], "std": [1.0]}
    if side is not None:
        size: tuple[int, ...] | None = (side,) * len(fitting.shape)
    else:
        size = fitting.shape if "size" in usual else None
    classes = _head_classes(recognition, checkpoint)
    return ModelFile(
        architecture=recognition.architecture,
        settings=dict(recognition.settings),  # type: ignore[arg-type] # plain JSON
        weights=_relative(checkpoint.path, folder),
        sha256=checkpoint.sha256,
        prefix=recognition.match.prefix,
        head="checkpoint" if classes in (1, 2) else "probe",
        input=Input(channels=channels, **scale, size=None if size is None else list(size)),
    )


def _stem_channels(network: nn.Module, otherwise: int) -> int:
    kinds = (nn.Conv2d, nn.Conv3d)
    stems = (part.in_channels for part in network.modules() if isinstance(part, kinds))
    return next(stems, otherwise)


def _head_classes(recognition: Recognition, checkpoint: Checkpoint) -> int | None:
    head = recognition.match.head
    return None if head is None else len(checkpoint.tensors[recognition.match.used[head]])


def _introduction(
    recognition: Recognition, checkpoint: Checkpoint, content: ModelFile, classifier: Classifier
) -> dict[str, str]:
    match, count = recognition.match, len(checkpoint.tensors)
    rows = {"checkpoint": f"{checkpoint.path}, {count} tensors"}
    rows["recognised as"] = recognition.architecture
    if recognition.settings:
        rows["recognised as"] += f" with {dict(recognition.settings)}"
    if recognition.alternatives:
        rows["fits as well"] = (
            f"{', '.join(recognition.alternatives)}: the same names and shapes, so weights cannot "
            "tell them apart; the first was taken, --architecture takes another"
        )
    prefix = f"behind {match.prefix!r}" if match.prefix else "without a prefix"
    rows["embedding width"] = str(embedding_width(classifier))
    rows["input"] = _input_row(content.input) + "; check mean and std against the training"
    rows["keys used"] = f"{len(match.used)} of {count}, {prefix}, by {match.label}"
    if recognition.copies:
        rows["second copy"] = f"{', '.join(map(repr, recognition.copies))}, which is not used"
    rows["left over"] = _left_over_row(match.left_over, recognition.copies)
    rows["missing"] = _names_row(match.without)
    if match.without:
        rows["missing"] += "; left out, the embedding is what is before them"
    rows["head"] = _introduced_head(content, _head_classes(recognition, checkpoint))
    kinds = [
        str(checkpoint.tensors[name].dtype).removeprefix("torch.") for name in match.used.values()
    ]
    if others := [kind for kind in kinds if "float" in kind and kind != "float32"]:
        names = ", ".join(dict.fromkeys(others))
        rows["converted"] = f"{len(others)} tensors from {names} to float32"
    return rows


def _left_over_row(names: Sequence[str], copies: Sequence[str]) -> str:
    names = [name for name in names if not (copies and name.startswith(tuple(copies)))]
    row = _names_row(names)
    if any(_PROJECTION.search(name) for name in names):
        row += "; what a training put behind the encoder, which is dropped"
    return row


def _names_row(names: Sequence[str]) -> str:
    if not names:
        return "none"
    first = ", ".join(names[:_FIRST])
    return f"{len(names)}: {first}{', …' if len(names) > _FIRST else ''}"


def _introduced_head(content: ModelFile, classes: int | None) -> str:
    if classes is None:
        return "none in the weights: a probe, fitted to each cohort's training split"
    if content.head == "checkpoint":
        return f"from the checkpoint, {classes} output{'s' * (classes > 1)}"
    return f"of {classes} classes, replaced by a probe; {CLASSES_NEEDED}, and head = 'checkpoint'"


def _head_row(content: ModelFile) -> str:
    if content.head == "probe":
        return "a probe, fitted to each cohort's training split"
    chosen = "" if content.classes is None else f", classes {content.classes}"
    return f"from the checkpoint{chosen}"


def _input_row(image_input: Input) -> str:
    mean, std = (
        ", ".join(f"{value:g}" for value in values)
        for values in (image_input.mean, image_input.std)
    )
    size = "as they are" if image_input.size is None else f"resized to {_times(image_input.size)}"
    plural = "s" if image_input.channels > 1 else ""
    return f"{image_input.channels} channel{plural}, mean {mean}, std {std}, images {size}"


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
