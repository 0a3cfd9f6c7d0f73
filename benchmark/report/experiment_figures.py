"""The figures of an experiment: its course, its curves, its embedding."""

from __future__ import annotations

from pathlib import Path

from benchmark.records.experiment import ExperimentCard


def draw_figures(folder: Path, card: ExperimentCard) -> None:
    """Draw everything that a card holds curves of, as SVG and PNG."""
