"""What each group says by itself: estimates that no other group has a part in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.families.base import Family
from lme.families.negative_binomial import NegativeBinomial
from lme.generalized import GLMMFit
from lme.inference.measures.group_regression import (
    Regressions,
    groups_of,
    least_squares,
    scoring,
)
from lme.inference.modes import coefficients, random_effects
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

_BOUNDED = ("bernoulli", "binomial", "poisson", "negative_binomial")
_BOUND = 1e-6
"""Distance of a mean to its bound that counts as none."""
_FAR = 6.0
"""Interquartile ranges from the middle beyond which an estimate is out of sight."""


@dataclass(frozen=True)
class Shrinkage:
    """Coefficients of each level by itself, in the mixed model, and on average.

    Attributes
    ----------
    within, mixed : DataFrame
        A row a level, a column a random-effects column; `within` is NaN where a group
        does not determine a coefficient.
    population : Series
        Fixed effects of these columns, 0 where there is none.
    """

    within: pd.DataFrame
    mixed: pd.DataFrame
    population: pd.Series


def shrinkage(fit: MixedFit, group: str) -> Shrinkage:
    """Coefficients of the random columns of one factor, before and after pooling.

    Parameters
    ----------
    fit : Fit or GLMMFit
    group : str
        A grouping factor of the model.

    Notes
    -----
    The regression of the rows of a level on the random-effects columns of its factor,
    with all else held as the model has it: fixed effects of other columns, offset, and
    random effects of other factors. Of ``y ~ x + (x | g)`` this is the regression of y
    on x in each group.
    """
    design = fit.design
    own = [k for k, term in enumerate(design.terms) if term.group == group]
    modes = random_effects(fit)[group]
    names = list(modes.columns)
    fixed = coefficients(fit)[group][names] - modes
    held = np.zeros(design.nobs) if design.offset is None else design.offset.copy()
    kept = [design.column_names[i] for i in fit.kept_columns]
    rest = [j for j, name in enumerate(kept) if name not in names]
    held += fit.X[:, rest] @ fit.beta[rest]
    for k, term in enumerate(design.terms):
        if k not in own:
            held += np.einsum("np,np->n", term.values, fit.b[k][term.codes])
    Z = np.hstack([design.terms[k].values for k in own])
    found = regressions(fit, Z, held, group)
    beta = np.where(found.determined, found.beta, np.nan)
    beta[_infinite(fit, found, group)] = np.nan
    return Shrinkage(
        pd.DataFrame(beta, modes.index, names), modes + fixed, fixed.iloc[0]
    )


def default_group(fit: MixedFit) -> str:
    """The factor with most random-effects columns that has not a level for each row."""
    columns: dict[str, int] = {}
    for term in fit.design.terms:
        columns[term.group] = columns.get(term.group, 0) + len(term.columns)
    sizes = {name: len(factor.levels) for name, factor in fit.design.flist.items()}
    few = [name for name in columns if 2 * sizes[name] <= fit.design.nobs]
    return max(few or list(columns), key=lambda name: columns[name])


def _infinite(fit: MixedFit, found: Regressions, group: str) -> NDArray[np.bool_]:
    """Levels whose estimates grew until the means reached their bound."""
    factor = fit.design.flist[group]
    count = len(factor.levels)
    if not isinstance(fit, GLMMFit) or fit.family.name not in _BOUNDED:
        return np.zeros(count, dtype=bool)
    mean = fit.family.mean(found.eta)
    if fit.family.name in ("bernoulli", "binomial"):
        mean = np.minimum(mean, 1.0 - mean)
    at_bound = ~(mean > _BOUND)
    return np.bincount(factor.codes, at_bound, count) > 0


def regressions(fit: MixedFit, X: Array, held: Array, group: str) -> Regressions:
    """Regressions of the response on X (n, p) in each level, with an offset."""
    design = fit.design
    factor = design.flist[group]
    groups = groups_of(factor.codes, len(factor.levels))
    if not isinstance(fit, GLMMFit):
        return least_squares(design.y, X, groups, design.weights, held)
    family: Family = fit.family
    if family.extra == "theta":
        # Groups are too small to tell theta: that of the model stands for all.
        family = NegativeBinomial(fit.extra, family.link)
    with np.errstate(all="ignore"):
        return scoring(design.y, X, groups, design.weights, held, family)


def in_sight(values: Array, anchors: Array) -> tuple[float, float]:
    """A range for an axis: all anchors, and values that are not too far out.

    Parameters
    ----------
    values, anchors : arrays
        NaN are left out.
    """
    values = values[np.isfinite(values)]
    anchors = anchors[np.isfinite(anchors)]
    if values.size:
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        reach = _FAR * max(high - low, 1e-12)
        values = values[np.abs(values - middle) <= reach]
    every = np.concatenate([values, anchors])
    if not every.size:
        return 0.0, 1.0
    margin = 0.06 * float(np.ptp(every)) or 0.5
    return float(every.min()) - margin, float(every.max()) + margin
