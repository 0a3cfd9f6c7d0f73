"""Does the map follow the source when the task changes?"""

from protocols.known_source.networks import TunedToSource
from protocols.known_source.protocol import KnownSource
from protocols.known_source.statistics import KnownSourceConfig

__all__ = ["KnownSource", "KnownSourceConfig", "TunedToSource"]
