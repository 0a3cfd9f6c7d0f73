"""Makes attribution maps in lanes, so that a subject's map depends on nobody else.

A *lane* is a batch of a size fixed by the image shape and the kind of device, the last one filled
up with repeats. Ranking pixels is discontinuous, and the last bit of a convolution depends on how
many images go through it together (measured: with oneDNN a batch of one differs from a batch of 64
by 1e-6 of the largest activation, which swaps close ranks); in lanes a subject's map is the same to
the bit whatever the batch size and whoever its neighbours are.

The last bit of a gradient also depends on how many threads share a lane. Of six networks a full
lane had the same bits on 1, 2, 4 and 8 threads and others on three, and a part of a lane had others
on most. So a full lane runs on a power of two of the threads that there are, and a smaller one on
one thread: a process by itself then draws the maps that one of several workers draws.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import Rows
from benchmark.cohort import Batch
from benchmark.errors import AttributionError, UnsupportedError
from benchmark.explainer import Control, check_independence, why_unsupported
from benchmark.target import Target, own_margin
from benchmark.training.threads import torch_threads
from benchmark.trial.memory import ArrayArchive, Keeping, kept_for, kept_or

if TYPE_CHECKING:
    from benchmark.trial.trial import Trial

_OWN_MARGINS = (own_margin(0), own_margin(1))


def lane_of(shape: Sequence[int], device: torch.device) -> int:
    """Return the number of images per batch in which maps are made."""
    return max(1, min(128 if device.type == "cuda" else 16, 2**20 // int(np.prod(shape))))


def draw_maps(
    trial: Trial, rows: Rows, targets: Sequence[Target] | None, lane: int, *, kept: bool = False
) -> Tensor:
    """Explain some test rows.

    Torch counts writes into a network's tensors, and each call of an explainer compares the counts.
    What is written past them, through ``.data`` or NumPy, is found by the content of the weights,
    whose hash of a large network takes as long as some maps. So it is compared with the hash that
    names the network where maps are kept for others, and the first time that an explainer draws.

    Args:
        trial: Explainer, model and cohort.
        rows: [n] test rows.
        targets: The scalar to explain for each of them; own margin if None.
        lane: Images per batch.
        kept: Whether the maps are kept for other protocols and runs.

    Returns:
        Signed maps [n, 1, *S] float32 on the host.

    Raises:
        UnsupportedError: If the explainer cannot explain this model or cohort.
        AttributionError: If it broke its contract.
    """
    explainer, classifier, test = trial.explainer, trial.classifier, trial.test
    reason = why_unsupported(explainer, classifier, bool(test.anatomy.rois))
    if reason is not None:
        raise UnsupportedError(reason)
    is_checked = kept or not trial.memory.holds(_first_batch_key(trial))
    known = trial.models.weights_sha256 if is_checked else ""
    if targets is None:
        targets = [_OWN_MARGINS[group] for group in test.groups[rows]]
    maps = torch.empty((len(rows), *test.images.shape[1:]), dtype=torch.float32)
    with torch_threads(_threads_of(lane, trial.lane)):
        for target, places in _lanes(targets, lane):
            filled = np.concatenate([places, np.repeat(places[-1:], lane - len(places))])
            batch = _batch(trial, rows[filled])
            made = explainer(classifier, batch, target)
            maps[places] = made[: len(places)].cpu()
            _check_once(trial, batch, target, made)
    if is_checked and classifier.weights_sha256 != known:
        raise AttributionError(f"Explainer {explainer.name!r} changed the network's weights.")
    return maps


def archived_maps(
    model: Trial,
    rows: Rows,
    kind: Sequence[str],
    draw: Callable[[Rows], Tensor],
    archive: ArrayArchive | None,
) -> Tensor:
    """Return signed maps of some test rows, drawn in the order of their keys and kept together.

    Args:
        model: Explainer, model and cohort that the maps are of.
        rows: [n] test rows.
        kind: Kind of maps: what decides them beside the trial and the rows.
        draw: Function from rows to their maps [n, 1, *S].
        archive: Archive that keeps them, if any.

    Returns:
        Maps [n, 1, *S] float32 on the host, in the order of the rows.
    """
    keys = np.array([model.test.keys[row] for row in rows])
    order = np.argsort(keys)
    what, *others = kind
    maker = f"{what} {model.explainer_identity}, lane {model.lane}"
    parts = (maker, *others, model.test.fingerprint, model.model_identity, *keys[order].tolist())
    kept = kept_or(archive, "\n".join(parts), lambda: {"maps": draw(rows[order]).numpy()})
    maps = kept["maps"].astype(np.float32, copy=False)
    return torch.from_numpy(maps[np.argsort(order)])


def draw_altered(trial: Trial, row: int, images: Tensor, target: Target, call: int) -> Tensor:
    """Explain altered images of one test row, whose masks they keep.

    Args:
        trial: Explainer, model and cohort.
        row: Test row.
        images: [n, 1, *S] float32 on the run's device.
        target: The scalar to explain.
        call: Number of the call, by which noise is drawn anew: of another image, it is other noise.

    Returns:
        Signed maps [n, 1, *S] float32 on the device.
    """
    explainer = trial.explainer
    batch = _batch(trial, np.repeat(row, len(images)))
    if isinstance(explainer, Control) and explainer.redrawn:
        keys = tuple(f"{key}, {call} {number}" for number, key in enumerate(batch.keys))
        batch = replace(batch, keys=keys)
    return explainer(trial.classifier, replace(batch, images=images), target)


def _batch(trial: Trial, rows: Rows) -> Batch:
    explainer, batch = trial.explainer, trial.test.batch(rows, trial.runtime.device)
    references = trial.references.to(trial.runtime.device) if explainer.needs_references else None
    if not isinstance(explainer, Control):
        # What the anatomy is known to hold is for controls alone.
        hidden = None if references is None else replace(references, regions=None)
        return replace(batch, references=hidden, change=None, regions=None, deviation=None)
    if explainer.redrawn:
        weights = trial.models.weights_sha256
        batch = replace(batch, keys=tuple(f"{key} on {weights}" for key in batch.keys))
    return replace(batch, references=references)


def _check_once(trial: Trial, batch: Batch, target: Target, made: Tensor) -> None:
    """Check on the explainer's first batch that its maps do not depend on the batch."""
    key = _first_batch_key(trial)

    def check() -> None:
        alone = batch.take(slice(1))
        check_independence(trial.explainer, trial.classifier, alone, target, made[:1])

    def check_or_know() -> None:
        kept_for(trial, (*key, trial.model_identity), Keeping("1"), check)

    trial.once(key, check_or_know)


def _threads_of(lane: int, full: int) -> int:
    """Return the number of threads by which a lane has the bits that one thread gives it."""
    usable = min(torch.get_num_threads(), full) if lane == full else 1
    return 1 << (usable.bit_length() - 1)


def _first_batch_key(trial: Trial) -> tuple[Hashable, ...]:
    return "maps depend on no batch", trial.explainer_identity


def _lanes(targets: Sequence[Target], size: int) -> Iterator[tuple[Target, Rows]]:
    """Yield positions in ``targets`` of one target each, ``size`` at a time."""
    for target in dict.fromkeys(targets):
        same = [position for position, other in enumerate(targets) if other == target]
        positions = np.array(same, dtype=np.int64)
        for start in range(0, len(positions), size):
            yield target, positions[start : start + size]
