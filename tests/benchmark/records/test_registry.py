"""Cards of experiments and the folder that they lie in: strict, whole, and numbered once."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from experiments import build_card, build_validation, write_cards

from benchmark.errors import StoreError, UnknownNameError
from benchmark.records import files
from benchmark.records.experiment import CARD, ExperimentCard, experiment_identity
from benchmark.records.identity import sha256_of
from benchmark.records.processes import ProcessEntry
from benchmark.records.registry import make_folder, read_registry, write_card
from benchmark.training.findings import CurvePoint, Metric
from benchmark.training.regimes import RegimeRecipe


def test_a_card_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """If it fails, a registry shows other numbers than the training gave."""
    card = build_card(warnings=("possible leakage or shortcut: a corner",))
    write_cards(tmp_path, [card])
    [read] = read_registry(tmp_path).cards
    assert read.to_json() == card.to_json()
    assert read.recipe == card.recipe
    assert read.validation == card.validation
    assert read.metric("test", "auroc") == Metric("auroc", 0.8125, 0.6875, 0.875, 0.5)
    assert read.metric("test", "nothing") is None
    assert "NaN" not in card.to_json()


def test_fifty_cards_with_a_torn_and_a_foreign_one_give_forty_eight(tmp_path: Path) -> None:
    """If it fails, one broken folder takes the whole registry away, or hides in silence."""
    write_cards(tmp_path, [build_card(number) for number in range(50, 0, -1)])
    torn, foreign = tmp_path / "EXP-007" / CARD, tmp_path / "EXP-031" / CARD
    torn.write_bytes(torn.read_bytes()[:300])
    foreign.write_text('{"experiment": "of another program", "auroc": 0.99}')
    (tmp_path / "notes").mkdir()
    registry = read_registry(tmp_path)
    expected = [f"EXP-{number:03d}" for number in range(1, 51) if number not in (7, 31)]
    assert [card.id for card in registry.cards] == expected
    assert [fault.folder for fault in registry.faults] == ["EXP-007", "EXP-031"]
    for fault in registry.faults:
        assert fault.folder in fault.reason
        assert "damaged or foreign" in fault.reason
    with pytest.raises(StoreError, match="EXP-031"):
        registry.select(["EXP-001", "EXP-031"])
    with pytest.raises(UnknownNameError, match="Did you mean 'EXP-0"):
        registry.select(["EXP-00"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.8125", "0.9125"), "altered after it was written"),
        (lambda text: text.replace('"seconds":12.5', '"seconds":NaN'), "NaN is not a number"),
        (lambda text: text.replace('"seconds":12.5', '"seconds":null'), "seconds"),
        (lambda text: text.replace('"reason":null', '"reason":null,"grade":1'), "grade"),
        (lambda text: text.replace('"patience":5', '"patience":5.5'), "patience"),
        (lambda text: text.replace("finished", "excellent"), "status"),
        (lambda text: text.replace("EXP-001", "EXP-002"), "altered"),
        (lambda text: f"[{text.strip()}]", "the whole"),
        (lambda text: "[" * 100_000, "damaged or foreign"),
        (lambda text: "", "damaged or foreign"),
        (lambda text: "\ud800", "not UTF-8"),
    ],
)
def test_a_number_typed_by_hand_is_refused(tmp_path: Path, change: object, message: str) -> None:
    """If it fails, a card says what no training gave, or a broken one ends in a traceback."""
    write_cards(tmp_path, [build_card()])
    path = tmp_path / "EXP-001" / CARD
    text = change(path.read_text("utf-8"))  # type: ignore[operator]
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    registry = read_registry(tmp_path)
    assert not registry.cards
    assert message in registry.faults[0].reason
    assert str(path) in registry.faults[0].reason


def test_a_card_without_a_later_field_stays_readable() -> None:
    """If it fails, the next field of a recipe makes every older experiment unreadable."""
    content = json.loads(build_card().to_json())
    del content["recipe"]["copies"], content["checksum"]
    text = json.dumps({**content, "checksum": sha256_of(content)})
    assert ExperimentCard.from_json(text).recipe == RegimeRecipe()


def test_a_folder_that_lacks_its_card_or_holds_anothers_is_named(tmp_path: Path) -> None:
    """If it fails, a copied folder is counted twice, or a lost card goes unnoticed."""
    write_cards(tmp_path, [build_card(1)])
    (tmp_path / "EXP-002").mkdir()
    (tmp_path / "EXP-001").rename(tmp_path / "EXP-003")
    registry = read_registry(tmp_path)
    assert [fault.folder for fault in registry.faults] == ["EXP-002", "EXP-003"]
    assert "does not exist" in registry.faults[0].reason
    assert "is the card of EXP-001" in registry.faults[1].reason


def test_what_systems_leave_beside_experiments_is_passed_over(tmp_path: Path) -> None:
    """If it fails, an editor's or a system's copy of a card makes every list tell of a fault."""
    write_cards(tmp_path, [build_card()])
    for name in (".Trash-0", "EXP-001~"):
        shutil.copytree(tmp_path / "EXP-001", tmp_path / name)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    registry = read_registry(tmp_path)
    assert [card.id for card in registry.cards] == ["EXP-001"]
    assert registry.faults == ()


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    """If it fails, a mistyped folder reads as a registry without experiments."""
    with pytest.raises(StoreError, match=r"There is no folder .*, in which experiments lie"):
        read_registry(tmp_path / "experimets")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"There is no folder .*, in which experiments lie"):
        read_registry(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be made"):
        make_folder(tmp_path / "file")


def test_numbers_missing_from_the_findings_are_null() -> None:
    """If it fails, one draw without an AUROC makes the whole card unwritable or unreadable."""
    findings = build_validation()
    points = (CurvePoint(0.1, 2, (math.nan, 0.5), (0.25, math.inf)),)
    split = replace(findings.splits[0], metrics=(Metric("auroc", math.nan, math.nan),))
    findings = replace(findings, learning_curve=points, splits=(split,))
    card = build_card().updated({"validation": findings})
    assert card.validation is not None
    assert card.validation.learning_curve[0] == CurvePoint(0.1, 2, (0.5,), (0.25,))
    assert card.validation.splits[0].metrics[0] == Metric("auroc", None)


def test_two_that_ask_at_once_get_two_numbers(tmp_path: Path) -> None:
    """If it fails, one training overwrites the weights of another."""
    write_cards(tmp_path, [build_card(1), build_card(1001)])
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: make_folder(tmp_path), range(24)))
    assert sorted(folder.name for folder in folders) == [f"EXP-{n}" for n in range(1002, 1026)]


def test_identity_holds_all_that_decides_the_weights() -> None:
    """If it fails, two different trainings count as one, or the same one as two."""
    recipe = RegimeRecipe()
    same = experiment_identity(replace(recipe, epochs=60), "c", "e")
    assert same == experiment_identity(recipe, "c", "e")
    others = [
        experiment_identity(replace(recipe, refit=1), "c", "e"),
        experiment_identity(replace(recipe, head_rate=2e-3), "c", "e"),
        experiment_identity(recipe, "d", "e"),
        experiment_identity(recipe, "c", "f"),
    ]
    assert len({same, *others}) == 5


def test_a_training_whose_process_is_gone_is_interrupted() -> None:
    """If it fails, a killed training runs for ever in the registry, or a live one looks dead."""
    alive = ProcessEntry.current()
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    dead = alive.model_copy(update={"pid": int(done.stdout)})
    another = alive.model_copy(update={"started": "another start of the same number"})
    elsewhere = dead.model_copy(update={"host": "another machine"})

    def status(process: ProcessEntry | None, told: str = "running") -> str:
        return build_card(process=process, status=told).present_status

    assert alive.pid == os.getpid()
    assert [status(alive), status(dead), status(elsewhere)] == ["running", "interrupted", "running"]
    if Path("/proc/self/stat").exists():
        assert status(another) == "interrupted"
    assert status(dead, "finished") == "finished"


def test_a_card_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a full disk leaves half a card where a whole one was."""
    write_cards(tmp_path, [build_card()])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_card(tmp_path / "EXP-001", build_card(status="failed", reason="new"))
    assert [path.name for path in (tmp_path / "EXP-001").iterdir()] == [CARD]
    assert read_registry(tmp_path).cards[0].status == "finished"
