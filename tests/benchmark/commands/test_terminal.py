"""What commands print fits the terminal, cuts no number, and is quiet where it is asked to be."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import fakes
import pytest
from rich.text import Text
from runs import write_suite
from typer.testing import CliRunner, Result

from benchmark.commands import terminal
from benchmark.commands.app import app
from benchmark.commands.tables import Column, FittedTable, print_sentences

REASON = "the map is too flat to tell: 0.125 [-0.250, 0.375] of the twelve subjects, 1 to 2 mm"
INTERVALS = ("0.125 [-0.250, 0.375]", "1 to 2")
RESULTS_END = "tiny × tiny_model: "


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store holds the cells that the tests ask for."""
    folder = tmp_path_factory.mktemp("measured")
    write_suite(folder, more='health = ["oracle", "random"]\n')
    assert run(folder, 200, "Dark", "Picky").exit_code == 0
    return folder


def run(folder: Path, width: int, *explainers: str, more: tuple[object, ...] = ()) -> Result:
    named = [part for name in explainers for part in ("--explainer", fakes.spec(name))]
    line = ["run", *named, "--suite", folder / "suite.toml", "--store", folder / "store"]
    line += ["--device", "cpu", "--workers", "1", "--report", folder / "report", *more]
    return CliRunner(env={"COLUMNS": str(width)}).invoke(app, [str(part) for part in line])


@pytest.mark.parametrize("width", [60, 80, 200])
def test_each_score_stands_whole_beside_its_cell(
    measured: Path, width: int, tmp_path: Path
) -> None:
    """If it fails, a score or a limit of its interval is cut off, and read as another number."""
    told = run(measured, width, "Dark", "Picky", more=("--json", tmp_path / "results.json"))
    assert "\x1b" not in told.stdout
    lines = told.stdout.partition(RESULTS_END)[0].splitlines()
    assert max(map(len, lines)) <= width
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    assert len(results) == 4
    for result in results:
        name, protocol, score = result["explainer"], result["protocol"], result["primary"]
        row = re.compile(rf"│ {name} +│ {protocol} +│")
        if width < 100:
            (start,) = (index for index, line in enumerate(lines) if line == f"{name} · {protocol}")
            shown = lines[start + 1]
        else:
            (shown,) = (line for line in lines if row.match(line))
        if score["estimate"] is not None:
            numbers = (f"{score[limit]:.3f}" for limit in ("estimate", "low", "high"))
            assert "{} [{}, {}]".format(*numbers) in shown
        assert re.search(rf"\b{score['n_subjects']}\b", shown)


def test_quiet_prints_the_results_alone(measured: Path) -> None:
    """If it fails, a script that reads the scores reads remarks of the run as well."""
    loud = run(measured, 80, "Dark", "Picky")
    quiet = run(measured, 80, "Dark", "Picky", more=("--quiet",))
    assert (quiet.exit_code, quiet.stderr) == (loud.exit_code, "")
    assert loud.stdout.startswith(quiet.stdout)
    last = quiet.stdout.splitlines()[-1]
    assert last.startswith(RESULTS_END)
    for note in ("protocol health", "cells measured", "report: "):
        assert (note in loud.stdout, note in quiet.stdout) == (True, False)
    line = ["report", "--records", measured / "store", "--out", measured / "report", "--quiet"]
    line += ["--protocol", fakes.spec("Loading")]
    again = CliRunner(env={"COLUMNS": "80"}).invoke(app, [str(part) for part in line])
    assert (again.exit_code, again.stderr) == (0, "")
    assert "report: " not in again.stdout
    assert all(line in again.stdout for line in ("dark · loading", last))


def test_quiet_hides_no_failure(tmp_path: Path) -> None:
    """If it fails, a job ends with code 1, and nobody can see why."""
    write_suite(tmp_path)
    told = run(tmp_path, 80, "Raising", "Dark", more=("--quiet",))
    assert told.exit_code == 1
    assert told.stderr.startswith("raising · loading failed: ValueError: out of ideas")
    assert told.stderr.count("\n") == 1
    refused = run(tmp_path, 80, "Dark", more=("--quiet", "--device", "tpu"))
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)


def test_quiet_writes_a_cohort_without_a_word(tmp_path: Path) -> None:
    """If it fails, a pipeline's log fills with names of files that it knows."""
    out = tmp_path / "exported"
    line = ["cohort", "export", fakes.spec("TinyCohort"), "--out", str(out), "--quiet"]
    told = CliRunner().invoke(app, line)
    assert (told.exit_code, told.output, (out / "cohort.toml").is_file()) == (0, "", True)


def build_table() -> FittedTable:
    columns = (
        Column("method", "title"),
        Column("score", "number"),
        Column("verdict", label=""),
        Column("reason", "prose", label=""),
    )
    table = FittedTable(columns, "scores [of a cohort]", "n: number of subjects")
    table.add_row("first_method", INTERVALS[0], Text("pass\nweak", style="green"), REASON)
    table.add_row("second_method", "–", "fail", "")
    return table


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_table_keeps_every_word_and_every_interval(width: int) -> None:
    """If it fails, a narrow terminal shows less than a wide one, or half of a number."""
    written = io.StringIO()
    terminal.PlainConsole(file=written, width=width).print(build_table())
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = re.sub(r"[│┃╇┏┓┡┩└┘┴├┤┼─━·]", " ", written.getvalue()).split()
    assert {*REASON.split(), "first_method", "second_method", "weak", "fail"} <= {
        word.removesuffix(",") if word == "pass," else word for word in words
    }
    for interval, least in zip(INTERVALS, (2, 1), strict=True):
        assert sum(line.count(interval) for line in lines) == least
    assert "scores [of a cohort]" in written.getvalue()


def test_values_of_cards_stand_below_one_another() -> None:
    """If it fails, scores on a narrow terminal cannot be compared by running an eye down."""
    table = FittedTable([Column("a", "title"), Column("score", "number"), Column("b" * 40)])
    table.add_row("first", "-0.250", "x")
    table.add_row("second", "0.5", "y")
    written = io.StringIO()
    terminal.PlainConsole(file=written, width=40).print(table)
    scores = [line for line in written.getvalue().splitlines() if "score" in line]
    assert scores == ["  score -0.250", "  score    0.5"]


def test_sentences_are_wrapped_at_words_on_a_terminal_alone() -> None:
    """If it fails, a reason is broken within a number, or `grep` finds half of a sentence."""
    for is_terminal in (True, False):
        written = io.StringIO()
        console = terminal.PlainConsole(
            file=written, width=40, force_terminal=is_terminal, color_system=None
        )
        print_sentences(console, [f"{REASON} see /a/very/long/folder/{'x' * 40}/cohort.toml"])
        lines = written.getvalue().splitlines()
        assert " ".join(lines).split()[:-1] == [*REASON.split(), "see"]
        assert lines[-1].endswith("/cohort.toml"), "a path is never broken"
        assert (len(lines) > 1) == is_terminal
        assert all(any(interval in line for line in lines) for interval in INTERVALS)


@pytest.mark.parametrize(("columns", "width"), [(None, 160), ("80", 80), ("7", 40), ("wide", 160)])
def test_a_pipe_is_as_wide_as_the_user_says(
    columns: str | None, width: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If it fails, a table in a file is folded like one on a small screen, or a number is cut."""
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    with (tmp_path / "written.txt").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        console = terminal.make_console()
        console.print("red", style="red")
        assert console.width == width
    assert (tmp_path / "written.txt").read_text() == "red\n"


@pytest.mark.parametrize(("no_color", "codes"), [("1", 0), ("", 1)])
def test_no_color_is_respected(no_color: str, codes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a terminal without colours shows their codes, or colours are lost for all."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm-256color")
    written = io.StringIO()
    console = terminal.PlainConsole(file=written, force_terminal=True, width=40)
    console.print(build_table())
    assert len(re.findall(r"\x1b\[[\d;]*3[0-7]m", written.getvalue())) // 2 <= codes
    assert bool(re.search(r"\x1b\[[\d;]*32m", written.getvalue())) == bool(codes)
