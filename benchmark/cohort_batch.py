"""Some rows of a cohort on a device, and the training images that they may be compared with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from benchmark.arrays import Rows


@dataclass(frozen=True)
class References:
    """Training images that a method may compare an image with.

    Attributes:
        mean: [1, 1, *S] mean of all training images.
        group: [R, 1, *S] images of the reference group, at most ``REFERENCE_IMAGES``.
        sha256: SHA-256 of both.
        regions: [1, 1, *S] float32 share of the training images in which a pixel belongs to a
            region, on the grid as it is; None where the cohort declares no region.
    """

    mean: Tensor
    group: Tensor
    sha256: str
    regions: Tensor | None = None

    def to(self, device: torch.device | str) -> References:
        """Return the references on ``device``."""
        regions = None if self.regions is None else self.regions.to(device)
        return replace(
            self, mean=self.mean.to(device), group=self.group.to(device), regions=regions
        )

    @cached_property
    def regions_sha256(self) -> str:
        """SHA-256 of the regions; of nothing where there are none."""
        content = b"" if self.regions is None else self.regions.cpu().numpy().tobytes()
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Batch:
    """Some rows of a cohort on a device.

    Attributes:
        rows: Row numbers in the cohort that the batch was cut from, [B].
        keys: Name of each image, as ``Cohort.keys`` gives it; seeds random streams.
        images: [B, 1, *S] float32.
        foreground: [B, 1, *S] bool.
        truth: [B, 1, *S] bool, or None where the cohort knows none.
        change: [B, 1, *S] float32 graded truth, or None where the cohort knows none.
        references: References to compare the images with, where a method needs them.
        regions: [B, 1, *S] bool, union of all declared regions, or None where there are none.
        deviation: [B, 1, *S] float32 image minus the same subject at normal volume, signed, or None
            where the cohort does not know it.
    """

    rows: Rows
    keys: tuple[str, ...]
    images: Tensor
    foreground: Tensor
    truth: Tensor | None
    references: References | None = None
    change: Tensor | None = None
    regions: Tensor | None = None
    deviation: Tensor | None = None

    def take(self, rows: slice) -> Batch:
        """Return the batch of these rows."""
        return replace(
            self,
            rows=self.rows[rows],
            keys=self.keys[rows],
            images=self.images[rows],
            foreground=self.foreground[rows],
            truth=None if self.truth is None else self.truth[rows],
            change=None if self.change is None else self.change[rows],
            regions=None if self.regions is None else self.regions[rows],
            deviation=None if self.deviation is None else self.deviation[rows],
        )
