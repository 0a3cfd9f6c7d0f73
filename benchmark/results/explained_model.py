"""Maps to show beside records, brought back from an archive rather than made again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import SanityError
from benchmark.explainer import Explainer, Polarity
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.entry import Entry
from benchmark.protocol import Exhibit, exhibit_purpose
from benchmark.records.record import Record
from benchmark.seeding import stream_name
from benchmark.trial import ArrayArchive, Runtime, Trial
from benchmark.trial.outputs import Evaluation

Maps = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ExplainedModel:
    """What a model made of a cohort, and how explainers explain it.

    Attributes:
        cohort: The test split.
        model: Name of the model.
        evaluation: Logits and embeddings of the test images.
        attributions: Signed maps [N, 1, *S] by explainer, read when asked for.
        polarities: Sign of the map that marks evidence, by explainer.
        exhibits: Arrays that a protocol kept to be shown, by protocol and explainer.
    """

    cohort: Cohort
    model: str
    evaluation: Evaluation
    attributions: Mapping[str, Maps]
    polarities: Mapping[str, Polarity]
    exhibits: Mapping[str, Mapping[str, Exhibit]] = field(default_factory=dict)


class _Maps(Mapping[str, Maps]):
    """Maps by explainer; none is held, since those of a large cohort would not fit together."""

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        self._trials = trials

    def __getitem__(self, name: str) -> Maps:
        trial = self._trials[name]
        return replace(trial, memory=trial.memory.copy()).attributions.numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)


class _Sealed:
    """An archive that gives what it has and never lets anything be made."""

    def __init__(self, archive: ArrayArchive) -> None:
        self._archive = archive

    def load(self, identity: str) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays."""
        if (kept := self._archive.load(identity)) is None:
            raise LookupError(identity)
        return kept

    def save(self, identity: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Keep nothing."""


def explained_model(
    trial: Trial, explainers: Mapping[str, Explainer], records: Sequence[Record]
) -> ExplainedModel | None:
    """Return what to show of a model on a cohort, or None where nothing was measured.

    Args:
        trial: Trial with the archive that the maps are in.
        explainers: Explainers by name.
        records: Records of this model and cohort.
    """
    measured = {
        record.names.explainer for record in records if record.readings and record.state != "failed"
    }
    trials = {
        name: trial.on(explainer=explainer)
        for name, explainer in explainers.items()
        if name in measured
    }
    if not trials:
        return None
    polarities = {name: trial.explainer.polarity for name, trial in trials.items()}
    model = records[0].names.model
    exhibits = _exhibits(trials, records)
    return ExplainedModel(trial.test, model, trial.evaluation, _Maps(trials), polarities, exhibits)


def _exhibits(
    trials: Mapping[str, Trial], records: Sequence[Record]
) -> dict[str, dict[str, Exhibit]]:
    """Return what each protocol kept under the settings and the seed of its record."""
    exhibits: dict[str, dict[str, Exhibit]] = {}
    for record in records:
        names, identity = record.names, record.identity
        if names.explainer not in trials:
            continue
        trial, protocol = trials[names.explainer], identity.protocol
        suite = stream_name(identity.suite, identity.seed)
        trial = replace(trial, runtime=replace(trial.runtime, suite=suite))
        purpose = exhibit_purpose(protocol.name, protocol.version, protocol.config)
        with suppress(LookupError):  # what a sealed archive raises where it has nothing
            if (arrays := trial.exhibited(purpose)) is not None:
                exhibits.setdefault(names.protocol, {})[names.explainer] = arrays
    return exhibits


def recall_explained_models(
    records: Sequence[Record], catalogue: Catalogue, archive: ArrayArchive
) -> tuple[ExplainedModel, ...]:
    """Return what can be shown of finished runs without a single pass.

    A cohort, model or explainer that the catalogue does not hold as it was scored, and maps that
    the archive has lost, are left out.
    """

    def pair(record: Record) -> tuple[str, str, str, str]:
        names, identity = record.names, record.identity
        return names.cohort, names.model, identity.cohort_fingerprint, identity.weights_sha256

    models = []
    for _, group in groupby(sorted(records, key=pair), key=pair):
        model = _recall_pair(list(group), catalogue, _Sealed(archive))
        if model is not None:
            models.append(model)
    return tuple(models)


def _as_scored(entry: Entry[Explainer], config: Mapping[str, object]) -> Explainer:
    """Return the explainer with the settings that a record holds."""
    return entry.set(
        {key: value for key, value in config.items() if key in entry.settings}
    ).create()


def _recall_pair(
    records: Sequence[Record], catalogue: Catalogue, archive: ArrayArchive
) -> ExplainedModel | None:
    first = records[0]
    try:
        cohort = catalogue.cohorts.find(first.names.cohort).create().load()
        source = catalogue.models.find(first.names.model).create()
        classifier = load_fitted(source, cohort)
        explainers = {
            name: _as_scored(catalogue.explainers.find(name), config)
            for name, config in {
                record.names.explainer: record.identity.explainer.config for record in records
            }.items()
            if name in catalogue.explainers.names
        }
    except SanityError:
        return None
    identity = first.identity
    same = (cohort.fingerprint, classifier.weights_sha256) == (
        identity.cohort_fingerprint,
        identity.weights_sha256,
    )
    if not same or not explainers:
        return None
    for kind in ("cpu", "cuda"):  # maps are kept by the kind of device that made them
        runtime = Runtime(torch.device(kind), archive=archive)
        held = _held(runtime, classifier, cohort, explainers)
        if held and (model := explained_model(*held, records)) is not None:
            return model
    return None


def _held(
    runtime: Runtime, classifier: Classifier, cohort: Cohort, explainers: Mapping[str, Explainer]
) -> tuple[Trial, dict[str, Explainer]] | None:
    """Return a trial and those explainers whose maps the archive holds."""
    trial = Trial(next(iter(explainers.values())), classifier, cohort, runtime)
    held = {}
    try:
        _ = trial.evaluation
        for name, explainer in explainers.items():
            try:
                _ = replace(trial.on(explainer=explainer), memory=trial.memory.copy()).attributions
            except (LookupError, SanityError):
                continue
            held[name] = explainer
    except LookupError:
        return None
    return (trial, held) if held else None
