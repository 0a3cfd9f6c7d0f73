"""Redrawing parameters, so that a network knows nothing of what it was trained on."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from benchmark.classifier.batch_norm import BATCH_NORMS
from benchmark.seeding import seed_of


def redraw(module: nn.Module, seed: int) -> None:
    """Redraw every parameter of ``module`` in place, each on a stream named by seed and name."""
    for prefix, part in module.named_modules():
        for name, parameter in part.named_parameters(recurse=False):
            parameter_seed = seed_of("redraw", seed, f"{prefix}.{name}")
            trained = parameter.clone()
            with torch.no_grad():
                # A constant initialiser, as batch norm's, may give what was there.
                reset = _reset_parameter(part, name, parameter_seed)
                if not reset or torch.equal(parameter, trained):
                    _draw_like(parameter, parameter_seed)


def reestimate_batch_norm(
    module: nn.Module, run: Callable[[], object], keep: Collection[str] = ()
) -> None:
    """Set batch norm's running statistics to the moments over the batch that ``run`` sends.

    Layers named in ``keep`` stay as they are.
    """
    layers = [
        part
        for name, part in module.named_modules()
        if isinstance(part, BATCH_NORMS) and name not in keep
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # cumulative average: one batch gives that batch's moments exactly
    with torch.no_grad():
        run()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.eval()
        layer.momentum = momentum


def _reset_parameter(part: nn.Module, name: str, seed: int) -> bool:
    """Redraw a parameter by its module's initialiser and return whether there is one."""
    fresh = copy.deepcopy(part).cpu()
    reset = getattr(fresh, "reset_parameters", None) or getattr(fresh, "_reset_parameters", None)
    if not callable(reset):
        return False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reset()
    getattr(part, name).copy_(getattr(fresh, name))
    return True


def _draw_like(parameter: Tensor, seed: int) -> None:
    """Redraw a parameter from a normal with the moments of its trained values."""
    generator = torch.Generator().manual_seed(seed)
    spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
    scale = spread if math.isfinite(spread) and spread > 0 else 0.02
    noise = torch.randn(parameter.shape, generator=generator) * scale + float(parameter.mean())
    parameter.copy_(noise)
