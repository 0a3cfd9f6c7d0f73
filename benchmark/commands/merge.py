"""``merge``: the stores of shards in, one store out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, terminal
from benchmark.commands.exits import exit_on_error
from benchmark.records.storage import merging


def merge(
    stores: Annotated[list[Path], typer.Argument(help="Stores of shards.")],
    into: Annotated[Path, typer.Option(help="Store to write.")] = options.STORE,
    quiet: options.Quiet = False,
) -> None:
    """Make one store of several."""
    with exit_on_error():
        with terminal.FileBar(terminal.make_console(stderr=True, quiet=quiet)) as bar:
            count = merging.merge(stores, into, bar.show)
        lines = [f"{into} holds {count} finished cells"]
        terminal.print_lines(terminal.make_console(quiet=quiet), lines)
