"""The network in parts, and copies of it: streamlined, randomised, rewritten."""

from benchmark.classifier.network import Classifier, GlobalAveragePool, Preprocessing
from benchmark.classifier.passes import PassCounter, PrefixMemory
from benchmark.classifier.redrawing import Stage

__all__ = [
    "Classifier",
    "GlobalAveragePool",
    "PassCounter",
    "PrefixMemory",
    "Preprocessing",
    "Stage",
]
