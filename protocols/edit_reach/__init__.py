"""How far can an edit go that touches only what the map marks?"""

from protocols.edit_reach.protocol import EditReach
from protocols.edit_reach.statistics import EditReachConfig

__all__ = ["EditReach", "EditReachConfig"]
