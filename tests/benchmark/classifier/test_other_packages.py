"""Networks of timm, MONAI and torchvision: cut right, randomised, and explained or refused.

Weights are random, and large networks have fewer layers or channels than their names promise: what
is tested holds for any weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pytest
import torch
import torchvision
from images import build_images
from torch import Tensor, nn

from baselines.explainers.attention import AttentionRollout, GradAttention
from baselines.explainers.class_activation import CAM, GradCAM, GradCAMAligned
from baselines.explainers.gradient import Saliency
from baselines.models.encoders.monai_cut import cut_monai
from baselines.models.encoders.timm_cut import cut_timm
from baselines.models.torchvision_network import cut_torchvision
from benchmark.classifier import Classifier
from benchmark.errors import ClassifierError
from benchmark.feature_grid import upsample
from benchmark.target import Margin

WINDOWS = "its attention stays within windows of the image"
NO_ATTENTION = "it calls no attention of torch's that could be read off"
UNTRACED = "the centres of its feature cells cannot be traced back to the image"
POOL = "it needs global average pooling and one linear layer"
VECTOR = "not spatial"


@dataclass(frozen=True)
class Case:
    """A network, and what is true of it.

    Attributes:
        build: Function that returns the network as its package does.
        shape: Spatial shape of an image.
        maps: Shape of the feature maps.
        refusals: Beginning or part of the reason, by name of the method that refuses.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    maps: tuple[int, ...]
    refusals: dict[str, str] = field(default_factory=dict)


def timm(name: str, **settings: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        package = pytest.importorskip("timm")
        network: nn.Module = package.create_model(name, num_classes=2, **settings)
        return network

    return build


def monai(name: str, **settings: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        nets = pytest.importorskip("monai.networks.nets")
        network: nn.Module = getattr(nets, name)(**settings)
        return network

    return build


def of_torchvision(name: str, **settings: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        network: nn.Module = getattr(torchvision.models, name)(num_classes=2, **settings)
        return network

    return build


THIN: dict[str, Any] = {"init_features": 8, "growth_rate": 4, "block_config": (2, 2, 2, 2)}
CONVOLUTIONS = {"attention_rollout": NO_ATTENTION}
SWIN = {"attention_rollout": NO_ATTENTION, "gradcam_aligned": UNTRACED}
TOKENS = {"gradcam": VECTOR, "cam": VECTOR, "gradcam_aligned": VECTOR}
NETWORKS: dict[str, Case] = {
    "timm resnet50": Case(timm("resnet50"), (64, 64), (2048, 2, 2), CONVOLUTIONS),
    "timm densenet121": Case(timm("densenet121"), (64, 64), (1024, 2, 2), CONVOLUTIONS),
    "timm efficientnet_lite0": Case(
        timm("tf_efficientnet_lite0"), (64, 64), (1280, 2, 2), CONVOLUTIONS
    ),
    "timm convnext_atto": Case(
        timm("convnext_atto"), (64, 64), (320, 2, 2), {**CONVOLUTIONS, "cam": POOL}
    ),
    "timm vit_small": Case(
        timm("vit_small_patch16_224", img_size=64, depth=2), (64, 64), (384,), TOKENS
    ),
    "timm vit_small, mean of tokens": Case(
        timm("vit_small_patch16_224", img_size=64, depth=2, global_pool="avg"),
        (64, 64),
        (384, 4, 4),
        {"attention_rollout": "it reads out other tokens than a class token", "cam": POOL},
    ),
    "timm swin_tiny": Case(
        timm(
            "swin_tiny_patch4_window7_224",
            img_size=96,
            window_size=3,
            depths=(1, 1, 1, 1),
            embed_dim=24,
        ),
        (96, 96),
        (192, 3, 3),
        SWIN,
    ),
    "timm resnetv2, convolution as head": Case(
        timm("resnetv2_50", layers=(1, 1, 1, 1)),
        (64, 64),
        (2048, 2, 2),
        {**CONVOLUTIONS, "cam": POOL},
    ),
    "timm hrnet, no sequence": Case(timm("hrnet_w18_small"), (64, 64), (2048, 2, 2), CONVOLUTIONS),
    "monai densenet121": Case(
        monai("DenseNet121", spatial_dims=2, in_channels=1, out_channels=2),
        (64, 64),
        (1024, 2, 2),
        CONVOLUTIONS,
    ),
    "monai densenet in 3-D": Case(
        monai("DenseNet", spatial_dims=3, in_channels=1, out_channels=2, **THIN),
        (64, 64, 64),
        (16, 2, 2, 2),
        CONVOLUTIONS,
    ),
    "monai densenet121 on few cells": Case(
        monai("DenseNet121", spatial_dims=3, in_channels=1, out_channels=2),
        (32, 32, 32),
        (1024, 1, 1, 1),
        dict.fromkeys(("gradcam", "cam", "gradcam_aligned"), "a single cell")
        | {"attention_rollout": NO_ATTENTION},
    ),
    "monai resnet in 3-D": Case(
        monai("resnet10", spatial_dims=3, n_input_channels=1, num_classes=2, shortcut_type="A"),
        (32, 32, 24),
        (512, 2, 2, 2),
        CONVOLUTIONS,
    ),
    "monai efficientnet": Case(
        monai(
            "EfficientNetBN",
            model_name="efficientnet-b0",
            spatial_dims=2,
            in_channels=1,
            num_classes=2,
            pretrained=False,
        ),
        (64, 64),
        (1280, 2, 2),
        CONVOLUTIONS,
    ),
    "torchvision swin_t": Case(
        of_torchvision("swin_t"), (96, 96), (768, 3, 3), {**SWIN, "attention_rollout": "attention"}
    ),
    "torchvision mobilenet_v3": Case(
        of_torchvision("mobilenet_v3_small"), (64, 64), (576, 2, 2), {**CONVOLUTIONS, "cam": POOL}
    ),
    "torchvision regnet": Case(
        of_torchvision("regnet_y_400mf"), (64, 64), (440, 2, 2), CONVOLUTIONS
    ),
    "torchvision googlenet": Case(
        of_torchvision("googlenet", init_weights=False, transform_input=True),
        (64, 64),
        (1024, 2, 2),
        CONVOLUTIONS,
    ),
    "torchvision shufflenet": Case(
        of_torchvision("shufflenet_v2_x0_5"), (64, 64), (1024, 2, 2), CONVOLUTIONS
    ),
}


@lru_cache(maxsize=1)
def cut(name: str) -> tuple[nn.Module, Classifier]:
    """Return a network and the classifier that it was cut into."""
    case = NETWORKS[name]
    torch.manual_seed(0)
    network = case.build().eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d) and layer.running_var is not None:
                layer.running_var.uniform_(0.05, 0.15)  # signals of a deep untrained net get lost
    if name.startswith("timm"):
        return network, cut_timm("mine", network, case.shape)
    if name.startswith("monai"):
        return network, cut_monai("mine", network, case.shape)
    return network, cut_torchvision("mine", network, case.shape)


def images_of(name: str, count: int = 2) -> Tensor:
    return build_images(count, NETWORKS[name].shape)


@pytest.mark.parametrize("name", NETWORKS, scope="class")
class TestNetwork:
    """One network after the other, as each is built once."""

    def test_the_cut_computes_what_the_network_does(self, name: str) -> None:
        """If it fails, another network is explained than the one that was given."""
        network, classifier = cut(name)
        prepared = classifier.preprocessing(images_of(name))
        with torch.no_grad():
            logits, expected = classifier(images_of(name))[0], network(prepared)
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        assert classifier.maps_shape == NETWORKS[name].maps
        held = [id(values) for _, values in classifier.named_parameters(remove_duplicate=False)]
        assert len(held) == len(set(held))
        assert set(held).issubset({id(values) for values in network.parameters()})

    def test_every_method_explains_it_or_says_why_not(self, name: str) -> None:
        """If it fails, a method is silently wrong on a network, or refuses for no true reason."""
        _, classifier = cut(name)
        refusals, images = NETWORKS[name].refusals, images_of(name)
        assert Saliency().supports(classifier) is None
        for method in (GradCAM(), CAM(), GradCAMAligned(), AttentionRollout(), GradAttention()):
            reason = method.supports(classifier)
            refusal = refusals.get(method.name.replace("grad_attention", "attention_rollout"))
            if refusal is not None:
                assert reason is not None
                assert refusal in reason
                continue
            assert reason is None, method.name
            maps = method.attribute(classifier, images, Margin(0, 1))
            assert maps.isfinite().all()
            assert float(maps.std()) > 0, method.name

    def test_its_copies_hold_nothing_trained_and_compute_the_same(self, name: str) -> None:
        """If it fails, nulls of such networks are the network, or masked images see another one."""
        _, classifier = cut(name)
        images = images_of(name, 3)
        random = classifier.randomised(0, images)
        before, after = classifier.state_dict(), random.state_dict()
        for key, values in before.items():
            if "running" in key or key.endswith(("weight", "_token", "_embed")):
                assert not torch.equal(values, after[key]), key
        assert random(images)[0].isfinite().all()
        with torch.no_grad():
            streamlined, plain = classifier.streamlined()(images)[0], classifier(images)[0]
        torch.testing.assert_close(streamlined, plain, rtol=1e-3, atol=1e-4)


def test_grad_cam_of_swin_weighs_channels() -> None:
    """If it fails, rows of Swin's cells are weighed as if they were channels."""
    network, classifier = cut("timm swin_tiny")
    images, target = images_of("timm swin_tiny"), Margin(0, 1)
    built: Any = network
    maps = built.forward_features(classifier.preprocessing(images)).detach().requires_grad_()
    assert maps.shape == (2, 3, 3, 192)
    (slope,) = torch.autograd.grad(target(built.forward_head(maps), maps).sum(), maps)
    cells = (slope.mean((1, 2), keepdim=True) * maps).sum(-1).detach()
    result = GradCAM().attribute(classifier, images, target)
    torch.testing.assert_close(result, upsample(cells.unsqueeze(1), (96, 96)), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("timm resnet50", "layer3"),
        ("timm swin_tiny", "layers_2"),
        ("monai densenet in 3-D", "denseblock3"),
        ("torchvision swin_t", "5"),
    ],
)
def test_an_earlier_layer_can_be_explained(name: str, layer: str) -> None:
    """If it fails, a suite cannot choose a layer of such a network, or its axes are mistaken."""
    _, classifier = cut(name)
    method = GradCAM(layer)
    assert method.supports(classifier) is None
    earlier = classifier.cut(layer)
    images = images_of(name)
    torch.testing.assert_close(earlier(images)[0], classifier(images)[0])
    shape = earlier.with_channels_first().maps_shape
    assert shape[0] > shape[-1]
    assert method.attribute(classifier, images, Margin(0, 1)).shape == images.shape


@pytest.mark.parametrize(
    ("name", "shape", "fault"),
    [
        ("resnet18", (64, 64), r"must return logits .* \[2, 5\]"),
        ("vit_tiny_patch16_224", (64, 64), "cannot take images of shape .* img_size"),
        ("coat_tiny", (224, 224), "features of a CoaT are a list"),
        ("deit_tiny_distilled_patch16_224", (224, 224), "no single layer that gives its logits"),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    name: str, shape: tuple[int, ...], fault: str
) -> None:
    """If it fails, the misfit shows as a traceback from inside another package."""
    package = pytest.importorskip("timm")
    network = package.create_model(name, num_classes=5)
    with pytest.raises(ClassifierError, match=fault):
        cut_timm("mine", network, shape)


def test_networks_that_are_no_classifiers_are_refused() -> None:
    """If it fails, a network is cut at the wrong layers."""
    with pytest.raises(ClassifierError, match="has no forward_features"):
        cut_timm("mine", nn.Sequential(nn.Conv2d(3, 2, 3)), (8, 8))
    unet = monai(
        "UNet", spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8), strides=(2,)
    )
    with pytest.raises(ClassifierError, match=r"a UNet of MONAI is cut by hand.*DenseNet"):
        cut_monai("mine", unet(), (32, 32))
    flat = monai("DenseNet", spatial_dims=3, in_channels=1, out_channels=2, **THIN)
    with pytest.raises(ClassifierError, match="DenseNet cannot take images of shape"):
        cut_monai("mine", flat(), (32, 32))


def test_a_transformer_of_monai_is_cut_at_its_class_token() -> None:
    """If it fails, MONAI's ViT returns a tuple where logits are expected."""
    pytest.importorskip("einops")  # MONAI's patches need it
    settings = {"in_channels": 1, "img_size": (32, 32), "patch_size": 8, "hidden_size": 48}
    settings |= {"mlp_dim": 64, "num_layers": 2, "num_heads": 4, "spatial_dims": 2}
    network = monai("ViT", classification=True, post_activation="", **settings)()
    classifier = cut_monai("mine", network, (32, 32))
    images = build_images(2, (32, 32))
    torch.testing.assert_close(classifier(images)[0], network(images)[0])
    assert AttentionRollout().supports(classifier) == NO_ATTENTION
