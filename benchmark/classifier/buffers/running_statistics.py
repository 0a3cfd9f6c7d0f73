"""Running statistics of a randomised network, taken anew from images.

A norm divides by moments that training left in it. With those moments the activations of a network
whose weights were redrawn are squashed, and a method that only echoes them looks sane. So the
moments are taken from images, layer after layer in one pass. Which layer holds some, and how it
takes them, is found out by behaviour:

- torch's batch norm in all its forms (synchronised, lazy, subclassed) and its instance norm learn
  in training mode, one call giving that call's moments.
- What torch's batch-norm operator is given as running statistics is recognised there, whatever
  calls it: a traced or scripted network, or a module of one's own.
- Any other module with buffers that training changes is tried in training mode on the same input,
  from three starting values. Where the result is an affine function of the start, as a moving
  average's is, its fixed point counts. That is what the module would learn from these images in the
  long run.
- A frozen norm, with buffers ``running_mean`` and ``running_var`` that not even training changes,
  is given the moments of its input.

Where a layer is called several times in a pass, the moments of all calls are pooled.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.classifier.buffers.constants import is_constant, persistent_buffers
from benchmark.seeding import seed_torch

_aten = torch.ops.aten
_BATCH_NORM_OPERATORS = {
    _aten.native_batch_norm.default,
    _aten.cudnn_batch_norm.default,
    _aten.miopen_batch_norm.default,
    _aten._native_batch_norm_legit_no_training.default,
}
_FORWARDS = {_BatchNorm.forward, nn.SyncBatchNorm.forward, _InstanceNorm.forward}
_MEAN, _VARIANCE = "running_mean", "running_var"
_CALLS = "num_batches_tracked"
_STATISTICS = ("running", "moving", "ema_")

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


@dataclass(frozen=True)
class _Moments:
    """Moments of what a layer was given in one call or in several.

    Attributes:
        count: Number of values of a channel.
        mean: Mean of each channel.
        variance: Unbiased variance of each channel.
    """

    count: int
    mean: Tensor
    variance: Tensor

    def pooled(self, other: _Moments) -> _Moments:
        """Return the moments of the values of both (Chan, Golub and LeVeque 1979)."""
        total, apart = self.count + other.count, other.mean - self.mean
        squares = (self.count - 1) * self.variance + (other.count - 1) * other.variance
        squares = squares + apart.square() * (self.count * other.count / total)
        return _Moments(total, self.mean + apart * (other.count / total), squares / (total - 1))

    def averaged(self, other: _Moments) -> _Moments:
        """Return the mean of both calls' moments, as norms learn that look at each image alone."""
        total = self.count + other.count
        share = other.count / total
        mean = self.mean + (other.mean - self.mean) * share
        return _Moments(total, mean, self.variance + (other.variance - self.variance) * share)


def reestimate_statistics(
    module: nn.Module, run: Callable[[], object], keep: Collection[str] = ()
) -> set[str]:
    """Set every norm's running statistics to the moments over the batch that ``run`` sends.

    Args:
        module: Network whose statistics are set in place.
        run: Function that sends the images through the network, once.
        keep: Names of the layers that stay as they are.

    Returns:
        Names of the buffers that were set.
    """
    parts = [(name, part) for name, part in module.named_modules() if name not in keep]
    norms = {name: part for name, part in parts if _learns_in_training(part)}
    others = {
        name: (part, statistics)
        for name, part in parts
        if name not in norms and (statistics := _statistics(part))
    }
    if not norms and not others:
        return set()  # nothing to learn, such as where the head alone was exchanged
    names = {f"{name}.{buffer}" for name in norms for buffer in (_MEAN, _VARIANCE, _CALLS)}
    with torch.no_grad(), _training(list(norms.values())), _taking(others) as taken:
        run()
    return names | taken


def restore_statistics(module: nn.Module, statistics: Mapping[str, Tensor]) -> set[str]:
    """Set running statistics by name as an earlier pass left them, and return their names."""
    tensors = named_tensors(module)
    with torch.no_grad():
        for name, values in statistics.items():
            tensors[name].copy_(values)
    return set(statistics)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, those that two parts share by both names."""
    parameters = module.named_parameters(remove_duplicate=False)
    return {**dict(parameters), **dict(module.named_buffers(remove_duplicate=False))}


def learns_in_norms_alone(module: nn.Module) -> bool:
    """Return whether all statistics of a network are torch's norms', which learn one by one."""
    return not any(_statistics(part) for part in module.modules() if not _learns_in_training(part))


def learning_output(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return what a part of a network gives in the pass that its statistics are taken from.

    The part stays as it is. It must learn in norms alone.
    """
    learner, outputs = copy.deepcopy(module), list[Tensor]()
    if not reestimate_statistics(learner, lambda: outputs.append(learner(inputs))):
        outputs.append(learner(inputs))
    return outputs[0]


def _learns_in_training(part: nn.Module) -> bool:
    return isinstance(part, _NormBase) and part.track_running_stats and not _is_own_sync(part)


def _is_own_sync(part: nn.Module) -> bool:
    # A subclass of synchronised batch norm adds to a forward that no CPU can run in training.
    return isinstance(part, nn.SyncBatchNorm) and type(part).forward not in _FORWARDS


def _statistics(part: nn.Module) -> list[str]:
    """Return the names of a module's tensors that may be statistics of its input."""
    named = [
        name
        for name, _ in (*part.named_buffers(recurse=False), *part.named_parameters(recurse=False))
        if name in (_MEAN, _VARIANCE)  # ported networks may hold them as parameters
    ]
    return named + [
        name
        for name, buffer in persistent_buffers(part)
        if name not in named and (name.startswith(_STATISTICS) or not is_constant(name, buffer))
    ]


@contextmanager
def _training(norms: list[Any]) -> Iterator[None]:
    """Have torch's norms learn the moments of each call, and pool those of a pass afterwards."""
    calls: dict[nn.Module, list[_Moments]] = {norm: [] for norm in norms}

    def learn(norm: nn.Module, args: _Args, kwargs: _Kwargs, output: Tensor) -> Tensor:
        moments, output = _learned(norm, args, kwargs, output)
        calls[norm].append(moments)
        return output

    momenta = [norm.momentum for norm in norms]
    handles = [norm.register_forward_hook(learn, with_kwargs=True) for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        # The average over calls, which torch's batch norm takes for None, is that of a single one.
        is_plain = isinstance(norm, _BatchNorm) and type(norm).forward in _FORWARDS
        norm.momentum = None if is_plain else 1.0
        if isinstance(norm, nn.SyncBatchNorm):  # which no CPU can run in training
            norm.forward = MethodType(  # type: ignore[method-assign]
                _BatchNorm.forward, norm
            )
    try:
        yield
    finally:
        for norm, momentum, handle in zip(norms, momenta, handles, strict=True):
            handle.remove()
            norm.eval()
            norm.momentum = momentum
            if isinstance(norm, nn.SyncBatchNorm):
                del norm.forward
            if calls[norm]:
                moments = _of_all(calls[norm], averaged=isinstance(norm, _InstanceNorm))
                norm.running_mean.copy_(moments.mean)
                norm.running_var.copy_(moments.variance)
                norm.num_batches_tracked.fill_(len(calls[norm]))


def _learned(
    norm: Any,  # noqa: ANN401 - any subclass of torch's norms
    args: _Args,
    kwargs: _Kwargs,
    output: Tensor,
) -> tuple[_Moments, Tensor]:
    """Return the moments that a norm learned in one call, which it forgets, and its output."""
    images: Tensor = (*args, *kwargs.values())[0]
    alone = isinstance(norm, _InstanceNorm)
    count = len(images) if alone else images.numel() // norm.num_features
    learned = _Moments(count, norm.running_mean.clone(), norm.running_var.clone())
    # One that stays frozen even in training takes its moments from us.
    is_frozen = not learned.mean.any() and bool((learned.variance == 1).all())
    if is_frozen and (moments := _moments(images, norm.running_mean)) is not None:
        learned = moments
    if is_frozen or alone:
        norm.running_mean.copy_(learned.mean)
        norm.running_var.copy_(learned.variance)
        # In evaluation mode one normalises by the moments of all, in training by each one's.
        output = norm.eval().forward(*args, **kwargs)
        norm.train()
    norm.reset_running_stats()
    return learned, output


def _of_all(calls: list[_Moments], averaged: bool = False) -> _Moments:
    moments = calls[0]
    for call in calls[1:]:
        moments = moments.averaged(call) if averaged else moments.pooled(call)
    return moments


@contextmanager
def _taking(others: dict[str, tuple[nn.Module, list[str]]]) -> Iterator[set[str]]:
    """Have all other modules take their statistics from their input, before they use it."""
    taken: set[str] = set()
    if not others:  # then the pass goes through torch's own kernels, to the bit
        yield taken
        return
    operators, handles = _BatchNormOperators(taken), []
    for name, (part, statistics) in others.items():
        operators.watch(name, part, statistics)
        if not isinstance(part, torch.jit.ScriptModule):
            hook = _learning_hook(name, statistics, taken)
            handles.append(part.register_forward_pre_hook(hook, with_kwargs=True))
    try:
        with operators:
            yield taken
    finally:
        for handle in handles:
            handle.remove()


def _learning_hook(
    name: str, statistics: list[str], taken: set[str]
) -> Callable[[nn.Module, _Args, _Kwargs], None]:
    calls: list[_Moments] = []
    learned_before: dict[str, tuple[int, Tensor]] = {}

    def learn(part: nn.Module, args: _Args, kwargs: _Kwargs) -> None:
        learned = _long_run(part, statistics, args, kwargs)
        for buffer, values in learned.items():
            number, mean = learned_before.get(buffer, (0, torch.zeros_like(values)))
            mean = mean + (values - mean) / (number + 1)
            learned_before[buffer] = number + 1, mean
            learned[buffer] = mean
        if {_MEAN, _VARIANCE}.issubset(statistics) and _MEAN not in learned and _is_norm(part):
            moments = _moments((*args, *kwargs.values())[0], getattr(part, _MEAN))
            if moments is not None:
                calls.append(moments)
                moments = _of_all(calls)
                learned.update({_MEAN: moments.mean, _VARIANCE: moments.variance})
        for buffer, values in learned.items():
            getattr(part, buffer).copy_(values)
            taken.add(f"{name}.{buffer}")

    return learn


def _long_run(
    part: nn.Module, buffers: list[str], args: _Args, kwargs: _Kwargs
) -> dict[str, Tensor]:
    """Return what training on an input for ever would leave in the buffers that it changes."""
    results = []
    for start in (0.0, 1.0, 2.0):
        trial = copy.deepcopy(part).train()
        for module in trial.modules():
            module._forward_pre_hooks.clear()
            module._forward_hooks.clear()
        for buffer in buffers:
            getattr(trial, buffer).fill_(start)
        try:
            with torch.random.fork_rng(devices=[]):
                seed_torch(0)
                trial(*copy.deepcopy(args), **copy.deepcopy(kwargs))
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            return {}
        results.append({buffer: getattr(trial, buffer) for buffer in buffers})
    learned = {}
    for buffer in buffers:
        zero, first, second = (result[buffer] for result in results)
        share = first - zero  # of the starting value, that is left after one step
        is_affine = torch.allclose(second - first, share, rtol=1e-3, atol=1e-4)
        if is_affine and bool((share < 0.9999).all()) and bool(zero.isfinite().all()):
            learned[buffer] = zero / (1 - share)
    return learned


def _is_norm(part: nn.Module) -> bool:
    """Return whether a module holds numbers for each channel alone, so that it mixes no channels.

    A block that mixes them may normalise what comes after, and its input's moments are not that's.
    """
    tensors = (*part.parameters(), *part.buffers())
    return all(max(values.shape, default=1) == values.numel() for values in tensors)


def _moments(images: Tensor, like: Tensor) -> _Moments | None:
    """Return the moments of each channel, which is the second axis or the last."""
    axis = next((axis for axis in (1, -1) if images.shape[axis] == like.numel()), None)
    if axis is None or images.numel() <= like.numel():
        return None
    values = images.movedim(axis, 0).flatten(1).double()
    mean, variance = values.mean(1), values.var(1)
    return _Moments(values.shape[1], mean.view_as(like).to(like), variance.view_as(like).to(like))


class _BatchNormOperators(TorchDispatchMode):
    """Takes moments where torch's batch norm is about to use those of a watched module."""

    def __init__(self, taken: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._taken = taken
        self._names: dict[int, str] = {}
        self._calls: dict[str, list[_Moments]] = {}

    def watch(self, name: str, part: nn.Module, statistics: list[str]) -> None:
        """Watch buffers of a module of this name."""
        for buffer in statistics:
            self._names[getattr(part, buffer).data_ptr()] = f"{name}.{buffer}"

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401 - the signature is torch's
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        if func in _BATCH_NORM_OPERATORS and isinstance(args[3], Tensor):
            means, variances = args[3:5]
            first, second = (self._names.get(values.data_ptr()) for values in (means, variances))
            is_ours = first in self._calls or first not in self._taken
            moments = _moments(args[0], means)
            if first is not None and second is not None and is_ours and moments is not None:
                calls = self._calls.setdefault(first, [])
                calls.append(moments)
                means.copy_(_of_all(calls).mean)
                variances.copy_(_of_all(calls).variance)
                self._taken.update((first, second))
        return func(*args, **(kwargs or {}))
