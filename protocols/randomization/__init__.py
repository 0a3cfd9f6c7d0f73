"""Does the map depend on what the model has learned?"""

from protocols.randomization.protocol import Randomization
from protocols.randomization.statistics import RandomizationConfig

__all__ = ["Randomization", "RandomizationConfig"]
