"""Which concepts drive the separation of the groups?"""

from protocols.concepts.protocol import Concepts
from protocols.concepts.statistics import ConceptsConfig

__all__ = ["Concepts", "ConceptsConfig"]
