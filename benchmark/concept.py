"""A concept: images that show something and images that do not, to ask a network about.

Such as the same subjects with smaller hippocampi, or people above 75 beside younger ones.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmark.arrays import FloatArray, ImageArray, Rows

__all__ = ["Concept", "ConceptImages", "DeferredConcepts"]


@dataclass(frozen=True)
class ConceptImages:
    """One of the two sets of images of a concept.

    Attributes:
        images: [n, 1, *S] float32 in [0, 1], on the grid of the cohort.
        subjects: Subject of each image, [n].
        strata: Stratum of each image, [n], such as its group: unpaired sets are compared within a
            stratum alone. Empty where all images belong to one.
    """

    images: ImageArray
    subjects: tuple[str, ...]
    strata: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Unique name of each image: its subject, and its content where a subject has several."""
        counts = Counter(self.subjects)
        return tuple(
            subject if counts[subject] == 1 else f"{subject}#{sha256[:8]}"
            for subject, sha256 in zip(self.subjects, self._hashes, strict=True)
        )

    def take(self, rows: Rows) -> ConceptImages:
        """Return these images, in this order."""
        chosen = rows.tolist()
        subjects = tuple(self.subjects[row] for row in chosen)
        strata = tuple(self.strata[row] for row in chosen) if self.strata else ()
        return ConceptImages(self.images[rows], subjects, strata)

    @cached_property
    def span(self) -> tuple[float, float]:
        """Smallest and largest value; NaN where an image holds NaN."""
        return float(np.min(self.images)), float(np.max(self.images))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of images, subjects and strata, the same in any order of the images."""
        names = zip(self.subjects, self.strata or ("",) * len(self), strict=True)
        rows = sorted(map(list, zip(self._hashes, names, strict=True)))
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    @cached_property
    def _hashes(self) -> tuple[str, ...]:
        """SHA-256 of each image."""
        contents = (np.ascontiguousarray(image, dtype="<f4").tobytes() for image in self.images)
        return tuple(hashlib.sha256(content).hexdigest() for content in contents)


@dataclass(frozen=True)
class Concept:
    """Images with and without something that a network may look at.

    Attributes:
        present: Images that show it.
        absent: Images that do not. Where both sets are of the same subjects, in the same order,
            the concept is paired.
        paired: Whether each image of ``present`` is that of ``absent`` in the same place, with
            nothing but the concept added.
        description: One sentence for tables.
        nuisance: Whether a network that looks at it has found a shortcut, such as a scanner.
        covariates: Columns of ``Cohort.participants`` whose sum is the amount of the concept in a
            subject; none where the amount is not known.
        added: [n] difference by which the images of ``present`` exceed their partners in that
            amount; None where the amount is not known, or there are no pairs.
    """

    present: ConceptImages
    absent: ConceptImages
    paired: bool
    description: str = ""
    nuisance: bool = False
    covariates: tuple[str, ...] = ()
    added: FloatArray | None = None

    @cached_property
    def in_key_order(self) -> Concept:
        """The same concept with its images in the order of their keys, pairs together."""
        absent = np.argsort(np.array(self.absent.keys))
        present = absent if self.paired else np.argsort(np.array(self.present.keys))
        return replace(
            self,
            present=self.present.take(present),
            absent=self.absent.take(absent),
            added=None if self.added is None else np.asarray(self.added)[present],
        )

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of everything that a score depends on."""
        added = None if self.added is None else np.round(self.added, 6).tolist()
        if added is not None:
            added = sorted(zip(self.present.subjects, added, strict=True))
        head = [self.paired, self.nuisance, self.covariates, added]
        if self.paired:  # which image is whose partner
            pairs = zip(self.present._hashes, self.absent._hashes, strict=True)
            head.append(sorted(map(list, pairs)))
        sets = [self.present.sha256, self.absent.sha256]
        return hashlib.sha256(json.dumps([head, sets]).encode()).hexdigest()


class DeferredConcepts(Mapping[str, Concept]):
    """Concepts by name that are read when one is first asked for, since few runs ask.

    A cohort does not check them when it is made; whoever reads them does.

    Args:
        read: Returns the concepts.
    """

    def __init__(self, read: Callable[[], Mapping[str, Concept]]) -> None:
        self._read = read

    @cached_property
    def _concepts(self) -> Mapping[str, Concept]:
        return self._read()

    def __getitem__(self, name: str) -> Concept:
        """Return the concept of a name."""
        return self._concepts[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._concepts)

    def __len__(self) -> int:
        """Return the number of concepts."""
        return len(self._concepts)
