"""Estimated marginal means and trends of a fit.

The mean of a group that may not exist in the data: the prediction for the population
at each row of a reference grid, averaged over the variables that are not asked for
(Searle, Speed & Milliken 1980, Am. Stat. 34:216, doi:10.1080/00031305.1980.10483031).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError
from lme.formula.predictors import Predictor
from lme.formula.syntax import variables_of
from lme.inference.hypotheses.ddf import Denominator
from lme.inference.marginal.contrast_families import read_contrasts
from lme.inference.marginal.estimability import basis, weighted
from lme.inference.marginal.estimation import MarginalMeans, check_level, check_type
from lme.inference.marginal.reference_grid import (
    ReferenceGrid,
    check_predictor,
    level_values,
    predictors_of,
    reference_grid,
)
from lme.inference.marginal.response_scale import (
    TRANSFORMATIONS,
    response_function,
    response_scale,
)
from lme.inference.marginal.specs import averaging, check_specs, read_specs
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: Half the width of a difference quotient, relative to the range of the variable.
_STEP = 5e-4


class MeansAndContrasts(NamedTuple):
    """What ``"pairwise ~ a"`` asks for: means, and contrasts of them."""

    emmeans: MarginalMeans
    contrasts: MarginalMeans

    def __repr__(self) -> str:
        return f"{self.emmeans!r}\n\n{self.contrasts!r}"

    def _repr_html_(self) -> str:
        return self.emmeans._repr_html_() + self.contrasts._repr_html_()


@dataclass(frozen=True)
class MarginalOptions:
    """What is common to means and trends.

    Attributes
    ----------
    by : str, sequence of str or None
        Variables whose levels form groups.
    at : mapping or None
        Values of numbers and levels of factors.
    type : {"link", "response"}
        Scale of the linear predictor, or of the response.
    weights : str
        How levels are averaged, a key of `WEIGHTS`.
    level : float
        Coverage of intervals.
    offset : float or None
        In place of the mean offset of the data.
    """

    by: str | Sequence[str] | None = None
    at: Mapping[str, Any] | None = None
    type: str = "link"
    weights: str = "equal"
    level: float = 0.95
    offset: float | None = None


def emmeans(
    fit: MixedFit,
    specs: str | Sequence[str],
    method: Denominator,
    options: MarginalOptions,
) -> MarginalMeans | MeansAndContrasts:
    """Estimated marginal means.

    Parameters
    ----------
    fit : Fit or GLMMFit
        Made with a formula.
    specs : str or sequence of str
        Variables of the fixed part: a name, names, or ``"~ a | b"``; with contrasts
        in front, as in ``"pairwise ~ a"``, those come too.
    method : Denominator
        Covariance and degrees of freedom.
    options : MarginalOptions

    Raises
    ------
    OptionError
        For unknown variables, levels, weights and scales.
    DesignError
        For a model that was made from arrays.
    """
    contrasts, names, groups = read_specs(specs, options.by)
    grid = reference_grid(fit.design, options.at)
    check_specs(grid, names, groups)
    if contrasts:
        read_contrasts(contrasts, ["a", "b"])
    check_scale(fit, options.type)
    W = averaging(grid, [*names, *groups], options.weights)
    means = MarginalMeans(
        labels=_labels(grid, [*names, *groups]),
        L=weighted(W, grid.matrix()),
        constant=np.full(len(W), mean_offset(fit, options.offset)),
        basis=basis(fit, method),
        kind="means",
        name="emmean",
        by=tuple(groups),
        scale=response_scale(fit),
        type=options.type,
        averaged=describe(grid, [*names, *groups], options.weights),
        level=check_level(options.level),
        notes=_notes(fit, grid, [*names, *groups]),
    )
    if contrasts:
        return MeansAndContrasts(means, means.contrast(contrasts))
    return means


def emtrends(
    fit: MixedFit,
    specs: str | Sequence[str],
    var: str,
    method: Denominator,
    options: MarginalOptions,
) -> MarginalMeans | MeansAndContrasts:
    """Slopes of a numeric variable, averaged over a reference grid.

    Parameters
    ----------
    fit, specs, method, options
        As for `emmeans`.
    var : str
        The variable.

    Notes
    -----
    A central difference over a thousandth of the variable's range, at its mean or at
    the values in ``at``; exact where the variable enters linearly. With
    ``type="response"`` it is the slope of the mean, by the delta method.
    """
    contrasts, names, groups = read_specs(specs, options.by)
    grid = reference_grid(fit.design, options.at)
    check_specs(grid, names, groups)
    if contrasts:
        read_contrasts(contrasts, ["a", "b"])
    check_scale(fit, options.type)
    one = _sloped(fit, var)
    h = _STEP * (one.high - one.low)
    above, below = grid.matrix({var: h}), grid.matrix({var: -h})
    L, constant = (above - below) / (2.0 * h), np.zeros(len(above))
    scale = response_scale(fit)
    kept = basis(fit, method).kept
    notes = list(_notes(fit, grid, [*names, *groups]))
    if scale is not None and options.type == "response":
        offset = mean_offset(fit, options.offset)
        ends = [X[:, kept] @ method.beta + offset for X in (above, below)]
        slopes = [scale.link.first(eta)[:, None] for eta in ends]
        L = (slopes[0] * above - slopes[1] * below) / (2.0 * h)
        rise = (scale.link.mean(ends[0]) - scale.link.mean(ends[1])) / (2.0 * h)
        constant = rise - L[:, kept] @ method.beta
        notes.append("Slopes are of the response.")
    elif scale is not None:
        notes.append(f"Slopes are on the {scale.name} scale.")
    W = averaging(grid, [*names, *groups], options.weights)
    trends = MarginalMeans(
        labels=_labels(grid, [*names, *groups]),
        L=weighted(W, L),
        constant=np.nan_to_num(W) @ constant,
        basis=basis(fit, method),
        kind="trends",
        name=f"{var}.trend",
        by=tuple(groups),
        averaged=describe(grid, [*names, *groups], options.weights),
        level=check_level(options.level),
        notes=tuple(notes),
    )
    if contrasts:
        return MeansAndContrasts(trends, trends.contrast(contrasts))
    return trends


def _sloped(fit: MixedFit, var: str) -> Predictor:
    """The variable of trends, which has to be numeric and to vary."""
    known = predictors_of(fit.design)
    numeric = [one.name for one in known.variables if one.is_numeric]
    if var in known.names and var not in numeric:
        raise OptionError(
            f"var={var!r} is a factor, which has no slope.",
            f"Numeric variables are {', '.join(map(repr, numeric)) or 'none'}.",
            "Use emmeans for factors.",
        )
    check_predictor(var, numeric, "var")
    one = known[var]
    if not one.high > one.low:
        raise OptionError(f"{var!r} is the same in all rows.", "It must vary.")
    return one


def check_scale(fit: MixedFit, type: str) -> None:
    """Refuse an unknown scale, and a response whose way back is not known."""
    check_type(type)
    if not fit.beta.size:
        raise OptionError(
            "The model has no fixed effects.", "Marginal means are made of them."
        )
    name = response_function(fit)
    if type == "response" and name and name not in TRANSFORMATIONS:
        raise OptionError(
            f"The way back from {fit.design.y_name} is not known.",
            f"It is for {', '.join(TRANSFORMATIONS)}.",
            "Use type='link', and transform the estimates yourself.",
        )


def mean_offset(fit: MixedFit, offset: float | None) -> float:
    """The offset asked for, or the mean of that of the data."""
    return predictors_of(fit.design).offset if offset is None else float(offset)


def _labels(grid: ReferenceGrid, wanted: list[str]) -> pd.DataFrame:
    """Values of the variables that stay, the first running fastest."""
    chosen = [grid.predictors[grid.names.index(name)] for name in wanted]
    sizes = [len(one.labels) for one in chosen]
    index = np.arange(int(np.prod(sizes, dtype=np.int64)))
    columns: dict[str, list[Any]] = {}
    for one, size in zip(chosen, sizes, strict=True):
        values = level_values(one)
        columns[one.name] = [values[i] for i in index % size]
        index = index // size
    rows = 1 if not wanted else None
    return pd.DataFrame(columns, index=None if rows is None else pd.RangeIndex(rows))


def describe(grid: ReferenceGrid, wanted: list[str], weights: str) -> str:
    """What was averaged over and with which weights, and where numbers are held."""
    others = [one for one in grid.predictors if one.name not in wanted]
    averaged = [one.name for one in others if len(one.labels) > 1]
    held = [f"{one.name} = {_short(one)}" for one in others if len(one.labels) == 1]
    parts = []
    if averaged:
        parts.append(f"averaged over {', '.join(averaged)} ({weights} weights)")
    if held:
        parts.append(f"at {', '.join(held)}")
    return "; ".join(parts)


def _short(one: Predictor) -> str:
    """The only value of a predictor as text."""
    value = level_values(one)[0]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _notes(fit: MixedFit, grid: ReferenceGrid, wanted: list[str]) -> tuple[str, ...]:
    """A transformed response, and averages over what interacts with what stays."""
    notes = []
    name = response_function(fit)
    if name and name not in TRANSFORMATIONS:
        notes.append(f"Estimates are of {fit.design.y_name}.")
    recipe = fit.design.recipe
    varied = {one.name for one in grid.predictors if len(one.labels) > 1}
    factors = {one.name for one in grid.predictors if one.is_factor}
    lost = (varied - set(wanted)) & factors
    for block in recipe.plan.blocks if recipe is not None else ():
        inside = {name for i, _ in block for name in recipe_names(fit, i)}
        if inside & lost and inside & set(wanted):
            both = ", ".join(sorted(inside & lost))
            notes.append(
                f"Averages may mislead: {both} is averaged over, and interacts with "
                f"{', '.join(sorted(inside & set(wanted)))}."
            )
            break
    return tuple(notes)


def recipe_names(fit: MixedFit, i: int) -> list[str]:
    """Variables inside the i-th expression of the fixed part."""
    recipe = fit.design.recipe
    assert recipe is not None
    return [name.name for name in variables_of(recipe.terms.nodes[i])]
