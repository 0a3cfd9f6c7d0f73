"""Records on a source and on marks that no submitter has seen."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.published.record import PublishedRecord


@dataclass(frozen=True)
class Unpublished:
    """Records on data that are kept back.

    Attributes:
        records: Published form of the records.
        honest: Explainers whose loss on such data is taken for honest.
    """

    records: tuple[PublishedRecord, ...]
    honest: tuple[str, ...]
