"""Recognises the architecture of weights by their names and shapes."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from baselines.models.encoders.architectures import Fitting, build_network, usual_input
from baselines.models.encoders.weights.checkpoint import Checkpoint
from baselines.models.encoders.weights.matching import Match, match_weights, other_copies
from benchmark.errors import ClassifierError
from benchmark.plugins.catalogue import LIBRARIES

_SIDES = {2: 224, 3: 64}
_FIRST = 3


@dataclass(frozen=True)
class Candidates:
    """Networks that share a tell-tale name of a weight.

    Attributes:
        hallmark: Pattern of the end of that name.
        dimensions: Number of axes of that weight; any unless given.
        names: Names of the networks, those of the more usual library first.
    """

    hallmark: str
    names: tuple[str, ...]
    dimensions: int | None = None


def _of(library: str, names: str) -> tuple[str, ...]:
    return tuple(f"{library}.{name}" for name in names.split())


_BLOCK = r"(layer4|7|4)\.0\.conv1\.weight"
_RESNETS = _of(
    "torchvision",
    "resnet18 resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 wide_resnet101_2 "
    "resnext50_32x4d resnext101_32x8d resnext101_64x4d",
) + _of(
    "timm",
    "resnet10t resnet14t resnet18d resnet26 resnet26d resnet34d resnet50d resnet101d resnet152d "
    "resnet50_gn resnext50d_32x4d resnext101_32x4d seresnet18 seresnet34 seresnet50 seresnet101 "
    "seresnext50_32x4d",
)
_VIDEO = _of("torchvision", "r3d_18 mc3_18 r2plus1d_18")
_EFFICIENT = "efficientnet_b{} tf_efficientnet_b{}"
KNOWN = (
    Candidates(_BLOCK, _RESNETS, 4),
    Candidates(_BLOCK, _of("monai", "resnet10 resnet18 resnet34 resnet50 resnet101 resnet152"), 5),
    Candidates(r"(layer4|4)\.0\.conv1\.0(\.0)?\.weight", _VIDEO),
    Candidates(
        r"denselayer1\.(norm1|norm\.1)\.weight",
        _of("torchvision", "densenet121 densenet161 densenet169 densenet201"),
    ),
    Candidates(
        r"denselayer1\.layers\.norm1\.weight",
        _of("monai", "DenseNet121 DenseNet169 DenseNet201 DenseNet264"),
    ),
    Candidates(
        r"block\.0\.weight",
        _of("torchvision", "convnext_tiny convnext_small convnext_base convnext_large"),
    ),
    Candidates(
        r"encoder_layer_0\.self_attention\.in_proj_weight",
        _of("torchvision", "vit_b_16 vit_b_32 vit_l_16 vit_l_32 vit_h_14"),
    ),
    Candidates(
        r"(^|\.)1\.0\.attn\.qkv\.weight",
        _of("torchvision", "swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b"),
    ),
    Candidates(
        r"\.\d\.0\.block\.0\.0\.weight|(^|\.)\d\.0\.block\.0\.0\.weight",
        _of("torchvision", "efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3")
        + _of("torchvision", "efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7")
        + _of("torchvision", "efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l"),
    ),
    Candidates(
        r"\d\.block\.0\.0\.weight", _of("torchvision", "mobilenet_v3_small mobilenet_v3_large")
    ),
    Candidates(r"\d\.conv\.0\.0\.weight", _of("torchvision", "mobilenet_v2")),
    Candidates(
        r"blocks\.0\.attn\.qkv\.weight",
        _of("timm", "vit_tiny_patch16_224 vit_small_patch16_224 vit_small_patch32_224")
        + _of("timm", "vit_small_patch8_224 vit_base_patch8_224 vit_base_patch16_224")
        + _of("timm", "vit_base_patch32_224 vit_large_patch14_224 vit_large_patch16_224")
        + _of("timm", "vit_large_patch32_224 vit_huge_patch14_224 vit_base_patch16_gap_224")
        + _of("timm", "vit_small_patch14_dinov2 vit_base_patch14_dinov2 vit_large_patch14_dinov2"),
    ),
    Candidates(
        r"layers\.0\.blocks\.0\.attn\.qkv\.weight",
        _of("timm", "swin_tiny_patch4_window7_224 swin_small_patch4_window7_224")
        + _of("timm", "swin_base_patch4_window7_224 swin_large_patch4_window7_224"),
    ),
    Candidates(
        r"stages\.0\.blocks\.0\.conv_dw\.weight",
        _of("timm", "convnext_atto convnext_femto convnext_pico convnext_nano convnext_tiny")
        + _of("timm", "convnext_small convnext_base convnext_large convnextv2_atto")
        + _of("timm", "convnextv2_nano convnextv2_tiny convnextv2_base"),
    ),
    Candidates(
        r"(^|\.)_?blocks\.0(\.0)?\.(conv_dw|_depthwise_conv)\.weight",
        _of("timm", "tf_efficientnet_lite0 tf_efficientnet_lite1 tf_efficientnet_lite2")
        + _of("timm", "tf_efficientnet_lite3 tf_efficientnet_lite4 efficientnet_lite0")
        + tuple(name for size in range(5) for name in _of("timm", _EFFICIENT.format(size, size)))
        + _of("timm", "mobilenetv2_100 mobilenetv3_small_100 mobilenetv3_large_100"),
    ),
    Candidates(
        r"_blocks\.0\.0\._depthwise_conv\.weight",
        tuple(f"monai.efficientnet-b{size}" for size in range(5)),
    ),
    Candidates(
        r"(^|\.)0\.weight",
        _of("torchvision", "vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn alexnet"),
        4,
    ),
)


@dataclass(frozen=True)
class Recognition:
    """The architecture of a file's weights.

    Attributes:
        architecture: Name of the architecture.
        settings: Further arguments of the function that builds it.
        fitting: Images and classes that the network was built to fit.
        match: Match of the file.
        alternatives: Names of further architectures that fit as well.
        copies: Prefixes of further copies of the network in the file.
    """

    architecture: str
    settings: Mapping[str, object]
    fitting: Fitting
    match: Match
    alternatives: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


def recognise(checkpoint: Checkpoint) -> Recognition:
    """Return the architecture that fits a file's weights.

    Raises:
        ClassifierError: If none fits; the message says which comes nearest and what is in the way.
    """
    names, refusals = list(_candidates(checkpoint.tensors)), []
    nearest: Recognition | None = None
    # What torchvision and timm call alike computes the same, so the first library decides.
    for library in LIBRARIES:
        fitted = []
        for name in (name for name in names if name.startswith(library)):
            try:
                recognition = fit_architecture(name, checkpoint.tensors, Path())
            except ClassifierError as error:
                refusals.append(str(error))
                continue
            if not recognition.match.faults:
                fitted.append(recognition)
            elif nearest is None or recognition.match.rank < nearest.match.rank:
                nearest = recognition
        if fitted:
            return _choose(fitted, checkpoint)
    raise ClassifierError(_why_unknown(checkpoint, nearest, refusals))


def _choose(fitted: Sequence[Recognition], checkpoint: Checkpoint) -> Recognition:
    """Return the first of those that use most of a file, with the others' names beside."""
    best = max(len(recognition.match.used) for recognition in fitted)
    equal = [each for each in fitted if len(each.match.used) == best]
    first, names = equal[0], tuple(each.architecture for each in equal[1:])
    return replace(first, alternatives=names)


def fit_architecture(name: str, tensors: Mapping[str, Tensor], folder: Path) -> Recognition:
    """Return how a file fits an architecture, built for the channels and the size of the file.

    Raises:
        ClassifierError: If there is no such architecture, or its library is not installed.
    """
    dimensions = _dimensions(tensors)
    usual = usual_input(name)
    shape = tuple(usual.get("size") or [_SIDES[dimensions]] * dimensions)
    best: Recognition | None = None
    for settings in _settings(name):
        fitting = Fitting(shape, usual["channels"], 2, settings)
        network = _outline(name, fitting, folder)
        match = match_weights(network, tensors)
        adapted = _adapt(network, fitting, tensors, match)
        if adapted != fitting:
            fitting, network = adapted, _outline(name, adapted, folder)
            match = match_weights(network, tensors)
        copies = () if match.faults else tuple(other_copies(network, tensors, match))
        recognition = Recognition(name, settings, fitting, match, (), copies)
        if best is None or match.rank < best.match.rank:
            best = recognition
    assert best is not None  # there is always one choice of settings at least
    return best


def _outline(name: str, fitting: Fitting, folder: Path) -> nn.Module:
    if ".py" in name:
        return build_on_meta(name, fitting, folder)
    return _library_outline(name, fitting.shape, fitting.channels, tuple(fitting.settings.items()))


@lru_cache(maxsize=128)
def _library_outline(
    name: str, shape: tuple[int, ...], channels: int, settings: tuple[tuple[str, object], ...]
) -> nn.Module:
    return build_on_meta(name, Fitting(shape, channels, 2, dict(settings)), Path())


def build_on_meta(name: str, fitting: Fitting, folder: Path) -> nn.Module:
    """Return a network without any memory for its weights, as far as it can be built so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return build_network(name, fitting, folder)
        except ClassifierError:
            # A constructor that computes something, such as a schedule of widths.
            with torch.random.fork_rng(devices=[]):
                return build_network(name, fitting, folder)


def _candidates(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    names: dict[str, None] = {}
    for candidates in KNOWN:
        hallmark = re.compile(rf"(?:{candidates.hallmark})$")
        for name, tensor in tensors.items():
            if candidates.dimensions in (None, tensor.ndim) and hallmark.search(name):
                names.update(dict.fromkeys(candidates.names))
                break
    yield from names


def _settings(name: str) -> Sequence[Mapping[str, object]]:
    """Return the variants of a network that its weights tell apart."""
    if name.startswith("monai.resnet"):  # MedicalNet's shortcuts of either kind
        return ({}, {"bias_downsample": False}, {"shortcut_type": "A"})
    return ({},)


def _dimensions(tensors: Mapping[str, Tensor]) -> int:
    return 3 if any(tensor.ndim == 5 for tensor in tensors.values()) else 2


def _adapt(
    network: nn.Module, fitting: Fitting, tensors: Mapping[str, Tensor], match: Match
) -> Fitting:
    """Return what the network must fit so that stem and position embedding have the file's shape.

    These depend on the channels and on the size of the images, and not on the architecture.
    """
    misshapen, weights = set(match.misshapen), network.state_dict()
    if not misshapen:
        return fitting
    stem = next((name for name, tensor in weights.items() if tensor.ndim >= 4), None)
    # The names in the file that are not used begin as the others do.
    for file_name in misshapen:
        tensor = tensors[file_name]
        own = file_name.removeprefix(match.prefix)
        is_position = "pos" in own and tensor.ndim == 3
        if is_position and (expected := weights.get(own)) is not None:
            old, new = expected.shape[1], tensor.shape[1]
            extra = next((count for count in (1, 2, 0) if _is_square(old - count)), 0)
            if _is_square(new - extra):
                share = math.isqrt(new - extra) / math.isqrt(old - extra)
                fitting = replace(fitting, shape=tuple(round(n * share) for n in fitting.shape))
        elif stem is not None and tensor.ndim == weights[stem].ndim:
            same = weights[stem].shape[:1] + weights[stem].shape[2:]
            if tensor.shape[:1] + tensor.shape[2:] == same and tensor.shape[1] <= 64:
                fitting = replace(fitting, channels=tensor.shape[1])
    return fitting


def _is_square(count: int) -> bool:
    return count > 0 and math.isqrt(count) ** 2 == count


def _why_unknown(
    checkpoint: Checkpoint, nearest: Recognition | None, refusals: Sequence[str]
) -> str:
    start = f"The architecture of {checkpoint.path} is not recognised"
    names = list(checkpoint.tensors)
    advice = "Name it with --architecture, or build it by a function: --architecture file.py:build."
    if refusals and nearest is None:
        return f"{start}. {refusals[0]}"
    if nearest is None:
        first = ", ".join(names[:_FIRST])
        return f"{start} by its {len(names)} tensors ({first}, …). {advice}"
    return f"{start}; {fault_sentence(nearest.architecture, nearest.match, checkpoint)} {advice}"


def fault_sentence(architecture: str, match: Match, checkpoint: Checkpoint) -> str:
    """Return one sentence on why a file does not fit an architecture."""
    parts = []
    if match.missing:
        parts.append(f"{len(match.missing)} names are missing, the first {match.missing[0]}")
    if match.misshapen:
        name = match.misshapen[0]
        shape = list(checkpoint.tensors[name].shape)
        parts.append(
            f"{len(match.misshapen)} tensors have another shape, the first {name} with {shape}"
        )
    if match.unexpected:
        parts.append(f"{len(match.unexpected)} are unexpected, the first {match.unexpected[0]}")
    elif match.missing and match.left_over:
        parts.append(f"{len(match.left_over)} are unexpected, the first {match.left_over[0]}")
    return f"the weights do not fit {architecture}: {'; '.join(parts)}."
