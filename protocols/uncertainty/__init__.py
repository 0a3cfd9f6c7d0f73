"""Are maps unstable where the model is uncertain?"""

from protocols.uncertainty.protocol import Uncertainty
from protocols.uncertainty.statistics import UncertaintyConfig

__all__ = ["Uncertainty", "UncertaintyConfig"]
