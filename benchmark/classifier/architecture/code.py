"""What a network computes beside its weights: its layers, their settings, and the code they run.

Two networks with the same weights can differ in an activation, a pooling or a stride. So a score
is named by the architecture too: the tree of layers, every setting of each layer, and the files
that define layers of the user's own, with whatever of the user's own these files import. The
versions of the installed packages that define the other layers belong to it too. Layers of torch
itself are named without a version, since torch is recorded with the machine that a score was
measured on.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from types import FunctionType, ModuleType
from typing import cast

from torch import nn

from benchmark.classifier.architecture.settings import callables, describe_layer, own_attributes

_OWN = ("benchmark", "baselines")
_UNNAMED = ("torch", "builtins")


def architecture_sha256(network: nn.Module, source: type | None = None) -> str:
    """Return the SHA-256 of everything but weights that decides what a network computes.

    Args:
        network: Network, of which the layers within count, and not what it is called by itself.
        source: Class that built it, whose file counts too.
    """
    parts = [(name, part) for name, part in network.named_modules() if name]
    definitions: list[object] = []
    for _, part in parts:
        definitions.extend([type(part), *callables(own_attributes(part).values())])
    if source is not None:
        definitions.append(source)
    described = {
        "layers": [[name, *describe_layer(part)] for name, part in parts],
        "code": _describe_code(definitions),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def network_sha256(weights: str, architecture: str | None) -> str:
    """Return the SHA-256 that names a network by those of its weights and its architecture."""
    if architecture is None:
        return weights
    return hashlib.sha256(f"{weights} {architecture}".encode()).hexdigest()


def _describe_code(definitions: Iterable[object]) -> list[str]:
    """Return hashes of the user's own files and classes of this project, and package versions."""
    entries: set[str] = set()
    pending = list(definitions)
    visited: set[int] = set()
    while pending:
        definition = pending.pop()
        module = _module_of(definition)
        root = module.__name__.partition(".")[0] if module is not None else ""
        if module is None or root in _UNNAMED or root in sys.stdlib_module_names:
            continue
        if root in _OWN:
            if isinstance(definition, type) and issubclass(definition, nn.Module):
                entries.add(_class_sha256(cast("type", definition)))
        elif id(module) not in visited:
            visited.add(id(module))
            if (package := _installed_package(module)) is not None:
                entries.add(package)
                continue
            entries.add(_file_sha256(module))
            pending.extend([*vars(module).values(), *_imported(module)])
    return sorted(entries)


def _module_of(definition: object) -> ModuleType | None:
    if isinstance(definition, ModuleType):
        return definition
    if isinstance(definition, type | FunctionType):
        return sys.modules.get(definition.__module__ or "")
    return None


def _imported(module: ModuleType) -> Iterator[ModuleType]:
    """Yield the modules that a file imports, since a number that it takes from one has no trace."""
    try:
        tree = ast.parse(Path(str(module.__file__)).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = (module.__package__ or "").split(".")
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        for name in names:
            if (imported := sys.modules.get(name)) is not None:
                yield imported


@lru_cache
def _class_sha256(definition: type) -> str:
    """Return name and hash of a class, whose lines Python searches the whole of its file for."""
    with suppress(OSError, TypeError):
        source = inspect.getsource(definition)
        return f"{definition.__qualname__} {hashlib.sha256(source.encode()).hexdigest()}"
    return definition.__qualname__


def _file_sha256(module: ModuleType) -> str:
    """Return the hash of a module's file, which for a plugin is that of the bytes that run."""
    known = getattr(module, "__source_sha256__", None)
    if isinstance(known, str):
        return known
    with suppress(OSError, TypeError):
        return hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
    return module.__name__


def _installed_package(module: ModuleType) -> str | None:
    """Return name and version of the package that a module is installed with, or None."""
    file = getattr(module, "__file__", None)
    paths = sysconfig.get_paths()
    roots = {Path(paths[key]).resolve() for key in ("purelib", "platlib")}
    roots |= {Path(path).resolve() for path in sys.path if path.endswith("site-packages")}
    if file is not None and roots.isdisjoint(Path(file).resolve().parents):
        return None
    root = module.__name__.partition(".")[0]
    names = _distributions_with(root) or (root,)
    with suppress(Exception):  # a folder in site-packages that no installer knows of
        return f"{names[0]} {version(names[0])}"
    return None if file is not None else root


@lru_cache
def _distributions_with(root: str) -> tuple[str, ...]:
    """Return the names of the installed distributions that hold a top-level module, sorted.

    They are those of ``importlib.metadata.packages_distributions``, which reads the files of every
    distribution as paths, and takes a quarter of a second for it.
    """
    holding = [distribution for distribution in distributions() if _holds(distribution, root)]
    return tuple(sorted(distribution.metadata["Name"] for distribution in holding))


def _holds(distribution: Distribution, root: str) -> bool:
    """Return whether a distribution holds a top-level module."""
    if declared := (distribution.read_text("top_level.txt") or "").split():
        return root in declared
    if root not in (distribution.read_text("RECORD") or root):
        return False
    files = [file for file in distribution.files or () if file.suffix == ".py"]
    return any((file.parts[0] if len(file.parts) > 1 else file.stem) == root for file in files)
