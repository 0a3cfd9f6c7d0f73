"""The eight figures: what each shows, declared once; drawings, data and captions follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.report.paper.values import EXPERIMENT, Choice

TUNED = (("arm", "tuned"),)
STRONG = (*TUNED, ("strength", "strong"))
BEST = (("point", "best"),)
PROBE_AT_MATCHED = (("point", "matched"), ("regime", "probe"))
TEST_SPLIT = (("split", "test"),)


@dataclass(frozen=True)
class Series:
    """Points of one kind in the rows of methods.

    Attributes:
        label: Label in the legend; ``{imputer}`` and the like stand for a condition, each value of
            which becomes a series of its own.
        choice: Readings that it shows.
        skips_first: Whether the first of these series is left out, which shows the score again.
    """

    label: str
    choice: Choice
    skips_first: bool = False


@dataclass(frozen=True)
class Column:
    """A column of each section beside the names of methods.

    Attributes:
        label: Label of the axis.
        series: Points in it.
        chance: Value that chance has, at which a line is drawn.
    """

    label: str
    series: tuple[Series, ...]
    chance: float = 0.0


@dataclass(frozen=True)
class Rows:
    """A row for each method, ordered by the first series, with columns of points."""

    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Curves:
    """Lines over a condition, a panel for each section.

    Attributes:
        label: Label of the vertical axis.
        choice: Readings that it shows.
        x: Condition along the axis, and its label.
        by: Condition that tells lines apart; empty where each method has one.
        without: Values of ``x`` that are no point of the curve.
        first_of: Condition of which the first value is shown alone, as it is that of the score.
        has_legend: Whether its lines are named; not where the band above names the same.
    """

    label: str
    choice: Choice
    x: tuple[str, str]
    by: str = ""
    without: tuple[str, ...] = ()
    first_of: str = ""
    has_legend: bool = True


@dataclass(frozen=True)
class Matrix:
    """A square of numbers, methods by the members of a panel, for each section."""

    label: str
    choice: Choice
    column: str


@dataclass(frozen=True)
class Scatter:
    """A point for each method: the mean of some readings against another, for each section."""

    x_label: str
    x: Choice
    y_label: str
    y: Choice


@dataclass(frozen=True)
class Images:
    """One test subject of each section with its regions, bare and under the maps of methods."""


Band = Rows | Curves | Matrix | Scatter | Images


@dataclass(frozen=True)
class FigureSpecification:
    """A figure of the paper.

    Attributes:
        number: Number of the figure.
        name: Part of its file name.
        title: Title in its caption.
        question: Sentence that says what it asks.
        bands: Bands from the top.
        protocol: Protocol whose records it needs.
        needs: Arguments of the command that makes them; ``{cohort}`` and ``{model}`` are filled in.
    """

    number: int
    name: str
    title: str
    question: str
    bands: tuple[Band, ...]
    protocol: str
    needs: str = "run --explainer all --cohort {cohort} --model {model} --protocol {protocol}"


def _score(protocol: str, is_tested: bool = True) -> Choice:
    return Choice(protocol, is_tested=is_tested)


FIGURES = (
    FigureSpecification(
        1,
        "dose_response",
        "T and dose–response",
        "How does the distance between the groups, and what the maps show of it, grow with the "
        "strength of a planted signal?",
        (
            Curves(
                "T, clean against planted",
                Choice(
                    "positive_control", "group_distance", (), ("arm", "strength"), of_model=True
                ),
                ("strength", "strength of the planted signal"),
                by="arm",
                without=("zero", "none"),
            ),
            Curves(
                "found (0 noise, 1 truth)",
                Choice("positive_control", "found", TUNED, ("strength",)),
                ("strength", "strength of the planted signal"),
            ),
            Curves(
                "found (0 noise, 1 truth)",
                Choice("positive_control", "single_found", TUNED, ("strength",)),
                ("strength", "strength of the planted signal"),
            ),
            Curves(
                "share of T restored\nabove random masks",
                Choice("positive_control", "restored_above_random", (), ("strength",)),
                ("strength", "strength of the planted signal"),
                has_legend=False,
            ),
        ),
        "positive_control",
    ),
    FigureSpecification(
        2,
        "localisation",
        "Localisation of a planted signal",
        "Do the maps lie where a signal was planted, on a network that is known to use it?",
        (
            Rows(
                (
                    Column(
                        "agreement with the site",
                        (
                            Series("score", _score("positive_control")),
                            Series(
                                "mark {mark}", Choice("positive_control", "found", (), ("mark",))
                            ),
                            Series("IoU, strong", Choice("positive_control", "iou", STRONG)),
                            Series(
                                "pointing, strong", Choice("positive_control", "pointing", STRONG)
                            ),
                        ),
                    ),
                )
            ),
        ),
        "positive_control",
    ),
    FigureSpecification(
        3,
        "randomization",
        "Randomization of the weights",
        "How much of a map is left when the network forgets what it has learned?",
        (
            Rows(
                (
                    Column("learned share", (Series("score", _score("randomization", False)),)),
                    Column(
                        "similarity to the trained map",
                        (
                            Series("randomised copies", Choice("randomization", "full")),
                            Series("twin of another seed", Choice("randomization", "twin")),
                        ),
                    ),
                )
            ),
            Curves(
                "similarity",
                Choice("randomization", "similarity", (("walk", "cascade"),), ("depth",)),
                ("depth", "stages randomised, from the head down"),
            ),
        ),
        "randomization",
    ),
    FigureSpecification(
        4,
        "delta_t",
        "ΔT",
        "Does removing what a map marks change the difference between the groups more than "
        "removing as much elsewhere?",
        (
            Rows(
                (
                    Column(
                        "ΔT",
                        (
                            Series("score", _score("delta_t")),
                            Series(
                                "{imputer}",
                                Choice("delta_t", "delta_t", (), ("imputer",)),
                                skips_first=True,
                            ),
                        ),
                    ),
                )
            ),
            Curves(
                "ΔT",
                Choice("delta_t", "delta_t", (), ("imputer", "q")),
                ("q", "share of the foreground that is removed"),
                first_of="imputer",
            ),
        ),
        "delta_t",
    ),
    FigureSpecification(
        5,
        "agreement",
        "Agreement between methods",
        "How much do the maps of two methods of one subject agree, beyond what maps of different "
        "subjects do?",
        (
            Matrix(
                "compared with", Choice("agreement", "spearman_corrected", (), ("other",)), "other"
            ),
        ),
        "agreement",
    ),
    FigureSpecification(
        6,
        "agreement_delta_t",
        "Agreement and ΔT",
        "Are the methods with which others agree those whose maps mark what the group difference "
        "rests on?",
        (
            Scatter(
                "mean agreement with the panel",
                Choice("agreement", "spearman_corrected", (), ("other",)),
                "ΔT",
                _score("delta_t", False),
            ),
            Rows((Column("score of agreement", (Series("score", _score("agreement")),)),)),
        ),
        "agreement",
    ),
    FigureSpecification(
        7,
        "roi_biomarker",
        "Regions of interest and biomarker",
        "Do the maps load on anatomy that the disease changes, and do they tell of its volume?",
        (
            Images(),
            Rows(
                (
                    Column(
                        "average precision above randomised networks",
                        (
                            Series(
                                "regions", Choice("roi_pointing", "ap_above_null", is_tested=True)
                            ),
                        ),
                    ),
                    Column(
                        "average precision above the strongest null",
                        (Series("regions", Choice("roi_pointing", "own_ap", is_tested=True)),),
                    ),
                    Column(
                        "log lift above the control region",
                        (
                            Series(
                                "specificity", Choice("roi_pointing", "specificity", is_tested=True)
                            ),
                        ),
                    ),
                    Column(
                        "partial correlation with volume",
                        (
                            Series("given the output", Choice("biomarker")),
                            Series("given the group", Choice("biomarker", "tracks_volume")),
                        ),
                    ),
                )
            ),
        ),
        "roi_pointing",
    ),
    FigureSpecification(
        8,
        "regimes",
        "Training regimes",
        "What changes when more of the network is trained?",
        (
            Rows(
                (
                    Column(
                        "stability over refits",
                        (
                            Series(
                                "{regime}", Choice("training_regime", "excess", BEST, ("regime",))
                            ),
                        ),
                    ),
                    Column(
                        "stability, probe minus full",
                        (Series("stability", Choice("training_regime")),),
                    ),
                    Column(
                        "ΔT, probe minus full",
                        (Series("ΔT", Choice("training_regime", "faith_gain", PROBE_AT_MATCHED)),),
                    ),
                )
            ),
            Rows(
                (
                    Column(
                        "AUROC, test split",
                        (Series("AUROC", Choice(EXPERIMENT, "auroc", TEST_SPLIT)),),
                        0.5,
                    ),
                    Column(
                        "balanced accuracy, test split",
                        (
                            Series(
                                "balanced accuracy",
                                Choice(EXPERIMENT, "balanced accuracy", TEST_SPLIT),
                            ),
                        ),
                        0.5,
                    ),
                )
            ),
        ),
        "training_regime",
        "run --explainer gradcam --cohort {cohort} --model {model} --protocol training_regime",
    ),
)


def choices_of(band: Band) -> tuple[Choice, ...]:
    """Return the readings that a band shows."""
    match band:
        case Rows(columns):
            return tuple(series.choice for column in columns for series in column.series)
        case Scatter():
            return band.x, band.y
        case Images():
            return ()
        case _:
            return (band.choice,)
