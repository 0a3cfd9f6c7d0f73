"""Owners of temporary files: which process on which machine writes one, and whether it is gone.

Several machines may write to one folder, and their clocks differ. Whether a file is left over is
therefore decided by its owner, which its name tells. Else its age decides, by the clock of the file
system that dates all files of the folder.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from benchmark.records.processes import PROCESSES

# Of another machine's process nothing is known. No file takes so long to write; the mark that a run
# on a cluster leaves in its store lies there as long as the run lasts.
OLDEST_SECONDS = 7 * 24 * 60 * 60
_ENDING = ".tmp"
_NAME = 48  # characters kept of a name, since a file's own may be as long as names can be


def temporary_beside(path: Path) -> Path:
    """Return a free path for what is to take the place of another when it is finished."""
    return path.with_name(
        f".{path.name[:_NAME]}.{machine()}.{os.getpid()}.{secrets.token_hex(4)}{_ENDING}"
    )


def is_temporary(path: Path) -> bool:
    """Return whether a path is one of ``temporary_beside``, left by a process that was killed."""
    return path.name.startswith(".") and path.name.endswith(_ENDING)


def is_left_over(path: Path, now: int) -> bool:
    """Return whether nobody writes a temporary file any more.

    Args:
        path: Path of the temporary file.
        now: Time in nanoseconds by the clock that dates the files of the folder.
    """
    _, *owner = path.name.removesuffix(_ENDING).rsplit(".", 3)
    if len(owner) == 3 and owner[0] == machine() and owner[1].isdecimal():
        return is_gone(int(owner[1]))
    return now - path.stat().st_mtime_ns > OLDEST_SECONDS * 10**9


def is_gone(pid: int) -> bool:
    """Return whether a process of this machine has certainly ended."""
    try:
        os.kill(pid, 0)  # signal 0 is none; it only asks whether the process is there
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's, or a system that does not answer
        return False
    return False


@lru_cache(maxsize=1)
def machine() -> str:
    """Return eight digits that name this machine since it started, and its numbers of processes.

    Containers of one machine may share its name and number their processes each from 1.
    """
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append((PROCESSES / "sys/kernel/random/boot_id").read_text("ascii").strip())
    with suppress(OSError):
        parts.append(str((PROCESSES / "self/ns/pid").readlink()))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]
