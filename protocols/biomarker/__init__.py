"""Does what a map puts on a structure tell its size, beyond what the output tells?"""

from protocols.biomarker.protocol import Biomarker
from protocols.biomarker.statistics import BiomarkerConfig

__all__ = ["Biomarker", "BiomarkerConfig"]
