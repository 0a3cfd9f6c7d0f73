"""A plugin under its name, importable or not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from benchmark.errors import InputError, PluginError, short_message
from benchmark.plugins.kinds import P


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
                f"The {self.kind} {self.name!r} of {self.place} cannot be made: "
                f"{short_message(error)}"
            ) from error
