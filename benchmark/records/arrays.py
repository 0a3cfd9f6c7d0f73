"""A folder of arrays, such as attribution maps, each named by the hash of what made it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.arrays import Arrays
from benchmark.records.files import write_atomically
from benchmark.records.storage.turns import taken_turn

_CHECKSUM, _IDENTITY = "__sha256__", "__identity__"


class ArrayFolder:
    """A folder of arrays by the text that identifies them; a ``benchmark.trial.ArrayArchive``.

    ``prepare`` makes the folder, and is called before anything is kept.
    """

    def __init__(self, folder: Path, prepare: Callable[[], None]) -> None:
        self._folder, self._prepare = folder, prepare

    def load(self, identity: str) -> dict[str, npt.NDArray[np.generic]] | None:
        """Return the arrays, or None where they are missing, torn or altered."""
        try:
            # np.load leaves a file open that it opened itself and then cannot read.
            with self._path(identity).open("rb") as file, np.load(file) as archive:
                arrays = {name: archive[name] for name in archive.files}
            checksum = str(arrays.pop(_CHECKSUM))
            kept_identity = str(arrays.pop(_IDENTITY))
        except Exception:  # a damaged archive raises anything from BadZipFile to MemoryError
            return None
        return arrays if kept_identity == identity and checksum == _digest(arrays) else None

    def written(self, identity: str) -> int:
        """Return when the arrays were written, in nanoseconds of the file system's clock; or 0."""
        try:
            return self._path(identity).stat().st_mtime_ns
        except OSError:
            return 0

    def save(self, identity: str, arrays: Arrays) -> None:
        """Keep the arrays, and replace those that were kept under that identity before.

        Raises:
            StoreError: If they cannot be written.
        """
        self._prepare()
        labels = {_CHECKSUM: np.array(_digest(arrays)), _IDENTITY: np.array(identity)}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:  # np.savez would pickle what it does not know
            for name, array in {**arrays, **labels}.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        write_atomically(self._path(identity), buffer.getbuffer())

    def turn(
        self, identity: str, announce: Callable[[str], None] | None = None
    ) -> AbstractContextManager[None]:
        """Return a context in which no other process makes these arrays, where that can be told.

        Args:
            identity: Text that identifies them.
            announce: Function that is told where another process is waited for.
        """
        path = self._path(identity)
        return taken_turn(path.with_name(f".{path.stem}.turn.tmp"), announce)

    def _path(self, identity: str) -> Path:
        return self._folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.npz"


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
