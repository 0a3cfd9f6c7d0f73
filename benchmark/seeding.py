"""Random streams that depend on what they are for, never on when they are drawn.

Every stream is named by its parts, such as ``("v1", "delta_t", subject, q)``. Two streams with
different names are independent, and a stream does not change when subjects are reordered, batches
are cut differently, or other protocols run before it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["seed_of", "stream", "torch_stream"]


def seed_of(*parts: str | int | float) -> int:
    """Return the 63-bit seed named by ``parts``."""
    text = "\x1f".join(f"{type(part).__name__}:{part!r}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(*parts: str | int | float) -> np.random.Generator:
    """Return NumPy's PCG64 generator for the stream named by ``parts``."""
    return np.random.Generator(np.random.PCG64(seed_of(*parts)))


def torch_stream(*parts: str | int | float) -> torch.Generator:
    """Return a CPU generator of torch for the stream named by ``parts``."""
    return torch.Generator().manual_seed(seed_of(*parts))


def seed_torch(seed: int) -> None:
    """Seed the generators that torch's own code draws from, on every device in use.

    ``torch.manual_seed`` notes the seed for an accelerator that has not started as well, with the
    text of the whole call stack. That took a quarter of the time of redrawing a ResNet-18.
    """
    is_accelerated = (
        torch.cuda.is_initialized()
        or torch.xpu.is_initialized()
        or torch.backends.mps.is_available()
    )
    seed_generators = torch.manual_seed if is_accelerated else torch.default_generator.manual_seed
    seed_generators(seed)


def stream_name(version: str, seed: int) -> str:
    """Return the name of the random streams of a suite's version under a seed."""
    return f"{version}#{seed}"


@contextmanager
def global_seed(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global random states of Python, NumPy and torch inside, and put them back.

    It is for code of other libraries, which draws from them; what is written here draws from a
    stream of its own.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        seed_torch(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
