"""``board``: records in, the board's pages out; ``board bridge``: what joins two versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, terminal
from benchmark.commands.exits import BAD_INPUT, exit_on_error
from benchmark.records.files import write_text
from leaderboard.board import bridge as bridges
from leaderboard.board import build, owed
from leaderboard.commands import kept_back as hidden
from leaderboard.commands import publish as publishing
from leaderboard.published import stored
from leaderboard.site import versions, writer

OVERLAYS, BRIDGES = "overlays", "bridges"

app = typer.Typer()


@app.callback(invoke_without_command=True)
def board(
    context: typer.Context,
    records: Annotated[Path | None, typer.Option(help="Folder of published records.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the board.")] = None,
    unpublished: Annotated[
        Path | None,
        typer.Option(help="Folder of what is kept back: its suite, and records made by it."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Build board.csv, board.json and the pages; the same records give the same bytes.

    A folder that is called as the suite stands among those of other versions: its board links to
    the page beside it that leads to all of them, and that page is written too.

    Of what is kept back the board shows means, and no name, hash or value of a subject.
    """
    # No default: both are needed here, and mean nothing to a command below.
    if context.invoked_subcommand is not None:
        if quiet or any(option is not None for option in (records, out, unpublished)):
            context.fail(f"Options of '{context.invoked_subcommand}' stand after its name.")
        return
    if records is None or out is None:
        context.fail(f"Missing option '--{'records' if records is None else 'out'}'.")
    with exit_on_error():
        with terminal.FileBar(terminal.make_console(stderr=True, quiet=quiet)) as bar:
            own = stored.StoredRecords(records, bar.show)
        for fault in own.faults:
            typer.echo(str(fault), err=True)
        if own.faults:
            raise typer.Exit(BAD_INPUT)
        bridges_beside = bridges.load_bridges(records.parent / BRIDGES)
        kept_back = (
            owed.NOTHING_KEPT_BACK if unpublished is None else hidden.load_unpublished(unpublished)
        )
        made = build.build_board(own, bridges_beside, own.noise, kept_back)
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
        terminal.print_lines(terminal.make_console(quiet=quiet), [*lines, f"board: {page}"])


@app.command()
def bridge(
    protocol: Annotated[str, typer.Option(help="Name of the protocol that has two versions.")],
    older: Annotated[Path, typer.Option(help="Records of one version, or a store.")],
    newer: Annotated[Path, typer.Option(help="Records of the other version, or a store.")],
    out: Annotated[Path, typer.Option(help="File to write, in the board's folder of bridges.")],
    suite: options.Suite = "v1",
    quiet: options.Quiet = False,
) -> None:
    """Set reference explainers' scores under two versions of a protocol side by side."""
    with exit_on_error():
        sides = [
            [
                record
                for record in publishing.read_published(folder, suite)
                if record.names.protocol == protocol
            ]
            for folder in (older, newer)
        ]
        made = bridges.make_bridge(*sides)
        made.check(str(out))
        write_text(out, made.to_json())
        explainers = len({explainer for _, explainer, *_ in made.rows})
        line = f"bridge: {out}, {protocol} {made.older} and {made.newer}, {explainers} explainers, "
        line += f"no score moves by more than {made.tolerance:g}"
        terminal.print_lines(terminal.make_console(quiet=quiet), [line])
