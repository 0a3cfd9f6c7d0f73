"""``publish``: what a store has finished, as records that a board is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.exits import exit_on_error
from benchmark.records.files import check_folder

if TYPE_CHECKING:
    from benchmark.plugins.catalogue import Catalogue
    from benchmark.records.record import Record
    from benchmark.records.store import Store
    from leaderboard.published.fields import Tier
    from leaderboard.published.record import PublishedRecord

OVERLAY = ".webp"
_SHOWN_PER_GROUP = 3


def publish(
    out: Annotated[Path, typer.Option(help="Folder of records to write.")],
    store: Annotated[Path, typer.Option(help="Store of finished cells.")] = Path(
        "medsanity-runs/store"
    ),
    suite: Annotated[str, typer.Option(help="Version, or path of a .toml file.")] = "v1",
    submitter: Annotated[str, typer.Option(help="Who measured.")] = "medsanity",
    tier: Annotated[
        str, typer.Option(help="Who vouches: self-reported, reproduced or audited.")
    ] = "self-reported",
    overlays: Annotated[
        Path | None, typer.Option(help="Folder for pictures of maps; shows images of subjects.")
    ] = None,
) -> None:
    """Publish the finished cells of a suite, with pseudonyms in place of subjects."""
    with exit_on_error():
        from benchmark.commands.terminal import make_console
        from benchmark.errors import InputError, StoreError
        from benchmark.plugins.catalogue import Catalogue
        from benchmark.records.store import Store, is_store
        from benchmark.running.suite import load_suite
        from leaderboard.published.fields import TIERS
        from leaderboard.published.folder import write_records

        chosen = next((one for one in TIERS if one == tier), None)
        if chosen is None:
            raise InputError(f"Expected a tier of {', '.join(TIERS)} but got {tier!r}.")
        settings = load_suite(suite)
        if settings.board is None:
            raise InputError(f"The suite {suite!r} has no [board], so nothing of it is published.")
        if not is_store(store):
            raise StoreError(f"The folder {store} is no store of finished cells.")
        own = [one for one in Store(store).records() if one.identity.suite == settings.version]
        if not own:
            raise StoreError(f"The store {store} holds no finished cell of suite {suite!r}.")
        catalogue, console = Catalogue(), make_console()
        known, unknown = _split(own, catalogue)
        for line in unknown:
            console.print(line, markup=False, soft_wrap=True)
        if not known:
            raise StoreError(f"The store {store} holds no cell of a method that is installed.")
        check_folder(out)
        made = _published(known, catalogue, settings.board.salt, (submitter, chosen))
        paths = write_records(out, made)
        console.print(f"{len(paths)} records: {out}", markup=False, soft_wrap=True)
        if overlays is not None:
            check_folder(overlays)
            count = _draw(known, catalogue, Store(store), overlays)
            console.print(f"{count} pictures: {overlays}", markup=False, soft_wrap=True)


def _split(records: Sequence[Record], catalogue: Catalogue) -> tuple[list[Record], list[str]]:
    """Return the cells whose plugins are installed, and a line on each plugin that is not."""
    shelves = (("explainer", catalogue.explainers), ("protocol", catalogue.protocols))
    known, unknown = [], Counter[tuple[str, str]]()
    for one in records:
        missing = [
            (kind, name)
            for kind, shelf in shelves
            if (name := getattr(one.names, kind)) not in shelf.names
        ]
        unknown.update(missing)
        if not missing:
            known.append(one)
    lines = [
        f"Cells of {kind} {name!r} are left out, {count} of them: it is not installed here. "
        "Methods in files of their own are sent by submit."
        for (kind, name), count in sorted(unknown.items())
    ]
    return known, lines


def _published(
    records: Sequence[Record], catalogue: Catalogue, salt: str, by: tuple[str, Tier]
) -> Iterator[tuple[PublishedRecord, bytes | None]]:
    from leaderboard.published.pseudonyms import Pseudonyms
    from leaderboard.published.record import publish as published
    from leaderboard.submission.from_plugins import method_of, scale_of

    pseudonyms = Pseudonyms(salt)
    for one in records:
        explainer = catalogue.explainers.find(one.names.explainer).plugin
        protocol = catalogue.protocols.find(one.names.protocol).plugin
        yield published(one, method_of(explainer), scale_of(protocol), pseudonyms, *by)


def _draw(records: Sequence[Record], catalogue: Catalogue, store: Store, folder: Path) -> int:
    """Draw what each explainer makes of some test subjects; return how many pictures."""
    import numpy as np
    import torch

    from benchmark.explainer import importance
    from benchmark.report.figures import overlays
    from benchmark.report.figures.style import DPI
    from benchmark.results import explained_model

    count = 0
    for shown in explained_model.recall_explained_models(records, catalogue, store.arrays):
        rows = overlays.choose_rows(shown.cohort, shown.evaluation)
        of_group = [rows[shown.cohort.groups[rows] == group] for group in (0, 1)]
        chosen = np.concatenate([some[:_SHOWN_PER_GROUP] for some in of_group])
        tiles = overlays.cut_tiles(shown.cohort, shown.evaluation, chosen)
        for name, maps in shown.attributions.items():
            signed = torch.from_numpy(maps[chosen])
            planes = tiles.planes.cut(importance(signed, shown.polarities[name]).numpy())
            figure = overlays.draw_strip(tiles, planes.astype(np.float32))
            path = folder / f"{name}.{shown.model}{OVERLAY}"
            figure.savefig(path, dpi=DPI, pil_kwargs={"quality": 80})
            count += 1
    return count
