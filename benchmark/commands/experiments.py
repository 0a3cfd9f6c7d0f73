"""``experiments``: the registry of trainings, and comparisons of the networks that came of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from benchmark.commands import options, tables, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.records import registry as registries
from benchmark.records.files import check_file, write_text
from benchmark.report import experiment_table
from benchmark.report import experiments as pages
from benchmark.running import experiment_files

_STYLES = {"finished": "green", "stopped early": "green", "failed": "red", "running": "cyan"}


def experiments(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Two or more are compared; all unless given.")
    ] = None,
    folder: options.Experiments = options.EXPERIMENTS,
    csv: Annotated[Path | None, typer.Option(help="Also write a row an experiment here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write a table here.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page here.")] = None,
    json_file: options.Json = None,
) -> None:
    """List the experiments of a folder, or compare some of them on the same test subjects."""
    with exit_on_error():
        files = [path for path in (csv, markdown, html, json_file) if path is not None]
        for path in files:
            check_file(path)
        registry = registries.read_registry(folder)
        if ids:
            chosen = registry.select(list(dict.fromkeys(ids)))
            registry = replace(registry, cards=chosen, faults=())
        compared = _compare(registry) if ids and len(registry.cards) > 1 else []

        console = terminal.make_console()
        console.print(_table(registry))
        for pair in compared:
            console.print(_comparison(pair))
        for card in registry.cards:
            tables.print_sentences(console, (f"{card.id}: {text}" for text in card.warnings))
        faults = (f"left out: {fault.reason}" for fault in registry.faults)
        tables.print_sentences(terminal.make_console(stderr=True), faults)

        if csv is not None:
            write_text(csv, experiment_table.to_csv(registry.cards))
        if markdown is not None:
            write_text(markdown, experiment_table.to_markdown(registry.cards))
        if html is not None:
            write_text(html, pages.render_registry(registry, compared))
        if json_file is not None:
            write_text(json_file, experiment_table.to_json(registry, compared))


def _compare(registry: registries.Registry) -> list[experiment_table.Compared]:
    """Return every other experiment compared with the first."""
    first, *others = registry.cards
    return [
        experiment_table.Compared(
            first.id, card.id, experiment_files.compare_networks(registry.folder, first, card)
        )
        for card in others
    ]


def _table(registry: registries.Registry) -> tables.FittedTable:
    first, *others = experiment_table.GROUPS
    columns = [tables.Column(first, "title")]
    columns += [tables.Column(heading, "prose") for heading in others]
    columns.append(tables.Column("s", "number", label="seconds"))
    table = tables.FittedTable(columns, f"experiments in {registry.folder}", with_lines=True)
    for card in registry.cards:
        groups = experiment_table.group_columns(card)
        cells = [Text("\n".join(lines)) for lines in groups.values()]
        cells[0].stylize(_STYLES.get(card.present_status, "yellow"), len(card.id))
        table.add_row(*cells, f"{card.seconds:.0f}")
    return table


def _comparison(pair: experiment_table.Compared) -> tables.FittedTable:
    comparison = pair.comparison
    title = (
        f"{pair.second} compared with {pair.first}: {comparison.images} test images of "
        f"{comparison.subjects} subjects"
    )
    headings = pair.first, pair.second, f"{pair.second} − {pair.first}"
    numbers = (tables.Column(heading, "number") for heading in headings)
    table = tables.FittedTable([tables.Column("metric", "title"), *numbers], title)
    sides = zip(comparison.first, comparison.second, comparison.differences, strict=True)
    for metrics in sides:
        label = experiment_table.metric_label(metrics[0].name)
        table.add_row(label, *map(experiment_table.format_metric, metrics))
    return table
