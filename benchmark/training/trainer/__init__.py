"""Training by regime: a fresh head alone, the last stage too, or everything."""

from benchmark.training.trainer.state import TrainingState
from benchmark.training.trainer.training import LARGEST_GAP, Listener, Trained, train

__all__ = ["LARGEST_GAP", "Listener", "Trained", "TrainingState", "train"]
