"""Writes the records of a submission among those of a board: what was verified, from memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.records.files import is_stray, write_atomically
from leaderboard.published import folder as folders
from leaderboard.published.fault import FaultError
from leaderboard.published.fields import TIERS, Tier
from leaderboard.published.folder import RECORD, SIDECAR, relative_path, write_records
from leaderboard.published.record import PublishedRecord
from leaderboard.submission.bundle import Bundle


def admit(
    bundle: Bundle, tier_of: Callable[[PublishedRecord], Tier], into: Path
) -> list[PublishedRecord]:
    """Write a faultless bundle's records into a folder, all of them or none, and return them.

    Nothing is read from the bundle's folder, which a plugin that was run may have changed. The same
    result that stands there already under a higher tier keeps it.

    Args:
        bundle: Bundle that was verified.
        tier_of: Returns the tier that a record earned.
        into: Folder of records.

    Raises:
        FaultError: ``name-taken`` where the folder has records of another method by this name, or
            other results of the same cells.
        StoreError: If a file cannot be written; the folder is then restored.
    """
    published = []
    for record in bundle.records:
        _check_free(record, into)
        tier = max(tier_of(record), _earlier_tier(record, into), key=TIERS.index)
        published.append((record.resealed({"tier": tier}), bundle.sidecars.get(record.path)))
    paths = [into / record.path for record, _ in published]
    written = [file for path in paths for file in (path, path.with_suffix(SIDECAR))]
    old_contents = {path: path.read_bytes() if path.is_file() else None for path in written}
    try:
        write_records(into, published)
    except BaseException:
        for path, content in old_contents.items():
            with suppress(OSError, StoreError):  # the first error is the one to tell
                if content is None:
                    path.unlink(missing_ok=True)
                elif not folders.holds(path, content):
                    # Whole or not at all: on a full disk the file that stands there is worth more.
                    write_atomically(path, content)
        raise
    return [record for record, _ in published]


def _check_free(record: PublishedRecord, into: Path) -> None:
    """Refuse to overwrite records of another method, or other results of this one."""
    folder = (into / record.path).parent
    paths = sorted(folder.glob(f"*{RECORD}")) if folder.is_dir() else []
    for path in (path for path in paths if not is_stray(path.name)):
        location = relative_path(path, into)
        kept = folders.read_record(into, location)
        same_method = kept.identity.explainer == record.identity.explainer
        same_submitter = kept.submitter == record.submitter
        same_cell = location != record.path or kept.identity_sha256 == record.identity_sha256
        if not (same_method and same_submitter and same_cell):
            detail = f"{into} holds another record of {record.names.explainer!r} there"
            raise FaultError("name-taken", location, detail)


def _earlier_tier(record: PublishedRecord, into: Path) -> Tier:
    """Return the tier under which the folder has this very result, the lowest where it has none."""
    if not (into / record.path).is_file():
        return TIERS[0]
    kept = folders.read_record(into, record.path)
    return kept.tier if kept == record.resealed({"tier": kept.tier}) else TIERS[0]
