"""The commands of the board: thin, and found by ``benchmark.cli`` by name."""

from __future__ import annotations

import typer

from leaderboard.board_command import board
from leaderboard.gate_command import gate
from leaderboard.publish_command import publish
from leaderboard.submit_command import submit
from leaderboard.verify_command import verify

app = typer.Typer()
app.command()(board)
app.command()(publish)
app.command()(submit)
app.command()(verify)
app.command()(gate)
