"""Responses drawn from a formula, data and parameters, without a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.covariance import STRUCTURES
from lme.errors import DataTypeError, FormulaError, OptionError, near
from lme.families.base import Family
from lme.families.negative_binomial import NegativeBinomial
from lme.families.table import resolve
from lme.formula.design import Design, build_design
from lme.formula.evaluation import Scope, has_names
from lme.formula.parts import Formula, parse_formula
from lme.formula.response import Response, read_response
from lme.formula.syntax import Name
from lme.formula.table import Table
from lme.formula.values import as_double, missing, take
from lme.inference.components import unique_names
from lme.inference.prediction.simulation import Effects, Mechanism, count_of, draws
from lme.inference.prediction.simulation_frame import form_of, framed

Array = NDArray[np.float64]

PARAMETERS = ("beta", "theta", "sigma", "sd", "cor", "nb_theta")
_RESPONSE = "simulated"


def simulate(
    formula: str,
    data: Any,
    params: Mapping[str, Any],
    family: Any = None,
    n: int = 1,
    *,
    link: Any = None,
    seed: Any = None,
    weights: Any = None,
    offset: Any = None,
    contrasts: Any = None,
    context: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Responses of a mixed model with given parameters, for a design.

    Parameters
    ----------
    formula : str
        As for `lmer`. The response need not be in the data; where it is, it says in
        which form responses come (categories, counts). ``"~ x + (1 | g)"`` works too.
    data : DataFrame or other data
        Predictors and grouping factors.
    params : mapping
        ``"beta"``: fixed effects, an array in the order of the columns or a mapping by
        name. Random effects as ``"theta"``, the relative covariance parameters in
        lme4's order or by name, or as ``"sd"``, standard deviations by term
        (``{"Subject": [24, 6]}``), with ``"cor"``, correlations by term: a number, or
        a matrix. ``"sigma"``: residual standard deviation, or root of the dispersion
        of families that have one. ``"nb_theta"`` of a negative binomial.
    family : str or Family, optional
        By default normal, a linear mixed model.
    n : int
        Number of replicates.
    link : str, optional
        In place of the family's own link.
    seed : int, Generator, SeedSequence or None
        The same seed gives the same responses.
    weights : str or array_like, optional
        Prior weights; numbers of trials for a binomial family. Without them the row
        sums of ``cbind(successes, failures)`` are the trials, where the data have
        these columns, else 1.
    offset, contrasts, context
        As for `lmer`.

    Returns
    -------
    DataFrame
        Columns ``sim_1`` to ``sim_n``, see `simulation_frame.simulate`.

    Raises
    ------
    OptionError
        For parameters that are missing, not known, or of the wrong number.

    Notes
    -----
    ``theta`` is relative to sigma in a linear mixed model and on the scale of the
    linear predictor in a generalized one; ``sd`` is absolute in both.

    Examples
    --------
    >>> import lme
    >>> from lme.inference.prediction.simulation_design import simulate
    >>> sleep = lme.datasets.load("sleepstudy")
    >>> params = {"beta": [250.0, 10.0], "sd": {"Subject": [25.0, 6.0]}, "sigma": 26.0}
    >>> y = simulate("Reaction ~ Days + (Days | Subject)", sleep, params, seed=1)
    >>> y.shape
    (180, 1)
    """
    n = count_of(n)
    if not isinstance(params, Mapping):
        raise DataTypeError(
            f"params is of type {type(params).__name__}.",
            "Expected a mapping such as {'beta': [1.0], 'theta': [0.5], 'sigma': 2.0}.",
        )
    _known(params, PARAMETERS, "params")
    law = _family(family, link, params)
    parsed, table = parse_formula(formula), Table(data)
    scope = Scope(table, context or {}, {}, True, parsed.text)
    response = _response(parsed, scope, law)
    design = build_design(
        _without_response(parsed, table),
        data,
        weights=response.trials if weights is None else weights,
        offset=offset,
        contrasts=contrasts,
        context=dict(context or {}) | {_dummy(table): np.zeros(table.nrow)},
        family=law,
        na_action="exclude",
    )
    mechanism = _mechanism(params, design, law)
    kind = replace(design, y_kind=response.kind, y_levels=response.levels)
    trials = np.ones(design.nobs) if design.weights is None else design.weights
    form = form_of(kind, law, design.weights)
    return framed(design, draws(mechanism, n, seed), form, trials)


def _family(family: Any, link: Any, params: Mapping[str, Any]) -> Family | None:
    """The family, or None for a linear mixed model."""
    law = resolve("gaussian" if family is None else family, link)
    if "nb_theta" in params and law.extra != "theta":
        raise OptionError(
            "params has 'nb_theta'.", f"The family {law} has no theta to be given."
        )
    if law.name == "gaussian" and law.link.name == "identity":
        return None
    if law.extra == "theta":
        if params.get("nb_theta") is None:
            raise OptionError(
                "params has no 'nb_theta'.",
                "A negative binomial needs its theta: variance mu + mu^2 / theta.",
                "Add it to params, or pass family=lme.families.NegativeBinomial(2.0).",
            )
        return NegativeBinomial(params["nb_theta"], law.link)
    return law


def _dummy(table: Table) -> str:
    """A name for a response that no column has."""
    name = _RESPONSE
    while name in table:
        name += "_"
    return name


def _without_response(parsed: Formula, table: Table) -> Formula:
    """The formula with a response that needs no column."""
    if parsed.has_dot:
        raise FormulaError(
            "The formula has a '.', which stands for all columns but the response.",
            "A formula to simulate from names its terms.",
            "Write the terms out.",
            text=parsed.text,
        )
    name = _dummy(table)
    return replace(parsed, left=Name(name), response=name)


def _response(parsed: Formula, scope: Scope, law: Family | None) -> Response:
    """The form of the response, from the data where they have it."""
    nothing = Response(np.empty(0), "numeric")
    if parsed.left is None or not has_names([parsed.left], scope):
        return nothing
    value = scope.value(parsed.left)
    known = ~missing(value)
    if law is None or not known.any():
        return nothing
    found = read_response(
        parsed.response, take(value, known), law, scope.table.index[known]
    )
    if found.trials is None:
        return found
    return replace(found, trials=np.asarray(as_double(value).sum(axis=1)))


def _mechanism(
    params: Mapping[str, Any], design: Design, law: Family | None
) -> Mechanism:
    """What the parameters and the design say about responses."""
    sigma = _sigma(params, law)
    eta = design.X @ _named(params, "beta", design.column_names)
    if design.offset is not None:
        eta = eta + design.offset
    factors = _factors(params, design, sigma if law is None else 1.0)
    effects = tuple(
        Effects(term.codes, term.values, len(term.levels), factor)
        for term, factor in zip(design.terms, factors, strict=True)
    )
    if law is not None:
        extra = 2.0 * float(np.log(sigma)) if law.dispersion else 0.0
        return Mechanism(eta, effects, family=law, weights=design.weights, extra=extra)
    weights = design.weights
    spread = sigma if weights is None else sigma / np.sqrt(weights)
    return Mechanism(eta, effects, spread)


def _sigma(params: Mapping[str, Any], law: Family | None) -> float:
    """Residual standard deviation or root of the dispersion; 1 where it is fixed."""
    free = law is None or law.dispersion
    sigma = params.get("sigma")
    if not free:
        if sigma is not None:
            raise OptionError(
                "params has 'sigma'.", f"The family {law} has no parameter of scale."
            )
        return 1.0
    if sigma is None:
        raise OptionError(
            "params has no 'sigma'.",
            "You must specify sigma: the residual standard deviation, or the root of"
            " the dispersion.",
        )
    value = _numbers("sigma", sigma)
    if value.shape not in ((), (1,)) or not value.ravel()[0] > 0.0:
        raise OptionError(f"sigma is {sigma!r}.", "It is a positive number.")
    return float(value.ravel()[0])


def _numbers(name: str, given: Any) -> Array:
    """Parameters as finite numbers."""
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataTypeError(
            f"{name} in params is {given!r}.", "Expected numbers."
        ) from None
    if not np.isfinite(values).all():
        raise OptionError(f"{name} in params has numbers that are not finite.")
    return values


def _known(given: Iterable[Any], names: Sequence[str], what: str) -> None:
    """Raise OptionError for a name that is not among `names`."""
    for name in given:
        if name not in names:
            raise OptionError(
                f"{what} has {name!r}, which is not known.",
                f"Its names are {', '.join(map(repr, names)) or 'none'}.",
                near(str(name), names),
            )


def _named(
    params: Mapping[str, Any], name: str, names: Sequence[str], what: str = "params"
) -> Array:
    """Parameters in the order of `names`, from an array or by name."""
    given = params.get(name)
    listed = ", ".join(map(repr, names))
    if given is None:
        if not names:
            return np.empty(0)
        raise OptionError(f"{what} has no {name!r}.", f"It has the elements {listed}.")
    if isinstance(given, Mapping | pd.Series):
        _known(given.keys(), names, f"{name!r} in {what}")
        absent = [each for each in names if each not in given]
        if absent:
            raise OptionError(
                f"{name!r} in {what} lacks {', '.join(map(repr, absent))}.",
                f"Its elements are {listed}.",
            )
        given = [given[each] for each in names]
    values = np.atleast_1d(_numbers(name, given))
    if values.shape != (len(names),):
        raise OptionError(
            f"{name!r} in {what} has shape {values.shape}.",
            f"Expected {len(names)} numbers: {listed}.",
        )
    return values


def _factors(params: Mapping[str, Any], design: Design, scale: float) -> list[Array]:
    """Factor of the covariance of each random term, on the standard-deviation scale."""
    if "sd" in params:
        if "theta" in params:
            raise OptionError(
                "params has both 'theta' and 'sd'.", "One of them is enough."
            )
        return _natural_factors(params, design)
    if "cor" in params:
        raise OptionError(
            "params has 'cor' without 'sd'.", "Correlations go with 'sd'."
        )
    labels = [
        f"{term.group}.{label}"
        for term in design.terms
        for label in STRUCTURES[term.structure].labels(term.columns)
    ]
    theta = _named(params, "theta", labels)
    out, first = [], 0
    for term in design.terms:
        structure, p = STRUCTURES[term.structure], len(term.columns)
        own = theta[first : first + structure.size(p)]
        first += own.size
        out.append(scale * structure.factor(structure.interior(own, p), p))
    return out


def _natural_factors(params: Mapping[str, Any], design: Design) -> list[Array]:
    """Factors from standard deviations and correlations by term."""
    names = list(unique_names([term.group for term in design.terms]))
    sd, cor = params["sd"], params.get("cor", {})
    for name, given in (("sd", sd), ("cor", cor)):
        if not isinstance(given, Mapping):
            raise DataTypeError(
                f"{name} in params is of type {type(given).__name__}.",
                f"Expected a mapping by term: {', '.join(map(repr, names))}.",
            )
        _known(given, names, name)
    out = []
    for name, term in zip(names, design.terms, strict=True):
        p = len(term.columns)
        D = _named(sd, name, term.columns, "sd")
        if (D < 0.0).any():
            raise OptionError(
                f"sd of {name!r} has {D.min():g}.",
                "Standard deviations are not negative.",
            )
        R = _correlations(name, cor.get(name, 0.0), p)
        values, vectors = np.linalg.eigh(D[:, None] * R * D)
        if values.min(initial=0.0) < -1e-10 * max(values.max(initial=0.0), 1e-300):
            raise OptionError(
                f"The covariance of {name!r} is not positive semidefinite.",
                "Correlations must fit each other.",
            )
        out.append(vectors * np.sqrt(np.maximum(values, 0.0)))
    return out


def _correlations(name: str, given: Any, p: int) -> Array:
    """A correlation matrix, from itself or from the one number in it."""
    R = _numbers(f"cor of {name!r}", given)
    if R.ndim == 0:
        R = np.where(np.eye(p) == 1.0, 1.0, R)
    shaped = R.shape == (p, p) and bool(np.allclose(R, R.T))
    if not shaped or (np.abs(R) > 1.0).any() or (R.diagonal() != 1.0).any():
        raise OptionError(
            f"cor of {name!r} in params is {given!r}.",
            f"Expected a number between -1 and 1, or a correlation matrix {p} x {p}.",
        )
    return R
