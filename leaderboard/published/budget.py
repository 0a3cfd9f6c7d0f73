"""The processor time that reading and checking a stranger's files may take."""

from __future__ import annotations

import time

from leaderboard.published.fault import FaultError

# An honest bundle of thirty cells takes about a second to read, and two to compare.
SECONDS = 5.0


class Budget:
    """A deadline in processor seconds of this thread, which a busy machine does not shorten.

    Limits on sizes keep each step short; a budget bounds how many steps are taken.

    Args:
        seconds: Processor seconds from now on.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._start = time.thread_time()

    def check(self, location: str) -> None:
        """Show that there is time for one more file.

        Raises:
            FaultError: ``too-slow``.
        """
        if time.thread_time() - self._start > self._seconds:
            detail = f"what came before it took {self._seconds:g} seconds of a processor, the limit"
            raise FaultError("too-slow", location, detail)
