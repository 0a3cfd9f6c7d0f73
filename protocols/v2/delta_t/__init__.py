"""Does altering what the map marks move the group statistic, more than blind maps would?"""

from protocols.v2.delta_t.protocol import DeltaT
from protocols.v2.delta_t.statistics import DeltaTConfig

__all__ = ["DeltaT", "DeltaTConfig"]
