"""Residuals of linear and of generalized models, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lme.errors import FitError, OptionError, near
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.inference.components import residual_deviation
from lme.inference.diagnostics.leverage import leverage
from lme.inference.diagnostics.quantile_residuals import quantile_residuals
from lme.inference.diagnostics.whitening import whiten
from lme.inference.residual_structure import is_correlated
from lme.inference.working import MixedFit, log_extra

Array = NDArray[np.float64]

KINDS = ("conditional", "marginal", "random")
TYPES = ("response", "pearson", "deviance", "working", "quantile", "normalized")
STANDARDS = ("leverage", "cholesky")


def residuals(
    fit: MixedFit,
    kind: str = "conditional",
    type: str | None = None,
    scaled: bool = False,
    *,
    standardize: str | None = None,
    n_sim: int = 250,
    seed: Any = None,
) -> Array:
    """Residuals of a fitted model in the rows used.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    kind : {"conditional", "marginal", "random"}
        Of the fitted values with random effects; of those without (zero instead of the
        modes); or the difference that the random effects make.
    type : {"response", "pearson", "deviance", "working", "quantile", "normalized"}
        By default "response" for a linear model and "deviance" for a generalized one
        ("working" for ``kind="random"``).
    scaled : bool
        Divide by sigma, or by the root of a dispersion that is estimated. Quantile
        residuals become standard normal scores.
    standardize : {"leverage", "cholesky"}, optional
        Conditional residuals over their standard deviation ``sigma sqrt(1 - h)``
        (internally studentized); or marginal residuals of a linear model freed from
        their covariance by its Cholesky factor. Both are free of scale.
    n_sim : int
        Simulated responses for quantile residuals of a generalized model.
    seed : int, Generator, SeedSequence or None
        For the same.

    Returns
    -------
    ndarray, shape (n,)
        On the scale of the response (binomial: of proportions), for "working" and
        "random" of the linear predictor.

    Raises
    ------
    OptionError
        For options outside their set, and combinations without a meaning.

    Notes
    -----
    Linear model: ``y - mu``, ``y - offset - X beta`` and ``Z b``; "pearson" and
    "deviance" are these times the root of the weights (prior weights, and estimated
    variances of a residual structure), and "working" is "response". "normalized" are
    "pearson" over sigma, freed from the correlation of a residual structure, as nlme's:
    independent and of variance 1 under the model.

    Generalized model, with ``mu`` at the modes or at random effects of zero (the mean
    of a group in the middle, not the mean over groups): ``y - mu``; ``(y - mu)
    sqrt(weight / V(mu))``; signed roots of the rows' deviances; and ``(y - mu) / (d mu
    / d eta)``. Random: ``Z b`` on the scale of the linear predictor ("working"), or the
    difference of the two means ("response").

    "quantile" is uniform on (0, 1) under the true model; see `quantile_residuals`.

    References
    ----------
    Hilden-Minton (1995), Multilevel diagnostics for mixed and hierarchical linear
    models, for the three kinds. McCullagh and Nelder (1989), Generalized linear models,
    2nd ed., section 2.4, for the types.
    """
    _check_choice("kind", kind, KINDS, also=TYPES)
    if type is not None:
        _check_choice("type", type, TYPES, also=KINDS)
    if standardize is not None:
        _check_choice("standardize", standardize, STANDARDS)
        return _standardized(fit, kind, type, standardize)
    if type == "quantile":
        if kind == "random":
            raise OptionError(
                "There are no quantile residuals of kind='random'.",
                "A response has a quantile, its random part has none.",
                "Use kind='conditional' or kind='marginal'.",
            )
        ranks = quantile_residuals(fit, kind, n=n_sim, seed=seed)
        return normal_scores(ranks) if scaled else ranks
    if isinstance(fit, GLMMFit):
        values = _generalized(fit, kind, type)
    else:
        values = _linear(fit, kind, type or "response")
    return values / _scale(fit) if scaled and type != "normalized" else values


def standard_residuals(fit: Fit) -> Array:
    """Conditional residuals of a linear model, standard normal under it, (n,).

    Over ``sigma sqrt(1 - h)``; normalized ones where residuals are correlated, whose
    rows have no leverage of their own.
    """
    if is_correlated(fit):
        return residuals(fit, type="normalized")
    return residuals(fit, standardize="leverage")


def normal_scores(ranks: Array) -> Array:
    """Standard normal deviates of numbers between 0 and 1."""
    return np.asarray(ndtri(ranks))


def _linear(fit: Fit, kind: str, type: str) -> Array:
    """Residuals of a linear model, not scaled."""
    design = fit.design
    if kind == "conditional":
        values: Array = design.y - fit.mu
    else:
        offset = 0.0 if design.offset is None else design.offset
        fixed = offset + fit.X @ fit.beta
        values = design.y - fixed if kind == "marginal" else fit.mu - fixed
    if type == "normalized":
        return fit.problem.whiten(values) / _scale(fit)
    if type in ("pearson", "deviance") and design.weights is not None:
        values = values * np.sqrt(design.weights)
    return values


def generalized_residuals(
    fit: GLMMFit, type: str = "deviance", scaled: bool = False
) -> Array:
    """Conditional residuals of a generalized model; see `residuals`."""
    return residuals(fit, type=type, scaled=scaled)


def _generalized(fit: GLMMFit, kind: str, type: str | None) -> Array:
    """Residuals of a generalized model, not scaled."""
    if type == "normalized":
        raise OptionError(
            "Normalized residuals were asked of a generalized model.",
            "They are those of a linear one.",
            "Use type='pearson'.",
        )
    y, weights, family = fit.design.y, fit.design.weights, fit.family
    mu, eta = fit.mu, fit.eta
    if kind != "conditional":
        eta = fit.X @ fit.beta
        if fit.design.offset is not None:
            eta = eta + fit.design.offset
        mu = family.mean(eta)
    if kind == "random":
        if type in (None, "working"):
            return np.asarray(fit.eta - eta)
        if type == "response":
            return np.asarray(fit.mu - mu)
        raise OptionError(
            f"There are no residuals of kind='random' and type={type!r}.",
            "The random part of a generalized model is a difference of linear "
            "predictors (type='working') or of means (type='response').",
        )
    if type in (None, "deviance"):
        return family.deviance_residuals(y, weights, mu, log_extra(fit))
    if type == "pearson":
        return family.pearson_residuals(y, weights, mu, log_extra(fit))
    values = y - mu
    if type == "working":
        slope = family.link.first(eta)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(values == 0.0, 0.0, values / slope)
    return np.asarray(values)


def _standardized(fit: MixedFit, kind: str, type: str | None, standard: str) -> Array:
    """Residuals over their standard deviation, or freed from their covariance."""
    if standard == "cholesky":
        if isinstance(fit, GLMMFit) or kind != "marginal":
            raise OptionError(
                "standardize='cholesky' was asked for "
                + (
                    "in a generalized model."
                    if isinstance(fit, GLMMFit)
                    else f"with kind={kind!r}."
                ),
                "It frees marginal residuals of a linear model from their covariance.",
                "Use kind='marginal', or standardize='leverage'.",
            )
        return whitened(fit)
    known: tuple[str | None, ...] = (None, "pearson", "deviance")
    if not isinstance(fit, GLMMFit):
        known = (*known, "response")
    if kind != "conditional" or type not in known:
        raise OptionError(
            f"standardize='leverage' was asked for with kind={kind!r}, type={type!r}.",
            "It divides conditional residuals of type 'pearson' or 'deviance' by "
            "their standard deviation.",
            "Use kind='conditional', type='pearson'.",
        )
    chosen = "pearson" if type in (None, "response") else type
    values = residuals(fit, kind, chosen) / _scale(fit)
    return np.asarray(values / np.sqrt(np.maximum(1.0 - leverage(fit), 1e-12)))


def whitened(fit: Fit) -> Array:
    """Marginal residuals freed from their covariance, (n,); see `whiten`.

    ``L^-1 (y - offset - X beta) / sigma`` with ``L L'`` the covariance of the rows over
    ``sigma^2``: uncorrelated with variance 1 under the model, beta and theta known.
    """
    problem, template = fit.problem, fit.problem.template
    lambdas = template.lambdas(template.internal(fit.theta))
    values = _linear(fit, "marginal", "normalized")
    return whiten(problem.factors, lambdas, values)


def scaled_quantiles(fit: MixedFit) -> Array:
    """Minimum, quartiles and maximum of the Pearson residuals over sigma."""
    if residual_deviation(fit) == 0 or fit.mu.size == 0:
        return np.full(5, np.nan)
    scaled = residuals(fit, type="pearson", scaled=True)
    found: Array = np.quantile(scaled, [0.0, 0.25, 0.5, 0.75, 1.0])
    return found


def _scale(fit: MixedFit) -> float:
    sigma = residual_deviation(fit)
    if sigma == 0:
        raise FitError(
            "Residuals cannot be scaled: sigma is 0.",
            "Scaled residuals are divided by a positive sigma.",
            "Use scaled=False.",
        )
    return 1.0 if sigma is None else sigma


def _check_choice(
    option: str, value: Any, choices: tuple[str, ...], also: tuple[str, ...] = ()
) -> None:
    """Refuse unknown values; `also` are those of the other option."""
    if value in choices:
        return
    hint = near(str(value), choices)
    if value in also:
        other = "type" if option == "kind" else "kind"
        hint = f"Write {other}={value!r}."
    raise OptionError(
        f"{option}={value!r} is not known.",
        f"It must be one of {', '.join(map(repr, choices))}.",
        hint,
    )
