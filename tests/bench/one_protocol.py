"""What one protocol costs: processor seconds over its floor, passes and memory, as JSON.

One process measures one protocol of one suite on one network, with nothing shared beforehand, so
that nothing it costs was paid by another::

    OMP_NUM_THREADS=1 python tests/bench/one_protocol.py --suite v2 --protocol delta_t
    OMP_NUM_THREADS=1 python tests/bench/one_protocol.py --network resnet18
    OMP_NUM_THREADS=1 python tests/bench/one_protocol.py --subjects 256 --side 96

The *floor* of a protocol is the number of passes that it made times the time of one raw pass at the
best batch size. A ratio of 1 means that everything but the network is free. The floor *as given*
prices forward passes on the network as it is, on which maps are drawn, and not on its folded copy.

``own`` is the network of the suite with its committed relatives. ``resnet18`` is torchvision's with
random weights and a probe as its head; its relatives are fully randomised copies, since training
them belongs to no protocol's cost. With ``--subjects`` the cohort is generated, with so many test
images, all of which are asked, and ``own`` gets a probe too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.models import resnet18

from baselines.models.torchvision_network import cut_torchvision
from benchmark.classifier import Classifier, PassCounter
from benchmark.cohort import Cohort
from benchmark.errors import InputError
from benchmark.explainer import NoExplainer
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_cohort, with_volumes
from benchmark.protocol import SanityProtocol
from benchmark.running.allocator import tune_allocator
from benchmark.running.plan import Plan, make_plan
from benchmark.running.suite import Selection, load_suite
from benchmark.target import own_margin
from benchmark.training import Recipe, fit_probe
from benchmark.trial import Peers, Runtime, Trial
from benchmark.trial.memory import return_memory

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NETWORKS = ("own", "resnet18")
_BATCH_SIZES = (8, 16, 32, 64, 128)
_RAW_ROUNDS = 5
_OTHERS = 96  # subjects of a generated cohort outside the test split
# Processor seconds do not depend on who else uses the machine; those of a GPU count no waiting.
_clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time


def main() -> None:
    """Measure, and write one line of JSON."""
    options = _parse()
    tune_allocator()
    suite = load_suite(options.suite)
    is_of_suite = options.protocol in {name.partition("@")[0] for name in suite.protocols}
    asked = () if is_of_suite else (options.protocol,)
    try:
        plan = make_plan(Catalogue(), suite, Selection((options.explainer,), protocols=asked))
    except InputError as error:
        sys.exit(str(error))
    protocol = plan.protocol(options.protocol)
    if options.subjects is not None and "subjects" in type(protocol.config).model_fields:
        config = protocol.config.model_copy(update={"subjects": options.subjects})
        protocol = type(protocol)(config)
    trial = _build_trial(plan, protocol, options)
    return_memory()
    forget_peak()
    before, resting = trial.passes.snapshot(), peak_memory()
    start = _clock()
    readings = protocol.readings(trial)
    seconds = _clock() - start
    spent = trial.passes.since(before)
    peak = peak_memory()
    raw = {way: raw_pass(trial, backward=way == "backward") for way in ("forward", "backward")}
    given = raw_pass(trial, backward=False, streamlined=False)
    back = spent.backward * raw["backward"]
    floor, floor_as_given = (
        (spent.forward - spent.backward) * seconds_of_one + back
        for seconds_of_one in (raw["forward"], given)
    )
    result = {
        "suite": options.suite,
        "protocol": options.protocol,
        "explainer": options.explainer,
        "network": options.network,
        "test_images": len(trial.test),
        "side": trial.cohort.shape[-1],
        "seconds": seconds,
        "forward": spent.forward,
        "backward": spent.backward,
        "raw_forward": raw["forward"],
        "raw_backward": raw["backward"],
        "raw_forward_as_given": given,
        "floor": floor,
        "ratio": seconds / floor if floor else None,
        "floor_as_given": floor_as_given,
        "resting_megabytes": resting,
        "peak_megabytes": peak,
        "readings": len(readings),
        "device": DEVICE.type,
        "threads": torch.get_num_threads(),
    }
    sys.stdout.write(json.dumps(result) + "\n")


def raw_pass(trial: Trial, backward: bool, streamlined: bool = True) -> float:
    """Return seconds of one image's pass at the best batch size; the way back is never folded.

    The median of some rounds at each size: the protocol, too, ran on a machine as busy as it was.
    """
    best = float("inf")
    images = trial.test.batch(torch.arange(len(trial.test)).numpy(), DEVICE).images
    model = trial.classifier.streamlined() if streamlined and not backward else trial.classifier
    for size in (size for size in _BATCH_SIZES if size <= len(images)):
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
        rounds = [_seconds(once) / size for _ in range(_RAW_ROUNDS)]
        best = min(best, statistics.median(rounds))
    return best


def forget_peak() -> None:
    """Let ``peak_memory`` begin anew with what the process holds now, where Linux can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> float:
    """Return the most memory that this process has held since ``forget_peak``, in megabytes."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="v1")
    parser.add_argument("--protocol", default="delta_t")
    parser.add_argument("--explainer", default="gradcampp")
    parser.add_argument("--network", choices=NETWORKS, default="own")
    parser.add_argument("--subjects", type=int, help="Test images of a generated cohort.")
    parser.add_argument("--side", type=int, default=96, help="Pixels along a side of these.")
    return parser.parse_args()


def _build_trial(plan: Plan, protocol: SanityProtocol[Any], options: argparse.Namespace) -> Trial:
    """Return the trial that is measured, with nothing computed."""
    cell = next(cell for cell in plan.cells if cell.protocol == options.protocol)
    source = plan.models[cell.model].create()
    is_plain = options.network == "own" and options.subjects is None
    if options.subjects is None:
        cohort = plan.cohorts[cell.cohort].create().load()
    else:
        # Half of the generated subjects are in the test split; the others stay as many.
        subjects = 2 * max(options.subjects, _OTHERS)
        cohort = with_volumes(build_cohort((options.side,) * 2, subjects=subjects))
        splits = cohort.participants["split"].to_numpy()
        test, others = np.flatnonzero(splits == "test"), np.flatnonzero(splits != "test")
        # As in the suites' cohorts, a split lies in a run, so that it shares the cohort's arrays.
        others = others[:_OTHERS][np.argsort(splits[others[:_OTHERS]], kind="stable")]
        cohort = cohort.take(np.concatenate([test[: options.subjects], others]))
        # What a subject looks like at normal volume decides no cost; another subject stands for it.
        cohort = replace(cohort, normals=np.roll(cohort.images, 1, axis=0))
    if options.network == "resnet18":
        classifier = fit_probe(_resnet18(cohort), cohort)
    elif is_plain:
        classifier = source.load(cohort.shape)
    else:
        torch.manual_seed(0)
        classifier = fit_probe(source.build(cohort.shape), cohort)
    classifier = classifier.to(DEVICE)
    classifier.passes = PassCounter()
    panel = {name: entry.create() for name, entry in plan.panel.items()}
    peers = Peers(panel, source.recipe or Recipe(), source.relatives if is_plain else None)
    runtime = Runtime(DEVICE, suite=plan.suite.stream_name)
    asked = plan.explainers[options.explainer] if protocol.explains else None
    explainer = NoExplainer() if asked is None else asked.create()
    trial = Trial(explainer, classifier, cohort, runtime, peers)
    if not is_plain:
        _stand_in_for_relatives(trial, protocol)
    return trial


def _resnet18(cohort: Cohort) -> Classifier:
    torch.manual_seed(0)
    network = resnet18(weights=None)
    network.fc = nn.Linear(network.fc.in_features, 2)
    return cut_torchvision("resnet18", network, cohort.shape)


def _stand_in_for_relatives(trial: Trial, protocol: SanityProtocol[Any]) -> None:
    """Give the trial randomised copies where the protocol would train networks."""
    images = trial.models.reestimation_images()
    for number, relative in enumerate(protocol.relatives(trial)):

        def fit(number: int = number) -> Classifier:
            return trial.classifier.randomised(number, images)

        trial.relative(replace(relative, fit=fit))


def _seconds(work: Callable[[], None]) -> float:
    start = _clock()
    work()
    return _clock() - start


if __name__ == "__main__":
    main()
