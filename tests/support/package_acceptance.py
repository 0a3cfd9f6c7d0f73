"""The built wheel in environments of its own, one for each interpreter, used from another folder.

With no more than pip, each environment gets the wheel and what it needs from the index::

    python tests/support/package_acceptance.py python3.11 python3.12 python3.13

``--packages FOLDER`` takes the packages that it needs from a folder instead, which must be of the
interpreter's version. The script ends with 1 where a wheel of the sdist holds other files than that
of the checkout, pip cannot install it, or a command ends with another code than 0.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from packages import build, files_of_wheel, files_to_ship, link_sources
from paths import ROOT
from small_suite import SMALL_SUITE

EXTRA = "medsanity[timm]"
V1 = ROOT / "leaderboard" / "v1"
COMMANDS = (
    "--version",
    "--help",
    "list",
    "cohort --help",
    "run --suite small.toml --explainer gradcam --protocol roi_pointing --workers 2 --report none",
    "run --suite small.toml --explainer gradcam --explainer saliency",
    "publish --suite small.toml --out published",
    "cohort export sources --out exported",
    "cohort inspect exported",
    "board --records {records} --out board",
    "paper --records {records} --out paper",
)


def main() -> int:
    """Build, install and use the package, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("interpreters", nargs="+", help="pythons, by name or path")
    parser.add_argument("--packages", type=Path, help="folder of packages in place of an index")
    given = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory(prefix="medsanity-package-") as temporary:
        folder = Path(temporary)
        wheel, found = build_both(folder)
        faults += found
        for number, interpreter in enumerate(given.interpreters):
            python = make_environment(interpreter, folder / f"venv{number}", given.packages)
            name = f"{interpreter}:"
            faults += [f"{name} {fault}" for fault in use(python, wheel, folder / f"use{number}")]
    sys.stdout.writelines(f"{line}\n" for line in faults or ["no fault"])
    return int(bool(faults))


def build_both(folder: Path) -> tuple[Path, list[str]]:
    """Return the wheel of the checkout, and where it differs from that of the sdist."""
    sources = link_sources(folder / "sources")
    wheel = build("wheel", sources, folder / "dist", compressed=True)
    sdist = build("sdist", sources, folder / "dist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    again = build("wheel", unpacked, folder / "again")
    for path in (wheel, sdist):
        sys.stdout.write(f"{path.stat().st_size / 1e6:.1f} MB  {path.name}\n")
    expected = files_to_ship()
    both = (("wheel", files_of_wheel(wheel)), ("wheel of the sdist", files_of_wheel(again)))
    return wheel, [
        f"the {kind} differs in {name}"
        for kind, files in both
        for name in sorted(files.symmetric_difference(expected))
    ]


def make_environment(interpreter: str, folder: Path, packages: Path | None) -> Path:
    """Return the python of a new environment that holds nothing but pip, and perhaps a folder."""
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    if packages is not None:
        borrowed = folder / "packages"
        borrowed.mkdir()
        for path in packages.resolve().iterdir():
            if "medsanity" not in path.name:  # the checkout may be installed there
                (borrowed / path.name).symlink_to(path)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "packages.pth").write_text(f"{borrowed}\n")
    return folder / "bin" / "python"


def use(python: Path, wheel: Path, folder: Path) -> Iterator[str]:
    """Install the wheel, run the commands from an empty folder, and yield what went wrong."""
    folder.mkdir()
    (folder / "small.toml").write_text(SMALL_SUITE.format(cohort="phantom"))
    install = ["pip", "install", "--quiet"]
    # The last is what pages and messages tell, where medsanity itself is on no index.
    for words in ([*install, str(wheel)], ["pip", "check"], [*install, "--dry-run", EXTRA]):
        yield from _faults([str(python), "-m", *words], folder)
    for command in COMMANDS:
        words = command.format(records=V1 / "records").split()
        yield from _faults([str(python), "-m", "benchmark", *words], folder)
    if not filecmp.cmp(folder / "board" / "board.json", V1 / "board.json", shallow=False):
        yield "the board of suite v1 has other numbers"


def _faults(command: Sequence[str], folder: Path) -> Iterator[str]:
    # Neither a PYTHONPATH nor the packages of a user stand in for what was not installed.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = kept | {"PYTHONNOUSERSITE": "1", "COLUMNS": "120"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    sys.stdout.write(f"{done.returncode}  {' '.join(command[2:])}\n")
    sys.stdout.flush()
    if done.returncode != 0 or "Traceback" in done.stderr:
        yield f"{' '.join(command[2:])}: {done.returncode}\n{done.stdout}{done.stderr}"


if __name__ == "__main__":
    sys.exit(main())
