"""A folder of what is kept back: records on a source and marks that no submitter has seen.

::

    <folder>/suite.toml   the suite that they were made by, whose [board] names the honest methods
    <folder>/records/     the records, as ``publish`` writes them
"""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import InputError
from benchmark.running.suite import load_suite
from leaderboard.published.folder import load_folder
from leaderboard.published.unpublished import Unpublished

SUITE, RECORDS = "suite.toml", "records"


def load_unpublished(folder: Path) -> Unpublished:
    """Return what a folder keeps back.

    Raises:
        InputError: If there is no such folder, its suite names no honest methods, or its records
            are of another suite.
        FaultError: The first fault of a record.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} of what is kept back does not exist.")
    suite = load_suite(str(folder / SUITE))
    if suite.board is None or not suite.board.honest:
        raise InputError(
            f"The suite {folder / SUITE} names no methods under `honest` in its [board], "
            "whose loss others are held against."
        )
    records = load_folder(folder / RECORDS)
    for record in records:
        if record.identity.suite != suite.version:
            raise InputError(
                f"The record {folder / RECORDS / record.path} is of suite "
                f"{record.identity.suite!r}, but {folder / SUITE} is {suite.version!r}."
            )
    if not records:
        raise InputError(f"The folder {folder / RECORDS} holds no records.")
    return Unpublished(records, suite.board.honest)
