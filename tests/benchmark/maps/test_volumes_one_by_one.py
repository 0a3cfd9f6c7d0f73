"""Volumes are sorted and compared one by one, which must change nothing but the memory."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.maps.masks import descending_order
from benchmark.maps.ranking import rank_pixels
from benchmark.maps.similarity import centred_ranks, ssim


def test_a_volume_is_the_same_alone_and_among_others() -> None:
    """If it fails, a score of a volume changes with the size of the batch."""
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, 6, 7, 8)
    first, second = (torch.rand(shape, generator=generator).mul(9).round() for _ in range(2))
    foreground = torch.rand(shape, generator=generator) > 0.2
    alone = [row.unsqueeze(0) for row in first]
    organs = [row.unsqueeze(0) for row in foreground]

    def jitter() -> list[np.random.Generator]:
        return [np.random.default_rng(row) for row in range(len(first))]

    ranking, ranked = rank_pixels(first, foreground), centred_ranks(first, foreground)
    order = descending_order(first, foreground, jitter())
    alike = ssim(first, second, foreground)
    for row, (values, organ, own) in enumerate(zip(alone, organs, jitter(), strict=True)):
        single = rank_pixels(values, organ)
        assert torch.equal(ranking.order[row : row + 1], single.order)
        assert torch.equal(ranking.last[row : row + 1], single.last)
        assert torch.equal(ranked[row : row + 1], centred_ranks(values, organ))
        assert torch.equal(order[row : row + 1], descending_order(values, organ, [own]))
        assert torch.equal(alike[row : row + 1], ssim(values, second[row : row + 1], organ))
