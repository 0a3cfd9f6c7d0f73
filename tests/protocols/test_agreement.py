"""`agreement`, its regions and Kendall's W, against SciPy and by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import friedmanchisquare, spearmanr
from torch import Tensor
from trials import assert_same_values, build_trial, cohort_of, values_by_key

from baselines.explainers.class_activation import CAM, GradCAM, GradCAMPlusPlus, LayerCAM
from baselines.explainers.controls import Random
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.cohort import Batch, Cohort
from benchmark.explainer import Control, Explainer
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.partition import cut, masses
from benchmark.maps.similarity import centred_ranks
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_cohort
from benchmark.reading import Reading, find, summarise
from benchmark.running.cells import conclude
from benchmark.target import Target
from benchmark.trial import Peers, Study, Trial
from benchmark.trial.interventions.partition import effects_of, regions_of
from benchmark.trial.removal import masking_rows
from protocols.agreement import Agreement, AgreementConfig
from protocols.agreement.measures import RankedMaps, classes, concordance

CONFIG = AgreementConfig(
    panel=("cam", "gradcam", "gradcampp", "layercam", "saliency"),
    subjects=16,
    regions=16,
    quantiles=(0.1,),
    partners=2,
)
PROTOCOL = Agreement(CONFIG)
PANEL = {one.name: one for one in (CAM(), GradCAM(), GradCAMPlusPlus(), LayerCAM(), Saliency())}


class Constant(Explainer):
    """A map of ones."""

    name = "constant"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return ones."""
        return torch.ones_like(images)


class Effects(Control):
    """Knows what removing each region does; lifted above 0, since maps rank by what is positive."""

    name = "effects"
    by_key: dict[str, Tensor]

    def draw(self, batch: Batch) -> Tensor:
        """Return the drop of each pixel's region."""
        return torch.stack([self.by_key[key] for key in batch.keys])


def _trial(explainer: Explainer, cohort: Cohort | None = None, batch_size: int = 64) -> Trial:
    trial = build_trial(explainer, cohort, batch_size=batch_size)
    return replace(trial, peers=Peers(panel=PANEL))


def _get(readings: list[Reading], statistic: str, **conditions: str | float) -> Reading:
    reading = find(readings, statistic, **conditions)
    assert reading is not None, (statistic, conditions)
    return reading


@pytest.mark.parametrize("shape", [SHAPE_2D, SHAPE_3D], ids=["2-D", "3-D"])
def test_regions_fill_the_foreground_and_are_compact(shape: tuple[int, ...]) -> None:
    """If it fails, a region is empty, scattered, or much larger than another."""
    foreground = build_cohort(shape, subjects=2).anatomy.foreground[0, 0]
    regions = cut(foreground, 12, np.random.default_rng(0), (1.5,) * len(shape))
    assert (regions[~foreground] == -1).all()
    sizes = np.bincount(regions[foreground])
    assert len(sizes) == 12
    assert sizes.min() > 0
    assert sizes.max() < 4 * sizes.min()
    for number in range(12):
        places = np.argwhere(regions == number)
        spread = np.sqrt(((places - places.mean(0)) ** 2).sum(1).mean())
        ball = len(places) ** (1 / len(shape))
        assert spread < 0.8 * ball


def test_a_small_foreground_has_fewer_regions() -> None:
    """If it fails, a tiny organ stops the run."""
    foreground = np.zeros((6, 6), dtype=bool)
    foreground[2, 1:5] = True
    regions = cut(foreground, 64, np.random.default_rng(0), (1.0, 1.0))
    assert sorted(regions[foreground].tolist()) == [0, 1, 2, 3]


def test_masses_add_up_to_the_map() -> None:
    """If it fails, some of the map belongs to no region."""
    foreground = np.ones((9, 9), dtype=bool)
    regions = cut(foreground, 5, np.random.default_rng(1), (1.0, 1.0))
    values = np.random.default_rng(2).random((9, 9))
    assert masses(values, regions).sum() == pytest.approx(values.sum())


def test_ranks_and_tops_are_kept_small_and_exact() -> None:
    """If it fails, agreement compares maps that were rounded to save memory."""
    trial = _trial(Saliency())
    images = Study(trial, "agreement")
    maps = images.ranked(images.maps()).clone()
    maps[3], maps[5, 0, 8, 8] = 1.0, float("nan")
    quantiles = (0.05, 0.2)
    kept = RankedMaps.of(images, maps, quantiles)
    expected = centred_ranks(maps, images.foreground)
    assert expected[3].isnan().all()
    ranks = kept.ranks(slice(None), images.foreground.flatten(1))
    torch.testing.assert_close(ranks, expected, rtol=0, atol=0, equal_nan=True)
    order = descending_order(maps.nan_to_num(0.0), images.foreground, images.streams("ties"))
    tops = top_masks(order, images.foreground, quantiles)
    for column in range(len(quantiles)):
        assert torch.equal(kept.top(column), tops[:, column])


def test_maps_of_the_panel_do_not_stay_in_memory() -> None:
    """If it fails, memory grows with every subject by the maps of a whole panel."""
    trial = _trial(Saliency())
    rows = masking_rows(trial, CONFIG.subjects)
    PROTOCOL.readings(trial)
    for member in PANEL.values():
        other, before = trial.on(explainer=member), trial.passes.snapshot()
        other.maps(rows)
        drew = trial.passes.since(before).forward > 0
        assert drew == (member.name != trial.explainer.name)


def test_a_map_of_the_effects_foretells_them_and_noise_does_not() -> None:
    """If it fails, the score does not measure what it is called after."""
    trial = _trial(Saliency())
    rows = masking_rows(trial, CONFIG.subjects)
    effects = effects_of(trial, rows, CONFIG.regions)
    regions = regions_of(trial, rows, CONFIG.regions)
    sizes = np.stack([np.bincount(one[one >= 0], minlength=CONFIG.regions) for one in regions])
    lifted = (effects - effects.min() + 1) / sizes
    known = Effects()
    known.by_key = {key: torch.zeros(1, *SHAPE_2D) for key in trial.test.keys}
    for place, row in enumerate(rows):
        flat = np.append(lifted[place], 0.0)
        known.by_key[trial.test.keys[row]] = torch.from_numpy(flat[regions[place]]).float()[None]
    readings = PROTOCOL.readings(trial.on(explainer=known))
    np.testing.assert_allclose(_get(readings, "predicts_delta_t").values, 1, atol=1e-6)
    noise = summarise(_get(PROTOCOL.readings(_trial(Random())), "predicts_delta_t"))
    assert noise.low <= 0 <= noise.high


def test_the_score_is_spearman_over_regions() -> None:
    """If it fails, the score is not the one that is documented."""
    trial = _trial(Saliency())
    rows = masking_rows(trial, CONFIG.subjects)
    effects, regions = (one(trial, rows, CONFIG.regions) for one in (effects_of, regions_of))
    reading = _get(PROTOCOL.readings(trial), "predicts_delta_t")
    maps = trial.importance[torch.from_numpy(rows)][:, 0].double().numpy()
    for place in (0, 5):
        own = [maps[place][regions[place] == number].sum() for number in range(CONFIG.regions)]
        assert reading.values[place] == pytest.approx(spearmanr(own, effects[place]).statistic)


def test_effects_are_measured_once_for_all() -> None:
    """If it fails, every explainer pays for the same removal."""
    trial = _trial(Saliency())
    PROTOCOL.readings(trial)
    before = trial.passes.snapshot()
    PROTOCOL.readings(trial.on(explainer=Random()))
    assert trial.passes.since(before).forward == 0


def test_one_method_under_two_names_is_found() -> None:
    """If it fails, a consensus counts a method twice."""
    readings = PROTOCOL.readings(_trial(GradCAM()))
    assert (_get(readings, "spearman", other="cam").values >= 0.99).all()
    (badge,) = Agreement.badges(readings)
    assert badge.held
    assert "cam" in badge.detail
    assert not Agreement.badges(PROTOCOL.readings(_trial(Random())))[0].held


def test_agreement_with_oneself_is_what_is_left_above_the_null() -> None:
    """If it fails, the correction takes away something else."""
    readings = PROTOCOL.readings(_trial(GradCAM()))
    pair = [_get(readings, name, other="saliency").values for name in ("spearman", "spearman_null")]
    corrected = _get(readings, "spearman_corrected", other="saliency").values
    np.testing.assert_allclose(corrected, pair[0] - pair[1])


def test_noise_agrees_with_nobody() -> None:
    """If it fails, chance is not taken off."""
    readings = PROTOCOL.readings(_trial(Random()))
    for other in PANEL:
        interval = summarise(_get(readings, "spearman_corrected", other=other))
        assert interval.low - 0.02 <= 0 <= interval.high + 0.02


def test_kendalls_w_is_that_of_friedmans_test() -> None:
    """If it fails, W is not Kendall's, with ties or without."""
    rng = np.random.default_rng(0)
    inside = torch.ones(1, 1, 6, 7, dtype=torch.bool)
    for high in (1000, 4):
        scores = [rng.integers(0, high, 42) for _ in range(4)]
        ranks = [
            centred_ranks(torch.from_numpy(one).double().view(1, 1, 6, 7), inside).numpy()
            for one in scores
        ]
        # One method is one judge: Friedman's blocks are the judges, its treatments the pixels.
        statistic = friedmanchisquare(*np.stack(scores, axis=1)).statistic
        wanted = statistic / (4 * 41)
        assert concordance(ranks, np.ones((1, 42), bool))[0] == pytest.approx(wanted)


def test_methods_that_are_one_stand_in_one_class() -> None:
    """If it fails, a chain of equal methods is torn."""
    names = ["a", "b", "c", "d"]
    assert classes(names, [("a", "c"), ("c", "d")]) == [["a", "c", "d"], ["b"]]
    assert classes(names, []) == [["a"], ["b"], ["c"], ["d"]]


def test_no_judgement_is_passed_and_a_constant_map_has_no_score() -> None:
    """If it fails, consensus is taken for truth, or a blank map for a result."""
    outcome = conclude(PROTOCOL, PROTOCOL.readings(_trial(GradCAM())))
    assert (outcome.state, outcome.verdict) == ("scored", None)
    failed = conclude(PROTOCOL, PROTOCOL.readings(_trial(Constant())))
    assert failed.state == "failed"
    assert "constant map" in str(failed.reason)


@pytest.mark.parametrize("explainer", [GradCAM(), Saliency()], ids=lambda one: one.name)
def test_batches_order_and_others_change_nothing(explainer: Explainer) -> None:
    """If it fails, batch size or order of subjects moves scores."""
    order = np.random.default_rng(3).permutation(len(cohort_of()))
    cases = ((64, cohort_of()), (1, cohort_of().take(order)), (7, cohort_of()))
    runs = [
        values_by_key(PROTOCOL.readings(_trial(explainer, cohort, size))) for size, cohort in cases
    ]
    assert_same_values(runs, PROTOCOL.tolerance)
