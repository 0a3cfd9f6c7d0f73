"""Guests: metrics of Quantus and Captum, asked about one image at a time beside noise."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quantus
import torch
from runs import CPU, build_suite
from torch import Tensor
from trials import assert_same_values, build_trial, cohort_of, trained, values_by_key

from baselines.explainers.controls import Oracle, Random
from baselines.explainers.gradient import Saliency
from benchmark.classifier import Classifier
from benchmark.errors import InputError, PluginError, SuiteError, UnknownNameError, UnsupportedError
from benchmark.explainer import Explainer
from benchmark.plugins.catalogue import Catalogue
from benchmark.plugins.examples import build_cohort
from benchmark.protocol import SanityProtocol
from benchmark.reading import Reading, find
from benchmark.records.store import Store
from benchmark.results.health import protocol_health
from benchmark.running.cells import conclude
from benchmark.running.engine import Settings, run
from benchmark.running.plan import make_plan
from benchmark.running.suite import Selection, Suite
from benchmark.target import Target
from benchmark.trial import Peers, Trial
from protocols import guests
from protocols.guests import quantus_metric

CHEAP = (
    "quantus:Sparseness",
    "quantus:RelevanceRankAccuracy",
    "quantus:FaithfulnessCorrelation",
    "captum:infidelity",
    "captum:sensitivity_max",
)
SMALL = {"nr_runs": 4, "subset_size": 20, "samples": 3}


class Broken(Saliency):
    """A map of NaN."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return NaN."""
        return torch.full_like(images, float("nan"))


class Copy(Saliency):
    """The image as its own map."""

    def attribute(self, classifier: Classifier, images: Tensor, target: Target) -> Tensor:
        """Return the images."""
        return images.clone()


def protocol_of(spec: str, **settings: object) -> SanityProtocol[Any]:
    """Return a metric that is asked about four subjects."""
    plugin = guests.protocol_of(spec)
    known = {name: value for name, value in SMALL.items() if name in plugin.Config.model_fields}
    return plugin(plugin.Config.model_validate({"subjects": 4, **known, **settings}))


def trial_of(
    explainer: Explainer, order: np.ndarray | None = None, batch_size: int = 64, dimensions: int = 2
) -> Trial:
    """Return a trial whose panel holds noise."""
    cohort = cohort_of(dimensions) if order is None else cohort_of(dimensions).take(order)
    trial = build_trial(explainer, cohort, trained(dimensions).copy(), batch_size)
    references = cohort_of(dimensions).references
    peers = Peers({"random": Random()}, references=references)
    return Trial(explainer, trial.classifier, cohort, trial.runtime, peers)


def score_of(readings: list[Reading], statistic: str = "value") -> Reading:
    reading = find(readings, statistic)
    assert reading is not None
    return reading


def suite_of(protocol: str, **settings: object) -> Suite:
    return Suite.model_validate(
        {
            "version": "guests",
            "cohorts": ["phantom"],
            "models": ["smallresnet"],
            "protocols": [protocol],
            "protocol": {protocol: settings} if settings else {},
        }
    )


@pytest.mark.parametrize("spec", CHEAP)
def test_order_and_batches_change_nothing_and_no_state_is_left(spec: str) -> None:
    """If it fails, a guest's value depends on other images, or it reseeds the user's program."""
    protocol, order = protocol_of(spec), np.random.default_rng(2).permutation(len(cohort_of()))
    before = np.random.get_state()[1].tolist(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
    first = protocol.readings(trial_of(Saliency()))
    assert np.random.get_state()[1].tolist() == before[0]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    assert random.getstate() == before[2]
    second = protocol.readings(trial_of(Saliency(), order, batch_size=5))
    assert np.isfinite(score_of(first).values).all()
    assert_same_values([values_by_key(first), values_by_key(second)], protocol.tolerance)


@pytest.mark.parametrize("spec", ["captum:infidelity", "captum:sensitivity_max"])
def test_many_samples_in_small_batches_are_the_same_samples(spec: str) -> None:
    """If it fails, a value of Captum depends on how many images share a pass."""
    cohort = build_cohort((25, 23), subjects=48)
    readings = [
        protocol_of(spec, samples=7).readings(
            replace(build_trial(explainer, cohort, trained().copy(), size), peers=peers)
        )
        for size in (64, 2)
        for explainer in [Saliency()]
        for peers in [Peers({"random": Random()}, references=cohort.references)]
    ]
    assert_same_values([values_by_key(own) for own in readings], 1e-4)


def test_sensitivity_is_no_more_than_the_largest_change() -> None:
    """If it fails, the distance of two maps grows with the number of perturbations."""
    trial = trial_of(Copy())
    values = score_of(protocol_of("captum:sensitivity_max", samples=9).readings(trial)).values
    lengths = np.sqrt((trial.test.images**2).sum((1, 2, 3)))
    pixels = trial.test.images[0].size
    assert np.isfinite(values).all()
    assert (values <= 0.02 * np.sqrt(pixels) / lengths.min()).all()


@pytest.mark.parametrize("spec", CHEAP)
def test_a_map_of_nan_gets_no_number(spec: str) -> None:
    """If it fails, a broken map may get the best value of a metric, as it does in Quantus."""
    protocol = protocol_of(spec)
    readings = protocol.readings(trial_of(Broken()))
    assert np.isnan(score_of(readings).values).all()
    outcome = conclude(protocol, readings)
    assert (outcome.state, outcome.reason) == ("failed", "non-finite map for all 4 subjects")


def test_the_value_is_that_of_quantus() -> None:
    """If it fails, what bears the name of a metric of Quantus is another one."""
    trial = trial_of(Saliency())
    for spec, metric in (
        ("quantus:Sparseness", quantus.Sparseness()),
        ("quantus:RelevanceRankAccuracy", quantus.RelevanceRankAccuracy()),
    ):
        reading = score_of(protocol_of(spec).readings(trial))
        rows = [trial.test.keys.index(key) for key in reading.sample.keys]
        batch = trial.test.batch(np.array(rows))
        truth = batch.truth
        assert truth is not None
        expected = metric(
            None,
            batch.images.numpy(),
            np.zeros(len(rows), dtype=int),
            a_batch=trial.maps(np.array(rows)).abs().numpy(),
            s_batch=truth.numpy(),
            channel_first=True,
        )
        np.testing.assert_allclose(reading.values, expected, rtol=1e-5)
        assert len(set(expected)) > 1


def test_a_curve_counts_by_its_mean() -> None:
    """If it fails, a metric that returns a curve has no value, or that of another image."""
    protocol = protocol_of("quantus:PixelFlipping", features_in_step=96)
    values = score_of(protocol.readings(trial_of(Saliency()))).values
    assert ((values > 0) & (values < 1)).all()


def test_noise_is_no_better_than_itself_and_the_truth_is() -> None:
    """If it fails, a run cannot say whether a guest tells truth from noise."""
    protocol = protocol_of("quantus:RelevanceRankAccuracy")
    noise = protocol.readings(trial_of(Random()))
    assert (score_of(noise, "above_noise").values == 0).all()
    assert protocol.verdict(noise).passed is False
    truth = protocol.readings(trial_of(Oracle()))
    assert (score_of(truth).values == 1).all()
    assert protocol.verdict(truth).passed is True


def test_lower_is_better_where_quantus_says_so() -> None:
    """If it fails, a verdict rewards what the metric calls worse."""
    protocol = protocol_of("quantus:Complexity")
    assert protocol.statistic("value").direction == "lower"
    readings = protocol.readings(trial_of(Oracle()))
    assert (score_of(readings, "above_noise").values > 0).all()
    assert protocol.verdict(readings).passed is True


def test_noise_is_drawn_anew_for_an_altered_image() -> None:
    """If it fails, noise is called perfectly stable, since its draws are named by the subject."""
    values = score_of(protocol_of("captum:sensitivity_max").readings(trial_of(Random()))).values
    assert (values > 0.5).all()


def test_what_a_metric_raises_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, a metric that cannot score an image stops the run with a traceback."""

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such thing\nas a second line")

    monkeypatch.setattr(quantus.Sparseness, "evaluate_batch", refuse)
    protocol = protocol_of("quantus:Sparseness")
    outcome = conclude(protocol, protocol.readings(trial_of(Saliency())))
    assert outcome.state == "failed"
    reason = "quantus:Sparseness raises ValueError: no such thing for all 4 subjects"
    assert outcome.reason == reason


def test_a_metric_without_a_number_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it fails, NaN of a library enters a mean, or nobody learns where it came from."""
    monkeypatch.setattr(quantus.Sparseness, "evaluate_batch", lambda *_, **__: [np.nan])
    protocol = protocol_of("quantus:Sparseness")
    outcome = conclude(protocol, protocol.readings(trial_of(Saliency())))
    assert outcome.reason == "quantus:Sparseness gives nan for all 4 subjects"


def test_the_network_keeps_no_hook_of_a_metric() -> None:
    """If it fails, what a library hooks into the network breaks every protocol after it."""
    trial = trial_of(Saliency())
    before = [len(module._forward_hooks) for module in trial.classifier.modules()]
    protocol = protocol_of("quantus:RelativeRepresentationStability", nr_samples=2)
    assert np.isfinite(score_of(protocol.readings(trial)).values).any()
    assert [len(module._forward_hooks) for module in trial.classifier.modules()] == before


def test_volumes_are_scored_or_refused_in_one_sentence() -> None:
    """If it fails, a volume ends in a traceback of the library."""
    volumes = trial_of(Saliency(), dimensions=3)
    for spec in ("quantus:Sparseness", "captum:infidelity"):
        assert np.isfinite(score_of(protocol_of(spec).readings(volumes)).values).all()
    with pytest.raises(UnsupportedError, match=r"quantus:IROF raises .* for a volume"):
        protocol_of("quantus:IROF").readings(volumes)
    with pytest.raises(UnsupportedError, match="mosaics"):
        protocol_of("quantus:Focus").readings(trial_of(Saliency()))


def test_names_and_settings_are_checked_before_a_run() -> None:
    """If it fails, a misspelt metric or setting is found after hours, or never."""
    catalogue = Catalogue()
    with pytest.raises(UnknownNameError, match="Did you mean 'quantus:Sparseness'"):
        catalogue.protocols.find("quantus:sparsenes")
    with pytest.raises(UnknownNameError, match="Did you mean 'captum:infidelity'"):
        catalogue.protocols.find("captum:infidelty")
    with pytest.raises(PluginError, match="as in quantus:FaithfulnessCorrelation"):
        catalogue.protocols.find("quantus")
    name = "quantus:FaithfulnessCorrelation"
    selection = Selection(("saliency",))
    for settings, message in (
        ({"runs": 3}, "'runs' is unknown"),
        ({"nr_runs": "many"}, "'nr_runs' is 'many'"),
        ({"perturb_func": "noise"}, "Quantus lists no function 'noise'; known: "),
    ):
        with pytest.raises(SuiteError, match=message):
            make_plan(catalogue, suite_of(name, **settings), selection)


def test_a_score_is_named_by_its_settings_and_the_version_of_the_library() -> None:
    """If it fails, scores under two versions of Quantus are taken for the same."""
    name = "quantus:FaithfulnessCorrelation"
    plan = make_plan(Catalogue(), suite_of(name, nr_runs=7), Selection(("saliency",)))
    identity = plan.protocol_identity(name, cohort_of())
    assert identity.name == name
    assert identity.config["nr_runs"] == 7
    assert identity.config["subset_size"] == 224
    assert identity.config["quantus"] == quantus.__version__
    assert "random" in plan.panel


def test_without_the_package_one_sentence_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it fails, who has no Quantus gets a traceback, or cannot even list protocols."""
    quantus_metric.import_quantus.cache_clear()
    monkeypatch.setitem(sys.modules, "quantus.helpers.constants", None)
    with pytest.raises(InputError, match=r"pip install 'medsanity\[quantus\]'"):
        Catalogue().protocols.find("quantus:Sparseness")
    assert "pip install" in guests.families()["quantus:NAME"]


def test_a_run_judges_a_guest_by_its_controls(tmp_path: Path) -> None:
    """If it fails, a guest cannot be run by its name, or nobody says that edges pass it."""
    suite = build_suite().model_copy(update={"protocols": ("quantus:Complexity",)})
    explainers = ("saliency", "random", "oracle", "sobel")
    plan = make_plan(Catalogue(), suite, Selection(explainers))
    records = run(plan, Store(tmp_path), Settings(CPU)).records
    assert {record.names.protocol for record in records} == {"quantus:Complexity"}
    assert {record.state for record in records} == {"scored"}
    entry = Catalogue().protocols.find_version("quantus:Complexity", "1.0")
    (health,) = protocol_health(records, {"quantus:Complexity": entry.plugin})
    assert health.reason == "unhealthy: sobel passes, and looks at no model"
