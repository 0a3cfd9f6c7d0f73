"""What a run shows while it lasts."""

from __future__ import annotations

import io

from rich.console import Console
from runs import build_record

from benchmark.commands.terminal import Bars
from benchmark.running.suite import Cell


def cell(explainer: str) -> Cell:
    return Cell("tiny", "tiny_model", explainer, "loading", 0)


def test_each_cell_in_hand_has_a_bar_of_its_own() -> None:
    """If it fails, processes side by side count into one bar, and nobody can tell what is slow."""
    bars = Bars(Console(file=io.StringIO(), force_terminal=True))
    bars.started(3)
    bars.cell_started(cell("bright"), 40)
    bars.cell_started(cell("dark"), 0)
    bars.advanced(cell("dark"), 7)
    bars.advanced(cell("bright"), 5)
    shown = {bar.description: (bar.completed, bar.total) for bar in bars.tasks}
    assert shown == {
        "cells": (0, 3),
        "bright · loading (passes)": (5, 40),
        "dark · loading (passes)": (7, None),
    }
    bars.cell_done(cell("bright"), build_record("bright"), measured=True)
    shown = {bar.description: (bar.completed, bar.total) for bar in bars.tasks}
    assert shown == {"cells": (1, 3), "dark · loading (passes)": (7, None)}


def test_what_takes_long_is_said_with_what_it_is_for() -> None:
    """If it fails, a run stands still for minutes, and nobody knows why."""
    written = io.StringIO()
    bars = Bars(Console(file=written, width=200))
    bars.preparing(cell("bright"), "training the twin [of tiny]")
    assert written.getvalue() == "training the twin [of tiny], for loading on tiny × tiny_model\n"
