"""Measures the acceptance of `biomarker`: methods, blind maps, false alarms, and known truths.

``python tests/support/biomarker_acceptance.py PART --maps DIR`` prints one of the tables of
docs/biomarker.md. Maps are kept in the folder, so that another part need not draw them again.
Parts: ``methods`` (of the registered phantom), ``posed`` (of phantom2), ``nulls``, ``coverage``,
``segmentation``, ``study``, ``sites`` and ``parts`` (false alarms on phantom_study).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from biomarker_chance import RUNS, explainer_of, nulls, parts, setting_and_marks, sites, trial_on
from placeless import AtlasTimesOutput, NegativeSobel, UniformTimesOutput

from baselines.explainers.path import IntegratedGradients
from benchmark.arrays import BoolArray, FloatArray
from benchmark.cohort import Cohort
from benchmark.errors import SanityError
from benchmark.explainer import Explainer
from benchmark.reading import Reading, find, interval, shared_bootstrap, summarise
from benchmark.running.device import reproducible
from benchmark.statistics.bootstrap import SubjectBootstrap
from benchmark.statistics.linear import PartialCorrelation, nuisance_design
from benchmark.statistics.studentised import studentised_intervals
from benchmark.statistics.wording import format_interval
from benchmark.trial import Trial
from protocols.biomarker import Biomarker, BiomarkerConfig

BLIND = ("random", "smooth_noise", "centre", "intensity", "sobel", "atlas")
METHODS = (
    "gradcam_aligned",
    "gradient_shap",
    "integrated_gradients",
    "saliency",
    "input_x_gradient",
)
MORE = (
    "gradcam",
    "gradcampp_aligned",
    "layercam_aligned",
    "guided_backprop",
    "lrp_composite",
    "lrp_epsilon",
    "deeplift",
    "smoothgrad",
)
HEADING = (
    "map",
    "beyond output",
    "− copies",
    "− control",
    "p",
    "r given group",
    "r given group, S̃",
    "sides",
    "10 % removed",
    "verdict",
)
RESOLVING = ("true_deviation", "saliency", "input_x_gradient")
CHECKED = "gradcam_aligned"


class MeanGradients(IntegratedGradients):
    """Integrated gradients from the mean training image."""

    name = "integrated_gradients (mean)"

    def __init__(self) -> None:
        super().__init__("mean")


def placeless(trial: Trial) -> tuple[Explainer, ...]:
    """Return maps that follow the output and know no place, and a control with its sign turned."""
    regions = trial.cohort.references.regions
    atlas = () if regions is None else (AtlasTimesOutput(regions),)
    return UniformTimesOutput(), *atlas, NegativeSobel()


def measure(trial: Trial, explainer: Explainer) -> list[Reading]:
    """Return the readings of an explainer, and forget its maps."""
    readings = Biomarker(BiomarkerConfig()).readings(trial.on(explainer=explainer))
    trial.memory.forget("maps")
    return readings


def methods(trial: Trial, explainers: Iterable[Explainer]) -> Iterator[list[str]]:
    """Yield what each explainer scores, clause by clause, and how it ends."""
    yield list(HEADING)
    for explainer in explainers:
        try:
            readings = measure(trial, explainer)
        except SanityError as error:
            yield [f"`{explainer.name}`", *["–"] * 8, str(error)]
            continue
        read, verdict = Biomarker, Biomarker(BiomarkerConfig()).verdict(readings)
        p = find(readings, read.p, of="beyond_output")
        sides = [one for one in readings if one.statistic == read.laterality.name]
        yield [
            f"`{explainer.name}`",
            format_interval(interval(readings, read.beyond_output)) or "–",
            format_interval(interval(readings, read.beyond_copies)) or "–",
            format_interval(interval(readings, read.beyond_control)) or "–",
            "–" if p is None else f"{p.values[0]:.4f}",
            format_interval(interval(readings, read.tracks_volume, scale="relative")) or "–",
            format_interval(interval(readings, read.tracks_volume, scale="absolute")) or "–",
            (format_interval(summarise(sides[0], "studentised")) if sides else None) or "–",
            format_interval(interval(readings, read.marked_drop, q=0.1)) or "–",
            "pass" if verdict.passed else f"fails: {verdict.reason}",
        ]


def coverage(trial: Trial, names: Sequence[str], count: int = 60) -> Iterator[list[str]]:
    """Yield how often intervals of samples of subjects hold the correlation of all of them.

    Samples are drawn with replacement from all subjects, as many of each group, so that all are the
    population.
    """
    yield ["map", "values, studentised", "bootstrap that refits, percentile"]
    for name in names:
        setting, marks = setting_and_marks(trial.on(explainer=explainer_of(name)))
        columns = np.column_stack([marks.own, setting.volumes])
        output = setting.people.mean(setting.output)
        truth = PartialCorrelation(marks.own, setting.volumes, setting.by_output).estimate
        names_of = tuple(f"s{row:04}" for row in range(2 * count))
        groups = np.repeat([0, 1], count)
        studentised = shared_bootstrap(names_of)
        refitting = SubjectBootstrap(names_of, 2000, strata=groups)
        hits, half = np.zeros(2), marks.own.shape[1]
        for run in range(RUNS):
            generator = np.random.default_rng(run)
            members = [
                generator.choice(np.flatnonzero(setting.groups == group), count) for group in (0, 1)
            ]
            rows = np.concatenate(members)
            table = setting.people.covariates.iloc[rows].reset_index(drop=True)
            given = nuisance_design(table, groups, extra={"output": output[rows]})
            pair = PartialCorrelation(columns[rows, :half], columns[rows, half:], given)
            limits = studentised_intervals(studentised, pair.values[:, None])[0]
            other = refitting.statistic_interval(pair.estimate, pair.replicates(refitting))
            hits += [each.low <= truth <= each.high for each in (limits, other)]
        yield [f"`{name}`", *(f"{share:.3f}" for share in hits / RUNS)]


def shrinking(cohort: Cohort) -> Cohort:
    """Return a cohort whose regions are as large as the volume says, like segmentations."""
    rois = {
        name: _scaled(mask, cohort.participants[f"{name}_volume"].to_numpy(dtype=np.float64))
        for name, mask in cohort.anatomy.rois.items()
    }
    return replace(cohort, anatomy=replace(cohort.anatomy, rois=rois, truth=()))


def _scaled(masks: BoolArray, volumes: FloatArray) -> BoolArray:
    """Return masks without their outermost pixels, as many as leave the volume's share."""
    shares, scaled = volumes / volumes.max(), np.zeros_like(masks)
    for row, mask in enumerate(masks[:, 0]):
        inside = np.argwhere(mask)
        distance = ((inside - inside.mean(0)) ** 2).sum(1)
        kept = inside[np.argsort(distance, kind="stable")[: round(shares[row] * len(inside))]]
        scaled[(row, 0, *kept.T)] = True
    return scaled


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part")
    parser.add_argument("--maps", type=Path, required=True)
    parser.add_argument("--explainer", action="append", default=[])
    arguments = parser.parse_args()
    with reproducible():
        write(table_of(arguments.part, arguments.maps, arguments.explainer))


def table_of(part: str, folder: Path, chosen: Sequence[str]) -> Iterator[list[str]]:
    """Return the table of a part."""
    study = ("phantom_study", "smallresnet")
    places = {"posed": ("phantom2", "phantom2_resnet"), "study": study}
    places |= {"sites": study, "parts": study}
    trial = trial_on(*places.get(part, ("phantom", "smallresnet")), folder)
    if part == "segmentation":
        trial = trial_on(shrinking(trial.cohort), "smallresnet", folder)
    if part == "nulls":
        return nulls(trial, chosen or (CHECKED, "saliency"))
    if part == "sites":
        return sites(trial, chosen or (CHECKED,))
    if part == "parts":
        return parts(trial, chosen or RESOLVING)
    if part == "coverage":
        return coverage(trial, chosen or (CHECKED, "saliency", "sobel"))
    names = chosen or ("true_deviation", *METHODS, *(MORE if part == "posed" else ()), *BLIND)
    known = tuple(explainer_of(name) for name in names)
    return methods(trial, known if chosen else (*known, MeanGradients(), *placeless(trial)))


def write(table: Iterable[Sequence[str]]) -> None:
    """Write a table, a row as soon as it is known."""
    for number, row in enumerate(table):
        lines = [row, ["---"] * len(row)] if number == 0 else [row]
        sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
