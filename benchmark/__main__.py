"""``python -m benchmark``."""

from benchmark.commands.app import app

app(prog_name="python -m benchmark")
