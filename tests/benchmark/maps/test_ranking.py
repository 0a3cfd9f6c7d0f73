"""The order of pixels, which every score of a map begins with."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import rankdata

from benchmark.maps.ranking import ranks, sort_stably


def values_with_ties() -> torch.Tensor:
    """Return rows with ties, both zeros, infinities, tiny and large numbers of both signs."""
    values = torch.randn(5, 300, generator=torch.Generator().manual_seed(0)).mul(3).round()
    values[1] *= 1e-42
    values[2] *= 1e37
    values[3] /= 3
    values[:, :6] = torch.tensor([0.0, -0.0, math.inf, -math.inf, -0.0, 0.0])
    return values


@pytest.mark.parametrize("descending", [False, True])
def test_the_fast_order_is_that_of_a_stable_sort(descending: bool) -> None:
    """If it fails, pixels are ranked wrongly, or ties differ between devices."""
    values = values_with_ties()
    ordered, order = sort_stably(values, descending=descending)
    expected, expected_order = values.sort(dim=1, descending=descending, stable=True)
    assert torch.equal(order, expected_order)
    assert torch.equal(ordered, expected)
    doubles, order_of_doubles = sort_stably(values.double(), descending=descending)
    assert torch.equal(order_of_doubles, order)
    assert torch.equal(doubles, expected.double())


def test_ranks_are_those_of_scipy() -> None:
    """If it fails, rank correlations and everything read from ranks are wrong."""
    values = values_with_ties()[:, None, None].nan_to_num(posinf=9.0, neginf=-9.0)
    inside = torch.ones_like(values, dtype=torch.bool)
    expected = rankdata(values.numpy(), axis=3)
    assert torch.equal(ranks(values, inside), torch.from_numpy(expected))
