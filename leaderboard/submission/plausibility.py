"""What a submission says of itself and nobody can measure again, held against what can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from leaderboard.published.record import PublishedRecord
from leaderboard.submission.names import NamedFault

FAMILIES = (
    "attention",
    "class activation",
    "gradient",
    "optimisation",
    "other",
    "perturbation",
    "reference difference",
    "relevance",
)
# Numbers between dots, of at most eight digits since some versions are dates, and a short ending
# such as ``rc1`` or ``+cpu``.
_VERSION = re.compile(
    r"[0-9]{1,8}(\.[0-9]{1,8}){0,4}(([-+_][0-9A-Za-z]|\.?[A-Za-z])[0-9A-Za-z.+_-]{0,23})?"
)
_FIRST_DAY = datetime(2026, 11, 23, tzinfo=UTC)
# The clock of a submitter's machine may be wrong by so much.
_CLOCKS = timedelta(days=1)
_LONGEST, _MOST_PASSES, _MOST_MEMORY = 100 * 86_400, 10**12, 2**50
_MOST_THREADS, _MOST_PACKAGES = 2**16, 64


def method_faults(family: str, version: str) -> Iterator[NamedFault]:
    """Yield what is wrong with the family and the version that a method gives itself."""
    if family not in FAMILIES:
        detail = f"no method is of the family {family[:40]!r}; known: {', '.join(FAMILIES)}"
        yield "unknown-family", detail
    if _VERSION.fullmatch(version) is None:
        yield "odd-version", f"{version[:40]!r} is no version, such as '1.0'"


def record_faults(record: PublishedRecord) -> Iterator[NamedFault]:
    """Yield what cannot be true of when, by what and at what cost a record was measured."""
    provenance, resources = record.provenance, record.resources
    if not record.method.control:  # which is a fault of its own
        yield from method_faults(record.method.family, record.identity.explainer.version)
    versions = {"Python": provenance.python} | provenance.packages
    for package, version in versions.items():
        if version is not None and _VERSION.fullmatch(version) is None:
            yield "odd-version", f"{version[:40]!r} is no version of {package[:40]!r}"
    if len(provenance.packages) > _MOST_PACKAGES:
        yield "odd-version", f"it names the versions of {len(provenance.packages):,} packages"
    yield from _date_faults(record.created)
    costs = (
        ("seconds", resources.seconds, _LONGEST),
        ("forward passes", resources.forward, _MOST_PASSES),
        ("backward passes", resources.backward, _MOST_PASSES),
        ("bytes of memory", resources.peak_memory_bytes or 0, _MOST_MEMORY),
        ("images in a batch", provenance.batch_size, _MOST_THREADS),
        ("threads", provenance.threads, _MOST_THREADS),
    )
    for unit, cost, most in costs:
        if cost > most:
            yield (
                "odd-cost",
                f"no cell takes {cost:,} {unit}; the most that is believed is {most:,}",
            )


def _date_faults(created: str) -> Iterator[NamedFault]:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        yield "odd-date", f"{created} is no date"
        return
    if moment < _FIRST_DAY:
        yield "odd-date", f"{created} is before the first version, of {_FIRST_DAY:%Y-%m-%d}"
    elif moment > datetime.now(UTC) + _CLOCKS:
        yield "odd-date", f"{created} is in the future"
