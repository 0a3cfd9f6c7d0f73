"""The commands of the board: thin, and found by ``benchmark.cli`` by name."""

from __future__ import annotations

import typer

app = typer.Typer()
