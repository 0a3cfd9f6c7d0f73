"""What a plugin's source reaches for that no attribution method needs.

A screen, not a sandbox: it catches the careless and names the obvious before anything is run. Who
wants to get past it can, which is why a submission is run again in a process of its own, and is
called audited only after a person has read it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from leaderboard.published.fault import Fault


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Modules that see other processes, files, the network, or the code that is calling.
_MODULES = _words("""
    asyncio atexit builtins code codeop concurrent ctypes faulthandler fcntl ftplib gc glob http imp
    importlib inspect io linecache marshal mmap multiprocessing os pathlib pickle pkgutil platform
    pty requests resource runpy shelve shutil signal site smtplib socket sqlite3 ssl subprocess sys
    sysconfig tempfile threading traceback tracemalloc urllib zipimport leaderboard protocols
""")
# Parts of the engine that a method has no business with.
_ENGINE = _words("""
    commands maps plugins protocol records report results running statistics trial
""")
_BUILT_IN = _words("__import__ breakpoint compile eval exec globals input locals open")
_ATTRIBUTES = _words("""
    __builtins__ __code__ __closure__ __globals__ __loader__ __spec__ __subclasses__ f_back
    f_globals f_locals gi_frame tb_frame _getframe _current_frames
""")
_TRUTH = frozenset(("truth", "foreground"))


def screen(source: bytes, place: str) -> list[Fault]:
    """Return what a plugin reaches for and should not.

    Args:
        source: Of its file.
        place: For messages.
    """
    try:
        tree = ast.parse(source)
    # A null byte is a ValueError, deep nesting one of the others.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [Fault("not-python", place, f"it cannot be parsed: {type(error).__name__}")]
    found: dict[tuple[str, str], int] = {}
    for node in ast.walk(tree):
        for name, what in (*_imports(node), *_names(node)):
            found.setdefault((name, what), getattr(node, "lineno", 0))
    return [
        Fault(name, f"{place}:{line}", f"a method has no need of {what!r}")
        for (name, what), line in found.items()
    ]


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    modules: list[str] = []
    if isinstance(node, ast.Import):
        modules = [one.name for one in node.names]
    elif isinstance(node, ast.ImportFrom):
        whole = node.module or ""
        modules = [whole, *(f"{whole}.{one.name}" for one in node.names)]
        if node.level:
            yield "reaches-out", "a relative import"
    for module in modules:
        top, *below = module.split(".")
        if top in _MODULES or (top == "benchmark" and below and below[0] in _ENGINE):
            yield "reaches-out", module
            return


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
