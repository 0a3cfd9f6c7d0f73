"""Parts of a report's page: pictures, the accuracy of the model, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.protocol import Table
from benchmark.reading import shared_bootstrap
from benchmark.records.storage.finished import FinishedCell
from benchmark.report.contents.embedding import address_of
from benchmark.results.conclusions.bottom_line import BottomLine
from benchmark.results.explained_model import ExplainedModel
from benchmark.results.health import Health
from benchmark.results.paired import Comparison
from benchmark.results.result import Result
from benchmark.statistics.bootstrap import Interval
from benchmark.statistics.discrimination import Discrimination, classification_report

Kind = Literal["png", "svg"]


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        title: Subject of the figure, in a few words.
        caption: Sentences on how to read it.
        kind: Whether it shows images, ``png``, or is drawn of lines alone.
        content: SVG of the page.
        stacked: The same for a narrow screen, with its panels below each other; None where the
            page scrolls the figure instead.
    """

    title: str
    caption: str
    kind: Kind
    content: bytes
    stacked: bytes | None = None

    @property
    def address(self) -> str:
        """The SVG as a data URI."""
        return address_of(self.content)

    @property
    def stacked_address(self) -> str:
        """The SVG of a narrow screen as a data URI; empty where there is none."""
        # A list of addresses is parted by spaces.
        return "" if self.stacked is None else address_of(self.stacked).replace(" ", "%20")


@dataclass(frozen=True)
class Metrics:
    """Accuracy of the model itself on the test images.

    Attributes:
        images: Number of test images.
        subjects: Number of subjects of group 0 and of group 1.
        group_names: Names of group 0 and 1.
        rates: Point estimates of accuracy, precision and the like.
        auroc: AUROC with its interval over subjects.
    """

    images: int
    subjects: tuple[int, int]
    group_names: tuple[str, str]
    rates: Discrimination
    auroc: Interval


@dataclass(frozen=True)
class Section:
    """Everything that the page says of one model on one cohort.

    Attributes:
        results: Result of each explainer under each protocol, in the order of the figures.
        records: Records that the results were made from, in the same order.
        health: Health of each protocol.
        comparisons: Differences between methods at true centres and as published.
        metrics: Accuracy of the model; None where its output was not at hand.
        pictures: Figures in order.
        tables: Protocols' own tables, in order.
        lines: Bottom line of each method.
        sides: Sentence that says where left is in the pictures; empty where there are none.
    """

    cohort: str
    model: str
    results: Sequence[Result]
    records: Sequence[FinishedCell]
    health: Sequence[Health]
    comparisons: Sequence[Comparison]
    metrics: Metrics | None
    pictures: Sequence[Picture]
    tables: Sequence[Table] = ()
    lines: Sequence[BottomLine] = ()
    sides: str = ""

    @property
    def unhealthy(self) -> set[str]:
        """Names of the protocols whose scores say nothing here."""
        return {health.protocol for health in self.health if health.healthy is False}

    @property
    def sentences(self) -> list[str]:
        """What the health box and the table of scores say, for the glossary."""
        badges = [badge for result in self.results for badge in result.badges]
        return [
            *(health.reason for health in self.health),
            *(f"{result.explainer}\n{result.reason or ''}" for result in self.results),
            *(f"{badge.name}: {badge.detail}" for badge in badges),
        ]


def measure_model(explained: ExplainedModel) -> Metrics:
    """Return how well a model tells the groups of the test split apart."""
    groups, case = explained.evaluation.groups, explained.evaluation.probabilities[:, 1]
    pairs = set(zip(explained.cohort.subjects, groups.tolist(), strict=True))
    first, second = (sum(group == own for _, group in pairs) for own in (0, 1))
    return Metrics(
        images=len(groups),
        subjects=(first, second),
        group_names=explained.cohort.group_names,
        rates=classification_report(groups, case),
        auroc=shared_bootstrap(explained.cohort.subjects).auroc(case, groups),
    )
