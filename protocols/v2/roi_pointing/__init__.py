"""Does the map owe it to the network that it loads on anatomy which the network uses?"""

from protocols.v2.roi_pointing.protocol import RoiPointing
from protocols.v2.roi_pointing.statistics import RoiPointingConfig

__all__ = ["RoiPointing", "RoiPointingConfig"]
