"""Writes the tables of docs/performance.md from the results of one or two ``make bench``.

::

    python tests/bench/write_tables.py medsanity-runs/bench.json
    python tests/bench/write_tables.py after.json --before before.json

The second sets two commits beside each other. Both should be measured by the scripts of one of
them, the other commit by ``make bench CHECKOUT=../before``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Numbers = dict[str, Any]


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="File of pytest --benchmark-json.")
    parser.add_argument("--before", type=Path, help="The same of an earlier commit.")
    options = parser.parse_args()
    files = [path for path in (options.before, options.results) if path is not None]
    runs = [_read(path) for path in files]
    for table in (_floors(runs), _growth(runs), _peers(runs[-1])):
        sys.stdout.write("\n".join(table) + "\n\n")


def _read(path: Path) -> dict[str, Numbers]:
    benchmarks = json.loads(path.read_text())["benchmarks"]
    return {benchmark["name"]: benchmark["extra_info"] for benchmark in benchmarks}


def _floors(runs: Sequence[dict[str, Numbers]]) -> list[str]:
    """Return a row for each protocol and a column for each network and explainer."""
    columns, rows = [], []
    for numbers in runs[-1].values():
        if "over its floor" in numbers.get("ratios", {}):
            columns.append((numbers["network"], numbers["explainer"]))
            rows.append((numbers["suite"], numbers["protocol"]))
    cells = {
        (*_row(numbers), *_column(numbers), number): f"{numbers['seconds']:.1f}"
        f" / {numbers['ratio']:.2f}"
        for number, run in enumerate(runs)
        for numbers in run.values()
        if "over its floor" in numbers.get("ratios", {})
    }
    columns = list(dict.fromkeys(columns))
    heads = [f"`{explainer}` on {network}" for network, explainer in columns]
    lines = [_line("suite", "protocol", *heads), _line(*["---"] * (2 + len(heads)))]
    for row in dict.fromkeys(rows):
        values = [
            " → ".join(cells.get((*row, *column, number), "–") for number in range(len(runs)))
            for column in columns
        ]
        lines.append(_line(row[0], f"`{row[1]}`", *values))
    return lines


def _growth(runs: Sequence[dict[str, Numbers]]) -> list[str]:
    """Return a row for each protocol: what subjects and pixels add."""
    heads = ("protocol", "MB a further subject", "of which cohort")
    lines = [
        _line(*heads, "three times the subjects", "four times the pixels"),
        _line(*["---"] * 5),
    ]
    for name, numbers in runs[-1].items():
        if "megabytes_per_subject" not in numbers:
            continue
        protocol = name.partition("[")[2].rstrip("]")
        side = name.replace("with_subjects", "with_the_side")
        lines.append(
            _line(
                protocol,
                " → ".join(_number(run, name, "megabytes_per_subject") for run in runs),
                _number(runs[-1], name, "megabytes_of_cohort_per_subject"),
                " → ".join(_ratio(run, name) for run in runs),
                " → ".join(_ratio(run, side) for run in runs),
            )
        )
    return lines


def _peers(run: dict[str, Numbers]) -> list[str]:
    """Return a row for each protocol: ours beside the composed job."""
    lines = [
        _line("protocol", "ours, CPU s", "composed, CPU s", "composed / ours"),
        _line("---", "---", "---", "---"),
    ]
    for name, numbers in run.items():
        if "theirs" in numbers:
            ours, theirs = numbers["ours"]["seconds"], numbers["theirs"]["seconds"]
            protocol = name.partition("[")[2].rstrip("]")
            ratio = f"{theirs / ours:.2f}"
            lines.append(_line(f"`{protocol}`", f"{ours:.1f}", f"{theirs:.1f}", ratio))
    return lines


def _row(numbers: Numbers) -> tuple[str, str]:
    return numbers["suite"], numbers["protocol"]


def _column(numbers: Numbers) -> tuple[str, str]:
    return numbers["network"], numbers["explainer"]


def _number(run: dict[str, Numbers], name: str, key: str) -> str:
    value = run.get(name, {}).get(key)
    return "–" if value is None else f"{value:.2f}"


def _ratio(run: dict[str, Numbers], name: str) -> str:
    return " ".join(f"{value:.2f}" for value in run.get(name, {}).get("ratios", {}).values()) or "–"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
