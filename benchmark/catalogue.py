"""Finds plugins by name: built-in files, installed packages, and single files on disk.

A kind of plugin is looked up when it is first asked for, so listing protocols imports no cohort. A
plugin that cannot be imported is kept with its error: it shows in ``list`` and hurts only whoever
asks for it.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from benchmark.cohort_source import CohortSource
from benchmark.errors import InputError, PluginError, UnknownNameError
from benchmark.explainer import Explainer
from benchmark.model_source import ModelSource
from benchmark.protocol import SanityProtocol

P = TypeVar("P")
AnyProtocol = SanityProtocol[Any]

BUILT_IN = "built-in"
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
_COHORT_FILES = ("baselines.cohorts.nifti", "NiftiSource", "write_cohort")


class _WrongKindError(PluginError):
    """A class that is no plugin of the kind that was asked for."""


@dataclass(frozen=True)
class Kind(Generic[P]):
    """A kind of plugin and where it is found.

    Attributes:
        name: In the singular, for messages.
        base: Class that every plugin of the kind extends.
        package: Folder of the built-in ones, as a module name.
        requires: Class attributes that a plugin must set.
    """

    name: str
    base: type[P]
    package: str
    requires: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Entry-point group of third parties."""
        return f"medsanity.{self.name}s"


# The bases are abstract, which mypy refuses as values of type[P]; nothing here instantiates them.
EXPLAINERS: Kind[Explainer] = Kind("explainer", Explainer, "baselines.explainers")  # type: ignore[type-abstract]
MODELS: Kind[ModelSource] = Kind("model", ModelSource, "baselines.models")  # type: ignore[type-abstract]
COHORTS: Kind[CohortSource] = Kind("cohort", CohortSource, "baselines.cohorts")  # type: ignore[type-abstract]
PROTOCOLS: Kind[AnyProtocol] = Kind(
    "protocol",
    SanityProtocol,  # type: ignore[type-abstract]
    "protocols",
    ("version", "title", "statistics", "primary", "chance", "margin"),
)


@dataclass(frozen=True)
class Entry(Generic[P]):
    """A plugin under its name.

    Attributes:
        kind: Such as ``"explainer"``.
        name: How it goes by.
        origin: ``built-in``, the distribution and its version, or the path.
        place: Where its code lies, for messages.
        found: The class; None where it could not be imported.
        error: Why it could not.
        source_sha256: Of its file, where it was loaded from a path.
        argument: What its constructor takes, for a cohort described by a file.
        given: What its constructor is given by name.
    """

    kind: str
    name: str
    origin: str
    place: str
    found: type[P] | None = None
    error: str | None = None
    source_sha256: str | None = None
    argument: Path | None = None
    given: Mapping[str, object] = field(default_factory=dict)

    @property
    def plugin(self) -> type[P]:
        """The class.

        Raises:
            PluginError: If it could not be imported.
        """
        if self.found is None:
            raise PluginError(f"The {self.kind} {self.name!r} cannot be used: {self.error}")
        return self.found

    @property
    def description(self) -> str:
        """One sentence for tables: what the class says of itself, or its docstring's first line."""
        if self.found is None:
            return ""
        said = getattr(self.found, "title", "") or getattr(self.found, "description", "")
        return str(said) or (inspect.getdoc(self.found) or "").split("\n", maxsplit=1)[0]

    @property
    def declared(self) -> dict[str, str | tuple[int, int] | None]:
        """What the class says of itself: ``version``, ``family``, ``polarity`` and ``passes``.

        None where its kind says no such thing, or it could not be imported.
        """
        names = ("version", "family", "polarity", "passes")
        return {name: getattr(self.found, name, None) for name in names}

    @property
    def settings(self) -> tuple[str, ...]:
        """What its constructor takes by name."""
        return tuple(inspect.signature(self.plugin).parameters) if self.argument is None else ()

    def set(self, settings: Mapping[str, object]) -> Entry[P]:
        """Return the entry whose plugin is made with these settings.

        Args:
            settings: What the constructor is given by name; its defaults hold for the rest.

        Raises:
            InputError: If the plugin has no such setting, or refuses the value.
        """
        if unknown := sorted(set(settings) - set(self.settings)):
            known = ", ".join(self.settings) or "none"
            raise PluginError(
                f"The {self.kind} {self.name!r} has no setting {unknown[0]!r}; known: {known}."
            )
        hints: dict[str, Any] = {}
        with suppress(NameError):  # a hint that only type checkers can see asks for nothing
            hints = get_type_hints(cast("Any", self.plugin).__init__, include_extras=True)
        for name, value in settings.items():
            try:
                TypeAdapter(hints.get(name, Any)).validate_python(value, strict=True)
            except ValidationError as error:
                raise PluginError(
                    f"The setting {name!r} of the {self.kind} {self.name!r} is {value!r}: "
                    f"{error.errors()[0]['msg']}."
                ) from error
        chosen = replace(self, given=dict(settings))
        chosen.create()
        return chosen

    def create(self) -> P:
        """Return a new instance.

        Raises:
            InputError: If it refuses a setting.
            PluginError: If it could not be imported or its constructor fails.
        """
        build = cast("Callable[..., P]", self.plugin)
        try:
            return build(**self.given) if self.argument is None else build(self.argument)
        except InputError:
            raise
        except Exception as error:
            raise PluginError(
                f"The {self.kind} {self.name!r} of {self.place} cannot be made: {_short(error)}"
            ) from error


@dataclass
class Shelf(Generic[P]):
    """All plugins of one kind.

    Attributes:
        kind: Which.
    """

    kind: Kind[P]
    _by_name: dict[str, Entry[P]] | None = field(default=None, repr=False)

    @property
    def entries(self) -> tuple[Entry[P], ...]:
        """Every plugin by name, also those that cannot be imported.

        Raises:
            PluginError: If two plugins go by one name.
        """
        if self._by_name is None:
            by_name: dict[str, Entry[P]] = {}
            for entry in (*self._built_in(), *self._installed()):
                _add(by_name, entry)
            self._by_name = dict(sorted(by_name.items()))
        return tuple(self._by_name.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the plugins that can be used."""
        return tuple(entry.name for entry in self.entries if entry.error is None)

    def find(self, spec: str) -> Entry[P]:
        """Return the plugin of that name or path.

        Args:
            spec: A name, ``path/to/file.py:Class``, or for a cohort ``path/to/cohort.toml``.

        Raises:
            UnknownNameError: If nothing goes by that name.
            PluginError: If it cannot be imported, is not of this kind, or takes a name in use.
        """
        path, _, class_name = spec.rpartition(":")
        if spec.endswith(".py") or path.endswith(".py"):
            return self._from_path(Path(path if class_name and path else spec), class_name)
        if self.kind.name == "cohort" and spec.endswith(".toml"):
            return self._from_toml(Path(spec))
        entry = next((one for one in self.entries if one.name == spec), None)
        if entry is None:
            raise UnknownNameError(self.kind.name, spec, self.names)
        if entry.error is not None:
            raise PluginError(f"The {entry.kind} {spec!r} cannot be used: {entry.error}")
        return entry

    def _built_in(self) -> Iterator[Entry[P]]:
        package = importlib.import_module(self.kind.package)
        for found in pkgutil.iter_modules(package.__path__):
            place = f"{self.kind.package.replace('.', '/')}/{found.name}.py"
            try:
                module = importlib.import_module(f"{self.kind.package}.{found.name}")
                classes = self._classes(module)
                entries = [self._entry(one, found.name, BUILT_IN, place) for one in classes]
            except (Exception, SystemExit) as error:
                yield self._broken(found.name, BUILT_IN, place, error)
                continue
            yield from entries

    def _installed(self) -> Iterator[Entry[P]]:
        for point in sorted(entry_points(group=self.kind.group), key=lambda one: one.name):
            origin = _distribution(point)
            try:
                entry = self._entry(self._checked(point.load(), point.value), point.name, origin)
            except (Exception, SystemExit) as error:
                entry = self._broken(point.name, origin, point.value, error)
            yield entry

    def _from_path(self, path: Path, class_name: str) -> Entry[P]:
        try:
            source = path.read_bytes()
        except OSError as error:
            raise PluginError(
                f"The {self.kind.name} file {path} cannot be read: {error.strerror}."
            ) from error
        sha256 = hashlib.sha256(source).hexdigest()
        module = _run_file(path, source, sha256)
        known = ", ".join(one.__name__ for one in self._classes(module)) or "none"
        if not class_name or class_name.endswith(".py"):
            raise PluginError(
                f"Name the class as {path}:Class; {self.kind.name} classes in it: {known}."
            )
        if not hasattr(module, class_name):
            raise PluginError(
                f"{path} has no class {class_name!r}; {self.kind.name} classes in it: {known}."
            )
        found = self._checked(getattr(module, class_name), f"{path}:{class_name}")
        place = f"{path}:{class_name}"
        entry = self._entry(found, path.stem, str(path), place, sha256)
        taken = next((one for one in self.entries if one.name == entry.name), None)
        if taken is not None:
            raise _duplicate(taken, entry)
        return entry

    def _from_toml(self, path: Path) -> Entry[P]:
        if not path.is_file():
            raise PluginError(f"The cohort file {path} does not exist.")
        module, source, _ = _COHORT_FILES
        found: type[P] = getattr(importlib.import_module(module), source)
        return Entry("cohort", str(path), str(path), str(path), found, argument=path)

    def _classes(self, module: ModuleType) -> list[type[P]]:
        """Return the module's own concrete classes of the kind that need no argument."""
        return [
            one
            for one in vars(module).values()
            if isinstance(one, type)
            and issubclass(one, self.kind.base)
            and one.__module__ == module.__name__
            and not one.__name__.startswith("_")
            and not inspect.isabstract(one)
            and (self.kind.name == "protocol" or _needs_nothing(one))
        ]

    def _checked(self, found: object, place: str) -> type[P]:
        base = self.kind.base
        if not isinstance(found, type) or not issubclass(found, base):
            raise _WrongKindError(
                f"{place} must be a subclass of {base.__module__}.{base.__name__}."
            )
        if inspect.isabstract(found):
            missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
            raise PluginError(f"{place} must implement {missing}.")
        return found

    def _entry(
        self, found: type[P], stem: str, origin: str, place: str = "", sha256: str | None = None
    ) -> Entry[P]:
        place = place or f"{found.__module__}:{found.__qualname__}"
        if getattr(found, "name", None) is None:
            found.name = stem  # type: ignore[attr-defined]
        name = getattr(found, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"{place} has the name {name!r}, but a name needs letters, digits, "
                "'.', '_', '+' or '-', since files are called by it."
            )
        if missing := [one for one in self.kind.requires if not hasattr(found, one)]:
            raise PluginError(f"{place} must set {', '.join(missing)}.")
        polarity = getattr(found, "polarity", "absolute")
        if polarity not in ("positive", "absolute"):
            raise PluginError(
                f"{place} has the polarity {polarity!r}; known: 'positive', 'absolute'."
            )
        return Entry(self.kind.name, name, origin, place, found, None, sha256)

    def _broken(self, name: str, origin: str, place: str, error: BaseException) -> Entry[P]:
        return Entry(self.kind.name, name, origin, place, None, f"{place}: {_short(error)}")


class Catalogue:
    """Every plugin that a run may name.

    Attributes:
        explainers: Attribution methods and controls.
        models: Sources of classifiers.
        cohorts: Sources of images.
        protocols: Questions that are put.
    """

    def __init__(self) -> None:
        self.explainers = Shelf(EXPLAINERS)
        self.models = Shelf(MODELS)
        self.cohorts = Shelf(COHORTS)
        self.protocols = Shelf(PROTOCOLS)

    def find(self, spec: str, kind: str) -> Entry[Any]:
        """Return a plugin of whatever kind a file's class is, or of ``kind`` by its name.

        Args:
            spec: ``path/to/file.py:Class``, or a name.
            kind: Such as ``"explainers"``.

        Raises:
            UnknownNameError: If nothing goes by that name.
            PluginError: If it cannot be imported, or is of no kind.
        """
        shelves: dict[str, Shelf[Any]] = vars(self)
        others = [one for name, one in shelves.items() if name != kind]
        for shelf in (shelves[kind], *others):
            with suppress(_WrongKindError):
                return shelf.find(spec)
        return shelves[kind].find(spec)


def cohort_writer() -> Callable[..., Path]:
    """Return the function that writes a cohort into a folder and gives its ``cohort.toml``."""
    module, _, write = _COHORT_FILES
    found: Callable[..., Path] = getattr(importlib.import_module(module), write)
    return found


def _add(by_name: dict[str, Entry[P]], entry: Entry[P]) -> None:
    if entry.name in by_name:
        raise _duplicate(by_name[entry.name], entry)
    by_name[entry.name] = entry


def _duplicate(first: Entry[P], second: Entry[P]) -> PluginError:
    return PluginError(
        f"Two {first.kind}s go by the name {first.name!r}: {first.place} ({first.origin}) "
        f"and {second.place} ({second.origin}); rename one."
    )


def _run_file(path: Path, source: bytes, sha256: str) -> ModuleType:
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
        raise PluginError(f"{path} cannot be imported: {_short(error)}") from error
    return module


def _needs_nothing(found: type) -> bool:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return True
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(
        one.default is not inspect.Parameter.empty or one.kind in variable for one in parameters
    )


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
