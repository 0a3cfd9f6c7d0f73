"""``publish``: what a store has finished, as records that a board is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from benchmark import explainer as explainers
from benchmark.commands import options, tables, terminal
from benchmark.commands.exits import FAILED, exit_on_error
from benchmark.errors import InputError, StoreError
from benchmark.plugins import catalogue as catalogues
from benchmark.records import store as stores
from benchmark.records.files import check_folder
from benchmark.records.storage import finished as stored
from benchmark.running import device as devices
from benchmark.running import suite as suites
from leaderboard.commands import overlays as drawings
from leaderboard.published import fault as faults
from leaderboard.published import fields, folder, pseudonyms
from leaderboard.published import record as records
from leaderboard.submission import comparison, from_plugins, own_methods
from leaderboard.submission import rerun as reruns
from leaderboard.submission.admission import tiers

_NOT_INSTALLED = "it is not installed here."
_GUEST = "it is a metric of another library, and stands on no board."
_SECONDS, _GIB = 3600, 8  # what a worker may use for a request, and its memory

# A record and its sidecar; as text, since its class takes long to import.
Publication: TypeAlias = "tuple[records.PublishedRecord, bytes | None]"


def publish(
    out: Annotated[Path, typer.Option(help="Folder of records to write.")],
    store: Annotated[Path, typer.Option(help="Store of finished cells.")] = options.STORE,
    suite: options.Suite = "v1",
    submitter: options.Submitter = "medsanity",
    tier: Annotated[
        str, typer.Option(help="Who vouches; docs/board.md says what a tier means.")
    ] = "self-reported",
    again: Annotated[
        Path | None,
        typer.Option(
            help="Store of a second run, which is made now, of the protocols that ranks rest on, "
            "with each method in isolation; tiers say what came out the same."
        ),
    ] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="Folder for pictures of maps; shows images of subjects.")
    ] = None,
    device: options.Device = "cpu",
    quiet: options.Quiet = False,
) -> None:
    """Publish the finished cells of a suite, with pseudonyms in place of subjects."""
    with exit_on_error():
        chosen = next((name for name in fields.TIERS if name == tier), None)
        if chosen is None:
            raise InputError(f"Expected a tier of {', '.join(fields.TIERS)} but got {tier!r}.")
        catalogue, notes = catalogues.Catalogue(), terminal.make_console(quiet=quiet)
        with _bar(quiet) as bar:
            own, settings = _finished_cells(store, suite, bar.show)
        known, unknown = _split(own, catalogue)
        tables.print_sentences(notes, unknown)
        if not known:
            raise StoreError(f"The store {store} holds no cell of a method that is installed.")
        check_folder(out)
        published: Iterable[Publication]
        published = _published(known, catalogue, settings, (submitter, chosen))
        if again is not None:
            if again.resolve() == store.resolve():
                raise InputError("--again needs a store of its own, beside that of the first run.")
            second = _second_run(known, catalogue, settings, (again, device), quiet)
            published, differing = _confirm(list(published), second, device)
            if differing:
                lines = [*map(str, differing), "Nothing was published."]
                terminal.print_lines(terminal.make_console(), lines)
                raise typer.Exit(FAILED)
        with _bar(quiet) as bar:
            paths = folder.write_records(out, _counted(published, len(known), bar.show))
        terminal.print_lines(notes, [f"{len(paths)} records: {out}"])
        if overlays is not None:
            check_folder(overlays)
            count = drawings.draw_overlays(known, catalogue, stores.Store(store), overlays)
            terminal.print_lines(notes, [f"{count} pictures: {overlays}"])


def _bar(quiet: bool) -> terminal.FileBar:
    return terminal.FileBar(terminal.make_console(stderr=True, quiet=quiet))


def _counted(
    published: Iterable[Publication], total: int, advanced: stored.Advanced
) -> Iterator[Publication]:
    """Yield records, and tell of each that was written."""
    for done, each in enumerate(published, start=1):
        yield each
        advanced("records written", done, total)


def _second_run(
    known: Sequence[stored.FinishedCell],
    catalogue: catalogues.Catalogue,
    settings: suites.Suite,
    target: tuple[Path, str],
    quiet: bool,
) -> dict[str, Publication]:
    """Run again what ranks rest on, and return it as it would be published, by identity."""
    path, device = target
    errors = terminal.make_console(stderr=True, quiet=quiet)
    ranking = []
    for record in known:
        identity = record.identity.protocol
        protocol = catalogue.protocols.find_version(identity.name, identity.version).plugin
        if protocol.gate or protocol.counts:
            ranking.append(record)
    second = stores.Store(path)
    second.prepare()
    limits = reruns.Limits(_SECONDS, _GIB)
    with errors.status("") as status:
        on = devices.resolve_device(device), limits
        measured = own_methods.run_again(
            ranking, settings, second, on, lambda step: status.update(f"running again: {step}")
        )
    if left := sum(record.identity_sha256 not in measured for record in ranking):
        line = f"{left} cells are not run again: they are none of suite {settings.version!r}"
        terminal.print_lines(errors, [f"{line}, or of models in files."])
    by = ("", fields.TIERS[0])
    again = _published(list(measured.values()), catalogue, settings, by)
    return {record.identity_sha256: (record, sidecar) for record, sidecar in again}


def _confirm(
    published: Sequence[Publication], second: Mapping[str, Publication], device: str
) -> tuple[list[Publication], list[faults.Fault]]:
    """Return the records with the tiers that they earned, and every difference."""
    rerun: dict[str, set[str]] = {}
    for first, _ in published:
        if first.identity_sha256 in second:
            rerun.setdefault(first.names.explainer, set()).add(first.path)
    missing = reruns.why_not_isolated(device)
    differing: list[faults.Fault] = []
    confirmed: list[Publication] = []
    for first, sidecar in published:
        if first.identity_sha256 in second:
            differing += comparison.compare(first, second[first.identity_sha256][0], first.path)
        why = "a control is told the truth" if first.method.control else missing
        own = frozenset(rerun.get(first.names.explainer, ()))
        tier = tiers.Confirmation(own, why).tier_of(first)
        confirmed.append((first.resealed({"tier": tier}), sidecar))
    return confirmed, differing


def read_published(path: Path, suite: str) -> list[records.PublishedRecord]:
    """Return published records of a folder, or what would be published of a store.

    Raises:
        InputError: If nothing is to be had there.
    """
    if not stores.is_store(path):
        return list(folder.load_folder(path))
    catalogue = catalogues.Catalogue()
    own, settings = _finished_cells(path, suite)
    known, _ = _split(own, catalogue)
    by = ("", fields.TIERS[0])
    return [record for record, _ in _published(known, catalogue, settings, by)]


def _finished_cells(
    store: Path, suite: str, advanced: stored.Advanced | None = None
) -> tuple[list[stored.FinishedCell], suites.Suite]:
    """Return a store's cells of a suite, and the suite."""
    settings = suites.load_suite(suite)
    if settings.board is None:
        raise InputError(f"The suite {suite!r} has no [board], so nothing of it is published.")
    if not stores.is_store(store):
        raise StoreError(f"The folder {store} is no store of finished cells.")
    finished = stored.read_cells(store, advanced, with_failed=False)
    # What was asked of a model alone stands on no board.
    own: list[stored.FinishedCell] = [
        record
        for record in finished
        if record.identity.suite == settings.version
        and record.names.explainer != explainers.NO_EXPLAINER
    ]
    # A suite that shares its protocols out among cohorts has one score of each on a model; whatever
    # else was asked for stays in the store.
    own = [
        record
        for record in own
        if settings.protocols_of(record.names.cohort, [record.names.protocol])
    ]
    if not own:
        raise StoreError(f"The store {store} holds no finished cell of suite {suite!r}.")
    # The suite's own controls stand on a board beside what was measured, as in a report.
    return [*own, *suites.published_controls(settings.version).beside(own)], settings


def _split(
    finished: Sequence[stored.FinishedCell], catalogue: catalogues.Catalogue
) -> tuple[list[stored.FinishedCell], list[str]]:
    """Return the cells whose plugins are installed, and a line on each plugin that is not.

    Metrics of other libraries, such as ``quantus:Sparseness``, stand on no board.
    """
    shelves = (("explainer", catalogue.explainers), ("protocol", catalogue.protocols))
    known, unknown = [], Counter[tuple[str, str]]()
    for record in finished:
        names = [(kind, getattr(record.names, kind), shelf.names) for kind, shelf in shelves]
        missing = [(kind, name) for kind, name, installed in names if name not in installed]
        unknown.update(missing)
        if not missing:
            known.append(record)
    lines = [
        f"Cells of {kind} {name!r} are left out, {count} of them: "
        + (_GUEST if kind == "protocol" and ":" in name else _NOT_INSTALLED)
        + (" Methods in files of their own are sent by submit." if kind == "explainer" else "")
        for (kind, name), count in sorted(unknown.items())
    ]
    return known, lines


def _published(
    known: Sequence[stored.FinishedCell],
    catalogue: catalogues.Catalogue,
    settings: suites.Suite,
    by: tuple[str, fields.Tier],
) -> Iterator[Publication]:
    names = pseudonyms.Pseudonyms("" if settings.board is None else settings.board.salt)
    for record in known:
        explainer = catalogue.explainers.find(record.names.explainer).plugin
        identity = record.identity.protocol
        protocol = catalogue.protocols.find_version(identity.name, identity.version).plugin
        method, scale = from_plugins.method_of(explainer), from_plugins.scale_of(protocol)
        section = settings.section_of(record.names.cohort)
        faults = from_plugins.faults_of(protocol, record)
        yield records.publish(record, method, scale, names, *by, joins=section, faults=faults)
