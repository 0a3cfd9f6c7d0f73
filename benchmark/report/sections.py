"""Sections of the page: figures, maps and numbers of one model on one cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmark.explainer import NO_EXPLAINER, importance
from benchmark.protocol import Exhibit, Table
from benchmark.records.storage.finished import FinishedCell
from benchmark.report import map_files
from benchmark.report.contents.embedding import embed_drawing, embed_images
from benchmark.report.contents.section import Kind, Picture, Section, measure_model
from benchmark.report.figures import forest, overlays, statistic_plots
from benchmark.report.figures.sides import answer_sides, describe_sides
from benchmark.report.figures.style import PRINT_DPI, save, save_print
from benchmark.report.file_names import FileNames
from benchmark.results.conclusions.bottom_line import bottom_lines
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.health import protocol_health
from benchmark.results.lookup import Protocols
from benchmark.results.paired import aligned_pairs
from benchmark.results.result import Result
from benchmark.results.table import write_table


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

    def add(self, name: str, figure: Figure, title: str, caption: str, kind: Kind = "svg") -> None:
        """Save a ``styled`` figure as PNG and SVG, and keep it for the page.

        Pictures of images, whose kind is PNG, are saved for print as well.
        """
        save(figure, self._folder / self.file_name(name))
        if kind == "png":
            save_print(figure, self._folder / self.file_name(f"{name}_{PRINT_DPI}dpi"))
            content = embed_images(figure)
        else:
            content = embed_drawing(figure)
        self.pictures.append(Picture(title, caption, kind, content))

    def stack(self, svg: bytes) -> None:
        """Keep the last picture for a narrow screen too, as this SVG."""
        self.pictures[-1] = replace(self.pictures[-1], stacked=svg)


def build_section(
    folder: Path,
    names: FileNames,
    pairs: Sequence[tuple[FinishedCell, Result]],
    explained: ExplainedModel | None,
    protocols: Protocols,
) -> Section:
    """Write the figures, maps and tables of a model on a cohort, and return its part of the page.

    Args:
        folder: Folder of the report, with ``figures`` and ``maps`` inside.
        names: File names that the report has given out.
        pairs: Records with their results, of one model and cohort.
        explained: Maps and outputs of the model, or None where none were kept.
        protocols: Protocols of the whole report.
    """
    record_of = {id(result): record for record, result in pairs}
    results = forest.arrange([result for _, result in pairs], protocols)
    records = [record_of[id(result)] for result in results]
    cohort, model = results[0].cohort, results[0].model
    gallery = Gallery(folder / "figures", names, (cohort, model))
    mapped = [result for result in results if result.explainer != NO_EXPLAINER]
    if mapped:
        gallery.add(
            "scores",
            forest.draw_forest(mapped, protocols),
            "Scores",
            "A point is the mean over subjects, the line through it the 95 % interval. Controls "
            "are grey. The dashed line is the score of a map of noise.",
        )
        gallery.stack(embed_drawing(forest.draw_stacked_forest(mapped, protocols)))
    sides = ""
    if explained is not None and mapped:
        explainers = list(dict.fromkeys(result.explainer for result in mapped))
        sides = _add_maps(folder / "maps", gallery, explained, explainers)
    _add_statistics(gallery, results, protocols)
    exhibits = {} if explained is None else explained.exhibits
    tables = _add_own_parts(folder, gallery, records, exhibits, protocols)
    health = protocol_health([record for record, _ in pairs], protocols)
    return Section(
        cohort=cohort,
        model=model,
        results=results,
        records=records,
        health=health,
        comparisons=aligned_pairs([record for record, _ in pairs], protocols),
        metrics=None if explained is None else measure_model(explained),
        pictures=gallery.pictures,
        tables=tables,
        lines=bottom_lines(results, protocols, health),
        sides=sides,
    )


def _add_maps(
    folder: Path, gallery: Gallery, explained: ExplainedModel, explainers: Sequence[str]
) -> str:
    """Write images and maps, and draw some; only one explainer's maps are in memory at a time.

    Returns:
        A sentence on where left is in the pictures.
    """
    cohort = explained.cohort
    rows_drawn = overlays.choose_rows(cohort, explained.evaluation)
    tiles = overlays.cut_tiles(cohort, explained.evaluation, rows_drawn)
    files = map_files.MapFiles(folder, gallery.file_name, explained, rows_drawn)
    files.write_images()
    files.write_rows()
    kept = [name for name in explainers if name in explained.attributions]
    absent = [name for name in explainers if name not in explained.attributions]
    planes = {}
    for name in kept:
        maps = explained.attributions[name]
        files.write_maps(name, maps)
        signed = torch.from_numpy(maps[rows_drawn])
        ranked = importance(signed, explained.polarities[name]).numpy()
        planes[name] = tiles.planes.cut(ranked).astype(np.float32)
    gallery.add(
        "overlays",
        overlays.draw_overlays(tiles, planes),
        "Maps over images",
        "Test subjects of both groups. Within a group, the model is surest about the subject at "
        "the top; beside each stands the probability that the model gives to the subject's own "
        "group. Every map has a colour scale of its own: compare where maps are bright, not how "
        "bright they are. Solid cyan lines outline the regions that the disease changes, dashed "
        f"white lines the control regions. {describe_sides(tiles.planes.letters)}"
        + (f" No maps were kept of {', '.join(absent)}." if absent else ""),
        kind="png",
    )
    return answer_sides(tiles.planes.letters)


def _add_statistics(gallery: Gallery, results: Sequence[Result], protocols: Protocols) -> None:
    for name, protocol in protocols.items():
        own = [result for result in results if result.protocol == name]
        for statistic in protocol.statistics:
            if statistic_plots.is_drawable(own, statistic):
                figure = statistic_plots.draw_statistic(own, statistic)
                caption = statistic_plots.describe_statistic(own, statistic)
                stem, title = f"{name}_{statistic.name}", f"{name}: {statistic.name}"
                gallery.add(stem, figure, title, caption)


def _add_own_parts(
    folder: Path,
    gallery: Gallery,
    records: Sequence[FinishedCell],
    exhibits: Mapping[str, Exhibit],
    protocols: Protocols,
) -> list[Table]:
    """Write what protocols add: drawings, images of the population as NIfTI, and tables as CSV.

    Returns:
        The tables, for the page.
    """
    tables = []
    for name, protocol in protocols.items():
        measured = {
            record.names.explainer: record
            for record in records
            if record.names.protocol == name and record.has_readings
        }
        if not measured:
            continue
        readings = {explainer: record.to_readings() for explainer, record in measured.items()}
        kept = {
            explainer: exhibits[record.identity_sha256]
            for explainer, record in measured.items()
            if record.identity_sha256 in exhibits
        }
        for drawing in protocol.drawings(kept, readings):
            stem, title = f"{name}_{drawing.name}", f"{name}: {drawing.title}"
            gallery.add(stem, drawing.draw(), title, drawing.caption, drawing.kind)
        for volume in protocol.volumes(kept):
            path = folder / "maps" / f"{gallery.file_name(f'{name}_{volume.name}')}.nii.gz"
            map_files.write_volumes(path, volume.values, volume.geometry, volume.description)
        for table in protocol.tables(readings):
            path = folder / "tables" / f"{gallery.file_name(f'{name}_{table.name}')}.csv"
            path.parent.mkdir(exist_ok=True)
            path.write_text(write_table(table.columns, table.rows), encoding="utf-8")
            tables.append(replace(table, title=f"{name}: {table.title}"))
    return tables
