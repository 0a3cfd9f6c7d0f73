"""Networks by name: those of torchvision, timm and MONAI, and those that a file builds."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torchvision
from torch import nn

from baselines.models.torchvision_network import IMAGENET
from benchmark.errors import ClassifierError, short_message
from benchmark.plugins.catalogue import LIBRARIES, split_path
from benchmark.plugins.foreign.plugin_file import run_file

_FAMILIES = (
    *("alexnet", "convnext", "densenet", "efficientnet", "mobilenet", "regnet"),
    *("resnet", "resnext", "swin", "vgg", "vit", "wide_resnet"),
)
_VIDEO = ("mc3_18", "r2plus1d_18", "r3d_18")
_MONAI_DENSE = ("DenseNet121", "DenseNet169", "DenseNet201", "DenseNet264")
_MONAI_RESIDUAL = tuple(f"resnet{depth}" for depth in (10, 18, 34, 50, 101, 152, 200))
_MONAI_EFFICIENT = tuple(f"efficientnet-b{size}" for size in range(9))
_MONAI = (*_MONAI_DENSE, *_MONAI_RESIDUAL, *_MONAI_EFFICIENT)
_INPUT_SIDE = 224
_IMAGENET = {"channels": 3, "mean": list(IMAGENET.mean), "std": list(IMAGENET.std)}
_WEIGHTS_OF_LIBRARIES = frozenset(
    ("pretrained", "weights", "weights_backbone", "checkpoint_path", "pretrained_cfg")
)


@dataclass(frozen=True)
class Fitting:
    """What a network is built to fit.

    Attributes:
        shape: Spatial shape of what it is given, after any resizing.
        channels: Number of channels that it is given.
        classes: Number of outputs.
        settings: Further arguments of the function that builds it.
    """

    shape: tuple[int, ...]
    channels: int = 3
    classes: int = 2
    settings: Mapping[str, object] = field(default_factory=dict)


class Parts(nn.Module):
    """A network that its author has cut: trunk, and a pool and a head where there are any."""

    def __init__(self, trunk: nn.Module, *others: nn.Module | None) -> None:
        super().__init__()
        self.trunk = trunk
        for name, module in zip(("pool", "head"), others, strict=False):
            if module is not None:
                self.add_module(name, module)


def build_network(architecture: str, fitting: Fitting, folder: Path) -> nn.Module:
    """Return an untrained network.

    Args:
        architecture: ``torchvision.NAME``, ``timm.NAME``, ``monai.NAME`` or ``file.py:function``.
        fitting: Images and classes that it must fit.
        folder: Folder that a path is relative to.

    Raises:
        ClassifierError: If there is no such network, its library is not installed, or it cannot be
            built for that.
    """
    library, _, name = architecture.partition(".")
    if ".py" in architecture:
        return _build_from_file(architecture, fitting, folder)
    builders = {"torchvision": _torchvision, "timm": _timm, "monai": _monai}
    if library not in LIBRARIES or not name:
        raise ClassifierError(
            f"Unknown architecture {architecture!r}; known: torchvision.NAME, timm.NAME, "
            "monai.NAME and path/to/file.py:function."
        )
    if foreign := _WEIGHTS_OF_LIBRARIES.intersection(fitting.settings):
        raise ClassifierError(
            f"The setting {min(foreign)!r} of {architecture!r} lets the library fetch weights; "
            "weights come from a file alone, which `weights` in the model file names."
        )
    with _blaming(architecture, fitting):
        return builders[library](name, fitting)


def usual_input(architecture: str) -> dict[str, Any]:
    """Return channels, mean, std and, where it is fixed, the size that a network is made for.

    They are those of the published weights, and nothing is known of others.

    Raises:
        ClassifierError: If there is no such network, or its library is not installed.
    """
    library, _, name = architecture.partition(".")
    if library == "torchvision":
        if name not in torchvision_names():
            raise _unknown("torchvision", name, torchvision_names())
        if name in _VIDEO:
            mean, std = [0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]
            return {"channels": 3, "mean": mean, "std": std}
        size = {"size": [_INPUT_SIDE] * 2} if name.startswith("vit_") else {}
        return {**_IMAGENET, **size}
    if library == "timm":
        config = _published(_import_library("timm"), name)
        if config is not None:
            size = {"size": list(config.input_size[1:])} if config.fixed_input_size else {}
            mean, std = list(config.mean), list(config.std)
            return {"channels": config.input_size[0], "mean": mean, "std": std, **size}
        return dict(_IMAGENET)
    if library == "monai" and name not in _MONAI:
        raise _unknown("monai", name, _MONAI)
    return {"channels": 1, "mean": [0.0], "std": [1.0]}


def torchvision_names() -> tuple[str, ...]:
    """Return the names of the networks of torchvision that can be cut."""
    names = torchvision.models.list_models(module=torchvision.models)
    return (*(name for name in names if name.startswith(_FAMILIES)), *_VIDEO)


def _torchvision(name: str, fitting: Fitting) -> nn.Module:
    if name not in torchvision_names():
        raise _unknown("torchvision", name, torchvision_names())
    settings = dict(fitting.settings)
    if name.startswith("vit_"):
        if len(set(fitting.shape)) != 1 or len(fitting.shape) != 2:
            raise ClassifierError(
                f"torchvision.{name} takes square images, but is given {list(fitting.shape)}; name "
                "a square `size` in [input] of the model file."
            )
        settings.setdefault("image_size", fitting.shape[0])
    network: nn.Module = torchvision.models.get_model(
        name, weights=None, num_classes=fitting.classes, **settings
    )
    _set_channels(network, fitting.channels)
    return network


def _timm(name: str, fitting: Fitting) -> nn.Module:
    timm = _import_library("timm")
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    settings = dict(fitting.settings)
    config = _published(timm, name)
    if config is not None and config.fixed_input_size:
        settings.setdefault("img_size", fitting.shape)
    network: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=fitting.classes, in_chans=fitting.channels, **settings
    )
    return network


def _monai(name: str, fitting: Fitting) -> nn.Module:
    nets = _import_library("monai.networks.nets")
    settings = {"spatial_dims": len(fitting.shape), **fitting.settings}
    network: nn.Module
    if name in _MONAI_DENSE:
        arguments = {"in_channels": fitting.channels, "out_channels": fitting.classes}
        network = getattr(nets, name)(**arguments, **settings)
    elif name in _MONAI_RESIDUAL:
        arguments = {"n_input_channels": fitting.channels, "num_classes": fitting.classes}
        network = getattr(nets, name)(**arguments, **settings)
    elif name in _MONAI_EFFICIENT:
        arguments = {"in_channels": fitting.channels, "num_classes": fitting.classes}
        network = nets.EfficientNetBN(name, pretrained=False, **arguments, **settings)
    else:
        raise _unknown("monai", name, _MONAI)
    return network


def _build_from_file(architecture: str, fitting: Fitting, folder: Path) -> nn.Module:
    """Return what a function of a file builds, given the spatial shape if it takes an argument."""
    file, ending = split_path(architecture)
    path, function = Path(os.path.normpath(folder / file)), ending.removeprefix(":")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ClassifierError(
            f"The architecture {architecture!r} cannot be read from {path}: {error.strerror}."
        ) from error
    module = run_file(path, source, hashlib.sha256(source).hexdigest())
    build = getattr(module, function, None)
    if not callable(build):
        functions = [each for each, value in vars(module).items() if inspect.isfunction(value)]
        known = ", ".join(functions) or "none"
        raise ClassifierError(
            f"The architecture {architecture!r} must name a function, as in file.py:build; "
            f"functions of {path}: {known}."
        )
    with _blaming(architecture, fitting):
        return _as_network(architecture, _call(build, fitting))


def _call(build: Callable[..., object], fitting: Fitting) -> object:
    required = [
        parameter
        for parameter in inspect.signature(build).parameters.values()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and parameter.name not in fitting.settings
    ]
    return build(*[fitting.shape] * len(required[:1]), **fitting.settings)


def _as_network(architecture: str, built: object) -> nn.Module:
    if isinstance(built, nn.Module):
        return built
    if isinstance(built, Sequence) and 1 <= len(built) <= 3:
        trunk, *others = built
        if isinstance(trunk, nn.Module) and all(
            other is None or isinstance(other, nn.Module) for other in others
        ):
            return Parts(trunk, *others)
    raise ClassifierError(
        f"The architecture {architecture!r} must return a network, or its parts "
        f"(trunk, pool, head), but returned {type(built).__name__}."
    )


@contextmanager
def _blaming(architecture: str, fitting: Fitting) -> Iterator[None]:
    """Turn whatever a builder stumbles over into one sentence that names it."""
    try:
        yield
    except ClassifierError:
        raise
    except (Exception, SystemExit) as error:  # code of others
        chosen = f" with the settings {dict(fitting.settings)}" if fitting.settings else ""
        raise ClassifierError(
            f"The architecture {architecture!r} cannot be built for inputs of shape "
            f"{[fitting.channels, *fitting.shape]}{chosen}: {short_message(error)}."
        ) from error


def _import_library(module: str) -> ModuleType:
    """Return an optional library, imported here since most models do without it."""
    library = module.partition(".")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise ClassifierError(
            f"Networks of {library} need the package: pip install 'medsanity[{library}]'."
        ) from error


def _published(timm: ModuleType, name: str) -> Any:  # noqa: ANN401 - timm's PretrainedCfg
    """Return what timm knows of a network's published weights, or None."""
    if not timm.is_model(name):
        raise _unknown("timm", name, timm.list_models())
    return timm.get_pretrained_cfg(name)


def _set_channels(network: nn.Module, channels: int) -> None:
    """Give a network's first convolution another number of input channels."""
    convolutions = (nn.Conv2d, nn.Conv3d)
    name, first = next(
        (name, part) for name, part in network.named_modules() if isinstance(part, convolutions)
    )
    if first.in_channels == channels:
        return
    names = ("out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    settings: dict[str, Any] = {key: getattr(first, key) for key in names}
    bias, device = first.bias is not None, first.weight.device
    other = type(first)(channels, **settings, bias=bias, device=device)
    network.set_submodule(name, other)


def _unknown(library: str, name: str, known: Sequence[str]) -> ClassifierError:
    nearest = difflib.get_close_matches(name, known, n=3)
    hint = f" Did you mean {' or '.join(f'{library}.{each}' for each in nearest)}?"
    others = ", ".join(known) if len(known) <= 80 else f"{len(known)} networks"
    return ClassifierError(
        f"Unknown architecture {f'{library}.{name}'!r}.{hint if nearest else ''} Known: {others}."
    )
