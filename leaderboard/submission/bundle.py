"""A submission as a folder: made whole or not at all, and read without believing any of it.

::

    manifest.json     who submits what, and the hash of every other file
    records/...       as ``leaderboard.published.folder`` lays them out
    source/<file>.py  the plugin
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import StoreError
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.folder import (
    RECORD,
    SIDECAR,
    place_of,
    read_bytes,
    read_folder,
    read_record,
    walk,
    write_records,
)
from leaderboard.published.record import MOST_BYTES, PublishedRecord
from leaderboard.published.sidecar import MOST_PACKED
from leaderboard.submission.manifest import MANIFEST, MOST_MANIFEST, PART, Manifest

RECORDS, SOURCE = "records", "source"
MOST_SOURCE = 2**20
# Suite v1 makes 5 MB of 30 files on three models.
MOST_FILES, MOST_TOTAL = 4_000, 2**28


@dataclass(frozen=True)
class Bundle:
    """A submission of which every file was read.

    Attributes:
        folder: A copy of its plain files, which nobody else writes to.
        manifest: What it says of itself.
        records: Those without a fault, by path.
        source: The plugin's file.
    """

    folder: Path
    manifest: Manifest
    records: tuple[PublishedRecord, ...]
    source: bytes

    @property
    def records_folder(self) -> Path:
        """Where the records lie."""
        return self.folder / RECORDS

    @property
    def plugin(self) -> Path:
        """Where the plugin's file lies."""
        return self.folder / SOURCE / self.manifest.source


def make_bundle(
    out: Path,
    manifest: Manifest,
    records: Sequence[tuple[PublishedRecord, bytes | None]],
    source: bytes,
) -> Path:
    """Write a bundle, whole or not at all; an older one in its place gives way.

    Args:
        out: Folder; may exist where it is empty or holds a bundle.
        manifest: Its ``files`` are filled in here.
        records: With their sidecars.
        source: The plugin's file.

    Returns:
        The folder.

    Raises:
        StoreError: If the folder holds anything else or cannot be written.
    """
    check_out(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
            draft = Path(place, "bundle")
            (draft / SOURCE).mkdir(parents=True)
            (draft / SOURCE / manifest.source).write_bytes(source)
            write_records(draft / RECORDS, records)
            paths = sorted(path for path in draft.rglob("*") if path.is_file())
            files = {place_of(path, draft): _sha256(path.read_bytes()) for path in paths}
            whole = manifest.model_copy(update={"files": files})
            (draft / MANIFEST).write_text(whole.to_json(), encoding="utf-8")
            if out.exists():
                out.rename(Path(place, "old"))
            draft.rename(out)
    except OSError as error:
        raise StoreError(f"The bundle {out} cannot be written: {error.strerror}.") from error
    return out


def check_out(out: Path) -> None:
    """Show that a bundle may be written there.

    Raises:
        StoreError: If something else is there.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise StoreError(f"{out} is no folder; name a new one for the bundle.")
    if not out.is_dir():
        return
    found = {one.name for one in out.iterdir()}
    if not found:
        return
    try:
        Manifest.from_json(read_bytes(out / MANIFEST, MANIFEST, MOST_MANIFEST))
        if found <= {MANIFEST, RECORDS, SOURCE}:
            return
    except FaultError:
        pass
    strange = sorted(found - {MANIFEST, RECORDS, SOURCE}) or sorted(found)
    raise StoreError(
        f"The folder {out} holds {strange[0]!r}, which no submission wrote; name a new folder."
    )


def open_bundle(folder: Path, workspace: Path) -> tuple[Bundle | None, list[Fault]]:
    """Copy a bundle's plain files, and read them.

    Args:
        folder: Of the bundle; nothing in it is believed.
        workspace: An empty folder for the copy, on which all further work is done.

    Returns:
        The bundle, or None where its manifest or source cannot be read, and all faults.

    Raises:
        FaultError: ``no-bundle`` where there is no such folder.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise FaultError("no-bundle", str(folder), "it is no folder")
    faults: list[Fault] = []
    hashes = _copy(folder, workspace, faults)
    if MANIFEST not in hashes:
        if not any(one.place == MANIFEST for one in faults):
            faults.append(Fault("file-missing", MANIFEST, "a bundle needs one"))
        return None, faults
    try:
        manifest = Manifest.from_json((workspace / MANIFEST).read_bytes())
    except FaultError as error:
        return None, [*faults, error.fault]
    faults += _compare(manifest, hashes)
    place = f"{SOURCE}/{manifest.source}"
    if place not in hashes:
        if not any(one.place == place for one in faults):
            faults.append(Fault("file-missing", place, "the plugin's file is not there"))
        return None, faults
    records: tuple[PublishedRecord, ...] = ()
    if (workspace / RECORDS).is_dir():
        contents = read_folder(workspace / RECORDS)
        faults += [Fault(one.name, f"{RECORDS}/{one.place}", one.detail) for one in contents.faults]
        records = contents.records
    source = (workspace / place).read_bytes()
    faults += _of_source(manifest, source, place)
    return Bundle(workspace, manifest, records, source), faults


def admit(bundle: Bundle, into: Path) -> list[Path]:
    """Write a bundle's records into a folder of records, as reproduced: all of them or none.

    Args:
        bundle: Without a fault, and run again with the same scores.
        into: Folder of records.

    Returns:
        Paths of the records.

    Raises:
        FaultError: ``name-taken`` where the folder has records of another method by this name, or
            of another identity in their place.
        StoreError: If a file cannot be written; what was there before is there again.
    """
    published = []
    for record in bundle.records:
        _check_free(record, into)
        sidecar = None
        if record.readings is not None:
            place = record.path.removesuffix(RECORD) + SIDECAR
            sidecar = read_bytes(bundle.records_folder / place, place, MOST_PACKED)
        published.append((record.with_tier("reproduced"), sidecar))
    paths = [into / record.path for record in bundle.records]
    touched = [one for path in paths for one in (path, path.with_suffix(SIDECAR))]
    before = {path: path.read_bytes() if path.is_file() else None for path in touched}
    try:
        return write_records(into, published)
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)
        raise


def _check_free(record: PublishedRecord, into: Path) -> None:
    """Refuse to write where another method's records stand, or another result of this one."""
    folder = (into / record.path).parent
    for path in sorted(folder.glob(f"*{RECORD}")) if folder.is_dir() else ():
        place = place_of(path, into)
        kept = read_record(into, place)
        same_method = kept.identity.explainer == record.identity.explainer
        same_people = kept.submitter == record.submitter
        same_cell = place != record.path or kept.identity_sha256 == record.identity_sha256
        if not (same_method and same_people and same_cell):
            detail = f"{into} holds another record of {record.names.explainer!r} there"
            raise FaultError("name-taken", place, detail)


def _copy(folder: Path, workspace: Path, faults: list[Fault]) -> dict[str, str]:
    """Copy what may be in a bundle, and return the hash of each file by its path."""
    hashes: dict[str, str] = {}
    left = MOST_TOTAL
    for path in walk(folder, faults):
        place = place_of(path, folder)
        fault = _misfit(place)
        if fault is None and len(hashes) >= MOST_FILES:
            faults.append(Fault("too-many-files", place, f"there are more than {MOST_FILES:,}"))
            break
        if fault is not None:
            faults.append(fault)
            continue
        try:
            content = read_bytes(path, place, min(_most_bytes(place), left))
        except FaultError as error:
            faults.append(error.fault)
            continue
        left -= len(content)
        copy = workspace / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        hashes[place] = _sha256(content)
    return hashes


def _misfit(place: str) -> Fault | None:
    """Return why a file has no place in a bundle, or None."""
    parts = place.split("/")
    if any(part.startswith(".") for part in parts):
        return Fault("hidden-file", place, "a bundle holds nothing hidden")
    if any(PART.fullmatch(part) is None for part in parts):
        return Fault("odd-path", place, "names are made of A-Z, a-z, 0-9 and _.+-")
    if place == MANIFEST or parts[0] == RECORDS:
        return None
    if parts[0] == SOURCE and len(parts) == 2 and place.endswith(".py"):
        return None
    return Fault("unknown-file", place, "a bundle holds nothing else")


def _most_bytes(place: str) -> int:
    if place == MANIFEST:
        return MOST_MANIFEST
    if place.startswith(f"{SOURCE}/"):
        return MOST_SOURCE
    return MOST_PACKED if place.endswith(SIDECAR) else MOST_BYTES


def _compare(manifest: Manifest, hashes: Mapping[str, str]) -> list[Fault]:
    """Hold the files that are there to those that the manifest lists."""
    faults = []
    there = {place: sha256 for place, sha256 in hashes.items() if place != MANIFEST}
    for place in sorted(there.keys() - manifest.files.keys()):
        faults.append(Fault("unlisted-file", place, "the manifest does not list it"))
    for place in sorted(manifest.files.keys() - there.keys()):
        faults.append(Fault("file-missing", place, "the manifest lists it, and it is not there"))
    for place in sorted(manifest.files.keys() & there.keys()):
        if manifest.files[place] != there[place]:
            faults.append(Fault("hash-mismatch", place, "it is not the file that was listed"))
    return faults


def _of_source(manifest: Manifest, source: bytes, place: str) -> list[Fault]:
    faults = []
    if _sha256(source) != manifest.source_sha256:
        detail = "it is not the plugin that the manifest's source_sha256 names"
        faults.append(Fault("source-mismatch", place, detail))
    others = [one for one in manifest.files if one.startswith(f"{SOURCE}/") and one != place]
    if others:
        faults.append(Fault("unknown-file", others[0], "a plugin is a single file"))
    return faults


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
