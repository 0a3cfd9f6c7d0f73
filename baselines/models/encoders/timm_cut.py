"""timm's networks, cut into trunk, pool and head.

Every network of timm says what its features are and how it reads them out, so all of them can be
cut; transformers whose tokens are added up are cut such that their tokens are a map again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from baselines.models.encoders.cut_parts import (
    called_children,
    example_images,
    in_sequence,
    prove_cut,
    same,
    with_children,
    without_layers,
)
from baselines.models.torchvision_network import IMAGENET
from benchmark.classifier import Classifier, GlobalAveragePool, Preprocessing
from benchmark.classifier.layout import Turned
from benchmark.errors import ClassifierError, short_message

_TOKEN_CHILDREN = ("patch_embed", "pos_drop", "patch_drop", "norm_pre", "rope", "pos_embed")
_CHANNELS_LAST = (2, 0, 1)

_Parts = tuple[nn.Module, nn.Module | None]


def cut_timm(
    name: str,
    network: nn.Module,
    input_shape: Sequence[int],
    preprocessing: Preprocessing = IMAGENET,
) -> Classifier:
    """Return a classifier that shares the layers of a network of timm.

    Args:
        name: Name of the model in records and tables.
        network: Network as ``timm.create_model`` returns it, with two outputs.
        input_shape: Spatial shape *S of the images that it is given.
        preprocessing: Step from grey images to what the network expects; three channels on
            ImageNet's scale unless given.

    Raises:
        ClassifierError: If the network is no classifier of timm's, does not take the images, or has
            not two outputs.
    """
    built: Any = network.eval()
    if not all(hasattr(built, part) for part in ("forward_features", "forward_head")):
        raise ClassifierError(
            f"Model {name!r}: a {type(network).__name__} has no forward_features and forward_head, "
            "as timm's networks have."
        )
    images = example_images(network, input_shape, preprocessing)
    maps = _features(name, built, images)
    heads = built.get_classifier()
    heads = tuple(heads) if isinstance(heads, tuple | list) else (heads,)
    if len(heads) != 1 or not isinstance(heads[0], nn.Linear | nn.Conv2d):
        raise ClassifierError(
            f"Model {name!r}: a {type(network).__name__} has no single layer that gives its logits."
        )
    trunk, pool = _tokens(built, images, maps) or _layers(built, images, maps, heads)
    classifier = Classifier(name, trunk, _flat(heads[0]), input_shape, pool, preprocessing)
    return prove_cut(classifier, network, images)


def _features(name: str, network: Any, images: Tensor) -> Tensor:  # noqa: ANN401
    kind, shape = type(network).__name__, list(images.shape[2:])
    try:
        with torch.no_grad():
            maps = network.forward_features(images)
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        raise ClassifierError(
            f"Model {name!r}: {kind} cannot take images of shape {shape}: {short_message(error)}; "
            "timm's transformers take their size as img_size when they are created."
        ) from error
    if not isinstance(maps, Tensor):
        raise ClassifierError(
            f"Model {name!r}: the features of a {kind} are a {type(maps).__name__} of several, "
            "where one tensor is needed."
        )
    return maps


def _flat(head: nn.Module) -> nn.Module:
    """Return a head that takes an embedding [B, D] where it is a convolution of single cells."""
    if not isinstance(head, nn.Conv2d):
        return head
    return nn.Sequential(nn.Unflatten(1, (head.in_channels, 1, 1)), head, nn.Flatten())


def _layers(network: Any, images: Tensor, maps: Tensor, heads: tuple[nn.Module, ...]) -> _Parts:  # noqa: ANN401
    """Return the trunk and pool of any network, layer by layer where its features are just that."""
    children = called_children(network, lambda: network.forward_features(images))
    readout = called_children(network, lambda: network.forward_head(maps))
    names = [name for name, _ in network.named_children()]
    trunk: nn.Module = in_sequence(children)
    if not _computes(trunk, images, maps):
        trunk = _Features(with_children(network, [name for name in names if name not in readout]))
    plain = [name for name, child in network.named_children() if not list(child.parameters())]
    shell = with_children(network, [*readout, *plain], parameters=False)
    pool: nn.Module = nn.Sequential(_Readout(without_layers(shell, heads)), nn.Flatten())
    with torch.no_grad():
        embedding = pool(maps)
    if maps.ndim == images.ndim and maps.shape[1] != network.num_features == maps.shape[-1]:
        turned = Turned(_CHANNELS_LAST)
        layers = trunk._modules if isinstance(trunk, nn.Sequential) else {"features": trunk}
        trunk = nn.Sequential(OrderedDict(layers, channels_first=turned))
        maps, pool = turned(maps), nn.Sequential(turned.inverse, pool)
    has_weights = any(True for _ in pool.parameters())
    if not has_weights and _computes(GlobalAveragePool(), maps, embedding):
        return trunk, None
    return trunk, pool


def _tokens(network: Any, images: Tensor, features: Tensor) -> _Parts | None:  # noqa: ANN401
    """Return the trunk and pool of a plain vision transformer, or None for any other network."""
    parts = ("_pos_embed", "patch_embed", "blocks", "norm", "fc_norm", "num_prefix_tokens")
    if features.ndim != 3 or not all(hasattr(network, part) for part in parts):
        return None
    try:
        tokens = _Tokens(with_children(network, _TOKEN_CHILDREN))
        blocks = {f"block{name}": block for name, block in network.blocks.named_children()}
        grid = tuple(network.patch_embed.grid_size)
        is_mean = network.global_pool == "avg" and not getattr(network, "pool_include_prefix", 0)
        if is_mean and getattr(network, "attn_pool", None) is None:
            ending: nn.Module = _TokenMap(network.norm, network.num_prefix_tokens, grid)
            norm = network.fc_norm
            plain = isinstance(norm, nn.Identity)
            pool = None if plain else nn.Sequential(GlobalAveragePool(), norm)
        else:
            shell = with_children(network, ["attn_pool", "fc_norm", "head_drop"], parameters=False)
            shell.head = nn.Identity()
            ending, pool = nn.Sequential(network.norm, _Readout(shell)), None
        trunk = nn.Sequential(OrderedDict(tokens=tokens, **blocks, readout=ending))
        with torch.no_grad():
            embedding = (GlobalAveragePool() if pool is None else pool)(trunk(images))
            expected = network.forward_head(features, pre_logits=True)
    except (RuntimeError, AttributeError, TypeError, ValueError):
        return None  # one of its kin, which goes its own way
    return (trunk, pool) if same(embedding, expected) else None


def _computes(module: nn.Module, values: Tensor, expected: Tensor) -> bool:
    try:
        with torch.no_grad():
            result = module(values)
    except (RuntimeError, TypeError, ValueError, NotImplementedError):
        return False
    return isinstance(result, Tensor) and same(result, expected)


class _Features(nn.Module):
    """A network up to its feature maps, as one stage."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", cast("Any", self.network).forward_features(images))


class _Readout(nn.Module):
    """What a network makes of its features before the layer that gives the logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, maps: Tensor) -> Tensor:
        return cast("Tensor", cast("Any", self.network).forward_head(maps))


class _Tokens(nn.Module):
    """Images to tokens, as timm's transformers begin."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        network = cast("Any", self.network)
        tokens = network._pos_embed(network.patch_embed(images))
        return cast("Tensor", network.norm_pre(network.patch_drop(tokens)))


class _TokenMap(nn.Module):
    """Normalises tokens and lays those of patches out as a map, [B, T, D] → [B, D, *grid]."""

    def __init__(self, norm: nn.Module, prefix: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.norm, self.prefix, self.grid = norm, prefix, grid

    def forward(self, tokens: Tensor) -> Tensor:
        cells: Tensor = self.norm(tokens)[:, self.prefix :]
        maps: Tensor = cells.transpose(1, 2).unflatten(2, self.grid)
        return maps
