"""Importance maps of a finished run, to work on with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.arrays import ImageArray, Rows
from benchmark.cohort import Cohort
from benchmark.errors import InputError
from benchmark.explainer import importance
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.storage.finished import FinishedCell
from benchmark.results.explained_model import recall_explained_models
from benchmark.trial import ArrayArchive


@dataclass(frozen=True)
class FinishedMaps:
    """Maps that an explainer made of a model on a cohort's test split.

    Attributes:
        rows: [M] rows of the whole cohort that have a map.
        importance: [M, 1, *S] float32, not negative.
        record: A record of the run that made them.
    """

    rows: Rows
    importance: ImageArray
    record: FinishedCell


def recall_finished_maps(
    records: Sequence[FinishedCell],
    archive: ArrayArchive,
    catalogue: Catalogue,
    cohort: Cohort,
    explainer: str,
    model: str | None = None,
) -> FinishedMaps:
    """Return the maps of one explainer on one model and cohort, without a single pass.

    Args:
        records: Finished cells of a store.
        archive: Arrays of that store.
        catalogue: Catalogue that holds the cohort under its name, the explainer and the model.
        cohort: Cohort that was explained.
        explainer: Name of the explainer.
        model: Name of the model; may be left out where the explainer was run on one alone.

    Raises:
        InputError: If no such run is finished, several models are meant, or the maps are lost.
    """
    chosen = _choose_records(records, cohort, explainer, model)
    models = _names(record.names.model for record in chosen)
    networks = {(record.names.model, record.identity.network) for record in chosen}
    if len(networks) > 1:
        raise InputError(
            f"Maps of {explainer!r} are finished for several networks, {models}; name one model, "
            "or keep them in stores of their own."
        )
    explained = recall_explained_models(chosen, catalogue, archive)
    if not explained or explainer not in explained[0].attributions:
        raise InputError(
            f"The maps of {explainer!r} on model {models} are no longer to be had: their arrays "
            "are missing from the store, or the model, the explainer or the cohort is not the one "
            "that was scored."
        )
    attributions = torch.from_numpy(explained[0].attributions[explainer])
    maps = importance(attributions, explained[0].polarities[explainer]).numpy()
    row_of = {key: row for row, key in enumerate(cohort.keys)}
    rows = np.array([row_of[key] for key in explained[0].cohort.keys], dtype=np.int64)
    return FinishedMaps(rows, maps, chosen[0])


def _choose_records(
    records: Sequence[FinishedCell], cohort: Cohort, explainer: str, model: str | None
) -> list[FinishedCell]:
    """Return the records of an explainer on a cohort, on one model where it is named."""
    fingerprint = cohort.fingerprint
    on_cohort = [each for each in records if each.identity.cohort_fingerprint == fingerprint]
    if not on_cohort:
        known = _names(record.names.cohort for record in records)
        raise InputError(
            f"No finished run is on cohort {cohort.name!r} as it is now. Cohorts in the store: "
            f"{known}."
        )
    chosen = [record for record in on_cohort if record.names.explainer == explainer]
    if not chosen:
        known = _names(record.names.explainer for record in on_cohort)
        raise InputError(
            f"No finished run has maps of {explainer!r} on cohort {cohort.name!r}. Explainers in "
            f"the store: {known}."
        )
    on_model = [record for record in chosen if model in (None, record.names.model)]
    if not on_model:
        models = _names(record.names.model for record in chosen)
        raise InputError(
            f"No finished run has maps of {explainer!r} on model {model!r}. Models in the store: "
            f"{models}."
        )
    return on_model


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names))) or "none"
