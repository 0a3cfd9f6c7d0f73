"""`complexity`: published formulas on the foreground alone, and never a number for no map."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import quantus
import torch
from contract_settings import PROTOCOLS, trial_of
from torch import Tensor

from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Random
from baselines.explainers.gradient import Saliency
from benchmark.arrays import FloatArray
from benchmark.maps.ranking import CONSTANT_MAP, NON_FINITE_MAP
from benchmark.reading import find, summarise
from benchmark.seeding import stream
from leaderboard.submission.from_plugins import scale_of
from protocols.complexity import Complexity
from protocols.complexity.figures import concentration_drawings
from protocols.complexity.measures import area90, entropy, gini

Measure = Callable[[Tensor, Tensor], FloatArray]
MEASURES: tuple[Measure, ...] = (gini, entropy, area90)


def _noise(count: int, *shape: int) -> Tensor:
    values = stream("test_complexity", count, *shape).random((count, 1, *shape))
    return torch.from_numpy(values)


def _everything(maps: Tensor) -> Tensor:
    return torch.ones_like(maps, dtype=torch.bool)


@pytest.fixture(name="masked")
def _masked() -> tuple[Tensor, Tensor]:
    """Return uneven maps with ties, and a foreground with a background round it."""
    maps = (_noise(6, 24, 20) ** 4 * 50).round() / 50
    foreground = torch.zeros_like(maps, dtype=torch.bool)
    foreground[..., 3:20, 2:17] = True
    return maps, foreground


def test_agrees_with_quantus_where_the_foreground_is_everything() -> None:
    """If it fails, a measure that bears a published name is not the published one."""
    maps = _noise(100, 24, 20) ** 3
    assert set(np.round(gini(maps, _everything(maps)), 2)) != {0.33}
    for metric, ours, within in (
        (quantus.Sparseness(), gini(maps, _everything(maps)), 1e-4),
        (quantus.Complexity(), entropy(maps, _everything(maps)) * np.log(480), 1e-5 * np.log(480)),
    ):
        theirs = metric(
            model=None,
            x_batch=np.zeros(maps.shape, dtype=np.float32),
            y_batch=np.zeros(len(maps), dtype=int),
            a_batch=maps.numpy(),
            channel_first=True,
        )
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=within)


def test_values_that_are_known() -> None:
    """If it fails, the ends of a scale are not where its description says they are."""
    noise = _noise(8, 96, 96)
    np.testing.assert_allclose(gini(noise, _everything(noise)), 1 / 3, atol=0.01)
    pixel = torch.zeros(1, 1, 20, 20)
    pixel[0, 0, 4, 5] = 3.0
    everything = _everything(pixel)
    np.testing.assert_allclose(gini(pixel, everything), 1 - 1 / 400, atol=1e-12)
    assert entropy(pixel, everything) == 0
    assert area90(pixel, everything) == 1 / 400
    ten = torch.zeros(1, 1, 20, 20)
    ten[0, 0, 0, :10] = 0.1  # nine of them hold exactly 90 %, whatever sums round to
    assert area90(ten, everything) == 9 / 400


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.__name__)
def test_unit_padding_and_dimensions_change_nothing(
    measure: Measure, masked: tuple[Tensor, Tensor]
) -> None:
    """If it fails, the same map is sparser on a larger canvas, or in another unit."""
    maps, foreground = masked
    values = measure(maps, foreground)
    assert len(set(values)) > 1
    for factor in (1e-9, 1e9):
        np.testing.assert_allclose(measure(factor * maps, foreground), values, atol=1e-9)
    background = maps.clone()
    background[~foreground] = 7.0
    np.testing.assert_array_equal(measure(background, foreground), values)
    padded = [torch.nn.functional.pad(part, (32, 32, 32, 32)) for part in (maps, foreground)]
    np.testing.assert_array_equal(measure(*padded), values)
    volumes = [part.reshape(6, 1, 4, 6, 20) for part in (maps, foreground)]
    np.testing.assert_array_equal(measure(*volumes), values)


def test_repeating_each_pixel_changes_only_what_counts_pixels(
    masked: tuple[Tensor, Tensor],
) -> None:
    """If it fails, a map that was upsampled to the image is another map."""
    finer = [part.repeat_interleave(2, -1).repeat_interleave(2, -2) for part in masked]
    count = int(masked[1][0].sum())
    np.testing.assert_allclose(gini(*finer), gini(*masked), atol=1e-6)
    bits = entropy(*finer) * np.log(4 * count) - np.log(4)
    np.testing.assert_allclose(bits, entropy(*masked) * np.log(count), atol=1e-6)
    np.testing.assert_allclose(area90(*finer), area90(*masked), atol=1 / count)


@pytest.mark.parametrize("value", [0.0, 0.5, np.nan], ids=["zero", "constant", "nan"])
def test_a_map_that_ranks_nothing_has_a_reason_and_no_number(value: float) -> None:
    """If it fails, a broken map gets the best value, as it does from Quantus."""

    class Flat(Saliency):
        def attribute(self, *args: object) -> Tensor:
            images = args[1]
            assert isinstance(images, Tensor)
            return torch.full_like(images, value)

    readings = PROTOCOLS["complexity"].readings(trial_of(Flat(), "conv", 2))
    reason = NON_FINITE_MAP if np.isnan(value) else CONSTANT_MAP
    for name in ("gini", "entropy", "area90"):
        reading = find(readings, name)
        assert reading is not None
        assert np.isnan(reading.values).all()
        assert set(reading.reasons.values()) == {reason}


@pytest.mark.parametrize("explainer", [Saliency(), GradCAM()], ids=lambda one: one.name)
def test_signed_maps_are_ranked_by_the_polarity_of_their_method(explainer: Saliency) -> None:
    """If it fails, negative values make shares below 0, and indices beyond 1."""
    trial = trial_of(explainer, "conv", 2)
    readings = PROTOCOLS["complexity"].readings(trial)
    for name in ("gini", "entropy", "area90", "gini_copy", "entropy_copy", "area90_copy"):
        reading = find(readings, name)
        assert reading is not None
        known = reading.values[np.isfinite(reading.values)]
        assert len(known)
        assert (known >= 0).all()
        assert (known <= 1).all()
    reading = find(readings, "gini")
    assert reading is not None
    rows = [trial.test.keys.index(key) for key in reading.sample.keys]
    foreground = torch.from_numpy(trial.test.anatomy.foreground)[rows]
    np.testing.assert_allclose(reading.values, gini(trial.importance[rows], foreground))


def test_it_judges_nothing() -> None:
    """If it fails, being sparse is rewarded, which Grad-CAM is most on an untrained network."""
    trial = trial_of(Random(), "conv", 2)
    protocol = PROTOCOLS["complexity"]
    readings = protocol.readings(trial)
    verdict = protocol.verdict(readings)
    assert (verdict.state, verdict.passed, verdict.reason) == ("scored", None, None)
    assert not protocol.gate
    assert not scale_of(Complexity).averaged, "its column of a board enters no total and no rank"
    above = find(readings, "gini_above_noise")
    assert above is not None
    assert abs(summarise(above).estimate) < 0.02
    (table,) = Complexity.tables({"random": readings})
    assert table.rows[0][0] == "random"
    (drawing,) = concentration_drawings({"random": readings})
    assert drawing.draw().axes
