"""Training by recipe, the probe, and weights that are what their card says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from trials import RECIPE, cohort_of, trained

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import ClassifierError
from benchmark.plugins.examples import build_classifier, build_cohort
from benchmark.training import (
    Recipe,
    fine_tune,
    fit_probe,
    load_weights,
    permuted,
    recipe_card,
    save_weights,
    train_from_scratch,
)


def _accuracy(classifier: Classifier, cohort: Cohort) -> float:
    logits, _ = classifier(torch.from_numpy(cohort.images))
    return float((logits.argmax(1).numpy() == cohort.groups).mean())


def test_fine_tuning_learns_and_leaves_the_original_alone() -> None:
    """If it fails, recipes train nothing, or train what they were given."""
    start = build_classifier()
    before = start.weights_sha256
    student = fine_tune(start, cohort_of(), RECIPE)
    assert _accuracy(student, cohort_of().select("test")) > 0.9
    assert start.weights_sha256 == before
    assert not student.training
    assert not any(parameter.requires_grad for parameter in student.parameters())


def test_the_same_seed_trains_the_same_network() -> None:
    """If it fails, a recipe does not describe its weights."""
    recipe = Recipe(epochs=2, batch_size=4)
    networks = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        networks.append(train_from_scratch(build_classifier(), cohort_of(), recipe, seed=3))
    other = train_from_scratch(build_classifier(), cohort_of(), recipe, seed=4)
    assert networks[0].weights_sha256 == networks[1].weights_sha256
    assert other.weights_sha256 != networks[0].weights_sha256


def test_progress_is_told_after_each_epoch() -> None:
    """If it fails, training looks stuck."""
    told: list[tuple[int, int]] = []
    fine_tune(
        build_classifier(),
        cohort_of(),
        Recipe(epochs=3, batch_size=8),
        progress=lambda epoch, epochs, _: told.append((epoch, epochs)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_probe_is_the_regression_it_was_fitted_as() -> None:
    """If it fails, folding the scaling into the head changed the model."""
    probed = fit_probe(build_classifier(seed=1), cohort_of(), batch_size=5)
    train, test = cohort_of().select("train"), cohort_of().select("test")
    features = [probed(torch.from_numpy(part.images))[1].numpy() for part in (train, test)]
    features = [part.astype(np.float64) for part in features]
    mean, spread = features[0].mean(0), features[0].std(0)
    spread = np.where(spread > 0, spread, 1)
    reference = LogisticRegression(max_iter=5_000).fit((features[0] - mean) / spread, train.groups)
    logits = probed(torch.from_numpy(test.images))[0].numpy()
    expected = reference.decision_function((features[1] - mean) / spread)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_weights_come_back_as_they_were_saved(tmp_path: Path) -> None:
    """If it fails, a committed model is not the trained one."""
    network = trained()
    path = save_weights(network, tmp_path, recipe_card(RECIPE, cohort_of(), 0))
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == network.weights_sha256
    assert card["recipe"]["epochs"] == RECIPE.epochs
    loaded = load_weights(build_classifier(seed=9), path)
    assert loaded.weights_sha256 == network.weights_sha256


def test_weights_in_another_network_than_they_were_trained_in_are_refused(tmp_path: Path) -> None:
    """If it fails, an edit of a reference network keeps the scores that it had before."""
    path = save_weights(trained(), tmp_path, {})
    edited = build_classifier()
    edited.trunk[1].relu = nn.Tanh()
    with pytest.raises(ClassifierError, match="another network than the weights"):
        load_weights(edited, path)


def test_other_weights_than_the_card_names_are_refused(tmp_path: Path) -> None:
    """If it fails, scores are filed under weights that nobody has."""
    path = save_weights(trained(), tmp_path, {})
    save_weights(build_classifier(seed=5), tmp_path / "other", {})
    (tmp_path / "other" / "tiny.safetensors").replace(path)
    with pytest.raises(ClassifierError, match="but their card names"):
        load_weights(build_classifier(), path)


def test_damaged_or_foreign_weights_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """If it fails, a truncated download ends in a traceback."""
    path = save_weights(trained(), tmp_path, {})
    with pytest.raises(ClassifierError, match="do not fit the architecture"):
        load_weights(build_classifier(dimensions=3), path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ClassifierError, match="cannot be read"):
        load_weights(build_classifier(), path)
    with pytest.raises(ClassifierError, match="cannot be read"):
        load_weights(build_classifier(), tmp_path / "absent.safetensors")


def test_training_looks_at_the_training_split_alone() -> None:
    """If it fails, the test split leaks into the model."""
    cohort = build_cohort(subjects=24)
    altered = build_cohort(subjects=24)
    elsewhere = (altered.participants["split"] != "train").to_numpy()
    altered.images[elsewhere] = 0.5 + 0.1 * altered.images[elsewhere]
    recipe = Recipe(epochs=2, batch_size=4)
    first, second = (fine_tune(build_classifier(), one, recipe) for one in (cohort, altered))
    assert first.weights_sha256 == second.weights_sha256


def test_labels_of_several_images_of_a_subject_can_be_permuted() -> None:
    """If it fails, no memorised copy can be trained on a cohort with visits."""
    cohort = build_cohort(subjects=24, visits=2)
    shuffled = permuted(cohort, seed=0)
    assert sorted(shuffled.groups) == sorted(cohort.select("train").groups)
    assert (shuffled.participants.groupby("subject")["group"].nunique() > 1).any()
