"""``board``: records in, the board's pages out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import terminal
from benchmark.commands.exits import BAD_INPUT, exit_on_error
from leaderboard.board import bridge as bridges
from leaderboard.board import build
from leaderboard.published import folder as folders
from leaderboard.site import versions, writer

OVERLAYS, BRIDGES = "overlays", "bridges"


def board(
    records: Annotated[Path, typer.Option(help="Folder of published records.")],
    out: Annotated[Path, typer.Option(help="Folder of the board.")],
) -> None:
    """Build board.csv, board.json and the pages; the same records give the same bytes.

    A folder that is called as the suite stands among those of other versions: its board links to
    the page beside it that leads to all of them, and that page is written too.
    """
    with exit_on_error():
        contents = folders.read_folder(records)
        for fault in contents.faults:
            typer.echo(str(fault), err=True)
        if contents.faults:
            raise typer.Exit(BAD_INPUT)
        made = build.build_board(contents.records, bridges.load_bridges(records.parent / BRIDGES))
        overlays = records.parent / OVERLAYS
        versioned = versions.is_version(out, made)
        if versioned:
            versions.check_page(out.parent)
        page = writer.write_site(made, out, overlays if overlays.is_dir() else None, versioned)
        if versioned:
            versions.write_versions(out.parent)
        lines = []
        for model in made.models:
            ranked = sum(row.status == "ranked" for row in model.rows)
            lines.append(f"{model.cohort} × {model.model}: {ranked} of {len(model.rows)} ranked")
        terminal.print_lines(terminal.make_console(), [*lines, f"board: {page}"])
