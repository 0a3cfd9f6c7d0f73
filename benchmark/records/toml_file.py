"""Files in TOML: read in one place, and written from plain values."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from benchmark.errors import InputError
from benchmark.records.files import read_bounded

MOST_BYTES = 2**20
DEEPEST = 20  # of tables and lists in one another; pydantic ends at some hundreds

_MOST_DOTS = 1000  # in a line
_LONGEST = 120  # of a name or a value in a message
_BARE = re.compile(r"[\w-]+", re.ASCII)


def read_toml(path: Path, kind: str, error_class: type[InputError]) -> dict[str, Any]:
    """Return the contents of a file.

    Args:
        path: Path of the file.
        kind: Kind of file for messages, such as ``"cohort file"``.
        error_class: Class of what is raised if the file is missing, or is no TOML.
    """
    content = read_bounded(path, kind, error_class, MOST_BYTES)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise error_class(f"The {kind} {path} is no TOML: it is not UTF-8 text.") from error
    return parse_toml(text, f"{kind} {path}", error_class)


def parse_toml(text: str, source: str, error_class: type[InputError]) -> dict[str, Any]:
    """Return the contents of a text.

    Args:
        text: Text in TOML.
        source: Kind and name of the file for messages.
        error_class: Class of what is raised if the text is no TOML, or nested beyond ``DEEPEST``.
    """
    # tomllib takes a time that grows with the square of a dotted key's length.
    if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
        raise error_class(f"The {source} has a line of more than {_MOST_DOTS} dots.")
    try:
        content = tomllib.loads(text.removeprefix("\ufeff"))
        is_deep = _depth(content) > DEEPEST
    except RecursionError:
        is_deep = True
    except ValueError as error:  # a broken TOML, or a number of too many digits
        raise error_class(f"The {source} is no TOML: {shorten(str(error))}.") from error
    if is_deep:
        raise error_class(f"The {source} nests its tables or lists more than {DEEPEST} deep.")
    return content


def describe_fault(
    error: ValidationError, content: Mapping[str, object], schema: type[BaseModel]
) -> str:
    """Return what is wrong with the contents of a file, as the end of a sentence about it.

    An unknown key comes first: it is often the one that is missing, written otherwise.

    Args:
        error: Error of the schema.
        content: Contents of the file.
        schema: Schema that they were checked by.
    """
    fault = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    key = shorten(".".join(str(part) for part in fault["loc"]))
    if fault["type"] == "extra_forbidden":
        fields = _table_at(schema, fault["loc"][:-1]).model_fields
        nearest = difflib.get_close_matches(shorten(str(fault["loc"][-1])), fields, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        return f"has the unknown key {key!r}.{hint} Known: {', '.join(fields)}"
    if fault["type"] == "missing":
        return f"lacks the key {key!r}; it has {list_some(content)}"
    message = shorten(fault["msg"].removeprefix("Value error, "), 400)
    return f"has a wrong {key!r}: {message}" if key else f"is wrong: {message}"


def format_toml(settings: Mapping[str, object]) -> str:
    """Return settings as lines of TOML, tables among them within their line."""
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in settings.items())


def list_some(names: Iterable[str], most: int = 12) -> str:
    """Return names in one line, no more of them than a message can hold."""
    listed = list(names)
    listing = ", ".join(shorten(name) for name in listed[:most])
    return (f"{listing}, … ({len(listed)} in all)" if len(listed) > most else listing) or "none"


def shorten(text: str, most: int = _LONGEST) -> str:
    """Return a text for a message, cut where it is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[:most]}…"


def _depth(content: object) -> int:
    """Return how many tables and lists lie in one another."""
    parts = (
        list(content.values())
        if isinstance(content, dict)
        else content
        if isinstance(content, list)
        else None
    )
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)


def _table_at(schema: type[BaseModel], names: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the schema of a table within a table."""
    for name in names:
        annotation = schema.model_fields[str(name)].annotation
        types = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        schema = next(kind for kind in types if issubclass(kind, BaseModel))
    return schema


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        parts = [f"{_key(name)} = {_value(part)}" for name, part in value.items()]
        return f"{{ {', '.join(parts)} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's strings, numbers and booleans are TOML's, as long as no character is split in two.
    return json.dumps(value, ensure_ascii=False)
