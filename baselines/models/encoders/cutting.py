"""Cuts a network of any library into a classifier whose head is one linear layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.models.encoders.architectures import Parts
from baselines.models.encoders.monai_cut import cut_monai
from baselines.models.encoders.timm_cut import cut_timm
from baselines.models.encoders.weights.matching import last_linear
from baselines.models.torchvision_network import cut_torchvision
from benchmark.classifier import Classifier, Preprocessing
from benchmark.errors import ClassifierError

_CUTS = {"torchvision": cut_torchvision, "timm": cut_timm, "monai": cut_monai}
_POOLS = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.Flatten,
)


def cut_network(
    name: str, network: nn.Module, input_shape: Sequence[int], preprocessing: Preprocessing
) -> Classifier:
    """Return a classifier that shares the layers of a network with two outputs.

    Args:
        name: Name of the model.
        network: Network of torchvision, timm or MONAI; a sequence that goes on from its first
            global pooling to the head; or ``Parts``. The last two may lack a head.
        input_shape: Spatial shape *S of the images.
        preprocessing: Step from images to what the network expects.

    Raises:
        ClassifierError: If it is of another kind, or does not fit the images.
    """
    if next(network.parameters(), None) is None:
        raise ClassifierError(f"The network of model {name!r} has no weights at all.")
    library = type(network).__module__.partition(".")[0]
    if library in _CUTS:
        return _CUTS[library](name, network, input_shape, preprocessing)
    if isinstance(network, Parts):
        children = dict(network.named_children())
        trunk, pool, head = (children.get(part) for part in ("trunk", "pool", "head"))
    elif isinstance(network, nn.Sequential):
        trunk, pool, head = _cut_sequence(network)
    else:
        raise ClassifierError(
            f"Model {name!r} is built as a {type(network).__name__}, and nothing says where to cut "
            "it: return its parts (trunk, pool, head), an nn.Sequential of them, or a network of "
            "torchvision, timm or MONAI."
        )
    assert trunk is not None  # of Parts always, and of a sequence
    if head is None:
        headless = Classifier(name, trunk, _Zeros(), input_shape, pool, preprocessing)
        head = nn.Linear(embedding_width(headless), 2)
    return Classifier(name, trunk, head, input_shape, pool, preprocessing)


def embedding_width(classifier: Classifier, pool: nn.Module | None = None) -> int:
    """Return the number of values D of an embedding, also with another pool; no pass is counted."""
    with torch.no_grad():
        maps = classifier.trunk(classifier.preprocessing(classifier.example))
        return int((classifier.pool if pool is None else pool)(maps).shape[1])


def replace_head(network: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Give a network's head other weights [2, D] and bias [2], or none."""
    name = last_linear(network)
    assert name is not None  # the weights were read from its place
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        head.weight.copy_(weight)
        if bias is not None:
            head.bias.copy_(bias)
    network.set_submodule(name, head)


def ending_linear(classifier: Classifier, without: Sequence[str] = ()) -> Classifier:
    """Return a classifier whose head is its last linear layer alone.

    The layers before it belong to the pool, so that the embedding is what the head reads.

    Args:
        classifier: Classifier as its library's function cut it.
        without: Names in the network of layers before the last one that have no weights; they are
            left out, and the head reads what is before them.
    """
    head, pool = classifier.head, classifier.pool
    if isinstance(head, nn.Linear) and not without:
        return classifier
    layers = list(head.children()) if isinstance(head, nn.Sequential) else [head]
    if not isinstance(layers[-1], nn.Linear):
        return classifier
    if without:
        pool = _without_weights(pool)
        layers = [nn.Linear(embedding_width(classifier, pool), 2)]
    elif len(layers) > 1:
        pool = nn.Sequential(pool, *layers[:-1])
    return Classifier(
        classifier.name,
        classifier.trunk,
        layers[-1],
        classifier.input_shape,
        pool,
        classifier.preprocessing,
    )


def _without_weights(pool: nn.Module) -> nn.Module:
    if not isinstance(pool, nn.Sequential):
        return pool
    return nn.Sequential(*(layer for layer in pool if not list(layer.parameters())))


def _cut_sequence(network: nn.Sequential) -> tuple[nn.Module, nn.Module | None, nn.Module | None]:
    """Return trunk, pool and head of a sequence: up to the first global pooling, and its end."""
    layers = list(network.named_children())
    pools = [index for index, (_, layer) in enumerate(layers) if isinstance(layer, _POOLS)]
    # A network that flattens its images at once, as a perceptron, has no maps to pool.
    first = pools[0] if pools and pools[0] > 0 else len(layers)
    has_head = last_linear(network) is not None
    if has_head and first == len(layers):
        first -= 1
    trunk, rest = network[:first], network[first : -1 if has_head else None]
    # A pooling that keeps axes of length one is followed by what takes them away.
    flat = [] if any(isinstance(layer, nn.Flatten) for layer in rest) else [nn.Flatten()]
    pool = nn.Sequential(*rest, *flat) if len(rest) else None
    return trunk, pool, network[-1] if has_head else None


class _Zeros(nn.Module):
    """Stands for a head whose width is not known yet."""

    def forward(self, embedding: Tensor) -> Tensor:
        """Return logits [B, 2] of zeros."""
        return embedding.new_zeros(embedding.shape[0], 2)
