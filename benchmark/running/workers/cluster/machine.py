"""What a worker says of the machine that it runs on, before it is given anything to do.

Nothing here imports torch, which a process of Ray that only passes messages on does not need.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("benchmark", "protocols", "baselines")


@dataclass(frozen=True)
class Code:
    """The medsanity that a process runs.

    Attributes:
        version: Version of the package, as it is installed.
        sha256: Hash of its source files.
    """

    version: str
    sha256: str

    @classmethod
    @cache
    def of_process(cls) -> Code:
        """Return the code that this process runs."""
        try:
            installed = version("medsanity")
        except PackageNotFoundError:
            installed = "of a folder that is not installed"
        digest = hashlib.sha256()
        for package in _PACKAGES:
            spec = find_spec(package)
            for folder in (spec and spec.submodule_search_locations) or ():
                for file in sorted(Path(folder).rglob("*.py")):
                    digest.update(f"{package}/{file.relative_to(folder).as_posix()}\0".encode())
                    digest.update(hashlib.sha256(file.read_bytes()).digest())
        return cls(installed, digest.hexdigest())


@dataclass(frozen=True)
class Origin:
    """The process that a run was started in.

    Attributes:
        host: Name of its machine.
        folder: Working folder of the machine, to which relative paths refer.
        store: Folder of its store.
        marker: Name of a file that lies in the store as long as the run lasts.
    """

    host: str
    folder: Path
    store: Path
    marker: str

    @classmethod
    def of_process(cls, store: Path, marker: str) -> Origin:
        """Return what tells of this process."""
        return cls(socket.gethostname(), Path.cwd(), store, marker)


@dataclass(frozen=True)
class Machine:
    """Where a worker runs.

    Attributes:
        host: Name of the machine.
        code: Code that it runs.
        own_store: Folder of the store that workers of the machine share where they do not see that
            of the run; None where they do.
    """

    host: str
    code: Code
    own_store: Path | None

    @classmethod
    def of_process(cls, origin: Origin) -> Machine:
        """Return the machine of this process, and enter the run's working folder if it is there."""
        if origin.folder.is_dir():
            os.chdir(origin.folder)
        own_store, is_seen = None, False
        with suppress(OSError):  # such as a folder that nobody here may look into
            is_seen = (origin.store / origin.marker).exists()
        if not is_seen:
            name = hashlib.sha256(f"{origin.host}:{origin.store}".encode()).hexdigest()[:16]
            own_store = Path(tempfile.gettempdir(), f"medsanity-{name}")
        return cls(socket.gethostname(), Code.of_process(), own_store)
