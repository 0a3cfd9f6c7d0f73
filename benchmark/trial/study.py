"""The notebook of a protocol: which test images are asked, and what was read of each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.explainer import importance
from benchmark.maps.masks import (
    Masks,
    PackedMasks,
    descending_order,
    iid_masks,
    shape_matched,
    top_masks,
)
from benchmark.maps.ranking import reason_unrankable
from benchmark.maps.rings import permute, ring_permutations
from benchmark.reading import Condition, Reading, Sample, Statistic
from benchmark.seeding import stream
from benchmark.trial.memory import Keeping, kept_for
from benchmark.trial.removal import Response, imputers, masking_rows, respond
from benchmark.trial.trial import Trial

T = TypeVar("T")
Conditions = Mapping[str, Condition]
# Random masks [n, Q, R, *S] of masks [n, Q, *S], foreground [n, 1, *S], generators and R.
Draw = Callable[[Tensor, Tensor, Sequence[np.random.Generator], int], Tensor]


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
        other = self.only(rows)
        other._all_rows, other.reasons = rows, {}
        return other

    def balanced(self, subjects: int) -> Study:
        """Return the study of some test rows, as many of each group; see ``masking_rows``."""
        return self.of(masking_rows(self.trial, subjects))

    def rankable(self, ranked: Tensor) -> tuple[Study, Tensor]:
        """Return the study of those rows whose importance [n, 1, *S] ranks pixels, and it.

        What is read there counts for all rows: the others get no value, and the reason why.
        """
        kept = self.note_unrankable(ranked)
        return self.only(self.rows[kept]), ranked[torch.from_numpy(kept)]

    def only(self, rows: Rows) -> Study:
        """Return the study of some of the rows, where the others get no value."""
        other = copy(self)
        other.rows = rows
        return other

    def note_unrankable(self, ranked: Tensor) -> BoolArray:
        """Keep in mind why some maps [n, 1, *S] rank nothing; return which rank pixels, [n]."""
        reasons = reason_unrankable(ranked, self.foreground)
        pairs = zip(self.keys, reasons, strict=True)
        self.reasons |= {key: reason for key, reason in pairs if reason}
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
        """Return each row's random generator, named by the protocol and purposes around its key."""
        suite = self.trial.runtime.suite
        return [stream(suite, self.protocol, *names, key, *after) for key in self.keys]

    def tops(self, ranked: Tensor, quantiles: Sequence[float]) -> Tensor:
        """Return masks of the top of maps at each share of the foreground, [n, Q, 1, *S] bool."""
        return self.packed_tops(ranked, quantiles)[:]

    def packed_tops(self, ranked: Tensor, quantiles: Sequence[float]) -> PackedMasks:
        """Return the same masks in an eighth of the memory."""
        foreground, streams = self.foreground, self.streams("ties")

        def make(few: slice) -> Tensor:
            order = descending_order(ranked[few], foreground[few], streams[few])
            return top_masks(order, foreground[few], quantiles)[:, :, None]

        return PackedMasks(len(self.rows), make)

    def shape_matched(self, tops: Masks, repeats: int) -> Tensor:
        """Return masks of the same shapes at random places, [n, Q, R, *S] bool."""
        return self.packed_shape_matched(tops, repeats)[:]

    def packed_shape_matched(self, tops: Masks, repeats: int) -> PackedMasks:
        """Return the same masks in an eighth of the memory."""
        return self._packed(shape_matched, self.streams("shape-matched"), tops, repeats)

    def scattered(self, tops: Masks, repeats: int) -> Tensor:
        """Return masks of as many independent pixels, [n, Q, R, *S] bool."""
        return self.packed_scattered(tops, repeats)[:]

    def packed_scattered(self, tops: Masks, repeats: int) -> PackedMasks:
        """Return the same masks in an eighth of the memory."""
        return self._packed(iid_masks, self.streams("independent"), tops, repeats)

    def with_rings(self, masks: Tensor, repeats: int, chunk: slice) -> Tensor:
        """Return masks [n, Q, *S] of a chunk of rows, each before its R ring permutations.

        The result is [rows, Q · (1 + R), *S]; the permutations are ``ring_permutations``.
        """
        own = masks[chunk]
        turned = permute(own, self.ring_permutations(repeats, chunk))
        return torch.cat([own[:, :, None], turned], dim=2).flatten(1, 2)

    def ring_permutations(self, repeats: int, chunk: slice = slice(None)) -> Tensor:
        """Return where each pixel of the foreground is taken from, [n, R, P] int64.

        See ``benchmark.maps.rings``. They are drawn for the image alone, the same for every
        protocol, explainer and model; those of volumes are best asked for a few rows at a time.
        """
        suite, foreground = self.trial.runtime.suite, self.trial.test.anatomy.foreground
        drawn = []
        for row, key in zip(self.rows[chunk], self.keys[chunk], strict=True):
            streams = [stream(suite, "rings", key, repeat) for repeat in range(repeats)]
            drawn.append(ring_permutations(foreground[row, 0], streams))
        return torch.from_numpy(np.stack(drawn))

    def shared(
        self, purpose: Hashable, compute: Callable[[], T], keeping: Keeping | None = None
    ) -> T:
        """Return what ``compute`` gives, made once for all explainers on the model and rows.

        Args:
            purpose: All else that decides the value; its ``repr`` must tell values apart.
            compute: Function that makes the value.
            keeping: Rule by which the archive keeps it for later processes, if it does. There
                version and settings of the protocol join what decides it.
        """
        key = (self.protocol, purpose, self.trial.model_identity, self.rows.tobytes())
        return self.trial.once(
            key, lambda: kept_for(self.trial, (*key, self._purpose), keeping, compute)
        )

    def imputers(self) -> list[str]:
        """Return the names of the imputers that apply to the cohort, the default one first."""
        return list(imputers(self.trial))

    def ask(self, arms: Mapping[str, Masks], imputer: str) -> dict[str, Response]:
        """Remove every mask of every arm from every image, in one call."""

        def masks_of(chunk: slice) -> Tensor:
            return torch.cat([masks[chunk].flatten(1, 2) for masks in arms.values()], dim=1)

        response = respond(self.trial, self.rows, masks_of, imputers(self.trial)[imputer])
        outputs = vars(response).values()
        responses, start = {}, 0
        for name, masks in arms.items():
            shape, end = masks.shape[:3], start + masks.shape[1] * masks.shape[2]
            parts = [output[:, start:end].reshape(*shape, *output.shape[2:]) for output in outputs]
            responses[name], start = Response(*parts), end
        return responses

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
            reasons: Reason why a key has no value; what the study knows of its maps unless given.
        """
        reasons = self.reasons if reasons is None else reasons
        denominators = None if over is None else self._for_all(over)
        full = self._for_all(values)
        self.note(Reading(statistic.name, self.sample, full, where or {}, reasons, denominators))

    def read_by_group(
        self, statistic: Statistic, values: FloatArray, where: Conditions | None = None
    ) -> None:
        """Note the values [n] of each group's rows by themselves, under its name as ``group``."""
        for group, name in enumerate(self.trial.cohort.group_names):
            of_group = np.where(self.groups == group, values, np.nan)
            self.read(statistic, of_group, {**(where or {}), "group": name}, reasons={})

    def read_missing(
        self, statistic: Statistic, reason: str, where: Conditions | None = None
    ) -> None:
        """Note that no row has a value, and why."""
        missing = np.full(len(self.rows), np.nan)
        self.read(statistic, missing, where, reasons=dict.fromkeys(self.keys, reason))

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

        Returns each curve's mean height by the trapezoidal rule, [n].
        """
        heights = np.column_stack([np.broadcast_to(start, len(values)), values])
        steps = np.array([0.0, *quantiles])
        for column, q in enumerate(steps.tolist()):
            self.read(statistic, heights[:, column], {**(where or {}), "q": q})
        middles = (heights[:, 1:] + heights[:, :-1]) / 2
        mean: FloatArray = np.average(middles, axis=1, weights=np.diff(steps))
        return mean

    def note(self, *readings: Reading) -> None:
        """Note readings that were made elsewhere."""
        self.readings.extend(readings)

    def exhibit(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Keep arrays that a report shows of this study; they enter no score.

        ``keys`` among them is the name of each image, as ``Cohort.keys`` gives it. It lets a report
        say where the patient's left is in cohorts whose images lie differently in the world.
        """
        self.trial.exhibit(self._purpose, arrays)

    def _packed(
        self, draw: Draw, streams: Sequence[np.random.Generator], tops: Masks, repeats: int
    ) -> PackedMasks:
        """Return random masks [n, Q, R, *S] for tops [n, Q, 1, *S], a few images at a time."""
        foreground = self.foreground
        return PackedMasks(
            len(self.rows),
            lambda few: draw(tops[few][:, :, 0], foreground[few], streams[few], repeats),
        )

    def _for_all(self, values: FloatArray) -> FloatArray:
        """Return values [n] of the rows for all rows that readings are about, NaN elsewhere."""
        full = np.full(len(self._all_rows), np.nan)
        position_of = {row: position for position, row in enumerate(self._all_rows.tolist())}
        full[[position_of[row] for row in self.rows.tolist()]] = values
        return full
