"""What is computed once, and what tells one value from another."""

from __future__ import annotations

import numpy as np
from trials import MemoryArchive, build_trial, cohort_of

from baselines.explainers.gradient import Saliency
from benchmark.seeding import stream
from benchmark.trial import Memory, Trial, remembered


def test_a_remembered_value_is_told_apart_by_all_that_decides_it() -> None:
    """If it fails, one model's or one subject's numbers are given out as another's."""
    calls: list[tuple[object, ...]] = []

    @remembered(by_model=True)
    def measure(trial: Trial, rows: np.ndarray, name: str = "a") -> float:
        calls.append((trial.model_identity, rows.tolist(), name))
        return float(len(calls))

    trial = build_trial(Saliency())
    first, second = np.arange(3), np.arange(1, 4)
    assert measure(trial, first) == measure(trial, first.copy()) == 1
    assert measure(trial, second) == 2
    assert measure(trial, first, "b") == 3
    assert measure(trial.randomised(0), first) == 4
    assert measure(build_trial(Saliency()), first) == 5, "each memory is its own"
    assert measure.__name__ == "measure"


def test_a_copy_of_a_memory_keeps_what_it_learns_to_itself() -> None:
    """If it fails, reading a report fills the memory of a run."""
    memory = Memory()
    memory.once("known", lambda: 1)
    copy = memory.copy()
    assert copy.once("known", lambda: 2) == 1
    copy.once("new", lambda: 3)
    assert not memory.holds("new")


def test_an_altered_cohort_has_a_memory_of_its_own() -> None:
    """If it fails, maps of planted images pass for those of clean ones."""
    memory = Memory()
    memory.once(("maps", "cam"), lambda: "clean")
    altered = memory.of_altered("other")
    assert altered.once(("maps", "cam"), lambda: "planted") == "planted"
    assert memory.of_altered("other") is altered
    memory.forget("maps", "cam")
    assert not memory.holds(("maps", "cam"))
    assert not altered.holds(("maps", "cam"))


def test_what_no_cohort_decides_is_known_on_every_altered_cohort() -> None:
    """If it fails, the network is hashed anew for each planted cohort."""
    memory = Memory()
    altered = memory.of_altered("other").of_altered("a third")
    assert altered.common is memory
    assert memory.copy().common is not memory


def test_exhibits_of_other_settings_are_kept_apart() -> None:
    """If it fails, a run with other settings draws the picture of the first."""
    trial = build_trial(Saliency(), archive=MemoryArchive())
    noise = stream("exhibit").normal(size=(len(cohort_of()),))
    trial.exhibit("delta_t with q = 0.1", {"curve": noise})
    assert trial.exhibited("delta_t with q = 0.1") is not None
    assert trial.exhibited("delta_t with q = 0.2") is None
