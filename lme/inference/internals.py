"""`getME`: any part of a fitted model under the name that lme4 gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lme.covariance import STRUCTURES
from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference.components import residual_deviation, term_names, theta_names
from lme.inference.estimates import fixed_effects, group_sizes
from lme.inference.known_levels import known_groups, refuse_known
from lme.inference.modes import stacked
from lme.inference.working import (
    MixedFit,
    factors,
    relative_factor,
    root_weights,
)


def _rows_of(fit: MixedFit) -> int:
    return int(fit.mu.size)


def _random_count(fit: MixedFit) -> int:
    return sum(part.size for part in fit.b)


def _pointers(fit: MixedFit) -> Any:
    return np.concatenate([[0], np.cumsum([part.size for part in fit.b])]).astype(int)


def _flist(fit: MixedFit) -> dict[str, Any]:
    return {
        term.group: pd.Categorical.from_codes(term.codes, pd.Index(term.levels))
        for term in fit.design.terms
    }


def _devcomp(fit: MixedFit) -> dict[str, dict[str, float]]:
    n, p = _rows_of(fit), fit.beta.size
    sums = {
        "ldL2": fit.ldL2,
        "ldRX2": fit.ldRX2,
        "wrss": fit.pwrss - fit.ussq,
        "ussq": fit.ussq,
        "pwrss": fit.pwrss,
        "REML" if fit.reml else "dev": fit.objective,
        "sigmaML": float(np.sqrt(fit.pwrss / n)),
        "sigmaREML": float(np.sqrt(fit.pwrss / (n - p))),
    }
    dims: dict[str, float] = {
        "N": n,
        "n": n,
        "p": p,
        "nmp": n - p,
        "q": _random_count(fit),
        "nth": fit.theta.size,
        "useSc": int(residual_deviation(fit) is not None),
        "REML": p if fit.reml else 0,
    }
    return {"cmp": sums, "dims": dims}


def _lambdat(fit: MixedFit) -> Any:
    if known_groups(fit):
        return relative_factor(fit).T.tocsc()
    template = fit.design.Lambdat.copy()
    template.data = fit.design.entries(fit.lambdas)[fit.design.Lind - 1]
    return template


def _lind(fit: MixedFit) -> Any:
    refuse_known(fit, "getME('Lind')", "See getME('Lambdat').")
    return fit.design.Lind - 1


def _lower(fit: MixedFit) -> NDArray[np.float64]:
    """Lower bounds of theta: 0 for variances, -1 for correlations, else -inf."""
    bounds = []
    for term in fit.design.terms:
        structure, p = STRUCTURES[term.structure], len(term.columns)
        if structure.linear:
            bounds.append(structure.lower(p))
        else:
            names = structure.labels(term.columns)
            bounds.append(np.where([n.startswith("cor") for n in names], -1.0, 0.0))
    return np.concatenate([np.empty(0), *bounds])


def _scaled(fit: MixedFit) -> Any:
    product = _lambdat(fit) @ fit.design.Zt
    weights = root_weights(fit)
    if weights is None:
        return product.tocsc()
    return (product @ sparse.diags_array(weights)).tocsc()


def _eta(fit: MixedFit) -> Any:
    return fit.eta if isinstance(fit, GLMMFit) else fit.mu


def _sigma(fit: MixedFit) -> float:
    sigma = residual_deviation(fit)
    return 1.0 if sigma is None else sigma


def _term_rows(fit: MixedFit) -> dict[str, Any]:
    """Rows of Z' by term and column, as lme4's ``Ztlist``."""
    parts, first = {}, 0
    for name, term in zip(term_names(fit), fit.design.terms, strict=True):
        p, size = len(term.columns), len(term.columns) * len(term.levels)
        for j, column in enumerate(term.columns):
            parts[f"{name}.{column}"] = fit.design.Zt[first + j : first + size : p]
        first += size
    return parts


def _scales_and_shapes(fit: MixedFit) -> dict[str, Any]:
    """Each relative factor as unit triangle times scales, S on the diagonal."""
    found = {}
    for name, factor in zip(term_names(fit), fit.lambdas, strict=True):
        scale = np.diag(factor).copy()
        unit = factor / np.where(scale == 0.0, 1.0, scale)
        np.fill_diagonal(unit, scale)
        found[name] = unit
    return found


def _sparse(name: str) -> Callable[[MixedFit], Any]:
    return lambda fit: factors(fit)[name]


# Name in lme4 -> (function of the fit, what it is). One row makes a name known.
PARTS: dict[str, tuple[Callable[[MixedFit], Any], str]] = {
    "X": (lambda f: f.X, "fixed-effects matrix (n, p), dropped columns left out"),
    "Z": (lambda f: f.design.Zt.T.tocsc(), "random-effects matrix (n, q), sparse"),
    "Zt": (lambda f: f.design.Zt, "transpose of Z (q, n), sparse"),
    "y": (lambda f: f.design.y, "response (n,)"),
    "mu": (lambda f: f.mu, "fitted values (n,)"),
    "eta": (_eta, "linear predictor (n,), the fitted values of a linear model"),
    "u": (lambda f: stacked(f.u), "spherical random effects (q,)"),
    "b": (lambda f: stacked(f.b), "random effects b = Lambda u (q,)"),
    "beta": (lambda f: f.beta, "fixed effects (p,)"),
    "fixef": (fixed_effects, "fixed effects with their names"),
    "theta": (
        lambda f: pd.Series(f.theta, index=theta_names(f)),
        "elements of the relative factors, with their names",
    ),
    "sigma": (_sigma, "residual standard deviation, root of the dispersion, or 1"),
    "L": (_sparse("L"), "Cholesky factor of Lambda'Z'WZ Lambda + I (q, q), sparse"),
    "Lambda": (lambda f: _lambdat(f).T.tocsc(), "relative factor (q, q), sparse"),
    "Lambdat": (_lambdat, "transpose of Lambda (q, q), sparse, zeros stored"),
    "Lind": (
        _lind,
        "0-based number of each stored entry of Lambdat (us, diag: into theta)",
    ),
    "A": (_scaled, "Lambda'Z' W^(1/2) (q, n), sparse"),
    "RX": (lambda f: f.RX, "Cholesky factor of the profiled X'V^-1 X (p, p), upper"),
    "RZX": (_sparse("RZX"), "off-diagonal block of the Cholesky factor (q, p)"),
    "lower": (_lower, "lower bounds of theta"),
    "flist": (_flist, "grouping factors: name -> categorical (n,)"),
    "cnms": (
        lambda f: [(t.group, tuple(t.columns)) for t in f.design.terms],
        "random-effects columns: (factor, names) of each term",
    ),
    "Tlist": (
        lambda f: dict(zip(term_names(f), f.lambdas, strict=True)),
        "relative factor of each term",
    ),
    "ST": (
        _scales_and_shapes,
        "each relative factor T S: S on the diagonal, the unit triangle T below",
    ),
    "Ztlist": (_term_rows, "rows of Zt, sparse, by term and column"),
    "mmList": (
        lambda f: {
            k: t.values for k, t in zip(term_names(f), f.design.terms, strict=True)
        },
        "left-hand side's matrix (n, p_i) of each term",
    ),
    "Gp": (_pointers, "start of each term among the random effects, and q"),
    "Tp": (
        lambda f: (
            np.concatenate(
                [
                    [0],
                    np.cumsum(
                        [len(t.columns) ** 2 + len(t.columns) for t in f.design.terms]
                    ),
                ]
            ).astype(int)
            // 2
        ),
        "start of each term among the elements of theta, and their number",
    ),
    "n": (_rows_of, "number of observations"),
    "N": (_rows_of, "number of observations"),
    "p": (lambda f: f.beta.size, "number of fixed effects"),
    "q": (_random_count, "number of random effects"),
    "m": (lambda f: f.theta.size, "number of elements of theta"),
    "k": (lambda f: len(f.design.terms), "number of random-effects terms"),
    "n_rtrms": (lambda f: len(f.design.terms), "number of random-effects terms"),
    "n_rfacs": (lambda f: len(group_sizes(f)), "number of grouping factors"),
    "p_i": (lambda f: [len(t.columns) for t in f.design.terms], "columns by term"),
    "m_i": (
        lambda f: [
            STRUCTURES[t.structure].size(len(t.columns)) for t in f.design.terms
        ],
        "elements of theta by term",
    ),
    "l_i": (lambda f: [len(t.levels) for t in f.design.terms], "levels by term"),
    "q_i": (lambda f: [part.size for part in f.b], "random effects by term"),
    "REML": (
        lambda f: f.beta.size if f.reml else 0,
        "number of fixed effects for a REML fit, else 0",
    ),
    "is_REML": (lambda f: f.reml, "whether REML was used"),
    "offset": (
        lambda f: np.zeros(f.mu.size) if f.design.offset is None else f.design.offset,
        "offset (n,)",
    ),
    "weights": (
        lambda f: np.ones(f.mu.size) if f.design.weights is None else f.design.weights,
        "prior weights (n,)",
    ),
    "devcomp": (_devcomp, "components of the criterion, and dimensions"),
}


def part(fit: MixedFit, name: str | Sequence[str]) -> Any:
    """One part of a fitted model.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    name : str, or list of str
        lme4's name of the part; the known names are the keys of `PARTS`. Several names
        give a dict.

    Returns
    -------
    object
        An array, a sparse matrix, a number, or a labelled container. Random effects
        are ordered by term, level and column, the last fastest.

    Raises
    ------
    OptionError
        If the name is not known.
    """
    if isinstance(name, (list, tuple)):
        return {each: part(fit, each) for each in name}
    if not isinstance(name, str) or name not in PARTS:
        raise OptionError(
            f"{name!r} is not a part of the model that getME knows.",
            f"Known are {', '.join(PARTS)}.",
            near(str(name), PARTS),
        )
    # The model goes on using its arrays: what a user writes into must be a copy.
    return deepcopy(PARTS[name][0](fit))
