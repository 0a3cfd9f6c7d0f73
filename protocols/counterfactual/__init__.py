"""How good is an edit that moves the model to the other group?"""

from protocols.counterfactual.protocol import Counterfactual
from protocols.counterfactual.statistics import CounterfactualConfig

__all__ = ["Counterfactual", "CounterfactualConfig"]
