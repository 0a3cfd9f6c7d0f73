"""``controls``: measure a suite's controls, and publish their records for every run to take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark import reading
from benchmark.commands import options, terminal
from benchmark.commands.exits import FAILED, exit_on_error
from benchmark.errors import InputError
from benchmark.plugins import catalogue as catalogues
from benchmark.records import controls as published
from benchmark.records import store as stores
from benchmark.records.files import check_folder
from benchmark.running import device as devices
from benchmark.running import engine
from benchmark.running import plan as plans
from benchmark.running import suite as suites


def controls(
    suite: Annotated[str, typer.Option(help="Version of a suite, such as v2.")],
    model: Annotated[
        list[str] | None, typer.Option(help="Repeatable. Default: the board's, or the suite's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. Default: that of a built-in suite.")
    ] = None,
    store: Annotated[Path, typer.Option(help="Where finished cells are kept.")] = options.STORE,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 64,
    fresh: Annotated[bool, typer.Option(help="Measure again what the store holds.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a suite's controls on its own cohorts and networks, and publish their records.

    A run then takes these records where it scores controls for health alone, as long as cohort,
    network, control and protocol are the very same.
    """
    with exit_on_error():
        settings = engine.Settings(devices.resolve_device(device), batch_size, fresh)
        chosen = suites.load_suite(suite)
        if not chosen.health:
            raise InputError(f"The suite {suite!r} scores no controls in every run.")
        of_board = () if chosen.board is None else chosen.board.models
        models = tuple(model or of_board or chosen.models)
        selection = suites.Selection(chosen.health, models=models)
        plan = plans.make_plan(catalogues.Catalogue(), chosen, selection).with_maps()
        # A suite of one's own may call itself v1, and the package is nobody's folder.
        is_own = suite.endswith(".toml")
        folder = out or (None if is_own else suites.published_controls(chosen.version).folder)
        if folder is None:
            raise InputError(f"Name a folder with --out for the controls of suite {suite!r}.")
        check_folder(folder)
        cells = stores.Store(store)
        cells.prepare()
        errors = terminal.make_console(stderr=True)
        with terminal.Bars(errors, quiet) as bars:
            finished = engine.run(plan, cells, settings, bars)
        if any(record.state == reading.FAILED for record in finished.records):
            terminal.print_lines(errors, ["Cells failed; nothing was written."])
            raise typer.Exit(FAILED)
        paths = published.write_controls(folder, finished.records)
        size = sum(path.stat().st_size for path in paths)
        lines = [f"{len(finished.records)} records, {size / 2**20:.2f} MiB: {folder}"]
        terminal.print_lines(terminal.make_console(quiet=quiet), lines)
