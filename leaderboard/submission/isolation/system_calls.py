"""The system calls that a worker is refused, as a filter of Linux's seccomp.

A limit on processes counts those of a user, and holds neither for root nor for memory that is no
process's own. So a worker can start no process at all, and get no memory beside its address space.
Threads are let through: torch computes in them.
"""

from __future__ import annotations

import errno
import platform
import struct

# Numbers on x86-64 and on 64-bit ARM; None where a machine has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Other processes: to start, to see, to change them.
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # The network; that of the worker leads nowhere in any case.
    "socket": (41, 198),
    "socketpair": (53, 199),
    # Memory that no address space counts.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    # Walls: to move them, or to build new ones.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    # Parts of the kernel that no method needs and that were broken before.
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}

_CLONE_THREAD, _X32 = 0x10000, 0x40000000

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def build_filter(machine: str = "") -> bytes | None:
    """Return the filter as a program for seccomp, or None for a machine whose calls are unknown.

    A call that is refused fails with ``EPERM``. The call by which newer libraries start threads and
    processes alike is said not to exist, so that they take the older one, whose flags can be read.
    """
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    column, architecture = known
    numbers = [each[column] for each in _REFUSED.values()]
    refuse = _ERROR | errno.EPERM
    program = [
        _step(_LOAD, _MACHINE),
        _step(_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        # Calls of the x32 interface, whose numbers are others.
        _step(_AT_LEAST, _X32, 0, 1),
        _step(_RETURN, refuse),
        _step(_EQUAL, _CLONE3[column], 0, 1),
        _step(_RETURN, _ERROR | errno.ENOSYS),
    ]
    for number in numbers:
        if number is not None:
            program += [_step(_EQUAL, number, 0, 1), _step(_RETURN, refuse)]
    program += [
        _step(_EQUAL, _CLONE[column], 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_ANY_BIT, _CLONE_THREAD, 1, 0),
        _step(_RETURN, refuse),
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(program)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
