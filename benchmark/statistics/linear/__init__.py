"""Linear models over subjects: designs, permutation tests, partial correlations, regressions."""

from benchmark.statistics.linear.design import (
    COVARIATES,
    Design,
    SubjectMeans,
    complete_rows,
    nuisance_design,
)
from benchmark.statistics.linear.freedman_lane import (
    PermutationTest,
    VoxelTest,
    correlation_test,
    draw_permutations,
    voxelwise_test,
)
from benchmark.statistics.linear.partial_correlation import PartialCorrelation, fisher_mean

__all__ = [
    "COVARIATES",
    "Design",
    "PartialCorrelation",
    "PermutationTest",
    "SubjectMeans",
    "VoxelTest",
    "complete_rows",
    "correlation_test",
    "draw_permutations",
    "fisher_mean",
    "nuisance_design",
    "voxelwise_test",
]
