"""`delta_t` 2: exchange, removal in magnitude, their nulls, and the health of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import pytest
import torch
from partners import with_partners
from torch import Tensor
from trials import assert_same_values, build_trial, cohort_of, trained, values_by_key
from zero_fill import Zero

from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Atlas, Centre, Intensity, Random, Sobel
from baselines.explainers.gradient import Saliency
from benchmark.arrays import FloatArray
from benchmark.classifier import Classifier
from benchmark.cohort import Batch, Cohort
from benchmark.errors import AttributionError, NotAssessableError
from benchmark.explainer import Control, Explainer
from benchmark.maps.imputers import Imputer
from benchmark.plugins.examples import build_classifier
from benchmark.reading import Reading, Statistic, find
from benchmark.target import Target
from benchmark.training import fit_probe
from benchmark.trial import Memorised, Memory, Peers, Study, Trial
from benchmark.trial.removal import imputers, masking_rows, respond, substitutes
from protocols.v2.delta_t import DeltaT, DeltaTConfig
from protocols.v2.delta_t.effects import Alteration
from protocols.v2.delta_t.health import kept_shares
from protocols.v2.delta_t.yardsticks import ATTAINABLE, yardsticks

CONFIG = DeltaTConfig(
    quantiles=(0.05, 0.1, 0.2), repeats=4, subjects=24, cells=12, yardstick_repeats=2
)
PROTOCOL = DeltaT(CONFIG)
CONTROLS = {control.name: control for control in (Random(), Centre(), Intensity(), Sobel())}


class Change(Control):
    """What the other group's anatomy changes, which looks at no network."""

    name = "change"

    def draw(self, batch: Batch) -> Tensor:
        """Return the graded truth."""
        assert batch.change is not None
        return batch.change


class Timid(Saliency):
    """Saliency that says nothing where the image is among the brightest of its batch."""

    name = "timid"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient, or NaN on some images."""
        maps = super().attribute(classifier, images, target)
        is_bright = images.flatten(1).mean(1) > self.limit
        return torch.where(is_bright.view(-1, 1, 1, 1), torch.nan, maps)

    limit = 0.0


@lru_cache(maxsize=2)
def memory_of(partners: bool) -> Memory:
    """Return the memory of trials whose null networks are made once for all tests."""
    return Memory()


@pytest.fixture(autouse=True)
def _memorised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an untrained network count as one that knows its labels, since training takes long."""
    monkeypatch.setattr(Memorised, "reached", lambda *_: 1.0)


def trial_of(
    explainer: Explainer,
    partners: bool = True,
    cohort: Cohort | None = None,
    batch_size: int = 64,
    classifier: Classifier | None = None,
) -> Trial:
    memory = memory_of(partners) if cohort is None else Memory()
    cohort = cohort or (with_partners() if partners else cohort_of())
    dimensions = len(cohort.shape)
    trial = build_trial(explainer, cohort, classifier, batch_size)
    peers = Peers(CONTROLS, references=cohort_of(dimensions).references)
    trial = replace(trial, peers=peers, memory=memory)
    untrained = build_classifier(dimensions, seed=5)
    trial.relative(replace(PROTOCOL.memorised.relative(trial), fit=untrained.copy))
    return trial


def measure(explainer: Explainer, partners: bool = True) -> list[Reading]:
    return PROTOCOL.readings(trial_of(explainer, partners))


def value(readings: Sequence[Reading], statistic: Statistic | str, **where: str | float) -> float:
    return float(values(readings, statistic, **where).mean())


def values(
    readings: Sequence[Reading], statistic: Statistic | str, **where: str | float
) -> FloatArray:
    reading = find(readings, statistic, **where)
    assert reading is not None, (statistic, where)
    return reading.values


def test_exchanging_everything_has_the_full_effect_and_nothing_none() -> None:
    """If it fails, an effect of 1 is not what the partner does, and blind pixels have an effect."""
    trial = trial_of(Saliency())
    rows = masking_rows(trial, 24)
    exchange = substitutes(trial)["exchange"]
    foreground = torch.from_numpy(trial.test.anatomy.foreground[rows])
    change = trial.test.change
    assert change is not None
    masks = torch.cat([foreground, foreground & torch.from_numpy(change[rows] == 0)], dim=1)
    response = respond(trial, rows, masks, exchange)
    readings = PROTOCOL.readings(trial)
    full = value(readings, PROTOCOL.full_effect)
    assert response.drops[:, 0].mean() / full == pytest.approx(1, abs=1e-5)
    assert response.drops[:, 1] == pytest.approx(0, abs=1e-6)


def test_the_true_change_leads_and_controls_have_nothing() -> None:
    """If it fails, the protocol does not find what it is known to be about, or pays blind maps."""
    readings = measure(Saliency())
    change = value(readings, PROTOCOL.yardstick, imputer="exchange", map="true change")
    assert change > 0.5
    for name in CONTROLS:
        assert value(readings, PROTOCOL.yardstick, imputer="exchange", map=name) < change / 2
    assert PROTOCOL.health_faults(readings) == ()
    assert value(readings, PROTOCOL.delta_t) > 0.2
    assert PROTOCOL.verdict(readings).passed
    for control in (Centre(), Intensity(), Sobel(), Change()):
        blind = measure(control)
        assert value(blind, PROTOCOL.delta_t) <= 1e-9, control.name
        assert PROTOCOL.verdict(blind).passed is False
    assert value(measure(Random()), PROTOCOL.delta_t) < 0.03


def test_wrong_order_of_the_yardsticks_is_a_fault() -> None:
    """If it fails, a run in which a control leads the truth calls itself healthy."""
    raised = ({"map": "sobel"}, {"map": "truth", "q": 0.2})
    for where, fault in zip(raised, ("sobel has an effect of", "exchanging 20 %"), strict=True):
        readings = [
            replace(reading, values=reading.values + 2)
            if reading.matches("yardstick", imputer="exchange", **where)
            else reading
            for reading in measure(Saliency())
        ]
        (message,) = PROTOCOL.health_faults(readings)
        assert message.startswith(fault)


@pytest.mark.parametrize("partners", [True, False], ids=["exchange", "removal"])
def test_the_score_is_the_mean_over_shares_of_what_exceeds_the_strongest_null(
    partners: bool,
) -> None:
    """If it fails, the score is not the one that is documented."""
    readings = measure(GradCAM(), partners)
    imputer = "exchange" if partners else "noisy_linear"
    excesses = []
    for q in CONFIG.quantiles:
        of_q = {
            str(reading.conditions["arm"]): reading.values.mean()
            for reading in readings
            if reading.statistic == "effect"
            and (reading.conditions["imputer"], reading.conditions["q"]) == (imputer, q)
        }
        assert len(of_q) >= 3
        excess = of_q.pop("map")
        excesses.append(excess - max(of_q.values()))
        by_share = value(readings, PROTOCOL.delta_t, imputer=imputer, q=q)
        assert by_share == pytest.approx(excesses[-1], abs=1e-12)
    score = values(readings, PROTOCOL.delta_t)
    assert score.mean() == pytest.approx(np.mean(excesses), abs=1e-12)
    assert np.isfinite(score).all()
    groups = [find(readings, PROTOCOL.delta_t, group=name) for name in cohort_of().group_names]
    halves = [np.nanmean(reading.values) for reading in groups if reading is not None]
    assert np.mean(halves) == pytest.approx(score.mean(), abs=1e-12)


def test_a_map_that_every_network_is_shown_alike_owes_nothing_in_removal() -> None:
    """If it fails, a map of the image alone has a score where no partners are known."""
    for control in (Centre(), Intensity(), Sobel()):
        readings = measure(control, partners=False)
        for imputer in kept_shares(readings):
            for q in CONFIG.quantiles:
                reading = find(readings, PROTOCOL.delta_t, imputer=imputer, q=q)
                assert reading is None or reading.values.mean() <= 1e-9


def test_removal_counts_effects_of_either_sign() -> None:
    """If it fails, what a map finds in one group is taken off for what it finds in the other."""
    readings = measure(Saliency(), partners=False)
    for q in CONFIG.quantiles:
        effect = values(readings, PROTOCOL.effect, imputer="noisy_linear", arm="map", q=q)
        assert (effect >= 0).all()
    removal = Alteration(imputers(trial_of(Saliency(), partners=False))["noisy_linear"], (0.1,))
    exchange = replace(removal, full=np.ones(2))
    drops = np.array([-0.5, 1.2])
    np.testing.assert_array_equal(removal.effects(drops), [0.5, 1.2])
    np.testing.assert_array_equal(exchange.effects(drops), drops)


def test_order_batches_and_company_change_nothing() -> None:
    """If it fails, a score depends on how it was computed."""
    order = np.random.default_rng(3).permutation(len(with_partners()))
    runs = []
    for cohort, batch_size in ((with_partners(), 64), (with_partners().take(order), 7)):
        trial = trial_of(GradCAM(), cohort=cohort, batch_size=batch_size)
        runs.append(values_by_key(PROTOCOL.readings(trial)))
    runs.append(values_by_key(measure(GradCAM())))
    assert_same_values(runs)


def test_rings_are_the_same_for_every_explainer_and_protocol() -> None:
    """If it fails, methods are compared on different draws."""
    studies = [
        Study(trial_of(explainer), name).balanced(8)
        for explainer, name in ((Saliency(), "delta_t"), (GradCAM(), "roi_pointing"))
    ]
    first, second = (study.ring_permutations(3) for study in studies)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first[:, :2], studies[0].ring_permutations(2))


def use_imputers(monkeypatch: pytest.MonkeyPatch, fills: dict[str, Imputer]) -> None:
    known = MappingProxyType(fills)
    monkeypatch.setattr("protocols.v2.delta_t.protocol.substitutes", lambda _: known)
    module = "benchmark.trial.interventions.partition"
    monkeypatch.setattr(f"{module}.substitutes", lambda _: known)


def test_an_unfit_imputer_scores_nothing_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a fill whose edges move the model by themselves decides a score."""
    monkeypatch.setattr(Zero, "name", "noisy_linear")
    use_imputers(monkeypatch, {"noisy_linear": Zero()})
    readings = PROTOCOL.readings(trial_of(Saliency(), cohort=cohort_of()))
    score = find(readings, PROTOCOL.delta_t)
    assert score is not None
    assert np.isnan(score.values).all()
    verdict = PROTOCOL.verdict(readings)
    assert (verdict.state, verdict.passed) == ("not assessable", None)
    assert str(verdict.reason).startswith("noisy_linear is unfit")
    assert "noisy_linear unfit, not at" in str(PROTOCOL.remark(readings))


def test_the_atlas_is_a_yardstick_wherever_there_are_regions() -> None:
    """If it fails, nobody sees what anatomy alone moves on patients' images, without a truth."""
    people = cohort_of()
    cohort = replace(people, anatomy=replace(people.anatomy, truth=()))
    trial = trial_of(Saliency(), cohort=cohort)
    trial = replace(trial, peers=replace(trial.peers, panel={"atlas": Atlas()}))
    alteration = Alteration(imputers(trial)["noisy_linear"], (0.1,))
    measured = yardsticks(Study(trial, DeltaT.name).balanced(8), alteration, ("atlas",), 4, 1)
    assert set(measured) == {"atlas", ATTAINABLE}


def test_shares_are_kept_for_the_model_whoever_is_explained() -> None:
    """If it fails, methods are averaged over different shares."""
    kept = [kept_shares(measure(one, partners=False)) for one in (Saliency(), Sobel())]
    assert kept[0] == kept[1]
    assert list(kept[0]) == list(imputers(trial_of(Saliency(), partners=False)))


def test_an_image_without_a_ranking_counts_as_chance() -> None:
    """If it fails, a method gains by saying nothing where it is unsure."""
    trial, timid = trial_of(Saliency()), Timid()
    rows = masking_rows(trial, 24)
    brightness = trial.test.images[rows].mean(axis=(1, 2, 3))
    timid.limit = float(np.sort(brightness)[-2])
    readings = PROTOCOL.readings(trial.on(explainer=timid))
    assert value(readings, PROTOCOL.abstained) == pytest.approx(1 / 24)
    position = int(np.argmax(brightness))
    for q in CONFIG.quantiles:
        arms = [
            values(readings, PROTOCOL.effect, imputer="exchange", arm=arm, q=q)[position]
            for arm in ("map", "random")
        ]
        assert arms[0] == arms[1]
    assert np.isfinite(values(readings, PROTOCOL.delta_t)).all()
    timid.limit = float(np.median(brightness))
    silent = Timid()
    silent.limit, silent.name = timid.limit, "silent"
    with pytest.raises(AttributionError, match="abstains: non-finite map on 12 of 24 images"):
        PROTOCOL.readings(trial.on(explainer=silent))


def test_partners_that_do_not_move_the_model_are_said() -> None:
    """If it fails, effects are divided by nothing."""
    cohort = with_partners()
    idle = replace(cohort, partners=cohort.images.copy())
    with pytest.raises(NotAssessableError, match="does not move the model"):
        PROTOCOL.readings(trial_of(Saliency(), cohort=idle))


def test_three_dimensions_work_alike() -> None:
    """If it fails, something branches on the dimension."""
    cohort = with_partners(3)
    trial = trial_of(Saliency(), cohort=cohort, classifier=fit_probe(trained(3), cohort))
    readings = DeltaT(CONFIG.model_copy(update={"subjects": 8, "repeats": 2})).readings(trial)
    change = value(readings, PROTOCOL.yardstick, imputer="exchange", map="true change")
    assert change > value(readings, PROTOCOL.yardstick, imputer="exchange", map="random")
    assert np.isfinite(values(readings, PROTOCOL.delta_t)).all()
