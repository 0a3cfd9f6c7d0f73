"""Regimes and tests in the figures of a paper, from records that are made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from runs import PROVENANCE, RESOURCES, build_record

from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading, Sample
from benchmark.records.record import Outcome, Record
from benchmark.report.paper.bands.view import MARKERS
from benchmark.report.paper.evidence import gather
from benchmark.report.paper.figures import draw, make_figures
from benchmark.report.paper.specification import FIGURES
from benchmark.report.paper.text.captions import caption_of

SAMPLE = Sample(
    tuple(f"s{row:02}" for row in range(24)),
    tuple(f"s{row:02}" for row in range(24)),
    tuple(row % 2 for row in range(24)),
)


def reading(statistic: str, mean: float, **conditions: str) -> Reading:
    spread = np.random.default_rng(1).normal(0, 0.1, len(SAMPLE))
    return Reading(statistic, SAMPLE, mean + spread - spread.mean(), conditions)


def record(protocol: str, readings: Sequence[Reading], explainer: str = "gradcam") -> Record:
    first = build_record(explainer, protocol=protocol)
    outcome = Outcome("scored", None, "pass", tuple(readings))
    return Record.seal(first.identity, first.names, outcome, PROVENANCE, RESOURCES)


def test_each_regime_is_a_series_of_its_own() -> None:
    """If it fails, a paper shows one regime under the name of another."""
    readings = [
        reading("excess", mean, regime=regime, point=point)
        for regime, mean in (("probe", 0.4), ("full", 0.2))
        for point in ("best", "matched")
    ]
    readings += [reading("faith_gain", 0.1, regime="probe", point="matched")]
    protocols = {"training_regime": Catalogue().protocols.find("training_regime").plugin}
    evidence = gather([record("training_regime", readings)], protocols)
    (figure,) = make_figures(evidence, FIGURES[7])
    points = {
        value.condition("regime"): value.estimate
        for value in figure.view.values
        if value.statistic == "excess"
    }
    assert points == pytest.approx({"probe": 0.4, "full": 0.2})
    texts = {text.get_text() for axes in draw(figure).figure.axes for text in axes.texts}
    assert {"probe", "full"} <= texts
    assert "n = 24 subjects" in caption_of(evidence, figure)


def test_a_mark_is_open_only_where_a_test_found_nothing() -> None:
    """If it fails, noise looks like a finding, or a finding like noise."""
    protocols = {"roi_pointing": Catalogue().protocols.find("roi_pointing").plugin}
    means = {"gradcam": 0.5, "saliency": 0.0, "random": 0.5}
    records = [
        record("roi_pointing", [reading("ap_above_null", mean)], name)
        for name, mean in means.items()
    ]
    (figure,) = make_figures(gather(records, protocols), FIGURES[6])
    found = {value.method: value.is_significant for value in figure.view.values}
    assert found == {"gradcam": True, "saliency": False, "random": None}
    (axes,) = draw(figure).figure.axes
    faces = {
        round(float(line.get_ydata()[0])): line.get_markerfacecolor()
        for line in axes.get_lines()
        if line.get_marker() in MARKERS
    }
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["gradcam", "saliency", "random"]  # the control last, though it is as high
    assert [faces[row] == "white" for row in range(3)] == [False, True, False]
