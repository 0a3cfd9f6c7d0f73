"""`complexity`: how spread out a map is."""

from protocols.complexity.protocol import Complexity, ComplexityConfig

__all__ = ["Complexity", "ComplexityConfig"]
