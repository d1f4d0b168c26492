"""Results as frames under the column names of R's broom.mixed.

`tidy` has a row an estimate, `glance` one row a model, `augment` a row an observation.

References
----------
Bolker and Robinson (2024), broom.mixed: tidying methods for mixed models, R package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference import estimates
from lme.inference.components import residual_deviation, variance_components
from lme.inference.coverage import check_alpha, check_level
from lme.inference.diagnostics import residuals
from lme.inference.diagnostics.leverage import leverage
from lme.inference.hypotheses import wald
from lme.inference.hypotheses.ddf import Denominator
from lme.inference.modes import coefficients, random_effects
from lme.inference.residual_structure import is_correlated
from lme.inference.working import MixedFit, working_weights

Array = NDArray[np.float64]

EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
"""Fixed effects, variance components, conditional modes, coefficients by level."""
SCALES = ("sdcor", "vcov")
"""Variance components as standard deviations and correlations, or (co)variances."""
TEXT = ("effect", "group", "level", "term")
"""Columns of text."""
_ORDER = [
    "effect",
    "group",
    "level",
    "term",
    "estimate",
    "std.error",
    "statistic",
    "df",
    "p.value",
    "conf.low",
    "conf.high",
]


def tidy(
    fit: MixedFit,
    effects: str | Sequence[str] = ("fixed", "ran_pars"),
    *,
    conf_int: bool = False,
    conf_level: float = 0.95,
    scales: str = "sdcor",
    exponentiate: bool = False,
    cov_type: wald.CovType = None,
    ddf: Denominator | None = None,
) -> pd.DataFrame:
    """One row an estimate.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    effects : str or sequence of {"fixed", "ran_pars", "ran_vals", "ran_coefs"}
        Fixed effects; variance components; conditional modes; fixed plus random
        effects of each level.
    conf_int : bool
        Add ``conf.low`` and ``conf.high``: Wald intervals of fixed effects, and of
        conditional modes by their conditional standard deviations.
    conf_level : float
        Coverage of the intervals.
    scales : {"sdcor", "vcov"}
        Variance components as standard deviations and correlations, or as variances
        and covariances.
    exponentiate : bool
        Fixed effects and their limits as ``exp`` of themselves, such as odds ratios;
        standard errors by the delta method.
    cov_type : str, optional
        Kind of standard errors of a generalized model; see `wald.covariance`.
    ddf : Denominator, optional
        Degrees of freedom of t tests; by default tests are by z.

    Returns
    -------
    DataFrame
        Columns ``effect``, ``group``, ``level`` (with modes or coefficients), ``term``,
        ``estimate``, ``std.error``, ``statistic``, ``df`` (with t tests), ``p.value``
        and the limits. What a row does not have is missing. Variance components are
        named as in broom.mixed, such as ``sd__(Intercept)``, ``cor__(Intercept).Days``
        and ``sd__Observation`` for the residual.

    Raises
    ------
    OptionError
        For options outside their set.
    """
    wanted = [effects] if isinstance(effects, str) else list(effects)
    for word in wanted:
        _check_choice("effects", word, EFFECTS)
    _check_choice("scales", scales, SCALES)
    alpha = check_alpha(1.0 - check_level(conf_level))
    makers: dict[str, Callable[[], pd.DataFrame]] = {
        "fixed": lambda: _fixed(fit, alpha, exponentiate, cov_type, ddf),
        "ran_pars": lambda: _components(fit, scales),
        "ran_vals": lambda: _modes(fit, alpha),
        "ran_coefs": lambda: _coefficients(fit),
    }
    parts = [makers[word]().assign(effect=word) for word in EFFECTS if word in wanted]
    present = {name for part in parts for name in part.columns}
    if not conf_int:
        present -= {"conf.low", "conf.high"}
    columns = [name for name in _ORDER if name in present]
    # Parts without a column of the others: filled by hand, as pandas' own concat
    # warns about columns that are wholly missing.
    filled = [_with_columns(part, columns) for part in parts]
    if not filled:
        return pd.DataFrame(columns=_ORDER)
    return pd.concat(filled, ignore_index=True)


def _with_columns(part: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    found: dict[str, Any] = {}
    for name in columns:
        if name in part:
            found[name] = part[name].to_numpy()
        else:
            found[name] = [None] * len(part) if name in TEXT else np.nan
    frame = pd.DataFrame(found, index=range(len(part)))
    kinds = {name: object if name in TEXT else float for name in columns}
    return frame.astype(kinds)


def _fixed(
    fit: MixedFit,
    alpha: float,
    exponentiate: bool,
    cov_type: wald.CovType,
    ddf: Denominator | None,
) -> pd.DataFrame:
    found = wald.coefficient_table(fit, alpha, cov_type, ddf)
    letter = "z" if "z" in found else "t"
    frame = pd.DataFrame(
        {
            "group": None,
            "term": found.index.astype(object),
            "estimate": found["estimate"].to_numpy(),
            "std.error": found["se"].to_numpy(),
            "statistic": found[letter].to_numpy(),
            "p.value": found["p"].to_numpy(),
            "conf.low": found["lower"].to_numpy(),
            "conf.high": found["upper"].to_numpy(),
        }
    )
    if letter == "t":
        frame["df"] = found["df"].to_numpy()
    if exponentiate:
        frame["std.error"] *= np.exp(frame["estimate"])
        limits = ["estimate", "conf.low", "conf.high"]
        frame[limits] = np.exp(frame[limits])
    return frame


def _components(fit: MixedFit, scales: str) -> pd.DataFrame:
    found = variance_components(fit).to_frame("lower.tri")
    size, pair = ("sd", "cor") if scales == "sdcor" else ("var", "cov")
    terms = []
    for row in found.itertuples(index=False):
        if not isinstance(row.var1, str):
            terms.append(f"{size}__Observation")
        elif isinstance(row.var2, str):
            terms.append(f"{pair}__{row.var1}.{row.var2}")
        else:
            terms.append(f"{size}__{row.var1}")
    return pd.DataFrame(
        {
            "group": found["grp"].to_numpy(),
            "term": terms,
            "estimate": found["sdcor" if scales == "sdcor" else "vcov"].to_numpy(),
        }
    )


def _modes(fit: MixedFit, alpha: float) -> pd.DataFrame:
    found = random_effects(fit).to_frame()
    value, sd = found["condval"].to_numpy(float), found["condsd"].to_numpy(float)
    half = -float(ndtri(alpha / 2)) * sd
    return pd.DataFrame(
        {
            "group": found["grpvar"].to_numpy(),
            "level": found["grp"].to_numpy(),
            "term": found["term"].to_numpy(),
            "estimate": value,
            "std.error": sd,
            "conf.low": value - half,
            "conf.high": value + half,
        }
    )


def _coefficients(fit: MixedFit) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "group": group,
                "level": frame.index.to_numpy(),
                "term": name,
                "estimate": frame[name].to_numpy(),
            }
        )
        for group, frame in coefficients(fit).items()
        for name in frame.columns
    ]
    return pd.concat(parts, ignore_index=True)


def glance(fit: MixedFit, deviance: float) -> pd.DataFrame:
    """One row with the numbers that describe a fit.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    deviance : float
        ``-2 log-likelihood`` of a linear model, the deviance of the rows at the modes
        of a generalized one.

    Returns
    -------
    DataFrame
        Columns ``nobs``, ``sigma``, ``logLik``, ``AIC``, ``AICc``, ``BIC``,
        ``REMLcrit`` for a REML fit and ``deviance`` otherwise, ``df.residual``,
        ``npar``, ``converged`` and ``singular``. All but ``AICc`` and the last three
        are broom.mixed's.
    """
    sigma = residual_deviation(fit)
    n, npar = estimates.row_count(fit), estimates.parameter_count(fit)
    row: dict[str, Any] = {
        "nobs": n,
        "sigma": 1.0 if sigma is None else sigma,
        "logLik": estimates.log_likelihood(fit),
        "AIC": estimates.aic(fit),
        "AICc": estimates.aicc(fit),
        "BIC": estimates.bic(fit),
    }
    row["REMLcrit" if fit.reml else "deviance"] = (
        fit.objective if fit.reml else deviance
    )
    row |= {
        "df.residual": n - npar,
        "npar": npar,
        "converged": bool(fit.convergence.converged),
        "singular": bool(fit.convergence.singular),
    }
    return pd.DataFrame([row])


def augment(fit: MixedFit, data: Any = None) -> pd.DataFrame:
    """One row an observation: the data, and what the fit says of each.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    data : DataFrame, optional
        The data of the fit; their columns come first, in the rows used. Without them
        the response and the grouping factors do.

    Returns
    -------
    DataFrame
        On the index of the rows used. ``.fitted`` and ``.mu`` are conditional means
        (``.fitted`` on the scale of the linear predictor, as in broom.mixed),
        ``.fixed`` the fixed part, ``.resid`` the residuals (deviance residuals of a
        generalized model), ``.hat`` the leverages, ``.cooksd`` Cook's distances with
        theta held, ``.offset``, ``.weights``, ``.wtres`` weighted residuals and the
        roots of weights ``.sqrtrwt`` and ``.sqrtXwt``.
    """
    design = fit.design
    eta = fit.eta if isinstance(fit, GLMMFit) else fit.mu
    offset = np.zeros(eta.size) if design.offset is None else design.offset
    weights = np.ones(eta.size) if design.weights is None else design.weights
    if isinstance(fit, GLMMFit):
        resid = residuals.generalized_residuals(fit)
        pearson = residuals.generalized_residuals(fit, "pearson")
        root_working = np.sqrt(np.maximum(working_weights(fit), 0.0))
        slope = fit.family.link.first(eta)
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.abs(root_working / slope)
    else:
        resid = residuals.residuals(fit)
        pearson = residuals.residuals(fit, type="pearson")
        root = root_working = np.sqrt(weights)
    # Rows with correlated residuals have no leverage of their own.
    hat = np.full(eta.size, np.nan) if is_correlated(fit) else leverage(fit)
    columns = {
        ".fitted": eta,
        ".resid": resid,
        ".hat": hat,
        ".cooksd": _cook(fit, pearson, hat),
        ".fixed": fit.X @ fit.beta,
        ".mu": fit.mu,
        ".offset": offset,
        ".sqrtXwt": root_working,
        ".sqrtrwt": root,
        ".weights": weights,
        ".wtres": root * (design.y - fit.mu),
    }
    own = _rows_used(fit, data)
    found = pd.DataFrame(columns, index=design.index)
    return pd.concat([own.set_axis(design.index), found], axis=1)


def augment_new(result: Any, newdata: pd.DataFrame, options: Any) -> pd.DataFrame:
    """New rows with their predictions.

    Parameters
    ----------
    result : LMMResults or GLMMResults
    newdata : DataFrame
    options : mapping
        Options of ``result.predict``.

    Returns
    -------
    DataFrame
        The columns of `newdata`, ``.fitted`` (linear predictor) and, for a generalized
        model, ``.mu``.
    """
    found = newdata.copy()
    found[".fitted"] = np.asarray(result.predict(newdata, which="linear", **options))
    if isinstance(result.fit_record, GLMMFit):
        found[".mu"] = np.asarray(result.predict(newdata, **options))
    return found


def _cook(fit: MixedFit, pearson: Array, hat: Array) -> Array:
    """Cook's distance of each row with theta held, as lme4's."""
    sigma, p = residual_deviation(fit), fit.beta.size
    scale = 1.0 if sigma is None else sigma
    if p == 0 or scale == 0.0:
        return np.full(hat.size, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((pearson / (1.0 - hat)) ** 2 * hat / (scale**2 * p))


def _rows_used(fit: MixedFit, data: Any) -> pd.DataFrame:
    """The user's columns in the rows used; else the response and the factors."""
    design = fit.design
    frame = as_pandas(data)
    if frame is not None and len(frame) == design.kept.size:
        return frame.loc[design.kept]
    if (
        frame is not None
        and frame.index.is_unique
        and design.index.isin(frame.index).all()
    ):
        return frame.loc[design.index]
    own: dict[str, Any] = {design.y_name: design.y}
    for term in design.terms:
        labels = np.array(term.levels, dtype=object)
        own[term.group] = labels[term.codes]
    return pd.DataFrame(own, index=design.index)


def as_pandas(data: Any) -> pd.DataFrame | None:
    """A frame of any kind as pandas'; None where that is not possible."""
    if data is None or isinstance(data, pd.DataFrame):
        return data
    try:
        if hasattr(data, "to_pandas"):
            found = data.to_pandas()
        else:
            found = pd.DataFrame(data)
    except (ImportError, TypeError, ValueError):
        return None
    return found if isinstance(found, pd.DataFrame) else None


def _check_choice(option: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise OptionError(
            f"{option}={value!r} is not known.",
            f"It may be {', '.join(map(repr, choices))}.",
            near(str(value), choices),
        )
