"""What whole commands cost: processor seconds, seconds on the clock, and memory.

Each command is a process of its own, as for a user::

    python tests/bench/measure_commands.py
    python tests/bench/measure_commands.py --against ../before --rounds 3 --busy --suite v2

With ``--against`` every step is done by this checkout and by another one in turn, with the same
Python, so that a machine that slows down slows both; the last column is the median of the ratios
of the pairs. With ``--busy`` two other processes keep two cores at full load meanwhile. Processor
seconds are those of a command and of all processes that it has waited for; the peak of memory is
that of the largest of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
STEPS = ("help", "cold", "finished", "first report", "same report")
BURN = "while True: pass"
# Megabytes; Linux counts in kilobytes, macOS in bytes.
MEGABYTE = 2**20 if sys.platform == "darwin" else 2**10
PASSED = 0


@dataclass(frozen=True)
class Cost:
    """What one command cost.

    Attributes:
        cpu: Processor seconds, its own and the system's, of all its processes.
        wall: Seconds on the clock.
        peak: Megabytes of its largest process.
    """

    cpu: float
    wall: float
    peak: float


def main() -> None:
    """Measure, and write a table and, where asked for, all numbers as JSON."""
    options = _parse()
    checkouts = [HERE] if options.against is None else [HERE, options.against.resolve()]
    for checkout in checkouts:
        _refuse_another_package(checkout)
    costs: dict[tuple[str, Path], list[Cost]] = {}
    with _burners(2 if options.busy else 0), tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            # Whoever went first goes second in the next round.
            order = checkouts if number % 2 == 0 else checkouts[::-1]
            for step in options.steps:
                for checkout in order:
                    work = Path(folder) / str(checkouts.index(checkout))
                    work.mkdir(exist_ok=True)
                    cost = _measure(checkout, _command(step, options, work), work)
                    costs.setdefault((step, checkout), []).append(cost)
                    _write(f"{number + 1}/{options.rounds} {step} in {checkout}: {cost}\n")
            for checkout in checkouts:
                shutil.rmtree(Path(folder) / str(checkouts.index(checkout)))
    _write_table(options, checkouts, costs)
    if options.json is not None:
        runs = [
            {"step": step, "checkout": str(checkout), "costs": [asdict(cost) for cost in measured]}
            for (step, checkout), measured in costs.items()
        ]
        options.json.write_text(json.dumps({"busy": options.busy, "runs": runs}, indent=2) + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="Folder of another checkout.")
    parser.add_argument("--explainer", action="append", help="Default: gradcampp; repeatable.")
    parser.add_argument("--suite", default="v1")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--busy", action="store_true", help="Keep two more cores at full load.")
    parser.add_argument(
        "--steps", nargs="+", choices=STEPS, default=list(STEPS), help="Default: all, in order."
    )
    parser.add_argument("--extra", default="", help="More options of every run, in one string.")
    parser.add_argument("--json", type=Path, help="Also write every number here.")
    options = parser.parse_args()
    options.explainer = options.explainer or ["gradcampp"]
    if options.rounds < 1:
        parser.error(f"Expected at least one round but got {options.rounds}.")
    if options.against is not None and not (options.against / "benchmark").is_dir():
        parser.error(f"{options.against} is no checkout: it holds no folder benchmark.")
    needs_run = [step for step in options.steps if step not in ("help", "cold")]
    if needs_run and "cold" not in options.steps[: options.steps.index(needs_run[0])]:
        parser.error(f"Expected cold before {needs_run[0]}, which needs a finished run.")
    return options


def _command(step: str, options: argparse.Namespace, work: Path) -> list[str]:
    """Return the arguments of ``python -m benchmark`` for one step."""
    if step == "help":
        return ["--help"]
    report = str(work / "report") if step.endswith("report") else "none"
    named = [word for name in options.explainer for word in ("--explainer", name)]
    command = ["run", *named, "--suite", options.suite, "--store", str(work / "store")]
    return [*command, "--report", report, *options.extra.split()]


def _measure(checkout: Path, arguments: Sequence[str], work: Path) -> Cost:
    """Run a command of a checkout and return its cost.

    Raises:
        SystemExit: If the command fails.
    """
    log = work / "log"
    start = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark", *arguments],
            cwd=work,
            env=_environment(checkout),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode != PASSED:
        sys.exit(f"{' '.join(arguments)} in {checkout} ended with {status}: {log.read_text()}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / MEGABYTE)


def _environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which a checkout comes before whatever is installed."""
    return os.environ | {"PYTHONPATH": str(checkout)}


def _refuse_another_package(checkout: Path) -> None:
    """Refuse to measure one checkout under the name of another.

    Raises:
        SystemExit: If Python would import the package from elsewhere.
    """
    script = "import benchmark; print(benchmark.__file__)"
    command, folder = [sys.executable, "-c", script], tempfile.gettempdir()
    found = subprocess.check_output(command, env=_environment(checkout), cwd=folder, text=True)
    if checkout not in Path(found.strip()).parents:
        sys.exit(f"Expected the package of {checkout}, but Python imports {found.strip()}.")


@contextmanager
def _burners(count: int) -> Iterator[None]:
    """Keep that many cores at full load inside."""
    processes = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _write_table(
    options: argparse.Namespace,
    checkouts: Sequence[Path],
    costs: dict[tuple[str, Path], list[Cost]],
) -> None:
    """Write one row for each step: medians, ranges where there are several rounds, and ratios."""
    _write(
        f"\n{' '.join(options.explainer)}, suite {options.suite}, {options.rounds} rounds, "
        f"{'two busy cores beside it' if options.busy else 'nothing started beside it'}; "
        f"{os.cpu_count()} cores ({platform.processor() or platform.machine()}), "
        f"load {os.getloadavg()[0]:.1f}, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS')}\n"
    )
    names = ["this"] if len(checkouts) == 1 else ["this", "other", "other / this"]
    _write(f"\n| step | | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}\n")
    for step in options.steps:
        for quantity, unit in (("cpu", "CPU s"), ("wall", "wall s"), ("peak", "MB")):
            columns = [[getattr(cost, quantity) for cost in costs[step, at]] for at in checkouts]
            cells = [_spread(values) for values in columns]
            if len(columns) == 2:
                pairs = zip(*columns, strict=True)
                cells.append(_spread([other / this for this, other in pairs]))
            _write(f"| {step} | {unit} | {' | '.join(cells)} |\n")


def _spread(values: Sequence[float]) -> str:
    middle = f"{statistics.median(values):.4g}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.4g} to {max(values):.4g})"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
