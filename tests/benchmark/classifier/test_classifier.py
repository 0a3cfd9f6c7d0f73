"""The classifier: cut in three, counted, fingerprinted, and randomised to the last parameter."""

from __future__ import annotations

import pytest
import torch
from images import build_images
from torch import Tensor, nn

from benchmark.classifier import Classifier, GlobalAveragePool, PassCounter, Preprocessing
from benchmark.classifier.buffers.running_statistics import reestimate_statistics
from benchmark.classifier.redrawing import redraw
from benchmark.errors import ClassifierError
from benchmark.plugins.examples import SHAPE_2D, SHAPE_3D, WIDTH, build_classifier, build_trunk
from benchmark.target import Margin


class Tokens(nn.Module):
    """A trunk with parameters that no initialiser owns: a class token and an in-projection."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 8, 4, 4)
        self.token = nn.Parameter(torch.full((1, 1, 8), 0.5))
        self.position = nn.Parameter(torch.randn(1, 37, 8) * 0.1 + 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        """Return the class token after attention."""
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.position
        attended: Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return attended[:, 0]


def parameters_of(classifier: Classifier) -> dict[str, Tensor]:
    return {name: parameter.clone() for name, parameter in classifier.named_parameters()}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_forward_is_trunk_pool_and_head(dimensions: int) -> None:
    """If it fails, maps that a CAM weighs are not those that the logits come from."""
    classifier = build_classifier(dimensions)
    images = build_images(3, classifier.input_shape)
    maps = classifier.trunk(images)
    logits, embedding = classifier(images)
    torch.testing.assert_close(embedding, maps.flatten(2).mean(-1))
    torch.testing.assert_close(logits, classifier.head(embedding))
    assert torch.equal(classifier.feature_maps(images), maps)


def test_a_classifier_is_frozen_and_in_evaluation_mode(tiny_classifier: Classifier) -> None:
    """If it fails, explaining a model changes it."""
    assert not any(part.training for part in tiny_classifier.modules())
    assert not any(parameter.requires_grad for parameter in tiny_classifier.parameters())


def test_average_pooling_leaves_vectors_alone() -> None:
    """If it fails, an encoder that pools by itself loses its embedding."""
    vectors = torch.arange(6.0).view(2, 3)
    assert torch.equal(GlobalAveragePool()(vectors), vectors)


class Transposed(nn.Module):
    """Channels last as the mean over what they are worth, as tokens of a transformer are."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return [B, K]."""
        tokens = maps.flatten(2).transpose(1, 2)
        places = torch.linspace(0, 1, tokens.shape[1]).to(tokens)
        return (tokens.square() * places[:, None]).sum(1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_gradient_of_an_image_is_the_same_alone(dimensions: int) -> None:
    """If it fails, torch's batch norm hands a wrong gradient down from tokens of a single image."""
    shape = SHAPE_2D if dimensions == 2 else SHAPE_3D
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    norm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dimensions]
    trunk = nn.Sequential(convolution(1, 4, 3), norm(4), nn.ReLU(inplace=True))
    classifier = Classifier("mine", trunk, nn.Linear(4, 2), shape, Transposed()).double()
    images = build_images(2, shape).double().requires_grad_()
    (both,) = torch.autograd.grad(Margin(0, 1)(*classifier(images)).sum(), images)
    for place in range(2):
        alone = images[place : place + 1].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(Margin(0, 1)(*classifier(alone)).sum(), alone)
        torch.testing.assert_close(gradient[0], both[place])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_passes_are_counted_by_image(dimensions: int) -> None:
    """If it fails, the reported cost of a method is wrong."""
    classifier = build_classifier(dimensions)
    assert classifier.passes == PassCounter()
    images = build_images(4, classifier.input_shape)
    with torch.no_grad():
        maps = classifier.feature_maps(images)
    assert classifier.passes == PassCounter(4, 0)
    maps = maps.detach().requires_grad_()
    torch.autograd.grad(Margin(0, 1)(*classifier.tail(maps)).sum(), maps)
    assert classifier.passes == PassCounter(4, 0)
    before = classifier.passes.snapshot()
    images.requires_grad_()
    torch.autograd.grad(Margin(0, 1)(*classifier(images)).sum(), images)
    assert classifier.passes.since(before) == PassCounter(4, 4)


def test_the_listener_hears_of_every_pass(tiny_classifier: Classifier) -> None:
    """If it fails, progress bars stand still."""
    progress: list[int] = []
    tiny_classifier.passes.listener = progress.append
    tiny_classifier(build_images(3))
    assert progress == [3]


def test_the_feature_grid_costs_no_pass(tiny_classifier: Classifier) -> None:
    """If it fails, aligned maps look dearer than plain ones."""
    assert tiny_classifier.feature_grid.step == (2.0, 2.0)
    assert tiny_classifier.passes == PassCounter()


def test_stages_run_from_head_to_stem(tiny_classifier: Classifier) -> None:
    """If it fails, a randomisation cascade starts at the wrong end."""
    assert [stage.name for stage in tiny_classifier.stages] == ["head", "block", "stem"]


def test_preprocessing_repeats_channels_and_normalises() -> None:
    """If it fails, a network sees other images than it was trained on."""
    preprocessing = Preprocessing(3, (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    for shape in (SHAPE_2D, SHAPE_3D):
        images = build_images(2, shape)
        result = preprocessing(images)
        assert result.shape == (2, 3, *shape)
        for channel, (mean, std) in enumerate(((0.5, 0.5), (0.25, 0.25), (0.0, 2.0))):
            torch.testing.assert_close(result[:, channel], (images[:, 0] - mean) / std)


def test_without_preprocessing_images_stay_as_they_are() -> None:
    """If it fails, grey models get rescaled images."""
    images = build_images(2)
    assert torch.equal(Preprocessing()(images), images)


def test_one_bit_of_the_weights_changes_their_hash(tiny_classifier: Classifier) -> None:
    """If it fails, records of two different networks carry one identity."""
    before = tiny_classifier.weights_sha256
    assert build_classifier().weights_sha256 == before
    assert build_classifier(seed=1).weights_sha256 != before
    with torch.no_grad():
        bits = next(tiny_classifier.parameters()).view(torch.int32)
        bits.view(-1)[0] ^= 1
    assert tiny_classifier.weights_sha256 != before


def test_buffers_are_part_of_the_hash(tiny_classifier: Classifier) -> None:
    """If it fails, other batch-norm statistics pass for the same network."""
    before = tiny_classifier.weights_sha256
    next(tiny_classifier.buffers()).add_(1)
    assert tiny_classifier.weights_sha256 != before


def test_a_copy_is_independent_but_counts_into_the_same_counter(
    tiny_classifier: Classifier,
) -> None:
    """If it fails, changing a copy changes the model, or its passes are forgotten."""
    before = tiny_classifier.weights_sha256
    copy = tiny_classifier.copy()
    with torch.no_grad():
        next(copy.parameters()).zero_()
    copy(build_images(2))
    assert tiny_classifier.weights_sha256 == before
    assert tiny_classifier.passes == PassCounter(2, 0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_weight_is_redrawn(dimensions: int) -> None:
    """If it fails, a randomised model keeps a part of what training put there."""
    classifier = build_classifier(dimensions)
    images = build_images(6, classifier.input_shape)
    before, sha256 = parameters_of(classifier), classifier.weights_sha256
    after = parameters_of(classifier.randomised(7, images))
    for name in before:
        if "norm" not in name:
            assert (before[name] != after[name]).all(), name
    assert classifier.weights_sha256 == sha256
    assert classifier.randomised(7, images).name == "tiny~7"


def test_trained_batch_norm_weights_are_reset(tiny_classifier: Classifier) -> None:
    """If it fails, trained scales and shifts survive randomisation."""
    norm = tiny_classifier.trunk.get_submodule("stem.norm")
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        norm.weight.uniform_(2, 3)
        norm.bias.uniform_(2, 3)
    fresh = tiny_classifier.randomised(0, build_images(6)).trunk.get_submodule("stem.norm")
    assert torch.equal(fresh.get_parameter("weight"), torch.ones(WIDTH))
    assert torch.equal(fresh.get_parameter("bias"), torch.zeros(WIDTH))


def test_layers_of_one_shape_are_drawn_apart() -> None:
    """If it fails, same-shaped layers get identical weights, and the copy is degenerate."""
    trunk = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    classifier = Classifier("twins", trunk, nn.Linear(4, 2), SHAPE_2D).randomised(
        0, build_images(2)
    )
    first, second = (classifier.get_parameter(f"trunk.{number}.weight") for number in (1, 2))
    assert (first != second).all()


def test_a_seed_names_one_copy(tiny_classifier: Classifier) -> None:
    """If it fails, a randomised model cannot be made again, or all are the same."""
    images = build_images(6)
    first, again, other = (tiny_classifier.randomised(seed, images) for seed in (1, 1, 2))
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256


def test_parameters_without_an_initialiser_are_drawn_with_their_moments() -> None:
    """If it fails, class tokens and position embeddings survive randomisation."""
    classifier = Classifier("tokens", Tokens(), nn.Linear(8, 2), SHAPE_2D)
    before = parameters_of(classifier)
    after = parameters_of(classifier.randomised(0, build_images(2)))
    for name in before:
        # Attention's own initialiser sets both of its biases to zero.
        if name not in ("trunk.attention.in_proj_bias", "trunk.attention.out_proj.bias"):
            assert (before[name] != after[name]).all(), name
    position = after["trunk.position"]
    assert float(position.mean()) == pytest.approx(3, abs=0.05)
    assert float(position.std()) == pytest.approx(0.1, abs=0.03)


def test_redrawing_leaves_the_global_random_state_alone(tiny_classifier: Classifier) -> None:
    """If it fails, making a null changes whatever random thing runs next."""
    before = torch.get_rng_state()
    redraw(tiny_classifier, 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_batch_norm_takes_the_moments_of_the_given_images(dimensions: int) -> None:
    """If it fails, statistics of the trained network squash the randomised one."""
    classifier = build_classifier(dimensions)
    images = build_images(6, classifier.input_shape)
    reestimate_statistics(classifier, lambda: classifier.feature_maps(images))
    stem = classifier.trunk.get_submodule("stem")
    values = stem.get_submodule("conv")(images).transpose(0, 1).flatten(1)
    norm = stem.get_submodule("norm")
    torch.testing.assert_close(norm.get_buffer("running_mean"), values.mean(1))
    torch.testing.assert_close(norm.get_buffer("running_var"), values.var(1))
    assert not norm.training
    assert norm.momentum == 0.1


def test_every_batch_norm_sees_the_layers_before_it_re_estimated() -> None:
    """If it fails, deep layers are normalised for activations that the network never has."""
    trunk = nn.Sequential(build_trunk(), nn.BatchNorm2d(WIDTH))
    classifier = Classifier("deep", trunk, nn.Linear(WIDTH, 2), SHAPE_2D)
    images = build_images(8)
    reestimate_statistics(classifier, lambda: classifier.feature_maps(images))
    maps = classifier.feature_maps(images).transpose(0, 1).flatten(1)
    # In training mode the stem divides by the biased deviation, later by the unbiased one.
    torch.testing.assert_close(maps.mean(1), torch.zeros(WIDTH), atol=5e-3, rtol=0)
    torch.testing.assert_close(maps.std(1), torch.ones(WIDTH), atol=5e-3, rtol=0)


@pytest.mark.parametrize("classes", [1, 3])
def test_a_head_of_other_than_two_logits_is_refused(classes: int) -> None:
    """If it fails, a margin of two groups is read off a head of three."""
    with pytest.raises(ClassifierError, match=rf"'odd' must return logits .* \[2, {classes}\]"):
        Classifier("odd", build_trunk(), nn.Linear(WIDTH, classes), SHAPE_2D)


@pytest.mark.parametrize(
    ("trunk", "shape"),
    [
        (build_trunk(3), SHAPE_2D),
        (build_trunk(inputs=3), SHAPE_2D),
        (nn.Sequential(nn.Conv2d(1, WIDTH, 9)), (4, 4)),
    ],
    ids=["3-D network", "colour network", "image below the kernel"],
)
def test_a_network_that_cannot_take_the_images_is_refused(
    trunk: nn.Module, shape: tuple[int, ...]
) -> None:
    """If it fails, the misfit shows as a traceback from inside the network."""
    with pytest.raises(ClassifierError, match=r"'misfit' cannot take grey images of shape \["):
        Classifier("misfit", trunk, nn.Linear(WIDTH, 2), shape)


def test_a_pool_that_leaves_space_is_refused() -> None:
    """If it fails, an embedding of another rank reaches the group statistics."""
    with pytest.raises(ClassifierError, match="embedding"):
        Classifier("unpooled", build_trunk(), FlatHead(), SHAPE_2D, pool=nn.Identity())


class FlatHead(nn.Module):
    """A head that takes maps."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.linear(maps.flatten(2).mean(-1))
        return logits


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_streamlined_copy_computes_the_same(dimensions: int) -> None:
    """If it fails, masked images are embedded by another model than the one that is explained."""
    classifier = build_classifier(dimensions)
    shape = classifier.input_shape
    images = build_images(8, shape, seed=3)
    reestimate_statistics(classifier, lambda: classifier.feature_maps(images))
    images = build_images(4, shape)
    before = classifier.passes.snapshot()
    for made, expected in zip(classifier.streamlined()(images), classifier(images), strict=True):
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6)
    assert classifier.passes.since(before).forward == 2 * len(images)


def test_a_trunk_that_cannot_be_traced_keeps_its_batch_norm() -> None:
    """If it fails, a model with control flow cannot be scored."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, images: Tensor) -> Tensor:
            maps: Tensor = self.norm(images)
            return maps if float(images.mean()) > 0.5 else -maps

    classifier = Classifier("branches", Branches(), nn.Linear(1, 2), (8, 8))
    images = build_images(2, (8, 8))
    torch.testing.assert_close(classifier.streamlined()(images), classifier(images))


def test_other_preprocessing_is_another_model() -> None:
    """If it fails, two models that see other images share their scores."""
    first = build_classifier(preprocessing=Preprocessing(1, (0.5,), (0.25,)))
    second = build_classifier(preprocessing=Preprocessing(1, (0.4,), (0.25,)))
    assert (
        len({build_classifier().weights_sha256, first.weights_sha256, second.weights_sha256}) == 3
    )
