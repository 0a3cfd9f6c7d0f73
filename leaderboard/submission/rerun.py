"""Runs cells of a submission again, and checks its plugin in other ways."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from benchmark.arrays import Rows
from benchmark.classifier.architecture import network_sha256
from leaderboard.published.fault import Fault, FaultError, plain
from leaderboard.published.fields import schema_fault
from leaderboard.published.folder import read_bytes
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.submission import process
from leaderboard.submission.bundle import Bundle
from leaderboard.submission.checks import CellKey, cell_key
from leaderboard.submission.comparison import compare, map_faults
from leaderboard.submission.manifest import MOST_MANIFEST
from leaderboard.submission.process import Limits, Maps, ProcessResult, call, fault_of
from leaderboard.submission.rules import Rules
from leaderboard.submission.standard import Cells

# Enough that a map which is another under a protocol shows, and few enough to take a moment.
_BLIND_IMAGES = 8


def why_not_isolated() -> str | None:
    """Return why a re-run cannot keep the plugin from its scorer, or None if it does."""
    return "the plugin runs with the rights of whoever verifies it"


@dataclass(frozen=True)
class Sampling:
    """Choice of at most so many cells, drawn by the seed, and how they are run again."""

    cells: int
    seed: int
    device: str
    limits: Limits


class Rerun:
    """Runs some of a bundle's cells again, each in a process of its own."""

    def __init__(
        self, bundle: Bundle, rules: Rules, cells: Cells, sampling: Sampling, workspace: Path
    ) -> None:
        self._bundle, self._rules, self._cells = bundle, rules, cells
        self._sampling, self._workspace = sampling, workspace
        self._plugin = f"{bundle.plugin.resolve()}:{bundle.manifest.class_name}"
        self._gpu = sampling.device.startswith("cuda")
        self._count = 0
        self._blind: dict[tuple[str, str], Maps | None] = {}

    @property
    def chosen(self) -> tuple[PublishedRecord, ...]:
        """Records of the cells that are run again, in the order of the draw."""
        records = sorted(self._bundle.records, key=lambda record: record.path)
        count = min(self._sampling.cells, len(records))
        return tuple(random.Random(self._sampling.seed).sample(records, count))

    def run(self, progress: Callable[[str], None]) -> list[Fault]:
        """Run the cells and return all faults; ``progress`` gets the name of each step first."""
        progress("contract")
        faults = self._contract()
        for record in self.chosen:
            progress(f"{record.names.model} × {record.names.protocol}")
            try:
                faults += self._run_cell(record)
            except FaultError as error:
                faults.append(error.fault)
        return faults

    def _contract(self) -> list[Fault]:
        home = self._home()
        out, location = home / "contract.json", f"source/{self._bundle.manifest.source}"
        result = self._call(["benchmark", "check", self._plugin, "--json", str(out)], home)
        if fault := fault_of(result, location, self._sampling.limits):
            return [fault]
        try:
            clauses = json.loads(read_bytes(out, location, MOST_MANIFEST))["clauses"]
            broken = [clause for clause in clauses if clause["state"] == "broken"]
            details = [f"{clause['clause']}: {clause['detail']}" for clause in broken]
            return [Fault("contract-broken", location, plain(text)[:400]) for text in details]
        except (FaultError, ValueError, LookupError, TypeError, RecursionError):
            detail = f"the check left nothing to read: {result.last_line}"
            return [Fault("rerun-failed", location, detail)]

    def _run_cell(self, record: PublishedRecord) -> list[Fault]:
        home, location = self._home(), f"records/{record.path}"
        specs, store = self._cells.specs[cell_key(record)], home / "store"
        suite = self._suite(home, specs)
        options = ["--suite", str(suite), "--store", str(store), "--report", "none"]
        command = ["benchmark", "run", "--explainer", self._plugin, *options]
        result = self._call([*command, "--device", self._sampling.device], home)
        if (fault := fault_of(result, location, self._sampling.limits)) and result.code != 4:
            return [fault]
        measured = process.read_result(store, record, result, location)
        scale = self._cells.standard.cells[cell_key(record)].scale
        names = self._rules.pseudonyms
        try:
            by = names, record.submitter
            again, _ = publish(measured, record.method, scale, *by, joins=record.joins)
        except ValidationError as error:
            raise schema_fault(error, location) from error
        faults = compare(record, again, location)
        if (kept := self._kept_maps(record, store)) is not None:
            faults += self._compare_blind(record, kept, specs)
        return faults

    def _kept_maps(self, record: PublishedRecord, store: Path) -> Maps | None:
        """Return the maps that the protocol was given of some test images."""
        test = self._cells.tests[record.names.cohort]
        identity = record.identity
        network = network_sha256(identity.weights_sha256, identity.architecture_sha256)
        maps = process.archived_maps(store, test.fingerprint, network)
        if maps is None or len(maps) != len(test):
            return None
        # Maps are kept in the order of keys.
        positions = np.argsort(np.argsort(np.array(test.keys)))
        return maps[positions[self._rows(record.names.cohort)]]

    def _compare_blind(self, record: PublishedRecord, kept: Maps, specs: CellKey) -> list[Fault]:
        location, pair = f"records/{record.path}", (record.names.cohort, record.names.model)
        if pair not in self._blind:
            home = self._home()
            out, rows = home / "maps.npz", self._rows(pair[0])
            module, listed = "leaderboard.submission.blind_maps", ",".join(map(str, rows.tolist()))
            command = [module, self._plugin, str(self._suite(home, specs)), self._sampling.device]
            result = self._call([*command, listed, str(out)], home)
            fault = fault_of(result, location, self._sampling.limits)
            if fault is None and result.code:
                detail = f"by itself it gives no map: {result.last_line}"
                fault = Fault("map-differs", location, detail)
            if fault is not None:
                return [fault]
            maps = process.read_arrays(out).get("maps")
            self._blind[pair] = None if maps is None else np.asarray(maps, dtype=np.float32)
        if (blind := self._blind[pair]) is None:
            return [Fault("map-differs", location, "by itself it gives no map")]
        return map_faults(kept, blind, location)

    def _rows(self, cohort: str) -> Rows:
        count = len(self._cells.tests[cohort])
        drawn = random.Random(self._sampling.seed).sample(range(count), min(_BLIND_IMAGES, count))
        return np.array(sorted(drawn), dtype=np.int64)

    def _suite(self, home: Path, specs: CellKey) -> Path:
        path = home / "suite.toml"
        path.write_text(self._rules.only(specs), encoding="utf-8")
        return path

    def _call(self, arguments: Sequence[str], home: Path) -> ProcessResult:
        return call(arguments, home, self._sampling.limits, self._gpu)

    def _home(self) -> Path:
        self._count += 1
        home = self._workspace / f"process {self._count}"
        home.mkdir()
        return home
