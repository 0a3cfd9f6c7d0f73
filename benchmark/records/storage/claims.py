"""Names that are taken once, on file systems that know no hard links.

A link is refused on FAT, on many network drives and in some containers. There, whoever first makes
a *claim* beside a name, by exclusive create, may give a finished file that name. It takes
milliseconds. So a name never stands for half a file, and no file takes the place of another.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.records.storage.owners import is_gone, machine, temporary_beside

# What systems answer that cannot link files, or cannot sync a folder.
REFUSED = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
    | {errno.EXDEV, errno.EMLINK, errno.EBADF}
)
_OLDEST = 60 * 10**9  # nanoseconds after which the claim of another machine is broken
_PAUSE = 0.02


def take_name(temporary: Path, path: Path) -> None:
    """Give a finished file a name that no file has; the temporary name may stay beside it.

    Raises:
        FileExistsError: If there is a file of that name.
        OSError: If the system refuses for another reason than that it cannot link.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        # A network drive may repeat a request whose answer was lost, and then meets its own link.
        if not temporary.samefile(path):
            raise
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        with _claimed(path, temporary):
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            os.replace(temporary, path)  # noqa: PTH105 # as in the line of the link


@contextmanager
def _claimed(path: Path, temporary: Path) -> Iterator[None]:
    """Hold the claim to a name; a process that died with it, or stands still, loses it."""
    claim = path.with_name(f".{path.name}.claim.tmp")
    own = f"{machine()} {os.getpid()} {temporary.name}"
    while not _make(claim, own):
        if _is_left_over(claim, temporary):
            _break(claim, _read(claim))
        time.sleep(_PAUSE)
    try:
        if _read(claim) != own:  # it was broken, since this process stood still for so long
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(claim))
        yield
    finally:
        if _read(claim) == own:
            with suppress(OSError):
                claim.unlink()


def _make(claim: Path, own: str) -> bool:
    try:
        with claim.open("x", encoding="utf-8") as file:
            file.write(own)
    except FileExistsError:
        return False
    except OSError:
        with suppress(OSError):  # an empty claim would hold others up
            claim.unlink()
        raise
    return True


def _read(claim: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return claim.read_text("utf-8")
    return ""


def _is_left_over(claim: Path, temporary: Path) -> bool:
    """Return whether a claim's owner is gone, or it is old by the clock of the file system."""
    owner = _read(claim).split()
    if len(owner) == 3 and owner[0] == machine() and owner[1].isdecimal():
        return is_gone(int(owner[1]))
    try:
        os.utime(temporary)  # dates it by the clock that dated the claim
        return temporary.stat().st_mtime_ns - claim.stat().st_mtime_ns > _OLDEST
    except OSError:  # the claim was given up meanwhile
        return False


def _break(claim: Path, content: str) -> None:
    """Take a claim away; one that another process has made meanwhile is put back."""
    taken = temporary_beside(claim)
    with suppress(OSError):
        claim.rename(taken)
        if _read(taken) != content:
            taken.rename(claim)
        taken.unlink(missing_ok=True)
