"""What every guest shares: one image a call, seeded, beside noise, and a reason for each gap."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.cohort import Batch
from benchmark.errors import SanityError, UnsupportedError, short_message
from benchmark.explainer import importance
from benchmark.protocol import ConfigT, ProtocolConfig, SanityProtocol
from benchmark.reading import Direction, Reading, Statistic, Verdict, find, summarise
from benchmark.seeding import global_seed, seed_of
from benchmark.trial import Keeping, Study, Trial
from protocols.guests.network import ImageExplainer

NOISE = "random"
_VOLUME = 3


class GuestConfig(ProtocolConfig):
    """Settings that every guest has beside those of its library.

    Attributes:
        subjects: Number of test subjects, as many of each group.
        maps: ``signed`` maps, or the ``importance`` that the suite's own protocols rank by. Of a
            method whose polarity is positive only the positive part is evidence, and it alone is
            handed over.
    """

    subjects: int = Field(64, ge=2)
    maps: Literal["signed", "importance"] = "signed"


@dataclass(frozen=True)
class Question:
    """What a metric is asked about one image.

    Attributes:
        batch: The image with its masks, [1, 1, *S].
        attributions: Map that is judged, [1, 1, *S].
        group: Group of the image.
        trial: Explainer, model and cohort.
        explainer: Makes maps of altered images.
    """

    batch: Batch
    attributions: Tensor
    group: int
    trial: Trial
    explainer: ImageExplainer


class Guest(SanityProtocol[ConfigT]):
    """A metric of another library, on the maps that the suite's own protocols are asked about.

    The metric is called with one image at a time, so that its value depends on no other image. What
    it draws from the global random state of Python, NumPy or torch comes from a stream named by
    metric and image, the same for every explainer. The state is put back.

    An explainer passes if it does better than noise on the same images. A metric that lets a map
    pass that looks at no model, or that puts a map above the truth, is thereby unhealthy on the
    model at hand.

    Attributes:
        library: Name of the distribution, whose version is part of a score's identity.
        needs_truth: Whether the metric compares the map with a mask of the truth.
        refusal: Reason why it can score no image, whatever the map; else empty.
    """

    primary = "value"
    chance = "above_noise"
    margin = 0.0
    counts = False
    tolerance = 1e-4
    library: ClassVar[str]
    needs_truth: ClassVar[bool] = False
    refusal: ClassVar[str] = ""

    config: Any

    @property
    def panel(self) -> tuple[str, ...]:
        """Noise, which every explainer is set beside."""
        return (NOISE,)

    @abstractmethod
    def value_of(self, question: Question) -> float:
        """Return the metric's value for the map of one image."""

    def measure(self, study: Study) -> None:
        """Ask the metric about the map of each image, and about noise in its place."""
        if self.refusal:
            raise UnsupportedError(self.refusal)
        images = study.balanced(self.config.subjects)
        images, _ = images.rankable(images.ranked(images.maps()))
        values, reasons = self._values(images, study.trial)
        images.reasons |= reasons
        reference = study.trial.peers.panel.get(NOISE)
        noise = np.full(len(images.rows), np.nan)
        if reference is not None:
            noise = images.shared(
                ("noise", self.config.model_dump_json()),
                lambda: self._values(images, study.trial.on(explainer=reference))[0],
                Keeping("1"),
            )
        sign = -1.0 if self.statistic(self.primary).direction == "lower" else 1.0
        missing = dict.fromkeys(images.keys, "noise has no value") | images.reasons
        images.read(self.statistic("value"), values)
        images.read(self.statistic("above_noise"), sign * (values - noise), reasons=missing)
        images.read_by_group(self.statistic("value"), values)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass where the map does better than noise on the same images."""
        above = find(readings, "above_noise")
        if self.statistic(self.primary).direction == "none" or above is None:
            return Verdict("scored", None, "the library does not say which way is better")
        lead = summarise(above)
        if np.isnan(lead.low):
            return Verdict("scored", None, "there is no noise to set the map beside")
        reason = (
            f"it does no better than noise: {lead.estimate:.3g} [{lead.low:.3g}, {lead.high:.3g}]"
        )
        return Verdict("scored", lead.low > 0, None if lead.low > 0 else reason)

    def _values(self, images: Study, trial: Trial) -> tuple[FloatArray, dict[str, str]]:
        """Return the metric's value for each row, and by key why it has none."""
        values, reasons = np.full(len(images.rows), np.nan), dict[str, str]()
        if not len(images.rows):
            return values, reasons
        maps = trial.maps(images.rows)
        for position, (row, key) in enumerate(zip(images.rows.tolist(), images.keys, strict=True)):
            try:
                values[position] = self._ask(trial, row, key, maps[position : position + 1])
                if not np.isfinite(values[position]):
                    reasons[key] = f"{self.name} gives {values[position]:g}"
                    values[position] = np.nan
            except (SanityError, MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # whatever the library raises
                if len(trial.cohort.shape) == _VOLUME:
                    raise UnsupportedError(
                        f"{self.name} raises {short_message(error)} for a volume"
                    ) from error
                reasons[key] = f"{self.name} raises {short_message(error)}"
        return values, reasons

    def _ask(self, trial: Trial, row: int, key: str, maps: Tensor) -> float:
        device = trial.runtime.device
        batch = trial.test.batch(np.array([row]), device)
        attributions = self._prepare(trial, maps).to(device)
        explainer = ImageExplainer(trial, row, lambda drawn: self._prepare(trial, drawn))
        question = Question(batch, attributions, int(trial.test.groups[row]), trial, explainer)
        seed = seed_of(trial.runtime.suite, self.name, key)
        with global_seed(seed, device), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library; what becomes of it is a value or none
            return float(self.value_of(question))

    def _prepare(self, trial: Trial, maps: Tensor) -> Tensor:
        polarity = trial.explainer.polarity
        signed = self.config.maps == "signed" and polarity == "absolute"
        return maps if signed else importance(maps, polarity)


def statistics_of(description: str, direction: Direction) -> tuple[Statistic, ...]:
    """Return the two statistics of a guest: its value, and how much better than noise it is."""
    return (
        Statistic("value", description, direction, "studentised"),
        Statistic("above_noise", "the value above that of noise, up is better", "higher", "mean"),
    )
