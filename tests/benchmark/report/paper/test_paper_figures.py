"""Regimes and tests in the figures of a paper, from records that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from exhibits import build_explained_model
from runs import PROVENANCE, RESOURCES, build_record

from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading, Sample
from benchmark.records.record import Outcome, Record
from benchmark.report.paper.bands.view import MARKERS
from benchmark.report.paper.evidence import gather
from benchmark.report.paper.examples import find_examples
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


def test_an_example_shows_a_subject_under_maps_with_sides_and_scales() -> None:
    """If it fails, a paper shows a map that nobody can place: no side, no scale, no region."""
    protocols = {"roi_pointing": Catalogue().protocols.find("roi_pointing").plugin}
    names, score = ("gradcam", "saliency", "random"), protocols["roi_pointing"].primary
    means = (reading("ap_above_null", 0.3), reading(score, 0.3))
    records = [record("roi_pointing", means, name) for name in names]
    bare = gather(records, protocols)
    (without,) = make_figures(bare, FIGURES[6])
    assert "No image is shown" in caption_of(bare, without)
    (section,) = bare.sections
    explained = build_explained_model(names)
    other = replace(explained, model="other_model")
    assert find_examples([section], [other], bare.highlighted) == {}
    examples = find_examples([section], [explained], bare.highlighted)
    assert examples[section].methods == ("gradcam", "saliency")
    assert examples[section].group == explained.cohort.group_names[1]
    evidence = replace(bare, examples=examples)
    (figure,) = make_figures(evidence, FIGURES[6])
    drawn = draw(figure).figure
    texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert {"image", "gradcam", "saliency", "control regions"} <= set(texts)
    assert "random" not in texts, "a control is no method"
    assert any(text.endswith(" mm") for text in texts)
    assert any(text.startswith("regions that") for text in texts)
    caption = caption_of(evidence, figure)
    assert "No image is shown" not in caption
    assert f"of group {explained.cohort.group_names[1]}" in caption
    assert "ides" in caption, "nothing is said of the sides"


def test_no_two_numbers_of_a_square_touch() -> None:
    """If it fails, the numbers of a large panel run into each other and cannot be read."""
    protocols = {"agreement": Catalogue().protocols.find("agreement").plugin}
    members = [f"method_{number}" for number in range(11)]
    readings = [reading("spearman_corrected", -0.2, other=name) for name in members]
    (figure,) = make_figures(gather([record("agreement", readings)], protocols), FIGURES[4])
    drawn = draw(figure).figure
    drawn.draw_without_rendering()
    texts = [text for axes in drawn.axes for text in axes.texts if text.get_text() == "−0.20"]
    boxes = sorted((text.get_window_extent() for text in texts), key=lambda box: box.x0)
    assert len(boxes) == len(members)
    assert all(first.x1 < second.x0 for first, second in pairwise(boxes))


def test_numbers_of_narrow_panels_do_not_touch() -> None:
    """If it fails, the ticks of a panel read as one long number, or a title is cut."""
    protocols = {
        name: Catalogue().protocols.find(name).plugin for name in ("roi_pointing", "biomarker")
    }
    statistics = ("ap_above_null", "own_ap", "specificity")
    records = [record("roi_pointing", [reading(name, -0.31) for name in statistics])]
    records.append(record("biomarker", [reading("tracks_volume", -0.31)]))
    (figure,) = make_figures(gather(records, protocols), FIGURES[6])
    drawn = draw(figure).figure
    drawn.draw_without_rendering()
    panels = [axes for axes in drawn.axes if axes.get_xticks().size]
    assert len(panels) == 4
    for axes in panels:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(first.x1 < second.x0 for first, second in pairwise(boxes))
        assert 0.0 in axes.get_xticks()
    titles = [text.get_text() for text in drawn.texts]
    assert titles.count(figure.view.sections[0].title) == 1
