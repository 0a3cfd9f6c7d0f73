"""Holds the ratios of a ``make bench`` against those of an earlier one.

A ratio compares two times that were taken within minutes on one machine, such as a protocol's over
its floor, so that a slower machine changes none. Less is better::

    python tests/bench/compare_ratios.py medsanity-runs/bench.json
    python tests/bench/compare_ratios.py medsanity-runs/bench.json --renew

The first ends with 1 where a ratio has risen by more than the tolerance. The second writes the
ratios of the results into the committed file, and leaves those that were not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

BASELINE = Path(__file__).with_name("baseline.json")
# Two runs of one commit on a machine that others use differ by a tenth, seldom by a fifth.
TOLERANCE = 0.25
SAME, RISEN, UNUSABLE = 0, 1, 2

Ratios = dict[str, float]


def main() -> None:
    """Compare or renew, and end with an exit code that says how it went."""
    options = _parse()
    measured = read_ratios(options.results)
    baseline = json.loads(options.baseline.read_text()) if options.baseline.is_file() else {}
    if options.renew:
        text = json.dumps({**baseline, **measured}, indent=1, sort_keys=True)
        options.baseline.write_text(text + "\n")
        sys.stdout.write(f"{len(measured)} ratios written to {options.baseline}\n")
        sys.exit(SAME)
    lines = judge(measured, baseline, options.tolerance)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.exit(RISEN if any(line.startswith("RISEN") for line in lines) else SAME)


def read_ratios(results: Path) -> Ratios:
    """Return the ratios of a file that pytest-benchmark wrote, by test and what they compare.

    Raises:
        SystemExit: If the file cannot be read or holds no ratio.
    """
    try:
        benchmarks = json.loads(results.read_text())["benchmarks"]
        ratios = {
            f"{benchmark['name']}: {what}": ratio
            for benchmark in benchmarks
            for what, ratio in benchmark["extra_info"].get("ratios", {}).items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _refuse(f"{results} is no file of results that pytest-benchmark wrote: {error!r}.")
    if not ratios:
        _refuse(f"{results} holds no ratio; was anything measured?")
    return ratios


def judge(measured: Mapping[str, float], baseline: Mapping[str, float], share: float) -> list[str]:
    """Return a line for each ratio that has moved by more than a share, and one of all others."""
    lines, same = [], 0
    for name, ratio in sorted(measured.items()):
        before = baseline.get(name)
        if before is None:
            lines.append(f"new      {name}: {ratio:.2f}, which no earlier run has")
        elif ratio > before * (1 + share):
            rise = ratio / before - 1
            lines.append(f"RISEN    {name}: from {before:.2f} to {ratio:.2f}, by {rise:.0%}")
        elif ratio < before * (1 - share):
            lines.append(f"fallen   {name}: from {before:.2f} to {ratio:.2f}; --renew keeps it")
        else:
            same += 1
    lines.append(f"{same} of {len(measured)} ratios are within {share:.0%} of the baseline's")
    if missing := len(set(baseline) - set(measured)):
        lines.append(f"{missing} ratios of the baseline were not measured")
    return lines


def _refuse(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.exit(UNUSABLE)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="File of pytest --benchmark-json.")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="Share of the ratio.")
    parser.add_argument("--renew", action="store_true", help="Write the baseline anew.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
