"""What cutting networks of other packages has in common: which layers run, and what is left.

A package's network is cut by watching it work. Its children that are called between the image and
the feature maps are the trunk, in the order in which they are called; those that are called behind
the maps are the pool, without the layer that gives the logits. What was cut is run beside the
network before it is handed out.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmark.classifier import Classifier, Preprocessing
from benchmark.errors import ClassifierError
from benchmark.seeding import torch_stream

# Containers of stages; others, such as a ResNet's `layer4`, are one stage.
_CONTAINERS = ("body", "features", "blocks", "stages", "layers")
_TOLERANCE = 1e-3


def example_images(
    network: nn.Module, input_shape: Sequence[int], preprocessing: Preprocessing
) -> Tensor:
    """Return two images of noise as a network expects them, [2, C, *S]."""
    noise = torch.rand(2, 1, *input_shape, generator=torch_stream("cut"))
    return preprocessing(noise.to(next(network.parameters())))


def called_children(network: nn.Module, run: Callable[[], object]) -> dict[str, nn.Module]:
    """Return the children that ``run`` calls, whole or in parts, by name, in the order of calls."""
    called: dict[str, nn.Module] = {}

    def watch(name: str, child: nn.Module) -> Callable[[nn.Module, object], None]:
        def note(part: nn.Module, _: object) -> None:
            called.setdefault(name, child)

        return note

    handles = [
        part.register_forward_pre_hook(watch(name, child))
        for name, child in network.named_children()
        for part in child.modules()
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return called


def in_sequence(children: dict[str, nn.Module]) -> nn.Sequential:
    """Return children one after the other, with containers of stages taken apart."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, child in children.items():
        if name in _CONTAINERS and isinstance(child, nn.Sequential | nn.ModuleList):
            layers.update({f"{name}_{stage}": layer for stage, layer in child.named_children()})
        else:  # the classifier's own head is a stage of that name
            layers["last" if name == "head" else name] = child
    return nn.Sequential(layers)


def with_children(network: nn.Module, names: Sequence[str], parameters: bool = True) -> nn.Module:
    """Return a network of the same class that holds some of its children alone.

    Args:
        network: Network that goes on holding all of them.
        names: Names of the children; those that a network lacks are left out.
        parameters: Whether the parameters and buffers that are no child's are held too.
    """
    other = copy.copy(network)
    held = network._modules.items()
    other._modules = {name: child for name, child in held if name in names or child is None}
    if not parameters:
        other._parameters, other._buffers = {}, {}
    return other


def without_layers(network: nn.Module, layers: Sequence[nn.Module]) -> nn.Module:
    """Return a network in which some layers, at any depth, do nothing."""
    if any(network is layer for layer in layers):
        return nn.Identity()
    if not any(part is layer for part in network.modules() for layer in layers):
        return network
    other = copy.copy(network)
    held = network._modules.items()
    other._modules = {
        name: child if child is None else without_layers(child, layers) for name, child in held
    }
    return other


def same(first: Tensor, second: Tensor) -> bool:
    """Return whether two results agree to rounding."""
    if first.shape != second.shape:
        return False
    scale = float(first.abs().max()) if first.numel() else 0.0
    return torch.allclose(first, second, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True)


def prove_cut(classifier: Classifier, network: nn.Module, images: Tensor) -> Classifier:
    """Return the classifier if it computes what the network does.

    Args:
        classifier: Classifier that was cut from it.
        network: Network.
        images: [B, C, *S] images as the network expects them.

    Raises:
        ClassifierError: If its logits are not the network's.
    """
    with torch.no_grad():
        logits = network(images)
        logits = logits[0] if isinstance(logits, tuple) else logits
        cut = classifier.tail(classifier.trunk(images))[0]
    if not same(logits, cut):
        raise ClassifierError(
            f"Model {classifier.name!r}: a {type(network).__name__} computes something beside its "
            "layers, so it is cut by hand, with benchmark.classifier.Classifier."
        )
    return classifier
