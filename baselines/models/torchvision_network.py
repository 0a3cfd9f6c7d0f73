"""torchvision's networks, cut into trunk, pool and head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier, Preprocessing
from benchmark.errors import ClassifierError

__all__ = ["cut_torchvision"]

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = Preprocessing(3, _MEAN, _STD)

_Parts = tuple[nn.Module, nn.Module | None, nn.Module]


class ClassToken(nn.Module):
    """Normalises tokens and returns the first, [B, T, D] → [B, D]."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the embedding."""
        result: Tensor = self.norm(tokens[:, 0])
        return result


def cut_torchvision(
    name: str,
    network: nn.Module,
    input_shape: Sequence[int],
    preprocessing: Preprocessing = IMAGENET,
) -> Classifier:
    """Return a classifier that shares the layers of a network of ``torchvision.models``.

    Args:
        name: Name of the model in records and tables.
        network: ResNet or one of its kin, a video ResNet, RegNet, DenseNet, VGG, AlexNet,
            EfficientNet, MobileNet, MNASNet, ShuffleNet, GoogLeNet, Inception, ConvNeXt, MaxVit,
            SwinTransformer or VisionTransformer with two outputs, as after
            ``network.fc = nn.Linear(512, 2)``.
        input_shape: Spatial shape *S of the images that it is given.
        preprocessing: Step from grey images to what the network expects; three channels on
            ImageNet's scale unless given.

    Raises:
        ClassifierError: If the network is of another kind, or has not two outputs.
    """
    cut = _CUTS.get(type(network).__name__)
    if cut is None:
        raise ClassifierError(
            f"A {type(network).__name__} is cut by hand, with benchmark.classifier.Classifier; "
            f"known: {', '.join(_CUTS)}."
        )
    trunk, pool, head = cut(cast("Any", network))
    return Classifier(name, trunk, head, input_shape, pool, preprocessing)


def _cut_resnet(network: Any) -> _Parts:  # noqa: ANN401 - the layers' names are what counts
    children = OrderedDict(network.named_children())
    return nn.Sequential(OrderedDict(list(children.items())[:-2])), None, network.fc


def _cut_densenet(network: Any) -> _Parts:  # noqa: ANN401
    stages = OrderedDict(network.features.named_children())
    return nn.Sequential(OrderedDict(stages, relu=nn.ReLU())), None, network.classifier


def _cut_vgg(network: Any) -> _Parts:  # noqa: ANN401
    return network.features, nn.Sequential(network.avgpool, nn.Flatten()), network.classifier


def _cut_convnext(network: Any) -> _Parts:  # noqa: ANN401
    norm, flatten, head = network.classifier
    return network.features, nn.Sequential(network.avgpool, norm, flatten), head


def _cut_features(network: Any) -> _Parts:  # noqa: ANN401
    return network.features, None, _without_dropout(network.classifier)


def _cut_mnasnet(network: Any) -> _Parts:  # noqa: ANN401
    return network.layers, None, _without_dropout(network.classifier)


def _cut_regnet(network: Any) -> _Parts:  # noqa: ANN401
    blocks = OrderedDict(network.trunk_output.named_children())
    return nn.Sequential(OrderedDict(stem=network.stem, **blocks)), None, network.fc


def _cut_shufflenet(network: Any) -> _Parts:  # noqa: ANN401
    children = OrderedDict(network.named_children())
    return nn.Sequential(OrderedDict(list(children.items())[:-1])), None, network.fc


def _cut_inception(network: Any) -> _Parts:  # noqa: ANN401
    # Auxiliary classifiers work in training alone.
    unused = ("AuxLogits", "aux1", "aux2", "avgpool", "dropout", "fc")
    stages = OrderedDict(
        (name, child) for name, child in network.named_children() if name not in unused
    )
    if network.transform_input:
        stages = OrderedDict(rescaled=_Rescaled(), **stages)
    return nn.Sequential(stages), None, network.fc


def _cut_maxvit(network: Any) -> _Parts:  # noqa: ANN401
    blocks = {f"block{name}": block for name, block in network.blocks.named_children()}
    _, _, *head = network.classifier  # pooling and flattening
    return nn.Sequential(OrderedDict(stem=network.stem, **blocks)), None, nn.Sequential(*head)


def _cut_swin(network: Any) -> _Parts:  # noqa: ANN401
    stages = OrderedDict(network.features.named_children())
    # Swin holds its channels last; `permute` turns them, so that maps are [B, K, h, w].
    trunk = nn.Sequential(OrderedDict(stages, norm=network.norm, permute=network.permute))
    return trunk, None, network.head


def _without_dropout(head: nn.Sequential) -> nn.Module:
    """Return the last layer where what stands before it drops out, and so does nothing."""
    return head[-1] if all(isinstance(layer, nn.Dropout) for layer in head[:-1]) else head


class _Rescaled(nn.Module):
    """Images on ImageNet's scale on that of the networks that came from TensorFlow."""

    def forward(self, images: Tensor) -> Tensor:
        shape = (1, -1, 1, 1)
        mean, std = (images.new_tensor(values).view(shape) for values in (_MEAN, _STD))
        return (images * std + mean - 0.5) / 0.5


class _Tokens(nn.Module):
    """Images to tokens, as ``VisionTransformer`` and its encoder begin."""

    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.conv_proj = network.conv_proj
        self.class_token = network.class_token
        self.pos_embedding = network.encoder.pos_embedding

    def forward(self, images: Tensor) -> Tensor:
        cells = self.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(images.shape[0], -1, -1), cells], 1)
        result: Tensor = tokens + self.pos_embedding
        return result


def _cut_transformer(network: Any) -> _Parts:  # noqa: ANN401
    blocks = OrderedDict(network.encoder.layers.named_children())
    readout = ClassToken(network.encoder.ln)
    trunk = nn.Sequential(OrderedDict(tokens=_Tokens(network), **blocks, readout=readout))
    return trunk, None, network.heads


_CUTS: dict[str, Callable[[Any], _Parts]] = {
    "ResNet": _cut_resnet,
    "VideoResNet": _cut_resnet,
    "DenseNet": _cut_densenet,
    "VGG": _cut_vgg,
    "AlexNet": _cut_vgg,
    "ConvNeXt": _cut_convnext,
    "EfficientNet": _cut_features,
    "MobileNetV2": _cut_features,
    "MobileNetV3": _cut_features,
    "MNASNet": _cut_mnasnet,
    "RegNet": _cut_regnet,
    "ShuffleNetV2": _cut_shufflenet,
    "GoogLeNet": _cut_inception,
    "Inception3": _cut_inception,
    "MaxVit": _cut_maxvit,
    "SwinTransformer": _cut_swin,
    "VisionTransformer": _cut_transformer,
}
