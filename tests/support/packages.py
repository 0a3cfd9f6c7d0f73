"""The wheel of this checkout, and what of the checkout belongs into it."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from paths import ROOT

ROOMS = ("baselines", "benchmark", "leaderboard", "protocols")
# A board is made from its records by `board`; neither is asked for by an installation.
_BOARDS = re.compile(r"leaderboard/(index\.html|v\d+/(?!suite\.|controls/).*)")
_STORED = {"--build-option": "--compression=stored"}
_BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1], {!r})"


def files_of_checkout() -> list[str]:
    """Return the paths of the files that a build reads, but for what git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    read = ["pyproject.toml", "README.md", "LICENSE", *ROOMS]
    listed = subprocess.check_output([*listing, *read], cwd=ROOT, text=True)
    return [name for name in listed.split("\0") if (ROOT / name).is_file()]


def files_to_ship() -> set[str]:
    """Return the paths that an installation needs."""
    return {
        name
        for name in files_of_checkout()
        if name.partition("/")[0] in ROOMS and not _BOARDS.fullmatch(name)
    }


def link_sources(folder: Path) -> Path:
    """Return a folder with links to the checkout's files, in which a build may write."""
    for name in files_of_checkout():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    return folder


def build(kind: str, sources: Path, out: Path, compressed: bool = False) -> Path:
    """Return the ``"wheel"`` or ``"sdist"`` that setuptools builds of a folder, without network."""
    out.mkdir(parents=True, exist_ok=True)
    settings = _STORED if kind == "wheel" and not compressed else {}
    command = [sys.executable, "-c", _BUILD.format(kind, settings), str(out)]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl" if kind == "wheel" else "*.tar.gz"))


def files_of_wheel(wheel: Path) -> set[str]:
    """Return the paths in a wheel, but for what describes it."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}
