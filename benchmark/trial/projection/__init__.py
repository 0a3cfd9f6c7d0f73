"""The scalar that separates the groups, the same for every image, and signed maps of it."""

from benchmark.trial.projection.group_axis import GroupAxis, group_axis
from benchmark.trial.projection.signed_maps import SignedMaps, signed_maps

__all__ = ["GroupAxis", "SignedMaps", "group_axis", "signed_maps"]
