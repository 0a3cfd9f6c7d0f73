"""Buffers that no training made: masks, positions, fixed filters, the scale of the images.

A randomised copy may keep them. A buffer that training fills is recognised by what it lacks: it is
kept out of checkpoints by its author, or every value follows from a formula that learned values
meet by no accident, to the bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

# Channels of an image whose mean and deviation a network may hold itself.
_IMAGE_CHANNELS = 4
_FEW = 16
_SMALLEST_MIRROR = 3


def persistent_buffers(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield a module's own floating-point buffers that a checkpoint holds, by name.

    What its author keeps out of checkpoints is built with the network, so training did not make it.
    """
    omitted: set[str] = getattr(part, "_non_persistent_buffers_set", set())
    for name, buffer in part.named_buffers(recurse=False):
        if name not in omitted and buffer.is_floating_point() and buffer.numel():
            yield name, buffer


def is_constant(name: str, values: Tensor) -> bool:
    """Return whether a buffer follows from a formula, and so holds nothing that was learned.

    Args:
        name: Name of the buffer in its module.
        values: Values of any shape.
    """
    values = values.detach().double().cpu()
    return (
        _is_mask(values)
        or _is_written_down(values)
        or _is_image_scale(name, values)
        or _is_evenly_spaced(values)
        or _is_table_of_waves(values)
        or _mirrors_itself(values)
    )


def _is_mask(values: Tensor) -> bool:
    """Zero, one and infinities, or zero and one other number, such as -100."""
    levels = values.unique()
    plain = (levels == 0) | (levels == 1) | levels.isinf()
    return bool(plain.all()) or (len(levels) == 2 and bool((levels == 0).any()))


def _is_written_down(values: Tensor) -> bool:
    """A few numbers of at most three digits, or one over the root of an integer."""
    if values.numel() > _FEW:
        return False
    numbers = values.flatten().float()
    digits = torch.tensor([float(f"{number:.3g}") for number in numbers.tolist()])
    squares = 1 / numbers.double().square()
    roots = (squares - squares.round()).abs() < 1e-6 * squares
    return bool(((digits == numbers) | roots).all())


def _is_image_scale(name: str, values: Tensor) -> bool:
    """The mean or deviation of an image's channels; a norm's would be called running."""
    is_named = ("mean" in name or "std" in name) and not name.startswith(("running", "moving"))
    return is_named and values.numel() <= _IMAGE_CHANNELS


def _is_evenly_spaced(values: Tensor) -> bool:
    """Positions and grids: along each axis every step is as long as the first."""
    if values.numel() < _SMALLEST_MIRROR:
        return False
    scale = float(values.abs().max())
    for axis in range(values.ndim):
        steps = values.diff(dim=axis)
        if steps.numel() and float((steps - steps.flatten()[0]).abs().max()) > 1e-6 * scale:
            return False
    return True


def _is_table_of_waves(values: Tensor) -> bool:
    """Sines beside cosines of the same angle, interleaved or in halves, along the last axis."""
    width = values.shape[-1] if values.ndim else 0
    if width < 2 or width % 2:
        return False
    pairs = (values[..., 0::2], values[..., 1::2]), values.chunk(2, -1)
    return any(
        torch.allclose(sines.square() + cosines.square(), torch.ones_like(sines), atol=1e-5)
        for sines, cosines in pairs
    )


def _mirrors_itself(values: Tensor) -> bool:
    """Filters and relative positions: reversing some axes changes nothing, or the sign alone."""
    axes = [axis for axis, length in enumerate(values.shape) if length >= _SMALLEST_MIRROR]
    return any(
        torch.equal(mirrored, values) or torch.equal(mirrored, -values)
        for count in range(1, len(axes) + 1)
        for chosen in itertools.combinations(axes, count)
        for mirrored in [values.flip(chosen)]
    )
