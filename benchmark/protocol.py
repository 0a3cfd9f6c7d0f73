"""The base of every sanity protocol: from a trial to readings, from readings to a verdict."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict

from benchmark.cohort import Cohort, Geometry
from benchmark.explainer import Explainer
from benchmark.reading import Reading, Statistic, Verdict, find, summarise
from benchmark.statistics.bootstrap import NO_INTERVAL, Interval
from benchmark.training.relatives import Relative
from benchmark.trial import Need, Study, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Badge", "Drawing", "Exhibit", "ProtocolConfig", "SanityProtocol", "Table", "Volume"]

Exhibit = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Badge:
    """A yes or no beside the score, which does not enter it.

    Attributes:
        name: Two or three words, such as ``IoU rises``.
        held: Whether it is so; None where that is not known.
        detail: One sentence with the numbers.
    """

    name: str
    held: bool | None
    detail: str


@dataclass(frozen=True)
class Drawing:
    """A picture that a protocol adds to a report.

    Attributes:
        name: Part of its file name.
        title: Title above the picture.
        caption: Caption below the picture.
        draw: Makes it, with ``benchmark.report.figures.style``.
        kind: Kind of file that the page embeds; both are written beside the page.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[], Figure]
    kind: Literal["svg", "png"] = "svg"


@dataclass(frozen=True)
class Table:
    """A table that a protocol adds to a report: on its page, and as a CSV file beside it.

    Attributes:
        name: Part of its file name.
        title: Title above the table.
        caption: Sentences on how to read it.
        columns: Headings, with units; the first column names the row.
        rows: A cell for each column: a text, a number, or None where there is none.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int | float | None]]


@dataclass(frozen=True)
class Volume:
    """An image of a whole population that a protocol adds to a report, as a NIfTI file.

    Attributes:
        name: Part of its file name.
        description: Description of its values, for the header.
        values: [1, 1, *S] image.
        geometry: Position of the volume in the world.
    """

    name: str
    description: str
    values: npt.NDArray[np.generic]
    geometry: Geometry


def _refuse_unordered(shares: tuple[float, ...]) -> tuple[float, ...]:
    if not shares or any(not 0 < share < 1 for share in shares):
        raise ValueError("quantiles must lie between 0 and 1")
    if list(shares) != sorted(set(shares)):
        raise ValueError("quantiles must rise")
    return shares


RisingShares = Annotated[tuple[float, ...], AfterValidator(_refuse_unordered)]
"""Shares of the foreground, at least one, each larger than the one before."""


class ProtocolConfig(BaseModel):
    """Settings of a protocol; a suite fixes them, and they are part of every score's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=ProtocolConfig)


class SanityProtocol(ABC, Generic[ConfigT]):
    """A question put to an explainer–model pair.

    Args:
        config: Settings of the protocol.

    Attributes:
        name: Name of the protocol in suites and records.
        version: ``MAJOR.MINOR``; a score that moves needs a new one.
        title: The question in a few words, for reports.
        topic: Subject of the question, such as ``planted signals``; the protocol's name where it is
            empty.
        if_passed: Phrase on what a method that passes does, in words that need no glossary: a verb
            and its object, such as ``finds planted signals``. Empty where it describes and judges
            nothing.
        if_failed: The same of a method that does not pass, such as ``misses planted signals``.
        statistics: Everything that it reads: by default the ``Statistic`` attributes of the class.
        primary: Name of the statistic that is the score: the reading without conditions.
        chance: Name of the statistic that is 0 in expectation for a map of noise.
        margin: Distance from 0 that the interval of ``chance`` may reach for a map of noise before
            the protocol counts as unhealthy.
        truth_leads: Whether the protocol is healthy only if no map scores better than the truth.
        gate: Whether a pair that fails it is listed apart, whatever its other scores.
        explains: Whether it asks about an explainer. One that does not asks about the model alone:
            it is run once for each cohort and model, under the explainer ``none``, and is on no
            board.
        counts: Whether its score is averaged with those of other protocols. A gate's does not
            unless the class says so.
        owes_to_network: Whether its score is what a map owes to the network: 0 for a map that does
            not follow it, so that 0 is chance.
        tolerance: Largest difference of a value between two runs on one kind of device.
        device_tolerance: The same between kinds of devices, such as a CPU and a GPU; two kinds of
            processors were seen to differ by up to 0.029.
        Config: Type of its settings.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    title: ClassVar[str]
    topic: ClassVar[str] = ""
    if_passed: ClassVar[str] = ""
    if_failed: ClassVar[str] = ""
    statistics: ClassVar[tuple[Statistic, ...]]
    primary: ClassVar[str]
    chance: ClassVar[str]
    margin: ClassVar[float]
    truth_leads: ClassVar[bool] = True
    gate: ClassVar[bool] = False
    explains: ClassVar[bool] = True
    counts: ClassVar[bool] = True
    owes_to_network: ClassVar[bool] = False
    tolerance: ClassVar[float] = 1e-6
    device_tolerance: ClassVar[float] = 5e-2
    Config: ClassVar[type[ProtocolConfig]] = ProtocolConfig

    def __init_subclass__(cls) -> None:
        """Gather the declared statistics in the order of their writing; a gate does not count."""
        super().__init_subclass__()
        declared = [value for value in _attributes(cls) if isinstance(value, Statistic)]
        own = any(isinstance(value, Statistic) for value in vars(cls).values())
        is_listed = "statistics" in vars(cls)
        if declared and not is_listed and (own or not hasattr(cls, "statistics")):
            cls.statistics = tuple(declared)
        if {"gate", "explains"} & set(vars(cls)) and "counts" not in vars(cls):
            cls.counts = cls.explains and not cls.gate

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @classmethod
    def score_of_noise(cls, readings: Sequence[Reading]) -> float:
        """Return the score that a map of noise has, from which a score is to be measured.

        By default it is 0 where the score itself is 0 in expectation for noise. Elsewhere
        ``chance`` is how much better than noise the score is, and is taken off it. A protocol whose
        ``chance`` is another quantity has a method of its own.

        Args:
            readings: Readings of any map.
        """
        score, excess = find(readings, cls.primary), find(readings, cls.chance)
        if cls.chance == cls.primary or score is None or excess is None:
            return 0.0
        statistic = cls.statistic(cls.primary)
        sign = -1.0 if statistic.direction == "lower" else 1.0
        value, lead = (summarise(each, statistic.aggregate) for each in (score, excess))
        level = value.estimate - sign * lead.estimate
        return level if math.isfinite(level) else 0.0

    def measure(self, study: Study) -> None:
        """Measure, and note every reading in the study.

        The score is the reading of ``primary`` that has no conditions.

        Args:
            study: Notebook on explainer, model and test images.

        Raises:
            UnsupportedError: If the pair cannot be scored by its nature.
            NotAssessableError: If the model gives nothing to assess.
        """
        raise NotImplementedError(f"Protocol {self.name!r} must implement measure or readings.")

    def readings(self, trial: Trial) -> list[Reading]:
        """Measure, as ``measure`` does unless a protocol overrides this; raises the same.

        Returns:
            Readings with one value per image.
        """
        settings = self.settings(trial.peers.panel) | self.inputs(trial.cohort)
        study = Study(trial, self.name, exhibit_purpose(self.name, self.version, settings))
        self.measure(study)
        return study.readings

    @abstractmethod
    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Conclude from readings alone, so that a record can be judged again at any time."""

    @property
    def panel(self) -> tuple[str, ...]:
        """Names of the explainers that the one on trial is set beside; none unless overridden."""
        return ()

    @property
    def needs(self) -> tuple[Need, ...]:
        """Models that it needs beside the one on trial: the ``Need`` attributes of the class."""
        return tuple(value for value in _attributes(type(self)) if isinstance(value, Need))

    def relatives(self, trial: Trial) -> Iterator[Relative]:
        """Yield how the models that it needs are named and trained."""
        for need in self.needs:
            yield need.relative(trial)

    def settings(self, panel: Mapping[str, Explainer]) -> dict[str, Any]:
        """Return its settings, with version and settings of each member of its panel.

        They are part of every score's identity.

        Args:
            panel: Explainers by name, all that it names as its panel among them.
        """
        settings: dict[str, Any] = self.config.model_dump(mode="json")
        known = {name: panel[name] for name in self.panel if name in panel}
        members = {name: [member.version, dict(member.config)] for name, member in known.items()}
        return {**settings, "panel_settings": members} if members else settings

    def inputs(self, cohort: Cohort) -> dict[str, Any]:
        """Return what its scores depend on that the cohort's fingerprint does not cover.

        It joins the settings in every score's identity; nothing unless overridden.
        """
        return {}

    @classmethod
    def score_interval(cls, readings: Sequence[Reading]) -> Interval:
        """Return the score with its 95 % interval; that of the primary reading unless overridden.

        Override it where more than the subjects is a sample, such as random copies of a network.
        """
        reading = find(readings, cls.primary)
        aggregate = cls.statistic(cls.primary).aggregate
        return NO_INTERVAL if reading is None else summarise(reading, aggregate)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Return what the readings show beside the score; nothing unless overridden."""
        return ()

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Yield pictures that no ``Plot`` of a statistic can give; none unless overridden.

        Args:
            exhibits: Arrays that ``Study.exhibit`` kept, by explainer; of some or none. A report
                adds ``spacing``, ``affines`` and ``oriented``, from which
                ``benchmark.report.figures.planes`` finds which plane to show and where left is.
            readings: Readings by explainer, in the order of the report's tables.
        """
        yield from ()

    @classmethod
    def volumes(cls, exhibits: Mapping[str, Exhibit]) -> Iterator[Volume]:
        """Yield images of the population for the report's folder of maps; none unless overridden.

        Args:
            exhibits: Arrays that were kept, as for ``drawings``.
        """
        yield from ()

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield tables of the readings for a report; none unless overridden.

        Args:
            readings: Readings by explainer, in the order of the report's tables.
        """
        yield from ()

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Return what readers must know of the model to trust the scores, such as imputer health.

        Told once for a model, beside the protocol's own health; nothing unless overridden.
        """
        return None

    @classmethod
    def health_faults(cls, readings: Sequence[Reading]) -> tuple[str, ...]:
        """Return why its scores on this model prove nothing, a clause each; none unless overridden.

        Such as a truth that blind maps beat. What the
        scores of controls show is judged for every protocol alike, and not asked for here.

        Args:
            readings: Readings of one explainer; what several report is told once.
        """
        return ()

    @classmethod
    def health_doubts(cls, readings: Mapping[str, Sequence[Reading]]) -> tuple[str, ...]:
        """Return why its health on this model is not known, a clause each; none unless overridden.

        Args:
            readings: Readings by explainer, of all that were scored but the controls.
        """
        return ()

    @classmethod
    def statistic(cls, name: str) -> Statistic:
        """Return the statistic of that name."""
        return next(statistic for statistic in cls.statistics if statistic.name == name)


def _attributes(owner: type) -> tuple[object, ...]:
    """Return the attributes of a class and its bases, each name once, the nearest first."""
    attributes: dict[str, object] = {}
    for base in owner.__mro__:
        for name, value in vars(base).items():
            attributes.setdefault(name, value)
    return tuple(attributes.values())


def exhibit_purpose(name: str, version: str, settings: Mapping[str, object]) -> str:
    """Return what tells a protocol's exhibits from those of other settings and versions."""
    return json.dumps([name, version, settings], sort_keys=True)
