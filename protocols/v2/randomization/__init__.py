"""Does the map depend on what the model has learned, in its ranks and in its top?"""

from protocols.v2.randomization.protocol import Randomization
from protocols.v2.randomization.statistics import RandomizationConfig

__all__ = ["Randomization", "RandomizationConfig"]
