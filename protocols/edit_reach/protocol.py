"""`edit_reach`: how far can an edit go that touches only what the map marks?

Removal asks what the model loses. This asks whether the marked place is where the model can be
moved, by changes that occur between real subjects: every edit is a combination of the principal
components of the training images, held inside the top of the map. Edits of any kind would find
where a network can be fooled. Nothing is put in the place of pixels, so no imputer can be unfit.

The score is what the reach owes to the network: it is read against the same map at random places
(ring permutations) and the maps of networks that know nothing of the task, edited on the network on
trial. The second is not to spare: the groups' mean difference in the training images beats random
places without having seen a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from benchmark.arrays import FloatArray
from benchmark.errors import NotAssessableError
from benchmark.protocol import Drawing, Exhibit, SanityProtocol, Table
from benchmark.reading import Reading, Verdict, interval
from benchmark.statistics.studentised import TOO_FEW
from benchmark.trial import LABEL_MODEL, NullMaps, Retrained, Study, Trial, null_maps
from benchmark.trial.interventions.edits import Budget, Editor, Edits
from benchmark.trial.interventions.plausible import plausible_subspace
from benchmark.trial.null_networks import CHANCE, count_abstentions, name_left_out, read_left_out
from benchmark.trial.projection import group_axis
from protocols.edit_reach.exhibits import shown_arrays
from protocols.edit_reach.health import faults, words_of_model
from protocols.edit_reach.reaches import TWIN, MapReaches, TopReaches, map_reaches
from protocols.edit_reach.statistics import EditReachConfig, EditReachStatistics
from protocols.edit_reach.tables import reach_tables
from protocols.edit_reach.yardsticks import best_known, whole_edits, yardsticks

AT_CHANCE = "the model does not separate the groups"
SMALLEST_REACH = 0.2
CANNOT_BE_MOVED = "the model cannot be moved by plausible edits"


class EditReach(EditReachStatistics, SanityProtocol[EditReachConfig]):
    """Plausible edits inside the top of the map, against random places and ignorant networks."""

    name = "edit_reach"
    version = "1.0"
    title = "How far can an edit go that touches only what the map marks?"
    topic = "edits inside the map"
    if_passed = "marks places where edits move the model far"
    if_failed = "marks places where edits move the model no further than elsewhere"
    primary = "edit_reach"
    chance = "edit_reach"
    margin = 0.05
    truth_leads = False
    owes_to_network = True
    # Its best is no fixed number: how far a network can be moved is the network's own.
    counts = False
    tolerance = 1e-5
    Config = EditReachConfig

    memorised = LABEL_MODEL
    twin_model = Retrained(seed=1)

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        editor = self._editor(study.trial)
        self._read_model(study)
        images = study.balanced(self.config.subjects)
        ranked = images.ranked(study.trial.attributions[torch.from_numpy(images.rows)])
        count_abstentions(images, ranked)
        images.note_unrankable(ranked)
        whole = whole_edits(images, editor)
        self._read_whole(images, whole)
        nulls = null_maps(images)
        few = {
            copy: nulls.randomised[copy] for copy in list(nulls.randomised)[: self.config.copies]
        }
        fewer_nulls = replace(nulls, randomised=few, of_memorised=dict(nulls.of_memorised))
        reaches = map_reaches(images, editor, ranked, fewer_nulls, self.config)
        self._read_score(images, reaches)
        self._read_curves(images, reaches, nulls, whole)
        self._read_twin(images, reaches.own, whole)
        self._read_yardsticks(images, editor)
        images.exhibit(shown_arrays(images, editor, ranked, reaches.own, self.config.quantiles))

    def _editor(self, trial: Trial) -> Editor:
        """Return what finds the edits on the network on trial, and shows them to its twin."""
        config = self.config
        subspace = plausible_subspace(trial, config.components, config.fewest_images)
        others = {}
        if self.twin_model.missing(trial) is None:
            others[TWIN] = self.twin_model.on(trial)
        return Editor(trial, subspace, Budget(config.radius, config.steps), others)

    def _read_model(self, study: Study) -> None:
        """Read whether the model tells the groups apart.

        Raises:
            NotAssessableError: If it surely does not.
        """
        axis = group_axis(study.trial)
        scale = abs(axis.separation) or 1.0
        study.read(self.projection, axis.values / scale, reasons={})
        limits = interval(study.readings, self.projection)
        if axis.separation <= 0 or limits is None or not limits.low > 0:
            raise NotAssessableError(AT_CHANCE)

    def _read_whole(self, images: Study, whole: Edits) -> None:
        """Read how far an edit of the whole foreground reaches.

        Raises:
            NotAssessableError: If it reaches less than a fifth of T.
        """
        reach = whole.reach[:, 0]
        images.read(self.whole_reach, reach, reasons={})
        if float(np.mean(reach)) < SMALLEST_REACH:
            raise NotAssessableError(CANNOT_BE_MOVED)

    def _read_score(self, images: Study, reaches: MapReaches) -> None:
        """Read what the reach owes to the network, and how far it is above each null."""
        owed = reaches.owed
        images.read(self.edit_reach, owed.mean(1))
        images.read_by_group(self.edit_reach, owed.mean(1))
        for q, values in zip(self.config.quantiles, owed.T, strict=True):
            images.read(self.edit_reach, values, {"q": q})
        for name in reaches.nulls:
            above = reaches.above(name)
            images.read(self.above, above.mean(1), {"null": name})
            for q, values in zip(self.config.quantiles, above.T, strict=True):
                images.read(self.above, values, {"null": name, "q": q})
        ranks_nothing = np.where(np.isnan(reaches.own.reach).any(1), 1.0, 0.0)
        images.read(self.abstained, ranks_nothing, reasons={})

    def _read_curves(
        self, images: Study, reaches: MapReaches, nulls: NullMaps, whole: Edits
    ) -> None:
        """Read the reach of the map and of its nulls over the shares, and their share of all."""
        arms = {"map": reaches.of_map, "random": reaches.nulls[CHANCE]}
        arms |= {name: null for name, null in reaches.nulls.items() if name != CHANCE}
        for arm, values in arms.items():
            images.curve(self.reach, self.config.quantiles, values, {"arm": arm})
            images.read(self.reach, values.mean(1), {"arm": arm}, reasons={})
        for arm in ("map", "random"):
            over = whole.reach[:, 0]
            images.read(self.share, arms[arm].mean(1), {"arm": arm}, over=over, reasons={})
        read_left_out(images, nulls, self.reach, "arm")

    def _read_twin(self, images: Study, own: TopReaches, whole: Edits) -> None:
        """Read what the twin makes of the edits inside the top of the map and of all of it."""
        missing = self.twin_model.missing(images.trial)
        if own.on_twin is None:
            images.read_missing(self.transfer, missing or "no twin", {"edit": "map"})
            return
        of_map, rings = own.on_twin[..., 0], own.on_twin[..., 1:].mean(2)
        images.read(self.on_twin, _means(of_map - rings), {"arm": "above random"}, reasons={})
        images.read(self.on_twin, _means(of_map), {"arm": "map"}, reasons={})
        reach = _means(own.reach)
        images.read(self.transfer, _means(of_map), {"edit": "map"}, over=reach, reasons={})
        every = {"edit": "whole foreground"}
        fall, over = whole.elsewhere[TWIN][:, 0], whole.reach[:, 0]
        images.read(self.transfer, fall, every, over=over, reasons={})

    def _read_yardsticks(self, images: Study, editor: Editor) -> None:
        """Read how far edits reach inside maps that need no explainer."""
        quantiles = self.config.quantiles
        images.constant(self.explained, editor.subspace.explained)
        measured = yardsticks(images, editor, self.config)
        for name, reaches in measured.items():
            above, where = reaches.above_rings, {"map": name}
            images.read(self.yardstick, above.mean(1), where, reasons={})
            for q, values in zip(quantiles, above.T, strict=True):
                images.read(self.yardstick, values, {**where, "q": q}, reasons={})
        best = best_known(measured)
        if best is None:
            return
        reaches = measured[best]
        images.curve(self.reach, quantiles, reaches.reach, {"arm": best})
        if reaches.on_twin is not None:
            fall, over = reaches.on_twin[..., 0].mean(1), reaches.reach.mean(1)
            images.read(self.transfer, fall, {"edit": best}, over=over, reasons={})

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the reach is surely above that of every null."""
        limits = {
            str(reading.conditions["null"]): interval(readings, self.above, **reading.conditions)
            for reading in readings
            if reading.statistic == self.above.name and set(reading.conditions) == {"null"}
        }
        lows = {name: limit.low for name, limit in limits.items() if limit is not None}
        if any(np.isnan(low) for low in lows.values()):
            return Verdict("scored", None, TOO_FEW)
        short = [name for name, low in lows.items() if not low > 0]
        reason = f"edits reach no further than those of {_words(short)}" if short else None
        return Verdict("scored", not short, reason)

    @classmethod
    def health_faults(cls, readings: Sequence[Reading]) -> tuple[str, ...]:
        """Return whether the map surely leads the truth where the truth fills its share."""
        return faults(readings)

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say how far the model can be moved at all, and which nulls are missing."""
        parts = [*words_of_model(readings), *name_left_out(readings, cls.reach, "arm")]
        return "; ".join(parts) or None

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield the table of explainers, and that of maps that need none."""
        return reach_tables(readings)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show edits of some subjects, and what the twin makes of them."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.edit_reach.figures import edit_drawings

        return edit_drawings(exhibits, readings)


def _means(values: FloatArray) -> FloatArray:
    """Return the mean over shares, [n]; 0 where a map ranks nothing."""
    means: FloatArray = np.nan_to_num(values).mean(1)
    return means


def _words(nulls: Sequence[str]) -> str:
    words = {CHANCE: "random places", "randomised": "maps of randomised copies"}
    return ", ".join(words.get(name, "maps of the network of permuted labels") for name in nulls)
