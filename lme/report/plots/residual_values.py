"""What figures of residuals show: values, names, and places along the axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.generalized import GLMMFit
from lme.inference.diagnostics.assumptions import follows_rows
from lme.inference.diagnostics.residuals import residuals, standard_residuals
from lme.inference.working import MixedFit
from lme.report.plots.curves import jitter as displaced
from lme.report.plots.variables import Variable, means_by

Array = NDArray[np.float64]


def residual_values(
    fit: MixedFit,
    kind: str,
    type: str | None,
    scaled: bool,
    standardize: str | None,
    *,
    seed: Any,
) -> tuple[Array, str]:
    """Residuals and what they are called."""
    general = isinstance(fit, GLMMFit)
    if general and type is None and standardize is None and kind != "random":
        type, scaled = "quantile", True
        if kind == "conditional" and follows_rows(fit):
            # Modes of single rows would take up what is to be seen.
            kind = "marginal"
    values = residuals(fit, kind, type, scaled, standardize=standardize, seed=seed)
    if type == "quantile":
        words = ["quantile"] if kind == "conditional" else [kind, "quantile"]
        return values, " ".join([*words, "residual"])
    words = [kind]
    if standardize is not None:
        words.append("standardized" if standardize == "leverage" else "whitened")
    elif type not in (None, "response"):
        words.append(str(type))
    words.append("residual")
    if scaled and standardize is None:
        words.append("over sigma")
    return values, " ".join(words)


def standard_values(fit: MixedFit, seed: Any) -> tuple[Array, str]:
    """Residuals that are standard normal under the model."""
    if isinstance(fit, GLMMFit):
        return residual_values(fit, "conditional", None, False, None, seed=seed)
    if fit.sigma == 0.0:
        return np.zeros(fit.design.nobs), "standardized residual"
    return standard_residuals(fit), "standardized residual"


def fitted_variable(fit: MixedFit, kind: str) -> Variable:
    """Fitted means, with or without random effects."""
    if kind != "marginal":
        # Of a generalized model on the linear scale: means crowd at their bounds.
        if isinstance(fit, GLMMFit):
            return Variable("linear predictor", fit.eta)
        return Variable("fitted value", fit.mu)
    offset = 0.0 if fit.design.offset is None else fit.design.offset
    eta = np.asarray(fit.X @ fit.beta + offset)
    name = (
        "population linear predictor" if isinstance(fit, GLMMFit) else "population mean"
    )
    return Variable(name, eta)


def placed(
    along: Variable, values: Array, jitter: bool | None
) -> tuple[Array, Variable]:
    """Where points stand, and the variable with its levels in order."""
    place = along.values
    distinct = np.unique(place)
    if along.is_factor:
        means = means_by(along.codes, values, len(along.levels))
        order = np.argsort(means, kind="stable")
        new = np.empty(order.size)
        new[order] = np.arange(order.size)
        levels = tuple(along.levels[i] for i in order)
        along = Variable(along.name, new[along.codes], levels)
        place, distinct = along.values, np.unique(along.values)
    few = distinct.size <= 25 or along.is_factor
    wanted = jitter if jitter is not None else few and place.size > 2 * distinct.size
    if wanted and distinct.size > 1:
        step = float(np.diff(distinct).min())
        place = place + displaced(place.size, 0.18 * step)
    return place, along
