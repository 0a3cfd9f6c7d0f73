"""The environment of processes: how their threads wait, how many they are, and whose they are.

OpenMP and the libraries of linear algebra read both from the environment when they are loaded, so
both are to be set before torch is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmark.plugins.foreign.apart import MARK

_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def wait_passively() -> None:
    """Let threads of OpenMP and OpenBLAS sleep while they wait, unless the user decides.

    By default they spin, and take the core from the thread that they wait for wherever another
    process needs one too.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # NumPy's threads spin for 2^26 cycles after each product of matrices; 2^4 is the least.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let processes that are started inside have one thread each, whatever the user's setting."""
    with _environment(dict.fromkeys(_COUNTS, "1")):
        yield


@contextmanager
def marked(mark: str) -> Iterator[None]:
    """Let processes that are started inside, and whatever they start, be known by a mark."""
    with _environment({MARK: mark}):
        yield


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
