"""Settings of a network's layers, whatever form they have, as what JSON can hold.

A setting is whatever a layer holds beside its weights: a number under any name, an activation, a
configuration object or an array. A function with the values that it closes over is one too, as are
a hook and the program of a traced or scripted layer. Nothing in a description depends on the
machine or on the process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from benchmark.classifier.layers import OWN_HOOKS

# Bookkeeping of every torch module, which says nothing of what it computes; hooks do.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_BOOKKEEPING = frozenset(vars(nn.Module())) | {"call_super_init", "dump_patches"}
_DEEPEST = 6
# Scripts number what they compile in the order in which a process compiles it.
_NUMBERED = re.compile(r"___torch_mangle_\d+\.")


def describe_layer(part: nn.Module) -> list[object]:
    """Return a layer's class, its own words for its settings, and every setting."""
    return _describe_layer(part, 0)


def own_attributes(part: nn.Module) -> dict[str, object]:
    """Return what a layer holds beside weights, parts and bookkeeping, with hooks where it has."""
    if isinstance(part, torch.jit.ScriptModule | fx.GraphModule):
        return {}
    held = vars(part)
    attributes = {name: value for name, value in held.items() if name not in _BOOKKEEPING}
    hooks = {
        name: [hook for hook in (held.get(name) or {}).values() if hook not in OWN_HOOKS]
        for name in _HOOKS
    }
    return attributes | {name: set_hooks for name, set_hooks in hooks.items() if set_hooks}


def callables(values: Iterable[object], depth: int = 0) -> Iterator[object]:
    """Yield classes and functions among values and in their lists, tables, partials and methods."""
    for value in values:
        if isinstance(value, type | FunctionType):
            yield value
        if depth == _DEEPEST:
            continue
        if isinstance(value, partial):
            parts = [value.func, *value.args, *value.keywords.values()]
            yield from callables(parts, depth + 1)
        elif isinstance(value, FunctionType):
            yield from callables(_closed_over(value), depth + 1)
        elif isinstance(value, MethodType):
            yield from callables([value.__func__, type(value.__self__)], depth + 1)
        elif isinstance(value, list | tuple | set | frozenset):
            yield from callables(value, depth + 1)
        elif isinstance(value, dict):
            yield from callables(value.values(), depth + 1)


def _describe_layer(part: nn.Module, depth: int) -> list[object]:
    settings = {
        name: _describe(value, depth + 1)
        for name, value in own_attributes(part).items()
        if value is not None
    }
    unsaved = {
        name: _describe(buffer, depth + 1)
        for name, buffer in part.named_buffers(recurse=False)
        if name in part._non_persistent_buffers_set
    }
    if isinstance(part, torch.jit.ScriptModule):
        kind = str(getattr(part, "original_name", ""))
        return [kind, "", _program(part)]
    if isinstance(part, fx.GraphModule):
        return ["fx.GraphModule", "", part.code, unsaved]
    return [_qualified_name(type(part)), part.extra_repr(), settings, unsaved]


def _program(script: torch.jit.ScriptModule) -> list[str]:
    """Return the program of a traced or scripted layer, and the numbers that stand in it."""
    try:
        code, constants = script.code_with_constants
    except (AttributeError, RuntimeError):  # a module without a forward has no program
        return []
    values = sorted(constants.const_mapping.items())
    return [_NUMBERED.sub("", code), *(f"{name} {_content(value)}" for name, value in values)]


def _describe(value: object, depth: int) -> object:
    """Return a value as JSON holds it; what has no describable content by the name of its type."""
    if value is None or isinstance(value, str | int | float | complex | torch.dtype):
        return repr(value)
    if isinstance(value, Enum):
        return f"{_qualified_name(type(value))}.{value.name}"
    if isinstance(value, bytes | Tensor | np.ndarray | np.generic):
        return _content(value)
    if isinstance(value, type | BuiltinFunctionType):
        return _qualified_name(value)
    if depth >= _DEEPEST:
        return _qualified_name(type(value))
    return _describe_compound(value, depth + 1)


def _describe_compound(value: object, depth: int) -> object:
    if isinstance(value, list | tuple):
        return [_describe(item, depth) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_describe(item, depth) for item in value), key=json.dumps)
    if isinstance(value, dict):
        return {str(key): _describe(item, depth) for key, item in value.items()}
    if isinstance(value, partial):
        return [_describe(part, depth) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, FunctionType):
        return [_qualified_name(value), *(_describe(each, depth) for each in _closed_over(value))]
    if isinstance(value, MethodType):
        owner, name = type(value.__self__), value.__func__.__name__
        return [_qualified_name(owner), name]
    if isinstance(value, nn.Module):  # kept in a list, where torch does not look for parts
        tensors = {name: _content(tensor) for name, tensor in value.state_dict().items()}
        return [*_describe_layer(value, depth), tensors]
    is_record = dataclasses.is_dataclass(value) or isinstance(value, SimpleNamespace)
    if is_record or (hasattr(value, "__dict__") and not isinstance(value, ModuleType)):
        return [_qualified_name(type(value)), _describe(vars(value), depth)]
    return _qualified_name(type(value))


def _closed_over(function: FunctionType) -> list[object]:
    """Return the values that a function closes over, and its defaults."""
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # a name that has no value yet
            continue
    defaults = list(function.__defaults__ or ()) + list((function.__kwdefaults__ or {}).values())
    return [item for item in (*cells, *defaults) if not isinstance(item, nn.Module)]


def _content(value: object) -> str:
    """Return type, shape and hash of the bytes of an array."""
    if isinstance(value, Tensor):
        if value.requires_grad or value.is_meta or value.layout != torch.strided:
            return "Tensor"  # of a pass, or without bytes
        flat = value.detach().cpu().contiguous().reshape(-1)
        kind, shape = str(value.dtype), tuple(value.shape)
        data = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    elif isinstance(value, bytes):
        kind, shape, data = "bytes", (len(value),), value
    else:
        array = np.asarray(cast("np.ndarray", value))
        kind, shape = str(array.dtype), array.shape
        data = array.tobytes() if array.dtype != object else b""
    return f"{kind}{list(shape)} {hashlib.sha256(data).hexdigest()}"


def _qualified_name(definition: type | FunctionType | BuiltinFunctionType) -> str:
    # A plugin's module is called by the hash of its file, which is listed by itself.
    module = (definition.__module__ or "").partition("medsanity_plugin_")[0]
    return f"{module}.{definition.__qualname__}"
