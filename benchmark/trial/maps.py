"""Makes attribution maps in lanes, so that a subject's map depends on nobody else.

A *lane* is a batch of a size fixed by the image shape and the kind of device, the last one filled
up with repeats. Ranking pixels is discontinuous, and the last bit of a convolution depends on how
many images go through it together (measured: with oneDNN a batch of one differs from a batch of 64
by 1e-6 of the largest activation, which swaps close ranks); in lanes a subject's map is the same to
the bit whatever the batch size and whoever its neighbours are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import Rows
from benchmark.classifier import Classifier
from benchmark.cohort import Batch, Cohort, References
from benchmark.errors import AttributionError, UnsupportedError
from benchmark.explainer import Control, Explainer, check_independence, why_unsupported
from benchmark.target import Target, own_margin
from benchmark.trial.memory import Memory

_LANE_PIXELS = 2**20
_LANE = {"cpu": 16, "cuda": 128}
_OWN_MARGINS = (own_margin(0), own_margin(1))


def lane_of(shape: Sequence[int], device: torch.device) -> int:
    """Return the number of images per batch in which maps are made."""
    return max(1, min(_LANE.get(device.type, 16), _LANE_PIXELS // int(np.prod(shape))))


def identity_of(explainer: Explainer, references: References) -> str:
    """Return class, name, version and settings of an explainer, and what it compares with."""
    settings = ",".join(f"{key}={value}" for key, value in sorted(explainer.config.items()))
    if explainer.needs_references:
        settings += f",references={references.sha256}"
    origin = f"{type(explainer).__module__}.{type(explainer).__qualname__}"
    return f"{origin}:{explainer.name}:{explainer.version}:{settings}"


@dataclass(frozen=True)
class MapMaker:
    """Explains test images of one cohort with one explainer and model.

    Attributes:
        explainer: Method that makes the maps.
        classifier: Model that is explained.
        test: Test split.
        references: Images that the explainer may compare with.
        device: Device that the passes run on.
        memory: Memory that holds whether the explainer was found to depend on its batch.
    """

    explainer: Explainer
    classifier: Classifier
    test: Cohort
    references: References
    device: torch.device
    memory: Memory

    def draw(self, rows: Rows, targets: Sequence[Target] | None, lane: int) -> Tensor:
        """Explain some test rows.

        Args:
            rows: [n] test rows.
            targets: The scalar to explain for each of them; own margin if None.
            lane: Images per batch.

        Returns:
            Signed maps [n, 1, *S] float32 on the host.

        Raises:
            UnsupportedError: If the explainer cannot explain this model or cohort.
            AttributionError: If it broke its contract.
        """
        reason = why_unsupported(self.explainer, self.classifier, self.test.truth is not None)
        if reason is not None:
            raise UnsupportedError(reason)
        before = self.classifier.weights_sha256
        if targets is None:
            targets = [_OWN_MARGINS[group] for group in self.test.groups[rows]]
        maps = torch.empty((len(rows), *self.test.images.shape[1:]), dtype=torch.float32)
        for target, places in _lanes(targets, lane):
            filled = np.concatenate([places, np.repeat(places[-1:], lane - len(places))])
            batch = self._batch(rows[filled], before)
            made = self.explainer(self.classifier, batch, target)
            maps[places] = made[: len(places)].cpu()
            self._check_once(batch, target, made)
        if self.classifier.weights_sha256 != before:
            raise AttributionError(
                f"Explainer {self.explainer.name!r} changed the network's weights."
            )
        return maps

    def _batch(self, rows: Rows, weights_sha256: str) -> Batch:
        batch = self.test.batch(rows, self.device)
        if self.explainer.needs_references:
            batch = replace(batch, references=self.references.to(self.device))
        if isinstance(self.explainer, Control) and self.explainer.redrawn:
            keys = tuple(f"{key} on {weights_sha256}" for key in batch.keys)
            batch = replace(batch, keys=keys)
        return batch

    def _check_once(self, batch: Batch, target: Target, made: Tensor) -> None:
        """Check on the explainer's first batch that its maps do not depend on the batch."""

        def check() -> None:
            alone = batch.take(slice(1))
            check_independence(self.explainer, self.classifier, alone, target, made[:1])

        identity = identity_of(self.explainer, self.references)
        self.memory.once(("maps depend on no batch", identity), check)


def _lanes(targets: Sequence[Target], size: int) -> Iterator[tuple[Target, Rows]]:
    """Yield positions in ``targets`` of one target each, ``size`` at a time."""
    for target in dict.fromkeys(targets):
        same = [position for position, other in enumerate(targets) if other == target]
        positions = np.array(same, dtype=np.int64)
        for start in range(0, len(positions), size):
            yield target, positions[start : start + size]
