"""The rules of a board: models, suite and reference records that a submission meets."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.errors import StoreError, SuiteError
from benchmark.plugins.catalogue import split_path
from benchmark.records.toml_file import format_toml
from benchmark.running.suite import Suite, load_suite
from leaderboard.published.fault import FaultError
from leaderboard.published.pseudonyms import Pseudonyms
from leaderboard.submission.checks import CellKey

_PACKAGE = "leaderboard"


@dataclass(frozen=True)
class Rules:
    """A suite and the settings of its board.

    Attributes:
        spec: Version of the suite, or path of its file.
        salt: Salt of the subjects' pseudonyms.
    """

    spec: str
    suite: Suite
    salt: str
    models: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash of the suite's file."""
        return hashlib.sha256(self._content).hexdigest()

    @property
    def records(self) -> Path | None:
        """Folder of the records that ship with the package, or None."""
        if self.spec.endswith(".toml"):
            return None
        folder = Path(str(importlib.resources.files(_PACKAGE))) / self.spec / "records"
        return folder if folder.is_dir() else None

    @cached_property
    def pseudonyms(self) -> Pseudonyms:
        """Names that replace the subjects' ids."""
        return Pseudonyms(self.salt)

    @property
    def _content(self) -> bytes:
        if self.spec.endswith(".toml"):
            return Path(self.spec).read_bytes()
        return importlib.resources.files(_PACKAGE).joinpath(self.spec, "suite.toml").read_bytes()

    def only(self, specs: CellKey) -> str:
        """Return the text of a suite with one cell, of names or absolute paths, and no controls."""
        cohort, model, protocol = specs
        fields = self.suite.model_dump(mode="json", exclude={"board"})
        fields |= {"cohorts": [cohort], "models": [model], "protocols": [protocol], "health": []}
        tables, name_of_table = fields["protocol"].items(), protocol.partition("@")[0]
        fields["protocol"] = {name: table for name, table in tables if name == name_of_table}
        # What other cohorts are scored under is nothing to a suite of one cell.
        fields["cohort"] = {}
        return format_toml(fields)


def read_rules(spec: str, models: Sequence[str] = ()) -> Rules:
    """Return a suite with the salt of its board, whose models may be replaced.

    Raises:
        SuiteError: If there is no such suite, or it has no board.
    """
    suite = load_suite(spec)
    if suite.board is None:
        raise SuiteError(f"The suite {spec!r} has no [board], so nothing of it is published.")
    return Rules(spec, suite, suite.board.salt, tuple(models) or suite.board.models)


def load_references(folder: Path | None, rules: Rules) -> Path | None:
    """Return the folder of records to compare with.

    Raises:
        StoreError: If the folder does not exist.
    """
    if folder is not None and not folder.is_dir():
        raise StoreError(f"The folder of records {folder} does not exist.")
    return folder or rules.records


def check_single_file(spec: str) -> tuple[Path, str]:
    """Return file and class of a plugin that can be submitted.

    Raises:
        FaultError: ``no-path`` if it is no class of a file.
    """
    path, ending = split_path(spec)
    name = ending.removeprefix(":")
    if not name:
        detail = "submit takes path/to/file.py:Class; built-in methods are on the board"
        raise FaultError("no-path", spec, detail)
    return Path(path), name
