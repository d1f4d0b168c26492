"""Predictions with standard errors, confidence and prediction intervals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError
from lme.formula.recipe import new_columns
from lme.formula.table import Table
from lme.generalized import GLMMFit
from lme.inference.estimates import label_rows
from lme.inference.hypotheses.satterthwaite import STEP, hessian, pseudo_inverse
from lme.inference.hypotheses.wald import covariance
from lme.inference.known_levels import row_variances
from lme.inference.prediction.conditional_means import (
    WHICH,
    check_choice,
    fitted_predictor,
    refuse_offset,
)
from lme.inference.prediction.rows import (
    Kept,
    Rows,
    argument,
    known_part,
    masked,
    new_weights,
    recipe_of,
    refuse_new_levels,
    refuse_weights,
    rows_of_data,
    rows_of_fit,
    selected_effects,
)
from lme.inference.prediction.table import Prediction
from lme.inference.prediction.variance import (
    Parameters,
    error_variance,
    estimated,
    group_variance,
)
from lme.inference.working import MixedFit

Array = NDArray[np.float64]
Effects = tuple[tuple[int, Array], ...]
"""Columns of terms of which levels that were not seen are drawn."""

NEW_LEVELS = ("error", "population", "sample", "nan")
DDF = ("z", "satterthwaite")
COV_TYPES = ("rx", "hessian")


def get_prediction(
    fit: MixedFit,
    newdata: Any = None,
    *,
    re_form: str = "all",
    which: str = "mean",
    new_levels: str = "error",
    offset: Any = None,
    weights: Any = None,
    ddf: str = "z",
    cov_type: str = "rx",
) -> Prediction:
    """Predicted means with standard errors and intervals.

    Parameters
    ----------
    fit : Fit or GLMMFit
        With its data.
    newdata, re_form, which, offset
        As for `predict`.
    new_levels : {"error", "population", "sample", "nan"}
        For a level that the fit did not see, and a missing one. The predicted mean is
        the same for "population" and "sample"; what it is a prediction of differs. For
        "population" that is the mean of a group in the middle, whose standard error
        comes from the fixed effects. For "sample" it is the mean of that very group,
        drawn from the population of groups: the variance of the random effects is
        added.
    weights : str or array_like, optional
        Prior weights of the new observations: the residual variance is
        ``sigma^2 / weight``, and the numbers of trials of a binomial family. By default
        those of the rows of the fit; for `newdata` the row sums of
        ``cbind(successes, failures)`` if it has these columns, and otherwise 1.
    ddf : {"z", "satterthwaite"}
        Quantiles of the normal distribution, or of t with Satterthwaite's degrees of
        freedom for each row, in a linear model. The latter allow for the uncertainty
        of the covariance parameters, which matters with few groups.
    cov_type : {"rx", "hessian"}
        Covariance of the fixed effects of a generalized model: given the covariance
        parameters (as lme4's ``se.fit``), or from the Hessian of the likelihood in all
        parameters, the default of `GLMMResults.cov_params`.

    Returns
    -------
    Prediction

    Raises
    ------
    DataError, FormulaError, OptionError
        As `predict`.

    Notes
    -----
    With the joint covariance of ``betahat - beta`` and ``bhat - b`` given the
    covariance parameters (`error_variance`), the variance of a mean is
    ``v = Var(x'(betahat - beta) + z'(bhat - b))``, and that of a new observation
    ``v + z'Sigma z + sigma^2 / w``. The middle term is for random effects that the mean
    does not have: those that `re_form` leaves out and those of new levels. They count
    as those of a group that was not seen, because an observation always belongs to
    some group.

    For a generalized model v is on the scale of the linear predictor. Standard errors
    of means follow by the delta method, confidence limits by the link, and limits for
    observations are quantiles of the family mixed over the normal distribution of the
    linear predictor.
    """
    check_choice("which", which, WHICH)
    check_choice("new_levels", new_levels, NEW_LEVELS)
    check_choice("ddf", ddf, DDF)
    check_choice("cov_type", cov_type, COV_TYPES)
    if isinstance(fit, GLMMFit) and ddf != "z":
        raise OptionError(
            f"ddf={ddf!r} is for linear mixed models.",
            "Intervals of a generalized model use the normal distribution.",
            "Use ddf='z'.",
        )
    kept = selected_effects(fit, re_form)
    if newdata is None:
        refuse_offset(offset)
        refuse_weights(weights)
        rows, prior, table = rows_of_fit(fit, kept), fit.design.weights, None
        eta = fitted_predictor(fit) if re_form == "all" else known_part(fit, rows)
    else:
        table = Table(newdata)
        rows = rows_of_data(fit, table, kept, argument(fit, table, "offset", offset))
        prior = new_weights(fit, table, weights)
        if new_levels == "error":
            refuse_new_levels(rows)
        eta = known_part(fit, rows)
    mean_effects, obs_effects, missing = _drawn(fit, rows, kept, table, new_levels)
    fixed = None
    if isinstance(fit, GLMMFit) and cov_type == "hessian":
        fixed = covariance(fit, "hessian")
    if new_levels == "nan":
        eta = np.where(rows.unseen, np.nan, eta)
    variances = _Variances(fit, rows, mean_effects, obs_effects, prior, fixed)
    mean, obs = variances.at(None)
    unknown = np.isnan(eta)
    mean[unknown] = obs[unknown] = np.nan
    if ddf == "z":
        df = (np.full(eta.size, np.inf),) * 2
    else:
        df = variances.degrees_of_freedom()
    label = partial(label_rows, fit.design)
    if newdata is not None:
        label = partial(pd.Series, index=rows.index)
    return Prediction(fit, eta, mean, obs, prior, label, missing, df, which)


@dataclass(frozen=True)
class _Variances:
    """Variances of the errors as functions of the covariance parameters."""

    fit: MixedFit
    rows: Rows
    mean_effects: Effects
    obs_effects: Effects
    weights: Array | None
    fixed: Array | None

    def at(self, point: Parameters | None) -> tuple[Array, Array]:
        """For the mean, and for an observation: on the scale of eta, squared.

        The residual variance is part of the second in a linear model.
        """
        fit = self.fit
        known = error_variance(fit, self.rows, at=point, covariance=self.fixed)
        mean, obs = known.copy(), known.copy()
        for k, values in self.mean_effects:
            mean += group_variance(fit, k, values, point)
        for k, values in self.obs_effects:
            obs += group_variance(fit, k, values, point)
        if not isinstance(fit, GLMMFit):
            sigma = fit.sigma if point is None else point.sigma
            obs += sigma**2 / (1.0 if self.weights is None else self.weights)
        return mean, obs

    def degrees_of_freedom(self) -> tuple[Array, Array]:
        """``2 v^2 / (g'Ag)`` with g by central differences, for both variances."""
        fit = self.fit
        if isinstance(fit, GLMMFit):
            raise TypeError("Satterthwaite's method is for linear mixed models.")
        A = 2.0 * pseudo_inverse(hessian(fit))
        here = estimated(fit)
        gradients: list[tuple[Array, Array]] = []
        for i, width in enumerate(STEP * np.maximum(np.abs(here.theta), 0.01)):
            step = np.zeros(here.theta.size)
            step[i] = width
            high = self.at(Parameters(here.theta + step, here.sigma))
            low = self.at(Parameters(here.theta - step, here.sigma))
            slopes = [(a - b) / (2.0 * width) for a, b in zip(high, low, strict=True)]
            gradients.append((slopes[0], slopes[1]))
        center = self.at(here)
        if fit.known_sigma is None:
            # Every variance is proportional to sigma^2.
            last = [2.0 * v / here.sigma for v in center]
            gradients.append((last[0], last[1]))
        found = []
        for j, v in enumerate(center):
            g = np.stack([pair[j] for pair in gradients], axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                df = 2.0 * v**2 / np.einsum("mi,ij,mj->m", g, A, g)
            found.append(np.where(v > 0.0, df, np.inf))
        return found[0], found[1]


def _drawn(
    fit: MixedFit, rows: Rows, kept: Kept, table: Table | None, new_levels: str
) -> tuple[Effects, Effects, tuple[str, ...]]:
    """Columns of the effects whose variance the mean and the observation have.

    Returns
    -------
    mean, obs : tuple of (position of the term, (m, p) columns)
        Columns of what does not count are 0.
    missing : tuple of str
        Variables for `obs` that new data do not have.
    """
    mean, obs, missing = [], [], []
    at = dict(zip(rows.which, rows.terms, strict=True))
    for k, term in enumerate(fit.design.terms):
        own = kept.get(k, ())
        rest = tuple(j for j in range(len(term.columns)) if j not in own)
        if rest and table is None:
            size = np.sqrt(row_variances(term))[:, None]
            obs.append((k, size * masked(term.values, rest)))
        elif rest:
            columns = new_columns(recipe_of(fit), table, k, rest)
            if isinstance(columns, list):
                missing += columns
            else:
                # Whose level is not asked for has the mean variance of all.
                mean_size = 1.0 if term.known is None else term.known.scale
                obs.append((k, np.sqrt(mean_size) * masked(columns, rest)))
        if k in at and (at[k].codes < 0).any():
            unseen = np.where(at[k].codes[:, None] < 0, at[k].values, 0.0)
            if term.known is not None:
                unseen = np.sqrt(term.known.scale) * unseen
            obs.append((k, unseen))
            if new_levels == "sample":
                mean.append((k, unseen))
    return _joined(mean), _joined(obs), tuple(dict.fromkeys(missing))


def _joined(parts: list[tuple[int, Array]]) -> Effects:
    """Columns of one term together: its effects are correlated."""
    total: dict[int, Array] = {}
    for k, values in parts:
        total[k] = total[k] + values if k in total else values
    return tuple(total.items())
