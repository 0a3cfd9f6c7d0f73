"""Scores explainers, controls and maps without a place by the columns beside suite v2's total.

``python tests/support/beside_table.py phantom2_resnet --store DIR`` prints a table in Markdown,
with every explainer of the catalogue unless some are named. It can be stopped, and goes on where it
was.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_output import write_table
from paths import ROOT
from placeless import NegativeSobel, Phantom2AtlasTimesOutput, SobelTimesOutput, UniformTimesOutput

from benchmark.plugins.catalogue import Catalogue
from benchmark.protocol import Table
from benchmark.reading import SCORED
from benchmark.records.record import Record
from benchmark.records.store import Store
from benchmark.running.suite import load_suite
from benchmark.statistics.wording import format_interval

PLACELESS = UniformTimesOutput, Phantom2AtlasTimesOutput, SobelTimesOutput, NegativeSobel
COLUMNS = {
    "group_maps": "difference of groups",
    "biomarker": "beyond output",
    "edit_reach": "edit reach",
    "complexity": "Gini index",
}


def measure(model: str, explainers: Sequence[str], store: Path) -> dict[tuple[str, str], Record]:
    """Run the suite, and return its records by explainer and protocol."""
    file = ROOT / "tests" / "support" / "placeless.py"
    chosen = [*explainers, *(f"{file}:{each.__name__}" for each in PLACELESS)]
    options = [("--explainer", name) for name in chosen]
    options += [("--protocol", name) for name in COLUMNS]
    command = [sys.executable, "-m", "benchmark", "run", "--suite", "v2", "--cohort", "phantom2"]
    command += ["--model", model, "--store", str(store), "--report", "none"]
    subprocess.run([*command, *(word for pair in options for word in pair)], check=False)
    records = [record for record in Store(store).records() if record.names.model == model]
    return {(record.names.explainer, record.names.protocol): record for record in records}


def rows(cells: dict[tuple[str, str], Record]) -> Iterator[list[str]]:
    """Yield a row for each explainer: methods by name, then controls, then maps without a place."""
    controls = load_suite("v2").health
    late = [each.name for each in PLACELESS]
    names = {name for name, _ in cells}
    methods = sorted(names - {*controls, *late})
    for name in (*methods, *controls, *late):
        if name in names:
            yield [f"`{name}`", *(_cell(cells.get((name, protocol))) for protocol in COLUMNS)]


def _cell(record: Record | None) -> str:
    if record is None:
        return "–"
    if record.state != SCORED:
        return str(record.state)
    protocol = Catalogue().protocols.find(record.names.protocol).plugin
    score = format_interval(protocol.score_interval(record.to_readings())) or "–"
    return f"{score} {record.verdict}" if record.verdict else score


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--explainer", action="append", default=[])
    arguments = parser.parse_args()
    cells = measure(arguments.model, arguments.explainer or ["all"], arguments.store)
    columns = "map", *COLUMNS.values()
    write_table(Table("beside", arguments.model, "", columns, tuple(rows(cells))))


if __name__ == "__main__":
    main()
