"""The base of a cohort plugin: where a cohort's images and their regions come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from benchmark.cohort import Cohort

__all__ = ["CohortSource"]


class CohortSource(ABC):
    """A cohort that models and explainers can be scored on; one class in one file.

    To add one, subclass this in a file of its own, set ``name``, and fill a
    :class:`~benchmark.cohort.Cohort` in ``load``; the cohort checks itself. Whatever is random in
    it must come from a fixed seed: a cohort's fingerprint is part of every score's identity, so
    two calls that differ by a pixel give scores that nobody can compare. Import what is slow
    inside ``load``, since listing the catalogue imports every plugin.

    Attributes:
        name: Name of the cohort on the command line and in records.
        description: Sentence for tables.
        model: Name of the network that was trained on it, which it is scored with wherever no model
            is named and the suite names none for this cohort. None for a cohort without one: it is
            scored with the models of the suite, and a volume that these do not take with
            `smallresnet3d`.
    """

    name: ClassVar[str]
    description: ClassVar[str] = ""
    model: ClassVar[str | None] = None

    @abstractmethod
    def load(self) -> Cohort:
        """Return the cohort, the same at every call.

        Raises:
            CohortError: If its files are missing, unreadable or contradict each other.
        """

    def draw(self, seed: int) -> Cohort | None:
        """Return the cohort with new subjects in its test split, or None where there are no others.

        A cohort that is generated can be drawn again; scores on people whom nobody has seen then
        tell whether those on the published ones were looked up. All other splits stay as they are,
        since networks were trained on them. New subjects have names of their own, by which the
        random streams of protocols are named.

        Args:
            seed: Decides the subjects.

        Raises:
            CohortError: If the published subjects were drawn by this seed.
        """
        return None
