"""`complexity`: how spread out is the map?

Descriptive alone: nothing is passed or failed, and no score enters a total. A sparse map is easy to
read and need not be right. Grad-CAM is sparser on an untrained network than on a trained one, so
each value stands beside that of the same method on fully randomised copies of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import Field

from benchmark.arrays import FloatArray
from benchmark.protocol import Drawing, Exhibit, ProtocolConfig, SanityProtocol, Table
from benchmark.reading import Reading, Statistic, Verdict, interval, statistic
from benchmark.trial import RANDOM_COPIES, Study
from benchmark.trial.null_networks import randomised_maps
from protocols.complexity.measures import concentration

_NOISE = 1 / 3  # Gini index of independent uniform noise


class ComplexityConfig(ProtocolConfig):
    """Settings of `complexity`.

    Attributes:
        subjects: Number of images whose maps are measured, as many of each group.
    """

    subjects: int = Field(64, ge=4)


class Complexity(SanityProtocol[ComplexityConfig]):
    """Gini index, entropy and area of 90 % of the map, beside those on randomised networks."""

    name = "complexity"
    version = "1.0"
    title = "How spread out is the map?"
    topic = "how spread out the maps are"
    primary = "gini"
    chance = "gini_above_noise"
    margin = 0.01
    truth_leads = False
    counts = False
    Config = ComplexityConfig

    gini = statistic("Gini index of the map: 0 if flat, near 1 if few pixels hold all of it")
    gini_copy = statistic("Gini index of the map on randomised copies of the network")
    entropy = statistic("entropy of the map's shares over that of a flat map")
    entropy_copy = statistic("the same entropy on randomised copies of the network")
    area90 = statistic("smallest share of the foreground that holds 90 % of the map")
    area90_copy = statistic("the same share on randomised copies of the network")
    gini_above_noise = statistic("Gini index minus 1/3, its value for uniform noise")

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        images = study.balanced(self.config.subjects)
        ranked = images.ranked(images.maps())
        images.note_unrankable(ranked)
        copies = randomised_maps(images, RANDOM_COPIES)
        own = concentration(ranked, images.foreground)
        others = [concentration(maps, images.foreground) for maps in copies.maps.values()]
        for column, (read, read_copy) in enumerate(
            (
                (self.gini, self.gini_copy),
                (self.entropy, self.entropy_copy),
                (self.area90, self.area90_copy),
            )
        ):
            values = own[:, column]
            images.read(read, values)
            if read is self.gini:
                images.read(self.gini_above_noise, values - _NOISE)
            of_copies = [other[:, column] for other in others]
            self._read_copies(images, read_copy, of_copies, copies.left_out)

    def _read_copies(
        self,
        images: Study,
        read: Statistic,
        values: Sequence[FloatArray],
        left_out: Mapping[str, str],
    ) -> None:
        """Read the mean over the copies whose map ranks pixels; a reason where none does."""
        if not values:
            images.read_missing(read, next(iter(left_out.values())))
            return
        known = ~np.isnan(values)
        count = known.sum(0)
        mean = np.where(known, values, 0.0).sum(0) / np.where(count, count, np.nan)
        pairs = zip(images.keys, count, strict=True)
        reasons = {key: "no map of a randomised network ranks pixels" for key, n in pairs if not n}
        images.read(read, mean, reasons=reasons)

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Describe; there is nothing to pass."""
        return Verdict("scored", None, None)

    @classmethod
    def tables(cls, readings: Mapping[str, Sequence[Reading]]) -> Iterator[Table]:
        """Yield one table of every measure beside its value on randomised networks."""
        columns = (cls.gini, cls.gini_copy, cls.entropy, cls.area90, cls.area90_copy)
        yield Table(
            "concentration",
            "How spread out the maps are",
            "Means over subjects. A sparse map is not a right one: compare each value with that "
            "on randomised copies of the network, which know nothing.",
            (
                "explainer",
                "Gini index",
                "Gini index (randomised)",
                "entropy",
                "area of 90 %",
                "area of 90 % (randomised)",
            ),
            [
                (name, *(_estimate(own, column) for column in columns))
                for name, own in readings.items()
            ],
        )

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show the Gini index of each method on the trained and on randomised networks."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.complexity.figures import concentration_drawings

        return concentration_drawings(readings)


def _estimate(readings: Sequence[Reading], measured: Statistic) -> float | None:
    score = interval(readings, measured)
    return None if score is None or np.isnan(score.estimate) else round(score.estimate, 3)
