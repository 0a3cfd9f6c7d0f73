"""Leaves measurements out of ``make test``: what they are compared with takes long to import."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore every file here where measurements are skipped."""
    return True if config.getoption("benchmark_skip") else None
