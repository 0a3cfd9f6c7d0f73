"""Single layers of a network, computed faster without another bit."""

from benchmark.classifier.layers.max_pool import OWN_HOOKS, pool_channels_last

__all__ = ["OWN_HOOKS", "pool_channels_last"]
