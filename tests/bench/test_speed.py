"""Seconds over the floor; run by ``make bench``, skipped by ``make test``.

The floor of a protocol is the number of passes it counted times the time of one raw pass at the
best batch size, measured in the same process. A ratio of 1 means that everything else is free.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import lru_cache

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import GradCAMPlusPlus
from baselines.explainers.controls import Random
from baselines.explainers.gradient import IntegratedGradients, Saliency
from baselines.models.smallresnet import SmallResNet
from benchmark.allocator import tune_allocator
from benchmark.classifier import PassCounter
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.target import own_margin
from benchmark.trial import Runtime, Trial
from protocols.delta_t import DeltaT, DeltaTConfig
from protocols.roi_pointing import RoiPointing, RoiPointingConfig

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PROTOCOLS = (RoiPointing(RoiPointingConfig()), DeltaT(DeltaTConfig()))
FORWARDS = """
import time, torch
from benchmark.allocator import tune_allocator
{tune}
from baselines.models.smallresnet import SmallResNet
model, images = SmallResNet().load((96, 96)), torch.rand(64, 1, 96, 96)
with torch.inference_mode():
    model(images)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        model(images)
        times.append(time.perf_counter() - start)
print(sorted(times)[10])
"""


@pytest.fixture(scope="module", autouse=True)
def _all_cores() -> None:
    """Measure as a run does: tuned allocator, every core."""
    tune_allocator()


@pytest.fixture(autouse=True)
def _threads(_reproducible: None) -> None:
    """Undo the single thread of the other tests."""
    torch.set_num_threads(torch.get_num_interop_threads())


@lru_cache(maxsize=1)
def _cohort() -> Cohort:
    return Phantom().load()


def _trial(explainer: Explainer) -> Trial:
    classifier = SmallResNet().load(_cohort().shape).to(DEVICE)
    return Trial(explainer, classifier, _cohort(), Runtime(DEVICE), {})


def _raw_pass(trial: Trial, backward: bool) -> float:
    """Return seconds of one image's pass at the best batch size."""
    best, images = float("inf"), trial.test.batch(torch.arange(128).numpy(), DEVICE).images
    model = trial.classifier if backward else trial.classifier.streamlined()
    for size in (8, 16, 32, 64, 128):
        batch = images[:size].clone().requires_grad_(backward)

        def once(batch: torch.Tensor = batch) -> None:
            if backward:
                torch.autograd.grad(own_margin(0)(*model(batch)).sum(), batch)
            else:
                with torch.inference_mode():
                    model(batch)
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()

        once()
        for _ in range(5):
            start = time.perf_counter()
            once()
            best = min(best, (time.perf_counter() - start) / size)
    return best


def _floor(trial: Trial, spent: PassCounter) -> float:
    """Return the seconds that the counted passes would take by themselves."""
    floor = (spent.forward - spent.backward) * _raw_pass(trial, backward=False)
    return floor + spent.backward * _raw_pass(trial, backward=True)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "explainer",
    [GradCAMPlusPlus(), Saliency(), IntegratedGradients(), Random()],
    ids=lambda one: one.name,
)
def test_a_protocol_over_its_floor(
    benchmark: BenchmarkFixture, explainer: Explainer, protocol: RoiPointing | DeltaT
) -> None:
    """Report the ratio; a protocol by itself, with nothing shared beforehand."""
    trial = _trial(explainer)
    benchmark.pedantic(lambda: protocol.readings(trial), rounds=1)
    seconds = benchmark.stats.stats.mean
    spent = trial.passes.snapshot()
    floor = _floor(trial, spent)
    benchmark.extra_info.update(
        forward=spent.forward, backward=spent.backward, floor=floor, ratio=seconds / floor
    )
    sys.stdout.write(
        f"\n{protocol.name} × {explainer.name}: {seconds:.1f} s, {spent.forward} forward and "
        f"{spent.backward} backward passes, floor {floor:.1f} s, ratio {seconds / floor:.2f}\n"
    )


def test_the_gain_of_the_allocator(benchmark: BenchmarkFixture) -> None:
    """Report how much faster forward passes run with the thresholds of malloc raised."""

    def forward(tune: str) -> float:
        script = FORWARDS.format(tune=tune)
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return float(run.stdout)

    tuned = benchmark.pedantic(lambda: forward("tune_allocator()"), rounds=1)
    plain = forward("")
    sys.stdout.write(f"\nallocator: 64 images in {tuned * 1e3:.0f} ms, without {plain * 1e3:.0f}\n")
