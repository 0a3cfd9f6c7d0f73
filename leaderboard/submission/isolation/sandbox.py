"""The walls around a worker: what it sees of the file system, and what it may use.

Bubblewrap builds them anew for each worker. It sees the interpreter and the installed packages, and
of this package what a method may import and networks are made of. It sees no cohort, no protocol,
no record and no weights: they are not in its file system.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from leaderboard.submission.isolation.availability import NAMESPACES

ENTRY = "leaderboard.submission.isolation.worker"

_ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = ("baselines", "benchmark", "leaderboard", "protocols")
# Below the root of the package. A folder is seen without what ``_HIDDEN`` names in it.
_SEEN = (
    "benchmark",
    "baselines/__init__.py",
    "baselines/canonical.py",
    "baselines/adapters",
    "baselines/explainers",
    "baselines/models",
    "leaderboard/__init__.py",
    "leaderboard/submission/__init__.py",
    "leaderboard/submission/isolation/__init__.py",
    "leaderboard/submission/isolation/confinement.py",
    "leaderboard/submission/isolation/wire.py",
    "leaderboard/submission/isolation/worker.py",
)
# The run and its records, controls, which are told the truth, and weights.
_HIDDEN = (
    "benchmark/commands",
    "benchmark/report",
    "benchmark/results",
    "benchmark/running",
    "baselines/explainers/controls.py",
    "baselines/models/data",
)
# The template that the phantoms are drawn from is a file of this package.
_HIDDEN_OF_OTHERS = ("nilearn/datasets/data",)
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/sbin")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
_HOME = "/package"
_MOST_WRITTEN = 2**28  # bytes in /tmp, and as many in /dev/shm

# What ``benchmark.running.allocator`` sets, as glibc reads it from the environment, so that freed
# activations stay at hand.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": 32 * 2**20, "MALLOC_TRIM_THRESHOLD_": 512 * 2**20}
# Variables that say how a computation is carried out; every other one may hold a secret.
_KEPT = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")


def command(filter_descriptor: int | None) -> list[str]:
    """Return the command that starts a worker behind its walls.

    Args:
        filter_descriptor: Open file with the filter of its system calls, or None.
    """
    program = shutil.which("bwrap") or "bwrap"
    walls = [*NAMESPACES, "--unshare-cgroup-try", "--die-with-parent", "--new-session"]
    walls += ["--hostname", "worker", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        # The worker gives both up at once, for a user that owns nothing and is counted.
        walls += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        walls += ["--unshare-user"]
    if filter_descriptor is not None:
        walls += ["--seccomp", str(filter_descriptor)]
    files = [*_system(), *_interpreter(), *_package()]
    after = ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [program, *walls, *files, *after, *_environment(), *python()]


def python() -> list[str]:
    """Return the command that starts a worker, without the walls."""
    # -P, since a file of the working folder could take the name of a module.
    return [sys.executable, "-P", "-s", "-m", ENTRY]


def environment() -> dict[str, str]:
    """Return the variables of a worker that runs without walls."""
    return dict(_variables(str(_ROOT), os.environ.get("TMPDIR", "/tmp")))


def _environment() -> Iterator[str]:
    yield "--clearenv"
    for name, value in _variables(_HOME, "/tmp"):
        yield from ("--setenv", name, value)
    yield from ("--chdir", "/tmp")


def _variables(package: str, home: str) -> Iterator[tuple[str, str]]:
    yield from ((name, os.environ[name]) for name in _KEPT if name in os.environ)
    yield from ((name, str(size)) for name, size in _ALLOCATOR.items())
    yield from (("HOME", home), ("TMPDIR", home), ("PATH", "/usr/bin:/bin"), ("USER", "worker"))
    yield from (("PYTHONPATH", package), ("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUTF8", "1"))


def _system() -> Iterator[str]:
    for folder in _SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), folder)
        elif path.is_dir():
            yield from ("--ro-bind", folder, folder)
    yield from ("--perms", "0755", "--dir", "/etc")
    for file in _SYSTEM_FILES:
        yield from ("--ro-bind-try", file, file)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for folder in ("/tmp", "/dev/shm"):
        yield from ("--perms", "1777", "--size", str(_MOST_WRITTEN), "--tmpfs", folder)


def _interpreter() -> Iterator[str]:
    """Yield what binds the interpreter and the installed packages, without what tells the truth."""
    roots = dict.fromkeys((sys.base_prefix, sys.exec_prefix, sys.prefix))
    for root in roots:
        if not Path(root).is_relative_to("/usr"):
            yield from _bind(root)
    folders = [Path(entry) for entry in sys.path if Path(entry).is_dir()]
    for folder in folders:
        # Packages of a user, or of an environment beside this one.
        below_roots = any(folder.is_relative_to(root) for root in (*roots, "/usr"))
        if not below_roots and folder.name in ("site-packages", "dist-packages"):
            yield from _bind(str(folder))
    for folder in folders:
        for name in (*_PACKAGES, *_HIDDEN_OF_OTHERS):
            if folder != _ROOT and (folder / name).is_dir():
                yield from ("--tmpfs", str(folder / name))
    if any(_ROOT.is_relative_to(root) for root in (*roots, "/usr")):
        for name in _PACKAGES:
            yield from ("--tmpfs", str(_ROOT / name))
    for package in _packages_with_cohorts():
        yield from ("--tmpfs", str(package))


def _bind(folder: str, seen_as: str = "") -> Iterator[str]:
    """Yield what shows a folder or a file, below folders that every user may pass through."""
    inside = seen_as or folder
    for parent in reversed(Path(inside).parents[:-1]):
        yield from ("--perms", "0755", "--dir", str(parent))
    yield from ("--ro-bind", folder, inside)


def _packages_with_cohorts() -> Iterator[Path]:
    """Yield the folders of installed packages that bring cohorts of their own."""
    modules = {point.module.partition(".")[0] for point in entry_points(group="medsanity.cohorts")}
    for module in sorted(modules - set(_PACKAGES)):
        spec = importlib.util.find_spec(module)
        for location in (spec and spec.submodule_search_locations) or ():
            yield Path(location)


def _package() -> Iterator[str]:
    for name in _SEEN:
        yield from _bind(str(_ROOT / name), f"{_HOME}/{name}")
    for name in _HIDDEN:
        if (_ROOT / name).is_dir():
            yield from ("--perms", "0755", "--tmpfs", f"{_HOME}/{name}")
            yield from ("--remount-ro", f"{_HOME}/{name}")
        else:
            yield from ("--ro-bind", "/dev/null", f"{_HOME}/{name}")
