"""The network in parts, and copies of it: streamlined, randomised, rewritten."""

from benchmark.classifier.network import Classifier, GlobalAveragePool, Preprocessing, Stage
from benchmark.classifier.passes import PassCounter, PrefixMemory

__all__ = [
    "Classifier",
    "GlobalAveragePool",
    "PassCounter",
    "PrefixMemory",
    "Preprocessing",
    "Stage",
]
