"""MONAI's classification networks, cut into trunk, pool and head, in two dimensions and three."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from baselines.models.encoders.cut_parts import (
    called_children,
    example_images,
    in_sequence,
    prove_cut,
    with_children,
)
from baselines.models.torchvision_network import ClassToken
from benchmark.classifier import Classifier, Preprocessing
from benchmark.errors import ClassifierError, short_message

# Children with which a network begins to pool, and the last of all, which gives the logits.
_POOLS = ("avgpool", "adaptive_avg_pool", "_avg_pooling", "class_layers")
_HEADS = ("fc", "last_linear", "_fc")

_Parts = tuple[nn.Module, nn.Module | None]


def cut_monai(
    name: str,
    network: nn.Module,
    input_shape: Sequence[int],
    preprocessing: Preprocessing | None = None,
) -> Classifier:
    """Return a classifier that shares the layers of a network of ``monai.networks.nets``.

    Args:
        name: Name of the model in records and tables.
        network: DenseNet, ResNet, SENet, EfficientNet or ViT of MONAI, in two dimensions or three,
            with two outputs.
        input_shape: Spatial shape *S of the images that it is given.
        preprocessing: Step from grey images to what the network expects; one channel, as it is,
            unless given.

    Raises:
        ClassifierError: If the network is of another kind, does not take the images, or has not two
            outputs.
    """
    kind = next((base.__name__ for base in type(network).__mro__ if base.__name__ in _CUTS), None)
    if kind is None:
        raise ClassifierError(
            f"Model {name!r}: a {type(network).__name__} of MONAI is cut by hand, with "
            f"benchmark.classifier.Classifier; known: {', '.join(_CUTS)}."
        )
    preprocessing = Preprocessing() if preprocessing is None else preprocessing
    images = example_images(network.eval(), input_shape, preprocessing)
    try:
        with torch.no_grad():
            network(images)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ClassifierError(
            f"Model {name!r}: {kind} cannot take images of shape {list(input_shape)}: "
            f"{short_message(error)}"
        ) from error
    head = _head(network)
    if head is None:
        raise ClassifierError(
            f"Model {name!r}: this {kind} has no layer that gives logits; build it with two."
        )
    trunk, pool = _CUTS[kind](network, images)
    classifier = Classifier(name, trunk, head, input_shape, pool, preprocessing)
    return prove_cut(classifier, network, images)


def _head(network: nn.Module) -> nn.Module | None:
    children = dict(network.named_children())
    if "class_layers" in children:
        return children["class_layers"].get_submodule("out")
    if "classification_head" in children:
        return children["classification_head"]
    return next((children[name] for name in _HEADS if name in children), None)


def _cut_layers(network: nn.Module, images: Tensor) -> _Parts:
    """Cut a network that goes through its children to a global average."""
    children = called_children(network, lambda: network(images))
    names = list(children)
    first = next(index for index, name in enumerate(names) if name in _POOLS)
    trunk = {name: children[name] for name in names[:first]}
    if names[first] == "class_layers":
        trunk.update(trunk.pop("features").named_children())
        trunk["relu"] = children["class_layers"].get_submodule("relu")
    return nn.Sequential(OrderedDict(trunk)), None


def _cut_efficientnet(network: nn.Module, images: Tensor) -> _Parts:
    children = called_children(network, lambda: network(images))
    swish = children.pop("_swish")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in children.items():
        if name in _POOLS:
            break
        layers.update({name.strip("_"): child})
        if name in ("_bn0", "_bn1"):
            layers[f"swish{name[-1]}"] = copy.copy(swish)
    return in_sequence(dict(layers)), None


def _cut_transformer(network: nn.Module, images: Tensor) -> _Parts:
    built = cast("Any", network)
    blocks = {f"block{name}": block for name, block in built.blocks.named_children()}
    has_token = hasattr(built, "cls_token")
    readout = ClassToken(built.norm) if has_token else _MeanToken(built.norm)
    tokens = _Tokens(with_children(network, ["patch_embedding"]))
    return nn.Sequential(OrderedDict(tokens=tokens, **blocks, readout=readout)), None


class _MeanToken(nn.Module):
    """Normalises tokens and returns their mean, [B, T, D] → [B, D]."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, tokens: Tensor) -> Tensor:
        return cast("Tensor", self.norm(tokens)).mean(1)


class _Tokens(nn.Module):
    """Images to tokens, as MONAI's ``ViT`` begins."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        network = cast("Any", self.network)
        tokens: Tensor = network.patch_embedding(images)
        if not hasattr(network, "cls_token"):
            return tokens
        return torch.cat([network.cls_token.expand(len(tokens), -1, -1), tokens], 1)


_CUTS: dict[str, Callable[[nn.Module, Tensor], _Parts]] = {
    "DenseNet": _cut_layers,
    "ResNet": _cut_layers,
    "SENet": _cut_layers,
    "EfficientNet": _cut_efficientnet,
    "ViT": _cut_transformer,
}
