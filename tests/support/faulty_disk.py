"""A disk that fails, or a process that dies, at the k-th call that changes files of a folder.

Counted are the calls that make, write, sync, close, link, move and remove files and folders below a
path, whichever way Python reaches them. Writing stops halfway, as on a disk that is full.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest import mock

# Calls of ``os`` by the arguments that are paths; a handle counts as a path too.
_CALLS = {
    **dict.fromkeys(("mkdir", "rmdir", "unlink", "remove", "utime", "fsync", "truncate"), 1),
    **dict.fromkeys(("link", "replace", "rename", "symlink"), 2),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
DEATH = -1


class FaultyDisk:
    """Context in which the k-th call fails; later ones succeed, as when a disk was full for once.

    Args:
        root: Folder whose files count.
        moment: Number of the call, from 1; 0 only counts.
        code: Error that the call fails with, such as ``errno.ENOSPC``, or ``DEATH``: the process
            is killed halfway through the call, as by ``kill -9``.
        lasting: Whether all later calls but those that remove files fail as well.
    """

    def __init__(
        self, root: Path, moment: int, code: int = errno.EIO, lasting: bool = False
    ) -> None:
        self._root, self._moment, self._code = str(root.resolve()), moment, code
        self._lasting, self.calls = lasting, 0
        self._patches: list[Any] = []

    def __enter__(self) -> Self:
        """Lie between Python and the disk."""
        for name, paths in _CALLS.items():
            self._patch(os, name, self._counted(getattr(os, name), name, paths))
        self._patch(os, "open", self._open_handle(os.open))
        opening = self._open(io.open)
        self._patch(io, "open", opening)
        self._patch(builtins, "open", opening)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Step aside."""
        for patch in reversed(self._patches):
            patch.stop()

    def count(self, halfway: Callable[[], object] | None = None, removes: bool = False) -> None:
        """Count a call, and fail at the moment, after doing half of what was asked."""
        self.calls += 1
        later = self._lasting and 0 < self._moment < self.calls and not removes
        if self.calls != self._moment and not later:
            return
        if halfway is not None:
            halfway()
        if self._code == DEATH:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self._code, os.strerror(self._code))

    def _patch(self, module: Any, name: str, function: object) -> None:
        patch = mock.patch.object(module, name, function)
        patch.start()
        self._patches.append(patch)

    def _holds(self, path: object) -> bool:
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        is_path = isinstance(path, str | os.PathLike)
        return is_path and Path(path).absolute().is_relative_to(self._root)

    def _counted(self, call: Callable[..., Any], name: str, paths: int) -> Callable[..., Any]:
        removes = name in ("unlink", "remove", "rmdir")

        def counted(*arguments: Any, **options: Any) -> Any:
            if "dir_fd" not in options and any(map(self._holds, arguments[:paths])):
                self.count(removes=removes)
            return call(*arguments, **options)

        return counted

    def _open_handle(self, call: Callable[..., int]) -> Callable[..., int]:
        def opened(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & _WRITING and self._holds(path):
                self.count()
            return call(path, flags, *arguments, **options)

        return opened

    def _open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+") or isinstance(file, int) or not self._holds(file):
                return call(file, mode, *arguments, **options)
            self.count()
            raw = io.FileIO(file, mode.replace("b", "").replace("t", ""))
            buffered = _Written(raw, self)
            if "b" in mode:
                return buffered
            options.pop("buffering", None)
            named = dict(zip(("encoding", "errors", "newline"), arguments[1:], strict=False))
            return io.TextIOWrapper(buffered, **{**named, **options})

        return opened


class _Written(io.BufferedWriter):
    """A file whose writing and closing count."""

    def __init__(self, raw: io.FileIO, disk: FaultyDisk) -> None:
        super().__init__(raw)
        self._disk, self._told = disk, False

    def write(self, content: Any, /) -> int:
        """Write all of it, or half."""

        def write_half() -> None:
            super(_Written, self).write(memoryview(content)[: len(content) // 2])
            self.flush()

        self._disk.count(write_half)
        return super().write(content)

    def close(self) -> None:
        """Close the file, which is when a network drive may say that it could not be written."""
        first = not self._told
        self._told = True
        super().close()
        if first:
            self._disk.count()
