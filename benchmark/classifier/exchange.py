"""Randomised copies of a network, and those that have some stages of another.

The running statistics of what follows the first exchanged stage are taken anew, by one pass of a
few images; or they are given, as such a pass left them in an earlier process. Of a walk over the
stages, copy by copy, most of these passes run through stages that another copy went through before
with the same images. What leaves the first stages as they were begins behind them, and so does what
took all first stages from the donor, whose statistics were taken from the same images. Both give
the same statistics to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from benchmark.classifier.batch_norm import has_hooks
from benchmark.classifier.buffers.running_statistics import (
    learning_output,
    learns_in_norms_alone,
    reestimate_statistics,
    restore_statistics,
)
from benchmark.classifier.passes import PrefixMemory
from benchmark.classifier.redrawing import Stage, hidden_weights, redraw, require_fresh
from benchmark.errors import ClassifierError

if TYPE_CHECKING:
    from benchmark.classifier.network import Classifier

# Running statistics of a copy by name, as ``Classifier.statistics`` gives them.
Statistics = Mapping[str, Tensor]


def randomise(classifier: Classifier, seed: int, images: Tensor | Statistics) -> Classifier:
    """Return a copy with every parameter redrawn; see ``Classifier.randomised``."""
    if (reason := hidden_weights(classifier)) is not None:
        raise ClassifierError(
            f"Model {classifier.name!r} cannot be randomised: {reason}; give the network as it was "
            "before, in floating point."
        )
    other = classifier.copy()
    other.name = f"{classifier.name}~{seed}"
    fresh = redraw(other, seed) | _take_statistics(other, images, other)
    parameters = [name for name, _ in classifier.named_parameters()]
    buffers = [name for name, _ in classifier.named_buffers() if name not in fresh]
    require_fresh(classifier.name, classifier, other, parameters, buffers)
    return other


def exchange(
    classifier: Classifier,
    donor: Classifier,
    stages: Sequence[Stage],
    images: Tensor | Statistics,
    prefixes: PrefixMemory | None,
) -> Classifier:
    """Return a copy with some stages of a donor; see ``Classifier.partly``."""
    all_stages = classifier.stages
    parameters = [name for stage in stages for name in stage.parameters]
    buffers = [name for stage in stages for name in stage.buffers]
    theirs, other = _tensors(donor), _copy(classifier, donor, parameters)
    ours = _tensors(other)
    with torch.no_grad():
        for name in (*parameters, *buffers):
            if ours[name] is not theirs[name]:
                ours[name].copy_(theirs[name])
    # Stages run from the head to the stem: the later in the list, the earlier in a pass.
    stemmost = max(index for index, stage in enumerate(all_stages) if stage in stages)
    earlier = all_stages[stemmost + 1 :]
    kept = {name for stage in earlier for name in (*stage.parameters, *stage.buffers)}
    begin = None if prefixes is None else _Beginning.of(classifier, donor, {*parameters, *buffers})
    if begin is not None and begin.is_donors:
        begun = tuple(f"trunk.{name}." for name, _ in _children(classifier)[: begin.count])
        taken_over = {name for name in ours if name.startswith(begun)}
        kept |= taken_over
        buffers = [name for name in buffers if name not in taken_over]  # redrawn with the donor
    unchanged = {
        prefix
        for prefix, part in classifier.named_modules()
        if all(f"{prefix}.{name}" in kept for name in _tensors(part, recurse=False))
    }

    def run(images: Tensor) -> None:
        if prefixes is None or begin is None:
            other(images)
            return
        other.passes.add_forward(len(images))
        activations = begin.activations(classifier.preprocessing(images), prefixes)
        other.tail(other.maps_after(begin.count, activations))

    fresh = _take_statistics(other, images, run, unchanged)
    buffers = [name for name in buffers if name not in fresh]
    require_fresh(classifier.name, classifier, other, parameters, buffers)
    if prefixes is not None and begin is not None:
        count = min(begin.count, len(_children(classifier)) - 1)
        other.resume_after(count, prefixes, begin.network)
    return other


def _take_statistics(
    other: Classifier,
    images: Tensor | Statistics,
    run: Callable[[Tensor], object],
    unchanged: Collection[str] = (),
) -> set[str]:
    """Set a copy's statistics, by a pass or as they are given, and return their names."""
    if isinstance(images, Tensor):
        names = reestimate_statistics(other, lambda: run(images), unchanged)
    else:
        names = restore_statistics(other, images)
    other.reestimated = frozenset(names)
    return names


def _copy(classifier: Classifier, donor: Classifier, exchanged: Sequence[str]) -> Classifier:
    """Return a copy that has its parameters in common with the two networks, which stay as well.

    Dozens of copies of a large network would fill a memory. Statistics are always the copy's own.
    """
    if not learns_in_norms_alone(classifier):  # statistics may then be kept as parameters
        return classifier.copy()
    theirs = dict(donor.named_parameters())
    own = dict(classifier.named_parameters())
    return classifier.copy(own | {name: theirs[name] for name in exchanged})


@dataclass(frozen=True)
class _Beginning:
    """First children of a trunk that a copy has in common with another network.

    Attributes:
        network: That network: the one that was copied, or the donor.
        count: Number of children.
        is_donors: Whether it is the donor.
    """

    network: Classifier
    count: int
    is_donors: bool

    @classmethod
    def of(
        cls, classifier: Classifier, donor: Classifier, exchanged: Collection[str]
    ) -> _Beginning | None:
        """Return the longest, by the names of the exchanged tensors; None where there is none."""
        # Where a hook looks on, or what is not a norm learns, the whole network must pass.
        if has_hooks(classifier) or not learns_in_norms_alone(classifier):
            return None
        children = _children(classifier)
        are_exchanged = [
            any(tensor.startswith(f"trunk.{name}.") for tensor in exchanged) for name, _ in children
        ]
        pairs = list(zip(are_exchanged, children, strict=True))
        own = next((n for n, is_exchanged in enumerate(are_exchanged) if is_exchanged), len(pairs))
        donors = next(
            (n for n, (is_new, (_, part)) in enumerate(pairs) if not is_new and _tensors(part)),
            len(pairs),
        )
        if donors > own:
            return cls(donor, donors, True)
        return cls(classifier, own, False) if own else None

    def activations(self, prepared: Tensor, prefixes: PrefixMemory) -> Tensor:
        """Return what the children give in the pass that statistics are taken from."""
        trunk = cast("nn.Sequential", self.network.trunk)
        if not self.is_donors:
            return prefixes.after(self.count, trunk, prepared, self.network)
        return prefixes.after(
            self.count, trunk, prepared, ("learning", self.network), learning_output
        )


def _children(classifier: Classifier) -> list[tuple[str, nn.Module]]:
    """Return the children of a trunk by name; none of one that is no sequence."""
    trunk = classifier.trunk
    return list(trunk.named_children()) if isinstance(trunk, nn.Sequential) else []


def _tensors(module: nn.Module, recurse: bool = True) -> dict[str, Tensor]:
    """Return parameters and buffers by name."""
    buffers = dict(module.named_buffers(recurse=recurse))
    return {**dict(module.named_parameters(recurse=recurse)), **buffers}
