"""Confidence intervals of all parameters: by profile, Wald, or bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from lme.engine.threads import suited_threads
from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference.bootstrap.intervals import percent_labels
from lme.inference.bootstrap.resampling import bootstrap
from lme.inference.coverage import check_level
from lme.inference.estimates import coefficient_names
from lme.inference.hypotheses import satterthwaite
from lme.inference.hypotheses.wald import CovType, standard_errors
from lme.inference.profile.parameters import choose_parameters, parameters
from lme.inference.profile.profiling import profile
from lme.inference.profile.surfaces import random_values
from lme.inference.working import MixedFit
from lme.naming import Parameter

Array = NDArray[np.float64]

#: How limits are found.
METHODS = ("profile", "wald", "boot")
#: Half the width of a difference of parameters.
_STEP = 1e-5


def confint(
    fit: MixedFit,
    level: float = 0.95,
    method: str = "profile",
    parm: Any = None,
    *,
    variances: bool = False,
    cov_type: CovType = None,
    **options: Any,
) -> pd.DataFrame:
    """Confidence intervals of standard deviations, correlations and coefficients.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    level : float
        Coverage.
    method : {"profile", "wald", "boot"}
        From the profile of the (ML) deviance; estimates plus and minus standard
        errors; from a parametric bootstrap.
    parm : str or sequence of str, optional
        Parameters, by the names of `parameters`, lme4's old names, or ``"theta_"``
        (all but the fixed effects) and ``"beta_"``; all by default.
    variances : bool
        With ``method="wald"``: give limits of standard deviations and correlations
        too, see `wald_intervals`; otherwise they are NaN, as in lme4.
    cov_type : str or Sandwich, optional
        Standard errors of the coefficients for ``method="wald"``.
    **options
        With ``method="boot"``: ``n`` replicates, ``seed``, the ``kind`` of interval,
        and the other arguments of `bootstrap` but its own kind.

    Returns
    -------
    DataFrame
        Columns ``2.5 %`` and ``97.5 %``, or those of `level`; a row a parameter, in
        the order of `parameters` or of `parm`.

    Raises
    ------
    OptionError
        For unknown methods, parameters and options.
    """
    check_level(level)
    if not isinstance(method, str) or method.lower() not in METHODS:
        raise OptionError(
            f"method={method!r} is not known.",
            f"It must be one of {', '.join(map(repr, METHODS))}.",
            near(str(method).lower(), METHODS),
        )
    method = method.lower()
    if options and method != "boot":
        name = next(iter(options))
        raise OptionError(
            f"confint has no argument {name!r} with method={method!r}.",
            "It would be one of the bootstrap.",
            "Write method='boot', or leave it out.",
        )
    if variances and method != "wald":
        raise OptionError(
            f"variances=True does not go with method={method!r}.",
            "That method gives limits of all parameters.",
            "Leave it out.",
        )
    if method == "wald":
        return wald_intervals(fit, level, parm, variances=variances, cov_type=cov_type)
    chosen = choose_parameters(parameters(fit), parm)
    if method == "boot":
        return _bootstrapped(fit, level, parm, options)
    names = [parameters(fit)[i].name for i in chosen]
    reach = float(ndtri(0.5 + 0.5 * level))
    found = profile(fit, names, reach=reach, exact=(level,))
    return found.confint(level)


def _bootstrapped(
    fit: MixedFit, level: float, parm: Any, options: dict[str, Any]
) -> pd.DataFrame:
    kind = options.pop("kind", "percentile")
    known = ("n", "seed", "re_form", "groups", "workers", "progress", "resume")
    for name in options:
        if name not in known:
            raise OptionError(
                f"confint has no argument {name!r}.",
                f"With method='boot' there are kind, {', '.join(known)}.",
                near(name, (*known, "kind")),
            )
    replicates = bootstrap(fit, **options)
    return replicates.confint(kind=kind, level=level, parm=parm)


def wald_intervals(
    fit: MixedFit,
    level: float = 0.95,
    parm: Any = None,
    *,
    variances: bool = False,
    cov_type: CovType = None,
) -> pd.DataFrame:
    """Estimates plus and minus normal quantiles of their standard errors.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    level : float
        Coverage.
    parm : str or sequence of str, optional
        As in `confint`.
    variances : bool
        Limits of the other parameters than coefficients too.
    cov_type : str or Sandwich, optional
        Standard errors of the coefficients.

    Notes
    -----
    The distribution of an estimated standard deviation is skew, so lme4 gives no Wald
    limits for it. With `variances` they come, as in ``nlme::intervals``, from the
    Hessian of the criterion that was minimised, on the scales ``log sd`` and
    ``atanh cor``; an estimate on its bound has none.

    References
    ----------
    Pinheiro, J. C. & Bates, D. M. (2000). Mixed-Effects Models in S and S-PLUS,
    section 2.4.3. doi:10.1007/b98882
    """
    known = parameters(fit)
    z = float(ndtri(0.5 + 0.5 * check_level(level)))
    out = np.full((len(known), 2), np.nan)
    first = len(known) - len(coefficient_names(fit))
    if fit.beta.size:
        margin = z * standard_errors(fit, cov_type)
        out[first:] = np.column_stack([fit.beta - margin, fit.beta + margin])
    if variances:
        out[:first] = _transformed_intervals(fit, known[:first], z)
    chosen = choose_parameters(known, parm)
    names = [known[i].name for i in chosen]
    return pd.DataFrame(out[chosen], index=names, columns=percent_labels(level))


def _transformed_intervals(
    fit: MixedFit, known: Sequence[Parameter], z: float
) -> Array:
    """Limits of covariance parameters by the delta method, (len(known), 2)."""
    template = fit.problem.template
    k = template.size
    theta = template.internal(fit.theta)
    if isinstance(fit, GLMMFit):
        p = fit.problem.p
        H, tail = fit.hessian, fit.point[p + k :] if fit.nAGQ else fit.point[k:]
        covariance = 2.0 * satterthwaite.pseudo_inverse(H)[p:, p:]
    else:
        with suited_threads(fit.problem.cross.sizes):
            H = satterthwaite.hessian(fit)
        tail = np.array([fit.sigma] if len(H) > k else [])
        covariance = 2.0 * satterthwaite.pseudo_inverse(H)
    correlation = np.array([each.kind == "cor" for each in known], dtype=bool)

    def transformed(x: Array) -> Array:
        linear = not isinstance(fit, GLMMFit)
        sigma = float(x[k]) if linear and x.size > k else fit.sigma
        values = random_values(known, template, template.lambdas(x[:k]), sigma)
        for i, each in enumerate(known):
            if each.slot < 0:
                share = 0.5 if each.kind == "sigma" else 1.0
                values[i] = sigma if linear else np.exp(share * x[k])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(correlation, np.arctanh(values), np.log(np.abs(values)))

    at = np.concatenate([theta, tail])
    J = np.empty((len(known), at.size))
    for i, width in enumerate(_STEP * np.maximum(np.abs(at), 0.01)):
        step = np.zeros(at.size)
        step[i] = width
        with np.errstate(invalid="ignore"):
            J[:, i] = (transformed(at + step) - transformed(at - step)) / (2.0 * width)
    center = transformed(at)
    with np.errstate(invalid="ignore", over="ignore"):
        margin = z * np.sqrt(np.einsum("ij,jk,ik->i", J, covariance, J))
        ends = np.column_stack([center - margin, center + margin])
        limits = np.where(correlation[:, None], np.tanh(ends), np.exp(ends))
    usable = np.isfinite(center) & np.isfinite(margin)
    return np.where(usable[:, None], limits, np.nan)
