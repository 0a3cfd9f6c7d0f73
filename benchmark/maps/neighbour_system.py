"""The linear systems by which missing pixels follow from their neighbours, as in ROAD."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_TOLERANCE = 1e-7
_ROUNDING = 1e-12
_UNKNOWN = 0.5
_BLOCK = 64
_DIGITS = 1e-4  # by which single precision lowers a residual before it is computed anew
_STRIDE = 4  # iterations between two looks at which systems have converged
_LEFT_BEHIND = 0.65  # share of entries that still change, below which the others are left behind
_CHUNK_ENTRIES = 2**17  # of systems that are solved together, to stay near the processor
_ON_A_GPU = 16  # times as many there, where small work costs as much as large


def solve_from_neighbours(images: Tensor, masks: Tensor) -> Tensor:
    """Return images whose masked pixels are the weighted mean of their neighbours.

    With N(i) the neighbours of pixel i in the image, M the masked pixels, K the known ones and
    w_ij ∝ 1/distance², every masked pixel i obeys
    d_i x_i − Σ_{j ∈ N(i) ∩ M} w_ij x_j = Σ_{j ∈ N(i) ∩ K} w_ij y_j with d_i = Σ_{j ∈ N(i)} w_ij.
    The matrix is symmetric and diagonally dominant, and positive definite as soon as one pixel is
    known, so conjugate gradients converge. They run in single precision; residuals are computed
    anew in double precision until their norm is at most 1e-7 of the right side's.

    The systems of all masks are laid end to end and iterated together. Sums over a system run over
    its own entries in their own order, and a converged system is frozen. So its solution is the
    same to the bit whoever it is solved with.

    Args:
        images: [B, *S] float32.
        masks: [B, M, *S] bool; a mask that covers a whole image is filled with 0.5.

    Returns:
        [B, M, *S] float32; pixels outside the mask are the image's own.
    """
    flat = masks.flatten(0, 1)
    solved = images[:, None].expand(masks.shape).flatten(0, 1).clone()
    owners = torch.arange(len(images), device=images.device).repeat_interleave(masks.shape[1])
    planes = _Planes.of(images)
    # Like with like: small systems converge in fewer iterations.
    sizes, order = flat.flatten(1).sum(1).sort(stable=True)
    at_once = _CHUNK_ENTRIES * (_ON_A_GPU if images.is_cuda else 1)
    numbers = (sizes + _BLOCK).cumsum(0).div(at_once, rounding_mode="floor")
    lengths = numbers[sizes > 0].unique_consecutive(return_counts=True)[1].tolist()
    for chunk in order[len(order) - sum(lengths) :].split(lengths):
        filled = solved[chunk]
        filled[flat[chunk]] = _solve(planes, owners[chunk], flat[chunk]).float()
        solved[chunk] = filled
    return solved.view(masks.shape)


@dataclass(frozen=True)
class _Planes:
    """What the systems of all masks of the same images are cut from, padded by a pixel.

    Weights are scaled to whole numbers, 2 and 1 in two dimensions and 6, 3 and 2 in three.

    Attributes:
        values: [B, P] float64 pixels.
        pull: [B, P] float64, Σ_{j ∈ N(i)} w_ij (y_j − y_i) of the unaltered image.
        diagonal: [P] float64, d.
        strides: Steps in P along each axis.
    """

    values: Tensor
    pull: Tensor
    diagonal: Tensor
    strides: tuple[int, ...]

    @staticmethod
    def of(images: Tensor) -> _Planes:
        dimensions, shape = images.ndim - 1, images.shape[1:]
        margin, scale = (1, 1) * dimensions, _scale(dimensions)
        values = functional.pad(images.double(), margin)
        exists = functional.pad(torch.ones_like(images[0], dtype=torch.float64), margin)
        pull, diagonal = torch.zeros_like(values), torch.zeros_like(exists)
        inner = tuple(slice(1, -1) for _ in shape)
        for offset in itertools.product((-1, 0, 1), repeat=dimensions):
            if any(offset):
                steps = zip(offset, shape, strict=True)
                there = tuple(slice(1 + step, length + 1 + step) for step, length in steps)
                weight = scale / _squared(offset) * exists[there]
                difference = values[(slice(None), *there)] - values[(slice(None), *inner)]
                pull[(slice(None), *inner)] += weight * difference
                diagonal[inner] += weight
        return _Planes(values.flatten(1), pull.flatten(1), diagonal.flatten(), exists.stride())


class _Matrix:
    """The matrix of several systems laid end to end, in either precision.

    A system's entries are its masked pixels and the pixels left and right of these, where vectors
    are 0, in the order of the image. Zeros fill up the last block of 64. So a line of the image is
    a run of entries, and neighbours within it need no index; of other lines, one index finds three
    neighbours at once.

    Args:
        lines: Entries [n] int32 straight across, for each squared distance of other lines; n where
            there are none.
        diagonal: [n] diagonal, 0 where no pixel is masked.
        inside: [n] 1 where a pixel is masked, and otherwise 0.
        blocks: [systems] number of each system's blocks.
    """

    def __init__(
        self, lines: dict[int, tuple[Tensor, ...]], diagonal: Tensor, inside: Tensor, blocks: Tensor
    ) -> None:
        self.lines, self.diagonal, self.inside, self.blocks = lines, diagonal, inside, blocks
        numbers = torch.arange(len(blocks), dtype=torch.int32, device=blocks.device)
        self._systems = numbers.repeat_interleave(blocks, output_size=len(inside) // _BLOCK)
        self._scale = _scale(max(lines) + 1)
        self._straight = inside.new_zeros(len(inside) + 1)
        self._beside, self._sum, self._part = (torch.empty_like(inside) for _ in range(3))

    def times(self, padded: Tensor) -> Tensor:
        """Return the matrix times a vector, padded to [1 + n + 1] by zeros.

        The result is overwritten by the next product. Nothing is fused into one operation, whose
        rounding would depend on the position in the vector.
        """
        vector, beside, total = padded[1:-1], self._beside, self._sum
        torch.add(padded[:-2], padded[2:], out=beside)
        for distance, entries in self.lines.items():
            # The neighbour straight across, and those beside it, which are 1 further in the square.
            straight = torch.mul(vector, (distance + 1) / distance, out=self._straight[:-1])
            straight.add_(beside)
            across = total if distance == 1 else self._part.clone()
            torch.index_select(self._straight, 0, entries[0], out=across)
            for others in entries[1:]:
                across.add_(torch.index_select(self._straight, 0, others, out=self._part))
            across.mul_(self._scale / (distance + 1))
            if across is not total:
                total.add_(across)
        total.add_(beside.mul_(self._scale)).mul_(self.inside)
        return torch.mul(self.diagonal, vector, out=beside).sub_(total)

    def dot(self, first: Tensor, second: Tensor) -> Tensor:
        """Return one scalar product for each system."""
        parts = torch.mul(first, second, out=self._part).view(-1, _BLOCK).sum(1)
        return torch.segment_reduce(parts, "sum", lengths=self.blocks, unsafe=True)

    def spread(self, scalars: Tensor) -> Tensor:
        """Return one scalar of each system at each of its blocks, [n / 64, 1]."""
        return scalars.index_select(0, self._systems)[:, None]

    def only(self, systems: Tensor) -> tuple[_Matrix, Tensor]:
        """Return the part with these systems [systems] bool, and its blocks of this one."""
        kept = systems.index_select(0, self._systems).nonzero()[:, 0]
        size, count = len(self.inside), len(kept) * _BLOCK
        numbers = self._systems.new_full((size + 1,), count)
        numbers[:-1].view(-1, _BLOCK)[kept] = torch.arange(
            count, dtype=torch.int32, device=kept.device
        ).view(-1, _BLOCK)
        lines = {
            distance: tuple(
                numbers.index_select(0, _blocks(some).index_select(0, kept).flatten())
                for some in entries
            )
            for distance, entries in self.lines.items()
        }
        diagonal, inside = (
            _blocks(vector).index_select(0, kept).flatten()
            for vector in (self.diagonal, self.inside)
        )
        return _Matrix(lines, diagonal, inside, self.blocks[systems]), kept

    def single(self) -> _Matrix:
        """Return the same in single precision."""
        return _Matrix(self.lines, self.diagonal.float(), self.inside.float(), self.blocks)


def _solve(planes: _Planes, owners: Tensor, masks: Tensor) -> Tensor:
    """Return the values of the masked pixels of masks [N, *S], which are not empty, end to end.

    Args:
        planes: Planes that hold what is known of the images.
        owners: [N] image of each mask.
        masks: [N, *S] bool.
    """
    matrix, entries, values, pull = _assemble(planes, owners, masks)
    single = matrix.single()
    known = single.times(functional.pad(single.inside, (1, 1))).double()
    right = matrix.times(values).add_(pull)
    rim = matrix.dot(known, matrix.inside)
    mean = torch.where(rim > 0, matrix.dot(right, matrix.inside) / rim, _UNKNOWN)
    # Rounding alone leaves a residual where the right side is zero, as under a whole-image mask.
    limit = _TOLERANCE**2 * matrix.dot(right, right) + _ROUNDING**2
    start = right - _flat(matrix.spread(mean) * _blocks(known))
    change, residual = torch.zeros_like(values), start
    power = matrix.dot(residual, residual)
    direction = residual.float()
    while (power > limit).any():
        # Half of the limit leaves room for the rounding of what single precision knows of it.
        goal = torch.where(power > limit, (_DIGITS**2 * power).maximum(limit / 4), math.inf)
        change[1:-1] += _conjugate_gradients(single, residual.float(), direction, goal.float())
        residual = start - matrix.times(change)
        power = matrix.dot(residual, residual)
    solution = _flat(_blocks(change[1:-1]) + matrix.spread(mean))
    return solution.index_select(0, entries)


def _assemble(
    planes: _Planes, owners: Tensor, masks: Tensor
) -> tuple[_Matrix, Tensor, Tensor, Tensor]:
    """Return the matrix of masks, the entries of masked pixels, and the images there.

    Returns:
        Matrix in double precision, entries [pixels] of masked pixels, the images' values, padded to
        [1 + n + 1], and pull [n], both 0 where no pixel is masked.
    """
    dimensions, device = masks.ndim - 1, masks.device
    padded = functional.pad(masks, (1, 1) * dimensions)
    stored = padded.clone()
    stored[..., 1:].logical_or_(padded[..., :-1])
    stored[..., :-1].logical_or_(padded[..., 1:])
    stored, per_image = stored.flatten(1), planes.diagonal.numel()
    counts = stored.sum(1)
    blocks = (counts + _BLOCK - 1).div(_BLOCK, rounding_mode="floor")
    size = int(blocks.sum()) * _BLOCK
    pixel = stored.flatten().nonzero()[:, 0]

    def of_each(numbers: Tensor) -> Tensor:
        return numbers.repeat_interleave(counts, output_size=len(pixel))

    first = _exclusive_cumsum(blocks) * _BLOCK - _exclusive_cumsum(counts)
    entry = torch.arange(len(pixel), device=device) + of_each(first)
    entry_of = torch.full((stored.numel(),), size, dtype=torch.int32, device=device)
    entry_of[pixel] = entry.int()
    is_masked = padded.flatten().index_select(0, pixel)
    lines: dict[int, tuple[Tensor, ...]] = {}
    for offset in sorted(itertools.product((-1, 0, 1), repeat=dimensions - 1), key=_squared):
        if any(offset):
            steps = zip(offset, planes.strides[:-1], strict=True)
            across = pixel + sum(step * stride for step, stride in steps)
            neighbours = torch.full((size,), size, dtype=torch.int32, device=device)
            # Pixel 0 is padding, which is not among the entries.
            neighbours[entry] = entry_of.index_select(0, across.mul_(is_masked))
            lines[_squared(offset)] = (*lines.get(_squared(offset), ()), neighbours)

    def gather(plane: Tensor, index: Tensor) -> Tensor:
        vector = torch.zeros(size, dtype=torch.float64, device=device)
        vector[entry] = plane.flatten().index_select(0, index) * is_masked
        return vector

    mask_start = torch.arange(len(masks), device=device) * per_image
    within = pixel - of_each(mask_start)
    image_pixel = within + of_each(owners * per_image)
    diagonal, inside = (
        gather(plane, within) for plane in (planes.diagonal, torch.ones_like(planes.diagonal))
    )
    values = functional.pad(gather(planes.values, image_pixel), (1, 1))
    matrix = _Matrix(lines, diagonal, inside, blocks)
    return matrix, entry[is_masked], values, gather(planes.pull, image_pixel)


def _conjugate_gradients(
    matrix: _Matrix, residual: Tensor, direction: Tensor, goal: Tensor
) -> Tensor:
    """Return the change [n] float32 that lowers each system's squared residual to its goal.

    A system is frozen as soon as it does. Once few entries change any more, the others are left
    behind. ``direction`` [n] is where to search first, and holds where to go on afterwards.
    """
    everything = torch.zeros_like(residual)
    kept = torch.arange(len(residual) // _BLOCK, device=residual.device)
    padded, change = functional.pad(direction, (1, 1)), torch.zeros_like(residual)
    product = torch.empty_like(residual)
    power = matrix.dot(residual, residual)
    active = power > goal
    while active.any():
        if int(matrix.blocks[active].sum()) < _LEFT_BEHIND * len(kept):
            _blocks(everything)[kept] = _blocks(change)
            _blocks(direction)[kept] = _blocks(padded[1:-1])
            matrix, some = matrix.only(active)
            kept, goal, power = kept[some], goal[active], power[active]
            residual, change, vector = (
                _blocks(part).index_select(0, some).flatten()
                for part in (residual, change, padded[1:-1])
            )
            padded, product = functional.pad(vector, (1, 1)), torch.empty_like(residual)
            active = active[active]
        vector = padded[1:-1]
        for _ in range(_STRIDE):
            image = matrix.times(padded)
            step = matrix.spread(torch.where(active, power / matrix.dot(vector, image), 0.0))
            change.add_(_flat(torch.mul(_blocks(vector), step, out=_blocks(product))))
            _blocks(image).mul_(step)
            residual.sub_(image)
            after = matrix.dot(residual, residual)
            turn = matrix.spread(torch.where(active, after / power, 1.0))
            moving = matrix.spread(active.to(residual))
            _blocks(vector).mul_(turn)
            vector.add_(_flat(torch.mul(_blocks(residual), moving, out=_blocks(product))))
            power = torch.where(active, after, power)
            active = power > goal
    _blocks(everything)[kept] = _blocks(change)
    _blocks(direction)[kept] = _blocks(padded[1:-1])
    return everything


def _blocks(vector: Tensor) -> Tensor:
    return vector.view(-1, _BLOCK)


def _flat(blocks: Tensor) -> Tensor:
    return blocks.view(-1)


def _exclusive_cumsum(counts: Tensor) -> Tensor:
    return counts.cumsum(0) - counts


def _scale(dimensions: int) -> float:
    """Return the factor that turns the weights 1, 1/2, … 1/dimensions into whole numbers."""
    return float(math.lcm(*range(1, dimensions + 1)))


def _squared(offset: Sequence[int]) -> int:
    return sum(step * step for step in offset)
