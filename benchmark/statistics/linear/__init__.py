"""Linear models over subjects: designs, permutation tests, partial correlations, regressions."""

from benchmark.statistics.linear.design import (
    COVARIATES,
    Design,
    SubjectMeans,
    complete_rows,
    gaps,
    nuisance_design,
)
from benchmark.statistics.linear.enhancement import enhanced_test
from benchmark.statistics.linear.freedman_lane import (
    Permutations,
    PermutationTest,
    VoxelTest,
    correlation_test,
    draw_permutations,
    voxelwise_test,
)
from benchmark.statistics.linear.mediation import Mediation, mediate
from benchmark.statistics.linear.partial_correlation import PartialCorrelation, fisher_mean
from benchmark.statistics.linear.regression import (
    AT_BOUNDARY,
    SUPPORT,
    Regression,
    regress,
    regress_mixed,
)

__all__ = [
    "AT_BOUNDARY",
    "COVARIATES",
    "SUPPORT",
    "Design",
    "Mediation",
    "PartialCorrelation",
    "PermutationTest",
    "Permutations",
    "Regression",
    "SubjectMeans",
    "VoxelTest",
    "complete_rows",
    "correlation_test",
    "draw_permutations",
    "enhanced_test",
    "fisher_mean",
    "gaps",
    "mediate",
    "nuisance_design",
    "regress",
    "regress_mixed",
    "voxelwise_test",
]
