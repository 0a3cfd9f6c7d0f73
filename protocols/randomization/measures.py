"""What `randomization` compares: an explainer's maps on the model with those on altered models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.cohort import Cohort
from benchmark.maps.similarity import entropy, spearman
from benchmark.seeding import stream
from benchmark.target import own_margin
from benchmark.trial import Memory, Study, Trial, remembered
from protocols.randomization.likeness import Likeness, measures_in
from protocols.randomization.statistics import RandomizationConfig
from protocols.randomization.walks import Step, altered, forget_activations, steps

Similarities = dict[str, FloatArray]

# Noisy pixels at a time: those of all slices of suite v1, and of a volume or two.
_NOISY_PIXELS = 2**24
# As many as the suites ask about, so that theirs are ranked once.
_COMPARED_AT_ONCE = 64


class OwnMaps:
    """An explainer's maps of some images on the model itself, compared with its other maps.

    Ranks and features take several times the memory of the maps that they are made of, so they are
    made of so many images at a time.

    Args:
        images: Study of the images.
        quantile: Share of the foreground that is compared as the top of two maps.
    """

    def __init__(self, images: Study, quantile: float) -> None:
        self.images, self._quantile = images, quantile
        images.maps()  # drawn all at once, so that lanes are full
        starts = range(0, len(images.rows), _COMPARED_AT_ONCE)
        self._parts = [slice(start, start + _COMPARED_AT_ONCE) for start in starts]

    @property
    def none(self) -> Similarities:
        """No similarity by any measure, [n] NaN."""
        measures = measures_in(len(self.images.trial.cohort.shape))
        return dict.fromkeys(measures, np.full(len(self.images.rows), np.nan))

    def likeness(self, others: Sequence[Tensor]) -> Similarities:
        """Return the mean similarity to several sets of maps [n, 1, *S], [n] by measure."""
        return self._mean_likeness([maps.__getitem__ for maps in others])

    def likeness_on(self, models: Sequence[Trial]) -> Similarities:
        """Return the mean similarity to the maps on several other models, [n] by measure."""
        return self._mean_likeness([_maps_in_parts(model, self.images.rows) for model in models])

    def entropy_rise_on(self, models: Sequence[Trial]) -> FloatArray:
        """Return by which share the maps' entropy rises on other models, in the mean, [n]."""
        own = self._entropy_on(self.images.trial)
        rises = np.mean([self._entropy_on(model) / own - 1 for model in models], axis=0)
        return np.where(own > 0, rises, np.nan)

    def _entropy_on(self, model: Trial) -> FloatArray:
        maps_of, images = _maps_in_parts(model, self.images.rows), self.images
        bits = [
            entropy(images.ranked(maps_of(part)), images.only(images.rows[part]).foreground)
            for part in self._parts
        ]
        return torch.cat(bits).numpy()

    def _mean_likeness(self, others: Sequence[Callable[[slice], Tensor]]) -> Similarities:
        parts = []
        for part in self._parts:
            own = self._likeness(part)
            similarities = [own.likeness.to(own.see(maps_of(part))) for maps_of in others]
            parts.append(
                {
                    measure: np.mean([similarity[measure] for similarity in similarities], axis=0)
                    for measure in similarities[0]
                }
            )
        return {measure: np.concatenate([part[measure] for part in parts]) for measure in parts[0]}

    def _likeness(self, part: slice) -> _Part:
        if len(self._parts) > 1:
            return self._see(part)
        return self._only_part

    @cached_property
    def _only_part(self) -> _Part:
        return self._see(self._parts[0])

    def _see(self, part: slice) -> _Part:
        images = self.images.only(self.images.rows[part])
        maps = images.maps()
        return _Part(images, maps, self._quantile, Likeness(images, maps, self._quantile))


@dataclass(frozen=True)
class _Part:
    """Some of an explainer's own maps, ready for comparison.

    Attributes:
        images: Study of their images.
        maps: The maps [k, 1, *S].
        quantile: Share of the foreground that is compared as the top.
        likeness: The maps as all measures see them.
    """

    images: Study
    maps: Tensor
    quantile: float
    likeness: Likeness

    def see(self, maps: Tensor) -> Likeness:
        """Return other maps ready for comparison; those that no model moves are ready already."""
        if torch.equal(maps, self.maps):
            return self.likeness
        return Likeness(self.images, maps, self.quantile)


def _maps_in_parts(model: Trial, rows: Rows) -> Callable[[slice], Tensor]:
    """Return a function from some of the rows to their maps on a model, all of them drawn now."""
    model.maps(rows)
    return lambda part: model.maps(rows[part])


def walk(own: OwnMaps, config: RandomizationConfig) -> Iterator[tuple[Step, Similarities, Tensor]]:
    """Yield every step of the walks, the similarity to its copies, and the maps on the first one.

    Steps that redraw the same stages are measured once.
    """
    trial, rows = own.images.trial, own.images.rows
    known: dict[frozenset[int], tuple[Similarities, Tensor]] = {}
    for step in steps(trial.classifier):
        if step.stages not in known:
            copies = [altered(trial, step.stages, copy) for copy in range(config.seeds)]
            if len(step.stages) == len(trial.classifier.stages):
                maps = [copy.maps(rows) for copy in copies]
            else:
                maps = [copy.draw(rows, lane=config.walk_subjects // 2) for copy in copies]
            known[step.stages] = own.likeness(maps), maps[0]
        yield step, *known[step.stages]
    forget_activations(trial)


def repredicted_maps(images: Study, copy: int, lane: int) -> Tensor:
    """Return the maps on a full copy of the class that the copy itself predicts, [n, 1, *S]."""
    trial, rows = images.trial.randomised(copy), images.rows
    logits = trial.models.embed_in_lanes(trial.test.batch(rows).images)[0]
    predicted, maps = logits.argmax(1), trial.maps(rows)
    others = np.flatnonzero(predicted != images.groups)
    if len(others):
        targets = [own_margin(int(predicted[position])) for position in others]
        maps = maps.clone()
        maps[torch.from_numpy(others)] = trial.draw(rows[others], targets, lane)
    return maps


def smoothed_similarity(images: Study, config: RandomizationConfig) -> FloatArray:
    """Return Spearman with a full copy of maps averaged over noise (Hedström et al. 2024), [n]."""
    trial, rows = images.trial, images.rows
    at_once = max(1, _NOISY_PIXELS // (math.prod(trial.cohort.shape) * config.smooth_noises))
    smooth: list[list[Tensor]] = [[], []]
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        # Kept for the other explainers, unless they are volumes, which would fill the memory.
        noisy = (_noisy if at_once >= len(rows) else _draw_noisy)(trial, part, config)
        for model, averaged in zip((trial, trial.randomised(0)), smooth, strict=True):
            on_noisy = model.on(cohort=noisy)
            if at_once < len(rows):
                on_noisy = replace(on_noisy, memory=Memory())
            maps = on_noisy.draw(np.arange(len(noisy)))
            averaged.append(maps.view(len(part), config.smooth_noises, *maps.shape[1:]).mean(1))
    first, second = (images.ranked(torch.cat(averaged)) for averaged in smooth)
    return spearman(first, second, images.foreground).numpy()


def changed_share(trial: Trial) -> float:
    """Return the share of weights that differ on the first full copy."""
    own = dict(trial.classifier.named_parameters())
    other = dict(trial.randomised(0).classifier.named_parameters())
    changed = sum(int((own[name] != other[name]).sum()) for name in own)
    return changed / sum(parameter.numel() for parameter in own.values())


@remembered()
def _noisy(trial: Trial, rows: Rows, config: RandomizationConfig) -> Cohort:
    return _draw_noisy(trial, rows, config)


def _draw_noisy(trial: Trial, rows: Rows, config: RandomizationConfig) -> Cohort:
    """Return the test rows, each as often as there are noises, with noise of their own."""
    test, noises = trial.test, config.smooth_noises
    cohort = test.take(np.repeat(rows, noises))
    images = np.array(cohort.images, dtype=np.float32)
    # Image by image, since doubles of all of them take longer to fetch from memory than to draw.
    for row, noisy in zip(rows, np.split(images, len(rows)), strict=True):
        drawn = stream(trial.runtime.suite, "smoothing", test.keys[row])
        noise = drawn.normal(0, config.smooth_sigma, noisy.shape)
        noisy[...] = np.clip(noisy + noise, 0, 1)
    names = [f"{test.keys[row]}~{number}" for row in rows for number in range(noises)]
    people = cohort.participants.assign(subject=names)
    return replace(cohort, name=f"{cohort.name}~", images=images, participants=people)
