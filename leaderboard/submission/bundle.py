"""The bundle of a submission: a folder, made whole or not at all, and read without trust.

::

    manifest.json     who submits what, and the hash of every other file
    records/...       records, in the layout of ``leaderboard.published.folder``
    source/<file>.py  the plugin
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.errors import StoreError
from leaderboard.published import folder as folders
from leaderboard.published.budget import Budget
from leaderboard.published.fault import Fault, FaultError
from leaderboard.published.folder import RECORD, SIDECAR, read_bytes, relative_path, write_records
from leaderboard.published.record import MOST_BYTES, PublishedRecord, seal_of
from leaderboard.published.sidecar import MOST_PACKED
from leaderboard.submission.manifest import MANIFEST, MOST_MANIFEST, PART, Manifest, is_device

RECORDS, SOURCE = "records", "source"
MOST_SOURCE = 2**18
# Suite v1 makes 0.5 MB of 32 files on three models, with records of 10 kB. A record needs some
# thirty times its size in memory where it is made to.
MOST_FILES, MOST_TOTAL, MOST_OF_RECORDS = 1_000, 2**26, 2**23


@dataclass(frozen=True)
class Bundle:
    """A submission of which every file was read.

    Attributes:
        folder: Copy of its plain files, which nobody else writes to.
        records: Records without a fault, by path.
        sidecars: Content of the sidecar of each record that has one, by the record's path.
        source: Content of the plugin's file.
    """

    folder: Path
    manifest: Manifest
    records: tuple[PublishedRecord, ...]
    sidecars: Mapping[str, bytes]
    source: bytes

    @property
    def records_folder(self) -> Path:
        """Folder of the records."""
        return self.folder / RECORDS

    @property
    def plugin(self) -> Path:
        """Path of the plugin's file."""
        return self.folder / SOURCE / self.manifest.source


def make_bundle(
    out: Path,
    manifest: Manifest,
    records: Sequence[tuple[PublishedRecord, bytes | None]],
    source: bytes,
) -> Path:
    """Write a bundle, whole or not at all, and return its folder; an older bundle is replaced.

    The hashes that the manifest holds of the bundle's files are filled in here.

    Raises:
        StoreError: If the folder holds anything else or cannot be written.
    """
    check_out(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as parent:
            draft = Path(parent, "bundle")
            (draft / SOURCE).mkdir(parents=True)
            (draft / SOURCE / manifest.source).write_bytes(source)
            write_records(draft / RECORDS, records)
            paths = sorted(path for path in draft.rglob("*") if path.is_file())
            files = {relative_path(path, draft): _sha256(path.read_bytes()) for path in paths}
            complete = manifest.model_copy(update={"files": files})
            (draft / MANIFEST).write_text(complete.to_json(), encoding="utf-8")
            if out.exists():
                out.rename(Path(parent, "old"))
            draft.rename(out)
    except OSError as error:
        raise StoreError(f"The bundle {out} cannot be written: {error.strerror}.") from error
    return out


def check_out(out: Path) -> None:
    """Show that a bundle may be written to a folder.

    Raises:
        StoreError: If the folder holds something else.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise StoreError(f"{out} is no folder; name a new one for the bundle.")
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if not names:
        return
    foreign = sorted(names - {MANIFEST, RECORDS, SOURCE})
    try:
        Manifest.from_json(read_bytes(out / MANIFEST, MANIFEST, MOST_MANIFEST))
        if not foreign:
            return
    except FaultError:
        foreign = foreign or sorted(names)
    raise StoreError(
        f"The folder {out} holds {foreign[0]!r}, which no submission wrote; name a new folder."
    )


def open_bundle(folder: Path, workspace: Path) -> tuple[Bundle | None, list[Fault]]:
    """Copy a bundle's plain files to an empty workspace, read them, and return all faults as well.

    There is no bundle where its manifest or source cannot be read.

    Raises:
        FaultError: ``no-bundle`` where there is no such folder.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise FaultError("no-bundle", str(folder), "it is no folder")
    faults: list[Fault] = []
    hashes = _copy(folder, workspace, faults)
    if MANIFEST not in hashes:
        if not any(fault.location == MANIFEST for fault in faults):
            faults.append(Fault("file-missing", MANIFEST, "a bundle needs one"))
        return None, faults
    try:
        manifest = Manifest.from_json((workspace / MANIFEST).read_bytes())
    except FaultError as error:
        return None, [*faults, error.fault]
    faults += _listing_faults(manifest, hashes)
    source_path = f"{SOURCE}/{manifest.source}"
    if source_path not in hashes:
        if not any(fault.location == source_path for fault in faults):
            faults.append(Fault("file-missing", source_path, "the plugin's file is not there"))
        return None, faults
    records: tuple[PublishedRecord, ...] = ()
    sidecars: dict[str, bytes] = {}
    if (workspace / RECORDS).is_dir():
        contents = folders.read_folder(workspace / RECORDS, Budget())
        faults += [
            replace(fault, location=f"{RECORDS}/{fault.location}") for fault in contents.faults
        ]
        records, sidecars = contents.records, _sidecars(workspace / RECORDS, contents.records)
    source = (workspace / source_path).read_bytes()
    faults += _source_faults(manifest, source, source_path)
    return Bundle(workspace, manifest, records, sidecars, source), faults


def _sidecars(folder: Path, records: Sequence[PublishedRecord]) -> dict[str, bytes]:
    """Return the content of the sidecars, each of which has the hash that its record names."""
    contents = {}
    for record in records:
        if record.readings is not None:
            location = record.path.removesuffix(RECORD) + SIDECAR
            content = read_bytes(folder / location, location, MOST_PACKED)
            if seal_of(content) != record.readings:
                raise FaultError("sidecar-checksum", location, "it changed while it was read")
            contents[record.path] = content
    return contents


def _copy(folder: Path, workspace: Path, faults: list[Fault]) -> dict[str, str]:
    """Copy the files that a bundle may hold, and return the hash of each by its path."""
    hashes: dict[str, str] = {}
    bytes_left, record_bytes_left = MOST_TOTAL, MOST_OF_RECORDS
    for path in folders.walk(folder, faults):
        location = relative_path(path, folder)
        fault = _misfit(location)
        if fault is None and len(hashes) >= MOST_FILES:
            faults.append(Fault("too-many-files", location, f"there are more than {MOST_FILES:,}"))
            break
        if fault is not None:
            faults.append(fault)
            continue
        most = min(_most_bytes(location), bytes_left)
        if location.endswith(RECORD):
            most = min(most, record_bytes_left)
        try:
            content = read_bytes(path, location, most)
        except FaultError as error:
            faults.append(error.fault)
            continue
        bytes_left -= len(content)
        if location.endswith(RECORD):
            record_bytes_left -= len(content)
        copy = workspace / location
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        hashes[location] = _sha256(content)
    return hashes


def _misfit(location: str) -> Fault | None:
    """Return the fault of a file that a bundle may not hold, or None."""
    parts = location.split("/")
    if any(part.startswith(".") for part in parts):
        return Fault("hidden-file", location, "a bundle holds nothing hidden")
    if any(PART.fullmatch(part) is None for part in parts):
        return Fault("odd-path", location, "names are made of A-Z, a-z, 0-9 and _.+-")
    if any(map(is_device, parts)):
        return Fault("reserved-name", location, "Windows can hold no file of this name")
    if location == MANIFEST or parts[0] == RECORDS:
        return None
    if parts[0] == SOURCE and len(parts) == 2 and location.endswith(".py"):
        return None
    return Fault("unknown-file", location, "a bundle holds nothing else")


def _most_bytes(location: str) -> int:
    if location == MANIFEST:
        return MOST_MANIFEST
    if location.startswith(f"{SOURCE}/"):
        return MOST_SOURCE
    return MOST_PACKED if location.endswith(SIDECAR) else MOST_BYTES


def _listing_faults(manifest: Manifest, hashes: Mapping[str, str]) -> list[Fault]:
    """Return where the files of a bundle differ from the list of its manifest."""
    faults = []
    present = {location: sha256 for location, sha256 in hashes.items() if location != MANIFEST}
    for location in sorted(present.keys() - manifest.files.keys()):
        faults.append(Fault("unlisted-file", location, "the manifest does not list it"))
    for location in sorted(manifest.files.keys() - present.keys()):
        faults.append(Fault("file-missing", location, "the manifest lists it, and it is not there"))
    for location in sorted(manifest.files.keys() & present.keys()):
        if manifest.files[location] != present[location]:
            faults.append(Fault("hash-mismatch", location, "it is not the file that was listed"))
    return faults


def _source_faults(manifest: Manifest, source: bytes, location: str) -> list[Fault]:
    faults = []
    if _sha256(source) != manifest.source_sha256:
        detail = "it is not the plugin that the manifest's source_sha256 names"
        faults.append(Fault("source-mismatch", location, detail))
    plugin_files = [file for file in manifest.files if file.startswith(f"{SOURCE}/")]
    if others := [file for file in plugin_files if file != location]:
        faults.append(Fault("unknown-file", others[0], "a plugin is a single file"))
    return faults


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
