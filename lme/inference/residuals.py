"""Residuals of linear and of generalized models, row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lme.errors import FitError, OptionError, near
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.inference.components import residual_deviation
from lme.inference.working import MixedFit, log_extra

Array = NDArray[np.float64]

KINDS = ("conditional", "marginal", "random")
TYPES = ("response", "pearson", "deviance", "working")


def residuals(
    fit: Fit, kind: str = "conditional", type: str = "response", scaled: bool = False
) -> Array:
    """Residuals of a linear mixed model in the rows used.

    Parameters
    ----------
    fit : Fit
        An estimated model.
    kind : {"conditional", "marginal", "random"}
        ``y - mu``; ``y - offset - X beta``; or the random part ``Z b``, which is the
        difference of the first two.
    type : {"response", "pearson", "deviance", "working"}
        For a Gaussian model ``pearson`` and ``deviance`` are the residuals times the
        root of the prior weights; ``working`` is the same as ``response``.
    scaled : bool
        Divide by sigma.

    Returns
    -------
    ndarray, shape (n,)
        On the scale of the response, or free of scale when `scaled`.

    Raises
    ------
    OptionError
        If `kind` or `type` is not one of those above.

    References
    ----------
    Hilden-Minton (1995), Multilevel diagnostics for mixed and hierarchical linear
    models, for the three kinds.
    """
    _check_choice("kind", kind, KINDS)
    _check_choice("type", type, TYPES)
    design = fit.design
    if kind == "conditional":
        values: Array = design.y - fit.mu
    else:
        offset = 0.0 if design.offset is None else design.offset
        fixed = offset + fit.X @ fit.beta
        values = design.y - fixed if kind == "marginal" else fit.mu - fixed
    if type in ("pearson", "deviance") and design.weights is not None:
        values = values * np.sqrt(design.weights)
    return values / _scale(fit) if scaled else values


def generalized_residuals(
    fit: GLMMFit, type: str = "deviance", scaled: bool = False
) -> Array:
    """Residuals of a generalized model in the rows used, at the conditional modes.

    Parameters
    ----------
    fit : GLMMFit
        An estimated model.
    type : {"deviance", "pearson", "working", "response"}
        Signed roots of the rows' deviances; ``(y - mu) sqrt(weight / V(mu))``;
        ``(y - mu) / (d mu / d eta)``; or ``y - mu``.
    scaled : bool
        Divide by the root of the dispersion, where it is estimated.

    Returns
    -------
    ndarray, shape (n,)
        Binomial responses count as proportions.

    Raises
    ------
    OptionError
        If `type` is not one of those above.

    References
    ----------
    McCullagh and Nelder (1989), Generalized linear models, 2nd ed., section 2.4.
    """
    _check_choice("type", type, TYPES)
    y, weights, family = fit.design.y, fit.design.weights, fit.family
    if type == "deviance":
        values = family.deviance_residuals(y, weights, fit.mu, log_extra(fit))
    elif type == "pearson":
        values = family.pearson_residuals(y, weights, fit.mu, log_extra(fit))
    else:
        values = y - fit.mu
        if type == "working":
            slope = family.link.first(fit.eta)
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.where(values == 0.0, 0.0, values / slope)
    return values / _scale(fit) if scaled else values


def scaled_quantiles(fit: MixedFit) -> Array:
    """Minimum, quartiles and maximum of the Pearson residuals over sigma."""
    if residual_deviation(fit) == 0 or fit.mu.size == 0:
        return np.full(5, np.nan)
    if isinstance(fit, GLMMFit):
        scaled = generalized_residuals(fit, "pearson", scaled=True)
    else:
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


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(
            f"{option}={value!r} is not known.",
            f"It must be one of {', '.join(map(repr, choices))}.",
            near(str(value), choices),
        )
