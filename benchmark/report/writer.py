"""Writes the report of a run: a page, a table, figures and maps, all of them or none.

What draws is imported only once it is known that there is something new to draw.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from benchmark.errors import InputError, StoreError
from benchmark.explainer import Polarity, importance
from benchmark.protocol import Exhibit, SanityProtocol
from benchmark.records.identity import sha256_of
from benchmark.records.record import Record
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.health import protocol_health
from benchmark.results.paired import aligned_pairs
from benchmark.results.summary import summarise_records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark.report.webpage import Picture, Section
    from benchmark.results.result import Result

Protocols = Mapping[str, type[SanityProtocol[Any]]]

MARKER = "report.json"
_KIND = "medsanity report"
_PACKAGE = Path(__file__).parents[1]
# Whatever decides a byte of the report beside its inputs and its protocols.
_SOURCES = ("maps", "report", "results", "statistics", "reading.py")


def write_report(
    folder: Path,
    records: Sequence[Record],
    exhibits: Sequence[ExplainedModel],
    protocols: Protocols,
) -> Path:
    """Write index.html, summary.csv, figures and maps; nothing is done if they are there already.

    Everything is made in a temporary folder beside ``folder``, which then takes its place.

    Args:
        folder: New, empty, or an earlier report.
        records: Of any models and cohorts; at least one.
        exhibits: Maps and model outputs of those models and cohorts that have some at hand.
        protocols: Classes by name, of all records.

    Returns:
        Path of the page.

    Raises:
        InputError: If there are no records.
        UnknownNameError: If a record's protocol is not among ``protocols``.
        StoreError: If the folder holds anything but a report, or cannot be written.
    """
    if not records:
        raise InputError("There are no records to report.")
    page = Path(folder) / "index.html"
    try:
        target = Path(folder).resolve()
        earlier = _read_marker(target)
        digest = _digest(records, exhibits, protocols)
        if earlier is not None and _is_whole(target, earlier, digest):
            return page
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
        temporary.mkdir()
        try:
            _render(temporary, records, exhibits, protocols)
            _write_marker(temporary, digest)
            _swap(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"The report cannot be written to {folder}: {error.strerror or error}."
        ) from error
    return page


def check_folder(folder: Path) -> None:
    """Refuse a folder that a report cannot take the place of, before anything is computed for it.

    Args:
        folder: New, empty, or an earlier report.

    Raises:
        StoreError: If it is a file, or holds what no report wrote.
    """
    _read_marker(Path(folder).resolve())


def _render(
    folder: Path,
    records: Sequence[Record],
    exhibits: Sequence[ExplainedModel],
    protocols: Protocols,
) -> None:
    from benchmark.report.webpage import render_page
    from benchmark.results.table import to_csv

    results = summarise_records(records, protocols)
    (folder / "summary.csv").write_text(to_csv(results), encoding="utf-8")
    for name in ("figures", "maps"):
        (folder / name).mkdir()
    stems = _Stems()
    groups: dict[tuple[str, ...], list[tuple[Record, Result]]] = {}
    for record, result in zip(records, results, strict=True):
        identity = record.identity
        group = (identity.cohort_fingerprint, identity.weights_sha256, identity.suite)
        groups.setdefault((result.cohort, result.model, *group), []).append((record, result))
    # Two models of one name: nothing says whose the maps are, so none are shown.
    called = Counter(names[:2] for names in {key[:4] for key in groups})
    exhibit_of = {(one.cohort.name, one.model): one for one in exhibits}
    sections = []
    for key, own in groups.items():
        shown = exhibit_of.get((key[0], key[1])) if called[key[:2]] == 1 else None
        sections.append(_section(folder, stems, own, shown, protocols))
    page = render_page(sections, protocols)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _section(
    folder: Path,
    stems: _Stems,
    pairs: Sequence[tuple[Record, Result]],
    shown: ExplainedModel | None,
    protocols: Protocols,
) -> Section:
    from benchmark.report import webpage
    from benchmark.report.figures import forest

    records = [record for record, _ in pairs]
    record_of = {id(result): record for record, result in pairs}
    results = forest.arrange([result for _, result in pairs], protocols)
    gallery = _Gallery(folder / "figures", stems, (results[0].cohort, results[0].model))
    gallery.add(
        "scores",
        forest.draw_forest(results, protocols),
        "Scores",
        "Points are means over subjects, lines their 95 % intervals; controls are grey. "
        "The dashed line is the score of a map of noise.",
    )
    if shown is not None:
        names = list(dict.fromkeys(one.explainer for one in results))
        _show_maps(folder / "maps", gallery, shown, names)
    _show_statistics(gallery, results, protocols)
    ordered = [record_of[id(one)] for one in results]
    _show_drawings(gallery, ordered, {} if shown is None else shown.exhibits, protocols)
    return webpage.Section(
        cohort=results[0].cohort,
        model=results[0].model,
        results=results,
        records=ordered,
        health=protocol_health(records, protocols),
        comparisons=aligned_pairs(records, protocols),
        metrics=None if shown is None else webpage.measure_model(shown),
        pictures=gallery.pictures,
    )


def _show_maps(
    folder: Path, gallery: _Gallery, shown: ExplainedModel, explainers: Sequence[str]
) -> None:
    """Write each explainer's maps and draw some; only one explainer's are in memory at a time."""
    from benchmark.report import map_files as mapfiles
    from benchmark.report.figures import overlays

    chosen = overlays.choose_rows(shown.cohort, shown.evaluation)
    tiles = overlays.cut_tiles(shown.cohort, shown.evaluation, chosen)
    rows = mapfiles.rows_to_write(shown, chosen)
    planes, absent = {}, [name for name in explainers if name not in shown.attributions]
    for name in (name for name in explainers if name in shown.attributions):
        maps = shown.attributions[name]
        path = folder / f"{gallery.stem(name)}.nii.gz"
        mapfiles.write_maps(path, maps[rows], shown.cohort.geometry.affine, name)
        polarity: Polarity = "positive" if shown.polarities[name] == "positive" else "absolute"
        ranked = importance(torch.from_numpy(maps[chosen]), polarity).numpy()
        planes[name] = tiles.planes.cut(ranked).astype(np.float32)
    mapfiles.write_rows(folder / f"{gallery.stem('volumes')}.tsv", shown, rows, chosen)
    gallery.add(
        "overlays",
        overlays.draw_overlays(tiles, planes),
        "Maps over images",
        "Test subjects of both groups, from the one that the model is surest about downwards, with "
        "the probability that it gives their own group. Each map is scaled by itself: compare "
        "places, not strengths. Cyan outlines the regions that the disease changes, dashed grey "
        "the control regions." + (f" No maps were kept of {', '.join(absent)}." if absent else ""),
        kind="png",
    )


def _show_statistics(gallery: _Gallery, results: Sequence[Result], protocols: Protocols) -> None:
    from benchmark.report.figures import readings as figures

    for name, protocol in protocols.items():
        own = [one for one in results if one.protocol == name]
        for statistic in protocol.statistics:
            if figures.is_drawable(own, statistic):
                sentence = statistic.description[:1].upper() + statistic.description[1:]
                gallery.add(
                    f"{name}_{statistic.name}",
                    figures.draw_statistic(own, statistic),
                    f"{name}: {statistic.name}",
                    f"{sentence}; means over subjects with 95 % intervals. "
                    "Grey is what the map is compared with.",
                )


def _show_drawings(
    gallery: _Gallery,
    records: Sequence[Record],
    exhibits: Mapping[str, Mapping[str, Exhibit]],
    protocols: Protocols,
) -> None:
    for name, protocol in protocols.items():
        readings = {
            one.names.explainer: one.to_readings()
            for one in records
            if one.names.protocol == name and one.readings
        }
        if readings:
            for one in protocol.drawings(exhibits.get(name, {}), readings):
                stem = f"{name}_{one.name}"
                gallery.add(stem, one.draw(), f"{name}: {one.title}", one.caption, one.kind)


class _Gallery:
    """Saves figures of one model and cohort, and keeps what the page needs of them."""

    def __init__(self, folder: Path, stems: _Stems, pair: tuple[str, str]) -> None:
        self._folder, self._stems, self._pair = folder, stems, pair
        self.pictures: list[Picture] = []

    def stem(self, name: str) -> str:
        return self._stems.claim(*self._pair, name)

    def add(self, name: str, figure: Figure, title: str, caption: str, kind: str = "svg") -> None:
        from benchmark.report.figures.style import save
        from benchmark.report.webpage import Picture

        png, svg = save(figure, self._folder / self.stem(name))
        if kind == "png":
            self.pictures.append(Picture(title, caption, "png", png.read_bytes()))
        else:
            self.pictures.append(Picture(title, caption, "svg", svg.read_bytes()))


class _Stems:
    """File names made of names that may hold anything, each given once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def claim(self, *parts: str) -> str:
        safe = [re.sub(r"[^A-Za-z0-9.-]+", "_", part).strip("._")[:60] or "_" for part in parts]
        stem, count = "_".join(safe), 1
        while (name := stem if count == 1 else f"{stem}-{count}").casefold() in self._given:
            count += 1
        self._given.add(name.casefold())
        return name


def _digest(
    records: Sequence[Record], exhibits: Sequence[ExplainedModel], protocols: Protocols
) -> str:
    return sha256_of(
        {
            "sources": [_source_hash(_PACKAGE / name) for name in _SOURCES],
            "records": [one.checksum for one in records],
            "exhibits": [_describe(one) for one in exhibits],
            "protocols": [
                [
                    name,
                    _protocol_hash(one),
                    one.primary,
                    one.chance,
                    one.margin,
                    repr(one.statistics),
                ]
                for name, one in protocols.items()
            ],
        }
    )


def _protocol_hash(protocol: type[SanityProtocol[Any]]) -> str:
    """Return the hash of a protocol's file, or of the whole package that its figures may be in."""
    module = sys.modules.get(protocol.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None or not Path(file).is_file():
        return sha256_of(protocol.title)
    return _source_hash(Path(file).parent if module.__package__ else Path(file))


def _source_hash(path: Path) -> str:
    """Return the hash of a file, or of all files below a folder with their names."""
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return sha256_of(
        {
            file.relative_to(path.parent).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.suffix != ".pyc"
        }
    )


def _describe(shown: ExplainedModel) -> dict[str, object]:
    cohort = shown.cohort
    return {
        "cohort": [cohort.name, cohort.fingerprint, *cohort.keys],
        "model": shown.model,
        "logits": _hash(shown.evaluation.logits),
        "maps": [
            [name, shown.polarities[name], _hash(maps)] for name, maps in shown.attributions.items()
        ],
        "exhibits": [
            [protocol, name, {key: _hash(array) for key, array in sorted(arrays.items())}]
            for protocol, by_explainer in sorted(shown.exhibits.items())
            for name, arrays in sorted(by_explainer.items())
        ],
    }


def _hash(array: npt.NDArray[np.generic]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _read_marker(target: Path) -> dict[str, Any] | None:
    """Return what an earlier report left, or None where the folder is new or empty.

    Raises:
        StoreError: If it is not a folder, or holds what no report wrote.
    """
    if not target.exists():
        return None
    if not target.is_dir():
        raise StoreError(f"{target} is a file; a folder was expected for the report.")
    # Hidden files are the system's, such as .DS_Store, and no reason to refuse.
    held = {
        path.relative_to(target).as_posix()
        for path in target.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    if not held:
        return None
    try:
        marker = json.loads((target / MARKER).read_text("utf-8"))
        known = {MARKER, *marker["files"]} if marker["kind"] == _KIND else set()
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    if foreign := sorted(held - known):
        raise StoreError(
            f"The folder {target} holds {foreign[0]!r}, which no report wrote; "
            "choose a new or empty folder, or an earlier report."
        )
    return dict(marker)


def _write_marker(folder: Path, digest: str) -> None:
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    marker = {"kind": _KIND, "digest": digest, "files": files}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")


def _is_whole(target: Path, marker: Mapping[str, Any], digest: str) -> bool:
    return marker.get("digest") == digest and all(
        (target / name).is_file() and (target / name).stat().st_size == size
        for name, size in marker["files"].items()
    )


def _swap(new: Path, target: Path) -> None:
    """Put a finished folder in the place of another, which comes back if that fails."""
    old = new.with_suffix(".old")
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
