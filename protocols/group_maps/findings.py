"""What one method's maps say of the groups, on the network and on its randomised copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchmark.arrays import BoolArray, FloatArray, Rows
from benchmark.maps.ranking import a_few_each, are_many_slices
from benchmark.statistics.linear import VoxelTest, enhanced_test, voxelwise_test
from benchmark.trial.projection import SignedMaps
from protocols.group_maps import differences
from protocols.group_maps.differences import Model, Recovery
from protocols.group_maps.population import Population
from protocols.group_maps.statistics import LEVEL


@dataclass(frozen=True)
class Setting:
    """How the maps of some subjects are compared.

    Attributes:
        people: The subjects.
        adjusted: Groups and covariates.
        plain: Groups alone.
        orders: [P, n] permutations, the same for all maps of the subjects.
        halves: [n] each: which half a subject falls into.
        tfce_seed: Seed of the permutations of TFCE, or None where it is not asked for.
    """

    people: Population
    adjusted: Model
    plain: Model
    orders: Rows
    halves: tuple[Rows, ...]
    tfce_seed: int | None = None

    @property
    def has_covariates(self) -> bool:
        """Whether there is anything to adjust for."""
        return bool(self.adjusted.covariates.used)


@dataclass(frozen=True)
class Arm:
    """One set of maps.

    Attributes:
        conditions: Conditions of its readings; none of the primary one.
        recovery: Recovery of its maps.
        p: Permutation p of their reliable difference.
    """

    conditions: Mapping[str, str]
    recovery: Recovery
    p: float


@dataclass(frozen=True)
class Findings:
    """What a method's maps say of the groups.

    Attributes:
        setting: Settings of the comparison.
        raw: [m, 1, *S] signed maps on the network on trial, of all images.
        arms: Sets of maps by name: ``own``, ``l1``, ``ignored`` where there are covariates to
            ignore, and ``copy 0`` and so on.
        nulls: [n] values of each copy that are subtracted.
        left_out: Reason why a copy has no maps, by its number.
        separation: T.
        smoothed: [n, V] smoothed maps on the network on trial as they are.
    """

    setting: Setting
    raw: Tensor
    arms: Mapping[str, Arm]
    nulls: Sequence[FloatArray]
    left_out: Mapping[int, str]
    separation: float
    smoothed: FloatArray

    @property
    def own(self) -> Arm:
        """The primary set of maps."""
        return self.arms["own"]

    @property
    def adjusted(self) -> FloatArray:
        """Smoothed maps without what covariates explain, [n, V]."""
        return self.setting.adjusted.adjusted(self.smoothed)

    @cached_property
    def split_half(self) -> float:
        """Reliability from random halves."""
        return differences.split_half(
            self.adjusted, self.setting.adjusted.groups, self.setting.halves
        )

    @cached_property
    def tests(self) -> Mapping[str, VoxelTest]:
        """Tests of all voxels, ``adjusted`` and, where there are covariates, with them ignored."""
        setting = self.setting
        models = {"adjusted": setting.adjusted}
        if setting.has_covariates:
            models["ignored"] = setting.plain
        return {
            name: voxelwise_test(self.smoothed, model.groups, model.covariates, setting.orders)
            for name, model in models.items()
        }

    @cached_property
    def p_tfce(self) -> FloatArray | None:
        """Family-wise p [V] after TFCE, given covariates; None where it is not asked for."""
        setting = self.setting
        if setting.tfce_seed is None:
            return None
        return enhanced_test(
            self.smoothed,
            setting.adjusted.groups,
            setting.adjusted.covariates,
            setting.people.voxels,
            len(setting.orders),
            setting.tfce_seed,
        )


def find_difference(setting: Setting, maps: SignedMaps, separation: float) -> Findings:
    """Return what maps say of the groups.

    Args:
        setting: Settings of the comparison.
        maps: Maps of all images of the subjects, on the network and on its copies.
        separation: T.
    """
    people = setting.people
    smoothed = people.smooth(maps.own)
    foreground = people.cohort.anatomy.foreground[people.all_rows]
    arms = {"own": _arm({}, smoothed, setting.adjusted, setting)}
    own = arms["own"]
    arms["l1"] = _arm(
        {"scale": "l1"},
        people.smooth(_unit_sum(maps.own, torch.from_numpy(foreground))),
        setting.adjusted,
        setting,
    )
    if setting.has_covariates:
        arms["ignored"] = _arm({"covariates": "ignored"}, smoothed, setting.plain, setting)
    nulls = []
    for copy, drawn in maps.copies.items():
        where = {"network": f"copy {copy}"}
        if torch.equal(drawn, maps.own):
            # A map that looks at no network owes it nothing, whatever it says.
            arms[f"copy {copy}"] = Arm(where, own.recovery, own.p)
            nulls.append(own.recovery.values)
            continue
        known = people.smooth(torch.nan_to_num(drawn, nan=0.0, posinf=0.0, neginf=0.0))
        arm = arms[f"copy {copy}"] = _arm(where, known, setting.adjusted, setting)
        # Where nothing differs, the ratio is one of noise to noise.
        differs = arm.p <= LEVEL
        nulls.append(arm.recovery.values if differs else np.zeros(len(people.rows)))
    return Findings(setting, maps.own, arms, nulls, maps.left_out, separation, smoothed)


def count_voxels(test: VoxelTest, near: BoolArray) -> tuple[float, float, float]:
    """Return how many voxels differ, the share of them near the regions, and by FDR.

    The share is 0 where none differs.
    """
    return *count_significant(test.p_fwe, near), float((test.q <= LEVEL).sum())


def count_significant(p: FloatArray, near: BoolArray) -> tuple[float, float]:
    """Return how many voxels are significant by p [V], and the share of them near the regions."""
    is_significant = p <= LEVEL
    share = float(near[is_significant].mean()) if is_significant.any() else 0.0
    return float(is_significant.sum()), share


def _arm(where: Mapping[str, str], smoothed: FloatArray, model: Model, setting: Setting) -> Arm:
    adjusted = model.adjusted(smoothed)
    recovery = differences.measure(adjusted, model, setting.people.change)
    return Arm(where, recovery, differences.difference_p(smoothed, model, setting.orders))


def _unit_sum(maps: Tensor, foreground: Tensor) -> Tensor:
    """Return maps [m, 1, *S] over the sum of magnitudes in their own foreground, 0 of nothing."""
    if are_many_slices(maps):
        return torch.cat([_unit_sum(*pair) for pair in a_few_each(maps, foreground)])
    inside = maps.double() * foreground
    sums = inside.abs().flatten(1).sum(1).reshape(-1, *(1,) * (maps.ndim - 1))
    return torch.where(sums > 0, inside / sums.clamp_min(torch.finfo(sums.dtype).tiny), 0.0)
