"""``python -m benchmark``."""

from benchmark.cli import app

app(prog_name="python -m benchmark")
