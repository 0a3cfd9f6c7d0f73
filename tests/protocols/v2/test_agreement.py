"""`agreement` 2: the cells that move the model are captured, and blind maps capture nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from trials import RECIPE, build_trial, cohort_of

from baselines.explainers.controls import Centre, Intensity, Sobel
from baselines.explainers.gradient import Saliency
from benchmark.explainer import Explainer
from benchmark.reading import Reading, find, summarise
from benchmark.trial import Memory, Peers
from protocols.v2.agreement import Agreement, AgreementConfig
from protocols.v2.agreement.capture import capture

PROTOCOL = Agreement(AgreementConfig(panel=("saliency",), subjects=16, regions=16, partners=1))


@lru_cache(maxsize=1)
def _memory() -> Memory:
    return Memory()


@lru_cache(maxsize=8)
def _readings(kind: type[Explainer]) -> list[Reading]:
    trial = build_trial(kind(), cohort_of())
    peers = Peers({"saliency": Saliency()}, recipe=RECIPE)
    return PROTOCOL.readings(replace(trial, peers=peers, memory=_memory()))


def test_the_most_effective_cells_are_all_and_random_ones_are_nothing() -> None:
    """If it fails, the score of the best map is not 1, or that of chance not 0."""
    generator = np.random.default_rng(0)
    cells = np.repeat(np.arange(8), 4).reshape(1, 4, 8)
    effects = generator.exponential(size=(1, 8))
    best = effects[0][cells]
    assert capture(best, cells, effects, 3, [generator]) == pytest.approx(1)
    flat = [capture(best * 0, cells, effects, 3, [generator])[0] for _ in range(2000)]
    assert np.mean(flat) == pytest.approx(0, abs=0.05)
    assert np.isnan(capture(best * np.nan, cells, effects, 3, [generator])).all()


@pytest.mark.parametrize("kind", [Sobel, Centre, Intensity])
def test_maps_that_look_at_no_network_own_no_capture(kind: type[Explainer]) -> None:
    """If it fails, an image's own contrast counts as an explanation."""
    score = find(_readings(kind), "capture")
    assert score is not None
    assert score.values.mean() <= 1e-9


def test_a_map_of_the_model_owns_capture_in_both_groups() -> None:
    """If it fails, a map that follows the network gets nothing for it, or the groups are lost."""
    readings = _readings(Saliency)
    score = find(readings, "capture")
    assert score is not None
    assert np.isfinite(score.values).all()
    of_groups = [r for r in readings if r.statistic == "capture" and set(r.conditions) == {"group"}]
    assert np.mean([np.nanmean(r.values) for r in of_groups]) == pytest.approx(
        summarise(score).estimate, abs=0.05
    )
    raw = find(readings, "captured", maps="model")
    nulls = [r for r in readings if r.statistic == "captured" and r is not raw]
    assert raw is not None
    strongest = max(float(null.values.mean()) for null in nulls)
    expected = (raw.values.mean() - strongest) / (1 - strongest)
    assert score.values.mean() == pytest.approx(expected)
