"""What lets records of two MINOR versions of a protocol stand on one board.

A bridge holds the scores of reference explainers under both versions, subject by subject. It holds
where no score differs by more than the protocol's tolerance; a MAJOR version has no bridge, but a
board of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from benchmark.records.files import is_stray
from benchmark.records.identity import StrictModel, canonical_json, first_fault
from leaderboard.published.fault import FaultError
from leaderboard.published.fields import Name, Number, Pseudonym
from leaderboard.published.folder import read_bytes
from leaderboard.published.record import MOST_BYTES, PublishedRecord
from leaderboard.published.strict_json import parse

# One explainer may be blind to what a version changes.
FEWEST_EXPLAINERS = 2
_ROUNDING = 1e-5


class Bridge(StrictModel):
    """Scores under two versions of a protocol.

    Attributes:
        schema_version: Version of this format.
        protocol: Name of the protocol.
        older: One version of it.
        newer: The other version.
        tolerance: Largest difference of a score that is none.
        rows: Model, explainer, image, and the score under either version.
    """

    schema_version: Literal[1] = 1
    protocol: Name
    older: str
    newer: str
    tolerance: Number
    rows: tuple[tuple[Name, Name, Pseudonym, Number | None, Number | None], ...]

    @property
    def largest(self) -> float:
        """Largest difference of a score; infinite where one version gives a score and one none."""
        largest = 0.0
        for *_, before, after in self.rows:
            if (before is None) != (after is None):
                return math.inf
            if before is not None and after is not None:
                largest = max(largest, abs(before - after) - _ROUNDING * abs(before))
        return largest

    def check(self, location: str) -> None:
        """Refuse a bridge that does not hold.

        Raises:
            FaultError: ``bridge-unlike``, ``bridge-major``, ``bridge-thin`` or ``bridge-breaks``.
        """
        older, newer = (
            [int(part) for part in version.split(".") if part.isdigit()]
            for version in (self.older, self.newer)
        )
        if older >= newer:
            detail = f"version {self.older} is not older than {self.newer}"
            raise FaultError("bridge-unlike", location, detail)
        if older[:1] != newer[:1]:
            detail = f"{self.older} and {self.newer} do not compare; a new board is needed"
            raise FaultError("bridge-major", location, detail)
        explainers = {row[1] for row in self.rows}
        if len(explainers) < FEWEST_EXPLAINERS:
            detail = (
                f"it needs {FEWEST_EXPLAINERS} explainers at least, and holds {len(explainers)}"
            )
            raise FaultError("bridge-thin", location, detail)
        if self.largest > self.tolerance:
            detail = f"a score moves by {self.largest:.3g}, more than {self.tolerance:g}"
            raise FaultError("bridge-breaks", location, detail)

    def to_json(self) -> str:
        """Return its text, a line per row."""
        fields = self.model_dump(mode="json")
        rows = ",\n".join(f"  {canonical_json(row)}" for row in fields.pop("rows"))
        return f'{canonical_json(fields)[:-1]},"rows":[\n{rows}\n]}}\n'


def make_bridge(older: Sequence[PublishedRecord], newer: Sequence[PublishedRecord]) -> Bridge:
    """Return the bridge between records of the same cells under two versions of a protocol.

    Raises:
        FaultError: ``bridge-thin`` where they share no cell; ``bridge-unlike`` where a side holds
            several versions, or a cell differs in more than the protocol's version.
    """
    of_newer = {record.path: record for record in newer}
    pairs = [(record, of_newer[record.path]) for record in older if record.path in of_newer]
    if not pairs:
        detail = "no cell of the protocol is on both sides; are its name and both folders right?"
        raise FaultError("bridge-thin", "the records", detail)
    before, after = _version(older), _version(newer)
    if before == after:
        raise FaultError("bridge-unlike", "the records", f"both are of version {before}")
    rows = []
    for first, second in pairs:
        _check_pair(first, second)
        scores = {key: value for key, _, _, value, _ in second.scores}
        rows += [
            (first.names.model, first.names.explainer, key, value, scores[key])
            for key, _, _, value, _ in first.scores
        ]
    first, second = pairs[0]
    return Bridge(
        protocol=first.names.protocol,
        older=before,
        newer=after,
        tolerance=second.scale.tolerance,
        rows=tuple(rows),
    )


def _version(records: Sequence[PublishedRecord]) -> str:
    versions = sorted({record.identity.protocol.version for record in records})
    if len(versions) > 1:
        detail = f"one side holds the versions {', '.join(versions)}; name a folder of one"
        raise FaultError("bridge-unlike", records[0].path, detail)
    return versions[0]


def _check_pair(older: PublishedRecord, newer: PublishedRecord) -> None:
    """Refuse two records whose scores may differ for another reason than the version."""
    before, after = (
        record.identity.model_dump(exclude={"protocol": {"version", "source_sha256"}})
        | {"images": {key for key, *_ in record.scores}}
        for record in (older, newer)
    )
    different = [name.replace("_", " ") for name in before if before[name] != after[name]]
    if different:
        detail = f"more than the version differs between the two: {', '.join(different)}"
        raise FaultError("bridge-unlike", older.path, detail)


def load_bridges(folder: Path) -> tuple[Bridge, ...]:
    """Return the bridges of a folder, which need not exist.

    Raises:
        FaultError: If one cannot be read or does not hold.
    """
    bridges = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if is_stray(path.name):
            continue
        fields = parse(read_bytes(path, path.name, MOST_BYTES), path.name, MOST_BYTES)
        try:
            bridge = Bridge.model_validate_json(canonical_json(fields))
        except ValidationError as error:
            key, message = first_fault(error)
            raise FaultError("wrong-type", path.name, f"at {key!r}: {message}") from error
        bridge.check(path.name)
        bridges.append(bridge)
    return tuple(bridges)


def bridged(versions: Sequence[str], protocol: str, bridges: Sequence[Bridge]) -> bool:
    """Return whether bridges lead from each of a protocol's versions to every other."""
    ends = [{bridge.older, bridge.newer} for bridge in bridges if bridge.protocol == protocol]
    reached = {versions[0]}
    while more := set().union(*(pair for pair in ends if pair & reached)) - reached:
        reached |= more
    return set(versions) <= reached
