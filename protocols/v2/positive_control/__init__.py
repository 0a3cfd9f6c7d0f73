"""Does the map find the mark that the network was taught to see?"""

from protocols.v2.positive_control.marks import BLUR, SHADE, Mark
from protocols.v2.positive_control.networks import TunedToMark

__all__ = ["BLUR", "SHADE", "Mark", "TunedToMark"]
