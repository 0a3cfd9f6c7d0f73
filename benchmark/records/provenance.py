"""The provenance of a cell: devices, versions, the checkout, and switches that move bits."""

from __future__ import annotations

import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmark.records.checkout import find_checkout
from benchmark.records.identity import Count, StrictModel

_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "captum",
    "zennit",
    "nibabel",
    "nilearn",
    "medsanity",
)
# In these files Linux names its GPU driver and its processors, so that no tool must be called.
DRIVER, PROCESSORS = Path("/sys/module/nvidia/version"), Path("/proc/cpuinfo")


def collect_provenance(device: torch.device, batch_size: int) -> Provenance:
    """Return the provenance of a cell that is computed now by this process."""
    return Provenance(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=_versions(),
        git=_git_state(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name(),
        device_type=device.type,
        driver=_driver(device),
        dtype="float32",
        batch_size=batch_size,
        tf32=torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
        deterministic=torch.backends.cudnn.deterministic,
        threads=torch.get_num_threads(),
    )


def utc_now() -> str:
    """Return the time in UTC as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far in bytes, or None where unknown."""
    if sys.platform == "win32":
        return None
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@cache
def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = dict.fromkeys(_PACKAGES)
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _git_state() -> GitState | None:
    checkout = find_checkout()
    return None if checkout is None else GitState(commit=checkout.commit, dirty=checkout.dirty)


@cache
def processor_name() -> str:
    """Return the processor's name, with what decides which kernels run and how they round."""
    name = platform.processor() or platform.machine() or "cpu"
    try:
        lines = PROCESSORS.read_text("utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []  # not Linux
    pairs = [line.partition(":") for line in lines]
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    if {"model name", "cpu family", "model"} <= facts.keys():
        name = f"{facts['model name']}, family {facts['cpu family']}, model {facts['model']}"
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _driver(device: torch.device) -> str | None:
    with suppress(OSError):
        return (device.type == "cuda" and DRIVER.read_text("ascii").strip()) or None
    return None


class GitState(StrictModel):
    """The checkout that the code ran from."""

    commit: str
    dirty: bool


class Provenance(StrictModel):
    """Machine and software that made a record; none of it is part of the record's identity.

    Attributes:
        python: Version of Python.
        platform: Operating system and processor.
        packages: Versions by name; null for a package that is not installed as a distribution.
        git: Checkout of the code, where it ran from one.
        device: Name of the processor or GPU that ran the passes.
        device_type: Type of the device in torch: ``cpu``, ``cuda``.
        driver: Version of the GPU's driver, or null where no GPU ran or it is unknown.
        dtype: Type of images, weights and maps.
        batch_size: Images per pass.
        tf32: Whether convolutions or products of matrices may round to TF32.
        deterministic: Whether cuDNN was held to deterministic algorithms.
        threads: Number of torch's threads on the host.
    """

    python: str
    platform: str
    packages: dict[str, str | None]
    git: GitState | None
    device: str
    device_type: str
    driver: str | None
    dtype: str
    batch_size: Count
    tf32: bool
    deterministic: bool
    threads: Count
