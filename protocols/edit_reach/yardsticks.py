"""Maps that need no explainer, and how far edits of the whole foreground reach.

They are measured once for each model, and say whether the protocol works there. The true change,
how far each pixel lies from the same subject's with the other group's anatomy, is the best that is
known; elsewhere it is the truth, the regions where the groups differ. The groups' difference in the
training images has seen labels and no model, and the plausible spread neither; both know where
images can be moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray
from benchmark.maps.poses import in_common_space, on_own_grids
from benchmark.trial import Keeping, Study
from benchmark.trial.interventions.edits import Editor, Edits
from benchmark.trial.interventions.plausible import spread_on_grids
from protocols.edit_reach.reaches import TopReaches, top_reaches
from protocols.edit_reach.statistics import EditReachConfig

TRUE_CHANGE, TRUTH = "true change", "truth"
GROUP_DIFFERENCE, SPREAD = "group difference", "plausible spread"


def whole_edits(images: Study, editor: Editor) -> Edits:
    """Return the edits of the whole foreground, made once for all explainers; M is 1."""

    def compute() -> Edits:
        foreground = images.foreground
        return editor.edits(images.rows, lambda chunk: foreground[chunk])

    purpose = ("whole", editor.subspace.sha256, editor.budget, _networks(editor))
    return images.shared(purpose, compute, Keeping("1", (Edits,)))


def best_known(names: Iterable[str]) -> str | None:
    """Return which of the yardsticks is the best that is known of the anatomy, or None."""
    return next((name for name in (TRUE_CHANGE, TRUTH) if name in names), None)


def yardsticks(images: Study, editor: Editor, config: EditReachConfig) -> dict[str, TopReaches]:
    """Return the reaches of each yardstick, by name, without their tops, made once for all."""

    def compute() -> dict[str, TopReaches]:
        reaches = {
            name: top_reaches(images, editor, ranked, config.quantiles, config.repeats)
            for name, ranked in _maps(images, editor)
        }
        # The tops are not read, and those of volumes are large.
        return {name: replace(reach, tops=reach.tops[:0]) for name, reach in reaches.items()}

    settings = (config.quantiles, config.repeats, editor.budget, _networks(editor))
    purpose = ("yardsticks", editor.subspace.sha256, *settings)
    return images.shared(purpose, compute, Keeping("1", (TopReaches,)))


def _networks(editor: Editor) -> tuple[tuple[str, str], ...]:
    """Return names and identities of the networks that are shown the same edits."""
    return tuple((name, other.model_identity) for name, other in editor.others.items())


def _maps(images: Study, editor: Editor) -> Iterator[tuple[str, Tensor]]:
    """Yield maps [n, 1, *S] of the rows."""
    test, rows = images.trial.test, images.rows
    if test.change is not None:
        yield TRUE_CHANGE, torch.from_numpy(test.change[rows].astype(np.float32))
    if test.truth is not None:
        yield TRUTH, torch.from_numpy(test.truth[rows].astype(np.float32))
    yield GROUP_DIFFERENCE, _group_difference(images)
    yield SPREAD, spread_on_grids(editor.subspace, test, rows)


def _group_difference(images: Study) -> Tensor:
    """Return |μ_A − μ_B| of the training images on the grid of each row, [n, 1, *S]."""
    train, test = images.trial.train, images.trial.test
    order = np.argsort(np.array(train.keys))
    moved, groups = in_common_space(train.images, train.geometry)[order], train.groups[order]
    means: list[FloatArray] = [moved[groups == group].mean(0, dtype=np.float64) for group in (0, 1)]
    difference = np.abs(means[0] - means[1]).astype(np.float32)
    on_grids = np.broadcast_to(difference[None], (len(images.rows), *difference.shape))
    return torch.from_numpy(
        np.ascontiguousarray(on_own_grids(on_grids, test.geometry.take(images.rows)))
    )
