"""Validation: predictions, metrics, curves, and what is said of a missing signal."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict, replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from trials import cohort_of, trained

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError, CohortError
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_classifier, build_cohort
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.classification import Predicted
from benchmark.training.findings import Metric, Validation
from benchmark.training.learning_curve import (
    auroc_within_folds,
    cross_validate,
    cross_validate_probe,
    learning_curve,
)
from benchmark.training.predictions import Predictions, compare, predict
from benchmark.training.probe import logistic_regression, probe_margins
from benchmark.training.regimes import Epoch, RegimeRecipe
from benchmark.training.validation import STEPS, floor_reason, validate

PROBE, FULL = RegimeRecipe(), RegimeRecipe("full")


def _named(metrics: tuple[Metric, ...]) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


def _table(cohort: Cohort, **columns: object) -> Cohort:
    return replace(cohort, participants=cohort.participants.assign(**columns))


@lru_cache(maxsize=1)
def _toy() -> tuple[Cohort, Predictions, Predictions]:
    """Return a cohort with the predictions of a network before and after training on it."""
    cohort = cohort_of()
    return cohort, predict(build_classifier(), cohort), predict(trained(), cohort)


@lru_cache(maxsize=1)
def _validated() -> Validation:
    cohort, before, after = _toy()
    return validate(after, before, cohort, FULL)


@lru_cache(maxsize=1)
def _phantom() -> tuple[Cohort, Predictions]:
    """Return the first 200 subjects with the predictions of the reference network."""
    cohort = Catalogue().cohorts.find("phantom").create().load().take(np.arange(200))
    source = Catalogue().models.find("smallresnet").create()
    return cohort, predict(source.load(cohort.shape), cohort)


def test_predictions_do_not_depend_on_the_order_of_rows_or_the_batch() -> None:
    """If it fails, two experiments on one cohort cannot be compared image by image."""
    cohort, _, after = _toy()
    order = np.random.default_rng(0).permutation(len(cohort))
    other = predict(trained(), cohort.take(order), batch_size=7)
    assert after.keys == tuple(sorted(cohort.keys)) == other.keys
    assert (after.subjects, after.splits) == (other.subjects, other.splits)
    np.testing.assert_array_equal(after.groups, other.groups)
    np.testing.assert_allclose(after.logits, other.logits, rtol=1e-4, atol=1e-5)


def test_logits_that_are_not_finite_are_refused_with_the_image() -> None:
    """If it fails, a diverged training is validated as one that is merely bad."""
    classifier = build_classifier()
    with torch.no_grad():
        classifier.head.bias[1] = torch.nan
    with pytest.raises(ClassifierError, match=r"logits that are not finite for 48 of 48 .*'s000'"):
        predict(classifier, cohort_of())


def test_a_validation_holds_what_a_reviewer_asks_for() -> None:
    """If it fails, a card lacks a number that a journal wants."""
    steps: list[str] = []
    cohort, before, after = _toy()
    validation = validate(after, before, cohort, FULL, steps.append)
    assert tuple(steps) == STEPS
    assert validation == _validated()
    assert [part.split for part in validation.splits] == ["train", "validation", "test"]
    test = validation.splits[-1]
    names = {f"{kind} of {group}" for kind in ("precision", "recall", "f1") for group in "AB"}
    names |= {"accuracy", "balanced accuracy", "auroc", "auprc", "log-loss", "brier score"}
    assert names <= set(_named(test.metrics))
    assert test.metric("auprc").chance == 0.5
    assert np.sum(test.confusion) == test.images == test.subjects == 24
    assert sum(images for _, _, images in test.calibration) == 24
    assert test.roc[0] == (0.0, 0.0)
    assert test.roc[-1] == (1.0, 1.0)
    assert len(validation.folds) == 5
    points = validation.embedding["after"]["pca"]
    assert len(points) == len(validation.embedding_groups) == 24
    # A card is strict JSON: no NaN, no array, no tuple that JSON lacks.
    assert json.dumps(asdict(validation), allow_nan=False)


def test_the_reference_network_has_a_signal_and_permuted_labels_have_none() -> None:
    """If it fails, maps are drawn of a head that points anywhere, or good ones are withheld."""
    cohort, predictions = _phantom()
    validation = validate(predictions, predictions, cohort, PROBE, with_umap=False)
    assert not validation.floor
    assert not [sentence for sentence in validation.warnings if sentence.startswith("floor")]
    labels = np.random.default_rng(0).permutation(cohort.groups)
    lost = _table(cohort, group=labels)
    order = np.argsort(np.array(cohort.keys))
    unlearned = replace(predictions, groups=labels[order])
    reason = floor_reason(cross_validate_probe(unlearned, lost.group_names).metrics)
    assert reason is not None
    assert "AUROC" in reason


def test_training_of_the_trunk_is_judged_by_the_trained_network() -> None:
    """If it fails, a network that has learned is called blind for where it started."""
    cohort, before, after = _toy()
    noise = np.random.default_rng(0).normal(size=before.embeddings.shape)
    blind = replace(before, embeddings=noise)
    learned = validate(after, blind, cohort, FULL)
    assert not learned.floor
    assert "hardly carried the groups before training" in learned.warnings[0]
    probed = validate(after, blind, cohort, PROBE)
    assert probed.floor
    assert probed.warnings[0].startswith("floor: the embedding hardly carries the groups: ")
    margins = np.random.default_rng(1).normal(size=len(after))
    # A probe, too, may fail to find what the embedding carries.
    for recipe in (FULL, PROBE):
        failed = validate(after.with_margins(margins), after, cohort, recipe)
        assert failed.floor
        assert any("the trained network hardly tells" in sentence for sentence in failed.warnings)


def test_a_misplaced_threshold_is_not_called_noise() -> None:
    """If it fails, maps of a network with an AUROC near 1 are said to explain noise."""
    cohort, before, after = _toy()
    shifted = after.with_margins(after.margins + 1000)
    for recipe in (FULL, PROBE):
        validation = validate(shifted, before, cohort, recipe)
        assert not validation.floor
        (sentence,) = [each for each in validation.warnings if "the accuracy is 0.5" in each]
        assert sentence.startswith("the threshold of the trained network is misplaced")


def test_what_is_learned_too_quickly_is_suspected() -> None:
    """If it fails, a leak that is learned at once passes for a good network."""
    cohort = build_cohort(subjects=120)
    outputs = predict(build_classifier(), cohort)
    # Part of the embedding is the label, as a burnt-in marker would make it.
    marks = np.repeat(outputs.groups[:, None], 20, axis=1)
    leaking = replace(outputs, embeddings=np.hstack([outputs.embeddings, marks]))
    early, late = ([Epoch(number, 0.5, 0.5, 1.0, 1.0)] for number in (2, 4))
    told = validate(outputs, leaking, cohort, FULL, epochs=early, with_umap=False).warnings
    assert any("10% of the training subjects" in sentence for sentence in told)
    assert any("after 2 epochs the AUROC" in sentence for sentence in told)
    noise = np.random.default_rng(0).normal(size=outputs.embeddings.shape)
    honest = replace(outputs, embeddings=noise)
    told = validate(outputs, honest, cohort, FULL, epochs=late, with_umap=False).warnings
    assert not any("10%" in sentence or "epoch" in sentence for sentence in told)
    # Four subjects to validate on prove nothing, whatever they say.
    toy, before, after = _toy()
    told = validate(after, before, toy, FULL, epochs=early).warnings
    assert not any("epoch" in sentence for sentence in told)


def test_predictions_of_another_cohort_are_refused() -> None:
    """If it fails, a card describes images that the network was never asked about."""
    cohort, before, after = _toy()
    with pytest.raises(CohortError, match=r"48 images of cohort 'tiny'.*but got 47"):
        validate(after.take(range(47)), before, cohort, PROBE)


def test_a_copied_image_stops_a_validation() -> None:
    """If it fails, a leak is a line in a table instead of an error."""
    cohort, before, after = _toy()
    images = np.array(cohort.images)
    images[3] = images[8]
    with pytest.raises(CohortError, match=r"'s003'.*'s008'.*are equal"):
        validate(after, before, replace(cohort, images=images), PROBE)


def test_a_split_without_a_group_has_gaps_and_the_curve_says_why() -> None:
    """If it fails, a cohort of cases to test on cannot be validated, or gets a made-up AUROC."""
    cohort, before, after = _toy()
    is_lost = (cohort.participants["split"] == "test").to_numpy() & (cohort.groups == 0)
    fewer = cohort.take(np.flatnonzero(~is_lost))
    rows = [row for row, key in enumerate(after.keys) if key in set(fewer.keys)]
    validation = validate(after.take(rows), before.take(rows), fewer, PROBE)
    test = _named(validation.splits[-1].metrics)
    assert test["auroc"].estimate is None
    assert test["accuracy"].estimate is not None
    assert validation.learning_curve == ()
    assert any("both groups in the test split" in sentence for sentence in validation.left_out)
    assert json.dumps(asdict(validation), allow_nan=False)


def test_the_learning_curve_rises_where_there_is_something_to_learn() -> None:
    """If it fails, the curve does not show what more subjects would bring."""
    generator = np.random.default_rng(0)
    count = 400
    groups = np.arange(count) % 2
    embeddings = generator.normal(size=(count, 30)) + 0.35 * groups[:, None]
    drawn = Predictions(
        keys=tuple(f"{row:03d}" for row in range(count)),
        subjects=tuple(f"{row:03d}" for row in range(count)),
        groups=groups,
        splits=("train",) * 200 + ("test",) * 200,
        logits=np.zeros((count, 2)),
        embeddings=embeddings,
    )
    points = learning_curve(drawn)
    assert [point.share for point in points] == [0.1, 0.2, 0.4, 0.7, 1.0]
    assert [point.subjects for point in points] == [20, 40, 80, 140, 200]
    assert [len(point.auroc) for point in points] == [5, 5, 5, 5, 1]
    means = [point.mean_auroc.estimate for point in points if point.mean_auroc]
    assert means == sorted(means)
    assert means[0] == pytest.approx(np.mean(points[0].auroc))
    # All subjects: the probe of the training itself.
    weight, bias = logistic_regression(embeddings[:200], groups[:200])
    right = ((embeddings[200:] @ weight + bias > 0) == groups[200:]).mean()
    assert points[-1].accuracy == (pytest.approx(right),)


def test_the_probe_of_many_features_is_the_same_optimum() -> None:
    """If it fails, wide embeddings are judged by another probe than narrow ones."""
    generator = np.random.default_rng(0)
    features, groups = generator.normal(size=(30, 70)), np.arange(30) % 2
    features[:, 3] = 0.1 + 0.2  # constant but for rounding
    others = generator.normal(size=(9, 70))
    others[:, 3] = features[0, 3]
    mean, spread = features.mean(0), features.std(0)
    spread[3] = 1.0
    plain = LogisticRegression(solver="lbfgs", tol=1e-10, max_iter=10_000)
    plain.fit((features - mean) / spread, groups)
    expected = plain.decision_function((others - mean) / spread)
    np.testing.assert_allclose(probe_margins(features, groups, others), expected, atol=1e-5)


def test_visits_of_a_subject_stay_on_one_side() -> None:
    """If it fails, a subject's second visit is predicted by its first one."""
    cohort = build_cohort(subjects=30, visits=3)
    asked: list[Cohort] = []

    def fit(fold: Cohort) -> Predictions:
        asked.append(fold)
        return predict(build_classifier(), fold)

    crossed = cross_validate(fit, cohort)
    assert len(asked) == 5
    tested = []
    for fold in asked:
        people = fold.participants.groupby("split")["subject"].unique()
        sides = [set(people[name]) for name in ("train", "validation", "test")]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 30
        assert all({0, 1} == set(fold.select(name).groups) for name in people.index)
        tested += sides[2]
    assert sorted(tested) == sorted(set(cohort.subjects))
    assert _named(crossed.metrics)["accuracy"].estimate is not None
    again = cross_validate(fit, cohort.take(np.random.default_rng(0).permutation(90)))
    assert again == crossed


def test_scores_of_two_models_are_never_compared() -> None:
    """If it fails, the fold that an image fell into counts as a sign of disease."""
    groups = np.array([0, 1] * 20)
    # The second fold's model sees everything far to one side, and orders it as well.
    fold = np.repeat([0, 1], 20)
    predicted = Predicted(groups, groups + 5.0 * fold)
    bootstrap = SubjectBootstrap([f"s{row:02d}" for row in range(40)], 200, groups)
    rows = [np.flatnonzero(fold == number) for number in (0, 1)]
    assert auroc_within_folds(predicted, rows, bootstrap).estimate == 1.0
    assert auroc_within_folds(predicted, [np.arange(40)], bootstrap).estimate == 0.75


def test_cross_validation_says_which_group_is_too_small() -> None:
    """If it fails, a traceback of scikit-learn is all that a user sees."""
    cohort = build_cohort(subjects=24)
    rows = np.append(np.flatnonzero(cohort.groups == 0), np.flatnonzero(cohort.groups)[:2])
    with pytest.raises(CohortError, match=r"three subjects of each group.*has 2 of B"):
        cross_validate(lambda fold: predict(build_classifier(), fold), cohort.take(rows))
    _, before, _ = _toy()
    kept = [row for row, group in enumerate(before.groups) if group == 0]
    with pytest.raises(CohortError, match="two subjects of each group"):
        cross_validate_probe(before.take([*kept, 1]), ("A", "B"))


def test_a_network_does_not_differ_from_itself() -> None:
    """If it fails, noise of the resampling passes for a difference."""
    _, _, after = _toy()
    comparison = compare(after, after)
    assert comparison.images == comparison.subjects == 24
    for difference in comparison.differences:
        assert (difference.estimate, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_a_difference_is_paired_over_the_subjects_that_both_have() -> None:
    """If it fails, two networks that differ clearly overlap, or the better one is named worse."""
    generator = np.random.default_rng(0)
    groups, ease = np.arange(200) % 2, generator.normal(size=200)
    names = tuple(f"{row:03d}" for row in range(200))
    margins = 2 * ease + 1.5 * groups
    first = Predictions(
        names, names, groups, ("test",) * 200, np.zeros((200, 2)), np.zeros((200, 1))
    )
    second = first.with_margins(margins + 0.8 * groups - 0.4)
    first = first.with_margins(margins)
    comparison = compare(first.take(range(190)), second.take(range(10, 200)))
    assert comparison.images == 180
    difference = _named(comparison.differences)["auroc"]
    sides = [_named(side)["auroc"] for side in (comparison.first, comparison.second)]
    assert difference.estimate == pytest.approx(sides[1].estimate - sides[0].estimate)
    assert difference.low > 0
    assert difference.high - difference.low < 0.7 * (sides[0].high - sides[0].low)
    with pytest.raises(CohortError, match="share images of the test split"):
        compare(first.take(range(90)), second.take(range(90, 200)))
    with pytest.raises(CohortError, match=r"differ about the test image '000'.*\('000', 0\)"):
        compare(first, replace(second, groups=1 - groups))


def test_principal_components_do_not_flip() -> None:
    """If it fails, the same network has two pictures."""
    cohort, _, after = _toy()
    order = np.random.default_rng(0).permutation(8)  # of the embedding's numbers
    shuffled = replace(after, embeddings=after.embeddings[:, order])
    constant = replace(after, embeddings=np.ones_like(after.embeddings))
    drawn = validate(shuffled, constant, cohort, FULL).embedding
    expected = _validated().embedding["after"]["pca"]
    np.testing.assert_allclose(drawn["after"]["pca"], expected, atol=1e-5)
    assert drawn["before"]["pca"] == [[0.0, 0.0]] * 24


def test_umap_is_drawn_with_a_seed_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, the picture changes with each call, or its absence goes unexplained."""
    settings: dict[str, object] = {}

    class Mapper:
        def __init__(self, **given: object) -> None:
            settings.update(given)

        def fit_transform(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, :2]

    cohort = build_cohort(subjects=96)
    outputs = predict(build_classifier(), cohort)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Mapper))  # type: ignore[arg-type]
    drawn = validate(outputs, outputs, cohort, PROBE)
    assert settings["n_jobs"] == 1
    assert isinstance(settings["random_state"], int)
    assert len(drawn.embedding["after"]["umap"]) == 48
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing = validate(outputs, outputs, cohort, PROBE)
    assert "umap" not in missing.embedding["after"]
    assert any("umap-learn is not installed" in sentence for sentence in missing.left_out)


def test_fewer_test_images_than_umap_needs_are_named() -> None:
    """If it fails, a picture of 24 points shows structure that is none."""
    if importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn is not installed")
    assert any("24 test images are too few" in sentence for sentence in _validated().left_out)


def test_a_classifier_is_as_it_was_after_it_is_asked() -> None:
    """If it fails, validating a network changes it."""
    classifier: Classifier = build_classifier()
    before = classifier.weights_sha256
    predict(classifier, cohort_of())
    assert classifier.weights_sha256 == before
    assert not classifier.training
