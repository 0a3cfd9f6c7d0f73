"""Controls look at the batch alone, and each is the plain thing that its name says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from trials import build_trial

from baselines.explainers.controls import (
    Atlas,
    Centre,
    Intensity,
    Oracle,
    Random,
    SmoothNoise,
    Sobel,
    TrueChange,
    TrueDeviation,
)
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.cohort import Batch, Cohort
from benchmark.errors import AttributionError, UnsupportedError
from benchmark.explainer import Control
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, build_classifier, build_cohort
from benchmark.target import Target, own_margin

BLIND = (Random(), SmoothNoise(), Centre(), Intensity(), Sobel())
CONTROLS = (*BLIND, Atlas(), Oracle(), TrueChange(), TrueDeviation())


def batch_of(cohort: Cohort, *rows: int) -> Batch:
    return replace(cohort.batch(np.array(rows)), references=cohort.references)


@pytest.fixture(params=[SHAPE_2D, SHAPE_3D], ids=["2-D", "3-D"])
def cohort(request: pytest.FixtureRequest) -> Cohort:
    plain = build_cohort(request.param, subjects=12)
    # The other group's anatomy: here, for what a control draws, whatever lies in the regions.
    partners = np.where(plain.regions, 1 - plain.images, plain.images)
    return replace(plain, partners=partners, normals=partners)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_every_control_passes_the_gate_without_a_pass_through_the_model(
    control: Control, cohort: Cohort
) -> None:
    """If it fails, a control breaks an explainer's contract or looks at the model."""
    classifier = build_classifier(len(cohort.shape))
    batch = batch_of(cohort, 0, 1, 2)
    maps = control(classifier, batch, own_margin(0))
    assert maps.shape == batch.images.shape
    assert maps.dtype == torch.float32
    assert (classifier.passes.forward, classifier.passes.backward) == control.passes == (0, 0)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_an_image_has_the_same_map_in_any_batch(control: Control, cohort: Cohort) -> None:
    """If it fails, a subject's chance level depends on its neighbours or its place."""
    together, alone = control.draw(batch_of(cohort, 4, 2, 7)), control.draw(batch_of(cohort, 7))
    assert torch.equal(together[2:], alone)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_controls_are_drawn_on_the_device_of_the_batch(control: Control, cohort: Cohort) -> None:
    """If it fails, a control fails wherever there is an accelerator."""
    # The device "meta" computes shapes only, and refuses to mix with the host as any other does.
    batch = replace(cohort.batch(np.arange(2), "meta"), references=cohort.references.to("meta"))
    assert control.draw(batch).device.type == "meta"


def test_noise_is_uniform_and_each_image_has_its_own(cohort: Cohort) -> None:
    """If it fails, chance is not chance: noise is skewed or shared between subjects."""
    noise = Random().draw(batch_of(cohort, 0, 1)).flatten(1)
    assert float(noise.min()) >= 0
    assert float(noise.max()) < 1
    assert abs(float(noise.mean()) - 0.5) < 0.03
    assert abs(float(np.corrcoef(noise.numpy())[0, 1])) < 0.15


def test_the_centre_has_the_foregrounds_centroid_and_width() -> None:
    """If it fails, the map is centred on the image instead of the organ."""
    cohort = build_cohort()
    foreground = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    foreground[..., 2:9, 10:21] = True  # 7 × 11 pixels round (5, 15)
    batch = replace(batch_of(cohort, 0), foreground=foreground)
    drawn = Centre().draw(batch)[0, 0]
    assert float(drawn[5, 15]) == float(drawn.max()) == 1
    assert float(drawn[2, 15]) == float(drawn[8, 15])
    rows, columns = (length**2 - 1 for length in (7, 11))  # 12 × the variance of a uniform
    assert float(drawn[8, 15]) == pytest.approx(np.exp(-(3**2) / (2 * rows / 12)))
    assert float(drawn[5, 18]) == pytest.approx(np.exp(-(3**2) / (2 * columns / 12)))


def test_the_centre_of_a_foreground_of_one_pixel_is_finite() -> None:
    """If it fails, a degenerate foreground gives NaN in place of a map."""
    foreground = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    foreground[..., 3, 4] = True
    drawn = Centre().draw(replace(batch_of(build_cohort(), 0), foreground=foreground))
    assert torch.isfinite(drawn).all()
    assert int(drawn.argmax()) == 3 * 24 + 4


def test_intensity_is_a_copy_of_the_image(cohort: Cohort) -> None:
    """If it fails, whoever rescales the map rescales the image."""
    batch = batch_of(cohort, 0, 1)
    drawn = Intensity().draw(batch)
    assert torch.equal(drawn, batch.images)
    assert drawn.data_ptr() != batch.images.data_ptr()


def test_sobel_is_scipys_gradient_magnitude(cohort: Cohort) -> None:
    """If it fails, "edges" are something else than the Sobel operator's."""
    batch = batch_of(cohort, 0, 1)
    drawn = Sobel().draw(batch)
    for image, edges in zip(batch.images[:, 0], drawn[:, 0], strict=True):
        expected = ndimage.generic_gradient_magnitude(
            image.double().numpy(), ndimage.sobel, mode="nearest"
        )
        np.testing.assert_allclose(edges.numpy(), expected, atol=1e-5)


def test_the_image_border_is_no_edge(cohort: Cohort) -> None:
    """If it fails, the border of a bright image outranks everything inside it."""
    flat = replace(batch_of(cohort, 0), images=torch.full((1, 1, *cohort.shape), 0.7))
    assert float(Sobel().draw(flat).max()) == pytest.approx(0, abs=1e-5)


def test_the_oracle_is_the_truth(cohort: Cohort) -> None:
    """If it fails, the best possible map is not the best, and health checks mislead."""
    batch = batch_of(cohort, 0, 1)
    assert batch.truth is not None
    assert torch.equal(Oracle().draw(batch), batch.truth.float())
    assert Oracle().supports_cohort(True) is None


def test_without_truth_the_oracle_says_why_it_is_missing() -> None:
    """If it fails, a cohort without truth gets a made-up oracle or a crash."""
    assert Oracle().supports_cohort(False) == "the cohort does not know where the truth lies"
    batch = replace(batch_of(build_cohort(truth=False), 0), regions=None)
    with pytest.raises(UnsupportedError, match="'oracle' needs a cohort that knows the truth"):
        Oracle().draw(batch)


def test_regions_stand_in_for_a_truth_that_is_not_known() -> None:
    """If it fails, real patients' images have no map that knows where to look."""
    batch = batch_of(build_cohort(truth=False), 0, 1)
    assert batch.truth is None
    assert batch.regions is not None
    assert torch.equal(Oracle().draw(batch), batch.regions.float())


def test_the_atlas_is_the_mean_of_the_training_masks_on_the_grid_as_it_is() -> None:
    """If it fails, the atlas knows the image that it explains, or a map that it is not."""
    cohort = build_cohort(subjects=12)
    train = cohort.select("train")
    assert train.regions is not None
    drawn = Atlas().draw(batch_of(cohort, 0, 5))
    np.testing.assert_allclose(drawn[0].numpy(), train.regions.mean(0), atol=1e-6)
    assert torch.equal(drawn[0], drawn[1])
    assert "no region" in str(Atlas().supports_cohort(False))


def test_the_true_change_is_what_the_partner_has_differently(cohort: Cohort) -> None:
    """If it fails, the graded truth is not the truth, or a cohort without partners gets one."""
    drawn = TrueChange().draw(batch_of(cohort, 0, 1)).numpy()
    assert cohort.partners is not None
    np.testing.assert_array_equal(drawn, np.abs(cohort.images[:2] - cohort.partners[:2]))
    bare = replace(cohort, partners=None)
    with pytest.raises(UnsupportedError, match="'true_change' needs images that have partners"):
        TrueChange().draw(batch_of(bare, 0))


def test_the_true_deviation_is_signed_and_named_by_the_normals(cohort: Cohort) -> None:
    """If it fails, a map has no sign that follows the volume, or maps of other normals are kept."""
    control = TrueDeviation()
    assert control.polarity == "absolute"
    drawn = control.draw(batch_of(cohort, 0, 1)).numpy()
    assert cohort.normals is not None
    np.testing.assert_array_equal(drawn, cohort.images[:2] - cohort.normals[:2])
    trial = build_trial(control, cohort, build_classifier(len(cohort.shape)))
    assert torch.equal(trial.attributions[0], torch.from_numpy(trial.test.deviation)[0])
    others = replace(cohort, normals=cohort.images)
    assert others.fingerprint == cohort.fingerprint
    other = build_trial(control, others, build_classifier(len(cohort.shape)))
    assert other.explainer_identity != trial.explainer_identity
    bare = replace(cohort, normals=None)
    with pytest.raises(UnsupportedError, match="'true_deviation' needs each subject's image at"):
        control.draw(batch_of(bare, 0))


def test_methods_do_not_see_the_normals(cohort: Cohort) -> None:
    """If it fails, a method can be told the truth that it is judged by."""

    class Spy(Saliency):
        name = "spy"

        def attribute_batch(self, classifier: Classifier, batch: Batch, target: Target) -> Tensor:
            assert batch.deviation is batch.change is batch.regions is None
            return super().attribute_batch(classifier, batch, target)

    assert len(build_trial(Spy(), cohort, build_classifier(len(cohort.shape))).attributions)


def test_smooth_noise_is_smooth_and_each_image_has_its_own(cohort: Cohort) -> None:
    """If it fails, no control has the grain of a class activation map."""
    noise = SmoothNoise().draw(batch_of(cohort, 0, 1)).numpy()[:, 0]
    along = [np.corrcoef(field[..., 1:].ravel(), field[..., :-1].ravel())[0, 1] for field in noise]
    assert min(along) > 0.9
    assert noise.min() > 0
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.5


@pytest.mark.parametrize("control", BLIND, ids=lambda control: control.name)
def test_other_controls_need_no_truth(control: Control) -> None:
    """If it fails, a cohort without truth loses its chance level."""
    assert control.supports_cohort(False) is None


def test_a_control_refuses_to_explain_a_model() -> None:
    """If it fails, a control without a batch returns something instead of saying so."""
    classifier = build_classifier()
    with pytest.raises(AttributionError, match="'random' explains no model"):
        Random().attribute(classifier, torch.zeros(1, 1, *SHAPE_2D), own_margin(0))
