"""Screens the source of a plugin for imports and names that no attribution method needs.

This is no sandbox: it catches the careless and the obvious before anything is run. Who wants to get
past it can, which is why a submission is run again in a process of its own, and is called audited
only after a person has read it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import benchmark
from leaderboard.published.fault import Fault


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# All of this package that a method may import; the rest holds the truth, the scores or the run.
_DOOR = _words("""
    baselines.adapters baselines.canonical baselines.explainers benchmark.arrays
    benchmark.classifier benchmark.cohort benchmark.errors benchmark.explainer
    benchmark.feature_grid benchmark.model_source benchmark.seeding benchmark.target
""")
_PACKAGES = _words("baselines benchmark leaderboard protocols")
# Controls are told the truth, and a method could ask one.
_CONTROLS = "baselines.explainers.controls"
# Modules that see other processes, files, the network, or the code that is calling.
_MODULES = _words("""
    asyncio atexit builtins code codeop concurrent ctypes faulthandler fcntl ftplib gc glob http imp
    importlib inspect io linecache marshal mmap multiprocessing os pathlib pickle pkgutil platform
    pty requests resource runpy shelve shutil signal site smtplib socket sqlite3 ssl subprocess sys
    sysconfig tempfile threading traceback tracemalloc urllib zipimport
""")
_BUILT_IN = _words("__import__ breakpoint compile eval exec globals input locals open")
_ATTRIBUTES = _words("""
    __builtins__ __code__ __closure__ __globals__ __loader__ __spec__ __subclasses__ f_back
    f_globals f_locals gi_frame tb_frame _getframe _current_frames
""")
_TRUTH = frozenset(("truth", "foreground"))


def screen(source: bytes, path: str) -> list[Fault]:
    """Return a fault for everything that a plugin reaches for and should not."""
    try:
        tree = ast.parse(source)
    # A null byte is a ValueError, deep nesting one of the others.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [Fault("not-python", path, f"it cannot be parsed: {type(error).__name__}")]
    first_lines: dict[tuple[str, str], int] = {}
    for node in ast.walk(tree):
        for fault, name in (*_imports(node), *_names(node)):
            first_lines.setdefault((fault, name), getattr(node, "lineno", 0))
    return [
        Fault(fault, f"{path}:{line}", f"a method has no need of {name!r}")
        for (fault, name), line in first_lines.items()
    ]


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    modules = []
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level:
        yield "reaches-out", "a relative import"
    elif isinstance(node, ast.ImportFrom):
        modules = [f"{node.module}.{alias.name}" for alias in node.names]
    if stray := next((module for module in modules if not _may_be_imported(module)), None):
        yield "reaches-out", stray


def _may_be_imported(module: str) -> bool:
    package, *below = module.split(".")
    if package not in _PACKAGES:
        return package not in _MODULES
    if package == "benchmark" and below:
        # A name of the package itself stands for the module that it comes from.
        module = getattr(getattr(benchmark, below[0], None), "__module__", module)
        package, *below = module.split(".")
    return ".".join((package, *below[:1])) in _DOOR and not module.startswith(_CONTROLS)


def _names(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Name):
        if node.id in _BUILT_IN | _ATTRIBUTES:
            yield "reaches-out", node.id
        return
    name = None
    if isinstance(node, ast.Attribute):
        name = node.attr
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        name = node.value  # as it would be given to getattr
    if name in _ATTRIBUTES:
        yield "reaches-out", name
    elif name in _TRUTH:
        yield "asks-for-truth", name
