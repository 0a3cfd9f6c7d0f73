"""Figures of a training and its validation, drawn from plain values alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmark.report.figures import style
from benchmark.training.findings import CurvePoint, Metric, ShortcutProbe, SplitFindings, Validation
from benchmark.training.regimes import Epoch, Monitor
from benchmark.training.shortcuts import COVARIATE_THRESHOLD, THRESHOLD

_SQUARE = 2.5  # inches of a side
_LARGE = 20
_DASHED = (0, (4, 3))
_FAINT = "#e6e6e6"
_MATRIX_COLOURS = LinearSegmentedColormap.from_list("counts", ["#ffffff", style.COLOURS[0]])
# A colour for each split in every figure; the test split is the one that is reported.
_SPLIT_COLOURS = {"train": style.GREYS[1], "validation": style.COLOURS[4], "test": style.COLOURS[0]}
_METHODS = {"pca": "PCA", "umap": "UMAP"}
_AXES_OF = {"pca": "principal component", "umap": "UMAP coordinate"}


@dataclass(frozen=True)
class Drawing:
    """A figure with the sentences below it.

    Attributes:
        figure: Figure for ``style.save`` to write.
        caption: Caption of the figure.
    """

    figure: Figure
    caption: str


def draw_all(
    validation: Validation,
    epochs: Sequence[Epoch] = (),
    best_epoch: int | None = None,
    monitor: Monitor = "auroc",
) -> dict[str, Drawing]:
    """Return every figure that the values allow, by the name of its file.

    Args:
        validation: Validation of the trained network.
        epochs: Course of the training; without one there is no figure of it.
        best_epoch: Number of the epoch whose weights were kept.
        monitor: Metric that decided on the best epoch.
    """
    return dict(_drawings(validation, epochs, best_epoch, monitor))


def _drawings(
    validation: Validation, epochs: Sequence[Epoch], best_epoch: int | None, monitor: Monitor
) -> Iterator[tuple[str, Drawing]]:
    splits = validation.splits
    names = " and ".join(validation.group_names)
    interval = "95 % interval over subjects"
    if epochs:
        chosen = {"auroc": "highest validation AUROC", "loss": "lowest validation loss"}[monitor]
        caption = (
            f"Loss and validation AUROC after each epoch. The dashed line marks the epoch with the "
            f"{chosen}, whose weights were kept."
        )
        yield "course", Drawing(draw_course(epochs, best_epoch), caption)
    if any(part.roc for part in splits):
        caption = (
            "ROC and precision–recall curves of each split, with the area and its "
            f"{interval}. Dashed: what guessing gives, which for precision is the share of "
            f"{validation.group_names[1]} in the test split."
        )
        yield "discrimination", Drawing(draw_discrimination(splits), caption)
    caption = f"Images of {names} by predicted group at margin 0, with shares of each true group."
    yield "confusion", Drawing(draw_confusion(splits, validation.group_names), caption)
    caption = (
        f"Share of {validation.group_names[1]} among images by predicted probability, in ten "
        "equally wide bins; the area of a point is the number of images. On the dashed line, "
        "probabilities are what they say."
    )
    yield "calibration", Drawing(draw_calibration(splits), caption)
    if validation.learning_curve:
        caption = (
            "A linear probe on the embedding as it came, fitted on a share of the training "
            "subjects and judged on the test split. Points are random draws of subjects, lines "
            f"their means, bands the {interval} of the test split."
        )
        yield "learning_curve", Drawing(draw_learning_curve(validation.learning_curve), caption)
    if validation.embedding:
        moments = (
            "which training left as it was" if _unmoved(validation) else "before and after training"
        )
        caption = f"Test images of {names} in two coordinates of the embedding, {moments}."
        if "umap" in validation.embedding["after"]:
            caption += " Distances between far points mean little in UMAP."
        yield "embedding", Drawing(draw_embedding(validation), caption)
    if validation.shortcuts:
        caption = (
            f"AUROC of probes that cannot know the disease, with its {interval}, cross-validated "
            f"by subject. Red: the lower limit is above {THRESHOLD} (for the covariates together "
            f"{COVARIATE_THRESHOLD}), so the groups can be told apart without the disease. Grey: "
            "may see the disease, for comparison. Dashed: chance."
        )
        yield "shortcuts", Drawing(draw_shortcuts(validation.shortcuts), caption)


@style.styled
def draw_course(figure: Figure, epochs: Sequence[Epoch], best_epoch: int | None = None) -> None:
    """Draw loss and validation AUROC over the epochs, with the one whose weights were kept."""
    loss, auroc = _panels(figure, 2, height=2.2, gap=0.75)
    numbers = [epoch.number for epoch in epochs]
    lines = (
        (loss, "training", [epoch.loss for epoch in epochs], style.GREYS[0]),
        (loss, "validation", [epoch.validation_loss for epoch in epochs], style.COLOURS[0]),
        (auroc, "validation", [epoch.validation_auroc for epoch in epochs], style.COLOURS[0]),
    )
    for axes, label, values, colour in lines:
        axes.plot(numbers, values, color=colour, marker=".", markersize=4, lw=1.4, label=label)
    for axes, title in ((loss, "loss"), (auroc, "validation AUROC")):
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.grid(color=_FAINT, linewidth=0.6)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=style.COLOURS[1], lw=1.0, linestyle=_DASHED, zorder=1)
    loss.legend(frameon=False)
    # Without this, a curve at 1 is drawn amid values that no AUROC can have.
    low, high = auroc.get_ylim()
    auroc.set_ylim(max(low, -0.02), min(high, 1.02))
    if best_epoch in numbers:
        value = epochs[numbers.index(best_epoch)].validation_auroc
        auroc.plot([best_epoch], [value], "o", color=style.COLOURS[1], markersize=5)
        title = f"validation AUROC, {value:.3f} in epoch {best_epoch}"
        auroc.set_title(title, loc="left", fontweight="bold")


@style.styled
def draw_learning_curve(figure: Figure, points: Sequence[CurvePoint]) -> None:
    """Draw AUROC and accuracy on the test split over the number of training subjects."""
    panels = _panels(figure, 2, height=2.2, gap=0.75)
    for axes, name in zip(panels, ("auroc", "accuracy"), strict=True):
        means: list[Metric | None] = [getattr(point, f"mean_{name}") for point in points]
        spans = [(point.subjects, mean) for point, mean in zip(points, means, strict=True)]
        known = [(count, style.span(mean)) for count, mean in spans if mean is not None]
        counts, limits = [count for count, _ in known], np.array([span for _, span in known])
        if known:
            axes.fill_between(
                counts, limits[:, 0], limits[:, 2], color=style.COLOURS[0], alpha=0.18, lw=0
            )
            axes.plot(counts, limits[:, 1], color=style.COLOURS[0], lw=1.4)
        for point in points:
            draws = getattr(point, name)
            axes.plot([point.subjects] * len(draws), draws, "o", color=style.COLOURS[0], ms=3)
        if name == "auroc":
            axes.axhline(0.5, color=style.CHANCE, lw=0.9, linestyle=_DASHED, zorder=1)
        title = "test AUROC" if name == "auroc" else "test accuracy"
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("training subjects")
        shares = [f"{point.subjects}\n{point.share:.0%}" for point in points]
        axes.set_xticks([point.subjects for point in points], shares)
        axes.set_xlim(left=0)
        axes.grid(color=_FAINT, linewidth=0.6)


@style.styled
def draw_confusion(
    figure: Figure, splits: Sequence[SplitFindings], group_names: tuple[str, str]
) -> None:
    """Draw the confusion matrix of each split; colours are shares of the true group."""
    longest = max(map(len, group_names))
    left = 0.45 + style.CHARACTER * min(longest, 24)
    panels = _panels(figure, len(splits), height=1.9, gap=0.35, left=left, width=1.9)
    labels, short = ([_shortened(name, most) for name in group_names] for most in (24, 13))
    for index, (axes, part) in enumerate(zip(panels, splits, strict=True)):
        counts = np.array(part.confusion, dtype=np.float64)
        totals = counts.sum(1, keepdims=True)
        shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
        axes.imshow(shares, cmap=_MATRIX_COLOURS, vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            text = f"{int(counts[row, column])}\n{share:.0%}" if totals[row, 0] else "0\n–"
            colour = "white" if share > 0.55 else style.INK
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks((0, 1), short)
        axes.set_yticks((0, 1), labels if index == 0 else ("", ""))
        axes.tick_params(length=0)
        axes.set_xlabel("predicted")
        if index == 0:
            axes.set_ylabel("true")
        axes.set_title(f"{part.split}, {part.images} images", loc="left", fontweight="bold")
        for spine in axes.spines.values():
            spine.set_visible(False)


@style.styled
def draw_calibration(figure: Figure, splits: Sequence[SplitFindings]) -> None:
    """Draw the calibration curve of each split."""
    panels = _panels(figure, len(splits), height=_SQUARE, gap=0.55, width=_SQUARE)
    for index, (axes, part) in enumerate(zip(panels, splits, strict=True)):
        axes.plot((0, 1), (0, 1), color=style.MUTED, lw=0.9, linestyle=_DASHED)
        bins = np.array(part.calibration).reshape(-1, 3)
        colour = _SPLIT_COLOURS.get(part.split, style.COLOURS[0])
        axes.plot(bins[:, 0], bins[:, 1], color=colour, lw=1.2)
        areas = 8 + 150 * bins[:, 2] / max(1.0, bins[:, 2].max(initial=0.0))
        axes.scatter(
            bins[:, 0], bins[:, 1], s=areas, color=colour, zorder=3, linewidths=0, clip_on=False
        )
        _unit_square(axes)
        axes.set_xlabel("predicted probability")
        if index == 0:
            axes.set_ylabel("observed share")
        axes.set_title(part.split, loc="left", fontweight="bold")
        error = _value(part, "expected calibration error")
        text = f"calibration error {error}\nslope {_value(part, 'calibration slope')}"
        # Above the curve, which may run through any part of the square.
        axes.set_title(text, loc="right", fontsize=7, color=style.MUTED)


@style.styled
def draw_discrimination(figure: Figure, splits: Sequence[SplitFindings]) -> None:
    """Draw ROC and precision–recall curves, a line for each split."""
    ranking, retrieval = _panels(figure, 2, height=3.0, gap=0.9, width=3.0)
    ranking.plot((0, 1), (0, 1), color=style.CHANCE, lw=0.9, linestyle=_DASHED)
    for part in splits:
        if not part.roc:
            continue
        colour = _SPLIT_COLOURS.get(part.split, style.COLOURS[0])
        for axes, points, name in (
            (ranking, part.roc, "auroc"),
            (retrieval, part.precision_recall, "auprc"),
        ):
            xs, ys = zip(*points, strict=True)
            label = f"{part.split} {_value(part, name, with_limits=True)}"
            axes.plot(xs, ys, color=colour, lw=1.5, label=label)
        chance = part.metric("auprc").chance
        if part.split == "test" and chance is not None:
            retrieval.axhline(chance, color=style.CHANCE, lw=0.9, linestyle=_DASHED)
    for axes, title, labels in (
        (ranking, "ROC", ("false positive rate", "true positive rate")),
        (retrieval, "precision–recall", ("recall", "precision")),
    ):
        _unit_square(axes)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(frameon=False, loc="lower right" if title == "ROC" else "lower left")


@style.styled
def draw_embedding(figure: Figure, validation: Validation) -> None:
    """Draw the test images in two coordinates, a row for each method, before beside after.

    Methods stand side by side where training left the embedding as it was.
    """
    methods = [name for name in _METHODS if name in validation.embedding["after"]]
    unmoved = _unmoved(validation)
    scatters = [(method, moment) for method in methods for moment in ("before", "after")]
    titles = [f"{_METHODS[method]} {moment} training" for method, moment in scatters]
    if unmoved:
        scatters = [(method, "after") for method in methods]
        titles = [_METHODS[method] for method in methods]
    groups = np.array(validation.embedding_groups)
    rows, columns = (1, len(methods)) if unmoved else (len(methods), 2)
    panels = _panels(figure, columns, height=2.6, gap=0.7, rows=rows, width=3.6)
    for axes, (method, moment), title in zip(panels, scatters, titles, strict=True):
        points = np.array(validation.embedding[moment][method]).reshape(-1, 2)
        for group, marker in ((0, "o"), (1, "^")):
            chosen = points[groups == group]
            axes.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=14,
                marker=marker,
                color=style.COLOURS[group],
                alpha=0.75,
                linewidths=0,
                label=_shortened(validation.group_names[group], 14),
            )
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel(f"{_AXES_OF[method]} 1")
        axes.set_ylabel(f"{_AXES_OF[method]} 2")
        axes.locator_params(nbins=4)
        axes.ticklabel_format(scilimits=(-2, 3))
    panels[columns - 1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


@style.styled
def draw_shortcuts(figure: Figure, probes: Sequence[ShortcutProbe]) -> None:
    """Draw the AUROC of each probe with its interval, a row for each."""
    left = 0.3 + style.CHARACTER * max(len(probe.name) for probe in probes)
    axes = _panels(figure, 1, height=0.3 + 0.26 * len(probes), gap=0.0, left=left, width=5.0)[0]
    axes.axvline(0.5, color=style.MUTED, lw=0.9, linestyle=_DASHED, zorder=1)
    for row, probe in enumerate(probes):
        low, estimate, high = style.span(probe.auroc)
        colour = style.CHANCE if probe.suspicious else style.COLOURS[0]
        colour = style.GREYS[1] if probe.context else colour
        axes.hlines(row, low, high, color=colour, linewidth=1.8)
        marker = "^" if probe.context else "o"
        axes.plot([estimate], [row], marker, color=colour, markersize=5, clip_on=False)
        text = _spelled(probe.auroc) + ("  suspicious" if probe.suspicious else "")
        text_colour = style.CHANCE if probe.suspicious else style.MUTED
        axes.text(1.02, row, text, va="center", fontsize=7, color=text_colour, clip_on=False)
    axes.set_yticks(range(len(probes)), [probe.name for probe in probes])
    axes.set_ylim(len(probes) - 0.4, -0.6)
    axes.set_xlim(min(0.4, *(style.span(probe.auroc)[0] - 0.02 for probe in probes)), 1.0)
    axes.set_xlabel("AUROC, cross-validated by subject")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _unmoved(validation: Validation) -> bool:
    """Return whether training left the embedding as it was, as a probe does."""
    return validation.embedding["before"] == validation.embedding["after"]


def _panels(
    figure: Figure,
    columns: int,
    *,
    height: float,
    gap: float,
    rows: int = 1,
    left: float = 0.6,
    width: float | None = None,
) -> list[Axes]:
    """Return axes of a size in inches, row by row; they fill the width unless one is given."""
    top, bottom, right = 0.35, 0.55, 0.2
    if width is None:
        width = (style.WIDTH - left - right - gap * (columns - 1)) / columns
    total = rows * height + (rows - 1) * (top + bottom) + top + bottom
    figure.set_size_inches(style.WIDTH, total)
    panels = []
    for row in range(rows):
        low = total - top - height - row * (height + top + bottom)
        for column in range(columns):
            start = left + column * (width + gap)
            box = start / style.WIDTH, low / total, width / style.WIDTH, height / total
            panels.append(figure.add_axes(box))
    return panels


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def _value(part: SplitFindings, name: str, with_limits: bool = False) -> str:
    metric = part.metric(name)
    if metric.estimate is None:
        return "–"
    if abs(metric.estimate) > _LARGE:  # a slope where all margins are nearly equal
        return f"above {_LARGE}" if metric.estimate > 0 else f"below −{_LARGE}"
    return _spelled(metric) if with_limits else f"{metric.estimate:.2f}"


def _spelled(metric: Metric) -> str:
    if metric.estimate is None:
        return "–"
    limits = "" if metric.low is None else f" [{metric.low:.2f}, {metric.high:.2f}]"
    return f"{metric.estimate:.2f}{limits}"


def _shortened(name: str, longest: int = 24) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
