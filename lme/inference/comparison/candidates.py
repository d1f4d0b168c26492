"""Models as a comparison sees them: mixed models, and least squares and GLMs.

A comparison needs the response, the space of the means, the space of the covariances,
a likelihood with all its constants, and a count of parameters. statsmodels' results
have these too, without random effects; they are told by the names of their classes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lme.engine.decompositions import find_dependent_columns
from lme.errors import FitError, LMEWarning, OptionError
from lme.families import Family, resolve
from lme.fit import Fit, fit_lmm
from lme.fixing import held_entries
from lme.generalized import GLMMFit
from lme.inference.comparison.shown_rows import with_shown_rows
from lme.inference.comparison.without_effects import estimated, maximized
from lme.inference.estimates import coefficient_names, parameter_count
from lme.inference.residual_structure import structure_words
from lme.inference.working import MixedFit, log_extra
from lme.partitions.design import PartitionedDesign
from lme.partitions.fingerprints import Fingerprint

if TYPE_CHECKING:
    from lme.covariance import Structure
    from lme.covariance.known import Known

Array = NDArray[np.float64]

#: Classes of statsmodels, and the family of those that name none.
WITHOUT_EFFECTS: Mapping[str, tuple[str, str] | None] = {
    "OLS": ("gaussian", "identity"),
    "WLS": ("gaussian", "identity"),
    "GLM": None,
    "Logit": ("bernoulli", "logit"),
    "Probit": ("bernoulli", "probit"),
    "Poisson": ("poisson", "log"),
}
#: What multiplies to the prior weights of these classes.
_WEIGHTS = {"WLS": ("weights",), "GLM": ("n_trials", "var_weights", "freq_weights")}
_REMOVED = (
    "The data of a result were taken away by remove_data.",
    "A comparison looks at the responses, and may refit.",
    "Fit the model again.",
)


@dataclass(frozen=True)
class Component:
    """One random-effects term in the basis of the search.

    Attributes
    ----------
    text : str
        The term as a formula writes it.
    group : str
    columns : tuple of str
        The user's columns.
    codes : (n,) intp
    levels : int
    values : (n, p) array
        Columns of about unit mean square, multiplied by the roots of the weights.
    basis : (p, p) array
        ``values = user's columns @ basis``, but for the weights.
    structure : str
    kind : Structure
    covariance : (p, p) array
        Estimated, relative to the residual variance, in the basis of the search.
    known : Known or None
        Covariance between the levels, where it is known.
    """

    text: str
    group: str
    columns: tuple[str, ...]
    codes: NDArray[np.intp] = field(repr=False)
    levels: int
    values: Array = field(repr=False)
    basis: Array = field(repr=False)
    structure: str
    kind: Structure = field(repr=False)
    covariance: Array = field(repr=False)
    known: Known | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Candidate:
    """A model that takes part in a comparison.

    Attributes
    ----------
    formula : str
    y : (n,) array
    y_name : str
    X : (n, p) array
        Of full column rank.
    names : tuple of str
        Of the columns of X.
    offset, weights : (n,) arrays
    family : Family
    components : tuple of Component
    objective : float
        ``-2 log-likelihood`` with all constants, or the REML criterion.
    npar : int
    reml : bool
    mu : (n,) array
        Fitted means; of a mixed model with the random effects.
    extra : float
        Logarithm of the dispersion or of theta; 0 without one.
    fit : Fit or GLMMFit or None
        The record of a mixed model.
    known_sigma : float or None
        Residual standard deviation, where it was given.
    residual : tuple of str
        Terms of a residual structure; `weights` are the prior ones.
    mark : Fingerprint or None
        Of all rows, where only some are here: those of data in partitions.
    held : tuple of (str, number or str)
        Elements of theta that are held.
    """

    formula: str
    y: Array = field(repr=False)
    y_name: str
    X: Array = field(repr=False)
    names: tuple[str, ...]
    offset: Array = field(repr=False)
    weights: Array = field(repr=False)
    family: Family
    components: tuple[Component, ...]
    objective: float
    npar: int
    reml: bool
    mu: Array = field(repr=False)
    extra: float = 0.0
    fit: MixedFit | None = field(default=None, repr=False)
    known_sigma: float | None = None
    residual: tuple[str, ...] = ()
    mark: Fingerprint | None = field(default=None, repr=False)
    held: tuple[tuple[str, float | str], ...] = ()

    @property
    def n(self) -> int:
        """Number of rows; more than are here where the data are in partitions."""
        return int(self.y.size) if self.mark is None else self.mark.count

    @property
    def aic(self) -> float:
        """``objective + 2 npar``."""
        return self.objective + 2 * self.npar

    @property
    def bic(self) -> float:
        """``objective + log(n) npar``."""
        return self.objective + math.log(self.n) * self.npar

    @property
    def distribution(self) -> str:
        """Family and link; a Bernoulli response is a binomial one of one trial."""
        name = self.family.name
        if name == "bernoulli" and (self.weights == 1.0).all():
            name = "binomial"
        return f"{name}({self.family.link.name})"


def candidate(given: Any) -> Candidate:
    """The candidate that a record or a result stands for.

    Parameters
    ----------
    given : Fit, GLMMFit, a result of this package or of statsmodels
        Of statsmodels a result of one of `WITHOUT_EFFECTS`.

    Raises
    ------
    OptionError
        For anything else.
    FitError
        If the data of the result were removed.
    """
    record = getattr(given, "fit_record", given)
    if isinstance(record, (Fit, GLMMFit)):
        return _mixed(record)
    model = getattr(given, "model", None)
    kind = type(model)
    if kind.__module__.startswith("statsmodels") and kind.__name__ in WITHOUT_EFFECTS:
        return _without_effects(given, model)
    what = f"result of {kind.__name__}" if model is not None else type(given).__name__
    raise OptionError(
        f"An argument is a {what}.",
        "anova compares results of lme models, and as smaller models results of "
        f"{', '.join(WITHOUT_EFFECTS)} of statsmodels.",
        "Pass what fit() returned; fit first, where you have a model.",
    )


def _mixed(fit: MixedFit) -> Candidate:
    design = fit.design
    if isinstance(design, PartitionedDesign) and fit.mu.size < design.nobs:
        if fit.problem is None:
            raise FitError(*_REMOVED)
        found = _mixed(with_shown_rows(fit))
        return replace(found, fit=fit, mark=design.parts.tabulation.fingerprint)
    n = len(design.index)
    if design.y.size < n:
        raise FitError(*_REMOVED)
    known: float | None = None
    if isinstance(fit, GLMMFit):
        family, extra = fit.family, log_extra(fit)
    else:
        family, extra = resolve("gaussian"), 2.0 * math.log(fit.sigma)
        known = fit.known_sigma
    structure = design.residual
    weights = design.weights if structure is None else structure.weights
    return Candidate(
        formula=", ".join(filter(None, (design.expanded, structure_words(fit)))),
        y=design.y,
        y_name=design.y_name,
        X=fit.X,
        names=tuple(coefficient_names(fit)),
        offset=np.zeros(n) if design.offset is None else design.offset,
        weights=np.ones(n) if weights is None else weights,
        family=family,
        components=components(fit),
        objective=fit.objective,
        npar=parameter_count(fit),
        reml=fit.reml,
        mu=fit.mu,
        extra=extra,
        fit=fit,
        known_sigma=known,
        residual=() if structure is None else tuple(t.text for t in structure.terms),
        held=tuple(held_entries(design).items()),
    )


def components(fit: MixedFit) -> tuple[Component, ...]:
    """The random-effects terms of a fit, in its internal basis."""
    terms = [term for term in fit.design.terms if term.values.shape[1]]
    template = fit.problem.template
    lambdas = template.lambdas(template.internal(fit.theta))
    found = []
    for term, slot in zip(terms, template.slots, strict=True):
        block = lambdas[slot.factor][slot.columns, slot.columns]
        factor = fit.problem.factors[slot.factor]
        values = factor.values[:, slot.columns]
        if fit.design.residual is not None:
            # Columns before the structure, which another model has not.
            prior = fit.design.residual.weights
            values = term.values @ slot.basis
            values = values if prior is None else values * np.sqrt(prior)[:, None]
        found.append(
            Component(
                text=term_text(term.columns, term.group, term.structure),
                group=term.group,
                columns=term.columns,
                codes=factor.codes,
                levels=factor.levels,
                values=values,
                basis=slot.basis,
                structure=term.structure,
                kind=slot.structure,
                covariance=block @ block.T,
                known=term.known,
            )
        )
    return tuple(found)


def term_text(columns: tuple[str, ...], group: str, structure: str) -> str:
    """A term as a formula writes it, by its columns."""
    names = ["1" if name == "(Intercept)" else name for name in columns]
    inner = f"{' + '.join(names if '1' in names else ['0', *names])} | {group}"
    return f"({inner})" if structure == "us" else f"{structure}({inner})"


def _without_effects(result: Any, model: Any) -> Candidate:
    """Least squares or a GLM, with its likelihood in our constants."""
    kind = type(model).__name__
    y, X = getattr(model, "endog", None), getattr(model, "exog", None)
    if y is None or X is None:
        raise FitError(*_REMOVED)
    y = np.asarray(y, dtype=float)
    n = y.size
    X = np.asarray(X, dtype=float).reshape(n, -1)
    names = [str(name) for name in model.exog_names]
    dependent = find_dependent_columns(X)
    kept = np.delete(np.arange(X.shape[1]), dependent)
    known = WITHOUT_EFFECTS[kind]
    family = resolve(model.family) if known is None else resolve(*known)
    weights = np.ones(n)
    for part in _WEIGHTS.get(kind, ()):
        weights = weights * np.asarray(getattr(model, part, 1.0), dtype=float)
    offset = np.zeros(n)
    # statsmodels keeps the logarithm of the exposure.
    for part in ("offset", "exposure"):
        given = getattr(model, part, None)
        if given is not None:
            offset = offset + np.asarray(given, dtype=float)
    mu = np.asarray(result.predict(), dtype=float)
    found = maximized(family, y, weights, mu)
    named = model.endog_names
    name = f"cbind({', '.join(named)})" if isinstance(named, list) else str(named)
    return Candidate(
        formula=str(getattr(model, "formula", "") or f"{name} ~ {' + '.join(names)}"),
        y=y,
        y_name=name,
        X=X[:, kept],
        names=tuple(names[i] for i in kept),
        offset=offset,
        weights=weights,
        family=family,
        components=(),
        objective=found.objective,
        npar=len(kept) + int(family.extra is not None),
        reml=False,
        mu=mu,
        extra=found.extra,
    )


def without_random_effects(one: Candidate) -> Candidate:
    """The model that is left when all its variances are zero, by its criterion."""
    if one.residual:
        raise FitError(
            f"The residual structure {' + '.join(one.residual)} would be alone.",
            "lme fits it beside random effects.",
            "Test the random effects in the model without the structure.",
        )
    found = estimated(one.family, one.y, one.X, one.offset, one.weights)
    free = one.family.extra is not None and one.known_sigma is None
    plain = replace(
        one,
        components=(),
        objective=found.objective,
        npar=one.X.shape[1] + int(free),
        reml=False,
        mu=found.mu,
        extra=found.extra,
        fit=None,
    )
    if one.reml or one.known_sigma is not None:
        return least_squares(plain, one.reml)
    return plain


def refitted(one: Candidate) -> Candidate:
    """By maximum likelihood, with the options of the fit."""
    if not isinstance(one.fit, Fit) or not one.reml:
        return one
    with warnings.catch_warnings():
        # The first fit has said what there is to say.
        warnings.simplefilter("ignore", LMEWarning)
        return _mixed(fit_lmm(one.fit.design, reml=False, **one.fit.options))


def least_squares(one: Candidate, reml: bool) -> Candidate:
    """A linear model without random effects by one of the two criteria."""
    r2 = float(np.sum(one.weights * (one.y - one.mu) ** 2))
    objective = float(linear_criterion(one, np.array([r2]), reml)[0])
    df = one.n - one.X.shape[1] if reml else one.n
    variance = r2 / df if one.known_sigma is None else one.known_sigma**2
    return replace(one, objective=objective, reml=reml, extra=math.log(variance))


def linear_criterion(one: Candidate, r2: Array, reml: bool) -> Array:
    """ML or REML criterion at weighted sums of squares (R,), without random effects."""
    df = one.n - one.X.shape[1] if reml else one.n
    constant = -float(np.log(one.weights).sum())
    if reml:
        R = np.linalg.qr(one.X * np.sqrt(one.weights)[:, None])[1]
        constant += 2.0 * float(np.log(np.abs(R.diagonal())).sum())
    if one.known_sigma is None:
        return np.asarray(df * (1.0 + np.log(2.0 * np.pi * r2 / df)) + constant)
    variance = one.known_sigma**2
    return np.asarray(
        df * math.log(2.0 * math.pi * variance) + r2 / variance + constant
    )
