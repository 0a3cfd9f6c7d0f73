"""What a network computes beside its weights, hashed: its layers, their settings, their code."""

from benchmark.classifier.architecture.code import architecture_sha256, network_sha256

__all__ = ["architecture_sha256", "network_sha256"]
