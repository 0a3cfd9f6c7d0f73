"""What maps do that need no explainer: the truth, the best order of cells, and blind controls.

They are measured once for each model, and say whether the protocol works there: what is known to
change must move the model more than any map that looks at no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.explainer import importance, why_unsupported
from benchmark.seeding import stream
from benchmark.trial import Keeping, Study
from benchmark.trial.interventions.partition import effects_of, regions_of
from protocols.v2.delta_t.effects import Alteration, drops_of, moves_of_t_w

TRUE_CHANGE, GROWN_TRUTH, TRUTH, ATTAINABLE = "true change", "grown truth", "truth", "attainable"
LARGEST_MOVE = 0.10
FEWEST_SHARES = 3


def scattered_drops(images: Study, alteration: Alteration, repeats: int) -> FloatArray:
    """Return the mean drop of s·φ in units of T when scattered random pixels are altered, [n, Q].

    The same for every explainer, so that the shares that are kept are too.
    """

    def compute() -> FloatArray:
        suite, shape = images.trial.runtime.suite, images.trial.cohort.shape
        noise = [
            stream(suite, "scattered", key).random((1, *shape), np.float32) for key in images.keys
        ]
        drops, turned = drops_of(images, torch.from_numpy(np.stack(noise)), alteration, repeats)
        mean: FloatArray = np.concatenate([drops[..., None], turned], axis=2).mean(2)
        return mean

    key = ("scattered", alteration.name, alteration.quantiles, repeats)
    return images.shared(key, compute, Keeping("1"))


def is_kept(drops: FloatArray, groups: Rows) -> BoolArray:
    """Return at which shares scattered pixels, whose drops are [n, Q], hardly move T_w, [Q]."""
    return np.abs(moves_of_t_w(drops, groups)) <= LARGEST_MOVE


def fewest_shares(quantiles: Sequence[float]) -> int:
    """Return how many shares must be kept for an imputer to be fit."""
    return min(FEWEST_SHARES, len(quantiles))


def yardsticks(
    images: Study, alteration: Alteration, controls: Sequence[str], cells: int, repeats: int
) -> dict[str, FloatArray]:
    """Return the effect of each yardstick above random places in units of T, [n, Q], by name.

    Args:
        images: Study of the images.
        alteration: Alteration of the images.
        controls: Names of the explainers that look at no network.
        cells: Cells that the foreground is cut into, for what could be attained.
        repeats: Ring permutations of each image.
    """

    def compute() -> dict[str, FloatArray]:
        above = {}
        # One after the other, since the maps of volumes fill a memory together.
        for name, ranked in chain(
            _known_maps(images),
            _control_maps(images, controls),
            _attainable_map(images, alteration, cells),
        ):
            drops, turned = drops_of(images, ranked, alteration, repeats)
            above[name] = alteration.effects(drops) - alteration.effects(turned).mean(2)
        return above

    settings = (alteration.name, alteration.quantiles, tuple(controls), cells, repeats)
    return images.shared(("yardsticks", *settings), compute, Keeping("1"))


def _known_maps(images: Study) -> Iterator[tuple[str, Tensor]]:
    """Yield maps [n, 1, *S] of what is known to change, as far as the cohort knows it."""
    test = images.trial.test
    if test.change is not None:
        yield TRUE_CHANGE, torch.from_numpy(test.change[images.rows])
    if test.truth is not None:
        truth, spacing = test.truth[images.rows], (1.0, *test.geometry.spacing)
        # No tie but among pixels equally far away, so nothing is left to chance but these.
        distances = [distance_transform_edt(~mask, sampling=spacing) for mask in truth]
        yield GROWN_TRUTH, torch.from_numpy(-np.stack(distances).astype(np.float32))
        yield TRUTH, torch.from_numpy(truth.astype(np.float32))


def _control_maps(images: Study, controls: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the maps [n, 1, *S] of those controls that a run has and that know the cohort."""
    trial = images.trial
    declares_regions = bool(trial.test.anatomy.rois)
    for name in controls:
        explainer = trial.peers.panel.get(name)
        if explainer is None or why_unsupported(explainer, trial.classifier, declares_regions):
            continue
        drawn = trial.on(explainer=explainer).draw(images.rows)
        yield name, importance(drawn, explainer.polarity)


def _attainable_map(
    images: Study, alteration: Alteration, cells: int
) -> Iterator[tuple[str, Tensor]]:
    """Yield maps [n, 1, *S] of what altering the cell around each pixel does by itself."""
    trial, rows = images.trial, images.rows
    regions = regions_of(trial, rows, cells)
    effects = np.abs(effects_of(trial, rows, cells, alteration.name)).astype(np.float32)
    flat = np.take_along_axis(effects, np.maximum(regions, 0).reshape(len(rows), -1), axis=1)
    yield ATTAINABLE, torch.from_numpy(flat.reshape(len(rows), 1, *regions.shape[1:]))
