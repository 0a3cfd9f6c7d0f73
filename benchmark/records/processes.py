"""The process that trains, so that a card can be told from one whose process is gone."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field

from benchmark.records.identity import StrictModel

# In this folder Linux keeps a folder for each process, and a name for the time since it started.
PROCESSES = Path("/proc")


class ProcessEntry(StrictModel):
    """A process on a machine.

    Attributes:
        pid: Number of the process.
        started: Start of the process in the system's own clock, since numbers are used again;
            null where the system does not say.
        host: Name of the machine.
    """

    pid: Annotated[int, Field(gt=0)]
    started: str | None
    host: str

    @classmethod
    def current(cls) -> ProcessEntry:
        """Return the process that runs this code."""
        return cls(pid=os.getpid(), started=_start_of(os.getpid()), host=socket.gethostname())

    @property
    def is_gone(self) -> bool:
        """Whether it has certainly ended; of another machine's processes nothing is known."""
        if self.host != socket.gethostname():
            return False
        if PROCESSES.joinpath("self").exists():
            return _start_of(self.pid) != self.started
        try:
            os.kill(self.pid, 0)  # signal 0 is none; it only asks whether the process is there
        except ProcessLookupError:
            return True
        except OSError:  # another user's, or a system that does not answer
            return False
        return False


def _start_of(pid: int) -> str | None:
    """Return the boot and the ticks after it at which a process started, or None where unknown."""
    with suppress(OSError, IndexError):
        stat = (PROCESSES / str(pid) / "stat").read_text("utf-8", errors="replace")
        boot = (PROCESSES / "sys/kernel/random/boot_id").read_text("ascii").strip()
        fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
        # Field 3 of proc(5) comes first here; a zombie has ended, though its number is kept.
        return None if fields[0] == "Z" else f"{boot}:{fields[19]}"
    return None
