"""The trial: what is shared, what is counted, and what must not depend on batches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import fakes
import numpy as np
import pytest
import torch
from torch import Tensor
from trials import MemoryArchive, build_trial, cohort_of, trained

from baselines.explainers.class_activation import GradCAM
from baselines.explainers.controls import Oracle, Random
from baselines.explainers.gradient import Saliency
from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import Classifier
from benchmark.cohort import Batch
from benchmark.errors import AttributionError, NotAssessableError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.plugins.examples import build_cohort
from benchmark.running.device import reproducible
from benchmark.target import Margin, Target
from benchmark.training.threads import torch_threads
from benchmark.trial import Memory
from benchmark.trial.outputs import Evaluation


class WritesThroughData(Explainer):
    """Changes a weight behind autograd's back, where no version counter sees it."""

    name = "writes_through_data"

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the images."""
        classifier.head.weight.data.add_(1e-3)
        return images.clone()


def test_maps_and_embeddings_are_made_once() -> None:
    """If it fails, two protocols pay twice for the same maps."""
    trial = build_trial(GradCAM())
    first, before = trial.attributions, trial.passes.snapshot()
    again, _ = trial.attributions, trial.evaluation
    after_evaluation = trial.passes.snapshot()
    _ = trial.evaluation
    assert torch.equal(first, again)
    filled = -(-len(trial.test) // trial.lane) * trial.lane
    assert after_evaluation.since(before).forward == filled
    assert trial.passes.since(after_evaluation).forward == 0


def test_an_archive_saves_the_passes_of_a_second_process() -> None:
    """If it fails, a finished run explains the same images again."""
    archive = MemoryArchive()
    first = build_trial(Saliency(), archive=archive)
    maps, logits = first.attributions, first.evaluation.logits
    second = build_trial(Saliency(), archive=archive)
    assert torch.equal(second.attributions, maps)
    np.testing.assert_array_equal(second.evaluation.logits, logits)
    assert (second.passes.forward, second.passes.backward) == (0, 0)


def test_archived_arrays_find_their_subject_in_another_order() -> None:
    """If it fails, a shuffled cohort is given the maps of other subjects."""
    archive, rng = MemoryArchive(), np.random.default_rng(0)
    first = build_trial(GradCAM(), archive=archive)
    order = rng.permutation(len(cohort_of()))
    second = build_trial(GradCAM(), cohort_of().take(order), archive=archive)
    of_first = dict(zip(first.test.keys, first.attributions, strict=True))
    for key, made in zip(second.test.keys, second.attributions, strict=True):
        assert torch.equal(made, of_first[key])
    assert second.passes.forward == 0


@pytest.mark.parametrize("lane", [8, 16])
def test_the_number_of_threads_shows_in_no_map(lane: int) -> None:
    """If it fails, one process and several workers measure other scores."""
    cohort = build_cohort((96, 96), subjects=64)
    trial = build_trial(Saliency(), cohort, SmallResNet().load(cohort.shape))
    drawn: list[Tensor] = []
    for threads in (1, 2, 3):
        with torch_threads(threads):
            drawn.append(trial.draw(np.arange(16), lane=lane))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("explainer", [GradCAM(), Saliency(), Random()], ids=lambda one: one.name)
def test_a_map_is_the_same_to_the_bit_in_any_batch_and_order(explainer: Explainer) -> None:
    """If it fails, close ranks swap with the batch size, and scores move."""
    reference = build_trial(explainer)
    expected = dict(zip(reference.test.keys, reference.attributions, strict=True))
    order = np.random.default_rng(1).permutation(len(cohort_of()))
    for batch_size in (1, 7, 64):
        trial = build_trial(explainer, cohort_of().take(order), batch_size=batch_size)
        for key, made in zip(trial.test.keys, trial.attributions, strict=True):
            assert torch.equal(made, expected[key])


def test_writes_behind_autograds_back_are_found() -> None:
    """If it fails, a method can retrain the model it is asked to explain."""
    with pytest.raises(AttributionError, match="changed the network's weights"):
        _ = build_trial(WritesThroughData()).attributions


def test_a_write_that_one_draw_hides_is_found_by_the_next_that_is_kept() -> None:
    """If it fails, maps of another network are kept under the name of the one on trial."""
    trial = build_trial(GradCAM())
    _ = trial.maps(np.arange(2))
    trial.classifier.head.weight.data.add_(1e-3)
    with pytest.raises(AttributionError, match="changed the network's weights"):
        _ = trial.maps(np.arange(2, 4))


def test_maps_that_are_kept_cost_one_hash_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a draw hashes anew what names the network."""
    hashed: list[Classifier] = []

    def count(classifier: Classifier) -> str:
        hashed.append(classifier)
        sha256: str = original.fget(classifier)
        return sha256

    original = cast("Any", Classifier.weights_sha256)
    monkeypatch.setattr(Classifier, "weights_sha256", property(count))
    trial = build_trial(GradCAM())
    _ = trial.maps(np.arange(2))
    hashed.clear()
    _ = trial.maps(np.arange(2, 4))
    assert len(hashed) == 1


def test_a_control_without_truth_is_unsupported() -> None:
    """If it fails, a cohort without regions is scored against an oracle that knows nothing."""
    cohort = build_cohort(subjects=48, truth=False)
    bare = replace(cohort, anatomy=replace(cohort.anatomy, rois={}, control_rois={}))
    with pytest.raises(UnsupportedError, match="does not know where the truth lies"):
        _ = build_trial(Oracle(), bare).attributions


def test_what_the_anatomy_holds_is_for_controls_alone() -> None:
    """If it fails, a method may copy regions, the true change or an atlas into its map."""

    class Curious(Saliency):
        name = "curious"
        needs_references = True  # type: ignore[assignment]

        def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
            assert batch.references is not None
            assert (batch.regions, batch.change, batch.references.regions) == (None, None, None)
            return super().attribute_batch(classifier, batch, target)

    cohort = build_cohort(subjects=48)
    partnered = replace(cohort, partners=1 - cohort.images)
    assert build_trial(Curious(), partnered).maps(np.arange(2)).shape[0] == 2


def test_a_random_copy_counts_into_the_same_counter() -> None:
    """If it fails, the passes of the null go unreported."""
    trial = build_trial(GradCAM())
    copy = trial.randomised(0)
    before = trial.passes.snapshot()
    _ = copy.attributions
    assert trial.passes.since(before).forward >= len(trial.test)
    assert copy.model_identity != trial.model_identity
    assert trial.randomised(0).classifier is copy.classifier
    assert trial.randomised(1).model_identity != copy.model_identity


def test_projections_separate_the_groups_by_their_distance() -> None:
    """If it fails, T_w is not T on unaltered images."""
    evaluation = build_trial(GradCAM()).evaluation
    in_a = evaluation.groups == 0
    difference = evaluation.projections[in_a].mean() - evaluation.projections[~in_a].mean()
    assert difference == pytest.approx(evaluation.group_distance)
    assert np.linalg.norm(evaluation.direction) == pytest.approx(1)
    np.testing.assert_allclose(evaluation.probabilities.sum(1), 1)
    odds = np.log(evaluation.own_probability / (1 - evaluation.own_probability))
    np.testing.assert_allclose(odds, evaluation.own_margin, rtol=1e-6)


def test_a_model_that_embeds_both_groups_alike_is_not_assessable() -> None:
    """If it fails, a division by zero decides."""
    evaluation = Evaluation(np.zeros((4, 2)), np.ones((4, 3)), np.array([0, 0, 1, 1]))
    with pytest.raises(NotAssessableError, match="embeds both groups alike"):
        _ = evaluation.direction


def test_one_group_alone_is_not_assessable() -> None:
    """If it fails, the mean of nothing is taken."""
    evaluation = Evaluation(np.zeros((4, 2)), np.ones((4, 3)), np.zeros(4, dtype=np.int64))
    with pytest.raises(NotAssessableError, match="only one of the two groups"):
        _ = evaluation.group_distance


@pytest.mark.gpu
def test_scores_on_the_gpu_are_those_of_the_cpu() -> None:
    """If it fails, the board depends on where it was computed."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")

    trial = build_trial(GradCAM())
    runtime = replace(trial.runtime, device=torch.device("cuda"))
    on_gpu = replace(trial, classifier=trained().copy().cuda(), runtime=runtime, memory=Memory())
    with reproducible():
        torch.testing.assert_close(on_gpu.attributions, trial.attributions, rtol=1e-3, atol=1e-5)
        logits = on_gpu.evaluation.logits
    np.testing.assert_allclose(logits, trial.evaluation.logits, rtol=1e-3, atol=1e-3)


def test_references_come_from_the_training_split_and_only_to_those_that_ask() -> None:
    """If it fails, a path method starts elsewhere, or on test images."""
    cohort = cohort_of()
    train = cohort.select("train")
    references = cohort.references
    wanted = train.images.mean(0, dtype=np.float64)
    np.testing.assert_allclose(references.mean[0].numpy(), wanted, atol=1e-6)
    own = train.images[train.groups == 0]
    assert {one.numpy().tobytes() for one in references.group} <= {one.tobytes() for one in own}
    compared = build_trial(fakes.Compared())
    expected = torch.from_numpy(compared.test.images) - references.mean
    torch.testing.assert_close(compared.attributions, expected)
    with pytest.raises(AssertionError):
        fakes.Compared().attribute_batch(trained(), cohort.batch(np.arange(2)), Margin(0, 1))


def test_references_are_the_same_in_any_order_and_part_of_the_maps_identity() -> None:
    """If it fails, maps of other references are taken from the archive."""
    cohort = cohort_of()
    order = np.random.default_rng(3).permutation(len(cohort))
    assert cohort.take(order).references.sha256 == cohort.references.sha256
    trial = build_trial(fakes.Compared())
    assert cohort.references.sha256 in trial.explainer_identity
    assert "references" not in build_trial(GradCAM()).explainer_identity


def test_an_altered_cohort_is_compared_with_the_references_of_the_first() -> None:
    """If it fails, planting a signal moves the baseline, and with it the map."""
    trial = build_trial(fakes.Compared())
    train = trial.cohort.select("train")
    darker = replace(trial.cohort, images=trial.cohort.images / 2)
    assert trial.on(cohort=darker).references is trial.cohort.references
    assert darker.references.sha256 != trial.cohort.references.sha256
    assert train.references.sha256 == trial.cohort.references.sha256


def test_forgotten_maps_are_drawn_anew_on_every_model_and_cohort() -> None:
    """If it fails, a run of many methods holds all their maps at once."""
    drawn: list[int] = []

    class Counted(Saliency):
        def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
            if len(images) > 1:  # a single one is the question whether maps depend on their batch
                drawn.append(len(images))
            return super().attribute(classifier, images, target)

    trial = build_trial(Counted())
    altered = trial.on(cohort=replace(cohort_of(), name="altered", images=cohort_of().images / 2))
    trials = (trial, trial.randomised(0), altered)
    for each in trials:
        _ = each.attributions
    once = len(drawn)
    for each in trials:
        _ = each.attributions
    assert len(drawn) == once
    trial.forget_maps()
    for each in trials:
        _ = each.attributions
    assert len(drawn) == 2 * once
