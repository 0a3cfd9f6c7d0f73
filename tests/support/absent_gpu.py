"""A GPU on machines that have none: tensors that say they lie elsewhere, and compute here.

Each tensor there holds an ordinary one, on which everything is computed, so that values are real,
and masks and loops that look at values run. What a GPU refuses is refused: an operation on tensors
of two devices, and reading a tensor into NumPy without ``.cpu()``. The exceptions are CUDA's: a
tensor without axes goes with any device, and indices may lie on the CPU.

torch's own fake tensors would need no such class, but hold no values, so that they stop at the
first ``nonzero`` and ``if``; and where torch was built for CUDA and finds no driver, they cannot go
back through a network (torch 2.14 asks for a stream of the device). So the device goes by the name
of one that torch finds everywhere, ``meta``.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
_CPU = torch.device("cpu")
_ATEN = torch.ops.aten
# Operations that move values between devices.
_MOVES = {_ATEN.copy_.default, _ATEN._to_copy.default}
_CONSTRUCTORS = {torch.tensor, torch.as_tensor, torch.asarray}
# Operations whose second argument is a list of indices, which may lie on the CPU.
_INDEXED = {
    _ATEN.index.Tensor,
    _ATEN.index_put.default,
    _ATEN.index_put_.default,
    _ATEN._index_put_impl_.default,
}


class TensorThere(Tensor):
    """A tensor of the device, and the ordinary tensor ``here`` that holds its values."""

    here: Tensor

    @staticmethod
    def __new__(cls: type[TensorThere], here: Tensor) -> TensorThere:
        """Return a tensor of the device with the values of an ordinary one."""
        made: TensorThere = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
            requires_grad=False,
        )
        made.here = here
        return made

    @property
    def is_meta(self) -> bool:
        """Whether there are no values; loading a state dict asks."""
        return False

    def __repr__(self, **_: object) -> str:
        return f"TensorThere({self.here!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> TensorThere:
        if id(self) in memo:
            return memo[id(self)]
        copy = TensorThere(self.here.detach().clone()).requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy

    def tolist(self) -> Any:
        """Return the values, as a tensor on a GPU does."""
        return self.detach().here.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


class AbsentGpu(ExitStack):
    """Within it ``DEVICE`` can be computed on."""

    def __enter__(self) -> AbsentGpu:
        self.enter_context(_Constructors())
        self.enter_context(_Operations())
        return self


class _Operations(TorchDispatchMode):
    """Operations that name the device, such as ``torch.zeros`` and ``Tensor.to``."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """``torch.tensor`` and its kin, which torch fills on the device before any operation."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.new_tensor:
            like, *args = args
            func, kwargs = torch.tensor, {"dtype": like.dtype, "device": like.device, **kwargs}
        device = kwargs.get("device")
        if func in _CONSTRUCTORS and device is not None and torch.device(device) == DEVICE:
            return func(*args, **{**kwargs, "device": _CPU}).to(DEVICE)
        return func(*args, **kwargs)


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute here what is asked there, and refuse what mixes devices."""
    is_there = _refuse_mixed(func, args, kwargs)
    device, own = kwargs.get("device"), kwargs
    if device is not None:
        is_there = torch.device(device) == DEVICE
        own = {**kwargs, "device": _CPU}
    elif func is _ATEN.copy_.default:
        is_there = isinstance(args[0], TensorThere)
    # No tensor here is of the caller's inference mode: torch cannot make views of such by hand.
    with torch.inference_mode(False), torch.no_grad():
        results = func(*tree_map(_fetch, args), **tree_map(_fetch, own))
        if not is_there:
            return results
        return return_and_correct_aliasing(func, args, kwargs, tree_map(_send, results))


def _refuse_mixed(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Return whether an operation is on tensors of the device."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not any(isinstance(tensor, TensorThere) for tensor in tensors):
        return False
    judged = [args[0], *args[2:]] if func in _INDEXED else tensors
    for tensor in [] if func in _MOVES else tree_leaves(judged):
        if isinstance(tensor, Tensor) and tensor.ndim and not isinstance(tensor, TensorThere):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but {func} got one on the CPU, "
                f"{list(tensor.shape)}, beside one on the GPU."
            )
    return True


def _fetch(value: Any) -> Any:
    return value.here if isinstance(value, TensorThere) else value


def _send(value: Any) -> Any:
    return TensorThere(value) if type(value) is Tensor else value
