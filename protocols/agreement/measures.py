"""What `agreement` compares: maps of several methods, and a map's mass with what removal does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.explainer import why_unsupported
from benchmark.maps.masks import descending_order, top_masks
from benchmark.maps.partition import masses
from benchmark.maps.ranking import reason_unrankable
from benchmark.maps.similarity import centred_ranks, iou, rank_correlation
from benchmark.seeding import seed_of
from benchmark.trial import Keeping, Study, Trial, remembered
from benchmark.trial.maps import draw_maps

_SLICES_AT_ONCE = 16
_MOST_INT16 = 2**15


@dataclass(frozen=True, eq=False)
class RankedMaps:
    """One method's maps of some images, ranked once for all that they are compared with.

    Twice the ranks are whole numbers, those of the foreground alone are held, and masks are bits:
    an eighth of the memory.

    Attributes:
        doubled: Twice the ranks minus their mean, as whole numbers, of the pixels of all
            foregrounds end to end.
        starts: [n + 1] where the ranks of each image start, and where all end.
        packed: [n, Q, B] masks of the tops, eight pixels a byte.
        unrankable: [n] whether each map ranks nothing.
        shape: Shape of an image.
    """

    doubled: Tensor
    starts: Rows
    packed: npt.NDArray[np.uint8]
    unrankable: BoolArray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, images: Study, maps: Tensor, quantiles: Sequence[float]) -> RankedMaps:
        """Return the maps [n, 1, *S] of a study's images, ranked.

        Args:
            images: Study of the images, by the method.
            maps: [n, 1, *S] signed maps of the images.
            quantiles: Shares of the foreground that are compared as the tops of two maps.
        """
        foreground, ties = images.foreground, images.streams("ties")
        shape = tuple(foreground.shape[2:])
        small = torch.int16 if math.prod(shape) < _MOST_INT16 else torch.int32
        doubled, counts, tops, reasons = [], [0], [], []
        for start in range(0, len(maps), _SLICES_AT_ONCE):
            rows = slice(start, start + _SLICES_AT_ONCE)
            values, inside = images.ranked(maps[rows]), foreground[rows]
            reasons += reason_unrankable(values, inside)
            ranks = centred_ranks(values, inside)[inside.flatten(1)]
            counts += inside.flatten(1).sum(1).tolist()
            doubled.append((2 * ranks).nan_to_num(0.0).to(small))
            order = descending_order(values.nan_to_num(0.0, 0.0, 0.0), inside, ties[rows])
            tops.append(np.packbits(top_masks(order, inside, quantiles).flatten(2).numpy(), axis=2))
        starts, packed = np.cumsum(counts), np.concatenate(tops)
        unrankable = np.array([reason is not None for reason in reasons])
        return cls(torch.cat(doubled), starts, packed, unrankable, shape)

    def ranks(self, rows: slice | Rows, foreground: Tensor) -> Tensor:
        """Return the ranks minus their mean in some images, [k, P] float64; 0 outside.

        Args:
            rows: Rows of the images.
            foreground: [k, P] bool foreground of these images.
        """
        spans = zip(self.starts[:-1][rows], self.starts[1:][rows], strict=True)
        doubled = torch.cat([self.doubled[start:end] for start, end in spans])
        ranks = torch.zeros(foreground.shape, dtype=torch.float64)
        ranks.masked_scatter_(foreground, doubled.double() / 2)
        ranks[torch.from_numpy(self.unrankable[rows])] = float("nan")
        return ranks

    def top(self, column: int) -> Tensor:
        """Return the masks of the tops at one of the shares, [n, *S]."""
        pixels = math.prod(self.shape)
        flat = np.unpackbits(self.packed[:, column], axis=1, count=pixels).astype(np.bool_)
        return torch.from_numpy(flat).view(-1, *self.shape)


def compare(
    first: RankedMaps, second: RankedMaps, partners: Sequence[Rows], foreground: Tensor
) -> tuple[FloatArray, FloatArray]:
    """Return Spearman's correlation of two methods' maps of one image, and its null, each [n].

    The null compares the first method's map of an image with the second's of its partners, over
    the pixels that lie in both foregrounds. A few images are compared at a time, of volumes one, to
    fit into memory.
    """
    at_once = 1 if foreground.ndim == 5 else _SLICES_AT_ONCE
    parts = [slice(start, start + at_once) for start in range(0, len(foreground), at_once)]
    pairs = [_compare(first, second, partners, foreground.flatten(1), rows) for rows in parts]
    correlations, nulls = zip(*pairs, strict=True)
    return np.concatenate(correlations), np.concatenate(nulls)


def _compare(
    first: RankedMaps, second: RankedMaps, partners: Sequence[Rows], inside: Tensor, rows: slice
) -> tuple[FloatArray, FloatArray]:
    own, nulls = first.ranks(rows, inside[rows]), []
    for partner in partners:
        of_partner = inside[partner[rows]]
        both, pair = inside[rows] & of_partner, []
        for ranks in (own, second.ranks(partner[rows], of_partner)):
            common = torch.where(both, ranks, 0.0)
            middle = common.sum(1, keepdim=True) / both.sum(1, keepdim=True)
            pair.append(torch.where(both, ranks - middle, 0.0))
        nulls.append(rank_correlation(*pair).numpy())
    other = second.ranks(rows, inside[rows])
    return rank_correlation(own, other).numpy(), np.mean(nulls, axis=0)


def compare_tops(
    first: RankedMaps, second: RankedMaps, partners: Sequence[Rows], column: int
) -> tuple[FloatArray, FloatArray]:
    """Return the overlap of two methods' tops of one image, and that with partners, each [n]."""
    tops, others = first.top(column), second.top(column)
    overlap = np.where(first.unrankable | second.unrankable, np.nan, iou(tops, others).numpy())
    return overlap, np.mean([iou(tops, others[partner]).numpy() for partner in partners], axis=0)


def panel_maps(images: Study, quantiles: tuple[float, ...]) -> dict[str, RankedMaps]:
    """Return the maps of every member of the panel but the method itself, made once for all.

    Whoever asks first makes the method's own too: of processes side by side the others find them.
    """
    trial = images.trial
    has_truth = bool(trial.cohort.anatomy.rois)
    members = {
        name: _ranked_maps(trial.on(explainer=member), images.protocol, images.rows, quantiles)
        for name, member in trial.peers.panel.items()
        if why_unsupported(member, trial.classifier, has_truth) is None
    }
    return {name: maps for name, maps in members.items() if name != trial.explainer.name}


@remembered(by_model=True, by_explainer=True, keeping=Keeping("2", (RankedMaps,)))
def _ranked_maps(
    trial: Trial, protocol: str, rows: Rows, quantiles: tuple[float, ...]
) -> RankedMaps:
    images = Study(trial, protocol).of(rows)
    # Not by ``Trial.maps``: once they are ranked, nobody asks for the maps of the panel again.
    maps = draw_maps(trial, rows, None, trial.lane, kept=True)
    return RankedMaps.of(images, maps, quantiles)


def partner_of(images: Study, number: int) -> Rows:
    """Return for each image another of the same group, by a shift of a seeded order, [n]."""
    suite, keys = images.trial.runtime.suite, images.keys
    partner = np.arange(len(images.rows))
    for group in (0, 1):
        members: list[int] = np.flatnonzero(images.groups == group).tolist()
        members.sort(key=lambda position: seed_of(suite, "partners", keys[position]))
        shift = 1 + number % max(1, len(members) - 1)
        for position, member in enumerate(members):
            partner[member] = members[(position + shift) % len(members)]
    return partner


def region_masses(
    maps: FloatArray, regions: npt.NDArray[np.signedinteger], count: int
) -> FloatArray:
    """Return the mass of each map on each of its regions, [n, count], NaN where it has fewer."""
    table = np.full((len(maps), count), np.nan)
    for row, (map_, of_image) in enumerate(zip(maps, regions, strict=True)):
        mass = masses(map_, of_image)
        table[row, : len(mass)] = mass
    return table


def rank_correlations(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return Spearman of each row over the columns where both have a value, [n]."""
    correlations = np.full(len(first), np.nan)
    for row, (left, right) in enumerate(zip(first, second, strict=True)):
        known = np.isfinite(left) & np.isfinite(right)
        if known.sum() > 2 and np.ptp(left[known]) > 0 and np.ptp(right[known]) > 0:
            ranks = scipy.stats.rankdata(left[known]), scipy.stats.rankdata(right[known])
            correlations[row] = np.corrcoef(*ranks)[0, 1]
    return correlations


def concordance_of(
    members: Mapping[str, RankedMaps], groups: Sequence[Sequence[str]], foreground: Tensor
) -> FloatArray:
    """Return the concordance of groups of methods, each by its mean rank, on each image, [n]."""
    values = []
    for row in range(len(foreground)):
        rows = slice(row, row + 1)  # one by one, since the ranks of volumes are large
        inside = foreground[rows].flatten(1)
        merged = [
            np.mean([members[name].ranks(rows, inside).numpy() for name in group], axis=0)
            for group in groups
        ]
        values.append(concordance(merged, inside.numpy()))
    return np.concatenate(values)


def concordance(centred: Sequence[FloatArray], inside: BoolArray) -> FloatArray:
    """Return Kendall's coefficient of concordance W of m methods on each image, [n].

    Corrected for ties (Kendall & Gibbons 1990, ch. 6): the squared sums of ranks over what they
    would be if all methods ranked alike, which for tied ranks is m times the sum of each method's
    own squares.

    Args:
        centred: m arrays [n, P] of ranks minus their mean, 0 outside.
        inside: [n, P] the pixels that were ranked.
    """
    if len(centred) < 2:
        return np.full(len(inside), np.nan)
    total = np.where(inside, np.sum(centred, axis=0), 0.0)
    own = sum(np.where(inside, ranks, 0.0) ** 2 for ranks in centred)
    largest = len(centred) * np.sum(own, axis=1)
    w: FloatArray = np.where(largest > 0, (total**2).sum(1) / largest, np.nan)
    # A map without ranks has none to agree with.
    unknown = np.any([np.isnan(ranks).any(1) for ranks in centred], axis=0)
    return np.where(unknown, np.nan, w)


def classes(names: Sequence[str], same: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the names in groups that pairs of the same connect, in the order of the names."""
    group = {name: {name} for name in names}
    for first, second in same:
        joined = group[first] | group[second]
        for name in joined:
            group[name] = joined
    groups: list[list[str]] = []
    for name in names:
        members = sorted(group[name], key=list(names).index)
        if members not in groups:
            groups.append(members)
    return groups
