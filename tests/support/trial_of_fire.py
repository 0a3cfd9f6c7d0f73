"""Scores every map that tries to cheat, and the honest methods, under suite v2, as a table.

``python tests/support/trial_of_fire.py phantom2_resnet --store DIR`` takes an hour on two cores. It
can be stopped, and goes on where it was. The tables of docs/suite_v2.md were made by it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fire import HONEST_PARTS
from paths import ROOT

# The primary of each protocol that enters the total, in the order of the table.
SCORES = ("positive_control", "known_source", "roi_pointing", "delta_t", "agreement")
GATES = ("positive_control", "randomization")
SHARES = (("learned_share", {}), ("learned_share", {"q": 0.02}), ("data_share", {"q": 0.02}))
NAMES = tuple(cheat.name for cheat in HONEST_PARTS)

Cells = Mapping[tuple[str, str], Mapping[str, Any]]  # by explainer and protocol


def measure(model: str, explainers: Sequence[str], store: Path) -> Cells:
    """Run the suite, and return its results."""
    report = store / f"results-{model}.json"
    cheats = [
        f"{ROOT / 'tests' / 'support' / 'fire.py'}:{cheat.__name__}" for cheat in HONEST_PARTS
    ]
    chosen = [word for name in (*explainers, *cheats) for word in ("--explainer", name)]
    command = [sys.executable, "-m", "benchmark", "run", "--suite", "v2", "--model", model]
    store.mkdir(parents=True, exist_ok=True)
    command += [*chosen, "--store", str(store), "--report", "none", "--json", str(report)]
    subprocess.run(command, check=True)
    results = json.loads(report.read_text("utf-8"))["results"]
    return {(result["explainer"], result["protocol"]): result for result in results}


def total_of(cells: Cells, explainer: str) -> float:
    """Return the mean of the five scores, of which one that has no value is chance, 0."""
    return sum(score_of(cells, explainer, protocol) or 0.0 for protocol in SCORES) / len(SCORES)


def score_of(cells: Cells, explainer: str, protocol: str) -> float | None:
    """Return a score; None where there is none."""
    cell = cells.get((explainer, protocol))
    scored = cell is not None and cell["state"] == "scored"
    return float(cell["primary"]["estimate"]) if scored and cell is not None else None


def passes_gates(cells: Cells, explainer: str) -> bool:
    """Return whether an explainer passes both gates."""
    verdicts = [cells.get((explainer, gate), {}).get("verdict") for gate in GATES]
    return verdicts == ["pass"] * len(GATES)


def rows(cells: Cells) -> Iterator[list[str]]:
    """Yield the rows of the table, the largest total first."""
    names = sorted({name for name, _ in cells}, key=lambda name: -total_of(cells, name))
    for name in names:
        scores = [_format(score_of(cells, name, protocol)) for protocol in SCORES]
        gate = "pass" if passes_gates(cells, name) else "fails"
        shares = " / ".join(_share(cells, name, *share) for share in SHARES)
        yield [f"`{name}`", *scores, shares, gate, _format(total_of(cells, name))]


def _share(cells: Cells, name: str, statistic: str, conditions: Mapping[str, float]) -> str:
    known = cells.get((name, "randomization"), {}).get("statistics", [])
    for estimate in known:
        if estimate["statistic"] == statistic and _agrees(estimate["conditions"], conditions):
            return _format(estimate["estimate"])
    return "–"


def _agrees(conditions: Mapping[str, Any], wanted: Mapping[str, float]) -> bool:
    own = {key: value for key, value in conditions.items() if key == "q"}
    return own == dict(wanted) and (bool(wanted) or "measure" in conditions or not conditions)


def _format(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("-", "−")


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--explainer", action="append", default=[])
    arguments = parser.parse_args()
    cells = measure(arguments.model, arguments.explainer or ["all"], arguments.store)
    heading = ["map", "found", "source", "roi", "exchange", "capture"]
    heading += ["share ρ / top 2 % / labels 2 %", "gates", "total"]
    lines = [heading, ["---"] * len(heading), *rows(cells)]
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))


if __name__ == "__main__":
    main()
