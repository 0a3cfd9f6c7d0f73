"""`positive_control` 2.0: does the map find the mark that the network was taught to see?

An image carries two marks. One network was taught to see the first, another one the second, and
both are asked about the same image. A map that finds a mark by a filter finds it on either network,
and on the network before tuning, and is worth exactly nothing. A single signal at three strengths,
as in 1.0, is read beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.errors import NotAssessableError
from benchmark.maps import localisation, ranking
from benchmark.protocol import Badge, Drawing, Exhibit, SanityProtocol
from benchmark.reading import Reading, Verdict, find, interval, summarise
from benchmark.results.diagonal import unfollowed
from benchmark.statistics.own import own
from benchmark.statistics.studentised import TOO_FEW
from benchmark.trial import Need, Study
from benchmark.trial.null_networks import count_abstentions
from protocols.positive_control.arms import TunedTo
from protocols.positive_control.dose_response import dose_badges
from protocols.positive_control.statistics import strengths_of
from protocols.v2.positive_control.exhibits import marked_arrays
from protocols.v2.positive_control.networks import TunedToMark
from protocols.v2.positive_control.single import as_single, read_single
from protocols.v2.positive_control.statistics import (
    MAIN,
    PositiveControlConfig,
    PositiveControlStatistics,
    marks_of,
    unlearned,
)
from protocols.v2.positive_control.tasks import Task, on_main, presences_of, tasks, truths

Precisions = Mapping[tuple[str, str], FloatArray]


class PositiveControl(PositiveControlStatistics, SanityProtocol[PositiveControlConfig]):
    """The map of a mark on the network that was taught to see it, against other networks' maps."""

    name = "positive_control"
    version = "2.0"
    title = "Does the map find the mark that the network was taught to see?"
    topic = "marks that the network was taught to see"
    if_passed = "finds the marks that the network was taught to see"
    if_failed = "misses the marks that the network was taught to see"
    primary = "found"
    chance = "found"
    margin = 0.02
    gate = True
    counts = True
    owes_to_network = True
    tolerance = 1e-5  # a probe's margins move a little with the rounding of its embeddings
    Config = PositiveControlConfig

    @property
    def needs(self) -> tuple[Need, ...]:
        """The model tuned to each mark, and to each strength of the single signal."""
        marks, single = self.config.marks, self.config.single
        strengths = single.strengths if self.config.dose_response else ()
        return *(TunedToMark(marks, own) for own in range(len(marks))), *map(TunedTo, strengths)

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial, marks = study.trial, self.config.marks
        if TunedToMark(marks, 0).missing(trial) is not None:
            raise NotAssessableError("no network of a mark, since the cohort has no training split")
        networks = tasks(trial, marks)
        self._read_networks(study, networks)
        images = study.balanced(self.config.subjects)
        maps = self._draw(images, networks)
        precisions = self._read_precisions(images, maps)
        self._read_found(images, precisions)
        few = study.balanced(self.config.single.subjects)
        arrays = marked_arrays(images, few, marks, networks, maps)
        if self.config.dose_response:
            readings, single_arrays = read_single(study, self.config.single)
            study.note(*readings)
            arrays |= single_arrays
        images.exhibit(arrays)

    def _read_networks(self, study: Study, networks: tuple[Task, Task]) -> None:
        """Read how well each network knows whether each mark is there, of all test images."""
        marks = self.config.marks
        for task in networks:
            margins = task.margins()
            for number, mark in enumerate(marks):
                people = presences_of(study.trial, marks, number)
                where = {"network": task.mark, "mark": mark.name}
                study.note(Reading(self.mark_auroc.name, people, margins, where))

    def _draw(self, images: Study, networks: tuple[Task, Task]) -> dict[str, Tensor]:
        """Return the importance [n, 1, *S] of images with both marks, by network."""
        maps = {}
        for task in networks:
            ranked = images.ranked(task.trial.draw(task.rows(images.rows)))
            where = {"network": task.mark}
            images.constant(self.abstentions, count_abstentions(images, ranked), where)
            maps[task.mark] = ranked
        main = on_main(images.trial, self.config.marks)
        maps[MAIN] = images.ranked(main.draw(images.rows))
        return maps

    def _read_precisions(self, images: Study, maps: Mapping[str, Tensor]) -> Precisions:
        """Read the average precision of each network's map on each mark, NaN where it abstains."""
        precisions, regions = {}, self._regions(images)
        for network, ranked in maps.items():
            of_network = images.of(images.rows)
            of_network.note_unrankable(ranked)
            # A few images at a time, since the order of pixels takes several times their memory.
            parts = [
                _average_precisions(*few)
                for few in ranking.a_few_each(ranked, images.foreground, *regions.values())
            ]
            for mark, ap in zip(regions, np.concatenate(parts, axis=1), strict=True):
                precisions[network, mark] = ap
                of_network.read(self.mark_ap, ap, {"network": network, "mark": mark})
        return precisions

    def _read_found(self, images: Study, precisions: Precisions) -> None:
        by_marks, beyond_main, regions = [], [], self._regions(images)
        for mark, other in zip(regions, reversed(regions), strict=True):
            region = regions[mark]
            chance = localisation.expected_average_precision(region, images.foreground).numpy()
            above = {
                network: (precisions[network, mark] - chance) / (1 - chance)
                for network in (mark, other, MAIN)
            }
            rivals = {network: above[network] for network in (other, MAIN)}
            by_mark = own(above[mark], rivals, np.zeros_like(chance)).values
            images.read(self.found, by_mark, {"mark": mark}, reasons={})
            by_marks.append(by_mark)
            before = {MAIN: precisions[MAIN, mark]}
            beyond_main.append(own(precisions[mark, mark], before, chance).values)
        images.read(self.found, np.mean(by_marks, axis=0), reasons={})
        images.read(self.beyond_main, np.mean(beyond_main, axis=0), reasons={})

    def _regions(self, images: Study) -> dict[str, Tensor]:
        """Return where each mark lies in the rows, [n, 1, *S]."""
        regions = truths(images.trial, self.config.marks)
        pairs = zip(self.config.marks, regions, strict=True)
        return {mark.name: torch.from_numpy(region[images.rows]) for mark, region in pairs}

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map surely shows the marks better than before the network knew them."""
        reason = unlearned(readings)
        if reason is not None:
            return Verdict("not assessable", None, reason)
        beyond = interval(readings, self.beyond_main)
        if beyond is not None and np.isnan(beyond.low):
            return Verdict("scored", None, TOO_FEW)
        passed = beyond is not None and beyond.low > 0
        reason = "no better than on the network before it was taught the marks"
        return Verdict("scored", passed, None if passed else reason)

    @classmethod
    def badges(cls, readings: Sequence[Reading]) -> tuple[Badge, ...]:
        """Say what rises with the strength of a single signal, where it was read."""
        single = as_single(readings)
        strengths = strengths_of(single)
        return dose_badges(single, strengths) if strengths else ()

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say how well each network knows its own mark, and the other one."""
        names = marks_of(readings)
        aurocs = {
            (network, mark): summarise(reading, "auroc").estimate
            for network in names
            for mark in names
            if (reading := find(readings, cls.mark_auroc, network=network, mark=mark))
        }
        if not aurocs:
            return None
        parts = [
            f"{mark} {aurocs[mark, mark]:.2f} (on {other} {aurocs[mark, other]:.2f})"
            for mark, other in zip(names, reversed(names), strict=True)
        ]
        return f"AUROC of the marks' networks: {', '.join(parts)}"

    @classmethod
    def health_doubts(cls, readings: Mapping[str, Sequence[Reading]]) -> tuple[str, ...]:
        """Say which mark no method finds best on the network that was taught to see it."""
        unknown = unfollowed(readings, cls.mark_ap, "mark")
        return tuple(f"no method follows the network of {mark} to it" for mark in unknown)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show an image with both marks, each network's map of it, and what the single signal gave.

        See the base class for the arguments.
        """
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.positive_control.figures import planted_drawings
        from protocols.v2.positive_control.figures import mark_drawings

        yield from mark_drawings(exhibits, readings)
        single = {name: as_single(some) for name, some in readings.items()}
        if any(map(strengths_of, single.values())):
            yield from planted_drawings(exhibits, single)


def _average_precisions(ranked: Tensor, foreground: Tensor, *regions: Tensor) -> FloatArray:
    """Return the average precision of maps [n, 1, *S] on each of R regions, [R, n]."""
    order = ranking.rank_pixels(ranked, foreground)
    return np.stack(
        [
            localisation.average_precision(ranked, region, foreground, order).numpy()
            for region in regions
        ]
    )
