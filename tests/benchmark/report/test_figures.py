"""Figures: what they show, that nothing in them overlaps, and that they are the same bytes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from exhibits import PROTOCOLS, Shape, build_explained_model, ended, scored
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmark.cohort import Geometry
from benchmark.plugins.examples import SHAPE_3D, build_cohort
from benchmark.reading import Statistic
from benchmark.records.record import Outcome
from benchmark.report.figures.forest import arrange, draw_forest, draw_stacked_forest
from benchmark.report.figures.marks import scale_length
from benchmark.report.figures.overlays import (
    Tiles,
    choose_rows,
    cut_tiles,
    draw_overlays,
    draw_strip,
)
from benchmark.report.figures.panels import Layout, PanelGrid
from benchmark.report.figures.statistic_plots import describe_statistic, draw_statistic, is_drawable
from benchmark.report.figures.style import GREYS, MUTED, limits, save, styled, wrap_name
from benchmark.results.result import Result
from benchmark.results.summary import summarise_records
from benchmark.trial.outputs import Evaluation

LEVELS = {
    "gradcam": 0.3,
    "a_method_with_a_long_name": 0.4,
    "layercam": 0.2,
    "saliency": 0.1,
    "oracle": 3.0,
    "random": 0.0,
}


@pytest.fixture(scope="module")
def results() -> list[Result]:
    records = [scored(name, level) for name, level in LEVELS.items()]
    records.append(ended("picky", Outcome("unsupported", "needs attention heads")))
    return arrange(summarise_records(records, PROTOCOLS), PROTOCOLS)


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    explained = build_explained_model(["cam"])
    rows = choose_rows(explained.cohort, explained.evaluation)
    return cut_tiles(explained.cohort, explained.evaluation, rows)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in _visible(figure)]


def _visible(figure: Figure) -> list[Text]:
    artists = figure.findobj(lambda artist: isinstance(artist, Text) and bool(artist.get_text()))
    return [text for text in artists if isinstance(text, Text) and text.get_visible()]


def _beyond(figure: Figure) -> set[int]:
    """Return the labels of ticks beyond the limits, which are never drawn."""
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = axis.get_major_ticks()
        hidden |= {id(tick.label1) for tick in ticks if not low <= tick.get_loc() <= high}
    return hidden


def assert_legible(figure: Figure) -> None:
    """Fail where a text leaves the figure or lies on another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    hidden, page = _beyond(figure), figure.bbox
    drawn = [text for text in _visible(figure) if id(text) not in hidden]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in drawn]
    for text, box in boxes:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= page.x1 and box.y1 <= page.y1
        assert inside, f"{text!r} is cut off"
    for (first, box), (second, other) in itertools.combinations(boxes, 2):
        apart = (
            box.x1 <= other.x0 + 1
            or other.x1 <= box.x0 + 1
            or box.y1 <= other.y0 + 1
            or other.y1 <= box.y0 + 1
        )
        assert apart, f"{first!r} lies on {second!r}"


def test_methods_stand_before_controls_and_the_best_first(results: Sequence[Result]) -> None:
    """If it fails, the oracle heads the list or a control hides among the methods."""
    assert [result.explainer for result in results] == [
        "a_method_with_a_long_name",
        "gradcam",
        "layercam",
        "saliency",
        "picky",
        "oracle",
        "random",
    ]


def test_the_forest_is_legible(results: Sequence[Result]) -> None:
    """If it fails, names or axes are cut off or run into each other."""
    figure = draw_forest(results, PROTOCOLS)
    assert_legible(figure)
    assert "unsupported" in texts(figure)
    assert "calibrated\n(0 noise, 1 truth)" in texts(figure)


def test_many_protocols_stand_in_bands(results: Sequence[Result]) -> None:
    """If it fails, the names of nine protocols run into each other, and so do their numbers."""
    names = [f"long_protocol_{number}" for number in range(9)]
    protocols = {name: type("Other", (Shape,), {"name": name}) for name in names}
    many = [own.model_copy(update={"protocol": name}) for name in names for own in results]
    assert_legible(draw_forest(many, protocols))


def test_the_forest_marks_chance_where_noise_was_scored(results: Sequence[Result]) -> None:
    """If it fails, scores stand without what a map of noise gets."""
    with_noise, without = (
        draw_forest(some, PROTOCOLS)
        for some in (results, [result for result in results if result.explainer != "random"])
    )
    dashed = [
        [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "--"]
        for figure in (with_noise, without)
    ]
    noise = next(result for result in results if result.explainer == "random")
    assert [line.get_xdata()[0] for line in dashed[0]] == [noise.primary.estimate]
    assert dashed[1] == []


def test_without_controls_there_is_no_calibrated_axis(results: Sequence[Result]) -> None:
    """If it fails, an empty axis claims that something was calibrated."""
    records = [scored("gradcam")]
    figure = draw_forest(summarise_records(records, PROTOCOLS), PROTOCOLS)
    assert len(figure.axes) == 1


def test_nothing_scored_is_still_a_figure() -> None:
    """If it fails, a run in which everything failed leaves no report."""
    records = [ended("picky", Outcome("failed", "ValueError: no"))]
    figure = draw_forest(summarise_records(records, PROTOCOLS), PROTOCOLS)
    assert_legible(figure)
    assert "failed" in texts(figure)


def test_panels_stand_below_each_other_on_a_phone(results: Sequence[Result]) -> None:
    """If it fails, a phone shows figures whose labels nobody can read, or that overlap."""
    protocols = {"shape": Shape, "other": type("Other", (Shape,), {"name": "other"})}
    both = [*results, *(own.model_copy(update={"protocol": "other"}) for own in results)]
    figure = draw_stacked_forest(both, protocols)
    assert_legible(figure)
    assert figure.get_size_inches()[0] < 5
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == ["shape", "other"]


@pytest.mark.parametrize(
    ("most", "length"),
    [(1.0, 1), (1.99, 1), (2.0, 2), (49.9, 20), (50, 50), (0.7, 0.5), (999, 500)],
)
def test_a_scale_bar_has_a_round_length(most: float, length: float) -> None:
    """If it fails, a reader measures with a bar of 37 mm."""
    assert scale_length(most) == pytest.approx(length)


def test_the_scale_bar_is_as_long_as_its_label_says() -> None:
    """If it fails, a lesion is measured wrongly on a printed map."""
    explained = build_explained_model(["cam"], build_cohort(SHAPE_3D))
    rows = choose_rows(explained.cohort, explained.evaluation)
    shown = cut_tiles(explained.cohort, explained.evaluation, rows)
    figure = draw_overlays(shown, {"cam": np.ones_like(shown.images)})
    (label,) = [text for text in texts(figure) if text.endswith(" mm")]
    key = figure.axes[-1]
    bars = [line for line in key.get_lines() if line.get_color() == MUTED]
    assert len(bars) == 1
    (start, end) = bars[0].get_xdata()
    pixels = figure.axes[0].get_window_extent().width / figure.dpi * 110
    tile = pixels / 2 * shown.images.shape[2] / (shown.images.shape[2] + 4)
    assert shown.planes.millimetres is not None
    width = shown.images.shape[2] * shown.planes.millimetres
    assert float(end - start) / tile * width == pytest.approx(float(label.split(" ")[0]), rel=0.01)


def test_a_caption_names_what_is_grey_only_where_something_is(results: Sequence[Result]) -> None:
    """If it fails, a reader looks for a comparison that the figure does not hold."""
    first = next(result for result in results if result.statistics)
    alone = [row for row in first.statistics if row.conditions.get("arm") == "map"]
    without = [first.model_copy(update={"statistics": alone})]
    captions = [describe_statistic(some, Shape.statistic("drop")) for some in (results, without)]
    axes = "A curve. Means over subjects with 95 % intervals, for each q and each fill."
    assert captions == [f"{axes} For comparison, in grey: random, iid.", axes]


def test_what_a_single_series_is_compared_with_is_grey(results: Sequence[Result]) -> None:
    """If it fails, a null's bar looks like a result, or a legend names nothing."""
    statistic = Shape.statistic("precision")
    figure = draw_statistic(results, statistic)
    colours = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches]
    assert colours[:3] == ["#0072b2", GREYS[0], GREYS[0]]
    assert figure.legends[0].get_texts() == []
    assert describe_statistic(results, statistic) == (
        "Bars. Means over subjects with 95 % intervals. "
        "For comparison, in grey: memorised, randomised."
    )


@pytest.mark.parametrize("name", ["drop", "plain", "lift", "precision"])
def test_a_statistic_is_drawn_legibly(results: Sequence[Result], name: str) -> None:
    """If it fails, labels of lines, bars or panels run into each other."""
    assert_legible(draw_statistic(results, Shape.statistic(name)))


def test_every_explainer_and_panel_value_has_a_panel(results: Sequence[Result]) -> None:
    """If it fails, a method or an imputer is left out of the figure."""
    labels = texts(draw_statistic(results, Shape.statistic("drop")))
    assert {f"{name} · {fill}" for name in LEVELS for fill in ("mean", "blur")} <= set(labels)
    assert [labels.count(arm) for arm in ("map", "random", "iid")] == [12, 12, 12]


def test_a_statistic_without_readings_is_not_drawn(results: Sequence[Result]) -> None:
    """If it fails, reports hold empty figures, or break on them."""
    assert [stat.name for stat in Shape.statistics if is_drawable(results, stat)] == [
        "drop",
        "plain",
        "lift",
        "precision",
    ]
    for statistic in (Shape.statistic("never"), Statistic("score", "no plot")):
        with pytest.raises(ValueError, match="no readings that a plot asks for"):
            draw_statistic(results, statistic)


def test_the_truth_does_not_squash_the_methods(results: Sequence[Result]) -> None:
    """If it fails, the oracle's bars leave no difference between methods to see."""
    labels = texts(draw_statistic(results, Shape.statistic("lift")))
    assert any(label.endswith("▸") for label in labels)
    methods = [result for result in results if result.explainer != "oracle"]
    assert not any(
        label.endswith("▸") for label in texts(draw_statistic(methods, Shape.statistic("lift")))
    )


def test_a_name_is_never_a_formula() -> None:
    """If it fails, a dollar sign in a method's name breaks the report."""
    names = ["$\\frac{", "a_b^c$", "_hidden"]
    results = summarise_records([scored(name) for name in names], PROTOCOLS)
    labels = texts(draw_forest(results, PROTOCOLS)) + texts(
        draw_statistic(results, Shape.statistic("plain"))
    )
    assert set(names) <= set(labels)


def test_a_figure_is_the_same_bytes_again(results: Sequence[Result], tmp_path: Path) -> None:
    """If it fails, equal results make different reports."""
    pairs = []
    for name in ("first", "second"):
        figure = draw_statistic(results, Shape.statistic("drop"))
        pairs.append([path.read_bytes() for path in save(figure, tmp_path / name)])
    assert pairs[0] == pairs[1]
    assert b"<dc:date>" not in pairs[0][1]


def test_drawing_leaves_the_style_of_others_alone(results: Sequence[Result]) -> None:
    """If it fails, a notebook that writes a report draws differently afterwards."""
    before = dict(matplotlib.rcParams)
    draw_forest(results, PROTOCOLS)
    assert dict(matplotlib.rcParams) == before


def test_a_report_leaves_pyplot_alone() -> None:
    """If it fails, a report in a notebook changes the figures that its user draws."""
    code = 'import sys, benchmark.report.writer; print("matplotlib.pyplot" in sys.modules)'
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_values_stand_in_their_panel() -> None:
    """If it fails, a curve is drawn at another height than its scale says."""
    grids = []

    @styled
    def fill(figure: Figure) -> None:
        layout = Layout(2, 1.0, left=1.0, gutter=0.5, top=0.4)
        grids.append(PanelGrid(figure, ["a", "b", "c"], layout, (0.0, 2.0), (-1.0, 1.0)))

    fill()
    grid = grids[0]
    first, third = grid.up(0, (-1.0, 0.0, 1.0)), grid.up(2, (-1.0, 1.0))
    np.testing.assert_allclose(np.diff(first), 0.5)
    assert third[1] < first[0]
    left, right = grid.right(0, (0.0, 2.0)), grid.right(1, (0.0, 2.0))
    np.testing.assert_allclose(left, [1.0, 5.0 + 0.0])
    assert left[1] < right[0]
    np.testing.assert_allclose(grid.right(0, (9.0,)), left[1:])


def test_limits_hold_what_they_are_given() -> None:
    """If it fails, one infinite or single value breaks a figure."""
    assert limits([1.0, 3.0, float("nan")], 0.5) == (0.0, 4.0)
    assert limits([2.0], 0.0) == (1.5, 2.5)
    assert limits([], 0.0) == (0.0, 1.0)


def evaluate(own: Sequence[float], groups: Sequence[int]) -> Evaluation:
    """Return the evaluation that gives each image's own group these probabilities."""
    margin = np.log(np.array(own) / (1 - np.array(own))) * (1 - 2 * np.array(groups))
    return Evaluation(
        np.column_stack([margin, np.zeros(len(own))]), np.zeros((len(own), 2)), np.array(groups)
    )


def test_confident_subjects_come_first_spread_over_the_probability() -> None:
    """If it fails, the figure shows the best five, or subjects that the model got wrong."""
    cohort = build_cohort(subjects=80).select("test")
    sure = np.linspace(0.81, 0.99, len(cohort)).tolist()
    evaluation = evaluate(sure, cohort.groups.tolist())
    rows = choose_rows(cohort, evaluation)
    assert cohort.groups[rows].tolist() == [0] * 5 + [1] * 5
    own = evaluation.own_probability[rows[:5]]
    assert np.all(np.diff(own) < 0)
    assert own[0] > 0.97
    assert own[-1] < 0.83


def test_where_few_are_confident_the_next_follow() -> None:
    """If it fails, a weak model's figure has fewer rows, or random ones."""
    cohort = build_cohort(subjects=80).select("test")
    own = np.where(np.arange(len(cohort)) < 4, 0.9, np.linspace(0.3, 0.5, len(cohort)))
    rows = choose_rows(cohort, evaluate(own.tolist(), cohort.groups.tolist()))
    assert set(range(4)) <= set(rows.tolist())
    assert len(rows) == 10


def test_a_subject_is_shown_once() -> None:
    """If it fails, visits of one person fill the figure."""
    cohort = build_cohort(visits=3).select("test")
    rows = choose_rows(cohort, evaluate([0.9] * len(cohort), cohort.groups.tolist()))
    subjects = [cohort.subjects[row] for row in rows]
    assert len(set(subjects)) == len(subjects)


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    """If it fails, the same cohort read in another order shows other people."""
    cohort = build_cohort(subjects=80).select("test")
    own = np.random.Generator(np.random.PCG64(0)).uniform(0.4, 1, len(cohort))
    chosen = choose_rows(cohort, evaluate(own.tolist(), cohort.groups.tolist()))
    turned = np.arange(len(cohort))[::-1]
    other = cohort.take(turned)
    again = choose_rows(other, evaluate(own[turned].tolist(), other.groups.tolist()))
    assert [cohort.subjects[row] for row in chosen] == [other.subjects[row] for row in again]


def test_a_volume_is_cut_through_its_regions_and_stands_upright() -> None:
    """If it fails, heads lie on their side, or the plane misses the region."""
    explained = build_explained_model(["cam"], build_cohort(SHAPE_3D))
    # Arrays run [z up, y, x left]: x has to be turned so that the patient's left is on the left.
    affine = np.array([[0, 0, -2.0, 5], [0, 1.0, 0, 6], [3.0, 0, 0, 7], [0, 0, 0, 1]])
    cohort = replace(explained.cohort, geometry=Geometry((3.0, 1.0, 2.0), affine))
    rows = choose_rows(cohort, explained.evaluation)
    tiles = cut_tiles(cohort, explained.evaluation, rows)
    assert tiles.images.shape == (10, SHAPE_3D[0], SHAPE_3D[2])
    assert tiles.planes.aspect == 1.5
    assert tiles.rois.any(axis=(1, 2)).all()
    truth = cohort.truth
    assert truth is not None
    middle = int(np.median(np.nonzero(truth[rows[0], 0])[1]))
    expected = cohort.images[rows[0], 0][::-1, middle, ::-1]
    np.testing.assert_array_equal(tiles.images[0], expected)
    np.testing.assert_array_equal(tiles.planes.cut(cohort.images[rows])[0], expected)


def test_overlays_are_legible_with_many_methods_and_long_names(tiles: Tiles) -> None:
    """If it fails, column titles run into each other."""
    names = [
        "integrated_gradients",
        "gradcam",
        "x" * 60,
        "guided backprop of everything",
        *"abcdefgh",
    ]
    assert_legible(draw_overlays(tiles, dict.fromkeys(names, tiles.images)))


def test_maps_with_nothing_to_show_say_so(tiles: Tiles) -> None:
    """If it fails, a constant map looks like a clean one, or breaks the figure."""
    broken = np.full_like(tiles.images, np.nan)
    labels = texts(draw_overlays(tiles, {"flat": np.ones_like(tiles.images), "torn": broken}))
    assert (labels.count("constant"), labels.count("not finite")) == (10, 10)


def test_a_map_is_scaled_inside_the_foreground_and_by_itself(tiles: Tiles) -> None:
    """If it fails, a bright rim outside the organ hides the map, or units matter."""
    rim = np.where(tiles.foreground, tiles.images, 1e6).astype(np.float32)
    figures = [draw_overlays(tiles, {"m": maps}) for maps in (rim, 1000 * rim)]
    first, second = (np.asarray(figure.axes[0].images[0].get_array()) for figure in figures)
    np.testing.assert_array_equal(first, second)
    tile = first[2:26, 30:54][tiles.foreground[0]]
    assert len(np.unique(tile.reshape(-1, 3), axis=0)) > 50


def test_a_strip_names_nobody_and_says_what_has_nothing_to_show(tiles: Tiles) -> None:
    """If it fails, a public page shows who a subject is, or a constant map looks clean."""
    labels = texts(draw_strip(tiles, np.ones_like(tiles.images)))
    assert labels.count("constant") == len(tiles.subjects)
    assert not any(subject in label for subject in tiles.subjects for label in labels)
    assert_legible(draw_strip(tiles, tiles.images))


def test_a_label_keeps_its_no_break_spaces() -> None:
    """If it fails, a row of a picture is called `whitenoise`."""
    assert wrap_name("white\u00a0noise", 20) == "white\u00a0noise"
    assert wrap_name("gradient of the change", 14) == "gradient of\nthe change"
    assert wrap_name("gradcam_aligned", 9) == "gradcam_\naligned"
