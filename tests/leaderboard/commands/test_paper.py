"""The package of a paper: its numbers are those of the records, and it can be printed."""

from __future__ import annotations

import csv
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from experiments import build_card, write_cards
from paths import ROOT
from verifying import invoke

from benchmark.errors import StoreError
from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading, summarise
from benchmark.report.paper.bands.view import MARKERS
from benchmark.report.paper.evidence import gather
from benchmark.report.paper.figures import draw, make_figures
from benchmark.report.paper.specification import FIGURES
from benchmark.report.writer import check_folder
from benchmark.training.regimes import RegimeRecipe
from leaderboard.board.build import build_board
from leaderboard.published.cells import PublishedCell
from leaderboard.published.folder import load_folder, read_readings
from leaderboard.published.record import PublishedRecord

RECORDS = ROOT / "leaderboard/v1/records"
CHOSEN = {
    "smallresnet": ("gradcam", "saliency", "integrated_gradients", "oracle", "random"),
    "smallvgg": ("gradcam", "lrp_epsilon", "random"),
}
LIMITS = ("estimate", "low", "high")
PARTS = ("figure_1", "figure_2", "figure_3", "figure_4", "figure_5", "figure_6", "figure_7")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some of the committed records."""
    folder = tmp_path_factory.mktemp("records")
    for model, methods in CHOSEN.items():
        for method in methods:
            place = Path("phantom", model, method)
            shutil.copytree(RECORDS / place, folder / place)
    return folder


@pytest.fixture(scope="module")
def few(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with their records of two protocols on one model."""
    folder = tmp_path_factory.mktemp("few")
    paths = [*records.rglob("smallresnet/*/delta_t.*"), *records.rglob("smallresnet/*/agree*")]
    for path in paths:
        place = folder / path.relative_to(records)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return folder


@pytest.fixture(scope="module")
def paper(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their paper."""
    out = tmp_path_factory.mktemp("out") / "paper"
    told = invoke("paper", "--records", records, "--out", out)
    assert told.exit_code == 0, told.output
    return out


@pytest.fixture(scope="module")
def measured(records: Path) -> dict[str, tuple[PublishedRecord, list[Reading]]]:
    """Readings of each record by its identity, with the record's own score."""
    found = {}
    for record in load_folder(records):
        if record.readings is not None:
            readings = PublishedCell(record, records, {}).to_readings()
            found[record.identity_sha256] = (record, readings)
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def data_of(paper: Path) -> list[dict[str, str]]:
    """Return the rows of every file of data that names records."""
    files = sorted((paper / "data").glob("*.csv"))
    return [row for path in files for row in rows_of(path) if "source" in row]


def plain_aggregate(reading: Reading, aggregate: str) -> float:
    """Return a reading's aggregate by sums of plain numbers."""
    groups = np.asarray(reading.sample.groups)
    values, known = reading.values, ~np.isnan(reading.values)
    if aggregate == "ratio":
        assert reading.denominators is not None
        known &= ~np.isnan(reading.denominators)
        return math.fsum(values[known]) / math.fsum(reading.denominators[known])
    if aggregate == "balanced_mean":
        halves = [plain_mean(values[known & (groups == group)]) for group in (0, 1)]
        return sum(halves) / 2
    return plain_mean(values[known])


def plain_mean(values: npt.NDArray[np.float64]) -> float:
    return math.fsum(values) / len(values)


def conditions_of(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split("; ")) if text else {}


def reading_of(row: dict[str, str], readings: list[Reading]) -> Reading:
    asked = conditions_of(row["conditions"])
    (found,) = [
        reading
        for reading in readings
        if reading.statistic == row["statistic"]
        and {key: str(value) for key, value in reading.conditions.items()} == asked
    ]
    return found


def test_every_number_of_the_data_is_that_of_its_record(
    paper: Path, measured: dict[str, tuple[PublishedRecord, list[Reading]]]
) -> None:
    """If it fails, a paper prints a number that no record holds."""
    rows = data_of(paper)
    aggregates = {
        "delta_t": {"delta_t": "balanced_mean"},
        "randomization": {"learned_share": "ratio"},
    }
    assert len(rows) > 400
    for row in rows:
        record, readings = measured[row["source"]]
        assert (row["cohort"], row["model"], row["method"], row["protocol"]) == (
            record.names.cohort,
            record.names.model,
            record.names.explainer,
            record.names.protocol,
        )
        reading = reading_of(row, readings)
        aggregate = aggregates.get(row["protocol"], {}).get(row["statistic"], "mean")
        if not row["estimate"]:
            assert math.isnan(summarise(reading, aggregate).estimate)
            continue
        plain = plain_aggregate(reading, aggregate)
        assert float(row["estimate"]) == pytest.approx(plain, rel=1e-9, abs=1e-12), row
        assert int(row["n_subjects"]) == len(
            {s for s, v in zip(reading.sample.subjects, reading.values, strict=True) if v == v}
        )


def test_scores_and_intervals_are_those_of_the_board(paper: Path, records: Path) -> None:
    """If it fails, a paper and the board show two intervals of one score."""
    published = load_folder(records)
    noise = {
        record.path: read_readings(records, record)
        for record in published
        if record.names.explainer == "random" and record.readings is not None
    }
    board = build_board(published, noise=noise)
    shown = {
        (row["model"], row["method"], row["protocol"]): row
        for row in rows_of(paper / "data/table_2_scores.csv")
    }
    compared = 0
    for model in board.models:
        for row in model.rows:
            for cell in row.cells:
                own = shown.get((model.model, row.explainer, cell.protocol))
                if cell.score is None or cell.score.estimate is None:
                    continue
                assert own is not None
                numbers = [float(own[name]) for name in ("estimate", "low", "high")]
                expected = [cell.score.estimate, cell.score.low, cell.score.high]
                assert numbers == pytest.approx(expected, abs=5.1e-5)  # a board shows four digits
                compared += 1
    assert compared >= 35


def test_tables_show_the_numbers_of_their_data(paper: Path) -> None:
    """If it fails, a table says something else than the records."""
    for stem in ("table_1_cohorts_and_models", "table_2_scores"):
        exact = {row[name] for row in rows_of(paper / f"data/{stem}.csv") for name in LIMITS}
        rounded = {f"{float(number):.2f}".replace("-0.00", "0.00") for number in exact - {""}}
        for cells in rows_of(paper / f"tables/{stem}.csv"):
            numbers = [value for value in cells.values() if re.fullmatch(r"-?\d+\.\d+.*", value)]
            assert set(numbers) <= exact
        for ending in ("md", "tex"):
            text = (paper / f"tables/{stem}.{ending}").read_text("utf-8")
            body = text.replace(r"\ensuremath{-}", "-").replace("−", "-").split("\n\n", 1)[-1]
            found = re.findall(r"(?<![\w.])-?\d+\.\d\d(?![\d.m])", body)
            assert len(found) >= 9
            assert set(found) <= rounded, set(found) - rounded


def test_every_point_that_is_drawn_is_a_number_of_the_data(few: Path) -> None:
    """If it fails, a figure shows another number than the records hold."""
    protocols = {
        name: Catalogue().protocols.find_version(name, "1.0").plugin
        for name in ("delta_t", "agreement")
    }
    cells = [PublishedCell(record, few, {}) for record in load_folder(few)]
    evidence = gather(cells, protocols)
    checked = dict.fromkeys(("rows", "curves", "matrix"), 0)
    for number in (4, 5):
        (figure,) = make_figures(evidence, FIGURES[number - 1])
        exact = {value.estimate for value in figure.view.values}
        canvas = draw(figure)
        for axes in canvas.figure.axes:
            marked = [line for line in axes.get_lines() if line.get_marker() in MARKERS]
            is_panel = axes.axison and axes.get_xlim()[0] < 0  # a legend has neither
            for line in marked if is_panel else ():
                xs, ys = line.get_xdata(), line.get_ydata()
                is_row = len(xs) == 1
                assert set(map(float, xs if is_row else ys)) <= exact
                checked["rows" if is_row else "curves"] += 1
            if axes.images:
                texts = {text.get_text().replace("−", "-") for text in axes.texts}
                assert texts <= {f"{estimate:.2f}".replace("-0.00", "0.00") for estimate in exact}
                checked["matrix"] += len(texts)
    assert all(count >= 3 for count in checked.values()), checked


def test_the_checklist_names_the_command_of_what_is_missing(few: Path, tmp_path: Path) -> None:
    """If it fails, an author does not learn that a figure is missing, or how to get it."""
    told = invoke("paper", "--records", few, "--out", tmp_path / "paper")
    assert told.exit_code == 0, told.output
    drawn = {path.name[:8] for path in (tmp_path / "paper/figures").iterdir()}
    assert drawn == {"figure_4", "figure_5", "figure_6"}
    checklist = (tmp_path / "paper/checklist.md").read_text("utf-8")
    assert "- [x] Figure 4" in checklist
    for number, protocol in ((1, "positive_control"), (3, "randomization")):
        part = checklist.split(f"- [ ] Figure {number}")[1].split("- [")[0]
        assert f"--protocol {protocol}`" in part
        assert "python -m benchmark run" in part


def test_the_same_records_give_the_same_bytes(few: Path, tmp_path: Path) -> None:
    """If it fails, a paper under version control changes without a reason."""
    papers = []
    for name, quiet in (("first", ()), ("again", ("--quiet",))):
        told = invoke("paper", "--records", few, "--out", tmp_path / name, *quiet)
        assert told.exit_code == 0, told.output
        assert bool(told.output) != bool(quiet)
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        papers.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert papers[0] == papers[1]


def test_figures_have_a_columns_width_and_embedded_fonts(paper: Path) -> None:
    """If it fails, a journal sends the figures back."""
    pdfs = sorted((paper / "figures").glob("*.pdf"))
    assert [path.name[:8] for path in pdfs] == list(PARTS)
    for path in pdfs:
        content = path.read_bytes()
        (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", content)
        assert float(box[0]) / 72 * 25.4 == pytest.approx(174, abs=0.1)
        assert float(box[1]) / 72 * 25.4 < 225
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        assert b"/CreationDate" not in content
        assert path.with_suffix(".svg").is_file()


def test_the_paper_compiles(paper: Path, tmp_path: Path) -> None:
    """If it fails, an author has to mend LaTeX before seeing the first page."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    shutil.copytree(paper, tmp_path / "paper")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path / "paper", capture_output=True, check=False)
    log = done.stdout.decode("latin-1")
    assert done.returncode == 0, log[-2000:]
    assert (tmp_path / "paper/paper.pdf").is_file()
    assert "Overfull" not in log


def test_what_an_author_changed_is_not_replaced(paper: Path, records: Path, tmp_path: Path) -> None:
    """If it fails, running the command again deletes an author's text."""
    own = tmp_path / "paper"
    shutil.copytree(paper, own)
    text = (own / "methods.md").read_text("utf-8")
    (own / "methods.md").write_text(text.replace("bootstrap", "Bootstrap"), "utf-8")
    told = invoke("paper", "--records", records, "--out", own)
    assert told.exit_code == 2
    assert "methods.md was changed" in told.output
    assert "Bootstrap" in (own / "methods.md").read_text("utf-8")


def test_no_report_takes_the_place_of_a_paper(paper: Path) -> None:
    """If it fails, a report that is written to the wrong folder deletes an author's paper."""
    with pytest.raises(StoreError, match="which no report wrote"):
        check_folder(paper)


def test_experiments_make_a_figure_and_a_table(tmp_path: Path) -> None:
    """If it fails, an author cannot show how well the trained networks tell the groups apart."""
    recipes = [RegimeRecipe("probe"), RegimeRecipe("full")]
    cards = [build_card(number, recipe=recipe) for number, recipe in enumerate(recipes, start=1)]
    write_cards(tmp_path / "experiments", cards)
    told = invoke("paper", "--records", tmp_path / "experiments", "--out", tmp_path / "paper")
    assert told.exit_code == 0, told.output
    rows = rows_of(tmp_path / "paper/data/figure_8_regimes.csv")
    metric = cards[0].metric("test", "auroc")
    assert metric is not None
    (row,) = [r for r in rows if r["method"] == "EXP-001 probe" and r["statistic"] == "auroc"]
    assert [float(row[name]) for name in LIMITS] == [metric.estimate, metric.low, metric.high]
    table = (tmp_path / "paper/tables/table_1_cohorts_and_models.md").read_text("utf-8")
    assert "EXP-002 full" in table
    assert "0.81 \\[0.69, 0.88\\]" in table
    content = (tmp_path / "paper/figures/figure_8_regimes.pdf").read_bytes()
    (width,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+)", content)
    assert float(width) / 72 * 25.4 == pytest.approx(85, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--records", "nowhere"], "nowhere does not exist"),
        (["--experiments", "nowhere"], "There is no folder nowhere"),
        (["--highlight", "gradkam"], "gradkam"),
        (["--suite", "v9"], "no record of suite 'v9'"),
        (["--highlight", "a"] * 6, "at most 5"),
    ],
)
def test_bad_input_is_one_sentence(
    records: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    """If it fails, an author gets a traceback for a slip of the hand."""
    if "nowhere" not in arguments:
        arguments = ["--records", str(records / "phantom/.."), *arguments]
    told = invoke("paper", *arguments, "--out", tmp_path / "paper")
    assert told.exit_code == 2
    assert sentence in told.output
    assert "Traceback" not in told.output
    assert not (tmp_path / "paper/paper.tex").exists()
