"""Corruption of a cohort in known places, as a positive control of one's own."""

from baselines.cohorts.corruption.corrupted import Corrupted, corrupt, draw_corrupted, only_group
from baselines.cohorts.corruption.kinds import KINDS, Corruption
from baselines.cohorts.corruption.map_tops import at_mean_top, at_own_tops, with_maps
from baselines.cohorts.corruption.sites import Sites, at_points, at_random, in_regions

__all__ = [
    "KINDS",
    "Corrupted",
    "Corruption",
    "Sites",
    "at_mean_top",
    "at_own_tops",
    "at_points",
    "at_random",
    "corrupt",
    "draw_corrupted",
    "in_regions",
    "only_group",
    "with_maps",
]
