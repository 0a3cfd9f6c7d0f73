"""File names made of the names of cohorts, models and subjects, which may hold anything."""

from __future__ import annotations

import re


class FileNames:
    """Gives out file names made of names that may hold anything, none of them twice."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def claim(self, *parts: str) -> str:
        """Return a name, without an ending, that no other parts were given."""
        safe = [re.sub(r"[^A-Za-z0-9.-]+", "_", part).strip("._")[:60] or "_" for part in parts]
        stem, count = "_".join(safe), 1
        while (name := stem if count == 1 else f"{stem}-{count}").casefold() in self._given:
            count += 1
        self._given.add(name.casefold())
        return name
