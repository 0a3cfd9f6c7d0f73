"""Class activation maps against their papers, against Captum and against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from images import build_images
from torch import Tensor, nn

from baselines.explainers.class_activation import (
    CAM,
    CAMAligned,
    GradCAM,
    GradCAMAligned,
    GradCAMPlusPlus,
    GradCAMPlusPlusAligned,
    HiResCAM,
    HiResCAMAligned,
    LayerCAM,
    LayerCAMAligned,
)
from benchmark.classifier import Classifier, PassCounter, PrefixMemory
from benchmark.explainer import Explainer
from benchmark.feature_grid import FeatureGrid, upsample, upsample_aligned
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, WIDTH, build_classifier, build_cohort
from benchmark.target import ClassLogit, Margin, Projection, Target

PLAIN = (CAM(), GradCAM(), GradCAMPlusPlus(), HiResCAM(), LayerCAM())
ALIGNED = (
    CAMAligned(),
    GradCAMAligned(),
    GradCAMPlusPlusAligned(),
    HiResCAMAligned(),
    LayerCAMAligned(),
)
TARGETS = (ClassLogit(1), Margin(0, 1), Projection(torch.linspace(-1, 1, WIDTH), sign=-1))

by_name = pytest.mark.parametrize("explainer", PLAIN + ALIGNED, ids=lambda one: one.name)
by_target = pytest.mark.parametrize("target", TARGETS, ids=lambda one: type(one).__name__)


@pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    return build_classifier(request.param)


def curved(classifier: Classifier) -> Classifier:
    """Return the classifier with a head that is not linear, so that gradients vary by image."""
    head = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, 2))
    return Classifier("curved", classifier.trunk, head, classifier.input_shape, CellPool())


class CellPool(nn.Module):
    """A pool that weighs cells unequally, so that gradients vary by cell."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the weighted mean over cells."""
        flat = maps.flatten(2)
        return (flat * torch.linspace(0.5, 2, flat.shape[-1]).to(flat)).mean(-1)


def plainly(values: Tensor) -> list[tuple[int, ...]]:
    return list(np.ndindex(*values.shape))


def gradcam_by_hand(maps: Tensor, gradient: Tensor) -> Tensor:
    result = torch.zeros_like(maps[0])
    for channel in range(len(maps)):
        weight = sum(gradient[channel][cell] for cell in plainly(maps[0])) / maps[0].numel()
        result += weight * maps[channel]
    return result


def gradcampp_by_hand(maps: Tensor, gradient: Tensor) -> Tensor:
    """Equation 19 of the paper with g² and g³ as the second and third derivatives."""
    result = torch.zeros_like(maps[0])
    for channel in range(len(maps)):
        total, weight = maps[channel].sum(), 0.0
        for cell in plainly(maps[0]):
            slope = float(gradient[channel][cell])
            denominator = 2 * slope**2 + float(total) * slope**3
            alpha = slope**2 / denominator if denominator else 0.0
            weight += alpha * max(slope, 0.0)
        result += weight * maps[channel]
    return result


def hirescam_by_hand(maps: Tensor, gradient: Tensor) -> Tensor:
    result = torch.zeros_like(maps[0])
    for channel in range(len(maps)):
        for cell in plainly(maps[0]):
            result[cell] += gradient[channel][cell] * maps[channel][cell]
    return result


def layercam_by_hand(maps: Tensor, gradient: Tensor) -> Tensor:
    result = torch.zeros_like(maps[0])
    for channel in range(len(maps)):
        for cell in plainly(maps[0]):
            result[cell] += max(float(gradient[channel][cell]), 0.0) * maps[channel][cell]
    return result


@by_target
@pytest.mark.parametrize(
    ("explainer", "by_hand"),
    [
        (GradCAM(), gradcam_by_hand),
        (GradCAMPlusPlus(), gradcampp_by_hand),
        (HiResCAM(), hirescam_by_hand),
        (LayerCAM(), layercam_by_hand),
    ],
    ids=["gradcam", "gradcampp", "hirescam", "layercam"],
)
def test_maps_follow_the_paper(
    classifier: Classifier,
    explainer: Explainer,
    by_hand: Callable[[Tensor, Tensor], Tensor],
    target: Target,
) -> None:
    """If it fails, a method is not the one that its name promises."""
    classifier = curved(classifier)
    images = build_images(2, classifier.input_shape)
    slow = classifier.copy().double()
    maps = slow.feature_maps(images.double()).requires_grad_()
    (gradient,) = torch.autograd.grad(target(*slow.tail(maps)).sum(), maps)
    cells = [by_hand(*pair) for pair in zip(maps.detach(), gradient, strict=True)]
    expected = upsample(torch.stack(cells)[:, None], classifier.input_shape)
    result = explainer.attribute(classifier, images, target).double()
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_gradcampp_gives_cells_without_a_denominator_no_weight() -> None:
    """If it fails, a zero denominator turns the whole map into NaN or infinity."""
    # One channel whose only non-zero cell is −2, and a gradient of one everywhere: 2 + 1 · (−2).
    trunk, pool, head = nn.Identity(), SumPool(), nn.Linear(1, 2)
    classifier = Classifier("negative", trunk, head, (3, 3), pool)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [0.0]]))
    images = torch.zeros(1, 1, 3, 3)
    images[0, 0, 1, 1] = -2
    result = GradCAMPlusPlus().attribute(classifier, images, ClassLogit(0))
    assert torch.equal(result, torch.zeros_like(images))


class SumPool(nn.Module):
    """Sum over cells."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the sum over cells."""
        return maps.flatten(2).sum(-1)


def test_gradcampp_survives_gradients_whose_square_leaves_float32() -> None:
    """If it fails, maps of large volumes, whose gradients are tiny, are all zero or NaN."""
    classifier = build_classifier()
    with torch.no_grad():
        classifier.get_parameter("head.weight").mul_(1e-25)
    result = GradCAMPlusPlus().attribute(classifier, build_images(2), ClassLogit(0))
    assert float(result.abs().max()) > 0
    assert torch.isfinite(result).all()


@by_target
def test_cam_takes_the_weights_of_the_head(classifier: Classifier, target: Target) -> None:
    """If it fails, CAM's weights are not those that a linear head gives the target."""
    head = classifier.head
    assert isinstance(head, nn.Linear)
    weights = {
        ClassLogit: head.weight[1],
        Margin: head.weight[0] - head.weight[1],
        Projection: -torch.linspace(-1, 1, WIDTH),
    }[type(target)]
    images = build_images(3, classifier.input_shape)
    cells = torch.einsum("k,bk...->b...", weights, classifier.feature_maps(images))
    expected = upsample(cells[:, None], classifier.input_shape)
    torch.testing.assert_close(CAM().attribute(classifier, images, target), expected)


@by_target
def test_gradcam_is_cam_on_a_linear_head(classifier: Classifier, target: Target) -> None:
    """If it fails, one of the two is wrong: behind average pooling they differ by a factor."""
    images = build_images(3, classifier.input_shape)
    cells = classifier.feature_maps(images)[0, 0].numel()
    cam = CAM().attribute(classifier, images, target)
    gradcam = GradCAM().attribute(classifier, images, target)
    torch.testing.assert_close(gradcam * cells, cam, rtol=1e-4, atol=1e-6)


@by_target
def test_hirescam_is_gradcam_on_a_linear_head(classifier: Classifier, target: Target) -> None:
    """If it fails, one of the two is wrong: behind average pooling every cell has one weight."""
    images = build_images(3, classifier.input_shape)
    gradcam = GradCAM().attribute(classifier, images, target)
    hirescam = HiResCAM().attribute(classifier, images, target)
    torch.testing.assert_close(hirescam, gradcam, rtol=1e-4, atol=1e-6)


@by_target
def test_hirescam_adds_up_to_what_a_linear_tail_makes_of_the_maps(target: Target) -> None:
    """If it fails, cells carry what is not theirs; Grad-CAM's mean over cells does."""
    # As many cells as pixels, so that the map is the cells.
    trunk = nn.Sequential(nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU())
    classifier = Classifier("cells", trunk, nn.Linear(WIDTH, 2), SHAPE_2D, CellPool())
    with torch.no_grad():
        classifier.get_parameter("head.bias").zero_()
    images = build_images(3)
    maps, wanted = HiResCAM().attribute(classifier, images, target), target(*classifier(images))
    torch.testing.assert_close(maps.flatten(1).sum(1), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [GradCAM, HiResCAM, LayerCAM, GradCAMPlusPlus, GradCAMAligned])
def test_a_suite_may_choose_an_earlier_layer(classifier: Classifier, kind: type[Explainer]) -> None:
    """If it fails, the maps of another layer are weighed than the suite says."""
    images = build_images(3, classifier.input_shape)
    earlier = kind(layer="stem")  # type: ignore[call-arg]
    rest = nn.Sequential(classifier.trunk.get_submodule("block"), classifier.pool)
    by_hand = Classifier(
        "by hand",
        nn.Sequential(classifier.trunk.get_submodule("stem")),
        classifier.head,
        classifier.input_shape,
        rest,
    )
    result = earlier.attribute(classifier, images, Margin(0, 1))
    torch.testing.assert_close(result, kind().attribute(by_hand, images, Margin(0, 1)))
    assert not torch.allclose(result, kind().attribute(classifier, images, Margin(0, 1)))
    assert earlier.config == {"layer": "stem"}
    assert kind().config == {"layer": "last"}
    assert classifier.feature_grid.step != classifier.cut("stem").feature_grid.step
    torch.testing.assert_close(classifier.cut("stem")(images)[0], classifier(images)[0])


def test_a_layer_that_is_not_there_is_named_with_those_that_are() -> None:
    """If it fails, a misspelt layer ends in a traceback."""
    assert GradCAM(layer="stm").supports(build_classifier()) == (
        "it has no layer 'stm'; known: stem, block"
    )
    single = flat_model((8,))
    assert "not a sequence of layers" in str(GradCAM(layer="stem").supports(single))
    assert "global average pooling" in str(CAM(layer="stem").supports(build_classifier()))


def test_a_cut_copy_resumes_behind_what_it_shares_with_another() -> None:
    """If it fails, a cut model takes activations from behind its own feature maps."""
    classifier, images = build_classifier(), build_images(2)
    resumed = classifier.copy()
    resumed.resume_after(1, PrefixMemory())
    for layer in ("stem", "block"):
        wanted = classifier.cut(layer).feature_maps(images)
        torch.testing.assert_close(resumed.cut(layer).feature_maps(images), wanted)


@by_target
def test_gradcam_is_captums(classifier: Classifier, target: Target) -> None:
    """If it fails, our Grad-CAM is not the one that others publish with."""
    classifier = curved(classifier)
    images = build_images(3, classifier.input_shape)
    layer = classifier.trunk.get_submodule("block")
    captum = LayerGradCam(lambda some: target(*classifier(some)), layer)
    expected = captum.attribute(images.clone().requires_grad_()).detach()
    result = GradCAM().attribute(classifier, images, target)
    torch.testing.assert_close(result, upsample(expected, images.shape[2:]), rtol=1e-4, atol=1e-6)


@by_name
def test_maps_pass_the_gate_and_cost_no_backward_pass(explainer: Explainer) -> None:
    """If it fails, a CAM touches the network, or goes through it more often than it says."""
    for shape in (SHAPE_2D, SHAPE_3D):
        classifier = build_classifier(len(shape))
        batch = build_cohort(shape, subjects=6).batch(np.arange(4))
        maps = explainer(classifier, batch, Margin(0, 1))
        assert explainer.supports(classifier) is None
        assert maps.shape == batch.images.shape
        assert classifier.passes == PassCounter(forward=4, backward=0)
        assert explainer.passes == (1, 0)


@by_name
def test_maps_are_made_on_the_device_of_the_model(explainer: Explainer) -> None:
    """If it fails, a map goes through the host, or fails, wherever there is an accelerator."""
    # The device "meta" computes shapes only, and refuses to mix with the host as any other does.
    classifier, images = build_classifier().to("meta"), build_images(2).to("meta")
    assert explainer.attribute(classifier, images, Margin(0, 1)).device.type == "meta"


@by_name
def test_asking_whether_a_model_is_supported_costs_no_pass(explainer: Explainer) -> None:
    """If it fails, the pass counter of a run depends on who asked what before it."""
    classifier = build_classifier()
    explainer.supports(classifier)
    assert classifier.passes == PassCounter()


@by_name
def test_a_map_does_not_depend_on_its_batch(classifier: Classifier, explainer: Explainer) -> None:
    """If it fails, a subject's map changes with its neighbours."""
    images = build_images(5, classifier.input_shape)
    together = explainer.attribute(classifier, images, Margin(0, 1))
    alone = explainer.attribute(classifier, images[3:4], Margin(0, 1))
    scale = float(together.abs().max())
    torch.testing.assert_close(together[3:4], alone, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    "explainer", [CAM(), CAMAligned(), GradCAM(), GradCAMAligned()], ids=lambda one: one.name
)
def test_maps_keep_the_sign_of_evidence(classifier: Classifier, explainer: Explainer) -> None:
    """If it fails, maps are clipped before anyone has seen them."""
    images = build_images(3, classifier.input_shape)
    maps = explainer.attribute(classifier, images, Margin(0, 1))
    assert float(maps.min()) < 0 < float(maps.max())
    torch.testing.assert_close(explainer.attribute(classifier, images, Margin(1, 0)), -maps)


@pytest.mark.parametrize(
    "explainer",
    [one for one in PLAIN + ALIGNED if not isinstance(one, GradCAMPlusPlus)],
    ids=lambda one: one.name,
)
def test_maps_keep_the_scale_of_the_score(explainer: Explainer) -> None:
    """If it fails, maps are rescaled image by image, and images no longer compare."""
    classifier, images = build_classifier(), build_images(3)
    maps = explainer.attribute(classifier, images, ClassLogit(0))
    with torch.no_grad():
        classifier.get_parameter("head.weight").mul_(4)
    torch.testing.assert_close(explainer.attribute(classifier, images, ClassLogit(0)), 4 * maps)


@pytest.mark.parametrize(
    ("plain", "aligned"), list(zip(PLAIN, ALIGNED, strict=True)), ids=lambda one: one.name
)
def test_the_aligned_map_is_the_plain_one_at_true_centres(
    classifier: Classifier, plain: Explainer, aligned: Explainer
) -> None:
    """If it fails, the paired difference of both measures more than the shift."""
    images = build_images(2, classifier.input_shape)
    grid = classifier.feature_grid
    dimensions = len(classifier.input_shape)
    assert (grid.offset, grid.step) == ((0.0,) * dimensions, (2.0,) * dimensions)
    result = aligned.attribute(classifier, images, Margin(0, 1))
    # At the centres themselves the aligned map has the cells' own values, at 0, 2, 4, ….
    every = (slice(None), slice(None), *(slice(None, None, 2),) * dimensions)
    cells = result[every]
    torch.testing.assert_close(result, upsample_aligned(cells, classifier.input_shape, grid))
    expected = plain.attribute(classifier, images, Margin(0, 1))
    torch.testing.assert_close(upsample(cells, classifier.input_shape), expected)
    assert aligned.name == f"{plain.name}_aligned"


class Vectors(nn.Module):
    """A trunk whose output is no image, such as that of an encoder with its pool built in."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        """Return the first pixels in the wanted shape."""
        return images.flatten(1)[:, : int(np.prod(self.shape))].view(-1, *self.shape) * self.scale


class TokenPool(nn.Module):
    """Mean over tokens."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the mean over tokens."""
        return maps.mean(1)


def flat_model(shape: Sequence[int]) -> Classifier:
    """Return a classifier whose feature maps are [B, *shape]."""
    tokens = len(shape) == 2
    head = nn.Linear(shape[1] if tokens else shape[0], 2)
    return Classifier("flat", Vectors(shape), head, (16, 16), TokenPool() if tokens else None)


@by_name
@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((8,), "its feature maps are [B, 8], not spatial"),
        ((8, 1, 1), "its feature maps are [B, 8, 1, 1], a single cell that covers the whole image"),
    ],
)
def test_maps_without_space_are_unsupported_with_a_reason(
    explainer: Explainer, shape: tuple[int, ...], reason: str
) -> None:
    """If it fails, a user meets a crash, or a constant map, instead of a reason."""
    assert explainer.supports(flat_model(shape)) == reason


@by_name
def test_tokens_are_unsupported_with_a_reason(explainer: Explainer) -> None:
    """If it fails, a transformer's [B, tokens, channels] is weighed as if it were an image."""
    reason = str(explainer.supports(flat_model((4, 8))))
    # CAM meets the token pool first, and names that.
    expected = "global average pooling" if isinstance(explainer, CAM) else "[B, 4, 8], not spatial"
    assert expected in reason


@pytest.mark.parametrize("explainer", ALIGNED, ids=lambda one: one.name)
def test_untraceable_cells_are_unsupported_for_aligned_maps_only(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, cells without known centres are put somewhere all the same."""
    classifier = build_classifier()
    monkeypatch.setattr(Classifier, "feature_grid", FeatureGrid((), (), ()))
    assert "cannot be traced" in str(explainer.supports(classifier))
    assert GradCAM().supports(classifier) is None


@pytest.mark.parametrize("explainer", [CAM(), CAMAligned()], ids=lambda one: one.name)
def test_cam_needs_a_linear_head(explainer: Explainer) -> None:
    """If it fails, CAM reads weights off a head that has none."""
    reason = explainer.supports(curved(build_classifier()))
    assert reason == (
        "it needs global average pooling and one linear layer behind the feature maps, "
        "but the model has CellPool and Sequential"
    )


def test_a_trunk_that_returns_its_input_leaves_the_images_alone() -> None:
    """If it fails, the cohort's own tensor starts to carry a graph."""
    classifier = Classifier("identity", nn.Identity(), nn.Linear(1, 2), (6, 6))
    images = build_images(2, (6, 6))
    GradCAM().attribute(classifier, images, ClassLogit(0))
    assert not images.requires_grad
