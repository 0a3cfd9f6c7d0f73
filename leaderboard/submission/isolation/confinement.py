"""What a worker gives up before it meets a stranger's code: its user, and means without bound."""

from __future__ import annotations

import os
import random
import resource
import sys
from dataclasses import dataclass

# Users that no machine gives to anybody; one for each worker, so that its threads are counted.
_FIRST_USER, _USERS = 2**30, 2**20
_MOST_FILES, _MOST_FILE_BYTES = 256, 2**28
_THREADS, _THREADS_FOR_CORE = 64, 8


@dataclass(frozen=True)
class Bounds:
    """What a worker may use.

    Attributes:
        gib: Address space.
        cpu_seconds: Processor time of all its threads.
        walled: Whether it stands behind walls; a worker that does not keeps its user.
    """

    gib: float
    cpu_seconds: int
    walled: bool


def confine(bounds: Bounds) -> None:
    """Give up whatever a method does not need; no later call takes it back."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: _MOST_FILE_BYTES,
        resource.RLIMIT_NOFILE: _MOST_FILES,
        resource.RLIMIT_CPU: bounds.cpu_seconds,
    }
    if sys.platform == "linux":  # elsewhere an address space cannot be bounded
        limits[resource.RLIMIT_AS] = int(bounds.gib * 2**30)
    if bounds.walled and os.geteuid() == 0 and os.getuid() == 0 and _may_change_user():
        user = _FIRST_USER + random.SystemRandom().randrange(_USERS)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        limits[resource.RLIMIT_NPROC] = _THREADS + _THREADS_FOR_CORE * (os.cpu_count() or 1)
    for kind, limit in limits.items():
        _, most = resource.getrlimit(kind)
        bound = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (bound, bound))


def _may_change_user() -> bool:
    """Return whether this is the machine's root, and not only that of a user's namespace."""
    with open("/proc/self/uid_map") as file:  # noqa: PTH123 - before anything is imported
        return file.read().split()[-1] == "4294967295"
