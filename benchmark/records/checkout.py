"""The commit that this package is of: of the checkout it runs from, or the one pip installed."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

_HOME = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Checkout:
    """A checkout of the code.

    Attributes:
        commit: Hash of its commit.
        dirty: Whether files differ from the commit.
    """

    commit: str
    dirty: bool


@cache
def find_checkout() -> Checkout | None:
    """Return the checkout that this file belongs to; a package inside another's does not count."""
    if not (_HOME / ".git").exists():
        return None
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return None if commit is None or status is None else Checkout(commit, bool(status))


def installed_commit() -> str | None:
    """Return the commit that pip installed from a repository, or None where it was another source.

    Installers note it in ``direct_url.json`` (PEP 610).
    """
    with suppress(PackageNotFoundError, ValueError, AttributeError):
        origin = json.loads(distribution("medsanity").read_text("direct_url.json") or "{}")
        commit = origin.get("vcs_info", {}).get("commit_id")
        return commit if isinstance(commit, str) else None
    return None


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(
            command, cwd=_HOME, stderr=subprocess.PIPE, text=True, timeout=10
        ).strip()
    return None
