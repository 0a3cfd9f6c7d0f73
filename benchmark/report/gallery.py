"""The figures of one section: their files beside the page, and what the page embeds of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from benchmark.report.figures.style import save
from benchmark.report.webpage import Picture


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


class Gallery:
    """Saves the figures of one model and cohort, and keeps what the page needs of them.

    Args:
        folder: Folder of the report's figures.
        names: File names of the whole report.
        prefix: Names of the cohort and the model.

    Attributes:
        pictures: Figures of the page, in order.
    """

    def __init__(self, folder: Path, names: FileNames, prefix: tuple[str, str]) -> None:
        self._folder, self._names, self._prefix = folder, names, prefix
        self.pictures: list[Picture] = []

    def file_name(self, name: str) -> str:
        """Return a name, without an ending, for a file of this model and cohort."""
        return self._names.claim(*self._prefix, name)

    def add(
        self,
        name: str,
        figure: Figure,
        title: str,
        caption: str,
        kind: Literal["png", "svg"] = "svg",
    ) -> None:
        """Save a figure as PNG and SVG.

        Args:
            name: Part of its file name.
            figure: From a ``styled`` function.
            title: What it shows, in a few words.
            caption: How to read it.
            kind: Format that the page embeds.
        """
        png, svg = save(figure, self._folder / self.file_name(name))
        content = (png if kind == "png" else svg).read_bytes()
        self.pictures.append(Picture(title, caption, kind, content))
