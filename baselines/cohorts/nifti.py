"""The way in to cohorts in folders of files, as documented: read one, or write one.

The catalogue looks into every file of this folder, and what reads medical images takes long to
import: so each name is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from baselines.cohorts.files.export import write_cohort
    from baselines.cohorts.files.reader import FolderSource as NiftiSource
    from baselines.cohorts.files.reader import read_cohort

__all__ = ["NiftiSource", "read_cohort", "write_cohort"]

# ``NiftiSource`` is the name that it had before it read other formats than NIfTI.
_PLACES = {
    "NiftiSource": ("reader", "FolderSource"),
    "read_cohort": ("reader", "read_cohort"),
    "write_cohort": ("export", "write_cohort"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 # whatever is in its place
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, original = _PLACES[name]
    return getattr(importlib.import_module(f"baselines.cohorts.files.{module}"), original)
