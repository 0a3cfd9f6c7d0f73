"""Plugins that misbehave, by the commands that users run: failed cells, and no clean exit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import ROOT
from runs import write_suite

pytestmark = pytest.mark.as_users_run_it

HEAD = """
import ctypes, os, signal, subprocess, sys, time
import torch
from benchmark.errors import StoreError
from benchmark.explainer import Explainer

class Odd(BaseException): pass
class Mute(Exception):
    def __str__(self): raise SystemExit(0)

class Base(Explainer):
    def attribute(self, classifier, images, target):
        self.misbehave()
        return images.clone()
"""
DEEDS = {
    "Exits": "raise SystemExit(0)",
    "Leaves": "os._exit(0)",
    "Crashes": "ctypes.string_at(0)",
    "Interrupts": "raise KeyboardInterrupt",
    "Closes": "raise GeneratorExit",
    "Odds": "raise Odd('x')",
    "Mutes": "raise Mute()",
    "Loops": "time.sleep(1e6)",
    "Hogs": "torch.zeros(2 ** 38)",
    "Stores": "raise StoreError('the disk is full')",
    "Nasty": r"raise ValueError('\ud800\x1b[2J\x00=1+1|<b>&]]>' + 'x' * 10**6)",
}
ASKED = """
class Asks(Base):
    name = "asks"
    def supports(self, classifier): os._exit(3)
    def passes_on(self, classifier): ctypes.string_at(0)
"""
REASONS = {
    "exits": "SystemExit: 0",
    "leaves": "ended with the code 0",
    "crashes": "ended by SIGSEGV",
    "interrupts": "KeyboardInterrupt",
    "closes": "GeneratorExit",
    "odds": "Odd: x",
    "mutes": "Mute: its message cannot be read",
    "loops": "deadline of a cell",
    "hogs": "RuntimeError",
    "stores": "StoreError: the disk is full",
    "asks": "ended with the code 3",
    "nasty": r"ValueError: \ud800\x1b[2J\x00=1+1|<b>&]]>xxx",
}


def command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would."""
    parts = [sys.executable, "-m", "benchmark", *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        parts, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def write_plugins(folder: Path) -> Path:
    """Write a file of every misdeed, and of children that stay behind."""
    path = folder / "odd.py"
    classes = [
        f'class {name}(Base):\n    name = "{name.lower()}"\n    def misbehave(self): {deed}\n'
        for name, deed in DEEDS.items()
    ]
    start = f"subprocess.Popen(['sleep', '98765'], cwd={str(folder)!r}"
    left = f"{start}); {start}, start_new_session=True); print('\\x1b[2J: hello')"
    classes.append(f'class Forks(Base):\n    name = "forks"\n    def misbehave(self): {left}\n')
    classes.append(ASKED)
    path.write_text("\n".join([HEAD, *classes]))
    return path


def left_behind(folder: Path) -> list[str]:
    """Return the processes whose folder is this one."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.resolve() == folder.resolve():
                found.append(link.parent.name)
        except OSError:
            continue
    return found


def test_every_misdeed_is_a_failed_cell_and_nothing_more(tmp_path: Path) -> None:
    """If it fails, one file of somebody else ends a night's work, or turns a build green."""
    path, suite = write_plugins(tmp_path), write_suite(tmp_path)
    names = [*DEEDS, "Forks", "Asks"]
    chosen = [part for name in names for part in ("--explainer", f"{path}:{name}")]
    options = ["--suite", suite, "--device", "cpu", "--deadline", 20, "--workers", 2]
    found = command(tmp_path, "run", *chosen, *options, "--json", "out.json", "--store", "store")
    assert found.returncode == 1, found.stderr
    assert "Traceback" not in found.stderr
    assert "\x1b" not in found.stdout + found.stderr
    assert r"\x1b[2J: hello" in found.stderr
    assert "hello" not in found.stdout
    results = json.loads((tmp_path / "out.json").read_text("utf-8"))["results"]
    reasons = {each["explainer"]: each["reason"] or "" for each in results}
    for name, reason in REASONS.items():
        assert reason in reasons[name], (name, reasons[name])
        assert len(reasons[name]) < 3000
    states = {each["explainer"]: each["state"] for each in results}
    assert states["forks"] == "scored"
    time.sleep(0.2)
    assert left_behind(tmp_path) == []


def test_a_gate_and_a_check_are_never_green_by_an_exit(tmp_path: Path) -> None:
    """If it fails, ``os._exit(0)`` in a method passes every build and every contract."""
    good = tmp_path / "good"
    good.mkdir()
    text = "{head}\nclass Mine(Base):\n    name = 'mine'\n    def misbehave(self): {deed}\n"
    (good / "mine.py").write_text(text.format(head=HEAD, deed="pass"))
    suite = write_suite(tmp_path)
    options = ["--baseline", "baseline", "--suite", suite, "--device", "cpu"]
    mine = f"{good / 'mine.py'}:Mine"
    written = command(tmp_path, "gate", "--explainer", mine, *options, "--update-baseline")
    assert written.returncode == 0, written.stderr
    (good / "mine.py").write_text(text.format(head=HEAD, deed="os._exit(0)"))
    gated = command(tmp_path, "gate", "--explainer", mine, *options, "--junit", "junit.xml")
    assert gated.returncode == 1, gated.stderr
    assert "ended with the code 0" in (tmp_path / "junit.xml").read_text("utf-8")
    checked = command(tmp_path, "check", mine)
    assert checked.returncode == 1, checked.stderr
    assert "ends the process with the code 0" in checked.stderr


@pytest.mark.parametrize(
    ("deed", "said"),
    [
        ("os._exit(0)", "ends the process with the code 0"),
        ("ctypes.string_at(0)", "ends the process by SIGSEGV"),
    ],
)
def test_a_file_that_ends_the_process_when_imported_is_bad_input(
    tmp_path: Path, deed: str, said: str
) -> None:
    """If it fails, a file leaves a command by its first line, with whatever code it likes."""
    path = tmp_path / "mine.py"
    path.write_text(f"{HEAD}\n{deed}\n")
    found = command(
        tmp_path, "run", "--explainer", f"{path}:Mine", "--suite", write_suite(tmp_path)
    )
    assert (found.returncode, said in found.stderr) == (2, True), found.stderr
    assert "Traceback" not in found.stderr
