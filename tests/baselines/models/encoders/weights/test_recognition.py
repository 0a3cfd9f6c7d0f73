"""Architectures that are recognised by the names and shapes of their weights."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from baselines.models.encoders.architectures import Fitting
from baselines.models.encoders.weights.checkpoint import Checkpoint
from baselines.models.encoders.weights.recognition import Recognition, build_on_meta, recognise
from benchmark.errors import ClassifierError

# Each with the prefix that a training put before its names.
NAMED = {
    "torchvision.resnet18": "",
    "torchvision.resnet50": "module.encoder.",
    "torchvision.wide_resnet50_2": "backbone.",
    "torchvision.resnext50_32x4d": "net.",
    "torchvision.densenet121": "state_dict.module.densenet121.",
    "torchvision.vgg11_bn": "model.",
    "torchvision.convnext_tiny": "",
    "torchvision.vit_b_16": "online_encoder.",
    "torchvision.efficientnet_b0": "base_encoder.",
    "torchvision.mobilenet_v2": "",
    "timm.vit_small_patch16_224": "teacher.backbone.",
    "timm.swin_tiny_patch4_window7_224": "",
    "timm.seresnet18": "encoder.",
    "monai.DenseNet121": "net.",
}


def weights_of(architecture: str, *shape: int, channels: int = 3, classes: int = 7) -> nn.Module:
    fitting = Fitting(shape or (224, 224), channels, classes)
    return build_on_meta(architecture, fitting, Path())


def told(tensors: Mapping[str, Tensor]) -> Recognition:
    return recognise(Checkpoint(Path("a.pth"), "0", tensors))


def behind(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("architecture", NAMED)
def test_an_architecture_is_recognised_behind_any_prefix(architecture: str) -> None:
    """If it fails, a user has to know under which name a library calls their network."""
    prefix = NAMED[architecture]
    network = weights_of(architecture)
    recognition = told(behind(prefix, network) | {"queue": torch.zeros(2, 3)})
    assert recognition.architecture == architecture
    assert recognition.match.prefix == prefix
    assert recognition.match.head is not None
    assert len(recognition.match.used) == len(network.state_dict())
    assert recognition.match.left_over == ("queue",)


@pytest.mark.parametrize(
    ("architecture", "part"),
    [
        ("torchvision.resnet50", ""),
        ("torchvision.resnet18", ""),
        ("torchvision.densenet121", ""),
        ("torchvision.densenet121", "features"),
        ("torchvision.vgg11", "features"),
        ("torchvision.convnext_tiny", "features"),
    ],
)
def test_places_in_a_sequence_are_as_good_as_names(architecture: str, part: str) -> None:
    """If it fails, an encoder saved as nn.Sequential(*list(net.children())[:-1]) is a stranger."""
    network = weights_of(architecture).get_submodule(part)
    children = list(network.children())
    sequence = nn.Sequential(*(children if part else children[:-1]))
    projector = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    tensors = behind("encoder.", sequence) | behind("projection_head.", projector)
    recognition = told(tensors)
    assert recognition.architecture == architecture
    assert recognition.match.head is None
    assert set(recognition.match.left_over) == set(behind("projection_head.", projector))


def test_the_stem_says_how_many_channels_there_are() -> None:
    """If it fails, a network of grey images is not recognised."""
    grey = told(weights_of("torchvision.resnet18", channels=1).state_dict())
    assert (grey.architecture, grey.fitting.channels) == ("torchvision.resnet18", 1)
    volumes = weights_of("monai.resnet18", 64, 64, 64, channels=1).state_dict()
    recognition = told(volumes)
    assert recognition.architecture == "monai.resnet18"
    assert (recognition.fitting.channels, len(recognition.fitting.shape)) == (1, 3)


def test_the_position_embedding_says_how_large_the_images_were() -> None:
    """If it fails, a transformer of another image size than its library's is not recognised."""
    recognition = told(weights_of("torchvision.vit_b_16", 96, 96).state_dict())
    assert recognition.architecture == "torchvision.vit_b_16"
    assert recognition.fitting.shape == (96, 96)


def test_of_two_copies_the_trained_one_is_taken() -> None:
    """If it fails, the slow copy of a momentum encoder is explained."""
    network = weights_of("torchvision.resnet18")
    for first, second in (
        ("encoder_k.", "encoder_q."),
        ("target.", "online."),
        ("student.", "teacher."),
    ):
        recognition = told(behind(first, network) | behind(second, network))
        assert recognition.match.prefix == second
        assert recognition.copies == (first,)


def test_a_projector_in_the_place_of_the_head_is_no_head() -> None:
    """If it fails, a contrastive projection is taken for a classifier."""
    network = weights_of("torchvision.resnet18")
    network.fc = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 128))
    recognition = told(network.state_dict())
    assert recognition.match.head is None
    assert {"fc.0.weight", "fc.2.weight"} <= set(recognition.match.left_over)


def test_names_of_older_libraries_are_known() -> None:
    """If it fails, the published weights of CheXNet or of efficientnet_pytorch do not load."""
    dense = {}
    for name, tensor in weights_of("torchvision.densenet121").state_dict().items():
        for word in ("norm1", "norm2", "conv1", "conv2"):
            name = (
                name.replace(f".{word}.", f".{word[:-1]}.{word[-1]}.") if "layer" in name else name
            )
        dense[f"module.{name}"] = tensor
    assert "module.features.denseblock1.denselayer1.norm.1.weight" in dense
    assert told(dense).architecture == "torchvision.densenet121"


def test_two_architectures_of_the_same_weights_are_both_named() -> None:
    """If it fails, one of two that compute otherwise is taken in silence."""
    recognition = told(weights_of("timm.efficientnet_lite0").state_dict())
    names = {recognition.architecture, *recognition.alternatives}
    assert names == {"timm.efficientnet_lite0", "timm.tf_efficientnet_lite0"}


def test_a_deeper_network_is_not_taken_for_a_shallower_one() -> None:
    """If it fails, blocks that a checkpoint has are left out in silence."""
    network = weights_of("torchvision.resnet18")
    extra = {"layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}
    with pytest.raises(ClassifierError, match=r"1 are unexpected, the first layer1\.2\.conv1"):
        told(network.state_dict() | extra)


def test_what_is_missing_is_named() -> None:
    """If it fails, an incomplete file is completed with random weights in silence."""
    tensors = dict(weights_of("torchvision.resnet18").state_dict())
    del tensors["layer3.0.conv2.weight"]
    with pytest.raises(ClassifierError, match=r"1 names are missing, the first layer3\.0\.conv2"):
        told(tensors)


def test_an_unknown_network_is_told_so() -> None:
    """If it fails, a user does not learn what to do with a network of their own."""
    own = nn.Sequential(OrderedDict(stem=nn.Conv2d(1, 8, 3), head=nn.Linear(8, 2)))
    with pytest.raises(ClassifierError, match=r"not recognised by its 4 tensors .*file\.py:build"):
        told(own.state_dict())
