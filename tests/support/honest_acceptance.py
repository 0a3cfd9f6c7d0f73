"""The methods of docs/explainer.md, submitted and verified as their authors would.

::

    OMP_NUM_THREADS=1 python tests/support/honest_acceptance.py

Both commands shut each method in, and all five protocols score it with fewer subjects than suite
v1 asks for. The script prints the minutes of each step, and ends with 1 where one of them fails or
finds a fault.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from small_suite import SMALL_SUITE

ROOT = Path(__file__).parents[2]
# File of the page, and its class.
METHODS = {
    "my_method.py": "MyCAM",
    "smoothed.py": "Smoothed",
    "their_scorecam.py": "TheirScoreCAM",
    "their_gradients.py": "TheirGradients",
    "captum_layer.py": "CaptumGradCAM",
    "their_function.py": "TheirFunction",
}
_BLOCK = re.compile(r'```python title="([^"]+)"\n(.*?)```', re.DOTALL)


def write_methods(folder: Path) -> None:
    """Write the methods of the page as files."""
    for name, code in _BLOCK.findall((ROOT / "docs/explainer.md").read_text("utf-8")):
        (folder / name).write_text(code, "utf-8")


def timed(*arguments: object) -> tuple[int, float, float, str]:
    """Return exit code, minutes, minutes of a processor and output of a command."""
    start, before = time.monotonic(), _processor()
    command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    minutes = (time.monotonic() - start) / 60
    return done.returncode, minutes, (_processor() - before) / 60, done.stdout + done.stderr


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Submit and verify each method, and return 1 where one does not go through."""
    wrong = 0
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        write_methods(folder)
        suite = folder / "small.toml"
        suite.write_text(SMALL_SUITE.format(cohort="phantom"))
        for name in sys.argv[1:] or METHODS:
            bundle, store = folder / f"{name}.bundle", folder / f"{name}.store"
            plugin = f"{folder / name}:{METHODS[name]}"
            given = ("--suite", suite, "--device", "cpu")
            to = ("--store", store, "--out", bundle)
            submitted = timed("submit", plugin, "--name", METHODS[name], *to, *given)
            verified = timed("verify", bundle, *given) if submitted[0] == 0 else submitted
            failed = submitted[0] or verified[0]
            wrong += bool(failed)
            minutes = (f"{step[1]:.1f} ({step[2]:.1f})" for step in (submitted, verified))
            words = "submitted in {}, verified in {} minutes (of a processor)".format(*minutes)
            sys.stdout.write(f"{name}: {words}\n")
            if failed:
                sys.stdout.write(f"WRONG: {submitted[3]}\n{verified[3]}\n")
            else:
                sys.stdout.write(f"    {verified[3].strip().splitlines()[-1]}\n")
            sys.stdout.flush()
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
