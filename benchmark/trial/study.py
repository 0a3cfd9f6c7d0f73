"""The notebook of a protocol: which test images are asked, and what was read of each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.explainer import importance
from benchmark.maps.masks import descending_order, iid_masks, shape_matched, top_masks
from benchmark.maps.ranking import reason_unrankable
from benchmark.reading import Condition, Reading, Sample, Statistic
from benchmark.seeding import stream
from benchmark.trial.removal import imputers, masking_rows, respond, unaltered_projections
from benchmark.trial.trial import Trial

T = TypeVar("T")
Arms = Mapping[str, Tensor]
Conditions = Mapping[str, Condition]


@dataclass(frozen=True)
class Answer:
    """What the model says of the images of one arm.

    Attributes:
        before: [n, 1, 1] s·φ of the unaltered images in units of T.
        projections: [n, Q, R] signed projection s·φ in units of T.
        margins: [n, Q, R] own group's logit minus the other's.
        probabilities: [n, Q, R] probability of the own group.
        embeddings: [n, Q, R, D].
    """

    before: FloatArray
    projections: FloatArray
    margins: FloatArray
    probabilities: FloatArray
    embeddings: FloatArray

    @property
    def drops(self) -> FloatArray:
        """Drop of s·φ, the mean over the masks of each size, [n, Q]."""
        drops: FloatArray = (self.before - self.projections).mean(2)
        return drops


class Study:
    """What one protocol reads of one explainer on some test images.

    Arms are masks [n, Q, R, *S] by name: of n images, at Q sizes, R of each size.

    Args:
        trial: Explainer, model and cohort.
        protocol: Name of the protocol; names its random streams.
        purpose: All that decides an exhibit beside cohort, model and explainer.
    """

    def __init__(self, trial: Trial, protocol: str, purpose: str = "") -> None:
        self.trial, self.protocol, self._purpose = trial, protocol, purpose
        self.readings: list[Reading] = []
        self.reasons: dict[str, str] = {}
        self._all_rows = self.rows = np.arange(len(trial.test))

    def of(self, rows: Rows) -> Study:
        """Return the study of other test rows, which writes into the same notebook."""
        other = self._copy()
        other.rows = other._all_rows = rows
        other.reasons = {}
        return other

    def balanced(self, subjects: int) -> Study:
        """Return the study of some test rows, as many of each group; see ``masking_rows``."""
        return self.of(masking_rows(self.trial, subjects))

    def rankable(self, ranked: Tensor) -> tuple[Study, Tensor]:
        """Return the study of those rows whose map ranks pixels, and their importance.

        What is read there counts for all rows: the others get no value, and the reason why.

        Args:
            ranked: Importance [n, 1, *S] of the rows.
        """
        kept = self.note_unrankable(ranked)
        return self.only(self.rows[kept]), ranked[torch.from_numpy(kept)]

    def only(self, rows: Rows) -> Study:
        """Return the study of some of the rows, where the others get no value."""
        other = self._copy()
        other.rows = rows
        return other

    def note_unrankable(self, ranked: Tensor) -> BoolArray:
        """Keep in mind why some maps rank nothing; return which ones rank pixels, [n].

        Args:
            ranked: Importance [n, 1, *S] of the rows.
        """
        reasons = reason_unrankable(ranked, self.foreground)
        self.reasons |= {
            key: reason for key, reason in zip(self.keys, reasons, strict=True) if reason
        }
        return np.array([reason is None for reason in reasons], dtype=bool)

    @property
    def sample(self) -> Sample:
        """Who the images are that readings are about."""
        return self.trial.sample(self._all_rows)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the rows, [n]."""
        return tuple(self.trial.test.keys[row] for row in self.rows)

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Groups of the rows, [n]."""
        return self.trial.test.groups[self.rows]

    @property
    def foreground(self) -> Tensor:
        """Foreground of the rows, [n, 1, *S] bool."""
        return torch.from_numpy(self.trial.test.anatomy.foreground[self.rows])

    def maps(self) -> Tensor:
        """Return the signed maps of the rows, [n, 1, *S]."""
        return self.trial.maps(self.rows)

    def ranked(self, maps: Tensor) -> Tensor:
        """Return the importance that maps [n, 1, *S] rank pixels by."""
        return importance(maps, self.trial.explainer.polarity)

    def streams(self, *names: str, after: tuple[str, ...] = ()) -> list[np.random.Generator]:
        """Return a random generator for each row, named by the protocol and the row's key.

        Args:
            names: Purposes before the key.
            after: Purposes behind the key.
        """
        suite = self.trial.runtime.suite
        return [stream(suite, self.protocol, *names, key, *after) for key in self.keys]

    def tops(self, ranked: Tensor, quantiles: Sequence[float]) -> Tensor:
        """Return masks of the top of maps at each share of the foreground, [n, Q, 1, *S]."""
        order = descending_order(ranked, self.foreground, self.streams("ties"))
        return top_masks(order, self.foreground, quantiles)[:, :, None]

    def shape_matched(self, tops: Tensor, repeats: int) -> Tensor:
        """Return masks of the same shapes at random places, [n, Q, R, *S]."""
        streams = self.streams("shape-matched")
        return shape_matched(tops[:, :, 0], self.foreground, streams, repeats)

    def scattered(self, tops: Tensor, repeats: int) -> Tensor:
        """Return masks of as many independent pixels, [n, Q, R, *S]."""
        return iid_masks(tops[:, :, 0], self.foreground, self.streams("independent"), repeats)

    def shared(self, purpose: Hashable, compute: Callable[[], T]) -> T:
        """Return what ``compute`` gives, made once for all explainers on the model and rows.

        Args:
            purpose: All that decides the value beside protocol, model and rows.
            compute: Makes the value.
        """
        trial = self.trial
        key = (self.protocol, purpose, trial.model_identity, self.rows.tobytes())
        return trial.once(key, compute)

    def imputers(self) -> list[str]:
        """Return the names of the imputers that apply to the cohort, the default one first."""
        return list(imputers(self.trial))

    def ask(self, arms: Arms, imputer: str) -> dict[str, Answer]:
        """Remove every mask of every arm from every image, in one call."""
        flat = torch.cat([masks.flatten(1, 2) for masks in arms.values()], dim=1)
        response = respond(self.trial, self.rows, flat, imputers(self.trial)[imputer])
        outputs = (
            response.projections,
            response.margins,
            response.probabilities,
            response.embeddings,
        )
        before = unaltered_projections(self.trial, self.rows)[:, None, None]
        answers, start = {}, 0
        for name, masks in arms.items():
            shape, end = masks.shape[:3], start + masks.shape[1] * masks.shape[2]
            parts = [output[:, start:end].reshape(*shape, *output.shape[2:]) for output in outputs]
            answers[name] = Answer(before, *parts)
            start = end
        return answers

    def read(
        self,
        statistic: Statistic,
        values: FloatArray,
        where: Conditions | None = None,
        *,
        over: FloatArray | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        """Note one value for each row.

        Args:
            statistic: Statistic that was measured.
            values: [n] values of the rows.
            where: Conditions that tell the reading from others of the statistic.
            over: [n] denominators, for a ratio.
            reasons: Why a key has no value; what the study knows of its maps unless given.
        """
        self.note(
            Reading(
                statistic.name,
                self.sample,
                self._for_all(values),
                where or {},
                self.reasons if reasons is None else reasons,
                None if over is None else self._for_all(over),
            )
        )

    def constant(self, statistic: Statistic, value: float, where: Conditions | None = None) -> None:
        """Note one number of the model, which every row bears."""
        self.read(statistic, np.full(len(self.rows), value), where, reasons={})

    def curve(
        self,
        statistic: Statistic,
        quantiles: Sequence[float],
        values: FloatArray,
        where: Conditions | None = None,
        *,
        start: FloatArray | float = 0.0,
    ) -> FloatArray:
        """Note values [n, Q] over shares of the foreground, and their start at 0.

        Returns:
            Mean height of each curve, by the trapezoidal rule, [n].
        """
        heights = np.column_stack([np.broadcast_to(start, len(values)), values])
        steps = np.array([0.0, *quantiles])
        for column, q in enumerate(steps.tolist()):
            self.read(statistic, heights[:, column], {**(where or {}), "q": q})
        widths = np.diff(steps)
        mean: FloatArray = ((heights[:, 1:] + heights[:, :-1]) / 2 * widths).sum(1) / widths.sum()
        return mean

    def note(self, *readings: Reading) -> None:
        """Note readings that were made elsewhere."""
        self.readings.extend(readings)

    def exhibit(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Keep arrays that a report shows of this study; they enter no score."""
        self.trial.exhibit(self._purpose, arrays)

    def _for_all(self, values: FloatArray) -> FloatArray:
        """Return values [n] of the rows for all rows that readings are about, NaN elsewhere."""
        full = np.full(len(self._all_rows), np.nan)
        full[np.isin(self._all_rows, self.rows)] = values
        return full

    def _copy(self) -> Study:
        other = Study(self.trial, self.protocol, self._purpose)
        other.readings, other.reasons = self.readings, self.reasons
        other.rows, other._all_rows = self.rows, self._all_rows
        return other
