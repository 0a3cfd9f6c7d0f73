"""`training_regime`: regimes that differ are told apart, and what knows nothing gains nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from experiments import build_card
from pydantic import ValidationError
from trials import MemoryArchive, build_trial, cohort_of

from baselines.explainers.controls import Sobel
from baselines.explainers.gradient import Saliency
from benchmark.errors import NotAssessableError, StoreError
from benchmark.plugins.examples import build_classifier
from benchmark.reading import Reading, Sample, find
from benchmark.records.experiment import CourseEntry, ExperimentCard
from benchmark.records.registry import write_card
from benchmark.running.experiment import encoder_sha256
from benchmark.statistics.bootstrap import Interval
from benchmark.training.regimes import RegimeRecipe
from benchmark.training.trainer import Trained, train
from benchmark.training.trainer.material import Draw
from benchmark.trial import Study, Trial
from benchmark.trial.refits import refit
from protocols.training_regime import TrainingRegime, TrainingRegimeConfig
from protocols.training_regime.claim import claim_of
from protocols.training_regime.figures import draw_accuracy, draw_epochs, draw_regimes
from protocols.training_regime.gains import (
    SIGNAL,
    excess_of_refits,
    jackknife_interval,
    mean_auroc,
    traced_epochs,
    unlearned,
)
from protocols.training_regime.measures import answers_of, likenesses_of, partners_of
from protocols.training_regime.refits import best_refits, matched_refits
from protocols.training_regime.statistics import MATCHED, RANDOMISED, SEED_ALONE
from protocols.training_regime.tables import regime_tables

SETTINGS = {"refits": 3, "subjects": 8, "epochs": 3, "quantiles": (0.1,), "repeats": 1}
OTHERS = {"partners": 1, "copies": 1, "by_seed": 2, "traced": (1, 2)}
CONFIG = TrainingRegimeConfig.model_validate({**SETTINGS, **OTHERS})
PROTOCOL = TrainingRegime(CONFIG)


@pytest.fixture(scope="module")
def readings() -> dict[str, list[Reading]]:
    """Return the readings of a gradient and of edges, on the same refits."""
    # Every refit of this encoder learns the groups; of others, one guesses.
    trial = build_trial(Saliency(), classifier=build_classifier(seed=4))
    return {one.name: PROTOCOL.readings(trial.on(explainer=one)) for one in (Saliency(), Sobel())}


def _auroc(trial: Trial, network: torch.nn.Module) -> float:
    people = trial.cohort.select("validation")
    with torch.no_grad():
        logits = network(people.batch(np.arange(len(people))).images)[0]
    margins = (logits[:, 1] - logits[:, 0]).numpy()
    cases, others = margins[people.groups == 1], margins[people.groups == 0]
    return float(np.mean(cases[:, None] > others) + np.mean(cases[:, None] == others) / 2)


@pytest.mark.parametrize("regime", ["probe", "last_stage", "full"])
def test_a_refit_has_the_weights_of_the_epoch_that_it_names(regime: str) -> None:
    """If it fails, regimes are compared at an accuracy that they do not have."""
    trial = build_trial(Saliency(), classifier=build_classifier())
    recipe = RegimeRecipe(regime, epochs=5, head_rate=0.05, encoder_rate=0.01, refit=2)  # type: ignore[arg-type]
    best = refit(trial, recipe)
    for epoch in (1, 3):
        other = refit(trial, recipe, epoch)
        np.testing.assert_allclose(other.aurocs, best.aurocs[:epoch])
        assert _auroc(trial, other.classifier) == pytest.approx(other.aurocs[epoch - 1])
    assert _auroc(trial, best.classifier) == pytest.approx(best.auroc)
    is_same_trunk = best.classifier.trunk is trial.classifier.trunk
    assert is_same_trunk == (regime == "probe")


def test_a_refit_is_trained_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, every run and every method trains all networks again."""
    archive, recipe = MemoryArchive(), RegimeRecipe("probe", epochs=2, refit=1)
    first = refit(build_trial(Saliency(), archive=archive), recipe)
    monkeypatch.setattr("benchmark.trial.refits.train", None)
    again = refit(build_trial(Saliency(), archive=archive), recipe)
    assert again.classifier.weights_sha256 == first.classifier.weights_sha256
    assert again.epoch == first.epoch
    heads = [name for arrays in archive.kept.values() for name in arrays]
    assert set(heads) == {"head.weight", "head.bias", "aurocs", "epoch"}


def test_refits_by_seed_alone_see_every_training_subject_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, what resampled subjects add to the spread of maps cannot be told."""
    draws: list[list[int]] = []

    def record(*arguments: object, draw: Draw, **others: object) -> Trained:
        draws.append(sorted(draw.train.tolist()))
        return train(*arguments, draw=draw, **others)  # type: ignore[arg-type]

    monkeypatch.setattr("benchmark.trial.refits.train", record)
    trial, recipe = build_trial(Saliency()), RegimeRecipe("probe", epochs=2, refit=1)
    resampled = refit(trial, recipe)
    alone = [refit(trial, replace(recipe, refit=number), resampled=False) for number in (1, 2)]
    everyone = np.flatnonzero(trial.cohort.participants["split"] == "train").tolist()
    assert draws[0] != everyone
    assert draws[1:] == [everyone, everyone]
    names = {one.classifier.weights_sha256 for one in (resampled, *alone)}
    assert len(names) == 3


def test_matched_epochs_are_the_nearest_to_the_weakest_regime() -> None:
    """If it fails, a regime that is more accurate is compared as if it were not."""
    trial = build_trial(Saliency(), classifier=build_classifier())
    recipe = RegimeRecipe("full", epochs=6, encoder_rate=0.01, head_rate=0.05, refit=1)
    full = refit(trial, recipe)
    weak = replace(full, aurocs=np.array([full.aurocs[0]]), epoch=1)
    matched = matched_refits(trial, {"probe": [weak], "full": [full]})
    assert matched["probe"] == [weak]
    nearest = np.abs(full.aurocs - weak.auroc)
    assert nearest[matched["full"][0].epoch - 1] == nearest.min()


def test_a_map_that_no_training_moves_gains_no_stability(
    readings: dict[str, list[Reading]],
) -> None:
    """If it fails, edges of the image are said to be explained better by a regime."""
    gain = find(readings["sobel"], PROTOCOL.primary)
    assert gain is not None
    np.testing.assert_array_equal(gain.values, 0)
    assert PROTOCOL.score_interval(readings["sobel"]) == Interval(0.0, 0.0, 0.0, 8)


def test_values_average_to_the_score_and_bear_no_verdict(
    readings: dict[str, list[Reading]],
) -> None:
    """If it fails, a method passes or fails by how the network was trained."""
    own = readings["saliency"]
    gain = find(own, PROTOCOL.primary)
    assert gain is not None
    score = PROTOCOL.score_interval(own)
    assert gain.values.mean() == pytest.approx(score.estimate, abs=1e-12)
    assert score.low < score.estimate < score.high
    verdict = PROTOCOL.verdict(own)
    assert verdict.passed is None
    if verdict.state == "scored":
        assert "given this encoder" in str(verdict.reason)


def test_tables_and_pictures_show_every_regime(readings: dict[str, list[Reading]]) -> None:
    """If it fails, the page of the report lacks a regime, or ends in an error."""
    tables = list(regime_tables(readings))
    assert [table.name for table in tables] == ["regimes", "gains", "epochs", "components"]
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    names = [str(row[0]) for row in tables[0].rows]
    for regime in ("probe", "last_stage", "full"):
        assert f"saliency, {regime}, {MATCHED}" in names
        assert f"saliency, {regime}, {SEED_ALONE}" in names
    assert f"saliency, {RANDOMISED}, 0" in names
    assert len(draw_regimes(readings).axes) == 2
    curves = np.array([[[0.5, 0.7], [0.6, np.nan], [0.4, 0.5]]])
    exhibit = {"regimes": np.array(["probe"]), "curves": curves, "epochs": np.ones((1, 3, 2), int)}
    assert len(draw_accuracy(exhibit).axes) == 1
    assert [len(axes.lines) for axes in draw_epochs(readings).axes] == [1 + 3 * 3, 1 + 3 * 3 + 3]


def test_stability_over_epochs_is_that_of_each_refit_with_the_others(
    readings: dict[str, list[Reading]],
) -> None:
    """If it fails, a line of the picture is not about the refit that its accuracy is of."""
    own = readings["saliency"]
    assert traced_epochs(own, "full") == (1, 2)
    for point in (MATCHED, "epoch 1"):
        excess = find(own, PROTOCOL.excess, regime="full", point=point)
        assert excess is not None
        of_refits = excess_of_refits(own, "full", point)
        assert list(of_refits) == [1, 2, 3]
        assert np.mean(list(of_refits.values())) == pytest.approx(excess.values.mean())


def test_epochs_that_are_not_read_are_no_setting() -> None:
    """If it fails, every score that was measured before they could be asked for is orphaned."""
    assert "traced" not in TrainingRegime(TrainingRegimeConfig()).settings({})
    assert PROTOCOL.settings({})["traced"] == [1, 2]
    with pytest.raises(ValidationError, match="rising numbers of epochs"):
        TrainingRegimeConfig(traced=(2, 1))


def test_an_encoder_without_the_signal_gains_nothing() -> None:
    """If it fails, a network that guesses is said to be explained better by a probe."""
    people = cohort_of()
    labels = np.random.default_rng(5).permutation(people.groups)
    guessing = replace(people, participants=people.participants.assign(group=labels))
    encoder = build_trial(Saliency(), guessing, build_classifier(seed=3))
    own = PROTOCOL.readings(encoder)
    verdict = PROTOCOL.verdict(own)
    assert (verdict.state, verdict.reason) == ("not assessable", "signal not learned (probe)")
    gains = [one for one in own if one.statistic in ("stability_gain", "faith_gain")]
    assert all(np.isnan(one.values).all() for one in gains)
    null = [one for one in own if one.conditions.get("regime") == RANDOMISED]
    assert any(one.statistic == "excess" and np.isfinite(one.values).all() for one in null)
    tables = [table.name for table in regime_tables({"saliency": own})]
    assert tables == ["regimes", "epochs", "components"]


def test_one_refit_that_guesses_is_not_hidden_by_the_others(
    readings: dict[str, list[Reading]],
) -> None:
    """If it fails, maps of a network that guesses widen or feign what a regime gains."""
    own = readings["saliency"]
    assert unlearned(own) is None
    halved = [
        replace(one, values=np.where(np.arange(len(one.values)) % 3, one.values, -one.values))
        if one.matches("log_odds", regime="full", point="best", refit=2)
        else one
        for one in own
    ]
    assert mean_auroc(halved, "full", "best").low > SIGNAL
    assert unlearned(halved) == "signal not learned (full, refit 2)"
    assert PROTOCOL.verdict(halved).state == "not assessable"


def test_a_regime_against_itself_has_no_gain() -> None:
    """If it fails, intervals are too narrow: chance in the refits is taken for a difference."""
    trial = build_trial(Saliency(), classifier=build_classifier())
    images = Study(trial, PROTOCOL.name).balanced(24)
    recipe = RegimeRecipe("probe", epochs=4)
    networks = [refit(trial, replace(recipe, refit=number)).classifier for number in range(1, 11)]
    maps = [answers_of(images, network, CONFIG).importance for network in networks]
    partners = partners_of(images, 2, np.ones(len(images.rows), dtype=bool))
    alike, generator = likenesses_of(images, maps, partners, 0.1), np.random.default_rng(0)
    held = []
    for _ in range(200):
        order = generator.permutation(10).tolist()
        halves = order[:5], order[5:]
        whole = alike.excess(halves[0]) - alike.excess(halves[1])
        without = [
            float((alike.excess([r for r in halves[0] if r != a])
             - alike.excess([r for r in halves[1] if r != b])).mean())
            for a, b in zip(*halves, strict=True)
        ]  # fmt: skip
        interval = jackknife_interval(whole, without)
        held.append(interval.low <= 0 <= interval.high)
    assert np.mean(held) >= 0.93


def _claim(stability: float, faith: float, by_group: float = 0.0) -> tuple[bool | None, str]:
    """Return the claim of readings whose gains are these, more in one group than in the other."""
    keys = tuple(f"s{row:02d}" for row in range(30))
    sample, noise = Sample(keys, keys, (0, 1) * 15), np.random.default_rng(0).normal(0, 0.01, 30)
    readings = []
    sides = by_group * np.array([1.0, -1.0] * 15)
    for regime, height, effect in (("probe", stability, faith + sides), ("full", 0.0, 0 * sides)):
        where = {"regime": regime, "point": MATCHED}
        readings.append(Reading("excess", sample, height + noise * (height != 0), where))
        for refit_number in (1, 2, 3):
            of_refit = {**where, "refit": refit_number}
            readings.append(Reading("validation_auroc", sample, np.full(30, 0.8), of_refit))
            readings.append(
                Reading("delta_t", sample, effect + np.roll(noise, refit_number), of_refit)
            )
            left = {**where, "without": refit_number}
            readings.append(Reading("excess", sample, np.full(30, height), left))
    return claim_of(readings)


def test_a_claim_needs_both_gains_and_names_the_encoder() -> None:
    """If it fails, stability alone, which a shared trunk gives, supports the claim."""
    cases = {(0.2, 0.2): True, (0.2, 0.0): None, (0.2, -0.2): False, (-0.2, 0.2): False}
    for (stability, faith), wanted in cases.items():
        held, sentence = _claim(stability, faith)
        assert held is wanted
        assert "given this encoder" in sentence


def test_what_the_groups_differ_by_widens_no_interval() -> None:
    """If it fails, removal, which pulls both groups to the middle, can never show a gain."""
    assert _claim(0.2, 0.2, by_group=2.0)[0] is True


def _write_experiments(folder: Path, trial: Trial, refits: int) -> None:
    encoder, cohort = encoder_sha256(trial.classifier), trial.cohort
    cards = 0
    for regime in ("probe", "full"):
        for number in range(1, refits + 1):
            cards += 1
            recipe = RegimeRecipe(regime, epochs=2, refit=number)  # type: ignore[arg-type]
            trained = train(trial.classifier, cohort, recipe)
            card: ExperimentCard = build_card(cards, recipe=recipe)
            network = trained.classifier
            changed = card.updated(
                {
                    "model": card.model.model_copy(
                        update={"encoder_sha256": encoder, "weights_sha256": network.weights_sha256}
                    ),
                    "cohort": card.cohort.model_copy(update={"fingerprint": cohort.fingerprint}),
                    "course": CourseEntry(epochs=trained.epochs, best=trained.best_epoch),
                }
            )
            place = folder / card.id
            place.mkdir(parents=True)
            safetensors.torch.save_file(dict(network.state_dict()), place / "weights.safetensors")
            write_card(place, changed)


def test_experiments_are_taken_as_refits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, networks that a user trained are trained once more, or mistaken for others."""
    trial = build_trial(Saliency())
    _write_experiments(tmp_path, trial, 3)
    config = CONFIG.model_copy(update={"experiments": str(tmp_path), "copies": 0})
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.trial.refits.train", None)
        found = best_refits(trial, config)
    assert {regime: len(refits) for regime, refits in found.by_regime.items()} == {
        "probe": 3,
        "full": 3,
    }
    assert "last_stage" in found.left_out
    remark = str(PROTOCOL.remark(TrainingRegime(config).readings(trial)))
    assert "pretraining of the encoder: undeclared" in remark
    assert "last_stage left out" in remark
    trained = found.by_regime["full"][1]
    assert trained.recipe.refit == 2
    assert _auroc(trial, trained.classifier) == pytest.approx(trained.auroc)
    other = build_trial(Saliency(), classifier=build_classifier(seed=4))
    with pytest.raises(NotAssessableError, match="0 of 'probe' and 0 of 'full'"):
        best_refits(other, config)
    (tmp_path / "EXP-001" / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match="cannot be read"):
        best_refits(trial, config)
    with pytest.raises(StoreError, match="There is no folder"):
        best_refits(trial, CONFIG.model_copy(update={"experiments": str(tmp_path / "none")}))


def test_what_lies_in_a_folder_of_experiments_is_part_of_the_identity(tmp_path: Path) -> None:
    """If it fails, a score of other networks is taken from the store."""
    protocol = TrainingRegime(CONFIG.model_copy(update={"experiments": str(tmp_path)}))
    before = protocol.settings({})
    (tmp_path / "EXP-001").mkdir()
    write_card(tmp_path / "EXP-001", build_card(1))
    assert protocol.settings({}) != before


def test_a_cohort_without_training_split_has_no_refits() -> None:
    """If it fails, a user without training images meets a traceback."""
    with pytest.raises(NotAssessableError, match="no refits"):
        PROTOCOL.readings(build_trial(Saliency(), cohort_of().select("test")))
