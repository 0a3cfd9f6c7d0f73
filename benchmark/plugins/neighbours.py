"""The packages beside ``benchmark``, which know it and which it finds by name alone.

Python looks for a package in the working folder and in ``PYTHONPATH`` first. A folder there that is
called as one of these packages would be taken for it.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType

from benchmark.errors import PluginError

NEIGHBOURS = ("baselines", "leaderboard", "protocols")
_HOME = Path(__file__).resolve().parents[2]


def import_neighbour(name: str) -> ModuleType:
    """Return a module of one of the packages beside ``benchmark``, such as ``"protocols"``.

    Raises:
        PluginError: If a folder or file of the user's hides the package.
    """
    check_neighbour(name)
    return importlib.import_module(name)


def check_neighbour(name: str) -> None:
    """Make sure that the package that a module belongs to is the one beside ``benchmark``.

    A folder without ``__init__.py``, such as one of data, hides an editable installation, but is
    nothing that could be meant: the package is then put in its place.

    Raises:
        PluginError: If a folder or file of the user's hides the package.
    """
    package = name.partition(".")[0]
    spec = find_spec(package) if package in NEIGHBOURS else None
    if spec is None:
        return
    origin = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), "")).resolve()
    if origin.is_relative_to(_HOME / package):
        return
    if spec.origin is None:
        _put_in_place(package)
        return
    path = origin.parent if origin.stem == "__init__" else origin
    kind = "folder" if path.is_dir() else "file"
    raise PluginError(
        f"The {kind} {path} hides medsanity's own package {package!r}, which has the same name: "
        f"rename the {kind}, or run from a folder where there is none of that name."
    )


def _put_in_place(package: str) -> None:
    """Import the package beside ``benchmark`` under its name, whatever comes first on the path."""
    spec = PathFinder.find_spec(package, [str(_HOME)])
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
