"""Measures our five protocols of suite v1 beside the same job composed of other packages.

Both run in this process, in turn, on one thread, and processor seconds are compared::

    OMP_NUM_THREADS=1 python tests/bench/beside_peers.py --rounds 3
    OMP_NUM_THREADS=1 python tests/bench/beside_peers.py --method gradcampp --method saliency

Each round starts with nothing computed, and goes through the protocols as a run does: what one of
them leaves to the next is shared, on both sides. Statistics after the readings, records and reports
are no part of it; `measure_commands.py` measures whole commands.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peer_tools import METHODS
from peers import PeersJob

from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import CAM, GradCAM, GradCAMPlusPlus, LayerCAM
from baselines.explainers.gradient import InputXGradient, Saliency, SmoothGrad
from baselines.explainers.guided import GuidedBackprop
from baselines.explainers.path import IntegratedGradients
from baselines.explainers.perturbation import Occlusion
from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import PassCounter
from benchmark.cohort import Cohort
from benchmark.running.allocator import tune_allocator
from benchmark.trial import Peers, Runtime, Trial
from protocols.agreement import Agreement, AgreementConfig
from protocols.delta_t import DeltaT, DeltaTConfig
from protocols.positive_control import PositiveControl, PositiveControlConfig
from protocols.randomization import Randomization, RandomizationConfig
from protocols.roi_pointing import RoiPointing, RoiPointingConfig

PANEL = {one.name: one for one in (CAM(), GradCAM(), GradCAMPlusPlus(), LayerCAM(), Saliency())}
EXPLAINERS = PANEL | {
    one.name: one
    for one in (
        InputXGradient(),
        GuidedBackprop(),
        IntegratedGradients(),
        SmoothGrad(),
        Occlusion(),
    )
}
PROTOCOLS = {
    one.name: one
    for one in (
        PositiveControl(PositiveControlConfig()),
        Randomization(RandomizationConfig()),
        RoiPointing(RoiPointingConfig()),
        DeltaT(DeltaTConfig()),
        Agreement(AgreementConfig()),
    )
}


@dataclass(frozen=True)
class Spent:
    """What one protocol cost one side.

    Attributes:
        seconds: Processor seconds.
        forward: Forward image passes.
        backward: Backward image passes.
    """

    seconds: float
    forward: int
    backward: int


def build_trial(cohort: Cohort) -> Trial:
    """Return a trial on `smallresnet` with nothing computed, and a counter of its own."""
    source = SmallResNet()
    classifier = source.load(cohort.shape)
    classifier.passes = PassCounter()
    peers = Peers(PANEL, source.recipe, source.relatives)
    runtime = Runtime(torch.device("cpu"), suite="v1#0")
    return Trial(PANEL["gradcampp"], classifier, cohort, runtime, peers)


def measure_ours(trial: Trial, protocol: str, methods: Sequence[str]) -> Spent:
    """Return what a protocol costs us for some methods."""

    def work() -> None:
        for method in methods:
            PROTOCOLS[protocol].readings(trial.on(explainer=EXPLAINERS[method]))

    before = trial.passes.snapshot()
    seconds = _seconds(work)
    passes = trial.passes.since(before)
    return Spent(seconds, passes.forward, passes.backward)


def measure_theirs(job: PeersJob, protocol: str, methods: Sequence[str]) -> Spent:
    """Return what a protocol costs the composed job for some methods."""

    def work() -> None:
        for method in methods:
            job.run(protocol, method)

    before = dict(job.network.counts)
    seconds = _seconds(work)
    counts = {name: count - before[name] for name, count in job.network.counts.items()}
    return Spent(seconds, counts["forward"], counts["backward"])


def _seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant maps have no correlation, and SciPy says so
        work()
    return time.process_time() - start


def main() -> None:
    """Measure both, and write a table and, where asked for, all numbers as JSON."""
    options = _parse()
    tune_allocator()
    torch.set_num_threads(1)
    cohort = Phantom().load()
    ready = build_trial(cohort)
    spent: dict[str, list[tuple[Spent, Spent]]] = {name: [] for name in options.protocol}
    for number in range(options.rounds):
        trial, job = build_trial(cohort), PeersJob(ready)
        for name in options.protocol:
            if number % 2 == 0:
                ours = measure_ours(trial, name, options.method)
                theirs = measure_theirs(job, name, options.method)
            else:
                theirs = measure_theirs(job, name, options.method)
                ours = measure_ours(trial, name, options.method)
            spent[name].append((ours, theirs))
            sys.stderr.write(f"{number + 1}/{options.rounds} {name}: {ours}, {theirs}\n")
    sys.stdout.write(_table(spent, options.method))
    if options.json is not None:
        numbers = {
            name: [[vars(side) for side in pair] for pair in of] for name, of in spent.items()
        }
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", action="append", choices=METHODS, help="Default: gradcampp.")
    parser.add_argument(
        "--protocol", action="append", choices=list(PROTOCOLS), help="Default: all."
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="Also write every number here.")
    options = parser.parse_args()
    options.method = options.method or ["gradcampp"]
    options.protocol = options.protocol or list(PROTOCOLS)
    return options


def _table(spent: dict[str, list[tuple[Spent, Spent]]], methods: Sequence[str]) -> str:
    lines = [
        f"\n{', '.join(methods)}; CPU seconds, passes forward + backward",
        "",
        "| protocol | ours | composed | composed / ours | our passes | their passes |",
        "|---|---|---|---|---|---|",
    ]
    for name, pairs in spent.items():
        own_spent, their_spent = pairs[0]
        lines.append(
            f"| `{name}` | {_middle([own.seconds for own, _ in pairs])} "
            f"| {_middle([other.seconds for _, other in pairs])} "
            f"| {_middle([other.seconds / own.seconds for own, other in pairs])} "
            f"| {own_spent.forward} + {own_spent.backward} "
            f"| {their_spent.forward} + {their_spent.backward} |"
        )
    rounds = list(zip(*spent.values(), strict=True))
    ours, theirs = ([sum(pair[side].seconds for pair in of) for of in rounds] for side in (0, 1))
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    lines.append(f"| all | {_middle(ours)} | {_middle(theirs)} | {_middle(ratios)} | | |")
    return "\n".join(lines) + "\n"


def _middle(values: Sequence[float]) -> str:
    middle = f"{statistics.median(values):.2f}"
    spread = f" ({min(values):.2f} to {max(values):.2f})"
    return middle if len(values) == 1 else middle + spread


if __name__ == "__main__":
    main()
