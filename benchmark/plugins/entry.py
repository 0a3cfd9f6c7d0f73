"""A plugin under its name, importable or not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from benchmark.errors import InputError, PluginError
from benchmark.explainer import Explainer
from benchmark.plugins.blame import file_of, located_message
from benchmark.plugins.kinds import P
from benchmark.stopping import is_stop

BY_NETWORK = "by network"


@dataclass(frozen=True)
class Entry(Generic[P]):
    """A plugin under its name.

    Attributes:
        kind: Kind of plugin, such as ``"explainer"``.
        origin: ``built-in``, the distribution and its version, or the path.
        location: Module and class, or path and class, for messages.
        plugin_class: Class of the plugin; None where it could not be imported.
        error: Reason why it could not be imported.
        source_sha256: Hash of its file, where it was loaded from a path.
        argument: Sole argument of the constructor, for a cohort that a file describes.
        major: MAJOR version that the name is written with, as in ``delta_t@2``, where a plugin of
            the same name and an earlier version is still there; else empty.
    """

    kind: str
    name: str
    origin: str
    location: str
    plugin_class: type[P] | None = None
    error: str | None = None
    source_sha256: str | None = None
    argument: Path | None = None
    chosen_settings: Mapping[str, object] = field(default_factory=dict)
    major: str = ""

    @property
    def spec(self) -> str:
        """What the plugin is asked for by: its name, and its MAJOR version where it needs one."""
        return f"{self.name}@{self.major}" if self.major else self.name

    @property
    def plugin(self) -> type[P]:
        """Class of the plugin.

        Raises:
            PluginError: If it could not be imported.
        """
        if self.plugin_class is None:
            raise PluginError(f"The {self.kind} {self.name!r} cannot be used: {self.error}")
        return self.plugin_class

    @property
    def description(self) -> str:
        """One sentence for tables: title, description or first docstring line of the class."""
        plugin = self.plugin_class
        text = getattr(plugin, "title", "") or getattr(plugin, "description", "")
        docstring = (plugin and inspect.getdoc(plugin)) or ""
        return str(text) or docstring.split("\n", maxsplit=1)[0]

    @property
    def declared(self) -> dict[str, str | tuple[int, int] | None]:
        """Class attributes for tables: ``version``, ``family``, ``polarity`` and ``passes``.

        Each is None where plugins of this kind lack it, or the plugin could not be imported.
        ``passes`` is ``"by network"`` where the plugin says them of each network.
        """
        names = ("version", "family", "polarity", "passes")
        values = {name: getattr(self.plugin_class, name, None) for name in names}
        own = getattr(self.plugin_class, "passes_on", Explainer.passes_on)
        return values if own is Explainer.passes_on else values | {"passes": BY_NETWORK}

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the constructor's arguments that can be chosen."""
        return tuple(inspect.signature(self.plugin).parameters) if self.argument is None else ()

    def set(self, settings: Mapping[str, object]) -> Entry[P]:
        """Return the entry whose plugin is made with these settings, and defaults for the rest.

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
        entry = replace(self, chosen_settings=dict(settings))
        entry.create()
        return entry

    def create(self) -> P:
        """Return a new instance.

        Raises:
            InputError: If it refuses a setting.
            PluginError: If it could not be imported or its constructor fails.
        """
        build = cast("Callable[..., P]", self.plugin)
        try:
            return build(**self.chosen_settings) if self.argument is None else build(self.argument)
        except InputError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            raise self._fault("made", error) from error

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Blame the plugin for what its code raises while it loads a cohort or a model.

        Raises:
            PluginError: If it raises anything but an InputError, which stays as it is.
        """
        try:
            yield
        except InputError:
            raise
        except BaseException as error:
            if is_stop(error):
                raise
            raise self._fault("loaded", error) from error

    def _fault(self, what: str, error: BaseException) -> PluginError:
        message = located_message(error, file_of(self.plugin))
        return PluginError(
            f"The {self.kind} {self.name!r} of {self.location} cannot be {what}: {message}"
        )


def with_majors(entries: Sequence[Entry[P]]) -> list[Entry[P]]:
    """Return the entries, those of a later MAJOR version of a name marked with it.

    A corrected protocol is a new version, and the old one stays loadable under the bare name.
    """

    def major_of(entry: Entry[P]) -> int:
        version = str(getattr(entry.plugin_class, "version", ""))
        number = version.partition(".")[0]
        return int(number) if number.isdigit() else 0

    first: dict[str, int] = {}
    for entry in entries:
        first[entry.name] = min(first.get(entry.name, major_of(entry)), major_of(entry))
    return [
        replace(entry, major="" if major_of(entry) == first[entry.name] else str(major_of(entry)))
        for entry in entries
    ]
