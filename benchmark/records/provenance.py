"""With what a cell is computed: devices, versions, the checkout, and switches that move bits."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

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
# Linux tells here, without a call to a tool, which driver it has loaded, and what it runs on.
_DRIVER, _PROCESSORS = Path("/sys/module/nvidia/version"), Path("/proc/cpuinfo")


def collect_provenance(device: torch.device, batch_size: int) -> Provenance:
    """Return what is running, as of now."""
    return Provenance(
        python=platform.python_version(),
        platform=platform.platform(),
        packages=_versions(),
        git=_git_state(),
        device=_device_name(device),
        device_type=device.type,
        driver=_driver(device),
        dtype="float32",
        batch_size=batch_size,
        tf32=torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
        deterministic=torch.backends.cudnn.deterministic,
        threads=torch.get_num_threads(),
    )


def peak_memory() -> int | None:
    """Return the largest resident size of this process so far in bytes, or None where unknown."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@cache
def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


@cache
def _git_state() -> GitState | None:
    """Return the checkout that this file belongs to; a package inside another's does not count."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    return None if commit is None or status is None else GitState(commit=commit, dirty=bool(status))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor_name()


@cache
def _processor_name() -> str:
    """Return the processor's name, with what decides which kernels run and how they round."""
    name = platform.processor() or platform.machine() or "cpu"
    try:
        lines = _PROCESSORS.read_text("utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []  # not Linux
    told = {key.strip(): value.strip() for key, _, value in (one.partition(":") for one in lines)}
    if {"model name", "cpu family", "model"} <= told.keys():
        name = f"{told['model name']}, family {told['cpu family']}, model {told['model']}"
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _driver(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    try:
        return _DRIVER.read_text("ascii").strip() or None
    except OSError:
        return None


class GitState(StrictModel):
    """The checkout that the code ran from."""

    commit: str
    dirty: bool


class Provenance(StrictModel):
    """With what a record was made; none of it is part of its identity.

    Attributes:
        python: Version.
        platform: Operating system and processor.
        packages: Versions by name; null for one that is not installed as a distribution.
        git: The checkout, where the code ran from one.
        device: Name of the processor or GPU that ran the passes.
        device_type: As torch calls it: ``cpu``, ``cuda``.
        driver: Version of the GPU's driver, or null where no GPU ran or it is unknown.
        dtype: Of images, weights and maps.
        batch_size: Images per pass.
        tf32: Whether convolutions or products of matrices may round to TF32.
        deterministic: Whether cuDNN was held to deterministic algorithms.
        threads: Of torch on the host.
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
