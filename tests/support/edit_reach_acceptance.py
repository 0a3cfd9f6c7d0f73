"""Measures `edit_reach` and `counterfactual` on the committed networks, for their page.

``python tests/support/edit_reach_acceptance.py phantom`` or ``phantom2``; a quarter of an hour on
one idle core. Names of explainers after that measure these alone, ``card`` that of edits, and
``adversarial`` what of an adversarial edit carries over to other networks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from baselines.cohorts.phantom import Phantom
from baselines.cohorts.phantom2 import Phantom2
from baselines.explainers.class_activation import GradCAM, GradCAMAligned, GradCAMPlusPlusAligned
from baselines.explainers.controls import Centre, Intensity, Oracle, Random, Sobel
from baselines.explainers.counterfactual import Counterfactual as SmallestChange
from baselines.explainers.gradient import Saliency
from baselines.explainers.guided import GuidedBackprop
from baselines.explainers.path import IntegratedGradients
from baselines.models.phantom2_resnet import Phantom2ResNet
from baselines.models.phantom2_vgg import Phantom2VGG
from baselines.models.smallresnet import SmallResNet
from baselines.models.smallvgg import SmallVGG
from benchmark.explainer import Explainer
from benchmark.protocol import Table
from benchmark.reading import Reading, find, interval, summarise
from benchmark.statistics.wording import format_interval
from benchmark.training import Recipe
from benchmark.trial import Peers, Retrained, Runtime, Study, Trial
from benchmark.trial.interventions.edits import Budget, Editor
from benchmark.trial.interventions.plausible import plausible_subspace
from protocols.counterfactual import Counterfactual, CounterfactualConfig
from protocols.counterfactual.card import effect_on
from protocols.counterfactual.changes import adversarial, pixels_of
from protocols.edit_reach import EditReach, EditReachConfig
from protocols.edit_reach.reaches import top_reaches
from protocols.edit_reach.tables import reach_tables

CARD, ADVERSARIAL = "card", "adversarial"
NEAR = 4  # pixels around the truth
# Explainers that are compared on the same subjects: the first is expected to lead.
PAIRS = (
    ("oracle", "saliency"),
    ("saliency", "gradcam_aligned"),
    ("gradcam_aligned", "gradcam"),
    ("saliency", "guided_backprop"),
    ("saliency", "integrated_gradients"),
    ("gradcampp_aligned", "gradcam_aligned"),
)
COHORTS = {
    "phantom": (Phantom, SmallResNet, "v1#0"),
    "phantom2": (Phantom2, Phantom2ResNet, "v2#0"),
}
OTHER_NETWORKS = {"phantom": SmallVGG, "phantom2": Phantom2VGG}
EXPLAINERS: tuple[Explainer, ...] = (
    Saliency(),
    GradCAMAligned(),
    GradCAM(),
    Random(),
    Sobel(),
    Oracle(),
    IntegratedGradients(),
    GradCAMPlusPlusAligned(),
    GuidedBackprop(),
    Intensity(),
    Centre(),
)


def trial_on(name: str) -> Trial:
    """Return a trial of saliency on a cohort and its committed network."""
    cohort_type, model_type, suite = COHORTS[name]
    cohort, source = cohort_type().load(), model_type()
    peers = Peers({}, source.recipe or Recipe(), source.relatives)
    runtime = Runtime(torch.device("cpu"), suite=suite)
    return Trial(Saliency(), source.load(cohort.shape), cohort, runtime, peers)


def of_budgets(trial: Trial, config: EditReachConfig) -> Iterator[str]:
    """Yield how reaches inside saliency's tops follow the size of edits, and the steps to them."""
    images = Study(trial, EditReach.name).balanced(config.subjects)
    subspace = plausible_subspace(trial, config.components, config.fewest_images)
    tops = images.tops(images.ranked(images.maps()), config.quantiles)[:, :, 0]
    masks = torch.cat([tops, images.foreground], dim=1)
    reaches = {}
    for budget in (Budget(), Budget(1), Budget(2), Budget(steps=16)):
        edits = Editor(trial, subspace, budget).edits(images.rows, lambda chunk: masks[chunk])
        reaches[budget] = edits.reach
        means = ", ".join(f"{reach:.2f}" for reach in edits.reach.mean(0))
        yield f"radius {budget.radius:g}, {budget.steps} steps: {means} T (2, 5, 10 %, all)"
    first = reaches[Budget()]
    nested = np.mean(first[:, -1:] >= first[:, :-1])
    yield f"the whole foreground reaches at least as far in {nested:.1%} of subjects and shares"
    change = (reaches[Budget(steps=16)] - first)[:, :-1].mean()
    yield f"16 steps in place of 8 change the mean by {change:.3f} T"


def of_a_copy(trial: Trial, config: EditReachConfig) -> str:
    """Return the reach of saliency's maps of a randomised copy above random places."""
    images = Study(trial, EditReach.name).balanced(config.subjects)
    ranked = images.ranked(trial.randomised(0).maps(images.rows))
    subspace = plausible_subspace(trial, config.components, config.fewest_images)
    editor = Editor(trial, subspace, Budget(config.radius, config.steps))
    above = top_reaches(images, editor, ranked, config.quantiles, config.repeats).above_rings
    reading = Reading("above", images.sample, above.mean(1))
    return f"saliency on a randomised copy: {format_interval(summarise(reading, 'studentised'))} T"


def of_adversarial(trial: Trial, name: str, subjects: int = 32) -> Iterator[str]:
    """Yield the fall by adversarial edits, and by parts of them, on the network and on others."""
    images = Study(trial, Counterfactual.name).balanced(subjects)
    pixels = pixels_of(images)
    other = OTHER_NETWORKS[name]()
    networks = {
        "twin": Retrained(seed=1).on(trial),
        other.name: trial.on(classifier=other.load(trial.cohort.shape)),
    }

    def line(label: str, change: Tensor) -> str:
        edited = (pixels + change).clamp(0, 1)
        own = effect_on(trial, images, pixels, edited).fall.mean()
        falls = {
            key: effect_on(network, images, pixels, edited).fall.mean()
            for key, network in networks.items()
        }
        words = ", ".join(f"{fall / own:.2f} carry over to {key}" for key, fall in falls.items())
        return f"{label}: {own:.2f} T, {words}"

    for size in (0.004, 0.016, 0.032):
        change = adversarial(trial, images.rows, size) - pixels
        yield line(f"adversarial, at most {size:g}", change)
    change = adversarial(trial, images.rows, CounterfactualConfig().adversarial) - pixels
    truth = trial.test.truth
    assert truth is not None
    around = ndimage.generate_binary_structure(2, 1)[None, None]
    near = torch.from_numpy(ndimage.binary_dilation(truth[images.rows], around, NEAR))
    smooth = torch.from_numpy(ndimage.gaussian_filter(change.numpy(), (0, 0, 1, 1)))
    share = f"{near.float().mean():.1%} of the pixels"
    yield line(f"within {NEAR} px of the truth, {share}", torch.where(near, change, 0.0))
    yield line("beyond", torch.where(near, 0.0, change))
    yield line("blurred by a pixel", smooth)
    yield line("what blurring takes away, beyond", torch.where(near, 0.0, change - smooth))


def compare(readings: Mapping[str, Sequence[Reading]]) -> Iterator[str]:
    """Yield the paired difference of the score, and of the reach above random places, in T."""
    for first, second in PAIRS:
        if first not in readings or second not in readings:
            continue
        parts = []
        for label, statistic, where in (
            ("score", EditReach.edit_reach, {}),
            ("above random places", EditReach.above, {"null": "chance"}),
        ):
            pair = [find(readings[name], statistic, **where) for name in (first, second)]
            if pair[0] is None or pair[1] is None:
                continue
            difference = replace(pair[0], values=pair[0].values - pair[1].values)
            parts.append(f"{label} {format_interval(summarise(difference, 'studentised'), 3)}")
        yield f"{first} minus {second}: {', '.join(parts)}"


def measure(name: str, chosen: Iterable[str], write: Callable[[str], object]) -> None:
    """Measure explainers on a cohort, all unless some are named, and write as they are measured."""
    trial, protocol = trial_on(name), EditReach(EditReachConfig())
    names = tuple(chosen) or tuple(explainer.name for explainer in EXPLAINERS)
    if not chosen:
        for line in of_budgets(trial, protocol.config):
            write(f"{line}\n")
        write(f"{of_a_copy(trial, protocol.config)}\n")
    readings: dict[str, list[Reading]] = {}
    for explainer in EXPLAINERS:
        if explainer.name not in names:
            continue
        start = time.perf_counter()
        own = protocol.readings(trial.on(explainer=explainer))
        readings[explainer.name] = own
        verdict, score = protocol.verdict(own), interval(own, protocol.edit_reach)
        seconds = time.perf_counter() - start
        write(f"{explainer.name}: {format_interval(score, 3)} {verdict} in {seconds:.0f} s\n")
        write(f"{protocol.health_faults(own)} {protocol.remark(own)}\n")
    _write_tables(reach_tables(readings), write)
    for line in compare(readings):
        write(f"{line}\n")
    if not chosen or ADVERSARIAL in chosen:
        for line in of_adversarial(trial, name):
            write(f"{line}\n")
    if not chosen or CARD in chosen:
        card = Counterfactual(CounterfactualConfig())
        own = card.readings(trial.on(explainer=SmallestChange()))
        write(f"{card.verdict(own)}\n")
        _write_tables(card.tables({SmallestChange.name: own}), write)


def _write_tables(tables: Iterable[Table], write: Callable[[str], object]) -> None:
    for table in tables:
        write(f"\n| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}\n")
        for row in table.rows:
            write(f"| {' | '.join('' if cell is None else str(cell) for cell in row)} |\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    measure(sys.argv[1], sys.argv[2:], _write)
