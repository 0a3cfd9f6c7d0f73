"""Where do the groups' explanations differ, and because of what was learned?"""

from protocols.group_maps.protocol import GroupMaps
from protocols.group_maps.statistics import GroupMapsConfig

__all__ = ["GroupMaps", "GroupMapsConfig"]
