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
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic

from benchmark.errors import PluginError, UnknownNameError, short_message
from benchmark.plain_text import one_line
from benchmark.plugins.entry import Entry, with_majors
from benchmark.plugins.foreign.plugin_file import rehearse, run_file
from benchmark.plugins.kinds import COHORTS, EXPLAINERS, MODELS, PROTOCOLS, Kind, P
from benchmark.plugins.neighbours import check_neighbour, import_neighbour
from benchmark.stopping import is_stop

BUILT_IN = "built-in"
MODEL_FILE = "model.toml"
COHORT_FILE = "cohort.toml"
LIBRARIES = ("torchvision", "timm", "monai")
GUESTS = ("quantus", "captum")
PLUGIN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,99}", re.ASCII)
_LONGEST_VERSION = 100


class _WrongKindError(PluginError):
    """A class that is not a plugin of the kind that was asked for."""


@dataclass
class Shelf(Generic[P]):
    """All plugins of one kind.

    Attributes:
        sources: Sources of files by path, which are taken instead of the files.
    """

    kind: Kind[P]
    sources: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @cached_property
    def entries(self) -> tuple[Entry[P], ...]:
        """Every plugin by name, also those that cannot be imported.

        Raises:
            PluginError: If two plugins go by one name.
        """
        by_name: dict[str, Entry[P]] = {}
        for entry in (*with_majors(list(self._built_in())), *self._installed()):
            if (first := by_name.setdefault(entry.spec, entry)) is not entry:
                raise _duplicate(first, entry)
        return tuple(by_name[name] for name in sorted(by_name))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the plugins that can be used."""
        return tuple(entry.spec for entry in self.entries if entry.error is None)

    def find(self, spec: str) -> Entry[P]:
        """Return the plugin of a name, of ``path/to/file.py:Class``, or of a file on it.

        A cohort is described by a ``cohort.toml``, a model by a ``model.toml``, or by the folder
        that holds it; a model is also named by its architecture, as in ``torchvision.resnet50``,
        and a protocol by the metric of a library that it is, as in ``quantus:Sparseness``.

        Raises:
            UnknownNameError: If nothing goes by that name.
            PluginError: If it cannot be imported, is not of this kind, or takes a name in use.
            ClassifierError: If a model file cannot be read.
        """
        path, class_part = split_path(spec)
        if path.endswith(".py"):
            return self._from_path(Path(path), class_part.removeprefix(":"))
        if self.kind.name == "cohort" and spec.endswith(".toml"):
            return self._from_toml(Path(spec))
        if self.kind.name == "model" and spec.endswith(".toml"):
            return self._from_model(spec, Path(spec))
        if self.kind.name == "protocol" and spec.partition(":")[0] in GUESTS:
            guest: type[P] = import_neighbour("protocols.guests").protocol_of(spec)
            return Entry("protocol", spec, BUILT_IN, spec, guest)
        entry = next((entry for entry in self.entries if entry.spec == spec), None)
        if entry is None and self.kind.name == "model":
            if _names_architecture(spec):
                return self._from_model(spec, None)
            if Path(spec).is_dir():
                return self._from_model(spec, Path(spec, MODEL_FILE))
        if entry is None and self.kind.name == "cohort" and Path(spec).is_dir():
            return self._from_toml(Path(spec, COHORT_FILE))
        if entry is None:
            if self.kind.name in ("model", "cohort"):
                _refuse_path(self.kind.name, spec)
            raise UnknownNameError(self.kind.name, spec, self.names)
        if entry.error is not None:
            raise PluginError(f"The {entry.kind} {spec!r} cannot be used: {entry.error}")
        return entry

    def find_version(self, name: str, version: str) -> Entry[P]:
        """Return the plugin that made a record: of that name, and of the version's MAJOR.

        Raises:
            UnknownNameError: If nothing goes by that name in that version.
            PluginError: If it cannot be used.
        """
        spec = f"{name}@{version.partition('.')[0]}"
        return self.find(spec if spec in self.names else name)

    def _built_in(self) -> Iterator[Entry[P]]:
        package = import_neighbour(self.kind.package)
        for file in pkgutil.iter_modules(package.__path__):
            name = file.name + ("" if file.ispkg else ".py")
            location = f"{self.kind.package.replace('.', '/')}/{name}"
            try:
                module = importlib.import_module(f"{self.kind.package}.{file.name}")
                classes = self._classes(module)
                entries = [self._entry(each, file.name, BUILT_IN, location) for each in classes]
            except BaseException as error:
                if is_stop(error):
                    raise
                yield self._broken(file.name, BUILT_IN, location, error)
                continue
            yield from entries

    def _installed(self) -> Iterator[Entry[P]]:
        for point in sorted(entry_points(group=self.kind.group), key=lambda point: point.name):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
            try:
                entry = self._entry(self._checked(point.load(), point.value), point.name, origin)
            except BaseException as error:
                if is_stop(error):
                    raise
                entry = self._broken(point.name, origin, point.value, error)
            yield entry

    def _from_path(self, path: Path, class_name: str) -> Entry[P]:
        try:
            source = self.sources[str(path)] if str(path) in self.sources else path.read_bytes()
        except OSError as error:
            raise PluginError(
                f"The {self.kind.name} file {path} cannot be read: {error.strerror}."
            ) from error
        sha256 = hashlib.sha256(source).hexdigest()
        check_neighbour(self.kind.package)  # before the file blames a package for what it lacks
        rehearse(path, source, sha256, class_name)
        module = run_file(path, source, sha256)
        names = ", ".join(plugin.__name__ for plugin in self._classes(module)) or "none"
        known = f"{self.kind.name} classes in it: {names}"
        if not class_name:
            raise PluginError(f"Name the class as {path}:Class; {known}.")
        if not hasattr(module, class_name):
            raise PluginError(f"{path} has no class {class_name!r}; {known}.")
        location = f"{path}:{class_name}"
        plugin = self._checked(getattr(module, class_name), location)
        entry = self._entry(plugin, path.stem, str(path), location, sha256)
        namesake = next((other for other in self.entries if other.name == entry.name), None)
        if namesake is not None:
            raise _duplicate(namesake, entry)
        return entry

    def _from_toml(self, path: Path) -> Entry[P]:
        if not path.is_file():
            raise PluginError(
                f"The cohort file {path} does not exist; `cohort init {path.parent}` proposes one "
                "for a folder of images."
            )
        plugin: type[P] = import_neighbour("baselines.cohorts.files.reader").FolderSource
        return Entry("cohort", str(path), str(path), str(path), plugin, argument=path)

    def _from_model(self, spec: str, path: Path | None) -> Entry[P]:
        if path is not None and not path.is_file():
            raise PluginError(
                f"The folder {path.parent} holds no {MODEL_FILE}."
                if path.name == MODEL_FILE and path.parent.is_dir()
                else f"The model file {path} does not exist."
            )
        source = import_neighbour("baselines.models.encoders.source")
        plugin = (
            source.source_of_architecture(spec) if path is None else source.source_of_file(path)
        )
        origin = spec if path is None else str(path)
        entry = self._entry(plugin, spec, origin, origin)
        namesake = next((other for other in self.entries if other.name == entry.name), None)
        if namesake is not None:
            raise _duplicate(namesake, entry)
        return entry

    def include(self, spec: str, name: str | None = None) -> Entry[P]:
        """Find a plugin, and know it from then on by its name, or by another one.

        Raises:
            PluginError: As ``find``.
        """
        entry = self.find(spec)
        entry = replace(entry, name=name or entry.name)
        if entry not in self.entries:
            self.entries = (*self.entries, entry)
        return entry

    def _classes(self, module: ModuleType) -> list[type[P]]:
        """Return the module's own concrete classes of the kind that need no argument."""
        return [
            plugin
            for plugin in vars(module).values()
            if isinstance(plugin, type)
            and issubclass(plugin, self.kind.base)
            and f"{plugin.__module__}.".startswith(f"{module.__name__}.")
            and not plugin.__name__.startswith("_")
            and not inspect.isabstract(plugin)
            and (self.kind.name == "protocol" or _needs_no_argument(plugin))
        ]

    def _checked(self, plugin: object, location: str) -> type[P]:
        base = self.kind.base
        if not isinstance(plugin, type) or not issubclass(plugin, base):
            message = f"{location} must be a subclass of {base.__module__}.{base.__name__}."
            if self.kind.name == "model":
                message += (
                    f" A function that builds a network is named in a {MODEL_FILE}: "
                    f'architecture = "file.py:function".'
                )
            raise _WrongKindError(message)
        if inspect.isabstract(plugin):
            missing = ", ".join(sorted(getattr(plugin, "__abstractmethods__", ())))
            raise PluginError(f"{location} must implement {missing}.")
        either = self.kind.implements_one_of
        if either and all(getattr(plugin, name) is getattr(base, name) for name in either):
            raise PluginError(f"{location} must implement {' or '.join(either)}.")
        return plugin

    def _entry(
        self, plugin: type[P], stem: str, origin: str, location: str = "", sha256: str | None = None
    ) -> Entry[P]:
        location = location or f"{plugin.__module__}:{plugin.__qualname__}"
        if getattr(plugin, "name", None) is None:
            plugin.name = stem  # type: ignore[attr-defined]
        name = getattr(plugin, "name", None)
        if not isinstance(name, str) or not PLUGIN_NAME.fullmatch(name):
            raise PluginError(
                f"{location} has the name {name!r:.80}, but a name needs letters, digits, "
                "'.', '_', '+' or '-', 100 at most, since files are called by it."
            )
        version = getattr(plugin, "version", "")
        if isinstance(version, str) and version != one_line(version, _LONGEST_VERSION):
            raise PluginError(
                f"{location} has the version {version!r:.80}, but a version is one line of at most "
                f"{_LONGEST_VERSION} printable characters, such as '1.0'."
            )
        if missing := [key for key in self.kind.requires if not hasattr(plugin, key)]:
            raise PluginError(f"{location} must set {', '.join(missing)}.")
        polarity = getattr(plugin, "polarity", "absolute")
        if polarity not in ("positive", "absolute"):
            raise PluginError(
                f"{location} has the polarity {polarity!r}; known: 'positive', 'absolute'."
            )
        return Entry(self.kind.name, name, origin, location, plugin, None, sha256)

    def _broken(self, name: str, origin: str, location: str, error: BaseException) -> Entry[P]:
        message = f"{location}: {short_message(error)}"
        return Entry(self.kind.name, name, origin, location, None, message)


class Catalogue:
    """Every plugin that a run may name, on a shelf for each kind.

    Args:
        sources: Sources of plugins' files by path, for a machine that does not have the files.
    """

    def __init__(self, sources: Mapping[str, bytes] | None = None) -> None:
        own = sources or {}
        self.explainers = Shelf(EXPLAINERS, own)
        self.models = Shelf(MODELS, own)
        self.cohorts = Shelf(COHORTS, own)
        self.protocols = Shelf(PROTOCOLS, own)

    def find(self, spec: str, kind: str) -> Entry[Any]:
        """Return a plugin of whatever kind a file's class is, or by its name on a shelf.

        Raises:
            UnknownNameError: If nothing goes by that name.
            PluginError: If it cannot be imported, or is of no kind.
        """
        shelves: dict[str, Shelf[Any]] = vars(self)
        if kind in ("explainers", "protocols") and _describes_model(spec):
            return self.models.find(spec)
        for shelf in sorted(shelves.values(), key=lambda shelf: shelf is not shelves[kind]):
            with suppress(_WrongKindError):
                return shelf.find(spec)
        return shelves[kind].find(spec)


def _refuse_path(kind: str, spec: str) -> None:
    """Raise an error where a path was given that is no description of a model or a cohort.

    Raises:
        PluginError: If a file is no such description, or if nothing lies at the path.
    """
    file = MODEL_FILE if kind == "model" else COHORT_FILE
    path = Path(spec)
    if path.is_file():
        way = f"; `model init {spec}` writes one for a file of weights" if kind == "model" else ""
        raise PluginError(f"A {kind} is described by a {file}, which {spec} is not{way}.")
    if path.parent != Path() or path.suffix in (".pt", ".pth", ".ckpt", ".safetensors"):
        raise PluginError(f"There is no file and no folder {spec}, which is to hold a {file}.")


def model_files() -> ModuleType:
    """Return the module that makes a ``model.toml`` of a checkpoint and looks into one."""
    return import_neighbour("baselines.models.encoders.files")


def model_families() -> dict[str, str]:
    """Return libraries whose networks can be named as models, and which networks these are."""
    families: dict[str, str] = import_neighbour("baselines.models.encoders.source").families()
    return families


def protocol_families() -> dict[str, str]:
    """Return libraries whose metrics can be named as protocols, and which metrics these are."""
    families: dict[str, str] = import_neighbour("protocols.guests").families()
    return families


def cohort_writer() -> Callable[..., Path]:
    """Return the function that writes a cohort into a folder and returns its ``cohort.toml``."""
    write: Callable[..., Path] = _from_cohort_files("write_cohort")
    return write


def cohort_corruption() -> ModuleType:
    """Return the package that corrupts a cohort in known places."""
    return import_neighbour("baselines.cohorts.corruption")


def corruption_files() -> ModuleType:
    """Return the module that writes corrupted cohorts as files."""
    return import_neighbour("baselines.cohorts.corruption.files")


def cohort_proposal() -> ModuleType:
    """Return the module that proposes a ``cohort.toml`` for a folder of images."""
    return import_neighbour("baselines.cohorts.files.proposal.writing")


def _from_cohort_files(name: str) -> Any:  # noqa: ANN401 - a class or a function
    return getattr(import_neighbour("baselines.cohorts.nifti"), name)


def split_path(spec: str) -> tuple[str, str]:
    """Return the path in ``path/to/file.py:NAME`` and ``:NAME``; anything else is returned whole.

    The second is empty where no name is given.
    """
    path, colon, name = spec.rpartition(":")
    return (path, colon + name) if path.endswith(".py") else (spec, "")


def _needs_no_argument(plugin: type) -> bool:
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


def _names_architecture(spec: str) -> bool:
    library, point, _ = spec.partition(".")
    return bool(point) and library in LIBRARIES


def _describes_model(spec: str) -> bool:
    """Return whether a spec can stand for nothing but a model."""
    is_file = Path(spec).name == MODEL_FILE or Path(spec, MODEL_FILE).is_file()
    return is_file or _names_architecture(spec)


def _duplicate(first: Entry[P], second: Entry[P]) -> PluginError:
    return PluginError(
        f"Two {first.kind}s go by the name {first.name!r}: {first.location} ({first.origin}) "
        f"and {second.location} ({second.origin}); rename one."
    )
