"""``paper``: figures, tables and text of a paper from finished records and from experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from benchmark import reading as readings
from benchmark.commands import options, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.errors import InputError, StoreError
from benchmark.plugins import catalogue as catalogues
from benchmark.records import experiment as cards
from benchmark.records import registry as registries
from benchmark.records import store as stores
from benchmark.records.files import check_folder
from benchmark.records.storage import finished as stored
from benchmark.report.paper import evidence as gathering
from benchmark.report.paper import examples as pictured
from benchmark.report.paper import writer
from benchmark.results import explained_model, lookup
from benchmark.running import suite as suites
from leaderboard.board import scores
from leaderboard.published import cells as published
from leaderboard.published import folder as folders
from leaderboard.published import stored as on_disk

OUT = Path("paper")


def paper(
    records: Annotated[
        Path | None, typer.Option(help="A store, published records, or a folder of experiments.")
    ] = None,
    experiments: Annotated[
        Path | None, typer.Option(help="Folder of experiments that stand beside the records.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = OUT,
    suite: Annotated[
        str | None,
        typer.Option(help="Version of the suite whose records are used, where there are several."),
    ] = None,
    highlight: Annotated[
        list[str] | None,
        typer.Option(help="Method to draw in colour, up to five. Default: the best by mean rank."),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="path/to/file.py:Class of a protocol that is in no catalogue."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Write eight figures, two tables, captions, methods and a checklist, without a single pass."""
    with exit_on_error():
        if highlight and len(highlight) > gathering.MOST_HIGHLIGHTED:
            raise InputError(
                f"Expected at most {gathering.MOST_HIGHLIGHTED} methods to highlight but got "
                f"{len(highlight)}."
            )
        if records is None and experiments is None:
            records = options.STORE
        catalogue = catalogues.Catalogue()
        with terminal.FileBar(terminal.make_console(stderr=True, quiet=quiet)) as bar:
            cells, own_cards = _read(records, experiments, bar)
            chosen = _of_suite(cells, suite)
            protocols, left_out = _protocols_of(chosen, catalogue, protocol or ())
            chosen = [cell for cell in chosen if cell.names.protocol in protocols]
            if not chosen and not own_cards:
                raise StoreError(
                    f"Nothing in {records or experiments} can be shown. {' '.join(left_out)}"
                )
            check_folder(out)
            writer.check_folder(out)
            evidence = gathering.gather(chosen, protocols, own_cards, highlight or (), bar.show)
            if records is not None and stores.is_store(records):
                archive = stores.Store(records).arrays
                explained = explained_model.recall_explained_models(chosen, catalogue, archive)
                examples = pictured.find_examples(
                    evidence.sections, explained, evidence.highlighted
                )
                evidence = replace(evidence, examples=examples)
            made = writer.write_paper(out, evidence, left_out, bar.show)
        numbers = sorted({figure.specification.number for figure in made.figures})
        undone = [item for item in made.checklist if not item.is_done]
        lines = [
            *left_out,
            f"figures: {', '.join(map(str, numbers)) or 'none'} of 8",
            *(f"not done: {item.text}" for item in undone if item.command),
            f"paper: {made.tex}",
        ]
        terminal.print_lines(terminal.make_console(quiet=quiet), lines)


def _read(
    records: Path | None, experiments: Path | None, bar: terminal.FileBar
) -> tuple[list[stored.FinishedCell], list[cards.ExperimentCard]]:
    """Return the records and the cards of two folders, either of which may be missing."""
    cells: list[stored.FinishedCell] = []
    own_cards: list[cards.ExperimentCard] = []
    if records is not None and _holds_experiments(records):
        if experiments is not None and experiments != records:
            raise InputError(
                f"{records} holds experiments, and so does --experiments {experiments}; name one."
            )
        experiments = records
    elif records is not None:
        cells = _read_cells(records, bar)
    if experiments is not None:
        registry = registries.read_registry(experiments)
        own_cards = list(registry.cards)
        if not own_cards:
            faults = " ".join(fault.reason for fault in registry.faults)
            raise StoreError(f"The folder {experiments} holds no experiment. {faults}".strip())
    return cells, own_cards


def _holds_experiments(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob(f"EXP-*/{cards.CARD}"))


def _read_cells(folder: Path, bar: terminal.FileBar) -> list[stored.FinishedCell]:
    """Return the cells of a store or of published records, controls among them."""
    if (
        not stores.is_store(folder)
        and folder.is_dir()
        and any(folder.glob(f"*/*/*/*{folders.RECORD}"))
    ):
        return list(_published(folder, bar))
    cells = stored.read_cells(folder, bar.show)
    if not cells:
        raise StoreError(f"The folder {folder} holds no record.")
    versions = dict.fromkeys(cell.identity.suite for cell in cells)
    beside = [suites.published_controls(version).beside(cells) for version in versions]
    return [*cells, *chain.from_iterable(beside)]


def _published(folder: Path, bar: terminal.FileBar) -> list[published.PublishedCell]:
    """Return published records; subjects sort as on the board, so that intervals are the same."""
    records = on_disk.StoredRecords(folder, bar.show)
    if records.faults:
        raise StoreError(" ".join(str(fault) for fault in records.faults[:3]))
    samples: dict[tuple[str, str], list[readings.Sample]] = {}
    noise = records.noise
    for record in records.headers:
        own = noise.get(record.path, ())
        if (score := readings.find(own, record.scale.statistic)) is not None:
            key = record.names.cohort, record.names.model
            samples.setdefault(key, []).append(score.sample)
    orders = {key: scores.order_subjects(own) for key, own in samples.items()}
    return [
        published.PublishedCell(
            record, folder, orders.get((record.names.cohort, record.names.model), {})
        )
        for record in records.headers
    ]


def _of_suite(cells: Sequence[stored.FinishedCell], suite: str | None) -> list[stored.FinishedCell]:
    """Return the records of a suite; where there is one alone it need not be named.

    Raises:
        InputError: If there is none of the suite, or none was named of several.
    """
    known = sorted({cell.identity.suite for cell in cells})
    if suite is None and len(known) < 2:
        return list(cells)
    if suite is None:
        raise InputError(
            f"There are records of several suites; name one with --suite: {', '.join(known)}."
        )
    own = [cell for cell in cells if cell.identity.suite == suite]
    if not own:
        raise InputError(f"There is no record of suite {suite!r}; known: {', '.join(known)}.")
    return own


def _protocols_of(
    cells: Sequence[stored.FinishedCell], catalogue: catalogues.Catalogue, specs: Sequence[str]
) -> tuple[lookup.Protocols, list[str]]:
    """Return the protocols of the records, and a sentence on each that is not to be had."""
    named = {entry.name: entry for entry in map(catalogue.protocols.find, specs)}
    protocols, missing = {}, []
    versions = {cell.names.protocol: cell.identity.protocol.version for cell in cells}
    for name, version in versions.items():
        try:
            own = named.get(name) or catalogue.protocols.find_version(name, version)
            protocols[name] = own.plugin
        except InputError as error:
            missing.append(
                f"Records of protocol {name!r} are left out; name its file with --protocol. {error}"
            )
    return protocols, missing
