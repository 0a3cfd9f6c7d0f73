"""Seconds over the floor; run by ``make bench``, skipped by ``make test``.

The floor of a protocol is the number of passes it counted times the time of one raw pass at the
best batch size, measured in the same process. A ratio of 1 means that everything else is free.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import CAM, GradCAM, GradCAMPlusPlus, LayerCAM
from baselines.explainers.controls import Random
from baselines.explainers.gradient import Saliency
from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import PassCounter
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.protocol import SanityProtocol
from benchmark.running.allocator import tune_allocator
from benchmark.target import own_margin
from benchmark.trial import Peers, Runtime, Trial
from protocols.agreement import Agreement, AgreementConfig
from protocols.delta_t import DeltaT, DeltaTConfig
from protocols.positive_control import PositiveControl, PositiveControlConfig
from protocols.randomization import Randomization, RandomizationConfig
from protocols.roi_pointing import RoiPointing, RoiPointingConfig

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PROTOCOLS: tuple[SanityProtocol[Any], ...] = (
    PositiveControl(PositiveControlConfig()),
    Randomization(RandomizationConfig()),
    RoiPointing(RoiPointingConfig()),
    DeltaT(DeltaTConfig()),
    Agreement(AgreementConfig()),
)
PANEL = {one.name: one for one in (CAM(), GradCAM(), GradCAMPlusPlus(), LayerCAM(), Saliency())}
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
    source = SmallResNet()
    classifier = source.load(_cohort().shape).to(DEVICE)
    peers = Peers(PANEL, source.recipe, source.relatives)
    return Trial(explainer, classifier, _cohort(), Runtime(DEVICE, suite="v1#0"), peers)


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
    "explainer", [GradCAMPlusPlus(), Saliency(), Random()], ids=lambda one: one.name
)
def test_a_protocol_over_its_floor(
    benchmark: BenchmarkFixture, explainer: Explainer, protocol: SanityProtocol[Any]
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


def test_grad_cam_against_pytorch_grad_cam(benchmark: BenchmarkFixture) -> None:
    """Report how much faster maps come without hooks and a backward pass through the trunk."""
    from pytorch_grad_cam import GradCAM as Other
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    trial = _trial(GradCAM())
    batch = trial.test.batch(torch.arange(64).numpy(), DEVICE)

    class Logits(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return trial.classifier(images)[0]

    model = Logits()
    model.classifier = trial.classifier
    other = Other(model=model, target_layers=[trial.classifier.trunk[-1]])
    targets = [ClassifierOutputTarget(0)] * 64
    images = batch.images.clone().requires_grad_()  # the parameters are frozen
    other(input_tensor=images, targets=targets)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        other(input_tensor=images, targets=targets)
        times.append(time.perf_counter() - start)
    other.activations_and_grads.release()
    explainer = GradCAM()
    benchmark.pedantic(
        lambda: explainer(trial.classifier, batch, own_margin(0)), rounds=5, warmup_rounds=1
    )
    ours = benchmark.stats.stats.min
    sys.stdout.write(
        f"\nGrad-CAM of 64 images: {ours * 1e3:.0f} ms, "
        f"pytorch-grad-cam {min(times) * 1e3:.0f} ms\n"
    )


def test_scoring_against_quantus(benchmark: BenchmarkFixture) -> None:
    """Report the time of four localisation scores of 200 maps, without a pass."""
    import numpy as np
    import quantus

    from benchmark.maps import localisation, ranking

    trial = _trial(Saliency())
    maps, anatomy = trial.importance, trial.test.anatomy
    truth = torch.from_numpy(np.logical_or.reduce(list(anatomy.rois.values())))
    foreground, spacing = torch.from_numpy(anatomy.foreground), trial.cohort.geometry.spacing

    def ours() -> None:
        order = ranking.rank_pixels(maps, foreground)
        localisation.rank_accuracy(maps, truth, foreground, order)
        localisation.mass(maps, truth, foreground)
        localisation.pointing(maps, truth, foreground, 0.0, spacing)
        localisation.average_precision(maps, truth, foreground, order)

    a_batch, s_batch = maps.numpy(), truth.numpy().astype(float)
    metrics = [
        quantus.RelevanceRankAccuracy(disable_warnings=True),
        quantus.RelevanceMassAccuracy(disable_warnings=True),
        quantus.PointingGame(disable_warnings=True),
        # Quantus has no average precision; the area under the ROC curve costs it the same sort.
        quantus.AUC(disable_warnings=True),
    ]

    def theirs() -> None:
        for metric in metrics:
            metric.evaluate_batch(a_batch=a_batch, s_batch=s_batch)

    theirs()
    start = time.perf_counter()
    theirs()
    other = time.perf_counter() - start
    benchmark.pedantic(ours, rounds=5, warmup_rounds=1)
    mine = benchmark.stats.stats.min
    sys.stdout.write(f"\nfour scores of 200 maps: {mine:.2f} s, Quantus {other:.2f} s\n")


@pytest.mark.parametrize("explainer", ["gradcampp", "integrated_gradients"])
def test_a_whole_run(benchmark: BenchmarkFixture, explainer: str, tmp_path: Path) -> None:
    """Report the seconds of all five protocols and the report, from an empty store."""
    command = [sys.executable, "-m", "benchmark", "run", "--explainer", explainer]
    command += ["--store", str(tmp_path / "store"), "--report", str(tmp_path / "report")]

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)

    benchmark.pedantic(run, rounds=1)
    sys.stdout.write(f"\nrun --explainer {explainer}: {benchmark.stats.stats.mean:.0f} s\n")
