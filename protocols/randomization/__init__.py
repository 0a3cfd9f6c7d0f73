"""Does the map depend on what the model has learned?"""

from protocols.randomization.protocol import Randomization, RandomizationConfig

__all__ = ["Randomization", "RandomizationConfig"]
