"""Reference scores of suite v1's protocols, with fewer subjects, on the committed model and cohort.

``python tests/support/golden.py`` writes them again, which a new protocol version calls for.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from paths import DATA

from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import CAM, GradCAM
from baselines.explainers.gradient import Saliency
from baselines.models.smallresnet import SmallResNet
from benchmark.protocol import SanityProtocol
from benchmark.reading import find
from benchmark.running.device import reproducible
from benchmark.trial import Peers, Runtime, Trial
from protocols.agreement import Agreement, AgreementConfig
from protocols.delta_t import DeltaT, DeltaTConfig
from protocols.positive_control import PositiveControl, PositiveControlConfig
from protocols.randomization import Randomization, RandomizationConfig
from protocols.roi_pointing import RoiPointing, RoiPointingConfig

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

Scores = dict[str, dict[str, Any]]


def measure() -> Scores:
    """Return version and score per subject of each protocol and explainer."""
    source, cohort = SmallResNet(), Phantom().load()
    peers = Peers({"cam": CAM()}, source.recipe, source.relatives)
    with reproducible():
        first = Trial(
            EXPLAINERS[0],
            source.load(cohort.shape),
            cohort,
            Runtime(torch.device("cpu"), suite="v1#0"),
            peers,
        )
        scores: Scores = {}
        for protocol in PROTOCOLS:
            own = scores.setdefault(protocol.name, {"version": protocol.version})
            for explainer in EXPLAINERS:
                readings = protocol.readings(first.on(explainer=explainer))
                reading = find(readings, protocol.primary)
                assert reading is not None
                pairs = zip(reading.sample.keys, reading.values.tolist(), strict=True)
                own[explainer.name] = {key: round(value, 5) for key, value in sorted(pairs)}
    return scores


if __name__ == "__main__":
    PATH.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
