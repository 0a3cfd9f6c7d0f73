"""Work side by side on the cores of a CPU.

A convolution uses every core by itself, but what stands between convolutions, such as imputing,
does not. Whole pieces of work side by side, one thread each, keep all cores busy throughout; the
values are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

A = TypeVar("A")
T = TypeVar("T")


def side_by_side(work: Callable[[A], T], items: Sequence[A], device: torch.device) -> list[T]:
    """Return ``work(item)`` of each item, in order.

    Args:
        work: Touches nothing that another piece changes.
        items: What to work on.
        device: Where the work runs; off the CPU it runs one piece after the other.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
