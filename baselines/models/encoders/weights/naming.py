"""How a network's weights may be called in a file: by its names, or by places in a sequence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

_BODY = "features"
_DENSE = re.compile(r"(denselayer\d+)\.(norm|conv)(\d)\.")


@dataclass(frozen=True)
class Naming:
    """Names in a file for a network's parameters and buffers.

    Attributes:
        label: Label of the kind of names, for tables.
        names: Name in the file, behind any prefix, by name in the network.
    """

    label: str
    names: Mapping[str, str] = field(repr=False)


def namings_of(network: nn.Module) -> Iterator[Naming]:
    """Yield the ways in which the weights of a network are known to be called.

    Beside its own names these are the places in ``nn.Sequential(*network.children())``, both also
    for the body alone where it has a module ``features``, and those of two older libraries.
    """
    own = list(network.state_dict())
    yield Naming("its own names", {name: name for name in own})
    yield from _places(network, "", own)
    body = getattr(network, _BODY, None)
    if isinstance(body, nn.Module):
        inside = [name for name in own if name.startswith(f"{_BODY}.")]
        yield Naming(f"names inside {_BODY}", {name: name.partition(".")[2] for name in inside})
        yield from _places(body, f"{_BODY}.", inside)
    if any(_DENSE.search(name) for name in own):
        yield Naming(
            "names of torchvision 0.2", {name: _DENSE.sub(r"\1.\2.\3.", name) for name in own}
        )
    if hasattr(network, "conv_stem") and hasattr(network, "blocks"):
        yield Naming("names of efficientnet_pytorch", dict(_efficientnet_names(network, own)))


def _places(module: nn.Module, prefix: str, names: list[str]) -> Iterator[Naming]:
    """Yield the names in a sequence of a module's children, where all weights are in children."""
    indices = {name: str(index) for index, (name, _) in enumerate(module.named_children())}
    spelled = {}
    for name in names:
        child, _, rest = name.removeprefix(prefix).partition(".")
        if child not in indices:
            return
        spelled[name] = f"{indices[child]}.{rest}"
    if any(child != index for child, index in indices.items()):
        yield Naming("places in nn.Sequential", spelled)


def _efficientnet_names(network: nn.Module, names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the names of lukemelas' efficientnet_pytorch for those of timm's EfficientNet."""
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    outer["classifier"] = "_fc"
    blocks = dict.fromkeys(".".join(name.split(".")[:3]) for name in names if "blocks." in name)
    number = {block: str(index) for index, block in enumerate(blocks)}
    for name in names:
        block = ".".join(name.split(".")[:3])
        if block not in number:
            part, _, rest = name.partition(".")
            if part in outer:
                yield name, f"{outer[part]}.{rest}"
            continue
        part, _, rest = name.removeprefix(f"{block}.").rpartition(".")
        # A block without expansion has two convolutions, the second of which projects.
        expands = f"{block}.conv_pwl.weight" in names
        inner = {"conv_dw": "_depthwise_conv", "se.conv_reduce": "_se_reduce"}
        inner |= {"se.conv_expand": "_se_expand"}
        if expands:
            inner |= {"conv_pw": "_expand_conv", "bn1": "_bn0", "bn2": "_bn1"}
            inner |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
        else:
            inner |= {"bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
        if part in inner:
            yield name, f"_blocks.{number[block]}.{inner[part]}.{rest}"
