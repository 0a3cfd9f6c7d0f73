"""What a predictor adds to a regression on covariates: least squares, and random intercepts.

statsmodels fits; its warnings become a note, since a table is read where no terminal is.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from benchmark.arrays import FloatArray
from benchmark.errors import InputError
from benchmark.statistics.linear.design import Design

AT_BOUNDARY = "random intercept at its boundary"
"""Note of a mixed model that was fitted by least squares instead."""

SUPPORT = -4.0
"""ΔAIC below which a predictor counts as supported; it is below 0 in a sixth of null runs."""

_FITTED_ALONE = 1e-9  # 1 − leverage of a subject who is alone in a level
# Variance of the intercept in units of the residual's, below which none can be told from zero.
_SMALLEST_VARIANCE = 1e-4


@dataclass(frozen=True)
class Regression:
    """What a predictor adds to a design.

    Attributes:
        model: ``OLS``, or ``mixed`` with a random intercept.
        beta: Standardised coefficient: standard deviations of the outcome for one of the predictor.
        error: Standard error of ``beta``; HC3 for least squares, which holds where the spread
            differs between subjects (Long & Ervin 2000).
        p: Two-sided p of beta/error: of Student's t for least squares, of the normal for mixed.
        partial_r2: Share of what the design leaves that the predictor explains; None if mixed,
            where there is no single such share.
        gained_r2: R² with the predictor minus R² without; None if mixed.
        gained_aic: AIC with the predictor minus AIC without. It is no test.
        n: Number of rows.
        note: Reason why another model was fitted than was asked for; empty otherwise.
    """

    model: str
    beta: float
    error: float
    p: float
    partial_r2: float | None
    gained_r2: float | None
    gained_aic: float
    n: int
    note: str = ""


def regress(outcome: npt.ArrayLike, predictor: npt.ArrayLike, design: Design) -> Regression:
    """Return the least-squares regression of an outcome [n] on a predictor [n] and a design.

    Subjects who are alone in a level of a category are fitted exactly and left out; they change
    no coefficient and have no HC3. A predictor that the design explains adds nothing, with p = 1.

    Raises:
        InputError: If shapes do not fit.
    """
    # Late, since statsmodels takes more than a second to import.
    from statsmodels.regression.linear_model import OLS

    kept = 1 - design.leverages > _FITTED_ALONE
    matrix = design.matrix if kept.all() else scipy.linalg.orth(design.matrix[kept])
    y, x = (values[kept] for values in _standardised(outcome, predictor, design))
    if not np.any(design.residuals(predictor)) or not np.any(design.residuals(outcome)):
        return Regression("OLS", 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, len(y))
    reduced = OLS(y, matrix).fit()
    full = OLS(y, np.column_stack([matrix, x])).fit(cov_type="HC3", use_t=True)
    return Regression(
        model="OLS",
        beta=float(full.params[-1]),
        error=float(full.bse[-1]),
        p=float(full.pvalues[-1]),
        partial_r2=float(1 - full.ssr / reduced.ssr),
        gained_r2=float((reduced.ssr - full.ssr) / reduced.centered_tss),
        gained_aic=float(full.aic - reduced.aic),
        n=len(y),
    )


def regress_mixed(
    outcome: npt.ArrayLike,
    predictor: npt.ArrayLike,
    design: Design,
    clusters: Sequence[str] | Sequence[int],
) -> Regression:
    """Return the same with a random intercept for each cluster: a subject's visits, or a site.

    Coefficients are of restricted maximum likelihood, AIC of maximum likelihood, as models that
    differ in fixed effects need. Where a fit does not converge, or the intercepts' variance is at
    its boundary 0, the result is that of least squares with the note ``AT_BOUNDARY``: with no true
    differences between clusters that is most of the time.

    Args:
        outcome: [N] value of each row.
        predictor: [N] likewise.
        design: Design of what is given, a row for each of the N.
        clusters: [N] cluster of each row.

    Raises:
        InputError: If shapes do not fit.
    """
    fixed = regress(outcome, predictor, design)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    if len(codes) != len(design.matrix):
        raise InputError(f"Expected {len(design.matrix)} clusters but got {len(codes)}.")
    if fixed.error == 0:
        return replace(fixed, model="mixed", partial_r2=None, gained_r2=None)
    y, x = _standardised(outcome, predictor, design)
    matrix = np.column_stack([design.matrix, x])
    fit = _fit_intercepts(y, matrix, codes, restricted=True)
    likelihoods = [
        _fit_intercepts(y, columns, codes, restricted=False)
        for columns in (matrix, design.matrix)
        if fit is not None
    ]
    if fit is None or any(likelihood is None for likelihood in likelihoods):
        return replace(fixed, note=AT_BOUNDARY)
    beta, error, p, _ = fit
    with_predictor, without = (likelihood[3] for likelihood in likelihoods if likelihood)
    gained_aic = 2 - 2 * (with_predictor - without)
    return Regression("mixed", beta, error, p, None, None, gained_aic, len(y))


def _standardised(
    outcome: npt.ArrayLike, predictor: npt.ArrayLike, design: Design
) -> tuple[FloatArray, FloatArray]:
    standardised = []
    for values in (outcome, predictor):
        rows = np.asarray(values, dtype=np.float64)
        if rows.shape != (len(design.matrix),) or not np.isfinite(rows).all():
            raise InputError(
                f"Expected {len(design.matrix)} finite values but got shape {list(rows.shape)}."
            )
        deviation = float(rows.std(ddof=1))
        standardised.append((rows - rows.mean()) / (deviation if deviation > 0 else 1.0))
    return standardised[0], standardised[1]


def _fit_intercepts(
    outcome: FloatArray, matrix: FloatArray, clusters: npt.NDArray[np.intp], *, restricted: bool
) -> tuple[float, float, float, float] | None:
    """Return coefficient, error and p of the last column, and the log-likelihood; None if no fit.

    A second optimiser tries where the first does not converge.
    """
    # Late, since statsmodels takes more than a second to import.
    from statsmodels.regression.mixed_linear_model import MixedLM

    for method in (["bfgs", "lbfgs"], ["powell"]):
        # Warnings of non-convergence and of singular Hessians are what the result is checked for.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                fit = MixedLM(outcome, matrix, groups=clusters).fit(reml=restricted, method=method)
                numbers = (
                    float(fit.fe_params[-1]),
                    float(fit.bse_fe[-1]),
                    float(fit.pvalues[matrix.shape[1] - 1]),
                    float(fit.llf),
                )
                variance = float(fit.cov_re[0, 0] / fit.scale)
            except (np.linalg.LinAlgError, ValueError, ZeroDivisionError):
                continue
        if fit.converged:
            is_inside = np.isfinite(numbers).all() and variance > _SMALLEST_VARIANCE
            return numbers if is_inside else None
    return None
