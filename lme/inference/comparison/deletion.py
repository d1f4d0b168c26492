"""What a model loses when one term of its mean is left out.

The reduced models are made from the columns of the full one, so that they have the same
rows whatever is missing in the variables of the term.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.engine.decompositions import find_dependent_columns
from lme.errors import LMEWarning
from lme.fit import fit_lmm
from lme.formula.design import Design
from lme.formula.matrices import Plan
from lme.generalized import GLMMFit, fit_glmm
from lme.inference.comparison.candidates import (
    Candidate,
    candidate,
    refitted,
)
from lme.inference.comparison.likelihood_ratios import (
    Method,
    RatioTest,
    method_lines,
    method_of,
    ratio_test,
    reader_notes,
)
from lme.inference.comparison.nesting import nesting
from lme.inference.hypotheses.ddf import Denominator, f_frame
from lme.inference.hypotheses.tables_of_tests import TableOfTests
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

FULL = "<none>"


@dataclass(frozen=True, repr=False)
class Deletions(TableOfTests):
    """A table of single-term deletions.

    Attributes
    ----------
    table : DataFrame
        A row for the full model, ``<none>``, and one for each term.
    methods, notes : tuples of str
        How each column of p-values was computed; what a reader has to know.
    title, formula : str
        What the table is; the full model.
    """

    title: str = ""
    formula: str = ""

    def heading(self) -> list[str]:
        """Lines above the table."""
        return [self.title, f"Model: {self.formula}"]


def drop1(
    fit: MixedFit, *, test: str = "chisq", nsim: int | None = None, seed: Any = None
) -> Deletions:
    """Likelihood-ratio tests of the fixed-effects terms, each left out in turn.

    Parameters
    ----------
    fit : Fit or GLMMFit
        A REML fit is refitted by maximum likelihood first.
    test : {"chisq", "boot"}
        Null distribution; see `lme.anova`.
    nsim, seed : optional
        Of the bootstrap.

    Returns
    -------
    Deletions
        Columns ``npar`` (parameters that the term takes), ``AIC``, ``LRT`` and
        ``Pr(Chi)`` as in lme4; with the bootstrap ``Pr(boot)``.

    Raises
    ------
    FitError
        If the data of the fit were removed.
    OptionError
        For an unknown test.

    Notes
    -----
    Marginality is obeyed: a term is left out only if no other term contains all of its
    variables.
    """
    method = method_of(test, nsim, seed)
    full = refitted(candidate(fit))
    rows, tests = [(np.nan, full.aic, np.nan, np.nan, np.nan)], []
    labels = []
    for label, reduced in _reduced_means(fit):
        small = candidate(fitted(fit, reduced, reml=False))
        found = reduction_test(small, full, method)
        rows.append((found.df, small.aic, found.statistic, found.p, found.simulated))
        labels.append(label)
        tests.append(found)
    columns = ["npar", "AIC", "LRT", "Pr(Chi)", method.column]
    frame = pd.DataFrame(rows, index=[FULL, *labels], columns=columns)
    if not method.column:
        frame = frame.drop(columns=method.column)
    chisq = "Pr(Chi): chi-square with npar"
    lines = method_lines(labels, tests, method, False, chisq)
    return Deletions(
        frame,
        tuple(lines),
        tuple(reader_notes(tests)),
        "Single term deletions",
        fit.design.expanded,
    )


def drop1_f(fit: MixedFit, method: Denominator) -> Deletions:
    """F tests of the same terms, without another fit.

    Parameters
    ----------
    fit : Fit or GLMMFit
    method : Denominator
        Estimates, their covariance and degrees of freedom.

    Returns
    -------
    Deletions
        Columns ``Sum Sq``, ``Mean Sq``, ``NumDF``, ``DenDF``, ``F value``, ``Pr(>F)``.
    """
    hypotheses: list[tuple[str, Array, Array | float]] = [
        (label, L, 0.0)
        for label, reduced in _reduced_means(fit)
        if (L := _hypothesis(fit.X, reduced.X)).size
    ]
    if method.label == "normal":
        how = "Wald test, infinite denominator degrees of freedom"
    else:
        how = f"F test, denominator degrees of freedom by {method.label}'s method"
    return Deletions(
        f_frame(method, hypotheses),
        (f"Pr(>F): {how}",),
        (),
        "Single term deletions",
        fit.design.expanded,
    )


def _hypothesis(X: Array, reduced: Array) -> Array:
    """L (q, p) with ``L beta = 0`` where ``X beta`` is in the span of `reduced`."""
    same = [any(np.array_equal(x, r) for r in reduced.T) for x in X.T]
    lost = np.flatnonzero(~np.array(same, dtype=bool))
    dependent = find_dependent_columns(reduced)
    if X.shape[1] - lost.size == reduced.shape[1] - dependent.size:
        # The coefficients themselves, each of which has a meaning.
        return np.asarray(np.eye(X.shape[1])[lost])
    basis = reduced[:, np.delete(np.arange(reduced.shape[1]), dependent)]
    basis = np.linalg.qr(basis)[0]
    left = X - basis @ (basis.T @ X)
    # What projection leaves of columns of unit length, up to rounding.
    size = np.sqrt((X**2).sum(axis=0))
    _, values, rows = np.linalg.svd(left / size, full_matrices=False)
    return np.asarray(rows[values > 1e-7] * size)


def _reduced_means(fit: MixedFit) -> list[tuple[str, Design]]:
    """The design without each term that may be left out."""
    design = fit.design
    owner = np.asarray(design.assign, dtype=int)
    plan = None if design.recipe is None else design.recipe.plan
    kept = set(fit.kept_columns.tolist())
    found = []
    for k, label in enumerate(design.term_labels, start=1):
        own = np.flatnonzero(owner == k)
        if not kept & set(own.tolist()) or (
            plan is not None and has_containing(plan, k)
        ):
            continue
        X = np.delete(design.X, own, axis=1)
        names = tuple(np.delete(np.array(design.column_names, object), own))
        left = tuple(int(j) for j in np.delete(owner, own))
        if plan is not None and needs_intercept(plan, k):
            X = np.column_stack([np.ones(len(X)), X])
            names, left = ("(Intercept)", *names), (0, *left)
        found.append((label, replace(design, X=X, column_names=names, assign=left)))
    return found


def has_containing(plan: Plan, k: int) -> bool:
    """Whether another term has all the variables of term k, and more."""
    own = {i for i, _ in plan.blocks[k - 1]}
    return any(own < {i for i, _ in block} for block in plan.blocks)


def needs_intercept(plan: Plan, k: int) -> bool:
    """Whether term k had the level of the mean, which another factor takes over.

    Without an intercept the first factor has an indicator for each level; when it goes
    the next has, with the same span as an intercept and contrasts.
    """
    if plan.intercept or not is_full(plan, k):
        return False
    return any(
        len(block) == 1 and _is_factor(plan, block[0][0])
        for j, block in enumerate(plan.blocks, start=1)
        if j != k
    )


def is_full(plan: Plan, k: int) -> bool:
    """Whether term k is a factor with an indicator for each level."""
    block = plan.blocks[k - 1]
    return len(block) == 1 and block[0][1]


def _is_factor(plan: Plan, i: int) -> bool:
    coding = plan.codings[i]
    return coding is not None and coding.levels is not None


def fitted(fit: MixedFit, design: Design, reml: bool) -> MixedFit:
    """The same kind of fit to another design, with the same options."""
    with warnings.catch_warnings():
        # The full model's fit has said what there is to say about the data.
        warnings.simplefilter("ignore", LMEWarning)
        if isinstance(fit, GLMMFit):
            return fit_glmm(design, fit.family, nAGQ=fit.nAGQ, **fit.options)
        return fit_lmm(design, reml=reml, **fit.options)


def reduction_test(small: Candidate, full: Candidate, method: Method) -> RatioTest:
    """The test of a reduced model; without p-values where it is no special case."""
    nested = nesting(small, full)
    if not nested:
        # Such as the indicators of a factor that overlap with another term's.
        return RatioTest(df=full.npar - small.npar)
    return ratio_test(small, full, nested, method)
