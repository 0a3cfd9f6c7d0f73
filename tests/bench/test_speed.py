"""Single steps beside those of other packages; run by ``make bench``, skipped by ``make test``."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import lru_cache

import numpy as np
import quantus
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from pytorch_grad_cam import GradCAM as OtherGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import GradCAM
from baselines.explainers.gradient import Saliency
from baselines.models.smallresnet import SmallResNet
from benchmark.cohort import Cohort
from benchmark.explainer import Explainer
from benchmark.maps import localisation, ranking
from benchmark.target import own_margin
from benchmark.trial import Runtime, Trial

CPU = torch.device("cpu")
FORWARDS = """
import time, torch
from benchmark.running.allocator import tune_allocator
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


@lru_cache(maxsize=1)
def _cohort() -> Cohort:
    return Phantom().load()


def _trial(explainer: Explainer) -> Trial:
    source = SmallResNet()
    classifier = source.load(_cohort().shape)
    return Trial(explainer, classifier, _cohort(), Runtime(CPU, suite="v1#0"))


def test_the_gain_of_the_allocator(benchmark: BenchmarkFixture) -> None:
    """Report how much faster forward passes run with the thresholds of malloc raised."""

    def forward(tune: str) -> float:
        script = FORWARDS.format(tune=tune)
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        return float(run.stdout)

    tuned = benchmark.pedantic(lambda: forward("tune_allocator()"), rounds=1)
    plain = forward("")
    benchmark.extra_info["ratios"] = {"with the allocator over without": tuned / plain}
    sys.stdout.write(f"\nallocator: 64 images in {tuned * 1e3:.0f} ms, without {plain * 1e3:.0f}\n")


def test_grad_cam_against_pytorch_grad_cam(benchmark: BenchmarkFixture) -> None:
    """Report how much faster maps come without hooks and a backward pass through the trunk."""
    trial = _trial(GradCAM())
    batch = trial.test.batch(torch.arange(64).numpy())

    class Logits(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return trial.classifier(images)[0]

    model = Logits()
    model.classifier = trial.classifier
    other = OtherGradCAM(model=model, target_layers=[trial.classifier.trunk[-1]])
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
    benchmark.extra_info["ratios"] = {"ours over pytorch-grad-cam": ours / min(times)}
    sys.stdout.write(
        f"\nGrad-CAM of 64 images: {ours * 1e3:.0f} ms, "
        f"pytorch-grad-cam {min(times) * 1e3:.0f} ms\n"
    )


def test_scoring_against_quantus(benchmark: BenchmarkFixture) -> None:
    """Report the time of four localisation scores of 200 maps, without a pass."""
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
    benchmark.extra_info["ratios"] = {"ours over Quantus": mine / other}
    sys.stdout.write(f"\nfour scores of 200 maps: {mine:.2f} s, Quantus {other:.2f} s\n")
