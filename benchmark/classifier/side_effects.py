"""What a pass may leave behind: in the network, in torch's switches, in the random state."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from benchmark.classifier.network import Classifier

# Names under which torch looks for the code of a layer.
_RUN = ("forward", "_call_impl", "_slow_forward", "_compiled_call_impl")


@dataclass
class SideEffects:
    """Changes that a block of code made to what it was given.

    Attributes:
        changes: Names of what changed, such as ``the network's parameters or buffers``; filled when
            the block ends.
        drew: Whether the block drew from a global random state, which is then put back.
    """

    changes: list[str] = field(default_factory=list)
    drew: bool = False


@contextmanager
def watch(classifier: Classifier) -> Iterator[SideEffects]:
    """Watch the network, torch's switches and the global random states during a block."""
    effects, before = SideEffects(), _fingerprint(classifier)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    python_state = random.getstate()
    yield effects
    after = _fingerprint(classifier)
    effects.changes += [part for part, value in before.items() if after[part] != value]
    drew = not torch.equal(torch_state, torch.get_rng_state())
    drew |= _comparable(numpy_state) != _comparable(np.random.get_state())  # noqa: NPY002
    drew |= python_state != random.getstate()
    if drew:
        effects.drew = True
        random.setstate(python_state)
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def versions(classifier: Classifier) -> list[tuple[int, int]]:
    """Return what counts writes in place into parameters and buffers, without reading weights."""
    tensors = (*classifier.parameters(), *classifier.buffers())
    return [(id(tensor), version(tensor)) for tensor in tensors]


def version(tensor: Tensor) -> int:
    """Return how often a tensor was written into; what was made in inference mode does not know."""
    return -1 if tensor.is_inference() else tensor._version


def _comparable(state: Any) -> tuple[object, ...]:  # noqa: ANN401
    """Return NumPy's global state as what can be compared."""
    kind, numbers, *rest = state
    return kind, numbers.tobytes(), *rest


def _fingerprint(classifier: Classifier) -> dict[str, object]:
    """Return what must stay as it is."""
    parts = list(classifier.modules())
    # Read off each module, since torch's own lists build the name of every tensor on the way.
    held = [{**part._parameters, **part._buffers} for part in parts]
    tensors = [tensor for own in held for tensor in own.values() if tensor is not None]
    forwards = {kind: _own_forward(kind) for kind in set(map(type, parts))}
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's inference mode": torch.is_inference_mode_enabled(),
        "torch's default type": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch's cuDNN benchmark mode": torch.backends.cudnn.benchmark,
        "torch's TF32 convolutions": torch.backends.cudnn.allow_tf32,
        "torch's TF32 products": torch.backends.cuda.matmul.allow_tf32,
        "the network's parameters or buffers": [(id(each), version(each)) for each in tensors],
        "the network's gradients": [tensor.grad is None for tensor in tensors],
        "the network's requires_grad flags": [tensor.requires_grad for tensor in tensors],
        "the network's train or eval mode": [part.training for part in parts],
        # What stands in an instance, or was set on its class, runs instead of the layer's own code.
        "the network's own code": [
            (type(part), forwards[type(part)], *(vars(part).get(name) for name in _RUN))
            for part in parts
        ],
        "the network's hooks": [
            len(getattr(part, hook, None) or ()) for part in parts for hook in hooks
        ],
    }


def _own_forward(kind: type) -> object:
    """Return the ``forward`` of a class as it stands there; scripted modules cannot be asked."""
    return next((vars(base)["forward"] for base in kind.__mro__ if "forward" in vars(base)), None)
