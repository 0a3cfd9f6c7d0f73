"""Batch norm whose gradient is right for a batch of one.

On the CPU torch's batch norm takes the gradient of a single image for one in its own memory order
whenever it is dense in any order. So it gives a wrong gradient without a word where tokens are made
of channels, as behind a transformer's convolutional stem (torch 2.15 does).
"""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.classifier.layers import OWN_HOOKS

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def order_gradients(module: nn.Module) -> None:
    """Have every batch norm within a module receive gradients in the order of its output."""
    for part in module.modules():
        if isinstance(part, BATCH_NORMS) and _order not in part._forward_hooks.values():
            part.register_forward_hook(_order)


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module or a part of it has a hook that the classifier did not set."""
    own = (_order, *OWN_HOOKS)
    return any(
        hook not in own
        for part in module.modules()
        for hook in (*part._forward_pre_hooks.values(), *part._forward_hooks.values())
    )


def _order(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
    if output.requires_grad and len(output) == 1:
        layout = output.shape, output.stride()
        output.register_hook(lambda gradient: gradient.new_empty_strided(*layout).copy_(gradient))
