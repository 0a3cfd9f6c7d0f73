"""Pictures of edits: what each changes, and the edited image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from benchmark.protocol import Drawing, Exhibit
from benchmark.report.figures.image_rows import Tile, draw_image_rows
from benchmark.report.figures.planes import Planes, find_exhibit_planes
from benchmark.report.figures.sides import describe_sides
from protocols.counterfactual.statistics import EXPLAINER

_EDIT = "edit "


def edit_drawings(exhibits: Mapping[str, Exhibit]) -> Iterator[Drawing]:
    """Yield the edits of one subject of each group."""
    edited = {name: own for name, own in exhibits.items() if _EDIT + EXPLAINER in own}
    if not edited:
        return
    name, exhibit = next(iter(edited.items()))
    planes = _planes(exhibit)
    yield Drawing(
        "edits",
        "What each edit changes",
        "One subject of each group: the change, and the edited image. Changes are drawn on grey: "
        "brighter than before is light, darker is dark, and each edit's largest change is black or "
        "white; the number says how large it is, in grey values. "
        f"{describe_sides(planes.letters)}",
        lambda: draw_image_rows(
            [_image_row(exhibit, planes)]
            + [_row(label, own, edit) for label, own, edit in _edits(edited, name)],
            planes.aspect,
            millimetres=planes.millimetres,
        ),
        "png",
    )


def _edits(edited: Mapping[str, Exhibit], first: str) -> Iterator[tuple[str, Exhibit, str]]:
    """Yield label, exhibit and array of each method's edit, then of those that need no method."""
    for name, exhibit in edited.items():
        yield name, exhibit, _EDIT + EXPLAINER
    for part in edited[first]:
        if part.startswith(_EDIT) and part != _EDIT + EXPLAINER:
            yield part.removeprefix(_EDIT), edited[first], part


def _image_row(exhibit: Exhibit, planes: Planes) -> tuple[str, list[Tile]]:
    tiles = []
    for position, group in enumerate(np.asarray(exhibit["groups"]).tolist()):
        image = planes.cut_one(exhibit["image"], position)
        blank = Tile(np.ones_like(image))
        tiles += [blank, Tile(image, str(group), letters=planes.letters[position])]
    return "image", tiles


def _row(label: str, exhibit: Exhibit, edit: str) -> tuple[str, list[Tile]]:
    planes, tiles = _planes(exhibit), []
    for position in range(len(np.asarray(exhibit["groups"]))):
        image = planes.cut_one(exhibit["image"], position)
        edited = planes.cut_one(exhibit[edit], position)
        change, letters = edited - image, planes.letters[position]
        largest = float(np.abs(change).max()) or 1.0
        grey = (0.5 + change / (2 * largest)).astype(np.float32)
        tiles += [
            Tile(grey, f"up to {largest:.3f}", letters=letters),
            Tile(edited, "edited", letters=letters),
        ]
    return label.replace(" ", "\N{NO-BREAK SPACE}"), tiles


def _planes(exhibit: Exhibit) -> Planes:
    """Return the plane of each subject through what the method's own edit changes most."""
    change = np.abs(
        np.asarray(exhibit[_EDIT + EXPLAINER], np.float32)
        - np.asarray(exhibit["image"], np.float32)
    )
    axes = tuple(range(1, change.ndim))
    return find_exhibit_planes(exhibit, change >= change.max(axis=axes, keepdims=True) / 2)
