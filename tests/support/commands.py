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
from collections.abc import Mapping
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
    folder: Path, *arguments: str, module: str = "benchmark"
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` in a folder whose modules can be imported.

    Returns:
        The exit code, and what was written, in lines of up to 200 characters.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "COLUMNS": "200"}
    with tempfile.TemporaryDirectory() as temporary:
        written = Path(temporary, "stdout"), Path(temporary, "stderr")
        told = [module, *arguments]
        process = context.Process(target=_become, args=(told, folder, environment, written))
        process.start()
        process.join()
        assert process.exitcode is not None
        out, err = (path.read_text("utf-8") if path.exists() else "" for path in written)
    return subprocess.CompletedProcess(told, process.exitcode, out, err)


def _become(
    told: list[str], folder: Path, environment: Mapping[str, str], written: tuple[Path, Path]
) -> None:
    for number, path in enumerate(written, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(environment)
    os.chdir(folder)
    own = str(ROOT / "tests")
    others = [path for path in sys.path if path not in ("", str(ROOT)) and own not in path]
    sys.path[:] = [str(folder), str(ROOT), *others]
    sys.argv = told
    runpy.run_module(told[0], run_name="__main__", alter_sys=True)
