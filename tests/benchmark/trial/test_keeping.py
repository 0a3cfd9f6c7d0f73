"""What one process made for a cohort and a model, and a later one finds."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trials import build_trial, cohort_of

from baselines.explainers.gradient import Saliency
from benchmark.errors import StoreError
from benchmark.records.arrays import ArrayFolder
from benchmark.records.storage import turns
from benchmark.trial import Keeping, Study, Trial, remembered
from benchmark.trial.keeping import from_arrays, kept_value_or, to_arrays
from benchmark.trial.needs import Memorised
from benchmark.trial.projection import group_axis
from benchmark.trial.region_effects import region_effects
from protocols.delta_t import DeltaT, DeltaTConfig


@dataclass(frozen=True)
class Answer:
    """A value that is made of everything that can be kept."""

    drops: np.ndarray
    masks: Tensor
    parts: dict[tuple[str, int], tuple[float | None, list[str]]]


ANSWER = Answer(
    np.array([[0.1, np.nan], [np.inf, -0.0]]),
    torch.tensor([True, False]),
    {("a", 1): (1 / 3, ["x"]), ("b", 2): (None, [])},
)


def archive_in(folder: Path) -> ArrayFolder:
    return ArrayFolder(folder, lambda: folder.mkdir(exist_ok=True))


def test_a_value_comes_back_to_the_bit(tmp_path: Path) -> None:
    """If it fails, a second run has other scores than the first."""
    archive = archive_in(tmp_path)
    archive.save("answer", to_arrays(ANSWER, (Answer,)))
    loaded = archive.load("answer")
    assert loaded is not None
    answer = from_arrays(loaded, (Answer,))
    assert isinstance(answer, Answer)
    assert answer.drops.tobytes() == ANSWER.drops.tobytes()
    assert torch.equal(answer.masks, ANSWER.masks)
    assert answer.parts == ANSWER.parts


def test_what_cannot_be_kept_is_refused_by_name() -> None:
    """If it fails, a later run gets half of a value, or a pickle that runs code."""
    with pytest.raises(TypeError, match="an archive cannot keep a Answer"):
        to_arrays({"answer": ANSWER}, ())


def test_a_later_process_finds_what_depends_on_cohort_and_model_alone(tmp_path: Path) -> None:
    """If it fails, every further method pays again for what belongs to the model."""
    archive, rows = archive_in(tmp_path), np.arange(6)

    def measure() -> tuple[Trial, dict[str, np.ndarray], np.ndarray]:
        trial = build_trial(Saliency(), archive=archive)
        effects = region_effects(trial, rows, repeats=2)
        axis = group_axis(trial)
        return trial, {name: effect.after for name, effect in effects.items()}, axis.values

    first, effects, projections = measure()
    second, effects_again, projections_again = measure()
    assert first.passes.forward > 0
    assert second.passes.forward == 0
    np.testing.assert_array_equal(projections, projections_again)
    for name, values in effects.items():
        np.testing.assert_array_equal(values, effects_again[name])


@pytest.mark.parametrize("change", ["suite", "cohort", "order", "model", "version", "argument"])
def test_a_kept_value_is_told_apart_by_all_that_decides_it(tmp_path: Path, change: str) -> None:
    """If it fails, another suite's, cohort's or network's numbers are taken for these."""
    archive, calls = archive_in(tmp_path), []

    def ask(trial: Trial, argument: str = "a", version: str = "1") -> None:
        @remembered(by_model=True, keeping=Keeping(version))
        def measure(trial: Trial, argument: str) -> float:
            calls.append(argument)
            return 1.0

        measure(trial, argument)

    trial = build_trial(Saliency(), archive=archive)
    ask(trial)
    ask(build_trial(Saliency(), archive=archive))
    assert len(calls) == 1, "the second process finds the value"
    other = build_trial(Saliency(), archive=archive)
    if change == "suite":
        other = replace(other, runtime=replace(other.runtime, suite="v0#1"))
    elif change == "cohort":
        other = replace(other, cohort=cohort_of().take(np.arange(40)))
    elif change == "order":
        other = replace(other, cohort=cohort_of().take(np.arange(len(cohort_of()))[::-1]))
    elif change == "model":
        noise = other.models.randomised(0)
        other = replace(other, classifier=noise)
    ask(other, "b" if change == "argument" else "a", "2" if change == "version" else "1")
    assert len(calls) == 2


def test_processes_that_make_the_same_value_at_once_both_end_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, two workers tear each other's archive where neither waits for its turn."""
    monkeypatch.setattr(turns, "_PATIENCE", 0.0)
    archive, barrier, values = archive_in(tmp_path), threading.Barrier(4), []

    def compute() -> np.ndarray:
        barrier.wait()  # nobody has found anything
        return np.arange(1000.0)

    def work() -> None:
        values.append(kept_value_or(archive, "same", Keeping("1"), compute))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = kept_value_or(archive, "same", Keeping("1"), lambda: np.zeros(0))
    assert [value.tobytes() for value in values] == [np.arange(1000.0).tobytes()] * 4
    assert found.tobytes() == values[0].tobytes()
    assert len(list(tmp_path.iterdir())) == 1, "no temporary file stays"


def test_an_archive_that_cannot_be_written_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    """If it fails, a full disk shows a traceback."""
    (tmp_path / "file").touch()
    broken = ArrayFolder(tmp_path / "file", lambda: None)
    with pytest.raises(StoreError, match="cannot be read or written"):
        kept_value_or(broken, "value", Keeping("1"), lambda: 1.0)


def test_a_study_keeps_what_it_shares_apart_by_settings(tmp_path: Path) -> None:
    """If it fails, a suite with other settings takes this suite's scattered masks."""
    archive = archive_in(tmp_path)

    def passes(repeats: int) -> int:
        trial = build_trial(Saliency(), archive=archive)
        config = DeltaTConfig(quantiles=(0.1,), subjects=4, repeats=1, secondary_repeats=repeats)
        DeltaT(config).readings(trial)
        return trial.passes.forward

    first, second, other = passes(1), passes(1), passes(2)
    assert second < first, "scattered masks and region effects are found"
    assert other > second


def test_a_network_by_heart_is_not_asked_again_whether_it_is(tmp_path: Path) -> None:
    """If it fails, every process passes the whole training split through that network."""
    archive = archive_in(tmp_path)
    need = Memorised(seed=2, accuracy=0.95)
    first = build_trial(Saliency(), archive=archive)
    accuracy = need.reached(first)
    second = build_trial(Saliency(), archive=archive)
    assert need.reached(second) == accuracy
    assert second.passes.forward == 0


def test_shared_values_are_kept_only_where_a_protocol_says_how(tmp_path: Path) -> None:
    """If it fails, whatever a third party's protocol shares must be fit for an archive."""
    study = Study(build_trial(Saliency(), archive=archive_in(tmp_path / "arrays")), "mine")
    assert study.shared("anything", lambda: object) is object
    assert not (tmp_path / "arrays").exists()
