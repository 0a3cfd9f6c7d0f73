"""Commands as a user runs them, each in a process of its own, with the imports already made.

To import torch and Captum takes four seconds, longer than most commands take. A server that has
made these imports, and nothing else, is forked for each command.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from paths import ROOT

_IMPORTED = ["torch", "torchvision", "captum.attr", "zennit.composites", "scipy.stats", "nibabel"]
_IMPORTED += [
    "matplotlib.figure",
    "sklearn.linear_model",
    "benchmark.commands.app",
    "benchmark.running.engine",
]


def run(
    folder: Path, *arguments: str, module: str = "benchmark", installed: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` in a folder whose modules can be imported.

    Args:
        folder: Where the command is called.
        arguments: After the module's name.
        module: What is run.
        installed: Folder of packages that are installed for this command alone.

    Returns:
        The exit code, and what was written, in lines of up to 200 characters.
    """
    paths = [str(path) for path in (ROOT, installed, folder) if path is not None]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
    return _run_in_fork([module, *arguments], folder, environment, list(reversed(paths)))


def _run_in_fork(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], paths: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with tempfile.TemporaryDirectory() as temporary:
        written = Path(temporary, "stdout"), Path(temporary, "stderr")
        settings = (list(command), folder, environment, list(paths), written)
        process = context.Process(target=_become, args=settings)
        process.start()
        process.join()
        assert process.exitcode is not None
        out, err = (path.read_text("utf-8") if path.exists() else "" for path in written)
    return subprocess.CompletedProcess(command, process.exitcode, out, err)


def _become(
    command: list[str],
    folder: Path,
    environment: Mapping[str, str],
    paths: list[str],
    written: tuple[Path, Path],
) -> None:
    for number, path in enumerate(written, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    own = str(ROOT / "tests")
    others = [path for path in sys.path if path not in ("", str(ROOT)) and own not in path]
    sys.path[:] = [*paths, *others]
    sys.argv = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
