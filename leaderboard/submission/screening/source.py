"""Reads a plugin's source, and finds every name that is on no list."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from leaderboard.published.fault import Fault
from leaderboard.published.hidden import is_invisible
from leaderboard.submission.screening import lists

# Name of a fault, what it is about, and what to do instead.
_Finding = tuple[str, str, str]
_DYNAMIC = frozenset(("getattr", "hasattr", "setattr", "delattr"))
_PRIVATE = "use public names, and private ones of your own objects"
_TRUTH = "of a batch, use images and references"


def screen(source: bytes, path: str) -> list[Fault]:
    """Return a fault for every name that a method needs not, with what it may use instead."""
    try:
        text = source.decode("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of an escape that is none
            tree = ast.parse(source)
    # A null byte is a ValueError, deep nesting one of the others.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [Fault("not-python", path, f"it cannot be parsed: {type(error).__name__}")]
    faults = list(_hidden(text, path))
    first_lines: dict[_Finding, int] = {}
    for line, finding in _Reader(tree).findings():
        first_lines.setdefault(finding, line)
    for (fault, name, advice), line in first_lines.items():
        detail = f"a method has no need of {name[:80]!r}: {advice}"
        faults.append(Fault(fault, f"{path}:{line}", detail))
    return faults


def _hidden(text: str, path: str) -> Iterator[Fault]:
    """Yield the first character that lets a source be read otherwise than it runs."""
    for number, line in enumerate(text.split("\n"), 1):
        for character in line:
            if is_invisible(character):
                detail = f"it holds the invisible character U+{ord(character):04X}; leave it out"
                yield Fault("hidden-character", f"{path}:{number}", detail)
                return


@dataclass
class _Reader:
    """A source with the names that it binds."""

    tree: ast.Module
    modules: dict[str, str] = field(default_factory=dict)  # module by the name that it goes by
    imported: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    batches: set[str] = field(default_factory=set)
    part_of_chain: set[int] = field(default_factory=set)
    in_call: set[int] = field(default_factory=set)

    def findings(self) -> Iterator[tuple[int, _Finding]]:
        """Yield what is on no list, with its line."""
        nodes = list(ast.walk(self.tree))
        for node in nodes:
            self._bind(node)
        for node in nodes:
            for finding in (*self._imports(node), *self._calls(node), *self._chains(node)):
                yield getattr(node, "lineno", 0), finding
            for finding in (*self._plain(node), *self._definitions(node)):
                yield getattr(node, "lineno", 0), finding

    def _bind(self, node: ast.AST) -> None:
        """Note what a node binds."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                self.modules[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name, full = alias.asname or alias.name, f"{node.module}.{alias.name}"
                self.imported.add(name)
                if lists.is_module(full):
                    self.modules[name] = full
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.bound.add(node.name)
            self.private.add(node.name)
            if node.name == "attribute_batch" and not isinstance(node, ast.ClassDef):
                self.batches |= {argument.arg for argument in node.args.args[2:3]}
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)
            self.private.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            self.private.add(node.attr)
        elif isinstance(node, ast.arg):
            self.bound.add(node.arg)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            self.bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            self.bound.add(node.rest)

    def _imports(self, node: ast.AST) -> Iterator[_Finding]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if not lists.is_module(alias.name) or alias.name in lists.PACKAGES:
                    yield "reaches-out", alias.name, lists.advice_on(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "reaches-out", "a relative import", "a plugin is a single file"
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if alias.name == "*":
                    yield "reaches-out", full, "name what you import"
                elif not (lists.is_module(full) or lists.is_public(node.module or "", alias.name)):
                    yield "reaches-out", full, lists.advice_on(full)

    def _calls(self, node: ast.AST) -> Iterator[_Finding]:
        """Read ``getattr`` with a name as that name, and refuse it with anything else."""
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            return
        function = node.func.id
        if function == "type" and len(node.args) != 1:
            yield "reaches-out", "type", "write the class out"
        if function not in _DYNAMIC or function in self.bound or len(node.args) < 2:
            return
        owner, name = node.args[:2]
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            return
        self.in_call.add(id(node.func))
        if function in ("setattr", "delattr"):
            yield from self._changes(owner)
        yield from self._attribute(name.value)

    def _chains(self, node: ast.AST) -> Iterator[_Finding]:
        """Read ``a.b.c`` from its root: a module's names, or attributes of an object."""
        if not isinstance(node, ast.Attribute) or id(node) in self.part_of_chain:
            return
        parts: list[str] = []
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            parts.insert(0, root.attr)
            root = root.value
            self.part_of_chain.add(id(root))
        if not isinstance(node.ctx, ast.Load):
            yield from self._changes(root)
        if (
            isinstance(root, ast.Name)
            and root.id in self.batches
            and parts[0] not in lists.OF_BATCH
        ):
            yield "asks-for-truth", f"{root.id}.{parts[0]}", _TRUTH
        if isinstance(root, ast.Name) and root.id in self.modules:
            module = self.modules[root.id]
            while parts and lists.is_module(f"{module}.{parts[0]}"):
                module = f"{module}.{parts.pop(0)}"
            if not parts or not lists.is_public(module, parts[0]):
                name = ".".join((module, *parts[:1]))
                advice = lists.advice_on(name) if parts else "name what you use of a module"
                yield "reaches-out", name, advice
            parts = parts[1:]
        for part in parts:
            yield from self._attribute(part)

    def _changes(self, owner: ast.expr) -> Iterator[_Finding]:
        if isinstance(owner, ast.Name) and owner.id in self.modules.keys() | self.imported:
            yield "reaches-out", f"a change to {owner.id}", "change objects of your own"

    def _attribute(self, name: str) -> Iterator[_Finding]:
        special = name.startswith("__") and name.endswith("__")
        if name in lists.TRUTH:
            yield "asks-for-truth", name, _TRUTH
        elif name in lists.OUTSIDE:
            advice = "use an f-string" if name.startswith("format") else "it leads out of a method"
            yield "reaches-out", name, advice
        elif (special and name not in lists.SPECIAL) or (
            name.startswith("_") and not special and name not in self.private | lists.DESCRIBED
        ):
            yield "reaches-out", name, _PRIVATE

    def _plain(self, node: ast.AST) -> Iterator[_Finding]:
        """Read a name that stands by itself: bound here, or built in and listed."""
        if not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)):
            return
        name = node.id
        if name in self.modules:
            if id(node) not in self.part_of_chain:
                yield "reaches-out", name, "name what you use of a module, as in module.name"
        elif (
            name not in self.bound | self.imported | lists.BUILT_IN and id(node) not in self.in_call
        ):
            yield "reaches-out", name, lists.advice_on(name)

    def _definitions(self, node: ast.AST) -> Iterator[_Finding]:
        names = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names = [node.id]
        elif isinstance(node, ast.MatchClass):
            for name in node.kwd_attrs:
                yield from self._attribute(name)
        for name in names:
            if name.startswith("__") and name.endswith("__") and name not in lists.SPECIAL:
                yield "reaches-out", name, _PRIVATE
