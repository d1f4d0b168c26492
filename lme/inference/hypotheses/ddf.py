"""Denominator degrees of freedom of t and F tests, by one of several methods.

Every method answers the same questions about a fit: which estimates and covariance it
tests with, how many degrees of freedom a hypothesis has, and how its F statistic is
scaled. A new method is a function and a row in `DDF_METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lme.errors import OptionError, near
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.inference.coverage import check_alpha
from lme.inference.hypotheses.containment import containment
from lme.inference.hypotheses.kenward_roger import kenward_roger
from lme.inference.hypotheses.satterthwaite import expected_seconds, satterthwaite
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


class Denominator(Protocol):
    """A method prepared for one fit."""

    @property
    def beta(self) -> Array:
        """Estimates, (p,)."""

    @property
    def covariance(self) -> Array:
        """Their covariance, (p, p)."""

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""

    @property
    def label(self) -> str:
        """The method's name in headers."""

    def df(self, L: Array) -> float:
        """Degrees of freedom of a hypothesis with independent rows (q, p)."""

    def scaling(self, L: Array) -> float:
        """Factor of its F statistic."""


@dataclass(frozen=True)
class Constant:
    """The same degrees of freedom for every hypothesis."""

    beta: Array
    covariance: Array
    sigma: float
    label: str
    value: float

    def df(self, L: Array) -> float:
        """The one value."""
        return self.value

    def scaling(self, L: Array) -> float:
        """Factor of the F statistic: 1."""
        return 1.0


def residual(fit: Fit) -> Constant:
    """``n - p``: right only where no variance of random effects matters."""
    covariance = fit.sigma**2 * fit.vcov_unscaled
    df = float(len(fit.design.index) - fit.beta.size)
    return Constant(fit.beta, covariance, fit.sigma, "residual", df)


def normal(fit: Fit) -> Constant:
    """Infinitely many: the normal and chi-square distributions."""
    covariance = fit.sigma**2 * fit.vcov_unscaled
    return Constant(fit.beta, covariance, fit.sigma, "normal", np.inf)


DDF_METHODS: dict[str, Callable[[Fit], Denominator]] = {
    "satterthwaite": satterthwaite,
    "kenward-roger": kenward_roger,
    "containment": containment,
    "residual": residual,
    "z": normal,
}
"""Methods by name, each a function of a fit."""
DATA_FREE = ("residual", "z")
"""Methods that need no rows of data, nor their cross-products."""
ROWS_NEEDED = ("containment",)
"""Methods that need the rows themselves."""
LIMIT_SECONDS = 60.0
"""Expected time of Satterthwaite's Hessian from which it is not the default."""


def default_method(fit: MixedFit) -> str:
    """The key in `DDF_METHODS` of tests for which no method is named.

    Satterthwaite's for a linear mixed model, or "z" where it would take longer than
    `LIMIT_SECONDS`; "z" for a generalized one.
    """
    if isinstance(fit, GLMMFit) or expected_seconds(fit) > LIMIT_SECONDS:
        return "z"
    return "satterthwaite"


def is_too_large(fit: MixedFit, default: str) -> bool:
    """Whether a linear model has its default tests by z for its size only."""
    return default == "z" and not isinstance(fit, GLMMFit)


def method_name(fit: MixedFit, ddf: str) -> str:
    """The key in `DDF_METHODS`, checked; ``"Kenward-Roger"`` is understood.

    Raises
    ------
    OptionError
        For an unknown method, or one that a generalized model does not have.
    """
    name = ddf.lower() if isinstance(ddf, str) else ddf
    if name not in DDF_METHODS:
        raise OptionError(
            f"ddf={ddf!r} is not known.",
            f"It must be one of {', '.join(map(repr, DDF_METHODS))}.",
            near(str(name), DDF_METHODS),
        )
    if isinstance(fit, GLMMFit) and name != "z":
        raise OptionError(
            f"ddf={ddf!r} is for linear mixed models.",
            "Tests of a generalized model use the normal distribution.",
            "Use ddf='z'.",
        )
    return name


def independent(method: Denominator, L: Array) -> tuple[Array, Array, Array]:
    """A hypothesis by uncorrelated, independent rows.

    Returns
    -------
    rows : (r, p) array
        Combinations of the rows of L, r its rank.
    turn : (q, r) array
        ``rows = turn' L``.
    variances : (r,) array
        Of the estimates ``rows @ beta``.
    """
    V = L @ method.covariance @ L.T
    scale = np.sqrt(np.maximum(V.diagonal(), np.finfo(float).tiny))
    share = np.linalg.eigvalsh(V / np.outer(scale, scale))
    rank = int((share > 1e-8 * max(float(share.max()), 0.0)).sum())
    values, vectors = np.linalg.eigh(V)
    keep = slice(len(V) - rank, None)
    return vectors[:, keep].T @ L, vectors[:, keep], values[keep]


def f_test(
    method: Denominator, L: Array, values: Array | float = 0.0
) -> tuple[float, int, float, float]:
    """F statistic, its two degrees of freedom, and p of ``L beta = values``."""
    if not L.any(axis=1).all():
        raise OptionError(
            "A row of the hypothesis is zero.", "Each row needs a coefficient."
        )
    rows, turn, variances = independent(method, L)
    estimates = rows @ method.beta - turn.T @ np.broadcast_to(values, len(L))
    F = float(np.mean(estimates**2 / variances)) * method.scaling(rows)
    df = method.df(rows)
    p = stats.chi2.sf(F * len(rows), len(rows))
    if not np.isinf(df):
        p = stats.f.sf(F, len(rows), df)
    return F, len(rows), df, float(p)


def t_tests(
    method: Denominator,
    L: Array,
    values: Array | float = 0.0,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """A test and an interval for each row of ``L beta = values``.

    Returns
    -------
    DataFrame
        Columns ``estimate``, ``se``, ``df``, ``t``, ``p``, ``lower``, ``upper``; with
        the normal distribution ``z`` in place of ``t``, and df infinite.
    """
    alpha = check_alpha(alpha)
    estimate = L @ method.beta
    se = np.sqrt(np.einsum("qi,ij,qj->q", L, method.covariance, L))
    df = np.array([method.df(row[None]) if row.any() else np.nan for row in L])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (estimate - values) / se
    # scipy's t distribution takes infinitely many degrees of freedom for the normal.
    half = stats.t.isf(alpha / 2, df) * se
    return pd.DataFrame(
        {
            "estimate": estimate,
            "se": se,
            "df": df,
            "z" if method.label == "normal" else "t": t,
            "p": 2.0 * stats.t.sf(np.abs(t), df),
            "lower": estimate - half,
            "upper": estimate + half,
        }
    )


def f_frame(
    method: Denominator, hypotheses: list[tuple[str, Array, Array | float]]
) -> pd.DataFrame:
    """Joint tests, a row each, under the names of R's tables.

    Returns
    -------
    DataFrame
        Columns ``Sum Sq`` and ``Mean Sq`` (F times the residual variance), ``NumDF``,
        ``DenDF``, ``F value`` and ``Pr(>F)``.
    """
    found = [f_test(method, L, values) for _, L, values in hypotheses]
    F = np.array([row[0] for row in found])
    q = np.array([row[1] for row in found], dtype=int)
    return pd.DataFrame(
        {
            "Sum Sq": F * q * method.sigma**2,
            "Mean Sq": F * method.sigma**2,
            "NumDF": q,
            "DenDF": np.array([row[2] for row in found], dtype=float),
            "F value": F,
            "Pr(>F)": np.array([row[3] for row in found], dtype=float),
        },
        index=[label for label, _, _ in hypotheses],
    )
