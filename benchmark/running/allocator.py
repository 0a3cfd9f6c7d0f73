"""Keep freed activations in the process instead of handing every one back to the system.

Freeing a large block returns it to the kernel by default, and the next convolution faults the same
pages in again. Raising two thresholds of glibc's allocator keeps them at hand. And what is imported
for good is not searched for garbage.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# malloc.h; glibc refuses an mmap threshold above half of its largest heap, 32 MiB on 64 bits.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD = 32 * 2**20
_TRIM_THRESHOLD = 512 * 2**20


def tune_allocator() -> bool:
    """Raise glibc's mmap and trim thresholds, and return whether it took both.

    On any other C library nothing is done. To be called before torch is imported.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, ValueError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    thresholds = {_M_MMAP_THRESHOLD: _MMAP_THRESHOLD, _M_TRIM_THRESHOLD: _TRIM_THRESHOLD}
    taken = [mallopt(name, size) for name, size in thresholds.items()]
    return all(taken)


@contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage inside, where modules are imported, and never again in what is there.

    Nothing of half a million objects of torch and its kin is garbage, but each is looked at several
    times: half a second of a run of three, and as much again while figures are drawn.
    """
    if not gc.isenabled():  # whoever switched it off decides
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # once in a process; what is frozen later may be garbage
            gc.freeze()
        gc.enable()
