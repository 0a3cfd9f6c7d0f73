"""Do methods agree, and which one predicts the change of the group statistic?"""

from protocols.agreement.protocol import Agreement
from protocols.agreement.statistics import AgreementConfig

__all__ = ["Agreement", "AgreementConfig"]
