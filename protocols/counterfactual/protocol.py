"""`counterfactual`: how good is an edit that moves the model to the other group?

A card for methods that change the image: of the family ``optimisation``, whose map is minus the
change. An edit that flips every call may still show nothing: a change of 0.016 of the grey values,
made for one network, flips it as surely and means nothing to a second network of the same recipe.
So the score is what the model's twin makes of the edit. Whether a discriminator can tell edited
images from real ones is printed with its interval and decides nothing: it finds large plausible
edits easier to tell than an adversarial one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.cohort import Cohort
from benchmark.errors import CohortError, NotAssessableError, UnsupportedError
from benchmark.maps.ranking import CONSTANT_MAP
from benchmark.protocol import Drawing, Exhibit, SanityProtocol, Table
from benchmark.reading import Reading, Sample, Verdict, find, interval
from benchmark.statistics.own import of_mean
from benchmark.statistics.studentised import TOO_FEW
from benchmark.trial import Retrained, Study, Trial
from benchmark.trial.interventions.plausible import plausible_subspace
from benchmark.trial.null_networks import count_abstentions
from benchmark.trial.projection import group_axis
from protocols.counterfactual.card import Effect, effect_on, looks_of
from protocols.counterfactual.changes import other_edits, own_edit, pixels_of
from protocols.counterfactual.realism import texture, told_apart
from protocols.counterfactual.statistics import (
    EXPLAINER,
    CounterfactualConfig,
    CounterfactualStatistics,
)
from protocols.counterfactual.tables import card_tables

FAMILY = "optimisation"
NEEDED = 0.5
SMALLEST_FALL = 0.05  # T; of less, no share can be told


class Counterfactual(CounterfactualStatistics, SanityProtocol[CounterfactualConfig]):
    """A method's edits beside plausible, adversarial and blind ones."""

    name = "counterfactual"
    version = "1.0"
    title = "How good is an edit that moves the model to the other group?"
    topic = "edits shown to a second network"
    if_passed = "makes edits that move a second network too"
    if_failed = "makes edits that hardly move a second network"
    primary = "transfer"
    chance = "transfer"
    margin = 0.05
    truth_leads = False
    counts = False
    tolerance = 1e-5
    Config = CounterfactualConfig

    twin_model = Retrained(seed=1)

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, config = study.trial, self.config
        if trial.explainer.family != FAMILY:
            raise UnsupportedError(
                f"it marks places and changes no image: its family is {trial.explainer.family!r} "
                f"and not {FAMILY!r}"
            )
        # Refused before anything is edited.
        _ = plausible_subspace(trial, config.components, config.fewest_images)
        if group_axis(trial).separation <= 0:
            raise NotAssessableError("the model does not separate the groups")
        missing = self.twin_model.missing(trial)
        if missing is not None:
            raise NotAssessableError(missing)
        images = study.balanced(config.subjects)
        maps = trial.maps(images.rows)
        count_abstentions(images, maps.abs())
        images.note_unrankable(maps.abs())
        others = images.shared(
            ("others", config.model_dump_json()), lambda: dict(other_edits(images, config))
        )
        edits = {EXPLAINER: own_edit(images), **others}
        for name, edited in edits.items():
            self._read_card(images, name, edited)
            self._read_realism(images, name, edited)
        images.exhibit(_shown(images, edits))

    def _read_card(self, images: Study, name: str, edited: Tensor) -> None:
        """Read what an edit does to the model and its twin, and what it looks like."""
        where, pixels = {"edit": name}, pixels_of(images)
        effect = effect_on(images.trial, images, pixels, edited)
        twin = effect_on(self.twin_model.on(images.trial), images, pixels, edited)
        images.read(self.fall, effect.fall, where, reasons={})
        images.read(self.on_twin, twin.fall, where, reasons={})
        ratio = _transfer(effect, twin)
        words = f"the edit moves the model by less than {SMALLEST_FALL:g} T"
        without = dict.fromkeys(images.keys, words)
        reasons = without if np.isnan(ratio).all() else {}
        images.read(self.transfer, ratio, where, reasons=reasons)
        if name == EXPLAINER:
            images.read(self.transfer, ratio, reasons=reasons)
        self._read_calls(images, effect, where)
        looks = looks_of(images, edited - pixels)
        for statistic, values in (
            (self.size, looks.size),
            (self.largest, looks.largest),
            (self.roughness, looks.roughness),
            (self.inside, looks.inside),
            (self.ap, looks.ap),
            (self.mass, looks.mass),
        ):
            if values is not None:
                unknown = np.array(images.keys)[np.isnan(values)].tolist()
                images.read(statistic, values, where, reasons=dict.fromkeys(unknown, CONSTANT_MAP))

    def _read_calls(self, images: Study, effect: Effect, where: Mapping[str, str]) -> None:
        """Read whom the edit takes to the other group, and whether strength helps."""
        right = effect.own_margin_before > 0
        own_side = effect.before > effect.middle
        for statistic, counted, crossed, reason in (
            (self.flips, right, effect.reaches_boundary, "not called correctly"),
            (self.crosses, own_side, effect.after[:, -1] <= effect.middle, "not on its own side"),
        ):
            left_out = np.array(images.keys)[~counted].tolist()
            values = np.where(counted, crossed.astype(float), np.nan)
            images.read(statistic, values, where, reasons=dict.fromkeys(left_out, reason))
        images.read(self.monotone, effect.is_monotone.astype(float), where, reasons={})

    def _read_realism(self, images: Study, name: str, edited: Tensor) -> None:
        """Read how well edited images are told from real images of the validation split."""
        trial, config, where = images.trial, self.config, {"edit": name}
        real = _other_images(trial)
        if real is None or len(real) < config.fewest_real:
            count = 0 if real is None else len(real)
            reason = f"no realism from {count} images of the validation split"
            images.read_missing(self.realism, reason, where)
            return
        textures = trial.once(
            ("texture", "validation"), lambda: texture(torch.from_numpy(real.images))
        )
        people = images.sample
        both = Sample(
            (*(f"real {key}" for key in real.keys), *people.keys),
            (*real.subjects, *people.subjects),
            (0,) * len(real) + (1,) * len(people),
        )
        suite = trial.runtime.suite
        values = told_apart(textures, texture(edited), both, config.folds, suite)
        images.note(Reading(self.realism.name, both, values, where))

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if surely more than half of the fall carries over to the twin."""
        score = find(readings, self.transfer)
        if score is not None and np.isnan(score.values).all():
            return Verdict("not assessable", None, next(iter(score.reasons.values()), None))
        limits = interval(readings, self.transfer)
        if limits is None or np.isnan(limits.low):
            return Verdict("scored", None, TOO_FEW)
        passed = limits.low > NEEDED
        reason = f"no more than {NEEDED:.0%} of what the edit does carries over to the twin"
        return Verdict("scored", passed, None if passed else reason)

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield the cards: a row for each edit."""
        return card_tables(readings)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show each edit of one subject of each group."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.counterfactual.figures import edit_drawings

        return edit_drawings(exhibits)


def _transfer(effect: Effect, twin: Effect) -> FloatArray:
    """Return values [n] whose mean is the mean fall on the twin over that on the model."""
    if not np.mean(effect.fall) >= SMALLEST_FALL:
        return np.full(len(effect.fall), np.nan)
    return of_mean(twin.fall, effect.fall)


def _other_images(trial: Trial) -> Cohort | None:
    """Return the validation split, or None where the cohort has none."""
    try:
        return trial.once(("split", "validation"), lambda: trial.cohort.select("validation"))
    except CohortError:
        return None


def _shown(images: Study, edits: Mapping[str, Tensor]) -> dict[str, npt.NDArray[np.generic]]:
    """Return the first subject of each group, by its key, and what each edit makes of it."""
    keys, test = np.array(images.keys), images.trial.test
    indices = np.array(
        [
            min(np.flatnonzero(images.groups == group).tolist(), key=keys.__getitem__)
            for group in (0, 1)
        ]
    )
    edited = {f"edit {name}": values[indices].numpy() for name, values in edits.items()}
    groups = np.array(list(images.trial.cohort.group_names))
    rows = images.rows[indices]
    return {"keys": keys[indices], "image": test.images[rows], "groups": groups, **edited}
