"""The store: whole files or none, nothing replaced, every fault one sentence."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from runs import build_record

from benchmark.errors import StoreError
from benchmark.records.files import write_atomically
from benchmark.records.record import Outcome
from benchmark.records.storage.merging import merge
from benchmark.records.store import Store, read_records

FAILED = Outcome("failed", "ValueError: out of ideas")


def leftovers(folder: Path) -> list[str]:
    return [one.name for one in folder.rglob("*.tmp")]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()
    }


def test_a_record_is_kept_under_its_identity_and_comes_back(tmp_path: Path) -> None:
    store, record = Store(tmp_path / "store"), build_record()
    assert not store.path.exists(), "looking at a store must not make one"
    assert store.get(record.identity_sha256) is None
    assert list(store.records()) == []
    store.put(record)
    assert (store.path / "records" / f"{record.identity_sha256}.json").is_file()
    again = Store(tmp_path / "store")
    assert again.get(record.identity_sha256) == record
    assert list(again.records()) == [record] == read_records(store.path)
    assert leftovers(store.path) == []


def test_equal_content_again_changes_no_byte(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put(build_record())
    before = contents(store.path)
    other = build_record().renamed(build_record().names.model_copy(update={"cohort": "x"}))
    store.put(other)
    assert contents(store.path) == before


def test_other_content_under_one_identity_names_both(tmp_path: Path) -> None:
    """A result that replaced another in silence would make the board depend on who came last."""
    store = Store(tmp_path / "store")
    first, second = build_record(), build_record(values=(0.9, 0.9, 0.9, 0.8))
    store.put(first)
    before = contents(store.path)
    with pytest.raises(StoreError) as caught:
        store.put(second)
    assert first.checksum[:12] in str(caught.value)
    assert second.checksum[:12] in str(caught.value)
    assert contents(store.path) == before


def test_many_writers_of_one_record_leave_one_whole_file(tmp_path: Path) -> None:
    stores = [Store(tmp_path / "store") for _ in range(8)]
    barrier, errors = threading.Barrier(8), []

    def write(store: Store) -> None:
        barrier.wait()
        try:
            store.put(build_record())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(list(stores[0].records())) == 1
    assert leftovers(tmp_path) == []


def test_a_damaged_record_is_named_and_not_scored(tmp_path: Path) -> None:
    store, record = Store(tmp_path / "store"), build_record()
    store.put(record)
    path = store.path / "records" / f"{record.identity_sha256}.json"
    whole = path.read_bytes()
    for damaged in (whole[:100], whole.replace(b"0.2", b"0.3", 1), b"", b"\xff\xfe"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=record.identity_sha256):
            store.get(record.identity_sha256)
    path.unlink()
    path.with_stem("0" * 64).write_bytes(whole)
    with pytest.raises(StoreError, match="belongs under the name"):
        list(store.records())


def test_a_failure_is_kept_apart_and_gives_way_to_the_next_attempt(tmp_path: Path) -> None:
    """A failure that counted as a result would never be tried again."""
    store = Store(tmp_path / "store")
    failed = build_record(outcome=FAILED)
    store.put(failed, "Traceback: first")
    store.put(build_record(outcome=Outcome("failed", "OSError: gone")), "Traceback: second")
    assert store.get(failed.identity_sha256) is None
    assert list(store.records()) == []
    assert [one.reason for one in store.failures()] == ["OSError: gone"]
    log = store.path / "failures" / f"{failed.identity_sha256}.log"
    assert log.read_text() == "Traceback: second"
    store.put(build_record())
    assert list(store.failures()) == []
    assert not log.exists()


@pytest.mark.parametrize(
    ("call", "code"), [("fsync", errno.ENOSPC), ("link", errno.EROFS), ("open", errno.EACCES)]
)
def test_what_the_disk_refuses_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    store, record = Store(tmp_path / "store"), build_record()
    store.prepare()
    before = contents(store.path)

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os if call != "open" else Path, call, refuse)
    with pytest.raises(StoreError) as caught:
        store.put(record)
    if call != "link":  # arrays are replaced, not linked
        with pytest.raises(StoreError, match=os.strerror(code)):
            store.arrays.save("maps", {"a": np.zeros(3)})
    monkeypatch.undo()
    assert os.strerror(code) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(store.path) == before


def test_a_path_that_cannot_be_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be read or written"):
        Store(tmp_path / "file" / "inside").prepare()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    with pytest.raises(StoreError, match="is not a store"):
        Store(tmp_path / "photos")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "store.json").write_text('{"format": 2}\n')
    with pytest.raises(StoreError, match="reads format 1"):
        Store(tmp_path / "new")


def test_a_store_whose_maker_was_killed_is_still_one(tmp_path: Path) -> None:
    """Folders come before the marker; a kill between them must not lock the user out."""
    (tmp_path / "store" / "records").mkdir(parents=True)
    Store(tmp_path / "store").put(build_record())


def test_arrays_come_back_bit_by_bit(tmp_path: Path) -> None:
    arrays = {
        "maps": np.random.default_rng(0).random((3, 1, 4, 4)).astype(np.float32),
        "logits": np.array([[0.1, math_nan := float("nan")]]),
        "rows": np.arange(3, dtype=np.int64)[::-1],
    }
    assert np.isnan(math_nan)
    folder = Store(tmp_path / "store").arrays
    assert folder.load("maps of x") is None
    folder.save("maps of x", arrays)
    kept = Store(tmp_path / "store").arrays.load("maps of x")
    assert kept is not None
    assert kept.keys() == arrays.keys()
    for name, array in arrays.items():
        assert kept[name].dtype == array.dtype
        np.testing.assert_array_equal(kept[name], array)
    assert folder.load("maps of y") is None


def test_a_torn_or_altered_array_counts_as_absent_and_is_replaced(tmp_path: Path) -> None:
    """A map with one wrong byte would score something that no explainer ever said."""
    store = Store(tmp_path / "store")
    arrays = {"a": np.arange(64, dtype=np.float32)}
    store.arrays.save("x", arrays)
    (path,) = (store.path / "arrays").glob("*.npz")
    whole = path.read_bytes()
    for place in range(0, len(whole), 41):
        path.write_bytes(whole[:place])
        assert store.arrays.load("x") is None
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        kept = store.arrays.load("x")
        assert kept is None or np.array_equal(kept["a"], arrays["a"])
    store.arrays.save("x", arrays)
    assert store.arrays.load("x") is not None
    path.rename(path.with_stem("0" * 64))
    assert store.arrays.load("x") is None


def test_arrays_of_objects_are_refused_rather_than_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pickle"):
        Store(tmp_path / "store").arrays.save("x", {"a": np.array([object()])})
    assert leftovers(tmp_path) == []


def test_merging_shards_gives_the_store_of_one_run(tmp_path: Path) -> None:
    records = [build_record(name) for name in ("a", "b", "c")]
    whole, left, right = (Store(tmp_path / name) for name in ("whole", "left", "right"))
    for record in records:
        whole.put(record)
    for record in records[:2]:
        left.put(record)
    for record in records[1:]:
        right.put(record)
    right.put(build_record("a", outcome=FAILED), "log")
    right.put(build_record("d", outcome=FAILED), "log")
    right.arrays.save("x", {"a": np.zeros(2)})
    assert merge([left.path, right.path], tmp_path / "merged") == 3
    merged = Store(tmp_path / "merged")
    assert [one.content for one in merged.records()] == [one.content for one in whole.records()]
    assert [one.names.explainer for one in merged.failures()] == ["d"]
    assert merged.arrays.load("x") is not None
    before = contents(merged.path / "records")
    assert merge([left.path, right.path], tmp_path / "merged") == 3
    assert contents(merged.path / "records") == before


def test_stores_that_contradict_each_other_are_not_merged_at_all(tmp_path: Path) -> None:
    left, right = Store(tmp_path / "left"), Store(tmp_path / "right")
    left.put(build_record("a"))
    left.put(build_record("b"))
    right.put(build_record("b", values=(1.0, 1.0, 1.0, 0.0)))
    with pytest.raises(StoreError, match="Two results under one identity"):
        merge([left.path, right.path], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreError, match="is not a store"):
        merge([tmp_path / "other"], tmp_path / "merged")


def test_a_folder_of_records_need_not_be_a_store(tmp_path: Path) -> None:
    record = build_record()
    write_atomically(tmp_path / f"{record.identity_sha256}.json", record.to_json().encode())
    assert read_records(tmp_path) == [record]
    with pytest.raises(StoreError, match="does not exist"):
        read_records(tmp_path / "none")
