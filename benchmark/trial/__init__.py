"""Everything that a protocol sees of a run, each piece computed once and shared."""

from benchmark.trial.memory import ArrayArchive, Keeping, Memory, remembered
from benchmark.trial.models import RANDOM_COPIES, REESTIMATION_IMAGES
from benchmark.trial.needs import Memorised, Need, Retrained
from benchmark.trial.null_networks import LABEL_MODEL, NULL_COPIES, NullMaps, null_maps
from benchmark.trial.runtime import Peers, Runtime
from benchmark.trial.study import Study
from benchmark.trial.trial import Trial

__all__ = [
    "LABEL_MODEL",
    "NULL_COPIES",
    "RANDOM_COPIES",
    "REESTIMATION_IMAGES",
    "ArrayArchive",
    "Keeping",
    "Memorised",
    "Memory",
    "Need",
    "NullMaps",
    "Peers",
    "Retrained",
    "Runtime",
    "Study",
    "Trial",
    "null_maps",
    "remembered",
]
