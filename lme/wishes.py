"""Where the user wishes a search to start, by the names of the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.covariance import Structure
from lme.covariance.held import Held
from lme.covariance.patterned import Patterned
from lme.engine.relcov import Template, lower_factor
from lme.errors import OptionError, near
from lme.fixing import theta_names
from lme.formula.design import Design
from lme.naming import Parameter, covariance_parameters

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Start:
    """Values at which a search starts; what is not named comes from moments.

    Attributes
    ----------
    theta : (k,) array
        Elements in lme4's order; NaN where they are not given.
    natural : tuple of (Parameter, float)
        Standard deviations and correlations.
    sigma : float or None
        Residual standard deviation, or root of the dispersion.
    nb_theta : float or None
        Of a negative binomial.
    beta : (p,) array or None
        Coefficients; NaN where they are not given.
    """

    theta: Array
    natural: tuple[tuple[Parameter, float], ...] = ()
    sigma: float | None = None
    nb_theta: float | None = None
    beta: Array | None = None

    def elements(self, guess: Array, template: Template, scale: float) -> Array:
        """Theta in lme4's order, with a guess where nothing is wished.

        Parameters
        ----------
        guess : (k,) array
        template : Template
        scale : float
            Residual standard deviation to which theta is relative.
        """
        out = np.where(np.isnan(self.theta), guess, self.theta)
        for number, slot in enumerate(template.slots):
            own = [(p, value) for p, value in self.natural if p.slot == number]
            if own:
                structure: Structure = slot.structure
                if isinstance(structure, Held):
                    structure = structure.base
                out[slot.entries] = _entries(structure, out[slot.entries], own, scale)
        return out


def _entries(
    structure: Structure,
    values: Array,
    wishes: Sequence[tuple[Parameter, float]],
    scale: float,
) -> Array:
    """Elements of one term with some deviations and correlations replaced."""
    out = values.copy()
    if isinstance(structure, Patterned):
        for parameter, value in wishes:
            out[parameter.entry] = value / scale if parameter.kind == "sd" else value
        return out
    if structure.independent:
        for parameter, value in wishes:
            out[parameter.entry] = value / scale
        return out
    p = int(np.sqrt(2 * values.size))
    factor = structure.factor(values, p)
    covariance = factor @ factor.T
    sd = np.sqrt(covariance.diagonal())
    R = covariance / np.outer(sd, sd) if (sd > 0.0).all() else np.eye(p)
    for parameter, value in wishes:
        if parameter.kind == "sd":
            sd[parameter.rows[0]] = value / scale
        else:
            i, j = parameter.rows
            R[i, j] = R[j, i] = value
    eigenvalues, vectors = np.linalg.eigh(R)
    if eigenvalues[0] < -1e-10:
        raise OptionError(
            "The correlations of start do not fit each other.",
            "A correlation matrix has no negative eigenvalue.",
            "Give all correlations of the term, or smaller ones.",
        )
    half = sd[:, None] * vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    return structure.pack(lower_factor(half)[0])


def read_start(
    design: Design, given: Any, scale: str = "", columns: Sequence[str] | None = None
) -> Start | None:
    """The user's wishes, checked.

    Parameters
    ----------
    design : Design
    given : array_like, mapping or None
        Theta; or a mapping with ``"theta"`` (an array, or numbers by name), names of
        standard deviations and correlations as `confint` has them, ``"sigma"``, and
        coefficients.
    scale : {"", "sigma", "nb_theta"}
        The parameter of scale that the model has.
    columns : sequence of str, optional
        Names of the coefficients, where these are parameters of the search.

    Raises
    ------
    OptionError
        For names that are not known, and for values that cannot be.
    """
    if given is None:
        return None
    values = given if isinstance(given, Mapping) else {"theta": given}
    names = theta_names(design)
    fixed = [] if columns is None else list(columns)
    theta, beta = np.full(len(names), np.nan), np.full(len(fixed), np.nan)
    known = {each.name: each for each in covariance_parameters(design)}
    known |= {each.old: each for each in list(known.values())}
    natural: list[tuple[Parameter, float]] = []
    single: dict[str, float] = {}
    for key, value in values.items():
        if key == "theta":
            theta = _array(key, value, names)
        elif key in ("beta", "fixef") and columns is not None:
            beta = _array(key, value, fixed)
        elif key in known:
            natural.append((known[key], _number(key, value, *known[key].bounds)))
        elif scale and key in (scale, f".{scale}"):
            single[scale] = _number(key, value, 0.0, np.inf)
            if single[scale] == 0.0:
                raise OptionError(f"start[{key!r}] is 0.", "It must be positive.")
        elif key in fixed:
            beta[fixed.index(key)] = _number(key, value, -np.inf, np.inf)
        else:
            raise _unknown(key, design, scale, columns)
    return Start(
        theta,
        tuple(natural),
        single.get("sigma"),
        single.get("nb_theta"),
        beta if np.isfinite(beta).any() else None,
    )


def _unknown(
    key: object, design: Design, scale: str, columns: Sequence[str] | None
) -> OptionError:
    found = [each.name for each in covariance_parameters(design)]
    if scale:
        found.append(scale)
    names = ["theta", *found]
    if columns is not None:
        names = ["theta", "beta", *found, *columns]
    why = " (the fixed effects are profiled out)" if columns is None else ""
    return OptionError(
        f"Unknown start value {key!r}.",
        f"A start may have {', '.join(map(repr, names))}{why}.",
        near(str(key), names),
    )


def _number(key: object, value: Any, low: float, high: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not (np.isfinite(number) and low <= number <= high):
        bounds = "" if np.isinf(low) else f" from {low:g} to {high:g}"
        raise OptionError(
            f"start[{key!r}] is {value!r}.", f"A finite number{bounds} was expected."
        )
    return number


def _array(key: object, value: Any, names: list[str]) -> Array:
    """Values in order, or by name with NaN for the others."""
    listed = ", ".join(map(repr, names))
    kind = "covariance parameters (theta)" if key == "theta" else "coefficients"
    if hasattr(value, "items"):
        out = np.full(len(names), np.nan)
        for name, number in value.items():
            if names.count(name) != 1:
                raise OptionError(
                    f"start[{key!r}] has {name!r}, which is not the name of one "
                    "element.",
                    f"The elements are {listed}.",
                    near(str(name), names),
                )
            out[names.index(name)] = _number(name, number, -np.inf, np.inf)
        return out
    try:
        array = np.atleast_1d(np.asarray(value, dtype=float))
    except (TypeError, ValueError):
        array = np.array([np.nan])
    if array.shape != (len(names),) or not np.isfinite(array).all():
        raise OptionError(
            f"start[{key!r}] has {array.size} value{'s' if array.size != 1 else ''} "
            "or values that are not finite numbers.",
            f"This model has {len(names)} {kind}: {listed}.",
            "Give a finite number for each, in this order.",
        )
    return array
