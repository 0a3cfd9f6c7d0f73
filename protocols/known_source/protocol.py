"""`known_source`: does the map follow the source when the task changes?

Several networks look at the same images, each trained to tell another structure's size: the source
of its labels is known, and independent of the others (after Siegel et al. 2025, arXiv 2508.02560).
A map that follows the network moves from structure to structure with it. A map that shows anatomy,
edges or a prior shows the same on every network, however well that fits one of them, and is worth
exactly nothing. All networks are equally sure of their labels, so that a map which shows its prior
where the network is sure is worth nothing either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from benchmark.arrays import FloatArray
from benchmark.errors import NotAssessableError, UnsupportedError
from benchmark.protocol import Drawing, Exhibit, SanityProtocol
from benchmark.reading import Reading, Verdict, find, interval, summarise
from benchmark.results.diagonal import unfollowed
from benchmark.statistics.studentised import TOO_FEW
from benchmark.training.relatives import Relative
from benchmark.trial import Study, Trial
from benchmark.trial.null_networks import count_abstentions
from protocols.known_source.measures import above_others, expected_precisions, precisions, region_of
from protocols.known_source.networks import TunedToSource
from protocols.known_source.statistics import (
    KnownSourceConfig,
    KnownSourceStatistics,
    sources_of,
    unlearned,
)

FEWEST_SOURCES = 2


class KnownSource(KnownSourceStatistics, SanityProtocol[KnownSourceConfig]):
    """The map of each source's network on that source, against the maps of the other networks."""

    name = "known_source"
    version = "1.0"
    title = "Does the map follow the source when the task changes?"
    topic = "structures that the network was trained on"
    if_passed = "follows the structure that the network was trained on"
    if_failed = "does not follow the structure that the network was trained on"
    primary = "source"
    chance = "source"
    margin = 0.02
    owes_to_network = True
    Config = KnownSourceConfig

    def relatives(self, trial: Trial) -> Iterator[Relative]:
        """Yield how the network of each of the cohort's sources is named and trained."""
        for source in trial.cohort.sources:
            yield TunedToSource(source).relative(trial)

    def measure(self, study: Study) -> None:
        """Measure; see the base class."""
        trial = study.trial
        tasks = {source: TunedToSource(source).task(trial) for source in _sources_of(trial)}
        self._read_networks(study, tasks)
        images = study.balanced(self.config.subjects)
        regions = {
            source: torch.from_numpy(region_of(trial.test, source)[images.rows]) for source in tasks
        }
        table: dict[tuple[str, str], FloatArray] = {}
        for network, task in tasks.items():
            ranked = images.ranked(task.draw(images.rows))
            abstentions = count_abstentions(images, ranked)
            images.constant(self.abstentions, abstentions, {"network": network})
            for source, ap in precisions(ranked, regions, images.foreground).items():
                table[network, source] = ap
                where = {"network": network, "source": source}
                images.read(self.ap, ap, where, reasons=_missing(images, ap, source))
        differences = above_others(table, expected_precisions(regions, images.foreground))
        images.read(self.source, np.mean(list(differences.values()), axis=0))
        for source, difference in differences.items():
            images.read(self.source, difference, {"source": source})

    def _read_networks(self, study: Study, tasks: Mapping[str, Trial]) -> None:
        """Read how well each network knows the labels of each source."""
        for network in tasks:
            logits = TunedToSource(network).on(study.trial).evaluation.logits
            margins = logits[:, 1] - logits[:, 0]
            for source, other in tasks.items():
                where = {"network": network, "source": source}
                study.note(Reading(self.auroc.name, other.sample(), margins, where))

    def verdict(self, readings: Sequence[Reading]) -> Verdict:
        """Pass if the map surely shows the own source better than other networks' maps do."""
        reason = unlearned(readings)
        if reason is not None:
            return Verdict("not assessable", None, reason)
        score = interval(readings, self.source)
        if score is not None and np.isnan(score.low):
            return Verdict("scored", None, TOO_FEW)
        passed = score is not None and score.low > 0
        return Verdict("scored", passed, None if passed else "the map does not follow the source")

    @classmethod
    def remark(cls, readings: Sequence[Reading]) -> str | None:
        """Say how well each network knows its own source, and at most another."""
        names = sources_of(readings)
        aurocs = {
            (network, source): summarise(reading, "auroc").estimate
            for network in names
            for source in names
            if (reading := find(readings, cls.auroc, network=network, source=source))
        }
        own = ", ".join(f"{name} {aurocs[name, name]:.2f}" for name in names)
        others = [auroc for (network, source), auroc in aurocs.items() if network != source]
        if not others:
            return None
        return (
            f"AUROC of the sources' networks: {own}; "
            f"on other sources {min(others):.2f} to {max(others):.2f}"
        )

    @classmethod
    def health_doubts(cls, readings: Mapping[str, Sequence[Reading]]) -> tuple[str, ...]:
        """Say which source no method finds best on the network that was trained on it."""
        unknown = unfollowed(readings, cls.ap, "source")
        return tuple(f"no method follows the network of {source} to it" for source in unknown)

    @classmethod
    def drawings(
        cls, exhibits: Mapping[str, Exhibit], readings: Mapping[str, Sequence[Reading]]
    ) -> Iterator[Drawing]:
        """Show each method's table of networks and sources."""
        # Figures load matplotlib, for which scoring need not wait.
        from protocols.known_source.figures import source_drawings

        return source_drawings(readings)


def _sources_of(trial: Trial) -> tuple[str, ...]:
    """Return the names of the cohort's sources, after refusing a cohort that has too few."""
    names = tuple(trial.cohort.sources)
    if not names:
        raise UnsupportedError("the cohort declares no sources")
    if len(names) < FEWEST_SOURCES:
        raise UnsupportedError(
            f"the cohort declares {names[0]!r} as its only source, which leaves none to compare"
        )
    if TunedToSource(names[0]).missing(trial) is not None:
        raise NotAssessableError("no networks of sources, since the cohort has no training split")
    return names


def _missing(images: Study, ap: FloatArray, source: str) -> dict[str, str]:
    """Return why images have no average precision on a source, by key."""
    pairs = zip(images.keys, np.isnan(ap), strict=True)
    return {key: f"no pixel of {source} in the foreground" for key, missing in pairs if missing}
