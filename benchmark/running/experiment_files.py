"""What an experiment keeps beside its card: checkpoint, weights, recipe, predictions, figures."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
from safetensors import SafetensorError, safe_open

from benchmark.classifier import Classifier
from benchmark.errors import InputError, StoreError
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import MODEL_FILE, split_path
from benchmark.records.experiment import ExperimentCard
from benchmark.records.files import store_errors, write_atomically
from benchmark.records.storage.owners import is_temporary, temporary_beside
from benchmark.records.toml_file import format_toml
from benchmark.results.table import write_table
from benchmark.training.findings import Comparison
from benchmark.training.predictions import Predictions, compare
from benchmark.training.regimes import RegimeRecipe
from benchmark.training.trainer import TrainingState

CHECKPOINT, WEIGHTS, RECIPE = "checkpoint.safetensors", "weights.safetensors", "recipe.toml"
PREDICTIONS, FIGURES = "predictions.csv", "figures"
_COLUMNS = ("key", "subject", "group", "split", "logit_0", "logit_1")


def write_checkpoint(folder: Path, state: TrainingState, identity: str) -> None:
    """Keep the state of a training, in place of an earlier one.

    Raises:
        StoreError: If it cannot be written; the earlier one then stays.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in state.to_arrays().items()}
    content = safetensors.numpy.save(arrays, metadata={"identity": identity})
    write_atomically(folder / CHECKPOINT, content)


def read_checkpoint(folder: Path, identity: str) -> TrainingState | None:
    """Return the state that was kept last, or None where there is none.

    Raises:
        StoreError: If it is damaged, or of another experiment.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            owner = (file.metadata() or {}).get("identity")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = TrainingState.from_arrays(arrays)
    except (OSError, SafetensorError, InputError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete it, and the training begins anew."
        ) from error
    if owner != identity:
        raise StoreError(f"{path} is of another experiment; delete it to begin the training anew.")
    return state


def write_weights(folder: Path, classifier: Classifier) -> None:
    """Write parameters and buffers of a trained network.

    Raises:
        StoreError: If they cannot be written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    write_atomically(folder / WEIGHTS, safetensors.torch.save(tensors))


def write_recipe(folder: Path, recipe: RegimeRecipe) -> None:
    """Write a recipe as TOML; settings that are left to their defaults are written out."""
    settings = {name: value for name, value in asdict(recipe).items() if value is not None}
    write_atomically(folder / RECIPE, format_toml(settings).encode())


def write_model(folder: Path, card: ExperimentCard, source: ModelSource) -> None:
    """Write the ``model.toml`` by which the trained network is found.

    It describes the network as the file did that it came from. A network that is known by its class
    is named by it, relative to the file where it was given by a path, so that both can be moved
    together. The hash of the weights keeps others from being taken for those of the card.

    Raises:
        StoreError: If it cannot be written, or there are no weights beside it.
    """
    with store_errors(folder / WEIGHTS):
        sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    described = dict(source.model_file(folder)) or {"model": _relative(card.model.spec, folder)}
    settings = {**described, "weights": WEIGHTS, "sha256": sha256, "head": "checkpoint"}
    write_atomically(folder / MODEL_FILE, format_toml(settings).encode())


def _relative(spec: str, folder: Path) -> str:
    """Return a name as it is, and ``file.py:Class`` or a path relative to a folder."""
    path, class_part = split_path(spec)
    if not Path(path).exists():
        return spec
    relative = Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()
    return f"{relative}{class_part}"


def write_predictions(folder: Path, predictions: Predictions) -> None:
    """Write the logits of every image as CSV, without the embeddings."""
    rows = zip(
        predictions.keys,
        predictions.subjects,
        predictions.groups.tolist(),
        predictions.splits,
        *predictions.logits.T.tolist(),
        strict=True,
    )
    write_atomically(folder / PREDICTIONS, write_table(_COLUMNS, rows).encode())


def read_predictions(folder: Path, card: ExperimentCard) -> Predictions:
    """Return the predictions of a finished experiment; they come without embeddings, [N, 0].

    Raises:
        StoreError: If they are missing, or are not those that the card names.
    """
    path = folder / PREDICTIONS
    if PREDICTIONS not in card.files:
        raise StoreError(f"{card.id} is {card.present_status} and has no predictions to compare.")
    with store_errors(path):
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != card.files[PREDICTIONS]:
        raise StoreError(f"{path} was altered after it was written; its hash is not the card's.")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
    return Predictions(
        keys=tuple(row["key"] for row in rows),
        subjects=tuple(row["subject"] for row in rows),
        groups=np.array([int(row["group"]) for row in rows]),
        splits=tuple(row["split"] for row in rows),
        logits=np.array([[float(row["logit_0"]), float(row["logit_1"])] for row in rows]),
        embeddings=np.zeros((len(rows), 0)),
    )


def compare_networks(
    experiments: Path, first: ExperimentCard, second: ExperimentCard
) -> Comparison:
    """Return how the network of the second experiment differs from that of the first.

    Args:
        experiments: Folder of both experiments.
        first: Card of the one that is taken away.
        second: Card of the other.

    Raises:
        InputError: If they were trained on different cohorts.
        StoreError: If one of them has no predictions, or others than its card names.
    """
    if first.cohort.fingerprint != second.cohort.fingerprint:
        cohorts = [card.cohort for card in (first, second)]
        sides = [f"{cohort.name!r} ({cohort.fingerprint[:12]})" for cohort in cohorts]
        raise InputError(
            f"{first.id} and {second.id} cannot be compared: they were trained on the cohorts "
            f"{' and '.join(sides)}, and a paired interval needs the same test subjects."
        )
    return compare(*(read_predictions(experiments / card.id, card) for card in (first, second)))


def replace_figures(folder: Path, draw: Callable[[Path], None]) -> None:
    """Let figures be drawn into a new folder, which then takes the place of an earlier one.

    Raises:
        StoreError: If they cannot be written; the earlier ones then stay.
    """
    target = folder / FIGURES
    temporary = temporary_beside(target)
    with store_errors(target):
        temporary.mkdir()
        try:
            draw(temporary)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a process that was killed had not finished writing."""
    for path in filter(is_temporary, folder.iterdir()):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every result beside the card, by its path in the folder."""
    names = [WEIGHTS, MODEL_FILE, RECIPE, PREDICTIONS]
    paths = [folder / name for name in names] + sorted((folder / FIGURES).glob("*"))
    with store_errors(folder):
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
            if path.is_file()
        }
