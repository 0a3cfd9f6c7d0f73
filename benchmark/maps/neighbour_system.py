"""The linear systems by which missing pixels follow from their neighbours, as in ROAD."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

_TOLERANCE = 1e-7
_ROUNDING = 1e-12
_UNKNOWN = 0.5
_CHUNK_LINKS = 2**25  # from a pixel to a neighbour, in systems that are solved together


def solve_from_neighbours(images: Tensor, masks: Tensor) -> Tensor:
    """Return images whose masked pixels are the weighted mean of their neighbours.

    With N(i) the neighbours of pixel i in the image, M the masked pixels, K the known ones and
    w_ij ∝ 1/distance², every masked pixel i obeys
    d_i x_i − Σ_{j ∈ N(i) ∩ M} w_ij x_j = Σ_{j ∈ N(i) ∩ K} w_ij y_j with d_i = Σ_{j ∈ N(i)} w_ij.
    The matrix is symmetric and diagonally dominant, and positive definite as soon as one pixel is
    known, so conjugate gradients converge.

    The systems of all masks are laid end to end, masked pixels only, and iterated together. Sums
    over a system run over its own entries in their own order, and a converged system is frozen,
    so its solution is the same to the bit whoever it is solved with.

    Args:
        images: [B, *S] float32.
        masks: [B, M, *S] bool; a mask that covers a whole image is filled with 0.5.

    Returns:
        [B, M, *S] float32; pixels outside the mask are the image's own.
    """
    flat = masks.flatten(0, 1)
    solved = images[:, None].expand(masks.shape).flatten(0, 1).clone()
    owners = torch.arange(len(images), device=images.device).repeat_interleave(masks.shape[1])
    # Like with like: systems of one chunk iterate until the last of them has converged.
    order = flat.flatten(1).sum(1).argsort(stable=True)
    links = images[0].numel() * (3 ** (images.ndim - 1) - 1)
    step = max(1, _CHUNK_LINKS // max(1, links))
    for chunk in order.split(step):
        system = _assemble(images, owners[chunk], flat[chunk])
        if len(system.sizes):
            filled = solved[chunk]
            filled[flat[chunk]] = _conjugate_gradients(system).float()
            solved[chunk] = filled
    return solved.view(masks.shape)


@dataclass(frozen=True)
class _System:
    """Several linear systems laid end to end, n entries in all.

    Attributes:
        neighbours: [n] int32 for each neighbour: its entry, or n where it is known or outside the
            image.
        weights: Weight of each neighbour.
        diagonal: [n] float64 diagonal of the matrix.
        right: [n] float64 right side.
        start: [n] float64 first guess.
        sizes: Number of entries of each system; none is empty.
    """

    neighbours: tuple[Tensor, ...]
    weights: tuple[float, ...]
    diagonal: Tensor
    right: Tensor
    start: Tensor
    sizes: Tensor

    def times(self, vector: Tensor) -> Tensor:
        """Return the matrix times a vector [n]."""
        padded = functional.pad(vector, (0, 1))
        product = self.diagonal * vector
        pairs = list(zip(self.neighbours, self.weights, strict=True))
        for weight in dict.fromkeys(self.weights):
            first, *others = [entries for entries, own_weight in pairs if own_weight == weight]
            # Not fused into one operation, whose rounding would depend on the index in the vector.
            total = padded.index_select(0, first)
            for entries in others:
                total += padded.index_select(0, entries)
            product -= total.mul_(weight)
        return product

    def dot(self, first: Tensor, second: Tensor) -> Tensor:
        """Return one scalar product for each system."""
        return torch.segment_reduce(first * second, "sum", lengths=self.sizes, unsafe=True)

    def only(self, entries: Tensor, systems: Tensor) -> _System:
        """Return the part with these systems [count] bool, whose ``entries`` are [n] bool."""
        count = int(entries.sum())
        renumbered = self.neighbours[0].new_full((len(entries) + 1,), count)
        renumbered[:-1][entries] = torch.arange(count, dtype=torch.int32, device=entries.device)
        return _System(
            tuple(renumbered.index_select(0, neighbour[entries]) for neighbour in self.neighbours),
            self.weights,
            self.diagonal[entries],
            self.right[entries],
            self.start[entries],
            self.sizes[systems],
        )

    def spread(self, scalars: Tensor) -> Tensor:
        """Return one scalar of each system at each of its entries, [n]."""
        return scalars.repeat_interleave(self.sizes, output_size=len(self.right))


def _neighbourhood(dimensions: int) -> tuple[list[tuple[int, ...]], list[float]]:
    """Return the offsets to the 3^d − 1 neighbours and their weights, which sum to 1."""
    steps = itertools.product((-1, 0, 1), repeat=dimensions)
    offsets = [offset for offset in steps if any(offset)]
    raw = [1 / sum(step * step for step in offset) for offset in offsets]
    return offsets, [weight / sum(raw) for weight in raw]


def _assemble(images: Tensor, owners: Tensor, masks: Tensor) -> _System:
    """Return the systems of masks [N, *S] on images [B, *S], of which ``owners`` [N] says which."""
    dimensions, device = masks.ndim - 1, masks.device
    offsets, weights = _neighbourhood(dimensions)
    margin = (1, 1) * dimensions
    values = functional.pad(images, margin).flatten(1)
    exists = functional.pad(torch.ones_like(images[0]), margin).flatten()
    padded = functional.pad(masks, margin)
    flat = padded.flatten(1)
    row, pixel = flat.nonzero(as_tuple=True)
    entries = torch.full(flat.shape, len(row), dtype=torch.int32, device=device)
    entries[row, pixel] = torch.arange(len(row), dtype=torch.int32, device=device)
    strides = padded[0].stride()
    neighbours = []
    diagonal = right = known = torch.zeros(len(row), dtype=torch.float64, device=device)
    for offset, weight in zip(offsets, weights, strict=True):
        neighbour = pixel + sum(step * stride for step, stride in zip(offset, strides, strict=True))
        neighbours.append(entries[row, neighbour])
        fixed = weight * exists[neighbour].double() * (neighbours[-1] == len(row))
        diagonal = diagonal + weight * exists[neighbour].double()
        right = right + fixed * values[owners[row], neighbour].double()
        known = known + fixed
    sizes = flat.sum(1)
    system = _System(tuple(neighbours), tuple(weights), diagonal, right, right, sizes[sizes > 0])
    ones = torch.ones_like(right)
    rim = system.dot(known, ones)
    mean = torch.where(rim > 0, system.dot(right, ones) / rim, _UNKNOWN)
    return replace(system, start=system.spread(mean))


def _conjugate_gradients(system: _System) -> Tensor:
    """Return the solution of each system, [n] float64; preconditioned by the diagonal.

    A system is frozen as soon as its residual is small. Once the frozen ones are the majority
    they are left behind.
    """
    solution = system.start.clone()
    indices = torch.arange(len(solution), device=solution.device)
    estimate, residual = system.start, system.right - system.times(system.start)
    # Rounding alone leaves a residual where the right side is zero, as under a whole-image mask.
    limit = _TOLERANCE**2 * system.dot(system.right, system.right) + _ROUNDING**2
    direction = residual / system.diagonal
    power = system.dot(residual, direction)
    while (active := system.dot(residual, residual) > limit).any():
        if 2 * int(system.sizes[active].sum()) < len(indices):
            solution[indices] = estimate
            keep = system.spread(active)
            system, indices, limit = system.only(keep, active), indices[keep], limit[active]
            estimate, residual, direction = estimate[keep], residual[keep], direction[keep]
            power, active = power[active], active[active]
        image = system.times(direction)
        step = system.spread(torch.where(active, power / system.dot(direction, image), 0.0))
        estimate = estimate + step * direction
        residual = residual - image.mul_(step)
        scaled = residual / system.diagonal
        before, power = power, system.dot(residual, scaled)
        turn = system.spread(torch.where(active, power / before, 0.0))
        direction = turn.mul_(direction).add_(scaled)
    solution[indices] = estimate
    return solution
