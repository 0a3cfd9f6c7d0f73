"""`delta_t`: does removing what the map marks move the group statistic?

Pixels are never set to zero or a flat value, whose hard edges a network responds to by themselves.
Which imputers are fit for the model at hand is measured, shown, and part of the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator

from benchmark.classifier import PassCounter
from benchmark.maps.masks import descending_order, iid_masks, shape_matched, top_masks
from benchmark.maps.ranking import reason_unrankable
from benchmark.protocol import ProtocolConfig, SanityProtocol
from benchmark.reading import (
    Condition,
    Direction,
    Plot,
    Reading,
    Statistic,
    Verdict,
    find,
    summarise,
)
from benchmark.seeding import stream
from benchmark.statistics.bootstrap import jackknife_distance
from benchmark.trial import Trial
from benchmark.trial.imputer_health import (
    HEALTH_STATISTICS,
    health_readings,
    measured_imputers,
    unfitness,
)
from benchmark.trial.removal import Response, imputers, masking_rows, respond, unaltered_projections

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


class DeltaTConfig(ProtocolConfig):
    """Settings of `delta_t`.

    Attributes:
        quantiles: Shares of the foreground that are removed, rising.
        repeats: Shape-matched random masks per image and share.
        secondary_repeats: Random masks in insertion, and independent ones in deletion.
        subjects: Images that are masked, as many of each group.
    """

    quantiles: tuple[float, ...] = (0.01, 0.02, 0.05, 0.10, 0.20)
    repeats: int = Field(8, ge=1)
    secondary_repeats: int = Field(2, ge=1)
    subjects: int = Field(64, ge=4)

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if not quantiles or any(not 0 < q < 1 for q in quantiles):
            raise ValueError("quantiles must lie between 0 and 1")
        if list(quantiles) != sorted(set(quantiles)):
            raise ValueError("quantiles must rise")
        return quantiles


def _curve(label: str, panel: str | None = None) -> Plot:
    return Plot("curve", "q", ("arm",), panel, label)


def _balanced(
    name: str, description: str, plot: Plot | None = None, direction: Direction = "higher"
) -> Statistic:
    return Statistic(name, description, direction, "balanced_mean", plot)


class DeltaT(SanityProtocol[DeltaTConfig]):
    """Removal of the top of the map against removal of equally shaped random masks."""

    name = "delta_t"
    version = "1.0"
    title = "Does removing what the map marks move the group statistic?"
    primary = "delta_t"
    chance = "delta_t"
    margin = 0.02
    Config = DeltaTConfig
    # Removal pulls both groups to the middle, so they respond unlike; means are balanced by group.
    statistics: ClassVar[tuple[Statistic, ...]] = (
        _balanced("delta_t", "drop of s·φ minus that of shape-matched random masks, in T"),
        _balanced(
            "deletion",
            "drop of the signed group projection without the pixels, in T",
            _curve("drop of s·φ (T)", "imputer"),
        ),
        _balanced("deletion_area", "mean height of the deletion curve"),
        Statistic(
            "delta_t_w",
            "drop of T_w = mean φ in A − mean φ in B, in T",
            "higher",
            "group_difference",
        ),
        Statistic("group_distance", "T without the pixels, jackknife pseudo-values, in T", "lower"),
        _balanced(
            "insertion",
            "gain of s·φ when only the pixels are kept, over keeping none, in T",
            _curve("gain of s·φ (T)"),
        ),
        _balanced("insertion_area", "mean height of the insertion curve"),
        _balanced("margin", "own logit minus the other's", _curve("margin (logit)"), "lower"),
        _balanced("probability", "probability of the own group", _curve("probability"), "lower"),
        _balanced("probability_area", "mean height of the probability curve", None, "lower"),
        *HEALTH_STATISTICS,
    )

    def readings(self, trial: Trial) -> list[Reading]:
        """Measure; see the base class."""
        config = self.config
        study = _Study(trial, masking_rows(trial, config.subjects), config)
        for place, name in enumerate(imputers(trial)):
            study.remove(name, default=place == 0)
        return [*study.readings(), *health_readings(trial, config.subjects, config.repeats)]

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the score's lower bound lies above 0 under every fit imputer."""
        fit = [name for name in measured_imputers(readings) if unfitness(readings, name) is None]
        if not fit:
            return Verdict("not assessable", None, "no imputer is fit for this model")
        intervals = {}
        for name in fit:
            reading = find(readings, "delta_t", imputer=name)
            if reading is not None:
                intervals[name] = summarise(reading, "balanced_mean")
        if len({np.sign(interval.estimate) for interval in intervals.values()}) > 1:
            return Verdict("scored", False, "imputers disagree")
        short = [name for name, interval in intervals.items() if not interval.low > 0]
        reason = f"no more than random masks under {', '.join(short)}" if short else None
        return Verdict("scored", not short, reason)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say which imputers are fit for the model, and why the others are not."""
        found = {name: unfitness(readings, name) for name in measured_imputers(readings)}
        told = [
            f"{name} {'fit' if why is None else f'unfit ({why})'}" for name, why in found.items()
        ]
        return f"imputers: {', '.join(told)}"

    def cost(self, trial: Trial) -> PassCounter:
        """Return the passes of the maps and of every masked image."""
        config, maps = self.config, trial.filled(len(trial.test))
        images, fills = len(masking_rows(trial, config.subjects)), len(imputers(trial))
        steps, (forward, backward) = len(config.quantiles), trial.explainer.passes
        masked = fills * (steps * (1 + config.repeats) + 1 + 2 * config.repeats)
        masked += 1 + steps * (1 + 2 * config.secondary_repeats)
        forwards = len(trial.test) + maps * forward + images * masked
        return PassCounter(forwards, maps * backward)


class _Study:
    """Masks of one explainer and what the model says without them."""

    def __init__(self, trial: Trial, rows: Rows, config: DeltaTConfig) -> None:
        test, suite = trial.test, trial.runtime.suite
        self._trial, self._config = trial, config
        importance = trial.importance[torch.from_numpy(rows)]
        foreground = torch.from_numpy(test.anatomy.foreground[rows])
        reasons = reason_unrankable(importance, foreground)
        keys = [test.keys[row] for row in rows]
        self._reasons = {key: why for key, why in zip(keys, reasons, strict=True) if why}
        self._rankable = np.array([why is None for why in reasons])
        self._rows, self._all_rows = rows[self._rankable], rows
        self._readings: list[Reading] = []
        if not len(self._rows):
            self._top = self._random = self._iid = self._inside = torch.empty(0)
            return
        keep = torch.from_numpy(self._rankable)
        self._inside, kept_keys = foreground[keep], [test.keys[row] for row in self._rows]
        ties = [stream(suite, "delta_t", "ties", key) for key in kept_keys]
        order = descending_order(importance[keep], self._inside, ties)
        self._top = top_masks(order, self._inside, config.quantiles)
        moves = [stream(suite, "delta_t", "shape-matched", key) for key in kept_keys]
        self._random = shape_matched(self._top, self._inside, moves, config.repeats)
        draws = [stream(suite, "delta_t", "independent", key) for key in kept_keys]
        self._iid = iid_masks(self._top, self._inside, draws, config.secondary_repeats)

    def remove(self, name: str, *, default: bool) -> None:
        """Measure under one imputer; all secondary curves come from the default one."""
        steps, repeats = len(self._config.quantiles), self._config.repeats
        if not len(self._rows):
            self._nothing(name, default)
            return
        imputer = imputers(self._trial)[name]
        masks = torch.cat([self._top, self._random.flatten(1, 2)], dim=1)
        response = respond(self._trial, self._rows, masks, imputer)
        before = unaltered_projections(self._trial, self._rows)
        drops = before[:, None] - response.projections
        top, random = drops[:, :steps], drops[:, steps:].reshape(-1, steps, repeats).mean(2)
        self._score(name, top - random, default)
        arms = {"map": top, "random": random}
        if default:
            arms["iid"] = self._iid_drops(name, before)
            self._secondary(response)
            self._insert(name)
        for arm, values in arms.items():
            self._steps("deletion", values, 0.0, {"imputer": name, "arm": arm})
            area: dict[str, Condition] = {"imputer": name, "arm": arm}
            self._add("deletion_area", self._area(values, 0.0), area)
        signs = self._trial.evaluation.signs[self._rows]
        for place, q in enumerate(self._config.quantiles):
            for arm in ("map", "random"):
                conditions: dict[str, Condition] = {"imputer": name, "arm": arm, "q": q}
                self._add("delta_t_w", signs * arms[arm][:, place], conditions)

    def readings(self) -> list[Reading]:
        """Return what was measured."""
        return self._readings

    def _nothing(self, name: str, default: bool) -> None:
        if default:
            self._add("delta_t", np.empty(0))
        self._add("delta_t", np.empty(0), {"imputer": name})

    def _score(self, name: str, excess: FloatArray, default: bool) -> None:
        score = excess.mean(1)
        if default:
            self._add("delta_t", score)
        self._add("delta_t", score, {"imputer": name})
        for place, q in enumerate(self._config.quantiles):
            self._add("delta_t", excess[:, place], {"imputer": name, "q": q})
        groups = self._trial.test.groups[self._rows]
        for group, called in enumerate(self._trial.cohort.group_names):
            values = np.where(groups == group, score, np.nan)
            self._add("delta_t", values, {"imputer": name, "group": called})

    def _iid_drops(self, name: str, before: FloatArray) -> FloatArray:
        steps, repeats = len(self._config.quantiles), self._config.secondary_repeats

        def compute() -> FloatArray:
            imputer = imputers(self._trial)[name]
            response = respond(self._trial, self._rows, self._iid.flatten(1, 2), imputer)
            drops = before[:, None] - response.projections
            mean: FloatArray = drops.reshape(-1, steps, repeats).mean(2)
            return mean

        # The masks depend on the images alone, so explainers share what they do.
        key = ("iid drops", self._trial.model_identity, name, str(self._rows.tolist()))
        return self._trial.once((*key, str(self._config)), compute)

    def _secondary(self, response: Response) -> None:
        steps, repeats = len(self._config.quantiles), self._config.repeats
        evaluation = self._trial.evaluation
        start = {
            "margin": evaluation.own_margin[self._rows],
            "probability": evaluation.own_probability[self._rows],
        }
        values = {"margin": response.margins, "probability": response.probabilities}
        for statistic, curves in values.items():
            random = curves[:, steps:].reshape(-1, steps, repeats).mean(2)
            for arm, curve in {"map": curves[:, :steps], "random": random}.items():
                self._steps(statistic, curve, start[statistic], {"arm": arm})
                if statistic == "probability":
                    area = self._area(curve, start[statistic])
                    self._add("probability_area", area, {"arm": arm})
        groups = evaluation.groups[self._rows]
        for place, q in enumerate(self._config.quantiles):
            chosen = {
                "map": [place],
                "random": range(steps + place * repeats, steps + (place + 1) * repeats),
            }
            for arm, columns in chosen.items():
                distances = [
                    jackknife_distance(response.embeddings[:, one], groups) for one in columns
                ]
                values_here = np.mean(distances, axis=0) / evaluation.group_distance
                self._add("group_distance", values_here, {"arm": arm, "q": q})

    def _insert(self, name: str) -> None:
        """Keep only the top of the map; everything else in the foreground is imputed."""
        steps, repeats = len(self._config.quantiles), self._config.secondary_repeats
        kept = torch.cat([self._top, self._random[:, :, :repeats].flatten(1, 2)], dim=1)
        masks = torch.cat([self._inside, self._inside & ~kept], dim=1)
        projections = respond(
            self._trial, self._rows, masks, imputers(self._trial)[name]
        ).projections
        gains = projections[:, 1:] - projections[:, :1]
        random = gains[:, steps:].reshape(-1, steps, repeats).mean(2)
        for arm, values in {"map": gains[:, :steps], "random": random}.items():
            self._steps("insertion", values, 0.0, {"arm": arm})
            self._add("insertion_area", self._area(values, 0.0), {"arm": arm})

    def _steps(
        self,
        statistic: str,
        values: FloatArray,
        start: FloatArray | float,
        conditions: dict[str, Condition],
    ) -> None:
        self._add(statistic, np.broadcast_to(start, len(values)), conditions | {"q": 0.0})
        for place, q in enumerate(self._config.quantiles):
            self._add(statistic, values[:, place], conditions | {"q": q})

    def _area(self, values: FloatArray, start: FloatArray | float) -> FloatArray:
        """Return the trapezoidal area over [0, largest q], divided by its width, [n]."""
        steps = np.array([0.0, *self._config.quantiles])
        heights = np.column_stack([np.broadcast_to(start, len(values)), values])
        widths = np.diff(steps)
        area: FloatArray = ((heights[:, 1:] + heights[:, :-1]) / 2 * widths).sum(1) / widths.sum()
        return area

    def _add(
        self, statistic: str, values: FloatArray, conditions: dict[str, Condition] | None = None
    ) -> None:
        full = np.full(len(self._all_rows), np.nan)
        full[self._rankable] = values
        sample = self._trial.sample(self._all_rows)
        self._readings.append(Reading(statistic, sample, full, conditions or {}, self._reasons))
