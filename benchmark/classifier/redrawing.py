"""Redrawing a network, so that it knows nothing of what it was trained on.

Every parameter is drawn anew. Beside parameters, a network holds buffers, and a copy must not keep
what training left in them:

- running statistics are taken anew from images, see ``buffers.running_statistics``;
- the scale and shift of a frozen norm are what a fresh norm's are;
- the singular vectors of a spectral norm are found anew, since they belong to the old weights;
- the mask of a pruned layer is shuffled, since it says which trained weights were large;
- a buffer that its module's own ``reset_parameters`` fills is filled by it.

Whatever else still equals what training left must be constant by construction, as
``buffers.constants`` tells, or ``require_fresh`` names it. A tensor that is neither parameter nor
buffer is in no checkpoint, and so is no weight.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from math import nan
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from benchmark.classifier.buffers.constants import is_constant, persistent_buffers
from benchmark.errors import ClassifierError
from benchmark.seeding import seed_of, seed_torch, torch_stream

# The estimate of the largest singular value is then good to a percent for any common layer.
_POWER_ITERATIONS = 60
_FEW = 4
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Stage:
    """A part of the model that is randomised as one.

    Attributes:
        name: Name of the part in the model.
        module: Module with the layers of the part.
        parameters: Full names of its parameters, with those that no layer of its own holds.
        buffers: Full names of its buffers, with those of a part behind it that has buffers alone.
    """

    name: str
    module: nn.Module = field(repr=False)
    parameters: tuple[str, ...] = field(repr=False)
    buffers: tuple[str, ...] = field(repr=False, default=())


def find_stages(model: nn.Module) -> tuple[Stage, ...]:
    """Return the stages of a model of trunk, pool and head, from the head to the stem.

    What the trunk holds by itself, such as a class token, belongs to the stem, and what the pool
    holds to the head.
    """
    trunk = model.get_submodule("trunk")
    children = {f"trunk.{name}": child for name, child in trunk.named_children()}
    parts = {**(children or {"trunk": trunk}), "head": model.get_submodule("head")}
    order = list(parts)

    def part_of(name: str) -> str | None:
        if name.startswith("pool."):
            return "head"
        return next((part for part in parts if name.startswith(f"{part}.")), None)

    holders = {name: part_of(name) for name, _ in model.named_parameters()}
    filled = [part for part in parts if part in holders.values()]

    def stage_of(name: str) -> str:
        index = order.index(part_of(name) or order[0])
        return next((part for part in reversed(order[: index + 1]) if part in filled), filled[0])

    buffers = {name: stage_of(name) for name, _ in model.named_buffers()}
    return tuple(
        Stage(
            part.removeprefix("trunk."),
            parts[part],
            tuple(name for name, holder in holders.items() if (holder or filled[0]) == part),
            tuple(name for name, holder in buffers.items() if holder == part),
        )
        for part in reversed(filled)
    )


def redraw(module: nn.Module, seed: int) -> set[str]:
    """Redraw what ``module`` learned in place, each tensor on a stream named by seed and name.

    Returns:
        Names of the buffers that were redrawn; running statistics are not among them.
    """
    for prefix, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            parameter_seed = seed_of("redraw", seed, f"{prefix}.{name}")
            with torch.no_grad():
                fresh = _initial_value(part, name, parameter_seed)
                # A constant initialiser, as batch norm's, may give what was there.
                if fresh is None or torch.equal(fresh.to(parameter), parameter):
                    _draw_like(parameter, parameter_seed)
                else:
                    parameter.copy_(fresh)
    redrawn: set[str] = set()
    with torch.no_grad():
        for prefix, part in module.named_modules():
            part_seed = seed_of("redraw", seed, prefix)
            names = (
                _redraw_parametrised(part, part_seed)
                | _redraw_hooked(part, part_seed)
                | _redraw_buffers(part, part_seed)
            )
            redrawn |= {_join(prefix, name) for name in names}
    return redrawn


def require_fresh(
    name: str,
    trained: nn.Module,
    other: nn.Module,
    parameters: Collection[str],
    buffers: Collection[str],
) -> None:
    """Refuse a copy that holds a tensor as training left it.

    Args:
        name: Name of the model.
        trained: Network that the copy was made of.
        other: Copy that should know nothing of it.
        parameters: Names of the parameters that should have been redrawn.
        buffers: Names of the buffers to look at; those that are constant by construction may stay.

    Raises:
        ClassifierError: If there is one; the message names it.
    """
    stale = stale_tensors(trained, other, parameters, buffers)
    if not stale:
        return
    message = f"Randomising {name!r} left {stale[0]} as it was"
    if stale[0] not in parameters:
        message += (
            ", a buffer that training may have filled: register it with persistent=False if it is "
            "a constant, or fill it in its module's reset_parameters()"
        )
    raise ClassifierError(f"{message}.")


def stale_tensors(
    trained: nn.Module, other: nn.Module, parameters: Collection[str], buffers: Collection[str]
) -> list[str]:
    """Return the names of tensors that a copy holds as training left them."""
    ours, theirs = dict(trained.named_parameters()), dict(other.named_parameters())
    stale = [name for name in parameters if torch.equal(ours[name], theirs[name])]
    looked_at, copied = set(buffers), dict(other.named_buffers())
    for prefix, part in trained.named_modules():
        for name, buffer in persistent_buffers(part):
            path = _join(prefix, name)
            if path in looked_at and torch.equal(buffer, copied[path]):
                stale += [] if is_constant(name, buffer) else [path]
    return stale


def hidden_weights(module: nn.Module) -> str | None:
    """Return where a network holds weights that cannot be redrawn, or None where it has none.

    Quantised layers pack them away, and a frozen script writes them into its program.
    """
    for name, part in module.named_modules():
        kinds = {base.__module__ for base in type(part).__mro__}
        if any(kind.startswith(("torch.ao.", "torchao.")) for kind in kinds) and part.state_dict():
            return f"{name or type(part).__name__} is quantised"
        if isinstance(part, torch.jit.ScriptModule) and _has_constants(part):
            return f"{name} is a frozen script, with weights inside its program"
        own = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
        for tensor_name, values in own:
            # Positions are of a wider type, and masks know two values.
            is_packed = values.dtype in (torch.int8, torch.uint8) and len(values.unique()) > 2
            if is_packed or (isinstance(values, nn.Parameter) and values.dtype in _INTEGERS):
                return f"{_join(name, tensor_name)} holds quantised weights"
    return None


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _has_constants(script: torch.jit.ScriptModule) -> bool:
    try:
        nodes = [node for node in script.inlined_graph.nodes() if node.kind() == "prim::Constant"]
    except (AttributeError, RuntimeError):  # a module without a forward has no program
        return False
    kinds = (node.output().type().kind() for node in nodes)
    values = (node.t("value") for node, kind in zip(nodes, kinds, strict=True) if "Tensor" in kind)
    return any(value.is_floating_point() and value.numel() > _FEW for value in values)


def _initial_value(part: nn.Module, name: str, seed: int) -> Tensor | None:
    """Return a parameter as its module's initialiser draws it, or None where there is none."""
    if isinstance(part, torch.jit.ScriptModule):
        return _initial_scripted(part, name, seed)
    fresh = _unfilled(part) if _fills_all(part) else copy.deepcopy(part).cpu()
    if not _reset_all(fresh, seed):
        return None
    drawn: Tensor = getattr(fresh, name)
    # A parameter that was added to a layer of torch's is none that its initialiser knows.
    return None if drawn.sum().isnan() else drawn


def _fills_all(part: nn.Module) -> bool:
    """Return whether a module's initialiser fills each of its tensors, whatever was in them.

    The plain layers of torch do. What is a tensor and no parameter, as under a weight norm, is
    shared by a shallow copy.
    """
    is_plain = type(part).__module__.startswith("torch.nn.modules.") and not part._modules
    is_plain &= all(
        value is None or value.is_floating_point() for value in part._parameters.values()
    )
    return is_plain and not any(isinstance(value, Tensor) for value in vars(part).values())


def _unfilled(part: nn.Module) -> nn.Module:
    """Return a copy of a plain layer with tensors of its own, in the same order of memory.

    Parameters are NaN, by which those are known that its initialiser leaves as they are.
    """
    fresh = copy.copy(part)
    fresh._parameters = {
        name: None if values is None else nn.Parameter(_empty(values).fill_(nan), False)
        for name, values in part._parameters.items()
    }
    fresh._buffers = {
        name: None if values is None else _empty(values) for name, values in part._buffers.items()
    }
    return fresh


def _empty(values: Tensor) -> Tensor:
    return torch.empty_like(values, device="cpu", requires_grad=False)


def _initial_scripted(part: torch.jit.ScriptModule, name: str, seed: int) -> Tensor | None:
    """Return a parameter as the layer draws it that was scripted; a script has no initialiser."""
    kind, parameter = str(getattr(part, "original_name", "")), getattr(part, name)
    if "Norm" in kind and name in ("weight", "bias"):
        return torch.full_like(parameter, float(name == "weight"))
    if not kind.startswith(("Conv", "Linear")) or name not in ("weight", "bias"):
        return None
    fans = math.prod(part.weight.shape[1:])
    bound = 1 / math.sqrt(fans)  # that of torch's layers, for weight and bias alike
    fresh = torch.empty(parameter.shape)
    return fresh.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))


def _redraw_parametrised(part: nn.Module, seed: int) -> set[str]:
    """Redraw parametrised tensors, such as a weight under spectral norm, as if they were not."""
    if not parametrize.is_parametrized(part):
        return set()
    redrawn: set[str] = set()
    lists = cast("nn.ModuleDict", part.parametrizations)
    fresh = copy.deepcopy(part).cpu()
    # By hand: torch's own removal takes the tensor from the class, which the copy shares.
    fresh.__class__ = parametrize.type_before_parametrizations(part)
    del fresh.parametrizations
    for name in lists:
        fresh.register_parameter(name, nn.Parameter(getattr(part, name).detach().cpu().clone()))
    _reset_all(fresh, seed)
    for name, chain in lists.items():
        buffers = {
            path: buffer
            for path, buffer in chain.named_buffers()
            if buffer.is_floating_point() and not is_constant(path, buffer)
        }
        for path, buffer in buffers.items():
            _draw_like(buffer, seed_of(seed, name, path))
        redrawn |= {f"parametrizations.{name}.{path}" for path in buffers}
        # Without an inverse, what lies behind the tensor stays as it was redrawn, one by one.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            setattr(part, name, getattr(fresh, name).detach().to(getattr(part, name)))
        chain.train()  # a spectral norm looks for its vectors whenever it is used in training
        for _ in range(_POWER_ITERATIONS if buffers else 0):
            getattr(part, name)
        chain.eval()
    return redrawn


def _redraw_hooked(part: nn.Module, seed: int) -> set[str]:
    """Redraw weights that torch's older weight norm, spectral norm and pruning keep in parts."""
    if isinstance(part, torch.jit.ScriptModule):
        return set()
    hooks = list(part._forward_pre_hooks.values())
    kept = [name.removesuffix("_orig") for name in part._parameters if name.endswith("_orig")]
    normed = [hook for hook in hooks if isinstance(hook, WeightNorm)]
    if not kept and not normed:
        return set()
    fresh, redrawn = copy.deepcopy(part).cpu(), set()
    _reset_all(fresh, seed)
    for name in kept:
        getattr(part, f"{name}_orig").copy_(getattr(fresh, name))
        mask = part._buffers.get(f"{name}_mask")
        if mask is not None:
            order = torch.randperm(mask.numel(), generator=torch_stream("mask", seed, name))
            mask.copy_(mask.flatten()[order.to(mask.device)].view_as(mask))
            redrawn.add(f"{name}_mask")
    for norm in normed:
        weight = getattr(fresh, norm.name)
        getattr(part, f"{norm.name}_v").copy_(weight)
        getattr(part, f"{norm.name}_g").copy_(torch.norm_except_dim(weight, 2, norm.dim))
    for hook in hooks:
        if isinstance(hook, SpectralNorm):
            vectors = [f"{hook.name}_{side}" for side in "uv"]
            for vector in vectors:
                _draw_like(getattr(part, vector), seed_of(seed, vector))
            for _ in range(_POWER_ITERATIONS):
                hook.compute_weight(part, do_power_iteration=True)
            redrawn.update(vectors)
    return redrawn


def _redraw_buffers(part: nn.Module, seed: int) -> set[str]:
    """Reset buffers that hold weights: a frozen norm's, and those that the module itself resets."""
    buffers = dict(persistent_buffers(part))
    redrawn = set()
    if {"running_mean", "running_var"}.issubset(buffers):
        for name in {"weight", "bias"}.intersection(buffers):
            buffers[name].fill_(float(name == "weight"))
            redrawn.add(name)
        return redrawn
    if not buffers or isinstance(part, torch.jit.ScriptModule):
        return redrawn
    fresh = copy.deepcopy(part).cpu()
    for name in buffers:
        getattr(fresh, name).fill_(torch.nan)  # what is still so was not reset
    _reset_all(fresh, seed)
    for name, buffer in buffers.items():
        values = getattr(fresh, name)
        if values.shape == buffer.shape and not values.isnan().any():
            buffer.copy_(values)
            redrawn.add(name)
    return redrawn


def _reset_all(fresh: nn.Module, seed: int) -> bool:
    """Let a module fill itself by its own initialiser, and return whether it has one."""
    reset = getattr(fresh, "reset_parameters", None) or getattr(fresh, "_reset_parameters", None)
    if not callable(reset):
        return False
    with torch.random.fork_rng(devices=[]):
        seed_torch(seed)
        reset()
    return True


def _draw_like(parameter: Tensor, seed: int) -> None:
    """Redraw a parameter from a normal with the moments of its trained values."""
    generator = torch.Generator().manual_seed(seed)
    spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
    scale = spread if math.isfinite(spread) and spread > 0 else 0.02
    noise = torch.randn(parameter.shape, generator=generator) * scale + float(parameter.mean())
    parameter.copy_(noise)
