"""Scores every map that tries to cheat, and the honest methods, under suite v2, as a table.

``python tests/support/trial_of_fire.py phantom2_resnet --store DIR`` takes an hour on two cores. It
can be stopped, and goes on where it was. The tables of docs/suite_v2_scores.md were made by it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from fire import HONEST_PARTS
from paths import ROOT

from benchmark.reading import SCORED, Condition, find
from benchmark.records.record import Record
from benchmark.records.store import Store
from protocols.v2.randomization.likeness import SPEARMAN
from protocols.v2.randomization.shares import TOP

# The primary of each protocol that enters the total, in the order of the table.
SCORES = {
    "positive_control": "found",
    "known_source": "source",
    "roi_pointing": "own_ap",
    "delta_t": "delta_t",
    "agreement": "capture",
}
GATES = ("positive_control", "randomization")
# What a gate compares: ranks on random copies, their tops, and tops on permuted labels.
SHARES = (
    ("learned_share", SPEARMAN.conditions),
    ("learned_share", TOP.conditions),
    ("data_share", TOP.conditions),
)

Cells = Mapping[tuple[str, str], Record]  # by explainer and protocol


def measure(model: str, explainers: Sequence[str], store: Path, suite: str) -> Cells:
    """Run the suite, and return its records."""
    file = ROOT / "tests" / "support" / "fire.py"
    cheats = [f"{file}:{cheat.__name__}" for cheat in HONEST_PARTS]
    chosen = [word for name in (*explainers, *cheats) for word in ("--explainer", name)]
    command = [sys.executable, "-m", "benchmark", "run", "--suite", suite, "--model", model]
    # Cells that fail, as those of a method that abstains do, end a run with 1.
    subprocess.run([*command, *chosen, "--store", str(store), "--report", "none"], check=False)
    records = [record for record in Store(store).records() if record.names.model == model]
    return {(record.names.explainer, record.names.protocol): record for record in records}


def rows(cells: Cells) -> Iterator[list[str]]:
    """Yield the rows of the table, the largest total first."""
    names = sorted({name for name, _ in cells}, key=lambda name: -total_of(cells, name))
    for name in names:
        scores = [_format(score_of(cells, name, protocol)) for protocol in SCORES]
        gate = "pass" if passes_gates(cells, name) else "fails"
        shares = " / ".join(_format(_share(cells, name, *share)) for share in SHARES)
        yield [f"`{name}`", *scores, shares, gate, _format(total_of(cells, name))]


def total_of(cells: Cells, explainer: str) -> float:
    """Return the mean of the five scores, of which one that has no value is chance, 0."""
    return sum(score_of(cells, explainer, protocol) or 0.0 for protocol in SCORES) / len(SCORES)


def score_of(cells: Cells, explainer: str, protocol: str) -> float | None:
    """Return a score; None where there is none."""
    record = cells.get((explainer, protocol))
    if record is None or record.state != SCORED:
        return None
    return _mean_of(record, SCORES[protocol], {})


def passes_gates(cells: Cells, explainer: str) -> bool:
    """Return whether an explainer passes both gates."""
    records = [cells.get((explainer, gate)) for gate in GATES]
    return all(record is not None and record.verdict == "pass" for record in records)


def _share(
    cells: Cells, explainer: str, statistic: str, conditions: Mapping[str, Condition]
) -> float | None:
    record = cells.get((explainer, "randomization"))
    return None if record is None else _mean_of(record, statistic, conditions)


def _mean_of(record: Record, statistic: str, conditions: Mapping[str, Condition]) -> float | None:
    reading = find(record.to_readings(), statistic, **conditions)
    return None if reading is None else float(np.mean(reading.values))


def _format(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}".replace("-", "−")


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--suite", default="v2")
    parser.add_argument("--explainer", action="append", default=[])
    arguments = parser.parse_args()
    cells = measure(
        arguments.model, arguments.explainer or ["all"], arguments.store, arguments.suite
    )
    heading = ["map", "found", "source", "roi", "exchange", "capture"]
    heading += ["share ρ / top 2 % / labels 2 %", "gates", "total"]
    lines = [heading, ["---"] * len(heading), *rows(cells)]
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))


if __name__ == "__main__":
    main()
