"""The base of every sanity protocol: from a trial to readings, from readings to a verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from benchmark.classifier import PassCounter
from benchmark.reading import Reading, Statistic, Verdict
from benchmark.trial import Trial


class ProtocolConfig(BaseModel):
    """Settings of a protocol; a suite fixes them, and they are part of every score's identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=ProtocolConfig)


class SanityProtocol(ABC, Generic[ConfigT]):
    """A question put to an explainer–model pair.

    Args:
        config: Its settings.

    Attributes:
        name: Its name in suites and records.
        version: ``MAJOR.MINOR``; a score that moves needs a new one.
        title: The question in a few words, for reports.
        statistics: Everything that it reads.
        primary: Name of the statistic that is the score: the reading without conditions.
        chance: Name of the statistic that is 0 in expectation for a map of noise.
        margin: How far from 0 the interval of ``chance`` may reach for a map of noise before the
            protocol counts as unhealthy.
        tolerance: Largest difference of a value between two runs on one kind of device.
        Config: Type of its settings.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    title: ClassVar[str]
    statistics: ClassVar[tuple[Statistic, ...]]
    primary: ClassVar[str]
    chance: ClassVar[str]
    margin: ClassVar[float]
    tolerance: ClassVar[float] = 1e-6
    Config: ClassVar[type[ProtocolConfig]] = ProtocolConfig

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @abstractmethod
    def readings(self, trial: Trial) -> list[Reading]:
        """Measure.

        Returns:
            Readings with one value per image; the score is the one of ``primary`` that has no
            conditions.

        Raises:
            UnsupportedError: If the pair cannot be scored by its nature.
            NotAssessableError: If the model gives nothing to assess.
        """

    @abstractmethod
    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Conclude from readings alone, so that a record can be judged again at any time."""

    @abstractmethod
    def cost(self, trial: Trial) -> PassCounter:
        """Return how many image passes ``readings`` needs when nothing is shared yet."""

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Return what readers must know of the model to trust the scores, such as imputer health.

        Told once for a model, beside the protocol's own health; nothing unless overridden.
        """
        return None

    @classmethod
    def statistic(cls, name: str) -> Statistic:
        """Return the statistic of that name."""
        return next(one for one in cls.statistics if one.name == name)
