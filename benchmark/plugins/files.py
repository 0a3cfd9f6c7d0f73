"""Runs the file of a plugin as a module of its own."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType

from benchmark.errors import PluginError, short_message


def run_file(path: Path, source: bytes, sha256: str) -> ModuleType:
    """Run a file's source as a module whose name holds its hash.

    The bytes that were hashed are the bytes that run. The name keeps what is cached under a class
    from outliving an edit of its file.
    """
    name = f"medsanity_plugin_{sha256[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{path} cannot be imported: {short_message(error)}") from error
    return module


def needs_no_argument(plugin: type) -> bool:
    """Return whether a class can be made without an argument."""
    try:
        parameters = inspect.signature(plugin).parameters.values()
    except (TypeError, ValueError):
        return True
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(
        parameter.default is not inspect.Parameter.empty or parameter.kind in variable
        for parameter in parameters
    )
