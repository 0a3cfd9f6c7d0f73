"""An experiment: a network trained on a cohort, validated, and kept with everything beside it.

::

    experiments/EXP-001/card.json               what was trained, on what, how, and how well
                        checkpoint.safetensors  state of the training, until it has ended
                        weights.safetensors     weights of the best epoch
                        model.toml              what `--model experiments/EXP-001` reads
                        recipe.toml             every setting of the training
                        predictions.csv         logits of every image
                        figures/                course, curves and embedding, as SVG and PNG

The card is there from the first moment. So a training that is killed leaves a card behind that says
so, and goes on from its checkpoint to the same weights.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmark.classifier import Classifier
from benchmark.classifier.architecture import architecture_sha256
from benchmark.cohort import Cohort
from benchmark.errors import InputError, StoreError
from benchmark.model_source import ModelSource
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.cohort_checks import load_cohort, refuse_small_groups
from benchmark.records.experiment import (
    ENDED,
    CohortEntry,
    CrossValidated,
    ExperimentCard,
    ModelEntry,
    experiment_identity,
)
from benchmark.records.identity import sha256_of
from benchmark.records.processes import ProcessEntry
from benchmark.records.provenance import collect_provenance, utc_now
from benchmark.records.recipe_file import read_recipe
from benchmark.records.registry import make_folder, read_card, write_card
from benchmark.running import experiment_files as files
from benchmark.training.regimes import RegimeRecipe
from benchmark.training.shortcuts import refuse_equal_images
from benchmark.training.trainer.freezing import hashes_of, parts_of
from benchmark.training.trainer.material import check_shift, draw_rows


@dataclass(frozen=True)
class Request:
    """A training as it is asked for.

    Attributes:
        model: Name or path of the model.
        cohort: Name or path of the cohort.
        recipe: Recipe to train by.
        cross_validated: Part that is trained anew in each fold of the cross-validation.
    """

    model: str
    cohort: str
    recipe: RegimeRecipe
    cross_validated: CrossValidated = "probe"


@dataclass
class Experiment:
    """An experiment whose folder is there, and whose model and cohort are loaded.

    Attributes:
        folder: Folder of the experiment.
        card: Card as it was written last.
        source: Model as it was given.
        classifier: Network before training, on the device that trains it.
        cohort: Cohort to train on.
    """

    folder: Path
    card: ExperimentCard
    source: ModelSource
    classifier: Classifier
    cohort: Cohort

    def note(self, changes: Mapping[str, object]) -> None:
        """Write the card with other values in some fields."""
        card = self.card.updated(changes)
        write_card(self.folder, card)
        self.card = card


def read_settings(path: Path | None, regime: str | None, refit: int | None) -> RegimeRecipe:
    """Return the recipe of a file with another regime or refit, where these are given.

    Raises:
        InputError: If the file cannot be read, or a setting cannot be used.
    """
    chosen: dict[str, Any] = {"regime": regime, "refit": refit}
    overrides = {name: value for name, value in chosen.items() if value is not None}
    return replace(read_recipe(path), **overrides)


def begin(
    experiments: Path, request: Request, device: torch.device, catalogue: Catalogue
) -> Experiment:
    """Return a new experiment with the next free number.

    Nothing is made on disk before model and cohort are loaded and fit each other.

    Raises:
        InputError: If model, cohort or recipe cannot be used.
        StoreError: If the folder cannot be written.
    """
    loaded = _load(request.model, request.cohort, device, catalogue)
    cohort, model = loaded.cohort, loaded.entry
    check_shift(cohort, request.recipe)
    draw_rows(cohort, request.recipe)
    refuse_equal_images(cohort)
    folder = make_folder(experiments)
    arguments = ["--model", request.model, "--cohort", request.cohort]
    arguments += ["--recipe", str(folder / files.RECIPE), "--cv", request.cross_validated]
    card = ExperimentCard(
        id=folder.name,
        identity=experiment_identity(request.recipe, cohort.fingerprint, model.encoder_sha256),
        status="running",
        created=utc_now(),
        process=ProcessEntry.current(),
        model=model,
        cohort=CohortEntry.of(request.cohort, cohort),
        recipe=request.recipe,
        cross_validated=request.cross_validated,
        provenance=collect_provenance(device, request.recipe.batch_size),
        command=f"python -m benchmark train {shlex.join(arguments)}",
    )
    try:
        files.write_recipe(folder, request.recipe)
        write_card(folder, card)
    except StoreError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Experiment(folder, card, loaded.source, loaded.classifier, cohort)


def reopen(folder: Path, device: torch.device, catalogue: Catalogue) -> Experiment:
    """Return an experiment that was interrupted or failed, to be carried out to its end.

    Raises:
        InputError: If it has ended, is being trained, or its model or cohort is another now.
    """
    card = read_card(folder)
    if card.status in ENDED:
        raise InputError(f"{card.id} is {card.status}; there is nothing to resume.")
    if card.present_status == "running" and card.process is not None:
        process = card.process
        raise InputError(
            f"{card.id} is being trained by process {process.pid} on {process.host}; "
            "it can be resumed when that has ended."
        )
    loaded = _load(card.model.spec, card.cohort.spec, device, catalogue)
    cohort, model = loaded.cohort, loaded.entry
    if cohort.fingerprint != card.cohort.fingerprint:
        raise InputError(
            f"{card.id} was begun on another state of cohort {card.cohort.spec!r}: its fingerprint "
            f"is {cohort.fingerprint[:12]} now and was {card.cohort.fingerprint[:12]}."
        )
    if model.encoder_sha256 != card.model.encoder_sha256:
        raise InputError(
            f"{card.id} was begun with another state of model {card.model.spec!r}: the SHA-256 of "
            f"its weights and code is {model.encoder_sha256[:12]} now and was "
            f"{card.model.encoder_sha256[:12]}."
        )
    return Experiment(folder, card, loaded.source, loaded.classifier, cohort)


def encoder_sha256(classifier: Classifier) -> str:
    """Return the SHA-256 over preprocessing, and weights and architecture of trunk and pool."""
    hashes = hashes_of(parts_of(classifier))
    hashes.pop("head", None)
    encoder = nn.ModuleDict({"trunk": classifier.trunk, "pool": classifier.pool})
    return sha256_of(
        {
            "weights": hashes,
            "architecture": architecture_sha256(encoder, classifier.source),
            "preprocessing": repr(classifier.preprocessing),
        }
    )


def describe_head(head: nn.Module) -> str:
    """Return a head in a few words."""
    if isinstance(head, nn.Linear):
        return f"linear, {head.in_features} → {head.out_features}"
    return type(head).__name__


class _Loaded(NamedTuple):
    """A model and a cohort that fit each other; the network is as it was before training."""

    source: ModelSource
    classifier: Classifier
    cohort: Cohort
    entry: ModelEntry


def _load(model: str, cohort: str, device: torch.device, catalogue: Catalogue) -> _Loaded:
    entry, cohort_entry = catalogue.models.find(model), catalogue.cohorts.find(cohort)
    source, people = entry.create(), load_cohort(cohort_entry)
    refuse_small_groups(people, "train")
    with entry.loading():
        classifier = source.load(people.shape).to(device)
    classifier.source = type(source)
    architecture = source.model_file(Path()).get("architecture", entry.location)
    described = ModelEntry(
        spec=model,
        name=classifier.name,
        architecture=str(architecture),
        head=describe_head(classifier.head),
        encoder_sha256=encoder_sha256(classifier),
    )
    return _Loaded(source, classifier, people, described)
