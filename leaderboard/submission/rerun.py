"""Which cells of a submission are run again, and what is asked of its plugin beside them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from leaderboard.published.fault import Fault, FaultError, plain
from leaderboard.published.fields import schema_fault
from leaderboard.published.folder import read_bytes
from leaderboard.published.record import PublishedRecord, publish
from leaderboard.submission.bundle import Bundle
from leaderboard.submission.checks import Place, place_of
from leaderboard.submission.comparison import compare, map_faults
from leaderboard.submission.manifest import MOST_MANIFEST
from leaderboard.submission.process import (
    Limits,
    Maps,
    ProcessResult,
    archived_maps,
    call,
    fault_of,
    read_arrays,
    read_result,
)
from leaderboard.submission.rules import Rules
from leaderboard.submission.standard import Cells

# Enough that a map which is another under a protocol shows, and few enough to take a moment.
_BLIND_IMAGES = 8


@dataclass(frozen=True)
class Sampling:
    """How much is run again, and how.

    Attributes:
        cells: How many, at most.
        seed: Decides which.
        device: Where to compute.
        limits: Of each process.
    """

    cells: int
    seed: int
    device: str
    limits: Limits


class Rerun:
    """Runs some of a bundle's cells again, each in a process of its own.

    Args:
        bundle: Without a fault so far.
        rules: Of the suite.
        cells: What is here of its cells.
        sampling: How much is run again.
        workspace: An empty folder.
    """

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
        """The cells that are run again, in the order of the draw."""
        records = sorted(self._bundle.records, key=lambda one: one.path)
        count = min(self._sampling.cells, len(records))
        return tuple(random.Random(self._sampling.seed).sample(records, count))

    def run(self, progress: Callable[[str], None]) -> list[Fault]:
        """Return what came out otherwise, or was found beside it.

        Args:
            progress: Told of each step before it begins.
        """
        progress("contract")
        faults = self._contract()
        for record in self.chosen:
            progress(f"{record.names.model} × {record.names.protocol}")
            try:
                faults += self._cell(record)
            except FaultError as error:
                faults.append(error.fault)
        return faults

    def _contract(self) -> list[Fault]:
        home = self._home()
        out, place = home / "contract.json", f"source/{self._bundle.manifest.source}"
        ending = self._call(["benchmark", "check", self._plugin, "--json", str(out)], home)
        if fault := fault_of(ending, place, self._sampling.limits):
            return [fault]
        try:
            told = json.loads(read_bytes(out, place, MOST_MANIFEST))
            broken = [one for one in told["clauses"] if one["state"] == "broken"]
            return [
                Fault("contract-broken", place, plain(f"{one['clause']}: {one['detail']}")[:400])
                for one in broken
            ]
        except (FaultError, ValueError, LookupError, TypeError, RecursionError):
            detail = f"the check left nothing to read: {ending.said}"
            return [Fault("rerun-failed", place, detail)]

    def _cell(self, record: PublishedRecord) -> list[Fault]:
        home, place = self._home(), f"records/{record.path}"
        specs, store = self._cells.specs[place_of(record)], home / "store"
        suite = self._suite(home, specs)
        options = ["--suite", str(suite), "--store", str(store), "--report", "none"]
        command = ["benchmark", "run", "--explainer", self._plugin, *options]
        ending = self._call([*command, "--device", self._sampling.device], home)
        if (fault := fault_of(ending, place, self._sampling.limits)) and ending.code != 4:
            return [fault]
        found = read_result(store, record, ending, place)
        scale = self._cells.standard.cells[place_of(record)].scale
        try:
            again, _ = publish(
                found, record.method, scale, self._rules.pseudonyms, record.submitter
            )
        except ValidationError as error:
            raise schema_fault(error, place) from error
        faults = compare(record, again, place)
        kept = self._kept(record, store)
        if kept is not None:
            faults += self._compare_blind(record, kept, specs)
        return faults

    def _kept(self, record: PublishedRecord, store: Path) -> Maps | None:
        """Return the maps of some test images that the protocol was given."""
        test = self._cells.tests[record.names.cohort]
        maps = archived_maps(store, test.fingerprint, record.identity.weights_sha256)
        if maps is None or len(maps) != len(test):
            return None
        # They are kept in the order of keys.
        places = np.argsort(np.argsort(np.array(test.keys)))
        return maps[places[self._rows(record.names.cohort)]]

    def _compare_blind(self, record: PublishedRecord, kept: Maps, specs: Place) -> list[Fault]:
        place, pair = f"records/{record.path}", (record.names.cohort, record.names.model)
        if pair not in self._blind:
            home = self._home()
            out, rows = home / "maps.npz", self._rows(pair[0])
            command = [
                "leaderboard.submission.blind_maps",
                self._plugin,
                str(self._suite(home, specs)),
            ]
            listed = ",".join(map(str, rows.tolist()))
            ending = self._call([*command, self._sampling.device, listed, str(out)], home)
            fault = fault_of(ending, place, self._sampling.limits)
            if fault is None and ending.code:
                fault = Fault("map-differs", place, f"by itself it gives no map: {ending.said}")
            if fault is not None:
                return [fault]
            made = read_arrays(out).get("maps")
            self._blind[pair] = None if made is None else np.asarray(made, dtype=np.float32)
        blind = self._blind[pair]
        if blind is None:
            return [Fault("map-differs", place, "by itself it gives no map")]
        return map_faults(kept, blind, place)

    def _rows(self, cohort: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        count = len(self._cells.tests[cohort])
        drawn = random.Random(self._sampling.seed).sample(range(count), min(_BLIND_IMAGES, count))
        return np.array(sorted(drawn), dtype=np.int64)

    def _suite(self, home: Path, specs: Place) -> Path:
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
