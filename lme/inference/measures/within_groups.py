"""A regression in each group by itself: what a mixed model shrinks from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lme.errors import DataWarning, FormulaError, OptionError
from lme.families import resolve
from lme.formula.design import build_design
from lme.formula.parser import parse
from lme.formula.syntax import Call, deparse, is_operator, unwrap
from lme.inference.measures.group_fits import WithinGroupFits
from lme.inference.measures.group_regression import groups_of, least_squares, scoring


def lmList(
    formula: str,
    data: Any,
    *,
    family: Any = None,
    link: Any = None,
    pool: bool = True,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: str = "omit",
    contrasts: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
) -> WithinGroupFits:
    """Fit the same regression in each group by itself.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days | Subject"``: a regression, a bar, and one grouping
        factor, which may be an interaction ``a:b``.
    data : DataFrame or mapping
        pandas, polars, pyarrow or any frame that narwhals reads; a dict of arrays.
    family, link : str or objects, optional
        As for `glmer`; by default least squares. Theta of a negative binomial must be
        given.
    pool : bool
        Use one residual standard deviation for all groups in standard errors and
        intervals; otherwise each group has its own.
    weights, offset, subset, na_action, contrasts, context
        As for `lmer`.

    Returns
    -------
    WithinGroupFits

    Raises
    ------
    FormulaError
        If the formula has no bar or more than one grouping factor.
    DataError, DataTypeError
        For data that cannot be used.

    Warns
    -----
    DataWarning
        If groups do not determine all coefficients, and if a fit does not converge.

    Notes
    -----
    Columns are coded for all groups together: contrasts, ``poly`` and ``scale`` mean
    the same in every group, and coefficients can be compared. Coefficients that the
    rows of a group do not determine are NaN. R's ``lmList`` codes each group by
    itself, sets dependent columns to zero and reports the others, whose meaning then
    differs from that in other groups; where groups determine everything both agree.

    Examples
    --------
    >>> import lme
    >>> from lme.inference.measures.within_groups import lmList
    >>> sleep = lme.datasets.load("sleepstudy")
    >>> fits = lmList("Reaction ~ Days | Subject", sleep)
    >>> fits.coef().head(3).round(3)
             (Intercept)    Days
    Subject
    308          244.193  21.765
    309          205.055   2.262
    310          203.484   6.115
    >>> round(fits.pooled_sd, 4), fits.df_resid
    (25.5918, 144)
    """
    text = _with_term(formula)
    if family is None and link is not None:
        raise OptionError(
            f"link={link!r} is given without a family.",
            "Least squares has no link.",
            "Pass family= too.",
        )
    chosen = None if family is None else resolve(family, link)
    if chosen is not None and chosen.extra == "theta":
        raise OptionError(
            "theta of the negative binomial is not known.",
            "Within groups it is not estimated.",
            "Pass family=lme.families.NegativeBinomial(theta).",
        )
    if chosen is not None and str(chosen) == "gaussian(identity)":
        chosen = None
    design = build_design(
        text,
        data,
        family=chosen,
        weights=weights,
        offset=offset,
        subset=subset,
        na_action=na_action,
        contrasts=contrasts,
        context=context,
    )
    if len(design.terms) != 1:
        raise FormulaError(
            f"{formula!r} has {len(design.terms)} grouping factors.",
            "Expected one, such as 'y ~ x | g' or 'y ~ x | a:b'.",
        )
    if chosen is not None:
        chosen.check_response(design.y, design.weights)
    term = design.terms[0]
    groups = groups_of(term.codes, len(term.levels))
    rows = (design.y, design.X, groups, design.weights, design.offset)
    found = least_squares(*rows) if chosen is None else scoring(*rows, chosen)
    fits = WithinGroupFits(replace(design, formula=formula), chosen, found, bool(pool))
    for note in fits.notes():
        warnings.warn(DataWarning(note), stacklevel=2)
    return fits


def _with_term(formula: str) -> str:
    """``y ~ x | g`` as a formula with the random term ``(1 | g)``."""
    tree = parse(formula) if isinstance(formula, str) else None
    if not (isinstance(tree, Call) and is_operator(tree, "~") and len(tree.args) == 2):
        raise _no_bar(formula)
    right = unwrap(tree.args[1])
    if not (isinstance(right, Call) and is_operator(right, "|")):
        raise _no_bar(formula)
    inner, group = right.args
    return f"{deparse(tree.args[0])} ~ {deparse(inner)} + (1 | {deparse(group)})"


def _no_bar(formula: Any) -> FormulaError:
    return FormulaError(
        f"{formula!r} is not a regression within groups.",
        "Expected 'y ~ x | g': a response, predictors, a bar, a grouping factor.",
        "A bar between parentheses, as in (x | g), is a random effect; use lmer.",
    )
