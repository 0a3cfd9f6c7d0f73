"""Order of a map's pixels inside the foreground, and why a map cannot be ranked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.errors import InputError

_PIXELS_AT_ONCE = 2**18
_FEWEST_SUMMED = 4  # leaves two in the smallest of parts that are as even as can be

CONSTANT_MAP = "constant map"
NON_FINITE_MAP = "non-finite map"
EMPTY_FOREGROUND = "empty foreground"

_ALL_BUT_SIGN = 2**31 - 1
_INDEX_BITS = 32
_INDEX = 2**_INDEX_BITS - 1


@dataclass(frozen=True)
class Ranking:
    """The pixels of a batch of maps in falling order; made once, read against many truths.

    Attributes:
        order: [B, P] flat indices, the foreground first.
        first: [B, P] first position of the run of ties that each position belongs to.
        last: [B, P] last position of that run.
        is_rankable: [B] whether a map is finite and varies in a foreground that is not empty.
    """

    order: Tensor
    first: Tensor
    last: Tensor
    is_rankable: Tensor

    def where_rankable(self, scores: Tensor) -> Tensor:
        """Return scores [B] float64 with NaN for images whose map cannot be ranked."""
        return torch.where(self.is_rankable, scores, math.nan)


def rank_pixels(importance: Tensor, foreground: Tensor) -> Ranking:
    """Return the order of the pixels, largest importance first."""
    _check_fit(importance, foreground)
    if is_many(importance):
        parts = [rank_pixels(*pair) for pair in a_few_each(importance, foreground)]
        return Ranking(
            torch.cat([part.order for part in parts]),
            torch.cat([part.first for part in parts]),
            torch.cat([part.last for part in parts]),
            torch.cat([part.is_rankable for part in parts]),
        )
    values, inside = importance.flatten(1), foreground.flatten(1)
    ordered, order = sort_stably(torch.where(inside, values, -math.inf), descending=True)
    first, last = _tie_runs(ordered)
    return Ranking(order, first.long(), last.long(), _is_rankable(values, inside))


def ranks(values: Tensor, foreground: Tensor) -> Tensor:
    """Return average ranks [B, 1, *S] float64 from 1 for the smallest value in the foreground.

    They are 0 outside the foreground, and NaN inside it where a map is not finite there.
    """
    if is_many(values):
        return torch.cat([ranks(*pair) for pair in a_few_each(values, foreground)])
    _check_fit(values, foreground)
    flat, inside = values.flatten(1), foreground.flatten(1)  # as they are: doubles sort slowly
    ordered, order = sort_stably(torch.where(inside, flat, math.inf))
    first, last = _tie_runs(ordered)
    averaged = (first + last).double() / 2 + 1
    unsorted = torch.zeros_like(averaged).scatter_(1, order, averaged)
    unsorted = torch.where(_is_finite(flat, inside)[:, None], unsorted, math.nan)
    return torch.where(inside, unsorted, 0.0).view(values.shape)


def sort_stably(values: Tensor, *, descending: bool = False) -> tuple[Tensor, Tensor]:
    """Return each row of values [B, P] sorted, and the index [B, P] that each came from.

    Equal values keep their order. On a processor, float32 is sorted as one whole number for each
    value, of its bits and its index: an eighth of the time of a sort of values that carries
    indices along, and the same order.
    """
    if values.dtype != torch.float32 or values.device.type != "cpu":
        ordered, order = values.sort(dim=1, descending=descending, stable=True)
        return ordered, order
    # 0 is added since −0 has other bits. As a whole number, a negative float falls as it rises.
    bits = (values + 0.0).view(torch.int32)
    rising = bits ^ ((bits >> 31) & _ALL_BUT_SIGN)
    keys = (~rising if descending else rising).long() << _INDEX_BITS
    keys |= torch.arange(values.shape[1])
    keys.numpy().sort(axis=1)
    order = keys & _INDEX
    return values.gather(1, order), order


def reason_unrankable(importance: Tensor, foreground: Tensor) -> list[str | None]:
    """Return for each map why its pixels cannot be ranked, or None where they can."""
    if is_many(importance):
        pairs = a_few_each(importance, foreground)
        return [reason for pair in pairs for reason in reason_unrankable(*pair)]
    values, inside = flatten(importance, foreground)
    sound = {
        EMPTY_FOREGROUND: inside.any(1).tolist(),
        NON_FINITE_MAP: _is_finite(values, inside).tolist(),
        CONSTANT_MAP: _is_varied(values, inside).tolist(),
    }
    rows = range(len(values))
    return [next((reason for reason in sound if not sound[reason][row]), None) for row in rows]


def where_rankable(scores: Tensor, importance: Tensor, foreground: Tensor) -> Tensor:
    """Return scores [B] float64 with NaN for images whose map cannot be ranked."""
    _check_fit(importance, foreground)
    is_rankable = _is_rankable(importance.flatten(1), foreground.flatten(1))
    return torch.where(is_rankable, scores, math.nan)


def is_many(values: Tensor) -> bool:
    """Return whether images are so many that they are sorted a few at a time to save memory."""
    return _parts(values) > 1


def are_many_slices(values: Tensor) -> bool:
    """Return whether images are so many, and so small, that they are summed a few at a time.

    Sums over one image by itself would depend on the number of threads, so of large images and
    volumes, which ``a_few_each`` yields one by one, all are summed at once.
    """
    return is_many(values) and _FEWEST_SUMMED * math.prod(values.shape[1:]) <= _PIXELS_AT_ONCE


def a_few_each(*batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield a few images of the batches at a time, as even as can be; of large volumes one."""
    return zip(*(batch.tensor_split(_parts(batches[0])) for batch in batches), strict=True)


def _parts(values: Tensor) -> int:
    at_once = max(1, _PIXELS_AT_ONCE // max(1, math.prod(values.shape[1:])))
    return max(1, math.ceil(len(values) / at_once))


def flatten(values: Tensor, foreground: Tensor) -> tuple[Tensor, Tensor]:
    """Return values [B, P] float64 and foreground [B, P]."""
    _check_fit(values, foreground)
    return values.flatten(1).double(), foreground.flatten(1)


def _check_fit(values: Tensor, foreground: Tensor) -> None:
    if values.shape != foreground.shape:
        raise InputError(
            f"Expected a map of the foreground's shape {list(foreground.shape)} "
            f"but got {list(values.shape)}."
        )


def _tie_runs(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and last position, int32, of the run of equal values around each of [B, P].

    In int64 the same takes five times as long.
    """
    edge = torch.ones_like(ordered[:, :1], dtype=torch.bool)
    changes = ordered[:, 1:] != ordered[:, :-1]
    positions = torch.arange(ordered.shape[1], dtype=torch.int32, device=ordered.device)
    first = torch.where(torch.cat([edge, changes], 1), positions, 0).cummax(1).values
    ends = torch.where(torch.cat([changes, edge], 1), positions, ordered.shape[1])
    last = ends.flip(1).cummin(1).values.flip(1)
    return first, last


def _is_rankable(values: Tensor, inside: Tensor) -> Tensor:
    return _is_finite(values, inside) & _is_varied(values, inside)


def _is_finite(values: Tensor, inside: Tensor) -> Tensor:
    return (values.isfinite() | ~inside).all(1)


def _is_varied(values: Tensor, inside: Tensor) -> Tensor:
    lowest = torch.where(inside, values, math.inf).amin(1)
    return lowest < torch.where(inside, values, -math.inf).amax(1)
