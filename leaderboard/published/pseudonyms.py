"""Subject ids that tell nobody who a subject is, unless they hold the salt."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache

from benchmark.reading import Sample

_DIGITS = 12


class Pseudonyms:
    """Names for subjects: the same salt gives the same name, so that records can be paired.

    A name is the HMAC-SHA-256 of the id, cut to 48 bits: among 10,000 subjects two share a name in
    one of five million cohorts.

    Args:
        salt: Key of the hash. A suite of synthetic subjects publishes it, so that anyone can
            verify; for people it is a secret.
    """

    def __init__(self, salt: str) -> None:
        self._salt = salt.encode()
        self._sample = lru_cache(maxsize=64)(self._make)

    def name(self, subject: str) -> str:
        """Return the name of a subject, twelve hexadecimal digits."""
        return hmac.new(self._salt, subject.encode(), hashlib.sha256).hexdigest()[:_DIGITS]

    def sample(self, sample: Sample) -> Sample:
        """Return a sample with its subjects, and the keys of its images, renamed."""
        return self._sample(sample)

    def _make(self, sample: Sample) -> Sample:
        names = tuple(map(self.name, sample.subjects))
        keys = tuple(
            # An image's own part may say who it is of, so it is renamed with its subject's.
            name if key == subject else f"{name}#{self.name(key)[:8]}"
            for key, subject, name in zip(sample.keys, sample.subjects, names, strict=True)
        )
        return Sample(keys, names, sample.groups)
