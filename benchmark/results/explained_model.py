"""Maps to show beside records, brought back from an archive rather than made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from benchmark.arrays import Arrays, ImageArray
from benchmark.cohort import Cohort
from benchmark.errors import SanityError
from benchmark.explainer import NO_EXPLAINER, Control, Explainer, NoExplainer, Polarity
from benchmark.model_source import load_fitted
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.foreign.asking import ask_why_unsupported
from benchmark.protocol import Exhibit, exhibit_purpose
from benchmark.reading import SCORED
from benchmark.records.storage.finished import FinishedCell
from benchmark.seeding import stream_name
from benchmark.trial import ArrayArchive, Runtime, Trial
from benchmark.trial.outputs import Evaluation


@dataclass(frozen=True)
class ExplainedModel:
    """What a model made of a cohort, and how explainers explain it.

    Attributes:
        cohort: The test split.
        model: Name of the model.
        evaluation: Logits and embeddings of the test images.
        attributions: Signed maps [N, 1, *S] by explainer, read when asked for.
        polarities: Sign of the map that marks evidence, by explainer.
        exhibits: Arrays that a protocol kept to be shown, with where their images lie, by the
            SHA-256 of the record's identity.
    """

    cohort: Cohort
    model: str
    evaluation: Evaluation
    attributions: Mapping[str, ImageArray]
    polarities: Mapping[str, Polarity]
    exhibits: Mapping[str, Exhibit] = field(default_factory=dict)


class _Maps(Mapping[str, ImageArray]):
    """Maps by explainer; none is held, since those of a large cohort would not fit together."""

    def __init__(self, trials: Mapping[str, Trial]) -> None:
        self._trials = trials

    def __getitem__(self, name: str) -> ImageArray:
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

    def save(self, identity: str, arrays: Arrays) -> None:
        """Keep nothing."""

    def turn(
        self, identity: str, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Return a context in which nothing is made."""
        return nullcontext()


def explained_model(
    trial: Trial, explainers: Mapping[str, Explainer], records: Sequence[FinishedCell]
) -> ExplainedModel | None:
    """Return what to show of a model on a cohort, or None where no map of it was measured.

    Args:
        trial: Trial of this model and cohort, with the archive that the maps are in.
        explainers: Explainers by name.
        records: Records of this model and cohort.
    """
    measured = {
        record.names.explainer
        for record in records
        if record.has_readings and record.state != "failed"
    }
    # Whoever was scored was supported; to ask again may send images through the network.
    scored = {record.names.explainer for record in records if record.state == SCORED}
    # A control that needs the truth has it where a signal was planted, yet no map of the cohort.
    has_truth = bool(trial.cohort.anatomy.rois)
    kept = {
        name: explainer
        for name, explainer in explainers.items()
        if name in measured
        and (
            (name in scored and not isinstance(explainer, Control | NoExplainer))
            or ask_why_unsupported(explainer, trial.classifier, has_truth) is None
        )
    }
    if not kept and NO_EXPLAINER not in measured:
        return None
    trials = {name: trial.on(explainer=explainer) for name, explainer in kept.items()}
    all_trials = dict(trials)
    if NO_EXPLAINER in measured:  # what was asked of the model alone has no map, but pictures
        all_trials[NO_EXPLAINER] = trial.on(explainer=NoExplainer())
    return ExplainedModel(
        trial.test,
        records[0].names.model,
        trial.evaluation,
        _Maps(trials),
        {name: explainer.polarity for name, explainer in kept.items()},
        _exhibits(all_trials, records),
    )


def _exhibits(trials: Mapping[str, Trial], records: Sequence[FinishedCell]) -> dict[str, Exhibit]:
    """Return what a protocol kept under the settings and the seed of each record."""
    exhibits: dict[str, Exhibit] = {}
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
                exhibits[record.identity_sha256] = add_geometry(arrays, trial.test)
    return exhibits


def add_geometry(arrays: Exhibit, cohort: Cohort) -> Exhibit:
    """Return an exhibit together with where its images lie in the world.

    It gains ``spacing`` in mm of the axes *S, and ``affines`` [n, 4, 4] of the images that the
    exhibit names in ``keys``, or [1, 4, 4] where all images of the cohort share one. ``oriented``
    says whether these tell where left is.

    Args:
        arrays: Arrays that a protocol kept.
        cohort: Test split that its images belong to.
    """
    geometry = cohort.geometry
    row_of = {key: row for row, key in enumerate(cohort.keys)}
    keys = [str(key) for key in arrays.get("keys", ())]
    rows = [row_of[key] for key in keys if key in row_of]
    is_known = geometry.affines is None or (bool(keys) and len(rows) == len(keys))
    own = geometry.affines[rows] if geometry.affines is not None and is_known else None
    added = {
        "spacing": np.array(geometry.spacing),
        "affines": geometry.affine[None] if own is None else own,
        "oriented": np.array(geometry.oriented and is_known),
    }
    return {**added, **arrays}


def recall_explained_models(
    records: Sequence[FinishedCell], catalogue: Catalogue, archive: ArrayArchive
) -> tuple[ExplainedModel, ...]:
    """Return what can be shown of finished runs without a single pass.

    A cohort, model or explainer that the catalogue does not hold as it was scored, and maps that
    the archive has lost, are left out.
    """

    def pair(record: FinishedCell) -> tuple[str, ...]:
        names, identity = record.names, record.identity
        return names.cohort, names.model, identity.cohort_fingerprint, *identity.network

    models = [
        _recall_pair(list(group), catalogue, _Sealed(archive))
        for _, group in groupby(sorted(records, key=pair), key=pair)
    ]
    return tuple(model for model in models if model is not None)


def _recall_pair(
    records: Sequence[FinishedCell], catalogue: Catalogue, archive: ArrayArchive
) -> ExplainedModel | None:
    names, identity = records[0].names, records[0].identity
    try:
        cohort = catalogue.cohorts.find(names.cohort).create().load()
        classifier = load_fitted(catalogue.models.find(names.model).create(), cohort)
        explainers = _as_scored(records, catalogue)
    except SanityError:
        return None
    is_same_cohort = cohort.fingerprint == identity.cohort_fingerprint
    network = classifier.weights_sha256, classifier.architecture_sha256 or ""
    if not explainers or not is_same_cohort or network != identity.network:
        return None
    for kind in ("cpu", "cuda"):  # maps are kept by the kind of device that made them
        runtime = Runtime(torch.device(kind), archive=archive)
        trial = Trial(next(iter(explainers.values())), classifier, cohort, runtime)
        if (model := explained_model(trial, _held(trial, explainers), records)) is not None:
            return model
    return None


def _as_scored(records: Iterable[FinishedCell], catalogue: Catalogue) -> dict[str, Explainer]:
    """Return the explainers that the catalogue holds, with the settings that records hold."""
    configs = {record.names.explainer: record.identity.explainer.config for record in records}
    explainers: dict[str, Explainer] = {}
    for name, config in configs.items():
        if name == NO_EXPLAINER:
            explainers[name] = NoExplainer()
        if name in catalogue.explainers.names:
            entry = catalogue.explainers.find(name)
            settings = {key: value for key, value in config.items() if key in entry.settings}
            explainers[name] = entry.set(settings).create()
    return explainers


def _held(trial: Trial, explainers: Mapping[str, Explainer]) -> dict[str, Explainer]:
    """Return those explainers whose maps the archive holds."""
    maps = _Maps({name: trial.on(explainer=explainer) for name, explainer in explainers.items()})
    held = {}
    with suppress(LookupError):
        _ = trial.evaluation
        for name, explainer in explainers.items():
            with suppress(LookupError, SanityError):
                if name != NO_EXPLAINER:
                    _ = maps[name]
                held[name] = explainer
    return held
