"""Trunk, pool and head: what they must return, what they may do in place, and in half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from images import build_images
from odd_networks import SIZE, WIDTH, Applied, Half, Through, build_odd, norm_of
from torch import Tensor, nn

from baselines.explainers.class_activation import GradCAM
from benchmark.classifier import Classifier, GlobalAveragePool, Preprocessing
from benchmark.classifier.proofs import prove
from benchmark.errors import ClassifierError
from benchmark.plugins.examples import build_classifier
from benchmark.target import Margin
from benchmark.training.relatives import from_arrays, to_arrays


@pytest.mark.parametrize(
    ("part", "output", "message"),
    [
        ("trunk", lambda maps: (maps, maps[:, :1]), r"a tuple of \[2, 8, 8, 8\], \[2, 1, 8, 8\]"),
        ("trunk", lambda maps: [maps], r"a list of \[2, 8, 8, 8\]"),
        ("trunk", lambda maps: {"out": maps, "aux": maps}, "a dict of 'out', 'aux'"),
        ("trunk", lambda maps: None, "NoneType"),
        ("trunk", lambda maps: maps.mean(), r"of shape \[\]"),
        ("trunk", lambda maps: maps.long(), "torch.int64"),
        ("trunk", lambda maps: maps[:1], r"of shape \[1, 8, 8, 8\]"),
        ("pool", lambda maps: (maps.mean((2, 3)), None), "a tuple of"),
        ("pool", lambda maps: maps, r"an embedding \[B, D\], .* \[2, 8, 8, 8\]"),
        ("head", lambda maps: {"logits": maps[:, :2]}, "a dict of 'logits'"),
        ("head", lambda maps: maps[:, :2].argmax(1), "torch.int64"),
        ("head", lambda maps: maps[:, :2][:, 0], r"logits \[B, 2\], .* \[2\]"),
    ],
)
def test_a_part_that_returns_something_else_is_named(
    part: str, output: Callable[[Tensor], Any], message: str
) -> None:
    """If it fails, the author reads an attribute error from inside the benchmark."""
    parts = {"trunk": Through(), "pool": GlobalAveragePool(), "head": nn.Identity()}
    parts[part] = Through(lambda _, maps: output(maps)) if part == "trunk" else Applied(output)
    with pytest.raises(ClassifierError, match=f"The {part} of model 'mine' must .*{message}"):
        build_odd(**parts)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"trunk": Through().double()}, r"has float64 weights: call \.float\(\)"),
        ({"head": nn.Linear(WIDTH, 2).half()}, r"its head, given .* has float16 weights"),
        ({"trunk": nn.AvgPool2d(2), "head": Applied(lambda x: x)}, "has no parameter"),
        (
            {
                "trunk": nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, WIDTH, 3)),
                "preprocessing": Preprocessing(channels=3),
            },
            r"it changes the images that it is given: write `x = x - 0.5`",
        ),
        ({"head": nn.Linear(3, 2)}, r"its head, given \[2, 8\], raises RuntimeError"),
        (
            {"trunk": Through(before=lambda _, images: {}["size"])},
            r"cannot take grey images of shape \[16, 16\]: KeyError",
        ),
    ],
)
def test_a_part_that_fails_is_named(parts: dict[str, Any], message: str) -> None:
    """If it fails, a network in half precision, say, ends in a traceback."""
    with pytest.raises(ClassifierError, match=f"Model 'mine' .*{message}"):
        build_odd(**parts)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    ("pool", "head"),
    [
        (nn.Sequential(nn.ReLU(inplace=True), GlobalAveragePool()), nn.Linear(WIDTH, 2)),
        (Applied(lambda maps: maps.mul_(2).flatten(2).mean(-1)), nn.Linear(WIDTH, 2)),
        (None, nn.Sequential(nn.ReLU(inplace=True), nn.Linear(WIDTH, 2))),
        (nn.Sequential(GlobalAveragePool(), nn.ReLU(inplace=True)), nn.Linear(WIDTH, 2)),
    ],
    ids=["layer in the pool", "function in the pool", "layer in the head", "behind pooling"],
)
def test_layers_in_place_behind_the_maps_just_work(
    pool: nn.Module | None, head: nn.Module, dimensions: int
) -> None:
    """If it fails, a DenseNet has no class activation map, or one of maps that were overwritten."""
    plain = build_classifier(dimensions)
    classifier = Classifier("mine", plain.trunk[:1], head, plain.input_shape, pool)
    images = build_images(3, classifier.input_shape)
    assert prove(classifier, images) == ()
    maps = classifier.feature_maps(images) - 0.1
    kept = maps.clone()
    leaf = maps.clone().requires_grad_()
    logits, embedding = classifier.tail(leaf)
    (gradient,) = torch.autograd.grad(Margin(0, 1)(logits, embedding).sum(), leaf)
    assert gradient.any()
    with torch.no_grad():
        logits, embedding = classifier.tail(maps)
        assert torch.equal(maps, kept)
        fresh = classifier.pool(maps.clone())
        assert torch.equal(embedding, fresh)
        assert torch.equal(logits, classifier.head(fresh))
    drawn = GradCAM().attribute(classifier, images, Margin(0, 1))
    assert drawn.isfinite().all()


def test_a_cut_network_may_go_on_in_place() -> None:
    """If it fails, maps of an earlier layer are overwritten by the layer behind it."""
    trunk = nn.Sequential(nn.Conv2d(1, WIDTH, 3, 2, 1), norm_of(), nn.ReLU(inplace=True))
    cut = build_odd(trunk).cut("1")
    images = build_images(2, SIZE)
    maps = cut.feature_maps(images)
    kept = maps.clone()
    cut.tail(maps)
    assert torch.equal(maps, kept)
    drawn = GradCAM("1").attribute(build_odd(trunk), images, Margin(0, 1))
    assert drawn.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_taken_where_the_network_casts(dtype: torch.dtype) -> None:
    """If it fails, a checkpoint in half precision ends in a traceback, or its maps are coarse."""
    casting = build_odd(Half(Through(), dtype), head=Half(nn.Linear(WIDTH, 2), dtype))
    halved = build_odd(
        Through(before=lambda own, images: images.to(own.conv.weight)).to(dtype),
        head=nn.Linear(WIDTH, 2, dtype=dtype),
    )
    images = build_images(3, SIZE)
    for classifier in (casting, halved):
        assert prove(classifier, images) == ()
        logits, embedding = classifier(images)
        maps = classifier.feature_maps(images)
        assert {logits.dtype, embedding.dtype, maps.dtype} == {torch.float32}
        assert torch.equal(classifier.tail(maps)[0], logits)
        assert GradCAM().attribute(classifier, images, Margin(0, 1)).dtype == torch.float32
        sha256 = classifier.weights_sha256
        other = from_arrays(classifier.randomised(0, images), "twin", to_arrays(classifier))
        assert other.weights_sha256 == sha256
        with torch.no_grad():
            next(classifier.parameters()).view(torch.int16).view(-1)[0] ^= 1
        assert classifier.weights_sha256 != sha256


def test_state_that_is_no_tensor_is_named() -> None:
    """If it fails, a quantised network ends in a traceback instead of a reason."""

    class Packed(Through):
        def get_extra_state(self) -> dict[str, int]:
            return {"scale": 3}

    with pytest.raises(ClassifierError, match=r"'mine' keeps trunk._extra_state as dict, not as"):
        build_odd(Packed()).weights_sha256  # noqa: B018
