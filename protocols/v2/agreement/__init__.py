"""Does the map mark the cells that move the model, more than blind maps would?"""

from protocols.v2.agreement.protocol import Agreement
from protocols.v2.agreement.statistics import AgreementConfig

__all__ = ["Agreement", "AgreementConfig"]
