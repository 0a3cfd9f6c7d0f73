"""Pieces of work side by side: in order, same values, errors and threads as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmark.classifier import PassCounter
from benchmark.trial.models import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_two_threads")
def test_results_come_in_order_and_threads_are_left_as_they_were() -> None:
    """If it fails, a subject gets another's value, or a run slows down to one thread."""
    matrices = [torch.full((40, 40), float(number)) for number in range(20)]
    together = side_by_side(lambda one: float((one @ one).sum()), matrices, CPU)
    assert together == [float((one @ one).sum()) for one in matrices]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.parametrize("pieces", [1, 3])
def test_each_piece_is_computed_by_one_thread(pieces: int) -> None:
    """If it fails, a cohort of few subjects has other values on another number of threads."""
    threads = side_by_side(lambda _: torch.get_num_threads(), range(pieces), CPU)
    assert threads == [1] * pieces


@pytest.mark.usefixtures("_two_threads")
def test_an_error_comes_out_as_it_is() -> None:
    """If it fails, a plugin's error is lost in a thread."""

    def fail(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        side_by_side(fail, range(8), CPU)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("_two_threads")
def test_no_pass_is_lost_between_threads() -> None:
    """If it fails, the passes that a run reports are too few."""
    counter = PassCounter()

    def count(_: int) -> None:
        for _ in range(2_000):
            counter.add_forward(1)

    side_by_side(count, range(8), CPU)
    assert counter.forward == 16_000
