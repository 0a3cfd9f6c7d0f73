"""How a trial computes, and what its model and explainer are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmark.cohort import References
from benchmark.explainer import Explainer
from benchmark.training import Recipe
from benchmark.trial.memory import ArrayArchive


@dataclass(frozen=True)
class Runtime:
    """How to compute; nothing here but ``suite`` changes a score.

    Attributes:
        device: Device that the passes run on.
        batch_size: Images per pass for masked images; maps are made in lanes.
        suite: Name of the suite's random streams, so unlike the rest it is part of a score's
            identity.
        archive: Archive of maps and embeddings, or None.
        announce: Function that is called with what is made that takes long, such as ``training the
            twin``, or None.
    """

    device: torch.device
    batch_size: int = 64
    suite: str = "v1"
    archive: ArrayArchive | None = None
    announce: Callable[[str], None] | None = field(default=None, repr=False, compare=False)

    def say(self, what: str) -> None:
        """Announce what is made and takes long."""
        if self.announce is not None:
            self.announce(what)


@dataclass(frozen=True)
class Peers:
    """What a trial's model and explainer are compared with.

    Attributes:
        panel: The explainers that a protocol sets beside the one on trial, by name.
        recipe: Recipe by which the model, or one like it, was trained.
        weights: Folder of committed weights of the model's relatives, or None.
        references: Images that explainers may compare with; the cohort's unless given.
    """

    panel: Mapping[str, Explainer] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    weights: Path | None = None
    references: References | None = None
