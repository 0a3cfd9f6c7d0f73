"""Networks rewritten for methods that bind a rule to each layer.

Such methods, DeepLIFT, guided backpropagation and layer-wise relevance propagation among them, hook
the modules of a network. They go wrong in silence where a module works twice, where it works in
place, and where what it does is not done by a module at all. In the canonical form every
activation is a module of its own and out of place, and a sum of two branches is a module. If asked
for, batch norm is folded into the layer before it, or becomes a scale and a shift.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils import fusion

from benchmark.classifier import Classifier, GlobalAveragePool
from benchmark.classifier.batch_norm import BATCH_NORMS
from benchmark.errors import UnsupportedError

_RELUS = (functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_")
_ACTIVATIONS: dict[object, type[nn.Module]] = {
    **dict.fromkeys(_RELUS, nn.ReLU),
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), nn.Sigmoid),
    **dict.fromkeys((torch.tanh, functional.tanh, "tanh"), nn.Tanh),
    functional.gelu: nn.GELU,
    functional.silu: nn.SiLU,
}
_ACTIVATION_MODULES = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish)
_ADDITIONS = {operator.add, operator.iadd, torch.add, "add", "add_"}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_ADAPTIVE_POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, *_ADAPTIVE_POOLS, GlobalAveragePool)
# What changes no value in evaluation mode, only its position.
REARRANGEMENTS = (nn.Flatten, nn.Dropout, nn.Dropout2d, nn.Dropout3d, nn.Identity)
_JOINING_FUNCTIONS = {torch.stack, torch.cat, torch.concat}
_FLATTENING_FUNCTIONS = {torch.flatten, "flatten", "contiguous"}
REARRANGING_FUNCTIONS = {*_JOINING_FUNCTIONS, *_FLATTENING_FUNCTIONS, functional.dropout}
_TOLERANCE = 1e-3
_REWRITTEN: WeakKeyDictionary[Classifier, dict[tuple[bool, bool], tuple[object, Classifier]]] = (
    WeakKeyDictionary()
)


class Sum(nn.Module):
    """The sum of branches that were stacked along a last axis, [..., n] → [...]."""

    def forward(self, stacked: Tensor) -> Tensor:
        """Return the sum."""
        return stacked.sum(-1)


class Affine(nn.Module):
    """A scale [C] and a shift [C] of each channel, as frozen batch norm is one."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Return weight · maps + bias."""
        shape = (1, -1, *[1] * (maps.ndim - 2))
        return self.weight.view(shape) * maps + self.bias.view(shape)


class PairwiseMax(nn.Module):
    """Max pooling as a tournament, max(a, b) = b + ReLU(a − b), axis by axis.

    A rule for ReLU and one for sums then give one for max pooling. Borders are padded with copies
    of the outermost values, which every window that reaches beyond holds anyway.
    """

    def __init__(
        self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = tuple(kernel), tuple(stride), tuple(padding)
        # A list of lists: the j-th comparison along an axis has a ReLU of its own.
        self.relus = nn.ModuleList(
            nn.ModuleList(nn.ReLU() for _ in range(length - 1)) for length in self.kernel
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maxima, [B, C, *s]."""
        width = [size for size in reversed(self.padding) for _ in range(2)]
        padded = functional.pad(maps, width, mode="replicate") if any(width) else maps
        for axis, relus in enumerate(self.relus, start=2):
            length, step = self.kernel[axis - 2], self.stride[axis - 2]
            last = (padded.shape[axis] - length) // step * step
            # Slices, since a gradient through unfold takes twenty times as long.
            padded, *others = [
                padded[(slice(None),) * axis + (slice(start, start + last + 1, step),)]
                for start in range(length)
            ]
            for other, relu in zip(others, cast("nn.ModuleList", relus), strict=True):
                padded = padded + relu(other - padded)
        return padded


LINEAR = (*CONVOLUTIONS, nn.Linear, *AVERAGE_POOLS, *REARRANGEMENTS, Sum, Affine)


def canonical(classifier: Classifier, fold: bool = False, pairs: bool = False) -> Classifier:
    """Return a copy in canonical form, which counts its passes into the same counter.

    It is made once for a model, and again where the model was moved or its weights were changed.
    With ``fold`` no batch norm is left; with ``pairs`` max pooling becomes ``PairwiseMax``, where
    it has neither dilation nor ceiling.

    Raises:
        UnsupportedError: If the network cannot be rewritten, as where its ``forward`` depends on
            values.
    """
    tensors = [*classifier.parameters(), *classifier.buffers()]
    state = [(tensor.device, tensor.data_ptr(), tensor._version) for tensor in tensors]
    forms = _REWRITTEN.setdefault(classifier, {})
    settings = (fold, pairs)
    if settings not in forms or forms[settings][0] != state:
        forms[settings] = state, _rewrite_parts(classifier, *settings)
    rewritten = forms[settings][1]
    rewritten.passes = classifier.passes
    return rewritten


def _rewrite_parts(classifier: Classifier, fold: bool, pairs: bool) -> Classifier:
    other = classifier.copy()
    try:
        for part in ("trunk", "pool", "head"):
            setattr(other, part, _rewrite(getattr(other, part), fold, pairs))
    except Exception as error:  # tracing runs the user's code on proxies; anything may come back
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedError(f"its layers cannot be traced ({lines[0]})") from error
    return other


def why_no_rule(
    classifier: Classifier,
    rewritten: Classifier,
    layers: tuple[type[nn.Module], ...],
    functions: Set[object],
) -> str | None:
    """Return why a method with rules for some layers cannot explain a model, or None where it can.

    Functions are given as such or as names of methods of tensors. A canonical form that gives other
    logits is refused.
    """
    unknown_layers, unknown_functions = [], []
    for name, kind in operations(rewritten):
        if isinstance(kind, type):
            if not issubclass(kind, layers):
                unknown_layers.append(kind.__name__)
        elif kind not in functions:
            unknown_functions.append(name)
    if unknown := list(dict.fromkeys(unknown_layers or unknown_functions)):
        kinds = "layers" if unknown_layers else "operations"
        return f"it has no rule for the network's {kinds} {', '.join(unknown)}"
    return _why_different(classifier, rewritten)


def _why_different(classifier: Classifier, rewritten: Classifier) -> str | None:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 1, *classifier.input_shape)
    images = torch.rand(shape, generator=generator).to(next(classifier.parameters()))
    try:
        with torch.no_grad():
            ours, theirs = (
                model.head(model.pool(model.trunk(model.preprocessing(images))))
                for model in (classifier, rewritten)
            )
    except RuntimeError as error:
        return f"its layers cannot be rewritten ({str(error).splitlines()[0]})"
    if float((ours - theirs).abs().max()) > _TOLERANCE * max(1.0, float(ours.abs().max())):
        return "its layers cannot be rewritten without changing what it computes"
    return None


def operations(classifier: Classifier) -> Iterator[tuple[str, object]]:
    """Yield the name of every module, function or method that a canonical form calls, and its kind.

    The kind is a module's class, a function itself, and the name again of a method of tensors.
    """
    for part in (classifier.trunk, classifier.pool, classifier.head):
        graph = cast("fx.GraphModule", part)
        for node in graph.graph.nodes:
            if node.op == "call_module":
                yield str(node.target), type(graph.get_submodule(node.target))
            elif node.op == "call_function":
                yield getattr(node.target, "__name__", str(node.target)), node.target
            elif node.op == "call_method":
                yield node.target, node.target


class _Tracer(fx.Tracer):
    """Stops at every layer of torch, also where a subclass only chooses its arguments."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_torchs = type(m).forward.__module__.startswith("torch.nn.modules")
        is_container = isinstance(m, (nn.Sequential, nn.ModuleList))
        return isinstance(m, GlobalAveragePool) or (is_torchs and not is_container)


def _rewrite(module: nn.Module, fold: bool, pairs: bool) -> fx.GraphModule:
    # A layer that is the whole part has no name to be called by.
    root = module if isinstance(module, nn.Sequential) else nn.Sequential(module)
    traced = fx.GraphModule(root, _Tracer().trace(root))
    for node in list(traced.graph.nodes):
        if (activation := _activation(traced, node)) is not None:
            _replace(traced, node, activation, (node.args[0],))
        elif _key(node) in _ADDITIONS and all(_is_branch(argument) for argument in node.args[:2]):
            with traced.graph.inserting_before(node):
                stacked = traced.graph.call_function(torch.stack, (list(node.args[:2]), -1))
            _replace(traced, node, Sum(), (stacked,))
        elif fold and isinstance(_layer(traced, node), BATCH_NORMS):
            _fold(traced, node)
        elif pairs and (pool := _tournament(traced, node)) is not None:
            _replace(traced, node, pool, (node.args[0],))
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval().requires_grad_(False)


def _key(node: fx.Node) -> object:
    return node.target if node.op in ("call_function", "call_method") else None


def _is_branch(argument: object) -> bool:
    """Return whether an argument was computed, unlike a number or a parameter."""
    return isinstance(argument, fx.Node) and argument.op != "get_attr"


def _layer(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls, or None where it calls none."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _activation(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the module that shall stand for a node, or None where it is no activation."""
    if isinstance(layer := _layer(traced, node), _ACTIVATION_MODULES):
        fresh = copy.deepcopy(layer)
        if hasattr(fresh, "inplace"):
            fresh.inplace = cast("Any", False)
        return fresh
    build: Callable[..., nn.Module] | None = _ACTIVATIONS.get(_key(node))
    return None if build is None else build()


def _tournament(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the pairwise form of a node that is max pooling, or None where it has none."""
    pool = cast("Any", _layer(traced, node))
    if not isinstance(pool, MAX_POOLS):
        return None
    count = MAX_POOLS.index(type(pool)) + 1

    def along(value: int | tuple[int, ...]) -> tuple[int, ...]:
        return (value,) * count if isinstance(value, int) else tuple(value)

    if pool.ceil_mode or pool.return_indices or any(step != 1 for step in along(pool.dilation)):
        return None
    return PairwiseMax(along(pool.kernel_size), along(pool.stride), along(pool.padding))


def _replace(traced: fx.GraphModule, node: fx.Node, module: nn.Module, args: Any) -> None:  # noqa: ANN401
    name = f"canonical_{node.name}"
    traced.add_submodule(name, module)
    with traced.graph.inserting_after(node):
        replacement = traced.graph.call_module(name, args)
    node.replace_all_uses_with(replacement)
    traced.graph.erase_node(node)


def _fold(traced: fx.GraphModule, node: fx.Node) -> None:
    """Fold batch norm into the layer that feeds it alone, or make it an ``Affine``."""
    norm, before = cast("nn.BatchNorm2d", _layer(traced, node)), cast("fx.Node", node.args[0])
    calls = sum(
        other.op == "call_module" and other.target == before.target for other in traced.graph.nodes
    )
    layer = _layer(traced, before)
    if isinstance(layer, (*CONVOLUTIONS, nn.Linear)) and len(before.users) == calls == 1:
        merge: Any = (
            fusion.fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fusion.fuse_conv_bn_eval
        )
        with torch.no_grad():
            merged = merge(layer, norm)
        _replace(traced, before, merged, before.args)
        node.replace_all_uses_with(cast("fx.Node", node.args[0]))
        traced.graph.erase_node(node)
    else:
        mean, variance = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
        scale = (variance + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
        affine = Affine(scale, (0 if norm.bias is None else norm.bias) - mean * scale)
        _replace(traced, node, affine, node.args)
