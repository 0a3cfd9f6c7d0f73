"""Does the map find a signal that was planted?"""

from protocols.positive_control.protocol import PositiveControl
from protocols.positive_control.statistics import PositiveControlConfig

__all__ = ["PositiveControl", "PositiveControlConfig"]
