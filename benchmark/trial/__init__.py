"""Everything that a protocol sees of a run, each piece computed once and shared."""

from benchmark.trial.trial import (
    RANDOM_COPIES,
    REESTIMATION_IMAGES,
    ArrayArchive,
    Peers,
    Runtime,
    Trial,
)

__all__ = [
    "RANDOM_COPIES",
    "REESTIMATION_IMAGES",
    "ArrayArchive",
    "Peers",
    "Runtime",
    "Trial",
]
