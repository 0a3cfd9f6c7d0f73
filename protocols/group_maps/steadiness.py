"""Changes that should not matter: other directions, altered images, other baselines, a twin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
import torch
from torch import Tensor

from benchmark.arrays import FloatArray, Rows
from benchmark.errors import CohortError, SanityError
from benchmark.explainer import why_unsupported
from benchmark.seeding import stream
from benchmark.target import Projection, Target
from benchmark.trial import Retrained, Trial
from benchmark.trial.projection import group_axis
from benchmark.trial.projection.group_axis import embed_split
from protocols.group_maps import differences
from protocols.group_maps.differences import Model, Recovery
from protocols.group_maps.population import Population

_NOISE = 0.01  # of intensities in [0, 1]
_GAIN = 1.03


@dataclass(frozen=True)
class Agreement:
    """How alike maps are before and after a change.

    Attributes:
        per_subject: [n] rank correlation over the common voxels.
        of_groups: Rank correlation of the groups' difference.
    """

    per_subject: FloatArray
    of_groups: float


@dataclass(frozen=True)
class Changes:
    """What is asked of some subjects' maps.

    Attributes:
        trial: Method, network and cohort.
        people: The subjects.
        refits: Number of logistic heads.
        baselines: Baselines for methods that compare with one.
        twin: The network of another seed, or None.
    """

    trial: Trial
    people: Population
    refits: int
    baselines: Sequence[str]
    twin: Retrained | None

    def measure(self) -> Iterator[tuple[str, Agreement]]:
        """Yield the name of each change, and how alike maps are under it."""
        own = self._smooth(self._draw(self.trial))
        heads = [self._smooth(self._draw(self.trial, target)) for target in self._heads()]
        for number, head in enumerate(heads[1:], 1):
            yield f"head 0 to {number}", self._compare(heads[0], head)
        for name, maps in self._altered():
            yield name, self._compare(own, self._smooth(maps))
        for name, maps in self._rebased():
            yield f"baseline {name}", self._compare(own, self._smooth(maps))
        if self.twin is not None:
            there = self.twin.on(self.trial)
            axis = group_axis(there)
            maps = there.draw(self.people.all_rows, axis.targets_of(self.people.all_rows))
            yield "twin", self._compare(own, self._smooth(maps))

    def _draw(self, trial: Trial, target: Target | None = None) -> Tensor:
        """Return maps of all images; of φ unless another target is given."""
        rows = self.people.all_rows
        targets = group_axis(trial).targets_of(rows) if target is None else [target] * len(rows)
        return trial.draw(rows, targets)

    def _smooth(self, maps: Tensor) -> FloatArray:
        return self.people.smooth(torch.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0))

    def _compare(self, first: FloatArray, second: FloatArray) -> Agreement:
        groups = self.people.groups
        pairs = zip(first, second, strict=True)
        of_groups = [
            maps[groups == 0].mean(0) - maps[groups == 1].mean(0) for maps in (first, second)
        ]
        return Agreement(
            np.array([_rank_correlation(*pair) for pair in pairs]),
            _rank_correlation(of_groups[0], of_groups[1]),
        )

    def _heads(self) -> Iterator[Projection]:
        """Yield directions of logistic heads fitted on resampled training subjects."""
        # Here, since scikit-learn takes a quarter of a second that most commands do without.
        from sklearn.linear_model import LogisticRegression

        try:
            train = self.trial.train
        except CohortError:
            return
        order = np.argsort(np.array(train.keys))
        known = embed_split(self.trial, train)[order]
        groups, subjects = train.groups[order], np.array(train.subjects)[order]
        names = np.unique(subjects)
        suite = self.trial.runtime.suite
        for refit in range(self.refits):
            drawn = stream(suite, "group_maps", "heads", refit).choice(names, len(names))
            rows = np.concatenate([np.flatnonzero(subjects == name) for name in drawn])
            if len(set(groups[rows].tolist())) < 2:
                continue
            head = LogisticRegression(max_iter=1000).fit(known[rows], groups[rows] == 0)
            direction = head.coef_[0] / np.linalg.norm(head.coef_[0])
            yield Projection(torch.from_numpy(direction))

    def _altered(self) -> Iterator[tuple[str, Tensor]]:
        """Yield maps of images that were shifted and back, made noisy, or brighter."""
        test, rows = self.trial.test, self.people.all_rows
        images = np.array(test.images[rows])
        suite = self.trial.runtime.suite
        noise = np.stack(
            [
                stream(suite, "group_maps", "noise", test.keys[row]).normal(0, _NOISE, shape)
                for row, shape in ((row, images.shape[1:]) for row in rows)
            ]
        )
        axis = images.ndim - 1
        changed = {
            "shift by a pixel": np.roll(images, 1, axis),
            "noise": np.clip(images + noise, 0, 1),
            "gain": np.clip(_GAIN * images, 0, 1),
        }
        targets = group_axis(self.trial).targets_of(rows)
        for name, altered in changed.items():
            people = replace(
                test.take(rows), images=altered.astype(np.float32), partners=None, sources={}
            )
            maps = self.trial.on(cohort=people).draw(np.arange(len(rows)), targets)
            yield name, torch.roll(maps, -1, axis) if name.startswith("shift") else maps

    def _rebased(self) -> Iterator[tuple[str, Tensor]]:
        """Yield maps of a method that compares images with a baseline, by each other baseline."""
        current = self.trial.explainer.config.get("baseline")
        if current is None:
            return
        for name in self.baselines:
            if name == current:
                continue
            try:
                other = type(self.trial.explainer)(baseline=name)  # type: ignore[call-arg]
                maps = self._draw(self.trial.on(explainer=other))
            except (TypeError, ValueError, SanityError):
                continue  # it has no such baseline
            yield name, maps


def halves(people: Population, suite: str, count: int) -> tuple[Rows, ...]:
    """Return random halves of the subjects, stratified by group, [n] of 0 and 1 each."""
    drawn = []
    for number in range(count):
        generator = stream(suite, "group_maps", "halves", number, len(people.rows))
        half = np.zeros(len(people.rows), dtype=np.int64)
        for group in (0, 1):
            members = generator.permutation(np.flatnonzero(people.groups == group))
            half[members[: len(members) // 2]] = 1
        drawn.append(half)
    return tuple(drawn)


def yardsticks(
    trial: Trial, people: Population, model: Model, controls: Sequence[str]
) -> dict[str, Recovery]:
    """Return what the maps of controls recover, by name, of those that a run has."""
    measured, has_regions = {}, bool(trial.test.anatomy.rois)
    targets = group_axis(trial).targets_of(people.all_rows)
    for name in controls:
        explainer = trial.peers.panel.get(name)
        if explainer is None or why_unsupported(explainer, trial.classifier, has_regions):
            continue
        try:
            maps = trial.on(explainer=explainer).draw(people.all_rows, targets)
        except SanityError:
            continue  # the cohort lacks what it draws
        adjusted = model.adjusted(people.smooth(maps))
        measured[name] = differences.measure(adjusted, model, people.change)
    return measured


def _rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Return Spearman's correlation, 0 where either is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(scipy.stats.spearmanr(first, second).statistic)
