"""What a trial computed already: in the memory of the process, and what earlier ones kept."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable, Hashable
from functools import update_wrapper
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

import numpy as np

from benchmark.trial.keeping import ArrayArchive, Keeping, kept_or, kept_value_or

if TYPE_CHECKING:
    from benchmark.trial.models import Models
    from benchmark.trial.trial import Trial

T = TypeVar("T")
P = ParamSpec("P")

__all__ = [
    "ArrayArchive",
    "Keeping",
    "Memory",
    "kept_for",
    "kept_or",
    "remembered",
    "return_memory",
]


class Memory:
    """Values by key, each computed once; shared by all trials of one cohort.

    Attributes:
        common: Memory of what no cohort decides, which those of altered cohorts share.
    """

    def __init__(self, common: Memory | None = None) -> None:
        self.common = self if common is None else common
        self._values: dict[Hashable, object] = {}
        self._altered: dict[str, Memory] = {}

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return what ``compute`` gave the first time that ``key`` was asked for."""
        if key not in self._values:
            self._values[key] = compute()
        return cast("T", self._values[key])

    def holds(self, key: Hashable) -> bool:
        """Return whether a value is kept under ``key``."""
        return key in self._values

    def drop(self, key: Hashable) -> None:
        """Drop one value, so that it is computed anew."""
        self._values.pop(key, None)

    def forget(self, *beginning: Hashable) -> None:
        """Drop all values whose key begins like this, of altered cohorts too."""
        size = len(beginning)
        for key in list(self._values):
            if isinstance(key, tuple) and key[:size] == beginning:
                del self._values[key]
        self.forget_altered(*beginning)

    def forget_altered(self, *beginning: Hashable) -> None:
        """Drop all values of altered cohorts alone whose key begins like this."""
        for memory in self._altered.values():
            memory.forget(*beginning)

    def of_altered(self, fingerprint: str) -> Memory:
        """Return the memory of an altered cohort, such as one with a planted signal."""
        return self._altered.setdefault(fingerprint, Memory(self.common))

    def copy(self) -> Memory:
        """Return a memory of the same values, which keeps what is added to it to itself."""
        other = Memory()
        other._values, other._altered = dict(self._values), dict(self._altered)
        return other


def remembered(
    *, by_model: bool = False, by_explainer: bool = False, keeping: Keeping | None = None
) -> Callable[[Callable[Concatenate[Trial, P], T]], Callable[Concatenate[Trial, P], T]]:
    """Make a function of a trial compute its value once for each cohort and set of arguments.

    Args:
        by_model: Whether the value differs between models.
        by_explainer: Whether the value differs between explainers.
        keeping: Rule by which the archive keeps the value for later processes, if it does.
    """

    def decorate(
        function: Callable[Concatenate[Trial, P], T],
    ) -> Callable[Concatenate[Trial, P], T]:
        name = f"{function.__module__}.{function.__qualname__}"

        def call(trial: Trial, /, *arguments: P.args, **named: P.kwargs) -> T:
            key = (
                name,
                trial.model_identity if by_model else "",
                trial.explainer_identity if by_explainer else "",
                *map(_hashable, (*arguments, *sorted(named.items()))),
            )

            def compute() -> T:
                return function(trial, *arguments, **named)

            return trial.memory.once(key, lambda: kept_for(trial, key, keeping, compute))

        return update_wrapper(call, function)

    return decorate


def kept_for(
    trial: Trial | Models, key: Hashable, keeping: Keeping | None, compute: Callable[[], T]
) -> T:
    """Return the value that an earlier run kept for a trial's cohort, or make and keep it.

    Args:
        trial: Trial, or models, whose archive, cohort, streams and kind of device join the key.
        key: All else that decides the value, of plain parts.
        keeping: Rule by which the archive keeps it; None keeps nothing.
        compute: Function that makes it.
    """
    runtime = trial.runtime
    if keeping is None or runtime.archive is None:
        return compute()
    # Numbers of rows mean nothing without their order, which a fingerprint leaves open.
    order = hashlib.sha256("\n".join(trial.cohort.keys).encode()).hexdigest()
    cohort = f"{trial.cohort.fingerprint} in the order {order}"
    streams = f"streams of {runtime.suite} on a {runtime.device.type}"
    identity = "\n".join(("value", keeping.version, streams, cohort, repr(key)))
    return kept_value_or(runtime.archive, identity, keeping, compute)


def return_memory() -> None:
    """Hand freed memory back to the system, where the C library keeps it for the next block.

    Every thread has a store of its own for freed blocks, and that of volumes takes hundreds of
    megabytes. To be called now and then, since the next pass then fetches its pages anew.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # another C library than glibc
        return


def _hashable(argument: object) -> Hashable:
    if isinstance(argument, np.ndarray):
        return argument.dtype.str, argument.shape, argument.tobytes()
    return argument
