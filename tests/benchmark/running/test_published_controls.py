"""Controls that nobody asked for come from published records, and only those of the very cell."""

from __future__ import annotations

import lzma
from dataclasses import replace
from pathlib import Path

import fakes
import numpy as np
import pytest
from runs import CPU, build_record, build_suite

from benchmark.errors import StoreError
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.controls import ControlRecords, rounded, write_controls
from benchmark.records.record import Outcome, largest_difference
from benchmark.records.store import Store
from benchmark.running.engine import Finished, Settings, run
from benchmark.running.plan import make_plan
from benchmark.running.progress import Silence
from benchmark.running.suite import Cell, Selection, Suite

SUITE = build_suite(health=[fakes.spec("DarkAligned"), fakes.spec("Dark")])


def score(
    store: Path,
    published: Path,
    explainers: tuple[str, ...] = ("Bright",),
    suite: Suite = SUITE,
    fresh: bool = False,
) -> Finished:
    selection = Selection(tuple(fakes.spec(name) for name in explainers))
    plan = replace(make_plan(Catalogue(), suite, selection), controls=ControlRecords(published))
    return run(plan, Store(store), Settings(CPU, fresh=fresh))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The folder of published records of the suite's two controls."""
    measured = score(tmp_path / "first", tmp_path / "none", ("DarkAligned", "Dark"))
    write_controls(tmp_path / "published", measured.records)
    return tmp_path / "published"


def test_controls_that_nobody_asked_for_are_not_measured(tmp_path: Path, published: Path) -> None:
    """If it fails, every run pays for controls that score the same for everybody."""
    finished = score(tmp_path / "store", published)
    names = [record.names.explainer for record in finished.records]
    assert names == ["bright", "dark_aligned", "dark"]
    assert finished.measured == 1
    own = [record.names.explainer for record in Store(tmp_path / "store").records()]
    assert own == ["bright"], "a store holds what was measured"
    measured = {record.identity_sha256: record for record in Store(tmp_path / "first").records()}
    for record in finished.records[1:]:
        assert largest_difference(measured[record.identity_sha256], record) < 1e-6


def test_a_stopped_run_tells_published_controls_from_what_it_kept(
    tmp_path: Path, published: Path
) -> None:
    """If it fails, Ctrl-C says that cells are kept which a store does not hold."""

    class Interrupted(Silence):
        def cell_started(self, cell: Cell, passes: int) -> None:
            if cell.protocol == "second":
                raise KeyboardInterrupt

    suite = build_suite(("Loading", "Second"), health=SUITE.health)
    plan = make_plan(Catalogue(), suite, Selection((fakes.spec("Bright"),)))
    plan = replace(plan, controls=ControlRecords(published))
    expected = r"1 of 4 cells .* kept in .*, beside 2 published controls; .* the other 3 when"
    with pytest.raises(KeyboardInterrupt, match=expected):
        run(plan, Store(tmp_path / "store"), Settings(CPU), Interrupted())


def test_a_control_that_is_asked_for_by_name_is_measured(tmp_path: Path, published: Path) -> None:
    """If it fails, nobody can measure a control any more."""
    finished = score(tmp_path / "store", published, ("Bright", "Dark"))
    assert finished.measured == 2
    assert {record.names.explainer for record in Store(tmp_path / "store").records()} == {
        "bright",
        "dark",
    }


def test_fresh_measures_controls(tmp_path: Path, published: Path) -> None:
    """If it fails, published records cannot be checked."""
    assert score(tmp_path / "store", published, fresh=True).measured == 3
    assert score(tmp_path / "store", published).measured == 0, "the store comes first"


def test_a_record_that_is_out_of_date_is_never_taken(tmp_path: Path, published: Path) -> None:
    """If it fails, controls of other settings judge the protocols of this run."""
    settings = {"loading": {"power": 2.0}}
    other = build_suite(health=SUITE.health, settings=settings)
    assert score(tmp_path / "store", published, suite=other).measured == 3
    seeded = build_suite(health=SUITE.health, seed=1)
    assert score(tmp_path / "seeded", published, suite=seeded).measured == 3


def test_a_suite_that_publishes_no_controls_measures_them(tmp_path: Path) -> None:
    """If it fails, a suite of one's own is told nothing of its protocols' health."""
    assert score(tmp_path / "store", tmp_path / "none").measured == 3


@pytest.mark.parametrize("damage", [b"", b"not packed", "torn"])
def test_a_damaged_file_is_named(tmp_path: Path, published: Path, damage: bytes | str) -> None:
    """If it fails, a torn download shows a traceback."""
    (path,) = published.iterdir()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if isinstance(damage, str) else damage)
    with pytest.raises(StoreError, match=str(path)):
        score(tmp_path / "store", published)


def test_a_record_under_the_name_of_another_is_refused(tmp_path: Path, published: Path) -> None:
    """If it fails, one control is shown with the scores of another, and judges by them."""
    (path,) = published.iterdir()
    lines = lzma.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    (one, record), (other, second) = (line.split(" ", 1) for line in lines)
    path.write_bytes(lzma.compress(f"{one} {second}{other} {record}".encode()))
    with pytest.raises(StoreError, match="stands under"):
        score(tmp_path / "store", published)


def test_a_report_finds_the_controls_of_what_a_store_holds(tmp_path: Path, published: Path) -> None:
    """If it fails, the report of a store knows less of the protocols' health than the run did."""
    _ = score(tmp_path / "store", published)
    finished = list(Store(tmp_path / "store").records())
    controls = ControlRecords(published)
    beside = controls.beside(finished)
    assert sorted(record.names.explainer for record in beside) == ["dark", "dark_aligned"]
    assert controls.beside([*finished, *beside]) == []
    other = build_suite(settings={"loading": {"power": 2.0}})
    foreign = score(tmp_path / "foreign", tmp_path / "none", suite=other).records
    assert controls.beside(foreign) == []


def test_rounding_keeps_what_has_no_value_and_its_seal(tmp_path: Path) -> None:
    """If it fails, published records cannot be read, or a missing score becomes a number."""
    record = build_record("random", (1 / 3, np.nan, -2e-9, 123456.789))
    short = rounded(record)
    assert short.readings[0].values == (0.3333333, None, -2e-9, 123456.8)
    assert short.identity == record.identity
    (path,) = write_controls(tmp_path, [record])
    found = ControlRecords(tmp_path).find(record.identity_sha256, "tiny", "tiny_model")
    assert path.name == "tiny-tiny_model.xz"
    assert found == short


def test_failed_controls_are_not_published(tmp_path: Path) -> None:
    """If it fails, a crash on one machine judges protocols on all."""
    failed = build_record(outcome=Outcome("failed", "out of memory"))
    with pytest.raises(StoreError, match="nothing is written: out of memory"):
        write_controls(tmp_path / "published", [failed])
    assert not (tmp_path / "published").exists()
