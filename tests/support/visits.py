"""A page that is open in a browser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Visit:
    """A page that is open, and what it did.

    Attributes:
        page: Of Playwright.
        asked: Addresses that it asked for.
        complaints: Of the console, and errors in scripts.
    """

    page: Any
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


Visitor = Callable[..., Visit]
