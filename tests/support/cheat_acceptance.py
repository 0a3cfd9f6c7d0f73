"""Near-blind cheats submitted, verified and ranked among honest methods, as a table.

::

    OMP_NUM_THREADS=1 python tests/support/cheat_acceptance.py v2 --folder FOLDER

Each map of ``tests/support/fire.py``, or of the file that ``--cheats`` names, goes through the
commands ``submit``, ``verify`` and ``board`` on one network of a frozen suite, with fewer subjects
than the suite asks for. The table says by which fault a cheat was stopped, or what the board says
of it and of honest methods. FOLDER keeps bundles, records and board, so that a script that was
stopped goes on where it was. It ends with 1 where a cheat is ranked above all honest methods.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paths import ROOT
from typer.testing import CliRunner

from benchmark.commands.app import app
from benchmark.explainer import Explainer
from benchmark.records.toml_file import format_toml

Json = dict[str, Any]

FIRE = Path(__file__).with_name("fire.py")
# Suites, and the network of each that is asked.
MODELS = {"v1": "smallresnet", "v2": "phantom2_resnet"}
# Protocols beside the total, which rank nobody.
BESIDE = ("group_maps", "biomarker", "edit_reach", "complexity")
HONEST = ("saliency", "input_x_gradient", "gradcam", "gradcam_aligned")
CONTROLS = ("random", "oracle")
_HEADING = ("map", "where it stands", "total", "why")
# A fault at the start of a line, and the clause of the contract in a table's row.
_FAULT = re.compile(r"^([a-z]+(?:-[a-z]+)+): ", re.MULTILINE)
_CLAUSE = re.compile(r"^│ (\w+) +│[^│]*│ broken", re.MULTILINE)


@dataclass(frozen=True)
class Ending:
    """Where a submission ended.

    Attributes:
        stopped_by: The command that refused it, or "" where its records are on the board.
        reason: Names of its faults, or the last line that was printed.
    """

    stopped_by: str
    reason: str


def suite_of(
    version: str,
    subjects: int,
    protocols: Sequence[str] = (),
    more: Mapping[str, Mapping[str, object]] | None = None,
) -> str:
    """Return the text of a frozen suite on one network, with fewer subjects.

    Args:
        version: Version of the suite.
        subjects: Most subjects of each protocol.
        protocols: Those that are kept; by default all that enter the total.
        more: Settings of protocols, by name.
    """
    path = ROOT / "leaderboard" / version / "suite.toml"
    fields: Json = tomllib.loads(path.read_text("utf-8"))
    fields["models"] = fields["board"]["models"] = [MODELS[version]]
    fields["health"] = list(CONTROLS)
    chosen = protocols or [name for name in fields["protocols"] if name not in BESIDE]
    names = [name.partition("@")[0] for name in chosen]
    fields["protocols"] = list(chosen)
    fields["protocol"] = {name: fields["protocol"].get(name, {}) for name in names}
    # A cohort that has protocols of its own goes with them.
    for cohort, section in [*fields.get("cohort", {}).items()]:
        if not set(section["protocols"]) & set(names):
            fields["cohorts"].remove(cohort)
            del fields["cohort"][cohort]
    for name, settings in fields["protocol"].items():
        # This one asks for 20 that the network is sure of, which are half of all.
        if "subjects" in settings and name != "roi_pointing":
            settings["subjects"] = min(settings["subjects"], subjects)
        # Neither enters a score or a verdict.
        settings.update({key: 2 for key in ("smooth_subjects", "walk_subjects") if key in settings})
        settings.update((more or {}).get(name, {}))
    return str(format_toml(fields))


def classes_of(file: Path) -> list[str]:
    """Return the classes of a file that are methods with a name of their own."""
    spec = importlib.util.spec_from_file_location("cheats_of_a_file", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Explainer)
        and value.__module__ == spec.name
        and value.__dict__.get("name")
    ]


class Acceptance:
    """Methods on their way to a board.

    Args:
        folder: Where bundles, records and the board lie.
        suite: Text of the suite.
    """

    def __init__(self, folder: Path, suite: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._suite = folder, folder / "suite.toml"
        self._suite.write_text(suite)
        self._store, self._records = folder / "store", folder / "records"

    def publish(self, explainers: Sequence[str]) -> None:
        """Run methods of the package and the controls, and publish their records."""
        if self._records.is_dir():
            return
        chosen = [word for name in explainers for word in ("--explainer", name)]
        options = ("--suite", self._suite, "--store", self._store)
        code, output = _invoke(
            *("run", *chosen, *options, "--device", "cpu", "--workers", 1, "--report", "none")
        )
        assert code in (0, 1), output  # 1 where a cell failed
        code, output = _invoke("publish", *options, "--out", self._records)
        assert code == 0, output

    def try_out(self, file: Path, class_name: str) -> Ending:
        """Submit a method, and verify its bundle into the records."""
        bundle, report = self._folder / f"{class_name}.bundle", self._folder / f"{class_name}.json"
        given = ("--suite", self._suite, "--device", "cpu")
        # To be shut in is for authors who want to see what verify sees.
        to = ("--store", self._store, "--out", bundle, "--no-isolation", "--submitter", "Somebody")
        if not bundle.is_dir():
            named = (f"{file}:{class_name}", "--name", f"Map of {class_name}")
            code, output = _invoke("submit", *named, *to, *given)
            if code:
                return Ending("submit", _reason(output))
        if not report.is_file():
            options = ("--json", report, "--records", self._records, "--into", self._records)
            code, output = _invoke("verify", bundle, *given, *options)
            if not report.is_file():
                return Ending("verify", _reason(output))
        faults: list[Json] = json.loads(report.read_text())["faults"]
        names = dict.fromkeys(f"`{fault['name']}`" for fault in faults)
        return Ending("verify" if names else "", ", ".join(names))

    def board(self) -> list[Json]:
        """Build the board, and return its rows in their order."""
        board = self._folder / "board"
        code, output = _invoke("board", "--records", self._records, "--out", board)
        assert code == 0, output
        (model,) = json.loads((board / "board.json").read_text())["models"]
        return list(model["rows"])


def _invoke(*arguments: object) -> tuple[int, str]:
    """Run a command in this process, and return its exit code and output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def _reason(output: str) -> str:
    """Return the names of faults in an output, or its last line."""
    clauses = [f"`contract-broken` ({clause})" for clause in _CLAUSE.findall(output)]
    names = [f"`{name}`" for name in dict.fromkeys(_FAULT.findall(output))]
    lines = [line for line in output.splitlines() if line.strip()]
    return ", ".join(clauses or names) or (lines[-1] if lines else "it said nothing")


def table_of(rows: Sequence[Json], stopped: Mapping[str, Ending]) -> Iterator[Sequence[str]]:
    """Yield the rows of the table: what is on the board in its order, and then what is not."""
    yield _HEADING
    yield ["---"] * len(_HEADING)
    for row in rows:
        standing, owed = row["standing"], row.get("owed")
        total = (owed or {}).get("total") or (standing or {}).get("total")
        number = "–" if total is None else f"{total['estimate']:.3f}".replace("-", "−")
        place = row["status"]
        if standing is not None:
            place += f" {standing['rank']} ({standing['low']} to {standing['high']})"
        yield f"`{row['explainer']}`", place, number, row["reason"] or ""
    for name, ending in stopped.items():
        yield f"`{name}`", f"refused by `{ending.stopped_by}`", "–", ending.reason


def main() -> int:
    """Print the table, and return 1 where a cheat is ranked above all honest methods."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=tuple(MODELS))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=32)
    parser.add_argument("--protocol", action="append", default=[], help="default: all of the total")
    parser.add_argument("--cheats", type=Path, default=FIRE)
    parser.add_argument("--name", action="append", default=[], help="a class; default: all")
    arguments = parser.parse_args()
    suite = suite_of(arguments.suite, arguments.subjects, arguments.protocol)
    acceptance = Acceptance(arguments.folder, suite)
    acceptance.publish(HONEST)
    endings = {}
    for name in arguments.name or classes_of(arguments.cheats):
        endings[name] = acceptance.try_out(arguments.cheats, name)
        sys.stderr.write(f"{name}: {endings[name].stopped_by or 'admitted'}\n")
    rows = acceptance.board()
    stopped = {name: ending for name, ending in endings.items() if ending.stopped_by}
    for line in table_of(rows, stopped):
        sys.stdout.write(f"| {' | '.join(line)} |\n")
    ranked = [row["explainer"] for row in rows if row["standing"] is not None]
    return int(bool(ranked) and ranked[0] not in HONEST)


if __name__ == "__main__":
    sys.exit(main())
