"""What a model loses when a random-effects term is reduced or left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.formula.design import Design, RandomTerm
from lme.formula.matrices import Plan
from lme.formula.syntax import deparse
from lme.inference.comparison.candidates import (
    Candidate,
    candidate,
    without_random_effects,
)
from lme.inference.comparison.deletion import (
    FULL,
    Deletions,
    fitted,
    has_containing,
    is_full,
    needs_intercept,
    reduction_test,
)
from lme.inference.comparison.likelihood_ratios import (
    CHIBAR,
    CHISQ,
    RatioTest,
    method_lines,
    method_of,
    reader_notes,
)
from lme.inference.held_elements import refuse_held
from lme.inference.working import MixedFit

Index = NDArray[np.intp]


def ranova(
    fit: MixedFit,
    *,
    reduce_terms: bool = True,
    test: str = "chisq",
    nsim: int | None = None,
    seed: Any = None,
) -> Deletions:
    """Likelihood-ratio tests of the random-effects terms, each reduced in turn.

    Parameters
    ----------
    fit : Fit or GLMMFit
        The criterion of the fit, REML or not, is kept.
    reduce_terms : bool
        Take the parts of the left side of a bar one by one, so that ``(x | g)``
        becomes ``(1 | g)``; otherwise leave out whole terms.
    test : {"chisq", "boot", "exact"}
        Null distribution; see `lme.anova`.
    nsim, seed : optional
        Of "boot" and "exact".

    Returns
    -------
    Deletions
        Columns ``npar``, ``logLik``, ``AIC``, ``LRT``, ``Df`` and ``Pr(>Chisq)`` as in
        lmerTest, and ``Pr(>Chibarsq)`` for variances on their boundary.

    Raises
    ------
    FitError
        If the data of the fit were removed, and for the exact test where the reduced
        model lacks more than a variance.
    OptionError
        For an unknown test.

    Notes
    -----
    Within a term marginality is obeyed, and an intercept is left out only with the
    whole term. A model without random effects is least squares, or a generalized
    linear model.
    """
    refuse_held(fit, "ranova", "Compare fits with anova.")
    method = method_of(test, nsim, seed)
    full = candidate(fit)
    rows = [(full.npar, -full.objective / 2, full.aic, *_NOTHING)]
    labels: list[str] = []
    tests: list[RatioTest] = []
    for label, terms in _reductions(fit.design, reduce_terms):
        small = _with_terms(fit, full, terms)
        found = reduction_test(small, full, method)
        rows.append(
            (
                small.npar,
                -small.objective / 2,
                small.aic,
                found.statistic,
                found.df,
                found.p,
                found.p_mixture,
                found.simulated,
            )
        )
        labels.append(label)
        tests.append(found)
    columns = ["npar", "logLik", "AIC", "LRT", "Df", CHISQ, CHIBAR, method.column]
    frame = pd.DataFrame(rows, index=[FULL, *labels], columns=columns)
    unwanted = [] if any(t.mixture for t in tests) else [CHIBAR]
    frame = frame.drop(columns=unwanted + ([] if method.column else [""]))
    return Deletions(
        frame,
        tuple(method_lines(labels, tests, method, full.reml)),
        tuple(reader_notes(tests)),
        "Single term deletions of random effects",
        fit.design.expanded,
    )


_NOTHING = (np.nan,) * 5


def _with_terms(
    fit: MixedFit, full: Candidate, terms: Sequence[RandomTerm]
) -> Candidate:
    if not any(term.values.shape[1] for term in terms):
        return without_random_effects(full)
    design = replace(fit.design, terms=tuple(terms))
    return candidate(fitted(fit, design, fit.reml))


def _reductions(
    design: Design, reduce_terms: bool
) -> list[tuple[str, list[RandomTerm]]]:
    """Labels, and the random terms that are left."""
    found = []
    for i in _order(design):
        term = design.terms[i]
        if not term.values.shape[1]:
            continue
        text = _typed(design, i)
        parts = _parts(design, i) if reduce_terms else []
        rest = list(design.terms)
        if not parts:
            found.append((text, [*rest[:i], *rest[i + 1 :]]))
            continue
        for part, columns in parts:
            smaller = _restricted(term, columns)
            found.append((f"{part} in {text}", [*rest[:i], *smaller, *rest[i + 1 :]]))
    return found


def _order(design: Design) -> list[int]:
    """Positions of the terms as the formula has them."""
    every = list(range(len(design.terms)))
    if design.recipe is None:
        return every
    written = list(design.recipe.formula.bars)
    bars = [part.bar for part in design.recipe.random]
    return sorted(every, key=lambda i: written.index(bars[i]))


def _typed(design: Design, i: int) -> str:
    """The text of a term: as in the formula, or by its columns."""
    term = design.terms[i]
    if design.recipe is None:
        inner = f"({' + '.join(term.columns)} | {term.group})"
        return inner if term.structure == "us" else f"{term.structure}{inner}"
    bar = design.recipe.random[i].bar
    inner = f"({deparse(bar.left)} | {term.group})"
    return inner if term.structure == "us" else f"{term.structure}{inner}"


def _parts(design: Design, i: int) -> list[tuple[str, Index]]:
    """Terms of the left side that may go, with the columns that stay.

    -1 stands for a column of ones that takes the place of indicators.
    """
    term = design.terms[i]
    if term.structure not in ("us", "diag", "homdiag"):
        # A pattern of correlations belongs to all of its columns.
        return []
    if design.recipe is None:
        every = np.arange(len(term.columns))
        # A constant column is an intercept, whatever its name.
        free = np.flatnonzero(np.ptp(term.values, axis=0) > 0)
        return [(term.columns[j], np.delete(every, j)) for j in free]
    plan = design.recipe.random[i].plan
    owner = np.asarray(plan.assign, dtype=int)
    found = []
    for k in range(1, len(plan.blocks) + 1):
        if has_containing(plan, k):
            continue
        left = np.flatnonzero(owner != k)
        alone = not left.size and is_full(plan, k)
        implied = needs_intercept(plan, k) or (alone and not plan.intercept)
        if implied and term.structure == "us":
            left = np.append(-1, left)
        label = ":".join(_variable(plan, j) for j, _ in plan.blocks[k - 1])
        found.append((label, left))
    return found


def _variable(plan: Plan, i: int) -> str:
    coding = plan.codings[i]
    assert coding is not None
    return coding.name


def _restricted(term: RandomTerm, columns: Index) -> list[RandomTerm]:
    """A term with some of its columns; nothing where none are left."""
    if not columns.size:
        return []
    ones = np.ones((len(term.values), 1))
    values = np.hstack([term.values, ones])
    names = np.array([*term.columns, "(Intercept)"], object)
    return [replace(term, values=values[:, columns], columns=tuple(names[columns]))]
