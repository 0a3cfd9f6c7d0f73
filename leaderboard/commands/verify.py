"""``verify``: everything that is wrong with a submission, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.exits import DONE, FAILED, exit_on_error
from benchmark.records.files import check_file, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from leaderboard.published.fault import Fault
    from leaderboard.submission.bundle import Bundle
    from leaderboard.submission.rerun import Sampling
    from leaderboard.submission.rules import Rules
    from leaderboard.submission.standard import Cells


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder that submit wrote.")],
    records: Annotated[
        Path | None, typer.Option(help="Records of the board. Default: those of the suite.")
    ] = None,
    suite: Annotated[str, typer.Option(help="Version, or path of a .toml file.")] = "v1",
    cells: Annotated[int, typer.Option(min=1, help="How many are run again.")] = 10,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Decides which. [default: drawn and told]")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each process.")] = 1800,
    memory: Annotated[float, typer.Option(min=1, help="GiB for each process, on Linux.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")] = "cpu",
    rerun: Annotated[bool, typer.Option("--rerun/--no-rerun", help="Run cells again.")] = True,
    into: Annotated[
        Path | None, typer.Option(help="Add the records here, as reproduced, if all is well.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the faults here.")
    ] = None,
) -> None:
    """Check a submission, run some of its cells again, and name every fault."""
    with exit_on_error():
        import secrets
        import tempfile

        from benchmark.commands.terminal import make_console
        from benchmark.running.device import resolve_device
        from leaderboard.submission.bundle import admit, open_bundle
        from leaderboard.submission.process import Limits
        from leaderboard.submission.rerun import Sampling
        from leaderboard.submission.rules import load_references, read_rules
        from leaderboard.submission.standard import load_cells

        console = make_console()
        rules = read_rules(suite)
        chosen = str(resolve_device(device))
        if json_file is not None:
            check_file(json_file)
        drawn = secrets.randbelow(2**32) if seed is None else seed
        sampling = Sampling(cells, drawn, chosen, Limits(timeout, memory))
        with tempfile.TemporaryDirectory(prefix="medsanity-verify-") as place:
            copy, homes = Path(place, "bundle"), Path(place, "processes")
            copy.mkdir()
            homes.mkdir()
            opened, faults = open_bundle(bundle, copy)
            here = load_cells(rules, load_references(records, rules))
            again = False
            if opened is not None:
                faults += _static(opened, here)
                if not faults:
                    _tell(console, opened)
                if rerun and not faults:
                    faults += _run_again(console, opened, (rules, here, sampling), homes)
                    again = True
            for fault in faults:
                console.print(str(fault), markup=False, soft_wrap=True)
            _conclude(console, faults, rerun, again)
            if json_file is not None:
                write_text(json_file, _json(bundle, faults, sampling if again else None))
            if faults or opened is None:
                raise typer.Exit(FAILED)
            if into is not None and again:
                paths = admit(opened, into)
                console.print(f"{len(paths)} records: {into}", markup=False, soft_wrap=True)
            elif into is not None:
                console.print("nothing was added, since nothing was run again", markup=False)
        raise typer.Exit(DONE)


def _static(bundle: Bundle, here: Cells) -> list[Fault]:
    from leaderboard.submission.checks import verify as hold
    from leaderboard.submission.screening import screen

    place = f"source/{bundle.manifest.source}"
    return [*hold(bundle, here.standard), *screen(bundle.source, place)]


def _run_again(
    console: Console, bundle: Bundle, given: tuple[Rules, Cells, Sampling], homes: Path
) -> list[Fault]:
    from leaderboard.submission.rerun import Rerun

    rules, here, sampling = given
    again = Rerun(bundle, rules, here, sampling, homes)
    count = len(again.chosen)
    told = f"{count} of {len(bundle.records)} cells are run again (--seed {sampling.seed})"
    console.print(told, markup=False, soft_wrap=True)
    with console.status("") as status:

        def hear(step: str) -> None:
            status.update(f"running again: {step}")

        return again.run(hear)


def _tell(console: Console, bundle: Bundle) -> None:
    """Print what the records amount to; aggregates are computed here, and in no file."""
    from rich.table import Table

    from benchmark.reading import summarise
    from leaderboard.published.fault import plain

    manifest = bundle.manifest
    who = f"{manifest.title} ({manifest.explainer}) by {manifest.submitter}"
    console.print(f"{plain(who)}, suite {manifest.suite}", markup=False, soft_wrap=True)
    table = Table()
    for heading in ("model", "protocol", "score [95 % interval]", "n", "verdict", "state"):
        table.add_column(heading)
    for one in bundle.records:
        score, told, count = one.score, "–", "0"
        if score is not None:
            interval = summarise(score, one.scale.aggregate)
            told = f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
            count = str(interval.n_subjects)
        table.add_row(
            one.names.model, one.names.protocol, told, count, one.verdict or "–", one.state
        )
    console.print(table)


def _conclude(console: Console, faults: Sequence[Fault], wanted: bool, again: bool) -> None:
    if faults:
        names = ", ".join(dict.fromkeys(one.name for one in faults))
        told = f"{len(faults)} faults: {names}"
        if wanted and not again:
            told += "; nothing was run again"
    elif again:
        told = "no fault; the cells that were run again came out the same: reproduced"
    else:
        told = "no fault, but nothing was run again: self-reported"
    console.print(told, markup=False, soft_wrap=True)


def _json(bundle: Path, faults: Sequence[Fault], sampling: Sampling | None) -> str:
    from leaderboard.published.fault import plain

    told = {
        "bundle": str(bundle),
        "faults": [
            {"name": one.name, "place": plain(one.location), "detail": plain(one.detail)}
            for one in faults
        ],
        "rerun": None if sampling is None else {"cells": sampling.cells, "seed": sampling.seed},
        "tier": "reproduced" if sampling is not None and not faults else "self-reported",
    }
    return json.dumps(told, indent=2) + "\n"
