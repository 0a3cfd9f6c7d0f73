"""Reads the baseline of a gate, from published records or a store."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import InputError
from benchmark.records.files import check_folder
from benchmark.records.identity import first_fault

if TYPE_CHECKING:
    from benchmark.records.identity import Names
    from benchmark.records.record import Record
    from benchmark.running.plan import Plan
    from benchmark.running.suite import Suite
    from leaderboard.published.pseudonyms import Pseudonyms
    from leaderboard.published.record import PublishedRecord

SALT_VARIABLE = "MEDSANITY_SALT"
PUBLIC_SALT = "medsanity"
_OF_A_STORE = re.compile(r"[0-9a-f]{64}\.json")

Place = tuple[str, str, str, str]


class NoBaselineError(InputError):
    """A baseline that is missing, cannot be read, or lacks what is gated; exit code 5."""


def salt_of(suite: Suite) -> str:
    """Return the salt of the pseudonyms of a suite's subjects.

    It is the suite's own where that publishes one; else the environment variable MEDSANITY_SALT,
    which must hold a secret where subjects are people; else one that everybody knows.
    """
    if suite.board is not None:
        return suite.board.salt
    return os.environ.get(SALT_VARIABLE) or PUBLIC_SALT


def read_baseline(folder: Path, suite: Suite, plan: Plan) -> dict[Place, PublishedRecord]:
    """Return the records of a baseline by cohort, model, explainer and protocol.

    Args:
        folder: Published records, a store, or a folder of a store's records.
        suite: Of which a store's records are taken; it holds their salt.
        plan: Whose explainers and protocols a store's records are published with.

    Raises:
        NoBaselineError: If it does not exist or cannot be read.
    """
    if not folder.is_dir():
        raise NoBaselineError(
            f"The baseline {folder} is no folder; --update-baseline writes one there."
        )
    try:
        found = _of_store(folder, suite, plan) if _is_plain(folder) else _of_folder(folder)
    except InputError as error:
        raise NoBaselineError(f"The baseline {folder} cannot be read: {error}") from error
    records: dict[Place, PublishedRecord] = {}
    for one in found:
        if records.setdefault(place_of(one.names), one) is not one:
            raise NoBaselineError(
                f"The baseline {folder} holds two results for {told(one.names)}; name a store "
                "that holds one, or write a baseline with --update-baseline."
            )
    return records


def read_own_baseline(folder: Path, suite: Suite, plan: Plan) -> dict[Place, PublishedRecord]:
    """Return what a baseline holds that is about to be written, and show that it can be.

    Raises:
        NoBaselineError: If what is there cannot be read.
        InputError: If it is a store.
    """
    if folder.is_dir() and _is_plain(folder):
        raise InputError(
            f"{folder} holds a store's records; name a folder of its own for the baseline."
        )
    check_folder(folder.resolve().parent)
    return read_baseline(folder, suite, plan) if folder.is_dir() else {}


def publish_bare(record: Record, plan: Plan, pseudonyms: Pseudonyms) -> PublishedRecord:
    """Return a cell as it is published, without its sidecar.

    Args:
        record: That did not fail.
        plan: Where its plugins stand.
        pseudonyms: Take the place of subject ids.

    Raises:
        InputError: If no record can hold it.
    """
    from pydantic import ValidationError

    from leaderboard.published.record import PublishedRecord, publish
    from leaderboard.submission.from_plugins import method_of, scale_of

    method = method_of(plan.explainers[record.names.explainer].plugin)
    scale = scale_of(plan.protocols[record.names.protocol].plugin)
    try:
        published, _ = publish(record, method, scale, pseudonyms, "gate")
    except ValidationError as error:
        _, message = first_fault(error)
        raise InputError(
            f"{told(record.names)} cannot be written as a record: {message}."
        ) from error
    sealed = {"schema_version", "identity_sha256", "checksum"}
    fields = {
        name: getattr(published, name)
        for name in type(published).model_fields
        if name not in sealed
    }
    return PublishedRecord.seal(**{**fields, "readings": None})


def place_of(names: Names) -> Place:
    """Return the names of a cell as a key."""
    return names.cohort, names.model, names.explainer, names.protocol


def told(names: Names) -> str:
    """Return how messages call a cell."""
    return f"{names.explainer} · {names.protocol} on {names.cohort} × {names.model}"


def _of_folder(folder: Path) -> Sequence[PublishedRecord]:
    from leaderboard.published.folder import read_folder

    contents = read_folder(folder)
    # A note to readers may lie beside the records.
    if faults := [one for one in contents.faults if one.name != "unknown-file"]:
        raise InputError(str(faults[0]))
    return contents.records


def _of_store(folder: Path, suite: Suite, plan: Plan) -> Sequence[PublishedRecord]:
    from benchmark.records.store import read_records
    from leaderboard.published.pseudonyms import Pseudonyms

    pseudonyms = Pseudonyms(salt_of(suite))
    return [
        publish_bare(one, plan, pseudonyms)
        for one in read_records(folder)
        if (one.identity.suite, one.identity.seed) == (suite.version, suite.seed)
        and one.names.explainer in plan.explainers
        and one.names.protocol in plan.protocols
    ]


def _is_plain(folder: Path) -> bool:
    from benchmark.records.store import is_store

    return is_store(folder) or any(
        _OF_A_STORE.fullmatch(path.name) for path in folder.glob("*.json")
    )
