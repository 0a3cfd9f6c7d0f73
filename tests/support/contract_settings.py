"""Small settings of every protocol, and the models and cohorts that contracts are checked on."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from trials import RECIPE, cohort_of, trained

from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier, PassCounter
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.plugins.examples import build_transformer, with_concepts, with_sources, with_volumes
from benchmark.protocol import SanityProtocol
from benchmark.training import fine_tune
from benchmark.training.relatives import relation
from benchmark.trial import Peers, Runtime, Trial
from protocols import v2
from protocols.agreement import Agreement, AgreementConfig
from protocols.biomarker import Biomarker, BiomarkerConfig
from protocols.complexity import Complexity, ComplexityConfig
from protocols.concepts import Concepts, ConceptsConfig
from protocols.counterfactual import Counterfactual, CounterfactualConfig
from protocols.delta_t import DeltaT, DeltaTConfig
from protocols.edit_reach import EditReach, EditReachConfig
from protocols.group_maps import GroupMaps, GroupMapsConfig
from protocols.known_source import KnownSource, KnownSourceConfig
from protocols.positive_control import PositiveControl, PositiveControlConfig
from protocols.positive_control.planting import Strength
from protocols.randomization import Randomization, RandomizationConfig
from protocols.roi_pointing import RoiPointing, RoiPointingConfig
from protocols.training_regime import TrainingRegime, TrainingRegimeConfig
from protocols.uncertainty import Uncertainty, UncertaintyConfig
from protocols.v2.agreement import AgreementConfig as AgreementConfig2
from protocols.v2.delta_t import DeltaTConfig as DeltaTConfig2
from protocols.v2.positive_control import PositiveControlConfig as PositiveControlConfig2
from protocols.v2.randomization import RandomizationConfig as RandomizationConfig2
from protocols.v2.roi_pointing import RoiPointingConfig as RoiPointingConfig2


def _spec(protocol: SanityProtocol[Any]) -> str:
    """Return what a protocol is asked for by: its name, and its MAJOR version from 2 on."""
    major = protocol.version.partition(".")[0]
    return protocol.name if major == "1" else f"{protocol.name}@{major}"


PROTOCOLS: dict[str, SanityProtocol[Any]] = {
    _spec(one): one
    for one in (
        PositiveControl(
            PositiveControlConfig(
                strengths=(
                    Strength(name="mild", sigma=1, attenuation=0.2),
                    Strength(name="medium", sigma=2, attenuation=0.8),
                    Strength(name="strong", sigma=2, attenuation=1),
                ),
                subjects=8,
                probe_subjects=4,
                decoys=2,
                quantiles=(0.1,),
                repeats=1,
                permutations=19,
                splits=20,
            )
        ),
        Randomization(
            RandomizationConfig(
                subjects=8, walk_subjects=2, seeds=1, smooth_subjects=2, smooth_noises=2
            )
        ),
        RoiPointing(RoiPointingConfig(confidence=0.5, subjects=8, repeats=1)),
        DeltaT(DeltaTConfig(quantiles=(0.1,), repeats=1, secondary_repeats=1, subjects=8)),
        Agreement(AgreementConfig(panel=("saliency",), subjects=8, regions=6, partners=1)),
        KnownSource(KnownSourceConfig(subjects=8)),
        GroupMaps(
            GroupMapsConfig(
                subjects=8,
                fewest=3,
                permutations=19,
                halves=2,
                repeats=1,
                steady_subjects=4,
                refits=2,
                controls=(),
            )
        ),
        Biomarker(
            BiomarkerConfig(
                minimum=8, permutations=19, quantiles=(0.5,), removed=4, repeats=1, places=1
            )
        ),
        EditReach(
            EditReachConfig(
                quantiles=(0.05, 0.1),
                repeats=1,
                subjects=8,
                copies=2,
                components=6,
                steps=3,
                fewest_images=8,
            )
        ),
        Counterfactual(
            CounterfactualConfig(
                subjects=8,
                radii=(2.0,),
                components=6,
                steps=3,
                fewest_images=8,
                folds=2,
                fewest_real=4,
            )
        ),
        Complexity(ComplexityConfig(subjects=8)),
        TrainingRegime(
            TrainingRegimeConfig(
                refits=3,
                subjects=6,
                epochs=1,
                quantiles=(0.1,),
                repeats=1,
                partners=1,
                copies=1,
                by_seed=2,
            )
        ),
        Uncertainty(UncertaintyConfig(count=3, subjects=16, fewest=8)),
        Concepts(ConceptsConfig(permutations=99, directions=19, random_sets=20)),
        v2.RoiPointing(RoiPointingConfig2(confidence=0.5, fewest=2, subjects=8, repeats=1)),
        v2.Randomization(
            RandomizationConfig2(
                quantiles=(0.02, 0.2), subjects=8, walk_subjects=2, seeds=1, smooth_passes=0
            )
        ),
        v2.Agreement(
            AgreementConfig2(panel=("saliency",), subjects=8, regions=12, partners=1, marked=2)
        ),
        v2.DeltaT(
            DeltaTConfig2(
                quantiles=(0.1, 0.2),
                repeats=1,
                subjects=8,
                cells=6,
                yardstick_repeats=1,
                controls=(),
            )
        ),
        v2.PositiveControl(
            PositiveControlConfig2(
                subjects=8,
                dose_response=False,
                single=PositiveControlConfig(subjects=8, probe_subjects=4),
            )
        ),
    )
}
# Short, so that relatives are fitted in a second; what they learn is not at issue here.
_QUICK = replace(RECIPE, epochs=4, learning_rate=5e-3)


@lru_cache(maxsize=4)
def model_of(kind: str, dimensions: int) -> Classifier:
    """Return a trained conv net or transformer."""
    if kind == "conv":
        return trained(dimensions)
    recipe = replace(RECIPE, epochs=20, learning_rate=5e-3)
    return fine_tune(build_transformer(dimensions), cohort_of(dimensions), recipe)


_NETWORKS: dict[str, Classifier] = {}


@lru_cache(maxsize=4)
def people_of(protocol: str, dimensions: int) -> Cohort:
    """Return the subjects that a protocol is asked about; with sources or volumes if it needs."""
    people = cohort_of(dimensions)
    if protocol == Biomarker.name:
        return with_volumes(people)
    if protocol == Concepts.name:
        return with_concepts(people)
    return with_sources(people) if protocol == KnownSource.name else people


@lru_cache(maxsize=32)
def _fitted(kind: str, dimensions: int, protocol: str) -> dict[str, Classifier]:
    trial, fitted = trial_of(Saliency(), kind, dimensions, people_of(protocol, dimensions)), {}
    for one in PROTOCOLS[protocol].relatives(trial):
        # Protocols that need the same relative share it.
        key = relation(one, trial.cohort, trial.model_identity)
        if key not in _NETWORKS:
            _NETWORKS[key] = one.train()
        fitted[one.name] = _NETWORKS[key]
    return fitted


def trial_of(
    explainer: Explainer,
    kind: str,
    dimensions: int,
    cohort: Cohort | None = None,
    batch_size: int = 64,
    suite: str = "v1",
) -> Trial:
    """Return a trial with a memory of its own."""
    classifier = model_of(kind, dimensions).copy()
    classifier.passes = PassCounter()
    runtime = Runtime(torch.device("cpu"), batch_size, suite)
    people = cohort or cohort_of(dimensions)
    # Images of the training split are the whole cohort's, also where some people are left out.
    references = cohort_of(dimensions).references
    peers = Peers({"saliency": Saliency()}, _QUICK, references=references)
    return Trial(explainer, classifier, people, runtime, peers)


def with_relatives(trial: Trial, protocol: str, kind: str, dimensions: int) -> Trial:
    """Return the trial with the models fitted beside it already, since training sees everyone."""
    fitted = _fitted(kind, dimensions, protocol)
    for one in PROTOCOLS[protocol].relatives(trial):
        trial.relative(replace(one, fit=lambda model=fitted[one.name]: model.copy()))
    return trial
