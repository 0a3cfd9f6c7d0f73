"""`biomarker`: what is asked, of whom, and that maps which know no volume do not pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from contract_settings import people_of, trial_of
from placeless import AtlasTimesOutput, NegativeSobel, UniformTimesOutput
from torch import Tensor

from baselines.cohorts.phantom import Phantom
from baselines.explainers.class_activation import GradCAMAligned
from baselines.explainers.controls import Centre, Random, Sobel, TrueDeviation
from baselines.explainers.gradient import Saliency
from baselines.models.smallresnet import SmallResNet
from benchmark.classifier import Classifier
from benchmark.cohort import Cohort
from benchmark.errors import AttributionError, NotAssessableError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.reading import Reading, Sample, find, interval
from benchmark.target import Target
from benchmark.trial import Peers, Runtime, Trial
from protocols.biomarker import Biomarker, BiomarkerConfig
from protocols.biomarker.figures import biomarker_drawings
from protocols.biomarker.measures import region_means
from protocols.biomarker.tables import p_value

SMALL = BiomarkerConfig(
    minimum=8, permutations=99, resamples=20, quantiles=(0.5,), removed=4, repeats=1, places=1
)
PROTOCOL = Biomarker(SMALL)
DARK = 177.6  # sum of the values of the two darkest test images is below it


def _people() -> Cohort:
    return people_of(Biomarker.name, 2)


def _measure(cohort: Cohort, explainer: Explainer | None = None) -> list[Reading]:
    return PROTOCOL.readings(trial_of(explainer or Saliency(), "conv", 2, cohort))


@lru_cache(maxsize=1)
def _usual() -> Sequence[Reading]:
    """Return the readings of saliency on the subjects as they are."""
    return _measure(_people())


def _with(cohort: Cohort, **columns: object) -> Cohort:
    return replace(cohort, participants=cohort.participants.assign(**columns))


class Louder(Saliency):
    """The same map, in units that differ from image to image."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient times a power of two that the image decides."""
        maps = super().attribute(classifier, images, target)
        exponents = (images.flatten(1).sum(1) * 1000).long() % 7
        return maps * torch.exp2(exponents.to(maps)).view(-1, *[1] * (maps.ndim - 1))


@pytest.mark.parametrize("names", [("left",), ("left", "right")])
def test_a_cohort_without_volumes_is_unsupported(names: tuple[str, ...]) -> None:
    """If it fails, a user is asked nothing, or is not told which column is missing."""
    cohort = _people()
    columns = [f"{name}_volume" for name in names]
    without = replace(cohort, participants=cohort.participants.drop(columns=columns))
    if len(names) == 1:  # the other side is assessed alone
        readings = _measure(without)
        assert find(readings, "beyond_output", roi="right") is not None
        assert find(readings, "beyond_output", roi="left") is None
        return
    with pytest.raises(UnsupportedError, match="no column left_volume or right_volume"):
        _measure(without)


def test_what_cannot_be_assessed_is_named() -> None:
    """If it fails, a score stands where subjects, controls or covariates cannot carry one."""
    cohort, trial = _people(), trial_of(Saliency(), "conv", 2, _people())
    with pytest.raises(NotAssessableError, match="fewer than 60 test subjects with volumes: 24"):
        Biomarker(BiomarkerConfig()).readings(trial)
    ages = cohort.participants["age"].where(np.arange(len(cohort)) % 6 > 0)
    with pytest.raises(NotAssessableError, match=r"with volumes: \d+; \d+ lack age$"):
        Biomarker(BiomarkerConfig()).readings(
            trial_of(Saliency(), "conv", 2, _with(cohort, age=ages))
        )
    uncontrolled = replace(cohort, anatomy=replace(cohort.anatomy, control_rois={}))
    with pytest.raises(NotAssessableError, match="no control region of left, right"):
        _measure(uncontrolled)
    with pytest.raises(NotAssessableError, match="a covariate determines the group"):
        _measure(_with(cohort, scanner=[f"s{group}" for group in cohort.groups]))


def test_subjects_without_a_value_are_left_out_and_counted() -> None:
    """If it fails, a missing volume ends the run, or is silently something else."""
    cohort = _people()
    volumes = cohort.participants["left_volume"].to_numpy(copy=True)
    volumes[np.flatnonzero(cohort.participants["split"] == "test")[:2]] = np.nan
    readings = _measure(_with(cohort, left_volume=volumes))
    score, excluded = find(readings, "beyond_output"), find(readings, "fact", item="excluded")
    assert score is not None
    assert excluded is not None
    assert len(score.sample) == 22
    assert excluded.values[0] == 2


def test_volumes_that_tell_nothing_are_not_assessed() -> None:
    """If it fails, a structure that is gone on both sides divides by zero."""
    for value in (0.0, 3000.0):
        readings = _measure(_with(_people(), left_volume=value, right_volume=value))
        assert PROTOCOL.verdict(readings).state == "not assessable"
        laterality = find(readings, "laterality", pair="regions")
        assert laterality is not None
        assert not laterality.values.any()


class Gaps(Saliency):
    """A map that is not finite on a few images."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the gradient, NaN at one pixel of one image in a dozen or so."""
        maps = super().attribute(classifier, images, target)
        dark = images.flatten(1).sum(1) < DARK
        return torch.where(dark.view(-1, *[1] * (maps.ndim - 1)), torch.nan, maps)


def test_a_map_that_is_not_finite_costs_its_subject_and_not_the_method() -> None:
    """If it fails, one NaN ends a study of hundreds, or a copy's NaN gives its null away."""
    readings = _measure(_people(), Gaps())
    score, excluded = find(readings, "beyond_output"), find(readings, "fact", item="excluded")
    usual = find(_usual(), "beyond_output")
    assert score is not None
    assert usual is not None
    assert excluded is not None
    lost = set(usual.sample.keys) - set(score.sample.keys)
    assert 0 < len(lost) == excluded.values[0] <= 2
    copies = find(readings, "arm", arm="copies")
    assert copies is not None
    assert not np.allclose(copies.values, 0)


def test_a_map_of_mostly_nothing_is_refused() -> None:
    """If it fails, a method is judged on the few images that it chose to explain."""
    for value, what in ((0.0, "zeros"), (torch.nan, "non-finite map")):

        class Silent(Saliency):
            name = "silent"

            def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
                return torch.full_like(images, value)  # noqa: B023

        with pytest.raises(AttributionError, match=f"a .*{what} on 24 of 24 images"):
            _measure(_people(), Silent())


def test_a_cohort_without_covariates_is_assessed_given_the_group() -> None:
    """If it fails, a table of volumes alone ends in a traceback."""
    cohort = _people()
    bare = replace(cohort, participants=cohort.participants.drop(columns=["age", "sex"]))
    readings = _measure(bare)
    assert find(readings, "beyond_output") is not None
    tables = {table.name: table for table in Biomarker.tables({"saliency": readings})}
    rows = {str(row[0]): row for row in tables["checklist"].rows}
    assert rows["covariates"][1:] == ("–", "none")


def test_a_factor_for_each_image_changes_no_score() -> None:
    """If it fails, the unit of a map decides, which differs between images for many methods."""
    first, second = _usual(), _measure(_people(), Louder())
    for name in ("beyond_output", "beyond_copies", "beyond_control"):
        pair = [find(readings, name) for readings in (first, second)]
        assert pair[0] is not None
        assert pair[1] is not None
        np.testing.assert_allclose(pair[0].values, pair[1].values, atol=1e-9)


def test_the_score_is_the_mean_of_its_values_and_of_the_residuals_products() -> None:
    """If it fails, tables, figures and the board show different correlations."""
    readings = _usual()
    by_region = []
    for name in ("left", "right"):
        parts = [find(readings, "residual", of=of, roi=name) for of in ("map", "volume")]
        assert parts[0] is not None
        assert parts[1] is not None
        by_region.append(float((parts[0].values * parts[1].values).mean()))
        region = find(readings, "beyond_output", roi=name)
        assert region is not None
        assert region.values.mean() == pytest.approx(by_region[-1], abs=1e-10)
    score = find(readings, "beyond_output")
    assert score is not None
    wanted = np.tanh(np.mean(np.arctanh(by_region)))
    assert score.values.mean() == pytest.approx(wanted, abs=1e-10)


def test_regressions_agree_with_partial_correlations() -> None:
    """If it fails, two tables of one page contradict each other."""
    readings = _usual()
    for given, statistic in (("group", "tracks_volume"), ("output", "beyond_output")):
        scale = {"scale": "relative"} if given == "group" else {}
        r = find(readings, statistic, roi="left", **scale)
        where = {"roi": "left", "given": given, "model": "OLS"}
        r2 = find(readings, "regression", quantity="partial_r2", **where)
        assert r is not None
        assert r2 is not None
        assert r.values.mean() ** 2 == pytest.approx(r2.values[0], abs=1e-10)


@pytest.mark.filterwarnings("error")
def test_visits_are_no_further_subjects() -> None:
    """If it fails, images of one subject count as several, and p-values are far too small."""
    cohort = _people()
    twice = cohort.take(np.repeat(np.arange(len(cohort)), 2))
    noise = np.linspace(0, 1e-6, len(twice), dtype=np.float32)  # so that keys differ
    twice = replace(twice, images=twice.images + noise[:, None, None, None])
    once, again = _usual(), _measure(twice)
    for readings in (once, again):
        score = find(readings, "beyond_output")
        assert score is not None
        assert len(score.sample) == 24
    p_once, p_again = (find(one, "p", of="beyond_output") for one in (once, again))
    assert p_once is not None
    assert p_again is not None
    assert p_once.values[0] == pytest.approx(p_again.values[0], abs=1e-12)
    mixed = [one for one in again if one.conditions.get("model") == "mixed"]
    assert mixed
    assert all(np.isfinite(one.values).all() for one in mixed)


def test_a_larger_volume_may_speak_for_the_cases() -> None:
    """If it fails, a map that follows a ventricle which widens in the disease counts as wrong."""
    cohort = _people()
    volumes = cohort.participants[["left_volume", "right_volume"]]
    turned = {name: column.max() + column.min() - column for name, column in volumes.items()}
    signs = {"left": -1, "right": -1}
    widening = _with(cohort, **turned)
    widening = replace(widening, anatomy=replace(widening.anatomy, volume_signs=signs))
    pair = [find(readings, "beyond_output") for readings in (_usual(), _measure(widening))]
    assert pair[0] is not None
    assert pair[1] is not None
    np.testing.assert_allclose(pair[0].values, pair[1].values, atol=1e-9)


def _shrinking(cohort: Cohort) -> Cohort:
    """Return a cohort whose left region loses as many pixels as its volume says."""
    volumes = cohort.participants["left_volume"].to_numpy()
    masks = cohort.anatomy.rois["left"].copy()
    for row, mask in enumerate(masks[:, 0]):
        inside = np.argwhere(mask)
        kept = round(float(volumes[row] / volumes.max()) * len(inside))
        mask[:] = False
        mask[tuple(inside[:kept].T)] = True
    rois = {**cohort.anatomy.rois, "left": masks}
    return replace(cohort, anatomy=replace(cohort.anatomy, rois=rois, truth=()))


def test_a_segmentation_is_replaced_by_one_region_for_all() -> None:
    """If it fails, a map is asked about the tissue that the disease has not taken."""
    shrinking = _shrinking(_people())
    readings = _measure(shrinking)
    common = find(readings, "fact", item="common region")
    assert common is not None
    assert common.values[0] == 1
    assert "one region stands for all" in str(PROTOCOL.remark(readings))
    loose = replace(shrinking, geometry=replace(shrinking.geometry, registered=False))
    with pytest.raises(NotAssessableError, match="the regions shrink with the structure"):
        _measure(loose)


def test_means_of_maps_on_regions() -> None:
    """If it fails, S is not the signed mean of the region over the mean magnitude in the organ."""
    maps = torch.arange(-8.0, 8.0).view(1, 1, 4, 4)
    organ = np.ones((1, 1, 4, 4), dtype=bool)
    region, nowhere = organ.copy(), ~organ
    region[..., :2, :] = False
    means = region_means(maps, [region, nowhere], organ)
    np.testing.assert_allclose(means.absolute, [[3.5, 0.0]])
    np.testing.assert_allclose(means.relative, [[3.5 / 4.0, 0.0]])


def _readings(
    output: float = 0.5, beyond: float = 0.2, copies: float | None = 0.2, control: float = 0.2
) -> list[Reading]:
    """Return readings of 40 subjects that the model serves, with these means."""
    keys = tuple(f"s{row:02}" for row in range(40))
    sample = Sample(keys, keys, tuple(row % 2 for row in range(40)))
    spread = np.tile([-0.1, 0.1], 20)
    means = {
        "output_volume": output,
        "beyond_output": beyond,
        "beyond_copies": copies,
        "beyond_control": control,
    }
    readings = [Reading(k, sample, spread + v) for k, v in means.items() if v is not None]
    removal = {"imputer": "noisy_linear"}
    region = {"region_share": 0.01, "region_effect": 1.0, "region_effect_null": 0.01}
    region |= {"region_magnitude": 1.0, "region_separation": 1.0}
    readings += [Reading(k, sample, spread + v, removal) for k, v in region.items()]
    return [*readings, Reading("model_auroc", sample, np.arange(40) % 2 + spread)]


@pytest.mark.parametrize(
    ("means", "state", "passed", "reason"),
    [
        ({}, "scored", True, None),
        ({"beyond": 0.0}, "scored", False, "the map adds nothing to the output"),
        ({"copies": 0.0}, "scored", False, "maps of randomised copies tell as much"),
        ({"control": 0.0}, "scored", False, "the control region tells as much"),
        ({"copies": None}, "scored", None, "no map of a randomised copy could be drawn"),
        ({"output": 0.0}, "not assessable", None, "the output does not follow the volume"),
    ],
)
def test_each_clause_of_the_verdict_can_fail_alone(
    means: dict[str, float | None], state: str, passed: bool | None, reason: str | None
) -> None:
    """If it fails, a map passes that a clause forbids, or the reader is told another clause."""
    verdict = PROTOCOL.verdict(_readings(**means))
    assert (verdict.state, verdict.passed, verdict.reason) == (state, passed, reason)


def test_tables_and_figures_are_made_of_readings_alone() -> None:
    """If it fails, a report lacks what a paper needs, or a table names no correction."""
    readings = {"saliency": _usual(), "centre": _measure(_people(), Centre())}
    tables = {table.name: table for table in Biomarker.tables(readings)}
    wanted = {"associations", "regressions", "laterality", "mediation", "checklist", "pitfalls"}
    assert set(tables) == wanted
    assert len(tables["associations"].rows) == 6  # two methods, each region and their mean
    assert tables["associations"].columns[-1] == "q"
    rows = {str(row[0]): row for row in tables["checklist"].rows}
    assert rows["covariates"][2] == "age"
    assert rows["covariates: the same for everyone"][2] == "sex"
    assert rows["covariates: not brought by the cohort"][2] == "tiv, scanner, site"
    for table in tables.values():
        assert all(len(row) == len(table.columns) for row in table.rows)
    drawn = {drawing.name: drawing.draw() for drawing in biomarker_drawings(readings)}
    assert set(drawn) == {"forest", "scatter", "sides"}


# On the phantom, where the volumes are known and the network learned them.

PHANTOM = BiomarkerConfig(permutations=199, resamples=100, removed=16, repeats=2, places=1)


@lru_cache(maxsize=1)
def _phantom() -> Trial:
    cohort, source = Phantom().load(), SmallResNet()
    runtime = Runtime(torch.device("cpu"), suite="v2")
    classifier = source.load(cohort.shape)
    return Trial(Saliency(), classifier, cohort, runtime, Peers(weights=source.relatives))


def _on_phantom(explainer: Explainer) -> Sequence[Reading]:
    return Biomarker(PHANTOM).readings(_phantom().on(explainer=explainer))


def _estimate(readings: Sequence[Reading], name: str, **where: str) -> float:
    reading = find(readings, name, **where)
    assert reading is not None
    return float(reading.values.mean())


def test_a_method_that_follows_the_network_tells_of_the_volume() -> None:
    """If it fails, nothing passes, and the protocol asks for what no map can show."""
    readings = _on_phantom(GradCAMAligned())
    assert Biomarker(PHANTOM).verdict(readings).passed
    assert _estimate(readings, "beyond_output") == pytest.approx(0.169, abs=0.02)
    assert _estimate(readings, "p", of="beyond_output") <= 0.01


def test_the_true_deviation_tells_of_the_volume_and_owes_nothing_to_the_network() -> None:
    """If it fails, the measure misses the very change that the volume makes."""
    readings = _on_phantom(TrueDeviation())
    reason = Biomarker(PHANTOM).verdict(readings).reason
    assert reason == "maps of randomised copies tell as much"
    assert _estimate(readings, "tracks_volume", scale="absolute") >= 0.7
    assert np.all(_values(readings, "beyond_copies") == 0)
    drop = interval(readings, Biomarker.drop, arm="control", q=0.1)
    assert drop is not None
    assert abs(drop.estimate) < 0.02


def _values(readings: Sequence[Reading], name: str) -> np.ndarray:
    reading = find(readings, name)
    assert reading is not None
    return reading.values


@pytest.mark.parametrize(
    ("build", "clause"),
    [
        (Random, "the map adds nothing to the output"),
        (Centre, "the map adds nothing to the output"),
        (Sobel, "the map adds nothing to the output"),
        (NegativeSobel, "maps of randomised copies tell as much"),
        (UniformTimesOutput, "the map adds nothing to the output"),
        (None, "the map adds nothing to the output"),
    ],
)
def test_maps_that_know_no_place_or_no_network_fail(
    build: type[Explainer] | None, clause: str
) -> None:
    """If it fails, edges, or the output drawn anywhere, pass for knowledge of a structure."""
    regions = _phantom().cohort.references.regions
    assert regions is not None
    readings = _on_phantom(build() if build else AtlasTimesOutput(regions))
    verdict = Biomarker(PHANTOM).verdict(readings)
    assert verdict.passed is False
    assert verdict.reason is not None
    assert clause in verdict.reason
    if build is NegativeSobel:
        assert verdict.reason == clause
        assert np.all(_values(readings, "beyond_copies") == 0)


def test_the_output_tracks_volume_until_it_is_given() -> None:
    """If it fails, a map that shows the output everywhere passes for a map of the structure."""
    readings = _on_phantom(UniformTimesOutput())
    assert _estimate(readings, "tracks_volume", scale="absolute") > 0.6
    assert abs(_estimate(readings, "beyond_output")) < 0.1
    assert abs(_estimate(readings, "laterality", pair="hippocampus")) < 0.1


def test_no_p_value_is_printed_as_zero() -> None:
    """If it fails, a table claims a certainty that no test has."""
    assert p_value(2.9e-35) == 2.9e-35
    assert p_value(0.12345) == 0.123
    assert p_value(float("nan")) is None
