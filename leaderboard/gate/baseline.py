"""The baseline of a gate, read from published records or a store."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import InputError
from benchmark.records.files import check_folder
from benchmark.records.identity import Names, first_fault
from benchmark.records.record import Record
from benchmark.records.store import is_store, read_records
from benchmark.running.plan import Plan
from benchmark.running.suite import Suite
from leaderboard.published.folder import read_folder
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.submission.from_plugins import method_of, scale_of

_STORED_RECORD = re.compile(r"[0-9a-f]{64}\.json")


class NoBaselineError(InputError):
    """A baseline is missing, cannot be read, or lacks what is gated; exit code 5."""


def salt_of(suite: Suite) -> str:
    """Return the salt of the pseudonyms of a suite's subjects.

    It is the salt that the suite publishes; else that of the environment variable MEDSANITY_SALT,
    which must be a secret where subjects are people; else one that everybody knows.
    """
    own = os.environ.get("MEDSANITY_SALT") or "medsanity"
    return own if suite.board is None else suite.board.salt


def read_baseline(folder: Path, suite: Suite, plan: Plan) -> dict[Names, PublishedRecord]:
    """Return the records of a baseline by cohort, model, explainer and protocol.

    Of a store only the records of the suite, and of the plan's explainers and protocols, are taken.

    Raises:
        NoBaselineError: If the folder does not exist or cannot be read.
    """
    if not folder.is_dir():
        raise NoBaselineError(
            f"The baseline {folder} is no folder; --update-baseline writes one there."
        )
    in_store = _is_store_like(folder)
    try:
        published = _read_store(folder, suite, plan) if in_store else _read_published(folder)
    except InputError as error:
        raise NoBaselineError(f"The baseline {folder} cannot be read: {error}") from error
    records: dict[Names, PublishedRecord] = {}
    for record in published:
        if records.setdefault(record.names, record) is not record:
            raise NoBaselineError(
                f"The baseline {folder} holds two results for {cell_label(record.names)}; name a "
                "store that holds one, or write a baseline with --update-baseline."
            )
    return records


def read_own_baseline(folder: Path, suite: Suite, plan: Plan) -> dict[Names, PublishedRecord]:
    """Return the present records of a baseline, and show that it can be written.

    Raises:
        NoBaselineError: If the present records cannot be read.
        InputError: If the folder is a store.
    """
    if folder.is_dir() and _is_store_like(folder):
        raise InputError(
            f"{folder} holds a store's records; name a folder of its own for the baseline."
        )
    check_folder(folder.resolve().parent)
    return read_baseline(folder, suite, plan) if folder.is_dir() else {}


def publish_bare(record: Record, plan: Plan, pseudonyms: Pseudonyms) -> PublishedRecord:
    """Return the published record of a cell that did not fail, without a sidecar.

    Raises:
        InputError: If a published record cannot hold the cell.
    """
    method = method_of(plan.explainers[record.names.explainer].plugin)
    scale = scale_of(plan.protocols[record.names.protocol].plugin)
    try:
        published, _ = publish(record, method, scale, pseudonyms, "gate")
    except ValidationError as error:
        reason = f"cannot be written as a record: {first_fault(error)[1]}"
        raise InputError(f"{cell_label(record.names)} {reason}.") from error
    return published.resealed({"readings": None})


def cell_label(names: Names) -> str:
    """Return the name of a cell in messages."""
    return f"{names.explainer} · {names.protocol} on {names.cohort} × {names.model}"


def _read_published(folder: Path) -> Sequence[PublishedRecord]:
    contents = read_folder(folder)
    # A note to readers may stand beside the records.
    if faults := [fault for fault in contents.faults if fault.name != "unknown-file"]:
        raise InputError(str(faults[0]))
    return contents.records


def _read_store(folder: Path, suite: Suite, plan: Plan) -> Sequence[PublishedRecord]:
    pseudonyms = Pseudonyms(salt_of(suite))
    return [
        publish_bare(record, plan, pseudonyms)
        for record in read_records(folder)
        if (record.identity.suite, record.identity.seed) == (suite.version, suite.seed)
        and record.names.explainer in plan.explainers
        and record.names.protocol in plan.protocols
    ]


def _is_store_like(folder: Path) -> bool:
    names = (path.name for path in folder.glob("*.json"))
    return is_store(folder) or any(map(_STORED_RECORD.fullmatch, names))
