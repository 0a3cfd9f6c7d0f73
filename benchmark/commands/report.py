"""``report``: finished records in, a report out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, tables, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.errors import InputError, StoreError
from benchmark.plugins import catalogue as catalogues
from benchmark.records import store as stores
from benchmark.records.files import check_folder, write_text
from benchmark.records.storage import finished as stored
from benchmark.report import writer
from benchmark.results import explained_model, health, lookup, result, summary
from benchmark.running import suite as suites


def report(
    records: Annotated[Path, typer.Option(help="A store, or a folder of records.")] = options.STORE,
    out: options.Out = options.REPORT,
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="path/to/file.py:Class of a protocol that is in no catalogue."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="model.toml, its folder, or path/to/file.py:Class of a scored model."),
    ] = None,
    cohort: Annotated[
        list[str] | None,
        typer.Option(help="cohort.toml, or path/to/file.py:Class of a scored cohort."),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(help="Version of the suite whose records are shown, where there are several."),
    ] = None,
    json_file: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """Write the report of finished runs, without a single pass."""
    with exit_on_error():
        catalogue = catalogues.Catalogue()
        for spec in model or ():
            catalogue.models.include(spec)
        for spec in cohort or ():
            name = catalogue.cohorts.find(spec).create().load().name
            catalogue.cohorts.include(spec, name)
        console, notes = terminal.make_console(), terminal.make_console(quiet=quiet)
        with terminal.FileBar(terminal.make_console(stderr=True, quiet=quiet)) as bar:
            cells = stored.read_cells(records, bar.show)
        archive = stores.Store(records) if stores.is_store(records) else None
        if not cells:
            raise StoreError(f"The folder {records} holds no record.")
        finished = _with_controls(_of_suite(cells, suite))
        protocols, missing = _protocols_of(finished, catalogue, protocol or ())
        finished = [record for record in finished if record.names.protocol in protocols]
        if not finished:
            raise StoreError(f"Nothing in {records} can be reported. {' '.join(missing)}")
        folder = report_folder(str(out), sharded=False)
        explained: Sequence[explained_model.ExplainedModel] = ()
        if archive is not None:
            explained = explained_model.recall_explained_models(finished, catalogue, archive.arrays)

        controls = terminal.controls(catalogue.explainers.entries)
        judged = health.protocol_health(finished, protocols)
        kept: dict[str, result.Result] = {}
        for own in lookup.by_model(finished):  # the results of all together need not be held
            results = summary.summarise_records(own, protocols, json_file is not None)
            terminal.print_results(console, results, controls)
            terminal.print_bottom_lines(console, results, judged, protocols)
            if json_file is not None:
                kept |= zip((record.checksum for record in own), results, strict=True)
        terminal.print_conclusions(notes, finished, judged, explained, protocols)
        tables.print_sentences(notes, missing)
        if json_file is not None:
            versions = " ".join(dict.fromkeys(record.identity.suite for record in finished))
            ordered = [kept[record.checksum] for record in finished]
            write_text(json_file, result.to_json(versions, ordered))
        if folder is not None:
            page = writer.write_report(folder, finished, explained, protocols)
            terminal.print_lines(notes, [f"report: {page}"])


def report_folder(text: str | None, sharded: bool) -> Path | None:
    """Return the folder after making sure that it can be written to; None for no report."""
    if text == "none" or (text is None and sharded):
        return None
    folder = options.REPORT if text is None else Path(text)
    check_folder(folder)
    writer.check_folder(folder)
    check_folder(folder.resolve().parent)  # where the report is made before it takes its place
    return folder


def _of_suite(
    records: Sequence[stored.FinishedCell], suite: str | None
) -> list[stored.FinishedCell]:
    """Return the records of a suite; of all, unless they hold two versions of one protocol.

    Raises:
        InputError: If there is none of the suite, or no suite was named where one must be.
    """
    suites = sorted({record.identity.suite for record in records})
    if suite is not None:
        own = [record for record in records if record.identity.suite == suite]
        if not own:
            raise InputError(f"There is no record of suite {suite!r}; known: {', '.join(suites)}.")
        return own
    majors: dict[str, set[str]] = {}
    for record in records:
        protocol = record.identity.protocol
        majors.setdefault(protocol.name, set()).add(protocol.version.partition(".")[0])
    if several := [name for name, versions in majors.items() if len(versions) > 1]:
        raise InputError(
            f"There are records of {several[0]!r} in versions that do not compare; name the suite "
            f"to report with --suite: {', '.join(suites)}."
        )
    return list(records)


def _with_controls(records: Sequence[stored.FinishedCell]) -> list[stored.FinishedCell]:
    """Return records and the published controls that stand beside them, as a run shows them."""
    versions = dict.fromkeys(record.identity.suite for record in records)
    published = [suites.published_controls(version).beside(records) for version in versions]
    return [*records, *chain.from_iterable(published)]


def _protocols_of(
    records: Sequence[stored.FinishedCell], catalogue: catalogues.Catalogue, specs: Sequence[str]
) -> tuple[lookup.Protocols, list[str]]:
    """Return the protocols that judge the records, and a line on each that is not to be had."""
    named = {entry.name: entry for entry in map(catalogue.protocols.find, specs)}
    protocols, missing = {}, []
    versions = {record.names.protocol: record.identity.protocol.version for record in records}
    for name, version in versions.items():
        try:
            own = named.get(name) or catalogue.protocols.find_version(name, version)
            protocols[name] = own.plugin
        except InputError as error:
            missing.append(
                f"Records of protocol {name!r} are left out; name its file with --protocol. {error}"
            )
    return protocols, missing
