"""`edit_reach`: what owes nothing to the network, what cannot be asked, and what a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from contract_settings import trial_of, with_relatives
from matplotlib.figure import Figure
from torch import Tensor
from trials import MemoryArchive

from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.cohort import Batch
from benchmark.errors import NotAssessableError
from benchmark.explainer import Control, Explainer
from benchmark.plugins.examples import build_classifier
from benchmark.protocol import exhibit_purpose
from benchmark.reading import Reading, find, interval
from benchmark.target import Target
from benchmark.trial import Memorised, Memory, Trial
from protocols.edit_reach import EditReach, EditReachConfig

PROTOCOL = EditReach(
    EditReachConfig(
        quantiles=(0.05, 0.1),
        repeats=2,
        subjects=24,
        copies=1,
        components=6,
        steps=3,
        fewest_images=8,
    )
)


class GroupDifference(Control):
    """Where the groups' means differ: it has seen labels and no network."""

    name = "group_difference"

    def draw(self, batch: Batch) -> Tensor:
        """Return the regions, which hold the whole difference."""
        assert batch.regions is not None
        return batch.regions + 0.01 * batch.images


@pytest.fixture(autouse=True)
def _memorised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an untrained network count as one that knows its labels, since training takes long."""
    monkeypatch.setattr(Memorised, "reached", lambda *_: 1.0)


@lru_cache(maxsize=1)
def shared() -> Trial:
    """Return a trial whose memory and archive the tests share."""
    trial = trial_of(Saliency(), "conv", 2)
    trial = replace(trial, runtime=replace(trial.runtime, archive=MemoryArchive()))
    return with_relatives(trial, "edit_reach", "conv", 2)


class NothingOnCopies(Saliency):
    """A gradient that is not finite on any network but the first."""

    name = "nothing_on_copies"

    def __init__(self) -> None:
        self._own = ""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient, with NaN on other networks."""
        self._own = self._own or classifier.weights_sha256
        maps = super().attribute(classifier, images, target)
        return maps if classifier.weights_sha256 == self._own else torch.full_like(maps, torch.nan)


@lru_cache(maxsize=4)
def measured(explainer: type[Explainer]) -> tuple[Reading, ...]:
    return tuple(PROTOCOL.readings(shared().on(explainer=explainer())))


def low(readings: Sequence[Reading], null: str) -> float:
    limits = interval(readings, PROTOCOL.above, null=null)
    assert limits is not None
    return limits.low


def test_a_map_that_beats_random_places_without_a_network_fails() -> None:
    """If it fails, a map that was made of the labels alone passes for an explanation."""
    readings = measured(GroupDifference)
    assert low(readings, "chance") > 0.05
    above = find(readings, PROTOCOL.above, null="randomised")
    assert above is not None
    np.testing.assert_array_equal(above.values, 0)
    score = find(readings, PROTOCOL.edit_reach)
    assert score is not None
    assert score.values.mean() <= 0
    verdict = PROTOCOL.verdict(readings)
    assert verdict.passed is False
    assert verdict.reason is not None
    assert "maps of randomised copies" in verdict.reason


def test_the_gradient_owes_its_reach_to_the_network() -> None:
    """If it fails, a map that follows the network is told from none that does not."""
    readings = measured(Saliency)
    assert PROTOCOL.verdict(readings).passed
    assert low(readings, "chance") > 0
    scores = [find(readings, PROTOCOL.edit_reach, q=q) for q in PROTOCOL.config.quantiles]
    total = find(readings, PROTOCOL.edit_reach)
    assert total is not None
    parts = np.mean([score.values for score in scores if score is not None], axis=0)
    np.testing.assert_allclose(total.values, parts)


def test_a_whole_edit_and_the_truth_are_measured_once() -> None:
    """If it fails, each explainer pays again for what no explainer changes."""
    first, second = measured(Saliency), measured(GroupDifference)
    for statistic, where in ((PROTOCOL.whole_reach, {}), (PROTOCOL.yardstick, {"map": "truth"})):
        values = [find(readings, statistic, **where) for readings in (first, second)]
        assert values[0] is not None
        assert values[1] is not None
        np.testing.assert_array_equal(values[0].values, values[1].values)


def test_a_model_at_chance_is_not_assessable() -> None:
    """If it fails, edits are scored in units of a distance that is none."""
    trial = trial_of(Saliency(), "conv", 2)
    labels = trial.cohort.participants.copy()
    rng = np.random.default_rng(0)
    labels["group"] = rng.permutation(labels["group"].to_numpy())
    shuffled = replace(trial.cohort, participants=labels)
    untold = replace(trial, cohort=shuffled, classifier=build_classifier(2), memory=Memory())
    with pytest.raises(NotAssessableError, match="does not separate the groups"):
        PROTOCOL.readings(untold)


def test_a_model_that_edits_cannot_move_is_not_assessable() -> None:
    """If it fails, a share of nearly nothing is scored as if it were much."""
    tiny = EditReach(PROTOCOL.config.model_copy(update={"radius": 1e-3}))
    with pytest.raises(NotAssessableError, match="cannot be moved by plausible edits"):
        tiny.readings(shared())


def test_a_report_shows_the_edits_and_tells_the_model() -> None:
    """If it fails, a report of the protocol breaks, or its table lacks an explainer."""
    readings = {"saliency": measured(Saliency), "group_difference": measured(GroupDifference)}
    purpose = exhibit_purpose(PROTOCOL.name, PROTOCOL.version, PROTOCOL.settings({}))
    exhibit = shared().exhibited(purpose)
    assert exhibit is not None
    drawings = list(PROTOCOL.drawings({"saliency": exhibit}, readings))
    assert [drawing.name for drawing in drawings] == ["edits", "transfer"]
    assert all(isinstance(drawing.draw(), Figure) for drawing in drawings)
    table = next(iter(PROTOCOL.tables(readings)))
    assert [row[0] for row in table.rows] == list(readings)
    assert all(len(row) == len(table.columns) for row in table.rows)
    remark = PROTOCOL.remark(readings["saliency"])
    assert remark is not None
    assert "edits of the whole foreground reach" in remark


def test_a_map_that_leads_the_truth_is_a_fault() -> None:
    """If it fails, edits that find where the model is fooled pass for a healthy protocol."""
    readings = list(measured(Saliency))
    q = PROTOCOL.config.quantiles[0]
    own = find(readings, PROTOCOL.above, null="chance", q=q)
    truth = find(readings, PROTOCOL.yardstick, map="truth", q=q)
    assert own is not None
    assert truth is not None
    ahead = replace(own, values=truth.values + 0.1)
    led = [ahead if reading is own else reading for reading in readings]
    assert "further than those inside the truth" in PROTOCOL.health_faults(led)[0]
    behind = replace(own, values=truth.values - 0.1)
    assert PROTOCOL.health_faults([behind if r is own else r for r in readings]) == ()


def test_null_maps_that_are_not_finite_count_as_chance() -> None:
    """If it fails, a method whose gradient vanishes on a random network ends in StopIteration."""
    readings = PROTOCOL.readings(shared().on(explainer=NothingOnCopies()))
    above = {null: find(readings, "above", null=null) for null in ("chance", "randomised")}
    assert above["chance"] is not None
    assert above["randomised"] is not None
    assert np.allclose(above["randomised"].values, above["chance"].values)
