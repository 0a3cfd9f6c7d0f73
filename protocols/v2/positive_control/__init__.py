"""Does the map find the mark that the network was taught to see?"""

from protocols.v2.positive_control.marks import BLUR, SHADE, Mark
from protocols.v2.positive_control.networks import TunedToMark
from protocols.v2.positive_control.protocol import PositiveControl
from protocols.v2.positive_control.statistics import PositiveControlConfig

__all__ = ["BLUR", "SHADE", "Mark", "PositiveControl", "PositiveControlConfig", "TunedToMark"]
