"""Reference scores of every protocol, with fewer subjects, on committed models and cohorts.

``python tests/support/golden.py`` writes them again, which a new protocol version calls for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from paths import DATA

from baselines.cohorts.phantom import Phantom
from baselines.cohorts.phantom2 import Phantom2
from baselines.cohorts.sources import Sources
from baselines.explainers import counterfactual as optimised
from baselines.explainers.class_activation import CAM, GradCAM
from baselines.explainers.gradient import Saliency
from baselines.models.phantom2_resnet import Phantom2ResNet
from baselines.models.smallresnet import SmallResNet
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer, NoExplainer
from benchmark.model_source import ModelSource
from benchmark.protocol import SanityProtocol
from benchmark.reading import find
from benchmark.running.device import reproducible
from benchmark.training import Recipe
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
from protocols.randomization import Randomization, RandomizationConfig
from protocols.roi_pointing import RoiPointing, RoiPointingConfig
from protocols.training_regime import TrainingRegime, TrainingRegimeConfig
from protocols.uncertainty import Uncertainty, UncertaintyConfig
from protocols.v2.agreement import AgreementConfig as AgreementConfig2
from protocols.v2.delta_t import DeltaTConfig as DeltaTConfig2
from protocols.v2.positive_control import PositiveControlConfig as PositiveControlConfig2
from protocols.v2.randomization import RandomizationConfig as RandomizationConfig2
from protocols.v2.roi_pointing import RoiPointingConfig as RoiPointingConfig2

PATH = DATA / "golden_scores.json"
EXPLAINERS = (GradCAM(), Saliency())
PROTOCOLS: tuple[SanityProtocol[Any], ...] = (
    PositiveControl(
        PositiveControlConfig(subjects=8, probe_subjects=4, decoys=2, repeats=1, permutations=19)
    ),
    Randomization(RandomizationConfig(subjects=8, walk_subjects=2, seeds=1, smooth_passes=0)),
    RoiPointing(RoiPointingConfig(subjects=8, repeats=1)),
    DeltaT(DeltaTConfig(quantiles=(0.02, 0.2), repeats=2, secondary_repeats=1, subjects=8)),
    Agreement(AgreementConfig(panel=("cam",), subjects=8, regions=24, partners=1)),
)

V2: tuple[SanityProtocol[Any], ...] = (
    v2.PositiveControl(
        PositiveControlConfig2(
            subjects=8,
            dose_response=False,
            single=PositiveControlConfig(subjects=8, probe_subjects=4),
        )
    ),
    v2.Randomization(RandomizationConfig2(subjects=8, walk_subjects=2, seeds=1, smooth_passes=0)),
    v2.RoiPointing(RoiPointingConfig2(subjects=8, confidence=0, fewest=2, repeats=1)),
    v2.DeltaT(
        DeltaTConfig2(
            quantiles=(0.05, 0.1, 0.2), subjects=8, repeats=2, yardstick_repeats=1, controls=()
        )
    ),
    v2.Agreement(AgreementConfig2(panel=("cam",), subjects=8, regions=24, partners=1)),
)
SOURCES: tuple[SanityProtocol[Any], ...] = (KnownSource(KnownSourceConfig(subjects=8)),)
GROUPS: tuple[SanityProtocol[Any], ...] = (
    GroupMaps(
        GroupMapsConfig(
            subjects=40,
            permutations=19,
            halves=2,
            repeats=1,
            steady_subjects=0,
            refits=0,
            baselines=(),
            controls=(),
        )
    ),
    Biomarker(
        BiomarkerConfig(
            subjects=80, permutations=19, resamples=20, quantiles=(0.5,), removed=4, repeats=1
        )
    ),
    EditReach(EditReachConfig(quantiles=(0.05,), repeats=1, subjects=8, copies=1, steps=2)),
    Uncertainty(UncertaintyConfig(count=3, subjects=60)),
    Complexity(ComplexityConfig(subjects=8)),
)
REGIMES: tuple[SanityProtocol[Any], ...] = (
    TrainingRegime(
        TrainingRegimeConfig(refits=3, subjects=8, epochs=1, repeats=1, copies=1, by_seed=0)
    ),
)
EDITS: tuple[SanityProtocol[Any], ...] = (
    Counterfactual(CounterfactualConfig(subjects=8, radii=(2.0,), steps=2)),
)
MODELS: tuple[SanityProtocol[Any], ...] = (
    Concepts(ConceptsConfig(permutations=239, directions=19, random_sets=20)),
)

Scores = dict[str, dict[str, Any]]


def spec_of(protocol: SanityProtocol[Any]) -> str:
    """Return what a protocol is asked for by: its name, and its MAJOR version from 2 on."""
    major = protocol.version.partition(".")[0]
    return protocol.name if major == "1" else f"{protocol.name}@{major}"


SPECS = tuple(
    spec_of(protocol)
    for protocol in (*PROTOCOLS, *V2, *SOURCES, *GROUPS, *REGIMES, *EDITS, *MODELS)
)


def measure() -> Scores:
    """Return version and score per subject of each protocol and explainer."""
    with reproducible():
        return {
            **_measure(PROTOCOLS, SmallResNet(), Phantom().load(), "v1#0"),
            **_measure(V2, Phantom2ResNet(), Phantom2().load(), "v2#0"),
            **_measure(SOURCES, Phantom2ResNet(), Sources().load(), "v2#0"),
            **_measure(GROUPS, SmallResNet(), Phantom().load(), "v2#0"),
            **_measure(REGIMES, SmallResNet(), _few(Phantom().load()), "v2#0"),
            **_measure(
                EDITS, SmallResNet(), Phantom().load(), "v2#0", (optimised.Counterfactual(),)
            ),
            **_measure(MODELS, SmallResNet(), Phantom().load(), "v2#0", (NoExplainer(),)),
        }


def _few(cohort: Cohort) -> Cohort:
    """Return a fifth of a cohort's subjects: networks are trained on them many times."""
    return cohort.take(np.arange(0, len(cohort), 5))


def _measure(
    protocols: Sequence[SanityProtocol[Any]],
    source: ModelSource,
    cohort: Cohort,
    suite: str,
    explainers: Sequence[Explainer] = EXPLAINERS,
) -> Scores:
    peers = Peers({"cam": CAM()}, source.recipe or Recipe(), source.relatives)
    runtime = Runtime(torch.device("cpu"), suite=suite)
    first = Trial(explainers[0], source.load(cohort.shape), cohort, runtime, peers)
    scores: Scores = {}
    for protocol in protocols:
        own = scores.setdefault(spec_of(protocol), {"version": protocol.version})
        for explainer in explainers:
            readings = protocol.readings(first.on(explainer=explainer))
            reading = find(readings, protocol.primary)
            assert reading is not None
            pairs = zip(reading.sample.keys, reading.values.tolist(), strict=True)
            own[explainer.name] = {key: round(value, 5) for key, value in sorted(pairs)}
    return scores


if __name__ == "__main__":
    PATH.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
