"""Where the cells of a feature map look in the input.

An odd kernel of stride two with symmetric padding samples at pixels 0, 2, 4, …. So cell j of a
stride-s map is centred near pixel s·j, while bilinear upsampling places it at s·j + (s − 1)/2. The
centres follow from kernel, stride, padding and dilation of the layers on the way (Araujo et al.
2019, "Computing receptive fields of convolutional neural networks"); they are read off the
operators that really run, so blocks, branches and functional calls need no special care.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = ["FeatureGrid", "trace_grid", "upsample", "upsample_aligned"]

_aten = torch.ops.aten
_MAX_POOLS = (_aten.max_pool2d_with_indices.default, _aten.max_pool3d_with_indices.default)
_POOLS = (*_MAX_POOLS, _aten.avg_pool2d.default, _aten.avg_pool3d.default)
_PADS = {
    _aten.constant_pad_nd.default,
    _aten.reflection_pad2d.default,
    _aten.reflection_pad3d.default,
    _aten.replication_pad2d.default,
    _aten.replication_pad3d.default,
}


@dataclass(frozen=True)
class FeatureGrid:
    """Input coordinates of the cells of a feature map.

    Attributes:
        shape: Spatial shape of the feature map; empty where the maps are not spatial.
        offset: Input coordinate, in pixels, of cell 0 along each axis.
        step: Distance between neighbouring cells in pixels along each axis.
    """

    shape: tuple[int, ...]
    offset: tuple[float, ...]
    step: tuple[float, ...]


def trace_grid(trunk: nn.Module, example: Tensor) -> FeatureGrid:
    """Return the sampling grid of a trunk's output, followed through its operators in one pass.

    Where branches with different centres meet, it is the mean of their centres. It is empty where
    the maps are not spatial, or where they went through an operator whose sampling is not known,
    such as a transposed convolution or a token merge: then the cells traced do not span the image.

    Args:
        trunk: Module from images to feature maps [B, K, *s]; maps of another rank are not spatial.
        example: [1, C, *S] image; any will do.
    """
    example, size = example.clone(), example.shape[2:]
    # Inference mode, and the fused attention kernels of nn.TransformerEncoderLayer, hide operators.
    with torch.no_grad(), _GridMode(example) as mode:
        maps = trunk(example)
        grid = mode.grid_of(maps)
    if maps.ndim == example.ndim and grid is not None:
        traced = FeatureGrid(tuple(maps.shape[2:]), grid.offset, grid.step)
        if _spans(traced, size):
            return traced
    return FeatureGrid((), (), ())


def upsample(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps resized as published CAMs are: linearly, with cells as tiles of the image.

    Args:
        maps: [B, C, *s].
        size: Spatial shape *S of the input.
    """
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return functional.interpolate(maps, size=tuple(size), mode=mode, align_corners=False)


def upsample_aligned(maps: Tensor, size: Sequence[int], grid: FeatureGrid) -> Tensor:
    """Return maps resized so that every cell's value stands at the pixel it is centred on.

    Beyond the outermost centres the nearest value is held.

    Args:
        maps: [B, C, *s].
        size: Spatial shape *S of the input.
        grid: Grid of the cells of ``maps``.
    """
    for axis, length in enumerate(size):
        weights = _interpolation_matrix(grid, axis, length).to(maps)
        maps = torch.movedim(torch.movedim(maps, 2 + axis, -1) @ weights.T, -1, 2 + axis)
    return maps


def _interpolation_matrix(grid: FeatureGrid, axis: int, length: int) -> Tensor:
    """Return the linear interpolation from cells to pixels, [length, cells] float64."""
    cells, rows = grid.shape[axis], torch.arange(length)
    position = ((rows.double() - grid.offset[axis]) / grid.step[axis]).clamp(0, cells - 1)
    lower = position.floor().clamp(max=max(cells - 2, 0)).long()
    share = position - lower
    weights = torch.zeros(length, cells, dtype=torch.float64)
    weights[rows, lower] += 1 - share
    weights[rows, (lower + 1).clamp(max=cells - 1)] += share
    return weights


def _spans(grid: FeatureGrid, size: Sequence[int]) -> bool:
    """Return whether the margins before the first and after the last cell agree to one step."""
    axes = zip(size, grid.shape, grid.offset, grid.step, strict=True)
    return all(
        abs(offset - (length - 1 - (offset + step * (cells - 1)))) <= step
        for length, cells, offset, step in axes
    )


class _GridMode(TorchDispatchMode):
    """Carries a sampling grid, but for its shape, from each operator's inputs to its outputs."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dimensions = example.ndim - 2
        self._grids: Any = WeakTensorKeyDictionary()
        self._grids[example] = FeatureGrid((), (0.0,) * self._dimensions, (1.0,) * self._dimensions)

    def grid_of(self, tensor: Tensor) -> FeatureGrid | None:
        """Return the grid that ``tensor`` is sampled on, or None where it does not stem from it."""
        grid: FeatureGrid | None = self._grids.get(tensor)
        return grid

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - the signature is torch's
        result = func(*args, **(kwargs or {}))
        grids = [grid for tensor in _tensors(args) if (grid := self.grid_of(tensor)) is not None]
        if not grids:
            return result
        grid = _mean(grids)
        if func is _aten.convolution.default and not args[6]:
            grid = self._advance(grid, args[1].shape[2:], *args[3:6])
        elif func in _POOLS:
            kernel = args[1]
            stride = args[2] if len(args) > 2 and args[2] else kernel
            padding = args[3] if len(args) > 3 else [0]
            dilation = args[4] if func in _MAX_POOLS and len(args) > 4 else [1]
            grid = self._advance(grid, kernel, stride, padding, dilation)
        elif func in _PADS:
            grid = self._pad(grid, args[1])
        for tensor in _tensors(result):
            self._grids[tensor] = grid
        return result

    def _pad(self, grid: FeatureGrid, padding: Sequence[int]) -> FeatureGrid:
        # Listed from the last axis to the first, as (before, after).
        before = ([0] * self._dimensions + list(padding[-2::-2]))[-self._dimensions :]
        axes = zip(grid.offset, grid.step, before, strict=True)
        offset = tuple(start - step * width for start, step, width in axes)
        return FeatureGrid((), offset, grid.step)

    def _advance(self, grid: FeatureGrid, *window: Sequence[int]) -> FeatureGrid:
        """Return the grid after a window of this kernel, stride, padding and dilation."""
        sizes = (size if len(size) > 1 else [size[0]] * self._dimensions for size in window)
        offset, step = [], []
        for axis, (kernel, stride, padding, dilation) in enumerate(zip(*sizes, strict=True)):
            shift = dilation * (kernel - 1) / 2 - padding
            offset.append(grid.offset[axis] + grid.step[axis] * shift)
            step.append(grid.step[axis] * stride)
        return FeatureGrid((), tuple(offset), tuple(step))


def _tensors(values: object) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _mean(grids: Sequence[FeatureGrid]) -> FeatureGrid:
    coarsest = max(grid.step for grid in grids)
    axes = zip(*(grid.offset for grid in grids if grid.step == coarsest), strict=True)
    return FeatureGrid((), tuple(sum(axis) / len(axis) for axis in axes), coarsest)
