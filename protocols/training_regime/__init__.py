"""Does a frozen encoder with a linear probe give better explanations than fine-tuning?"""

from protocols.training_regime.protocol import TrainingRegime
from protocols.training_regime.statistics import TrainingRegimeConfig

__all__ = ["TrainingRegime", "TrainingRegimeConfig"]
