"""Chooses the device of a run, and makes its arithmetic reproducible."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmark.errors import DeviceError


def resolve_device(spec: str) -> torch.device:
    """Return ``cpu``, ``cuda`` or ``cuda:i``, or for ``auto`` the first GPU where there is one.

    Raises:
        DeviceError: If this machine does not have the device.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ["auto", "cpu", *(f"cuda:{index}" for index in range(gpus))]
    name = {"auto": "cuda:0" if gpus else "cpu", "cuda": "cuda:0"}.get(spec, spec)
    if name not in known:
        raise DeviceError(f"There is no device {spec!r} here; known: {', '.join(known)}.")
    return torch.device(name)


@contextmanager
def reproducible() -> Iterator[None]:
    """Hold a GPU to full float32 and to deterministic algorithms, then restore the switches.

    By default cuDNN rounds the inputs of a convolution to TF32, ten bits, and times its algorithms
    to choose one, so two runs on one GPU may differ.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark)
    try:
        _set_switches(False, False, True, False)
        yield
    finally:
        _set_switches(*before)


def _set_switches(cudnn: bool, matmul: bool, deterministic: bool, benchmark: bool) -> None:
    torch.backends.cudnn.allow_tf32 = cudnn
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = benchmark
