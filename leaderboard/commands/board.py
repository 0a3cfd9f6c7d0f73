"""``board``: records in, the board's pages out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.exits import DONE, exit_on_error

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
        from benchmark.commands.terminal import make_console
        from leaderboard.board.bridge import load_bridges
        from leaderboard.board.build import build_board
        from leaderboard.published.folder import read_folder
        from leaderboard.site.versions import check_page, is_version, write_versions
        from leaderboard.site.writer import write_site

        console = make_console()
        contents = read_folder(records)
        for fault in contents.faults:
            typer.echo(str(fault), err=True)
        if contents.faults:
            raise typer.Exit(2)
        made = build_board(contents.records, load_bridges(records.parent / BRIDGES))
        pictures = records.parent / OVERLAYS
        versioned = is_version(out, made)
        if versioned:
            check_page(out.parent)
        page = write_site(made, out, pictures if pictures.is_dir() else None, versioned)
        if versioned:
            write_versions(out.parent)
        for one in made.models:
            ranked = [row for row in one.rows if row.status == "ranked"]
            told = f"{one.cohort} × {one.model}: {len(ranked)} of {len(one.rows)} ranked"
            console.print(told, markup=False, soft_wrap=True)
        console.print(f"board: {page}", markup=False, soft_wrap=True)
        raise typer.Exit(DONE)
