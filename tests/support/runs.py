"""Runs over the fake plugins, and records that tests of stores and summaries are built from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import fakes
import numpy as np
import torch

from benchmark.plugins.catalogue import Catalogue
from benchmark.reading import Reading, Sample
from benchmark.records.identity import Identity, Names, PluginIdentity
from benchmark.records.provenance import Provenance
from benchmark.records.record import Outcome, Record, Resources
from benchmark.records.store import Store
from benchmark.running.engine import Finished, Settings, run
from benchmark.running.plan import Plan, make_plan
from benchmark.running.suite import Selection, Suite

CPU = torch.device("cpu")
PROVENANCE = Provenance(
    python="3.11.0",
    platform="Linux",
    packages={"torch": "2.11.0", "medsanity": None},
    git=None,
    device="cpu",
    device_type="cpu",
    driver=None,
    dtype="float32",
    batch_size=64,
    tf32=False,
    deterministic=True,
    threads=1,
)
RESOURCES = Resources(seconds=1.5, forward=10, backward=0, peak_memory_bytes=2**20)


def build_suite(
    protocols: Sequence[str] = ("Loading",),
    health: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, object]] | None = None,
    seed: int = 0,
) -> Suite:
    """Return a suite over the fake cohort and model."""
    return Suite.model_validate(
        {
            "version": "test",
            "cohorts": [fakes.spec("TinyCohort")],
            "models": [fakes.spec("TinyModel")],
            "protocols": [fakes.spec(one) for one in protocols],
            "health": list(health),
            "seed": seed,
            "protocol": settings or {},
        }
    )


def build_plan(explainers: Sequence[str], suite: Suite | None = None) -> Plan:
    """Return the plan of these fake explainers."""
    selection = Selection(tuple(fakes.spec(one) for one in explainers))
    return make_plan(Catalogue(), suite or build_suite(), selection)


def score(explainers: Sequence[str], store: Path, suite: Suite | None = None) -> Finished:
    """Run these fake explainers on the CPU."""
    return run(build_plan(explainers, suite), Store(store), Settings(CPU))


def write_suite(folder: Path, protocols: Sequence[str] = ("Loading",), more: str = "") -> Path:
    """Write a suite file over the fake cohort and model."""
    path = folder / "suite.toml"
    listed = ", ".join(f'"{fakes.spec(one)}"' for one in protocols)
    path.write_text(
        f'version = "test"\ncohorts = ["{fakes.spec("TinyCohort")}"]\n'
        f'models = ["{fakes.spec("TinyModel")}"]\nprotocols = [{listed}]\n{more}'
    )
    return path


def build_record(
    explainer: str = "bright",
    values: Sequence[float] = (0.1, 0.2, 0.3, 0.4),
    statistics: Sequence[str] = ("share", "excess"),
    protocol: str = "loading",
    model: str = "tiny_model",
    outcome: Outcome | None = None,
) -> Record:
    """Return a record of a subject a value, with the same values under every statistic."""
    count = len(values)
    sample = Sample(
        keys=tuple(f"s{row}" for row in range(count)),
        subjects=tuple(f"s{row}" for row in range(count)),
        groups=tuple(row % 2 for row in range(count)),
    )
    array = np.asarray(values, dtype=np.float64)
    if outcome is None:
        readings = [Reading(one, sample, array) for one in statistics]
        # As it should be: noise that passed would be a protocol that proves nothing.
        failed = explainer == "random"
        outcome = Outcome(
            "scored", "no better" if failed else None, "fail" if failed else "pass", readings
        )
    identity = Identity(
        suite="test",
        cohort_fingerprint="a" * 64,
        weights_sha256=(model.encode().hex() + "0" * 64)[:64],
        explainer=PluginIdentity(name=explainer, version="1.0", config={}),
        protocol=PluginIdentity(name=protocol, version="1.0", config={"power": 1.0}),
        seed=0,
    )
    names = Names(cohort="tiny", model=model, explainer=explainer, protocol=protocol)
    return Record.seal(identity, names, outcome, PROVENANCE, RESOURCES)
