"""Figures of a training and its validation."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmark.plugins.examples import build_classifier, build_cohort
from benchmark.report.figures import style
from benchmark.report.figures.training import draw_all, draw_learning_curve
from benchmark.training.findings import CurvePoint, Validation
from benchmark.training.predictions import predict
from benchmark.training.regimes import Epoch, RegimeRecipe
from benchmark.training.validation import validate

EPOCHS = tuple(Epoch(number, 1 / number, 0.8, 0.5 + number / 20, 1.0) for number in range(1, 8))
LONG = "a $group$ whose name is longer than any axis, <b>with markup</b>"


@lru_cache(maxsize=1)
def _validation() -> Validation:
    cohort = replace(build_cohort(subjects=48), group_names=("controls", LONG))
    before = predict(build_classifier(), cohort)
    after = predict(build_classifier(seed=1), cohort)
    return validate(after, before, cohort, RegimeRecipe("full"))


def _texts(figure: object) -> str:
    return " ".join(text.get_text() for text in figure.findobj(lambda it: hasattr(it, "get_text")))


def test_every_part_of_a_validation_has_a_figure() -> None:
    """If it fails, an experiment's folder lacks a picture that its page refers to."""
    drawn = draw_all(_validation(), EPOCHS, best_epoch=5)
    assert list(drawn) == [
        "course",
        "discrimination",
        "confusion",
        "calibration",
        "learning_curve",
        "embedding",
        "shortcuts",
    ]
    assert "0.750 in epoch 5" in _texts(drawn["course"].figure)
    assert "PCA before training" in _texts(drawn["embedding"].figure)
    area = _validation().splits[-1].metric("auroc").estimate
    assert f"test {area:.2f}" in _texts(drawn["discrimination"].figure)
    for part in _validation().splits:
        assert f"{part.split}, {part.images} images" in _texts(drawn["confusion"].figure)
    for probe in _validation().shortcuts:
        assert probe.name in _texts(drawn["shortcuts"].figure)


def test_figures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    """If it fails, an experiment that nobody touched looks changed."""
    paths = [
        style.save(draw_all(_validation())["shortcuts"].figure, tmp_path / name)
        for name in ("first", "second")
    ]
    assert [path.read_bytes() for path in paths[0]] == [path.read_bytes() for path in paths[1]]


def test_a_point_of_the_curve_is_where_its_number_says() -> None:
    """If it fails, the picture and the table disagree."""
    points = [CurvePoint(0.1, 10, (0.6, 0.7), (0.5, 0.6)), CurvePoint(1.0, 100, (0.9,), (0.8,))]
    axes = draw_learning_curve(points).axes[0]
    marked = {
        (x, y)
        for line in axes.lines
        if line.get_marker() == "o"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert marked == {(10, 0.6), (10, 0.7), (100, 0.9)}


def test_an_embedding_that_training_left_alone_is_drawn_once() -> None:
    """If it fails, two equal pictures pass for before and after."""
    kept = _validation().embedding["after"]
    unmoved = replace(_validation(), embedding={"before": kept, "after": kept})
    drawing = draw_all(unmoved)["embedding"]
    assert len(drawing.figure.axes) == 1
    assert "left as it was" in drawing.caption


def test_numbers_that_do_not_exist_leave_gaps() -> None:
    """If it fails, a split without one group makes drawing stop after hours of training."""
    cohort = build_cohort(subjects=48)
    is_lost = (cohort.participants["split"] == "test").to_numpy() & (cohort.groups == 0)
    fewer = cohort.take(np.flatnonzero(~is_lost))
    outputs = predict(build_classifier(), fewer)
    validation = validate(outputs, outputs, fewer, RegimeRecipe())
    drawn = draw_all(validation, EPOCHS[:1], 1)
    for drawing in drawn.values():
        drawing.figure.draw_without_rendering()
    assert "learning_curve" not in drawn
