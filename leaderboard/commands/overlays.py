"""Pictures of the maps of finished cells, for the pages of methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmark.explainer import importance
from benchmark.plugins.catalogue import Catalogue
from benchmark.records.storage.finished import FinishedCell
from benchmark.records.store import Store
from benchmark.report.figures import overlays
from benchmark.report.figures.style import DPI
from benchmark.results.explained_model import recall_explained_models

_SHOWN_PER_GROUP = 3


def draw_overlays(
    records: Sequence[FinishedCell], catalogue: Catalogue, store: Store, folder: Path
) -> int:
    """Draw what each explainer makes of some test subjects; return how many pictures."""
    count = 0
    for explained in recall_explained_models(records, catalogue, store.arrays):
        rows = overlays.choose_rows(explained.cohort, explained.evaluation)
        by_group = [rows[explained.cohort.groups[rows] == group] for group in (0, 1)]
        chosen = np.concatenate([group[:_SHOWN_PER_GROUP] for group in by_group])
        tiles = overlays.cut_tiles(explained.cohort, explained.evaluation, chosen)
        for name, maps in explained.attributions.items():
            signed = torch.from_numpy(maps[chosen])
            planes = tiles.planes.cut(importance(signed, explained.polarities[name]).numpy())
            figure = overlays.draw_strip(tiles, planes.astype(np.float32))
            path = folder / f"{name}.{explained.model}.webp"
            figure.savefig(path, dpi=DPI, pil_kwargs={"quality": 80})
            count += 1
    return count
