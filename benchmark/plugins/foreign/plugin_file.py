"""Runs a plugin's file as a module, once it was shown that doing so ends no process."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from benchmark.errors import PluginError
from benchmark.plugins.blame import located_message
from benchmark.plugins.foreign.apart import can_run_apart, run_apart
from benchmark.stopping import is_stop

_PREFIX = "medsanity_plugin_"
DEADLINE = 120.0  # seconds that a file may take to be imported


def rehearse(path: Path, source: bytes, sha256: str, class_name: str) -> None:
    """Import a file, and make its class, in a copy of this process first.

    Raises:
        PluginError: If the copy ends, or takes longer than two minutes. What the file raises is for
            ``run_file`` to tell.
    """
    if module_name(sha256) in sys.modules or not can_run_apart():
        return

    def try_out() -> bool:
        with suppress(BaseException):
            plugin = getattr(run_file(path, source, sha256), class_name)
            dict(plugin().config)
        return True

    run_apart(try_out, f"{path} cannot be imported: it", DEADLINE)


def module_name(sha256: str) -> str:
    """Return the name of the module of a file with this hash."""
    return f"{_PREFIX}{sha256[:16]}"


def is_of_file(plugin: object) -> bool:
    """Return whether the class of a plugin stands in a file that was named by its path."""
    return type(plugin).__module__.startswith(_PREFIX)


def run_file(path: Path, source: bytes, sha256: str) -> ModuleType:
    """Run a file's source as a module whose name holds its hash.

    The bytes that were hashed are the bytes that run. The name keeps what is cached under a class
    from outliving an edit of its file.
    """
    name = module_name(sha256)
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    vars(module)["__source_sha256__"] = sha256
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if is_stop(error):
            raise
        raise PluginError(
            f"{path} cannot be imported: {located_message(error, str(path))}"
        ) from error
    return module
