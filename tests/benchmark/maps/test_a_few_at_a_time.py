"""Many images are sorted and compared a few at a time, which must change nothing but the memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.maps.localisation import expected_average_precision
from benchmark.maps.masks import descending_order
from benchmark.maps.ranking import rank_pixels, reason_unrankable
from benchmark.maps.similarity import centred_ranks, entropy, hog_features, iou, ssim


@pytest.mark.parametrize("shape", [(40, 1, 96, 96), (2, 1, 72, 64, 60)], ids=["slices", "volumes"])
def test_an_image_is_the_same_alone_and_among_others(shape: tuple[int, ...]) -> None:
    """If it fails, a score of an image changes with the number of subjects."""
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(shape, generator=generator).mul(9).round() for _ in range(2))
    foreground = torch.rand(shape, generator=generator) > 0.2
    first[1] = 4.0
    jitter = [np.random.default_rng(row) for row in range(len(first))]
    ranking, ranked = rank_pixels(first, foreground), centred_ranks(first, foreground)
    order, reasons = (
        descending_order(first, foreground, jitter),
        reason_unrankable(first, foreground),
    )
    alike, overlap = ssim(first, second, foreground), iou(first > 5, second > 5)
    bits, chance = entropy(first, foreground), expected_average_precision(first > 5, foreground)
    for row in (0, 1, len(first) - 1):
        image, other, organ = (batch[row : row + 1] for batch in (first, second, foreground))
        own = np.random.default_rng(row)
        single = rank_pixels(image, organ)
        assert torch.equal(ranking.order[row : row + 1], single.order)
        assert torch.equal(ranking.last[row : row + 1], single.last)
        _same(ranked[row], centred_ranks(image, organ)[0])
        assert torch.equal(order[row : row + 1], descending_order(image, organ, [own]))
        assert [reasons[row]] == reason_unrankable(image, organ)
        _same(alike[row], ssim(image, other, organ)[0])
        _same(overlap[row], iou(image > 5, other > 5)[0])
        _same(bits[row], entropy(image, organ)[0])
        _same(chance[row], expected_average_precision(image > 5, organ)[0])
        if len(shape) == 4:
            features = hog_features(first, foreground)
            _same(features[row], hog_features(image, organ)[0])


def _same(values: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(values, expected, rtol=0, atol=0, equal_nan=True)
