"""Says whether this machine can shut a method in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache

# Every wall that a worker stands behind, so that a machine which refuses one is found out.
NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")
_SECONDS = 20


@cache
def available(device: str = "cpu") -> str | None:
    """Return why no method can be run in isolation here, or None where one can.

    Args:
        device: Name of the device that the method is to compute on. A driver of a GPU is no wall,
            so that a worker gets none.
    """
    if device.partition(":")[0] != "cpu":
        return f"an isolated method computes on the CPU, not on {device}"
    if sys.platform != "linux":
        return f"bubblewrap needs Linux, and this is {sys.platform}"
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap is not installed (the Debian package `bubblewrap`, command `bwrap`)"
    command = [program, *NAMESPACES, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"]
    try:
        done = subprocess.run(
            [*command, "--die-with-parent", "--new-session", "--cap-drop", "ALL", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap cannot be started: {error}"
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1][:200] if lines else f"exit code {done.returncode}"
        return f"bubblewrap cannot set up its namespaces here ({reason})"
    return None
