"""`positive_control` 2.0: a map that finds a mark on any network is worth nothing."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from trials import RECIPE, build_trial

from baselines.cohorts.phantom2 import Phantom2
from baselines.explainers.controls import Centre, Intensity, Oracle, Random, Sobel
from baselines.explainers.gradient import Saliency
from baselines.models.phantom2_resnet import Phantom2ResNet
from benchmark.cohort import Batch, Cohort
from benchmark.errors import AttributionError
from benchmark.explainer import Control, Explainer
from benchmark.reading import Reading, Sample, find, summarise
from benchmark.trial import Peers, Trial
from protocols.v2.positive_control import PositiveControl, PositiveControlConfig, TunedToMark

CONFIG = PositiveControlConfig(dose_response=False)
PROTOCOL = PositiveControl(CONFIG)
MARKS = tuple(mark.name for mark in CONFIG.marks)


class Smoothness(Control):
    """The negated standard deviation of the Laplacian in squares of 9 pixels, without a network."""

    name = "smoothness"

    def draw(self, batch: Batch) -> Tensor:
        """Return the largest deviation minus that of each pixel's square."""
        edges = ndimage.laplace(batch.images.double().numpy(), axes=(2, 3))
        mean, square = (
            ndimage.uniform_filter(values, 9, axes=(2, 3)) for values in (edges, edges**2)
        )
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        return torch.from_numpy(
            (deviation.max((1, 2, 3), keepdims=True) - deviation).astype(np.float32)
        )


class Silent(Oracle):
    """The truth, except on every sixteenth subject, where the map is blank."""

    name = "silent"
    every = 16

    def draw(self, batch: Batch) -> Tensor:
        """Return the truth, or nothing."""
        drawn = super().draw(batch)
        numbers = [int(key.split("+")[0].strip("sub-")) for key in batch.keys]
        drawn[torch.tensor(numbers) % self.every == 0] = 0
        return drawn


class Mute(Silent):
    """The same, blank on every second subject."""

    name = "mute"
    every = 2


@lru_cache(maxsize=1)
def people() -> Cohort:
    """Return 32 test subjects of `phantom2`, and 8 to train on."""
    cohort = Phantom2().load()
    parts = {
        split: np.flatnonzero(cohort.participants["split"] == split) for split in ("train", "test")
    }
    return cohort.take(np.concatenate([parts["train"][:8], parts["test"][:32]]))


def with_networks(trial: Trial) -> Trial:
    """Return the trial with networks of the marks that differ from the main one and each other."""
    for own in range(len(MARKS)):
        relative = TunedToMark(CONFIG.marks, own).relative(trial)
        other = trial.models.randomised(own)
        trial.relative(replace(relative, fit=lambda other=other: other.copy()))
    return trial


@lru_cache(maxsize=16)
def readings_of(explainer: type[Explainer]) -> list[Reading]:
    """Return what the protocol reads of an explainer."""
    cohort = people()
    trial = build_trial(explainer(), cohort, Phantom2ResNet().load(cohort.shape))
    return PROTOCOL.readings(with_networks(trial))


def mean_of(readings: list[Reading], statistic: str, **conditions: str) -> float:
    """Return the mean of a reading over its images."""
    reading = find(readings, statistic, **conditions)
    assert reading is not None
    return float(np.nanmean(reading.values))


def test_a_filter_finds_the_blur_and_is_worth_nothing() -> None:
    """If it fails, a filter that never sees a network passes for an explanation of it."""
    readings = readings_of(Smoothness)
    assert mean_of(readings, "mark_ap", network="blur", mark="blur") >= 0.8
    found = find(readings, "found")
    assert found is not None
    assert (found.values == 0).all()


@pytest.mark.parametrize("control", [Centre, Intensity, Sobel])
def test_what_the_image_alone_decides_is_worth_exactly_nothing(control: type[Explainer]) -> None:
    """If it fails, a map that ignores the network has a score that no network gave it."""
    readings = readings_of(control)
    for statistic in ("found", "beyond_main"):
        reading = find(readings, statistic)
        assert reading is not None
        assert (reading.values == 0).all()


def test_noise_is_worth_nothing() -> None:
    """If it fails, a method gains by being random."""
    assert abs(mean_of(readings_of(Random), "found")) < 0.01


def test_the_score_is_the_mean_of_its_subjects_and_of_both_marks() -> None:
    """If it fails, totals and ranks are made from values whose mean is not the score shown."""
    readings = readings_of(Oracle)
    found = find(readings, "found")
    assert found is not None
    assert not np.isnan(found.values).any()
    assert np.mean(found.values) > 0.95
    by_mark = [mean_of(readings, "found", mark=mark) for mark in MARKS]
    assert summarise(found, "studentised").estimate == pytest.approx(np.mean(by_mark))


def test_an_image_without_a_ranking_counts_as_chance() -> None:
    """If it fails, a method gains by abstaining where it would find nothing."""
    readings = readings_of(Silent)
    found = find(readings, "found")
    assert found is not None
    silent = mean_of(readings, "abstentions", network="blur")
    assert 1 <= silent == (found.values == 0).sum()
    assert (found.values > 0.9).sum() == len(found.values) - silent


def test_a_method_that_mostly_abstains_fails() -> None:
    """If it fails, a map that speaks up where it is easy is ranked beside one that always does."""
    with pytest.raises(AttributionError, match="abstains"):
        readings_of(Mute)


def known(network: str, mark: str, gap: float) -> Reading:
    """Return margins of 512 images that tell a mark with ``gap`` standard deviations between."""
    count = 512
    names = tuple(map(str, range(count)))
    groups = tuple(number % 2 for number in range(count))
    noise = np.random.default_rng(len(network + mark)).standard_normal(count)
    where = {"network": network, "mark": mark}
    return Reading(
        "mark_auroc", Sample(names, names, groups), noise + gap * np.array(groups), where
    )


def judged(
    own: float, other: float, beyond: float, explained: int = 512
) -> tuple[str, bool | None]:
    """Return state and verdict where networks know marks so well, and maps gain ``beyond``."""
    gaps = [
        (network, mark, own if network == mark else other) for network in MARKS for mark in MARKS
    ]
    names = tuple(map(str, range(explained)))
    people = Sample(names, names, tuple(number % 2 for number in range(explained)))
    gain = beyond + 0.1 * np.random.default_rng(0).standard_normal(explained)
    readings = [*(known(*gap) for gap in gaps), Reading("beyond_main", people, gain)]
    verdict = PROTOCOL.verdict(readings)
    return verdict.state, verdict.passed


def test_a_map_passes_only_on_networks_that_know_their_own_mark_and_no_other() -> None:
    """If it fails, a map is blamed for what a network did not learn, or praised for its leak."""
    assert judged(own=3, other=0, beyond=0.2) == ("scored", True)
    assert judged(own=3, other=0, beyond=0.0) == ("scored", False)
    assert judged(own=0.1, other=0, beyond=0.2) == ("not assessable", None)
    assert judged(own=3, other=1, beyond=0.2) == ("not assessable", None)


def test_a_map_of_few_subjects_neither_passes_nor_fails() -> None:
    """If it fails, a method is listed apart because few subjects were asked."""
    assert judged(own=3, other=0, beyond=0.2, explained=16) == ("scored", None)


def test_the_single_signal_stands_beside_the_score_and_does_not_enter_it() -> None:
    """If it fails, the dose and response of a signal are lost, or move the score."""
    single = {
        "subjects": 8, "probe_subjects": 4, "decoys": 2, "quantiles": [0.1], "repeats": 1,
        "permutations": 19, "splits": 20,
    }  # fmt: skip
    both, alone = (
        PositiveControl(
            PositiveControlConfig.model_validate(
                {"subjects": 8, "dose_response": dose_response, "single": single}
            )
        )
        for dose_response in (True, False)
    )
    trial = build_trial(Saliency())
    trial = replace(trial, peers=Peers(recipe=replace(RECIPE, epochs=1)))
    measured = both.readings(trial)
    found, again = find(measured, "found"), find(alone.readings(trial), "found")
    assert found is not None
    assert again is not None
    np.testing.assert_array_equal(found.values, again.values)
    assert find(measured, "single_found", arm="tuned", strength="strong") is not None
    assert [badge.name for badge in PositiveControl.badges(measured)]
    assert not PositiveControl.badges(alone.readings(trial))
    titles = [drawing.title for drawing in PositiveControl.drawings({}, {"saliency": measured})]
    assert titles == ["Who shows the mark", "Dose and response"]
