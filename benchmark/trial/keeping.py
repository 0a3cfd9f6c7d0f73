"""Values as named arrays, so that they outlive the process in an archive of arrays."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import Arrays

T = TypeVar("T")

_FORM = "form"
_PLAIN = (bool, int, float, str, type(None))


class ArrayArchive(Protocol):
    """Where finished arrays, such as attribution maps, outlive the process."""

    def load(self, identity: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays kept under ``identity``, or None."""
        ...

    def save(self, identity: str, arrays: Arrays) -> None:
        """Keep ``arrays`` under ``identity``."""
        ...

    def turn(
        self, identity: str, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Return a context in which no other process makes what ``identity`` names."""
        ...


@dataclass(frozen=True)
class Keeping:
    """How the values of a function are kept in an archive.

    Attributes:
        version: Version of the function, which counts up when its values change.
        classes: Dataclasses that its values are made of. Beside them these may hold arrays,
            tensors, numbers, texts, tuples, lists and mappings.
    """

    version: str
    classes: tuple[type, ...] = ()


def kept_or(
    archive: ArrayArchive | None,
    identity: str,
    compute: Callable[[], dict[str, npt.NDArray[np.generic]]],
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays that another process kept under ``identity``, or make and keep them.

    Where one is at making them, its are waited for.
    """
    if archive is None:
        return compute()
    if (arrays := archive.load(identity)) is None:
        with archive.turn(identity):
            if (arrays := archive.load(identity)) is None:
                arrays = compute()
                archive.save(identity, arrays)
    return arrays


def kept_value_or(
    archive: ArrayArchive | None, identity: str, keeping: Keeping, compute: Callable[[], T]
) -> T:
    """Return the value that an earlier run kept under ``identity``, or make and keep it.

    Raises:
        TypeError: If it holds something that ``Keeping`` does not tell how to keep.
    """
    if archive is None:
        return compute()
    made: list[T] = []

    def to_keep() -> dict[str, npt.NDArray[np.generic]]:
        made.append(compute())
        return to_arrays(made[0], keeping.classes)

    arrays = kept_or(archive, identity, to_keep)
    return made[0] if made else cast("T", from_arrays(arrays, keeping.classes))


def to_arrays(value: object, classes: tuple[type, ...]) -> dict[str, npt.NDArray[np.generic]]:
    """Return a value as arrays by number, and its form as JSON text in one more."""
    leaves: list[npt.NDArray[np.generic]] = []
    form = _describe(value, classes, leaves)
    numbered = {str(number): leaf for number, leaf in enumerate(leaves)}
    return {_FORM: np.array(json.dumps(form)), **numbered}


def from_arrays(arrays: Arrays, classes: tuple[type, ...]) -> object:
    """Return the value that ``to_arrays`` gave these arrays for."""
    return _build(json.loads(str(arrays[_FORM])), {each.__name__: each for each in classes}, arrays)


def _describe(
    value: object, classes: tuple[type, ...], leaves: list[npt.NDArray[np.generic]]
) -> list[Any]:
    """Return the form of a value, a kind and its content; add its arrays to the leaves."""

    def parts(values: object) -> list[Any]:
        return [_describe(part, classes, leaves) for part in cast("list[object]", values)]

    if isinstance(value, _PLAIN):
        return ["plain", value]
    if isinstance(value, Tensor):
        leaves.append(value.detach().cpu().numpy())
        return ["tensor", len(leaves) - 1]
    if isinstance(value, (np.ndarray, np.generic)):
        leaves.append(np.asarray(value))
        return ["array", len(leaves) - 1]
    if isinstance(value, (tuple, list)):
        return [type(value).__name__, parts(value)]
    if isinstance(value, Mapping):
        return ["mapping", [parts(list(value)), parts(list(value.values()))]]
    if is_dataclass(value) and type(value) in classes:
        held = [getattr(value, field.name) for field in fields(value)]
        return [type(value).__name__, parts(held)]
    raise TypeError(f"an archive cannot keep a {type(value).__name__}")


def _build(form: list[Any], classes: Mapping[str, type], arrays: Arrays) -> object:
    kind, content = form
    if kind == "plain":
        return content
    if kind in ("tensor", "array"):
        array = arrays[str(content)]
        return torch.from_numpy(array) if kind == "tensor" else array
    if kind == "mapping":
        keys, values = ([_build(part, classes, arrays) for part in side] for side in content)
        return dict(zip(keys, values, strict=True))
    parts = [_build(part, classes, arrays) for part in content]
    if kind in ("tuple", "list"):
        return tuple(parts) if kind == "tuple" else parts
    return classes[kind](*parts)
