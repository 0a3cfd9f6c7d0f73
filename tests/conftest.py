"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

# Before torch is imported, here and in the commands that tests run: workers side by side that each
# ask for every core wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.plugins.examples import SHAPE_3D, build_classifier, build_cohort
from benchmark.plugins.foreign import apart, plugin_file
from benchmark.running.workers import processes

# A package of its own, whose tests run where it is installed; see test_third_party.py.
collect_ignore = ["third_party"]
# Begun first, so that no worker is left alone with one of them at the end.
LONGEST = ("test_docs.py", "test_end_to_end.py", "test_explainers.py", "test_board_page.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, and let no collection look at what is imported.

    That is millions of objects, and takes half a second each time; statsmodels collects at each
    call.
    """
    items.sort(key=lambda item: item.path.name not in LONGEST)
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _reproducible() -> Iterator[None]:
    """Run every test on one thread and from one seed, so that order and machine do not matter."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny_classifier() -> Classifier:
    """An untrained 2-D classifier of 24 × 24 images."""
    return build_classifier()


@pytest.fixture
def tiny_classifier_3d() -> Classifier:
    """An untrained 3-D classifier of 12 × 14 × 16 volumes."""
    return build_classifier(dimensions=3)


@pytest.fixture(scope="session")
def tiny_cohort() -> Cohort:
    """24 subjects, two groups, three splits; cases are darker in two known regions."""
    return build_cohort()


@pytest.fixture(scope="session")
def tiny_cohort_3d() -> Cohort:
    """The same in three dimensions."""
    return build_cohort(SHAPE_3D)


@pytest.fixture(autouse=True)
def _plugins_in_this_process(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run plugins of files in this process, where a test does not ask for what users get.

    A process that measures imports torch first, which takes longer than most tests.
    """
    if "as_users_run_it" not in request.keywords:
        monkeypatch.setattr(processes, "holds_foreign_code", lambda _: False)
        monkeypatch.setattr(apart, "can_run_apart", lambda: False)
        monkeypatch.setattr(plugin_file, "can_run_apart", lambda: False)
