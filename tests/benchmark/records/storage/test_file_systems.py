"""The store on file systems that refuse what disks allow, and among files of others."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import build_record

from benchmark.errors import StoreError
from benchmark.records import files
from benchmark.records.record import Outcome, Record
from benchmark.records.storage import owners
from benchmark.records.storage.merging import merge
from benchmark.records.store import Store, read_records

REFUSALS = [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS]
FAILED = Outcome("failed", "ValueError: out of ideas")


def refusing(code: int) -> Callable[..., Any]:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("code", REFUSALS)
def test_no_hard_links_and_no_sync_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """If it fails, nothing can be scored on a FAT disk, an SMB share or in many a container."""
    sync, store, record = os.fsync, Store(tmp_path / "store"), build_record()

    def sync_files_only(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        sync(handle)

    monkeypatch.setattr(os, "link", refusing(code))
    monkeypatch.setattr(os, "fsync", sync_files_only)
    store.put(record)
    store.put(record)
    assert list(store.records()) == [record]
    other = build_record(values=(0.9, 0.9, 0.9, 0.8))
    with pytest.raises(StoreError, match="Two results under one identity"):
        store.put(other)
    assert list(Store(store.path).records()) == [record]
    assert names(store.path) == [f"{record.identity_sha256}.json", "store.json"]


def test_without_links_one_of_many_writers_wins_and_the_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a result takes another's place unseen where a disk knows no links."""
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    records = [build_record(values=(0.1, 0.2, 0.3, writer / 10)) for writer in range(8)]
    barrier, faults = threading.Barrier(8), []

    def write(record: Record) -> None:
        store = Store(tmp_path / "store")
        barrier.wait()
        try:
            store.put(record)
        except StoreError as error:
            faults.append(str(error))

    threads = [threading.Thread(target=write, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (kept,) = Store(tmp_path / "store").records()
    assert kept in records
    assert len(faults) == 7
    assert all(kept.checksum[:12] in fault for fault in faults)
    assert list((tmp_path / "store").rglob(".*")) == []


@pytest.mark.parametrize("owner", ["process that ended", "other machine, long ago", "torn"])
def test_the_claim_of_who_died_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    """If it fails, a run that was killed on such a disk keeps all later ones waiting for ever."""
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))
    store, record = Store(tmp_path / "store"), build_record()
    store.prepare()
    claim = store.path / "records" / f".{record.identity_sha256}.json.claim.tmp"
    gone = owner == "process that ended"
    machine = owners.machine() if gone else "elsewhere"
    claim.write_text("" if owner == "torn" else f"{machine} {ended_process()} x")
    if not gone:
        os.utime(claim, (0, time.time() - 3600))
    store.put(record)
    assert list(store.records()) == [record]
    assert not claim.exists()


def test_what_the_disk_cannot_do_for_other_reasons_is_still_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a broken or full disk is taken for one that knows no links."""
    store = Store(tmp_path / "store")
    store.prepare()
    for call in ("link", "fsync"):
        for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            with monkeypatch.context() as patch:
                patch.setattr(os, call, refusing(code))
                with pytest.raises(StoreError, match=os.strerror(code)):
                    store.put(build_record())
    assert names(store.path) == ["store.json"]


def test_a_folder_that_cannot_be_written_to_is_said_before_anything_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, hours are computed for a store on a read-only or full disk, and then lost."""
    store, record = Store(tmp_path / "store"), build_record()
    store.put(record)
    for code in (errno.EROFS, errno.ENOSPC, errno.EACCES):
        again = Store(store.path)
        assert again.get(record.identity_sha256) == record, "what is there can be read"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", refusing(code))
            with pytest.raises(StoreError, match="cannot be written to") as caught:
                again.prepare()
        assert str(store.path) in str(caught.value)
        assert os.strerror(code) in str(caught.value)


def test_another_machines_clock_sweeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails, a node whose clock is a month ahead deletes what others are writing."""
    store = Store(tmp_path / "store")
    store.prepare()
    folder = store.path / "records"
    live = owners.temporary_beside(folder / "live.json")
    foreign = folder / f".foreign.json.{'0' * 8}.17.abcdef01.tmp"
    older = folder / ".older.json.17.abcdef01.tmp"  # as earlier versions named them
    dead = folder / f".dead.json.{owners.machine()}.{ended_process()}.abcdef01.tmp"
    for path in (live, foreign, older, dead):
        path.write_text("{")
    long_ago = time.time() - owners.OLDEST_SECONDS - 60
    os.utime(live, (long_ago, long_ago))  # a process that is there may take its time
    month = 30 * 24 * 60 * 60
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + month)
    Store(store.path).prepare()
    assert [path.exists() for path in (live, foreign, older, dead)] == [True, True, True, False]
    for path in (foreign, older):
        os.utime(path, (long_ago, long_ago))
    monkeypatch.setattr(time, "time", lambda: now() - month)
    Store(store.path).prepare()
    assert [path.exists() for path in (live, foreign, older)] == [True, False, False]


def test_files_of_systems_and_editors_are_passed_over(tmp_path: Path) -> None:
    """If it fails, a look into the folder with a Mac's Finder makes a store unreadable."""
    record, failed = build_record(), build_record("dark", outcome=FAILED)
    new = tmp_path / "new"
    (new / "records").mkdir(parents=True)
    for folder in (new, new / "records"):
        (folder / ".DS_Store").write_bytes(b"\0\1Bud1")
    store = Store(new)
    store.put(record)
    store.put(failed)
    for folder in (store.path, *(store.path / name for name in ("records", "failures", "arrays"))):
        for name in (
            *(".DS_Store", ".nfs000000000001", f"._{record.identity_sha256}.json", "Thumbs.db"),
            *("notes.json~", "#x.json#", f"{record.identity_sha256} (1).json", ".x.json.swp"),
        ):
            (folder / name).write_bytes(b"\0")
    again = Store(store.path)
    assert list(again.records()) == [record] == read_records(store.path)
    assert list(again.failures()) == [failed]
    assert merge([store.path], tmp_path / "merged") == 1
    again.prepare()
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "mine.json").write_bytes(record.to_json().encode())
    (plain / "._mine.json").write_bytes(b"\0")
    with pytest.raises(StoreError, match="belongs under the name"):
        read_records(plain)
    (plain / "mine.json").rename(plain / f"{record.identity_sha256}.json")
    assert read_records(plain) == [record]


def newer(record: Record, change: Callable[[str], str]) -> bytes:
    return change(record.to_json()).encode()


VERSIONS = [
    ("schema version 2", lambda text: text.replace('"schema_version":1', '"schema_version":2')),
    ("the field 'sites'", lambda text: text.replace('{"checksum"', '{"sites":[],"checksum"', 1)),
]


@pytest.mark.parametrize(("what", "change"), VERSIONS)
def test_what_a_newer_version_wrote_is_neither_read_nor_destroyed(
    tmp_path: Path, what: str, change: Callable[[str], str]
) -> None:
    """If it fails, whoever updates one of two machines loses what the other measures."""
    store, record = Store(tmp_path / "store"), build_record()
    failed = build_record("dark", outcome=FAILED)
    store.prepare()
    cell = store.path / "records" / f"{record.identity_sha256}.json"
    failure = store.path / "failures" / f"{failed.identity_sha256}.json"
    cell.write_bytes(newer(record, change))
    failure.write_bytes(newer(failed, change))
    failure.with_suffix(".log").write_text("newer")
    before = {path: path.read_bytes() for path in (cell, failure, failure.with_suffix(".log"))}

    for ask in (
        lambda: store.get(record.identity_sha256),
        lambda: list(store.records()),
        lambda: list(store.failures()),
        lambda: store.put(build_record(values=(0.9, 0.9, 0.9, 0.8))),
        lambda: merge([store.path], tmp_path / "merged"),
    ):
        with pytest.raises(StoreError, match="use the version that wrote it") as caught:
            ask()
        assert what in str(caught.value)
        assert str(store.path) in str(caught.value)
    store.put(failed, "older")
    store.put(build_record("bright2"))
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "merged").exists()


def test_a_store_of_a_newer_format_is_left_alone_even_if_made_meanwhile(tmp_path: Path) -> None:
    """If it fails, two versions that start at once write two formats into one folder."""
    store = Store(tmp_path / "store")
    store.path.mkdir()
    marker = store.path / "store.json"
    marker.write_text('{"format": 2}\n')
    with pytest.raises(StoreError, match="use the version that made it"):
        store.put(build_record())
    assert marker.read_text() == '{"format": 2}\n'
    assert names(store.path) == ["store.json"]


def test_names_tell_strays_from_files() -> None:
    """If it fails, records vanish from boards, or Finder's files are read as records."""
    strays = (".DS_Store", "._a", ".nfs0", "a~", "#a#", "~$a.json", "Thumbs.db", "DESKTOP.INI")
    assert all(map(files.is_stray, strays))
    assert not any(map(files.is_stray, ("a.json", "a", "store.json", "thumbs", "a~b")))
