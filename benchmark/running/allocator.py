"""Keep freed activations in the process instead of handing every one back to the system.

Freeing a large block returns it to the kernel by default, and the next convolution faults the same
pages in again. Raising two thresholds of glibc's allocator keeps them at hand.
"""

from __future__ import annotations

import ctypes
import os
import sys

# malloc.h; glibc refuses an mmap threshold above half of its largest heap, 32 MiB on 64 bits.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD = 32 * 2**20
_TRIM_THRESHOLD = 512 * 2**20


def tune_allocator() -> bool:
    """Raise glibc's mmap and trim thresholds; call before torch is imported.

    Returns:
        Whether glibc took both; False on any other C library, where nothing is done.
    """
    if not sys.platform.startswith("linux") or not _is_glibc():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    taken = (
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD),
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD),
    )
    return all(taken)


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):
        return False
