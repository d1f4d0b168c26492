"""Lines of a diagnosis on rows: search, residuals, predictors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, ndtr, stdtr

from lme.errors import ConvergenceWarning
from lme.generalized import GLMMFit
from lme.inference.diagnostics.assumptions import (
    Check,
    correlation,
    follows_rows,
    normality,
    ranks,
    worst,
)
from lme.inference.diagnostics.residuals import residuals, standard_residuals
from lme.inference.estimates import coefficient_names
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: Rows, and rows of a group, below which residuals say little.
_FEW_ROWS, _FEW_IN_GROUP = 20, 4


def standard_scores(fit: MixedFit, seed: Any) -> Array:
    """Residuals given the random effects, standard normal under the model, (n,)."""
    if isinstance(fit, GLMMFit):
        kind = "marginal" if follows_rows(fit) else "conditional"
        return residuals(fit, kind, "quantile", True, seed=seed)
    if fit.sigma == 0:
        return np.zeros(fit.design.nobs)
    return standard_residuals(fit)


def convergence(fit: MixedFit) -> Check:
    """Whether the search ended at an optimum, inside."""
    verdict = fit.convergence
    grave = not verdict.converged or not verdict.unique
    said = [str(w) for w in fit.warnings if isinstance(w, ConvergenceWarning)]
    finding = said[0] if said else verdict.message
    further = ""
    if said or grave or verdict.singular:
        further = "res.convergence; res.rePCA()"
    return Check(
        "convergence",
        "promised decrease",
        verdict.decrease,
        worst(bool(said) or grave or verdict.singular, bool(said) or grave),
        finding,
        further,
    )


def row_normality(fit: MixedFit, scores: Array) -> Check:
    """Distribution of the residuals."""
    general = isinstance(fit, GLMMFit)
    name = "residuals: distribution" if general else "residuals: normal"
    known = scores[np.isfinite(scores)]
    plot = (
        "res.residuals(type='quantile'); another family or link, a missing predictor"
        if general
        else "res.plot_qq(); a transformed response, or outlying rows"
    )
    return normality(name, known, _FEW_ROWS, "rows", plot)


def spread_and_fit(fit: MixedFit, scores: Array) -> list[Check]:
    """Whether the residuals spread more where fitted values are large."""
    mu = fit.mu
    n = mu.size
    if n < 5 or np.ptp(mu) == 0.0:
        return []
    size = np.abs(scores)
    rho = correlation(ranks(size), ranks(mu))
    t = abs(rho) * math.sqrt((n - 2) / max(1.0 - rho**2, 1e-12))
    p = 2.0 * float(stdtr(n - 2, -t))
    low, high = np.quantile(mu, [1 / 3, 2 / 3])
    upper, lower = (
        math.sqrt(float(np.mean(scores[side] ** 2))) for side in (mu >= high, mu <= low)
    )
    bad = p < 0.01 and abs(rho) > 0.1
    finding = f"rank correlation of |residual| and fitted value {rho:.2f} (p = {p:.2g})"
    if lower > 0:
        finding += (
            f"; spread in the upper third of fitted values {upper / lower:.2f} times "
            "that in the lower"
        )
    if n < _FEW_ROWS:
        finding += f". With {n} rows a test has no power"
    return [
        Check(
            "residuals: spread",
            "rank correlation",
            rho,
            worst(bad, abs(rho) > 0.3),
            finding,
            "res.plot_resid(); a log response, or weights" if bad else "",
        )
    ]


def spread_between_groups(fit: MixedFit, scores: Array) -> list[Check]:
    """Whether groups differ in the spread of their residuals (Brown-Forsythe)."""
    for name, factor in fit.design.flist.items():
        count = np.bincount(factor.codes, minlength=len(factor.levels))
        # Of the factors with rows enough, the finest says most.
        if len(factor.levels) > 1 and np.median(count) >= _FEW_IN_GROUP:
            return [_spread(name, factor.codes, count, scores)]
    return []


def _spread(
    name: str, codes: NDArray[np.intp], count: NDArray[np.intp], scores: Array
) -> Check:
    order = np.lexsort((scores, codes))
    last = np.cumsum(count)
    first = last - count
    ordered = scores[order]
    middle = first + np.maximum(count - 1, 0) // 2
    median = 0.5 * (ordered[middle] + ordered[first + count // 2 - (count == 0)])
    distance = np.abs(scores - median[codes])
    groups, n = count.size, scores.size
    means = np.bincount(codes, distance) / np.maximum(count, 1)
    between = float(count @ (means - distance.mean()) ** 2) / (groups - 1)
    within = float(((distance - means[codes]) ** 2).sum()) / (n - groups)
    F = between / within if within > 0 else 0.0
    p = float(fdtrc(groups - 1, n - groups, F))
    squares = np.bincount(codes, (scores - median[codes]) ** 2)
    spread = np.sqrt(squares[count > 1] / (count[count > 1] - 1))
    least, most = np.quantile(spread, [0.1, 0.9])
    ratio = most / least if least > 0 else np.inf
    bad = p < 0.01 and ratio > 2.0
    return Check(
        f"residuals: spread by {name}",
        "Brown-Forsythe F",
        F,
        worst(bad, p < 1e-4 and ratio > 3.0),
        f"F = {F:.2f} (p = {p:.2g}); spread of the 90th percentile of groups "
        f"{ratio:.1f} times that of the 10th",
        f"res.plot_resid(); residuals by {name}: weights, or groups to check"
        if bad
        else "",
    )


def outlying_rows(fit: MixedFit, scores: Array) -> Check:
    """Rows with residuals that a sample of this size should not have."""
    n = scores.size
    at = int(np.argmax(np.abs(scores)))
    largest = float(np.abs(scores[at]))
    p = min(1.0, 2.0 * n * float(ndtr(-largest)))
    beyond = int((np.abs(scores) > 3.0).sum())
    expected = 2.0 * n * float(ndtr(-3.0))
    bad = p < 0.05
    label = fit.design.index[at]
    return Check(
        "residuals: outlying rows",
        "largest |residual|",
        largest,
        worst(bad, p < 1e-6),
        f"{beyond} beyond 3 standard deviations, {expected:.1f} expected; largest "
        f"{largest:.2f} (row {label}, p = {p:.2g} among {n:,})",
        "res.get_influence() for what the rows change" if bad else "",
    )


def collinearity(fit: MixedFit) -> list[Check]:
    """Condition number of the predictors, scaled, and centred beside a constant."""
    names = np.array(coefficient_names(fit))
    X, done = fit.X, "scaled"
    if X.shape[1]:
        ones = np.ones(len(X))
        left = ones - X @ np.linalg.lstsq(X, ones, rcond=None)[0]
        if float(left @ left) < 1e-8 * len(X):
            X, done = X - X.mean(axis=0), "centred and scaled"
    length = np.sqrt((X**2).sum(axis=0))
    varying = length > 1e-10 * np.sqrt((fit.X**2).sum(axis=0))
    X, names = X[:, varying] / length[varying], names[varying]
    if X.shape[1] < 2:
        return []
    values, vectors = np.linalg.eigh(X.T @ X)
    number = math.sqrt(float(values[-1]) / max(float(values[0]), 1e-300))
    # The direction that varies least is the combination that is nearly constant.
    together = names[np.argsort(-np.abs(vectors[:, 0]))[:2]]
    bad = number >= 10.0
    return [
        Check(
            "collinearity",
            "condition number",
            number,
            worst(bad, number >= 30.0),
            f"condition number {number:.1f} of the {done} predictors",
            f"res.vif(); {together[0]} and {together[1]} go together" if bad else "",
        )
    ]
