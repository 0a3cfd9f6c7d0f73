"""The commands of the board: thin, and found by ``benchmark.commands.app`` by name."""

from __future__ import annotations

import typer

from leaderboard.commands.board import board
from leaderboard.commands.gate import gate
from leaderboard.commands.publish import publish
from leaderboard.commands.submit import submit
from leaderboard.commands.verify import verify

app = typer.Typer()
app.command()(board)
app.command()(publish)
app.command()(submit)
app.command()(verify)
app.command()(gate)
