"""``verify``: everything that is wrong with a submission, by name."""

from __future__ import annotations

import json
import math
import secrets
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmark import reading
from benchmark.commands import options, tables, terminal
from benchmark.commands.exits import FAILED, exit_on_error
from benchmark.errors import InputError
from benchmark.records.files import check_file, write_text
from benchmark.running import device as devices
from leaderboard.published import fault as faults
from leaderboard.submission import bundle as bundles
from leaderboard.submission import checks, rules, screening, standard
from leaderboard.submission import rerun as reruns
from leaderboard.submission.admission import admit, tiers
from leaderboard.submission.draw import drawing
from leaderboard.submission.draw import judgement as judgements


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder that submit wrote.")],
    records: Annotated[
        Path | None, typer.Option(help="Records of the board. Default: those of the suite.")
    ] = None,
    suite: options.Suite = "v1",
    cells: Annotated[
        int | None, typer.Option(min=1, help="How many are run again. [default: all]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Decides which. [default: drawn and told]")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each cell.")] = 1800,
    memory: Annotated[float, typer.Option(min=1, help="GiB for the worker, on Linux.")] = 8,
    device: options.Device = "cpu",
    draw: Annotated[
        str | None,
        typer.Option(help="Also score new subjects, drawn by this seed, or by one at 'random'."),
    ] = None,
    rerun: Annotated[bool, typer.Option("--rerun/--no-rerun", help="Run cells again.")] = True,
    into: Annotated[
        Path | None, typer.Option(help="Add the records here, each with its tier, if all is well.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the faults here.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Check a submission, run its cells again, and name every fault."""
    with exit_on_error():
        console, notes = terminal.make_console(), terminal.make_console(quiet=quiet)
        board = rules.read_rules(suite)
        chosen = str(devices.resolve_device(device))
        if json_file is not None:
            check_file(json_file)
        drawn = secrets.randbelow(2**32) if seed is None else seed
        most = bundles.MOST_FILES if cells is None else cells
        seed_of_draw = _seed_of_draw(draw)
        if seed_of_draw is not None and not rerun:
            raise InputError("--draw runs the method, which --no-rerun forbids; drop one of them.")
        sampling = reruns.Sampling(most, drawn, chosen, reruns.Limits(timeout, memory))
        with tempfile.TemporaryDirectory(prefix="medsanity-verify-") as temporary:
            copy, homes = Path(temporary, "bundle"), Path(temporary, "processes")
            copy.mkdir()
            homes.mkdir()
            opened, problems = bundles.open_bundle(bundle, copy)
            own = standard.load_cells(board, rules.load_references(records, board))
            fresh = None
            if seed_of_draw is not None:
                others = own.standard.others
                fresh = drawing.Draw(board, others, seed_of_draw, chosen, _new_folder(homes))
            confirmed = tiers.Confirmation()
            if opened is not None:
                name = f"source/{opened.manifest.source}"
                problems += checks.verify(opened, own.standard)
                problems += screening.screen(opened.source, name)
                if not problems:
                    _print_scores(console, opened)
                if rerun and not problems:
                    settings = board, own, sampling
                    confirmed, again_faults = _run_again(notes, opened, settings, homes)
                    problems += again_faults
                    if fresh is not None and not problems:
                        line = f"{len(fresh.cells)} cells are scored on new subjects"
                        tables.print_sentences(notes, [f"{line} (--draw {seed_of_draw})"])
                        with notes.status("scoring new subjects"):
                            judgement = fresh.judge(opened, sampling.limits)
                        _print_differences(console, judgement)
                        tables.print_sentences(notes, judgement.notes)
                        problems += judgement.faults
        # The copy is gone: what is told and added was read before a plugin ran.
        submitted = () if opened is None else opened.records
        again = bool(confirmed.rerun)
        line = _faults(problems, rerun, again) if problems else confirmed.conclude(submitted)
        tables.print_sentences(console, [*map(str, problems), line])
        if json_file is not None:
            tier = "self-reported" if problems else confirmed.tier(submitted)
            seed_of_rerun = drawn if again else None
            write_text(json_file, _json(bundle, problems, (tier, confirmed, seed_of_rerun)))
        if problems or opened is None:
            raise typer.Exit(FAILED)
        if into is not None and again:
            _add(notes, opened, confirmed, into)
        elif into is not None:
            tables.print_sentences(notes, ["nothing was added, since nothing was run again"])


def _run_again(
    console: Console,
    bundle: bundles.Bundle,
    settings: tuple[rules.Rules, standard.Cells, reruns.Sampling],
    homes: Path,
) -> tuple[tiers.Confirmation, list[faults.Fault]]:
    again = reruns.Rerun(bundle, *settings, homes)
    counts = f"{len(again.chosen)} of {len(bundle.records)}"
    line = f"{counts} cells are run again (--seed {settings[-1].seed})"
    tables.print_sentences(console, [line])
    with console.status("") as status:
        problems = again.run(lambda step: status.update(f"running again: {step}"))
    paths = frozenset(record.path for record in again.chosen)
    return tiers.Confirmation(paths, reruns.why_not_isolated(settings[-1].device)), problems


def _print_differences(console: Console, judgement: judgements.Judgement) -> None:
    """Print what was to be expected on new subjects by the published scores, and what came out."""
    headings = "claimed", "on new subjects", "expected of the claim"
    numbers = (tables.Column(heading, "number") for heading in headings)
    table = tables.FittedTable([tables.Column("cell", "title"), *numbers])
    for difference in judgement.differences:
        low, high = (difference.expected + sign * difference.width for sign in (-1, 1))
        scores = f"{difference.published:.3f}", f"{difference.fresh:.3f}"
        table.add_row(difference.cell.name, *scores, f"{low:.3f} to {high:.3f}")
    console.print(table)


def _seed_of_draw(draw: str | None) -> int | None:
    """Return the seed of a draw, or None where none is asked for."""
    if draw is None:
        return None
    if draw == "random":
        return secrets.randbelow(2**32)
    if not (draw.isascii() and draw.isdigit() and int(draw) < 2**32):
        raise InputError(f"Expected --draw random, or a seed from 0 to 2³² − 1, but got {draw!r}.")
    return int(draw)


def _new_folder(parent: Path) -> Path:
    folder = parent / "draw"
    folder.mkdir()
    return folder


def _add(
    console: Console, bundle: bundles.Bundle, confirmed: tiers.Confirmation, into: Path
) -> None:
    added = admit.admit(bundle, confirmed.tier_of, into)
    counts = Counter(record.tier for record in added)
    words = ", ".join(f"{count} {tier}" for tier, count in sorted(counts.items()))
    terminal.print_lines(console, [f"{len(added)} records ({words}): {into}"])


def _print_scores(console: Console, bundle: bundles.Bundle) -> None:
    """Print what the records amount to; aggregates are computed here, and in no file."""
    manifest = bundle.manifest
    who = f"{manifest.title} ({manifest.explainer}) by {manifest.submitter}"
    terminal.print_lines(console, [f"{faults.plain(who)}, suite {manifest.suite}"])
    columns = (
        tables.Column("model", "title"),
        tables.Column("protocol", "title"),
        tables.Column("score [95 % interval]", "number", label="score"),
        tables.Column("n", "number"),
        tables.Column("verdict", label=""),
        tables.Column("state", label=""),
    )
    table = tables.FittedTable(columns)
    for record in bundle.records:
        score, text, count = record.score, "–", "0"
        if score is not None:
            interval = reading.summarise(score, record.scale.aggregate)
            text = f"{interval.estimate:.3f}"
            if not math.isnan(interval.low):
                text += f" [{interval.low:.3f}, {interval.high:.3f}]"
            count = str(interval.n_subjects)
        verdict = record.verdict or "–"
        table.add_row(record.names.model, record.names.protocol, text, count, verdict, record.state)
    console.print(table)


def _faults(problems: Sequence[faults.Fault], wanted: bool, again: bool) -> str:
    names = ", ".join(dict.fromkeys(fault.name for fault in problems))
    stopped = "; nothing was run again" if wanted and not again else ""
    return f"{len(problems)} faults: {names}{stopped}"


def _json(
    bundle: Path,
    problems: Sequence[faults.Fault],
    outcome: tuple[str, tiers.Confirmation, int | None],
) -> str:
    tier, confirmed, seed = outcome
    again = {"cells": len(confirmed.rerun), "seed": seed, "not_isolated": confirmed.not_isolated}
    report = {
        "bundle": str(bundle),
        "faults": [
            {"name": name, "place": faults.plain(location), "detail": faults.plain(detail)}
            for name, location, detail in map(astuple, problems)
        ],
        "rerun": again if confirmed.rerun else None,
        "tier": tier,
    }
    return json.dumps(report, indent=2) + "\n"
