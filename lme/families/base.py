"""What a family of response distributions is: records and contract.

The engine minimises a sum of unit deviances over rows and sees a family only through
functions of the linear predictor ``eta``. With ``D`` the deviance of one row (prior
weight included, divided by the dispersion ``phi`` where there is one),

    g = dD/d eta,    W_o = (1/2) d^2 D/d eta^2,    W = E(W_o),

and ``-2 log p(y) = D + constant``, where the constant does not depend on ``eta``.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   section 2.2 and table 2.1. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lme.errors import OptionError, near
from lme.families.foreign import link_name
from lme.families.links import LIMIT, LINKS, Link

Array = NDArray[np.float64]

#: Stands in a record for what was not asked for.
EMPTY: Array = np.empty(0)
EMPTY.setflags(write=False)


def absent() -> Array:
    """The empty array that stands for what was not asked for."""
    return EMPTY


@dataclass(frozen=True, slots=True)
class Pointwise:
    """Deviance of each row and its derivatives in the linear predictor.

    Arrays have shape (n,); those that the `order` of the call did not ask for are
    empty. Arrays may be shared (``Wo is W`` for canonical links): do not write.

    Attributes
    ----------
    deviance : ndarray
        ``D``; infinite where `eta` has no valid mean.
    g : ndarray
        ``dD/d eta``.
    W, dW : ndarray
        Expected weights, ``E(d^2 D/d eta^2) / 2``, and their derivative in `eta`.
    Wo, dWo : ndarray
        Observed weights, ``(d^2 D/d eta^2) / 2``, and their derivative in `eta`.
    """

    deviance: Array
    g: Array = field(default_factory=absent)
    W: Array = field(default_factory=absent)
    dW: Array = field(default_factory=absent)  # noqa: N815
    Wo: Array = field(default_factory=absent)
    dWo: Array = field(default_factory=absent)  # noqa: N815


@dataclass(frozen=True, slots=True)
class ExtraDerivatives:
    """Derivatives in the extra parameter ``kappa`` (``log phi`` or ``log theta``).

    Attributes
    ----------
    deviance, g, W, Wo : ndarray, shape (n,)
        ``d/d kappa`` of the arrays of `Pointwise`.
    constant : float
        ``d/d kappa`` of `Family.constant`.
    """

    deviance: Array
    g: Array
    W: Array
    Wo: Array
    constant: float


def parameter(extra: float) -> float:
    """The parameter whose logarithm is `extra`, kept between 1e-39 and 1e39."""
    return math.exp(min(max(extra, -90.0), 90.0))


def find_link(link: object) -> Link:
    """The link that a name, one of our links or one of statsmodels' stands for.

    Raises
    ------
    OptionError
        When there is no such link.

    Examples
    --------
    >>> find_link("1/mu^2").name
    'inverse_squared'
    """
    if isinstance(link, Link):
        return link
    if isinstance(link, type) and issubclass(link, Link):
        named = [row for row in LINKS.values() if type(row) is link]
        if len(named) == 1:
            return named[0]
    name = link_name(link)
    if name in LINKS:
        return LINKS[name]
    raise OptionError(
        f"Unknown link {link!r}.",
        f"Expected one of {', '.join(LINKS)}.",
        near(name or "", LINKS),
    )


@dataclass(frozen=True, init=False)
class Family(ABC):
    """A distribution of the response with a link: the contract.

    Parameters
    ----------
    link : Link or str, optional
        The link; by default the first of `links`.

    Notes
    -----
    A new family states its name and links, and writes `pointwise`, `row_constants`,
    `unit_deviance`, `variance`, `check_response`, `start_mean` and `draw`.
    `weights` are prior weights: trials of a proportion, ``phi / weight`` is the
    dispersion of a row where there is one, and the number of equal observations that
    a row stands for otherwise.
    """

    link: Link

    name: ClassVar[str]
    #: Names of the supported links, the default first.
    links: ClassVar[tuple[str, ...]]
    #: Whether the variance has a free scale, ``Var(y) = phi V(mu) / weight``.
    dispersion: ClassVar[bool] = False
    #: Bound on ``|eta|`` under a log link; beyond it the deviance is flat.
    limit: ClassVar[float] = LIMIT

    def __init__(self, link: object = None) -> None:
        chosen = LINKS[self.links[0]] if link is None else find_link(link)
        if chosen.name not in self.links:
            raise OptionError(
                f"The family {self.name} has no link {chosen.name!r}.",
                f"Expected one of {', '.join(self.links)}.",
                near(chosen.name, self.links),
            )
        object.__setattr__(self, "link", chosen)

    def __str__(self) -> str:
        return f"{self.name}({self.link.name})"

    def with_link(self, link: object) -> Family:
        """The same family with another link."""
        return type(self)(link=link)

    @property
    def extra(self) -> str | None:
        """Name of the parameter beside the mean: "phi", "theta" or None.

        It is estimated, and passed to all methods as its logarithm.
        """
        return "phi" if self.dispersion else None

    @property
    def canonical(self) -> bool:
        """Whether observed and expected weights are equal at every response."""
        return False

    @abstractmethod
    def pointwise(
        self,
        y: Array,
        weights: Array | None,
        eta: Array,
        extra: float = 0.0,
        *,
        order: int = 2,
        data_term: Array | float | None = None,
    ) -> Pointwise:
        """Deviance of each row and its derivatives in `eta`.

        Parameters
        ----------
        y : ndarray, shape (n,)
            Responses; proportions for the binomial family.
        weights : ndarray, shape (n,), or None
            Prior weights; None stands for ones.
        eta : ndarray, shape (n,)
            Linear predictor with offset.
        extra : float
            Logarithm of the extra parameter, for families that have one.
        order : {0, 1, 2}
            0 for the deviance, 1 also for `g` and `W`, 2 for everything.
        data_term : ndarray or float, optional
            What `data_term` returned for these responses and weights; saves
            computing it again.

        Returns
        -------
        Pointwise
        """

    def data_term(self, y: Array, weights: Array | None) -> Array | float:
        """The part of the deviance that depends on the data alone (before `phi`).

        It never changes within a fit; pass it to `pointwise`.
        """
        return 0.0

    def extra_derivatives(
        self, y: Array, weights: Array | None, eta: Array, extra: float
    ) -> ExtraDerivatives:
        """Derivatives in the logarithm of the extra parameter.

        For a dispersion ``D`` is proportional to ``1 / phi``, so that each derivative
        is minus the quantity itself; all are 0 for families without the parameter.
        """
        if self.extra is None:
            zero = np.zeros_like(eta)
            return ExtraDerivatives(zero, zero, zero, zero, 0.0)
        point = self.pointwise(y, weights, eta, extra)
        slope = self.constant_slope(y, weights, extra)
        return ExtraDerivatives(-point.deviance, -point.g, -point.W, -point.Wo, slope)

    @abstractmethod
    def row_constants(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> Array:
        """-2 log-density of each row at ``mu = y``, shape (n,)."""

    def constant(self, y: Array, weights: Array | None, extra: float = 0.0) -> float:
        """``-2 log-likelihood - sum of the deviances``, over all rows."""
        return float(np.sum(self.row_constants(y, weights, extra)))

    def constant_slope(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> float:
        """Derivative of `constant` in the logarithm of the extra parameter."""
        return 0.0

    def loglik(
        self, y: Array, weights: Array | None, mu: Array, extra: float = 0.0
    ) -> Array:
        """Log-likelihood of each row with all constants, shape (n,)."""
        deviance = self.unit_deviance(y, mu, extra) * self.precision(weights, extra)
        return np.asarray(-0.5 * (deviance + self.row_constants(y, weights, extra)))

    def precision(self, weights: Array | None, extra: float = 0.0) -> Array | float:
        """``weight / phi``, the factor of the unit deviance; ``phi = 1`` if fixed."""
        factor = 1.0 / parameter(extra) if self.dispersion else 1.0
        return factor if weights is None else weights * factor

    @abstractmethod
    def variance(self, mu: Array, extra: float = 0.0) -> Array:
        """Variance function ``V(mu)``, without `phi` and weights."""

    @abstractmethod
    def unit_deviance(self, y: Array, mu: Array, extra: float = 0.0) -> Array:
        """Deviance of each row at unit weight and `phi`; exactly 0 at ``y == mu``."""

    @abstractmethod
    def check_response(self, y: Array, weights: Array | None) -> None:
        """Refuse responses that the distribution cannot produce.

        Raises
        ------
        DataError
            With the first offending row (0-based) and its value.

        Warns
        -----
        DataWarning
            For counts that are not whole numbers.
        """

    @abstractmethod
    def start_mean(self, y: Array, weights: Array | None) -> Array:
        """Means to start from: near `y` and inside the range of the link."""

    def start_extra(self, y: Array, weights: Array | None) -> float:
        """Logarithm of the extra parameter to start from; 0 when there is none.

        Half of the Pearson estimate of `phi` about the common mean: the other half is
        left to predictors and random effects.
        """
        if not self.dispersion:
            return 0.0
        center = np.full_like(y, np.average(y, weights=weights))
        total = np.mean(self.pearson_residuals(y, weights, center) ** 2)
        return float(np.log(max(0.5 * float(total), 1e-10)))

    @abstractmethod
    def draw(
        self,
        rng: np.random.Generator,
        mean: Array,
        weights: Array | None = None,
        extra: float = 0.0,
    ) -> Array:
        """Random responses with the given means, shape of `mean`."""

    def mean(self, eta: Array) -> Array:
        """The mean at the linear predictor."""
        return self.link.mean(eta)

    def valid_mean(self, mu: Array) -> bool:
        """Whether every mean is in the range of the distribution."""
        return bool(np.isfinite(mu).all())

    def valid_eta(self, eta: Array) -> bool:
        """Whether every linear predictor has a mean in the distribution's range."""
        if not self.link.valid_eta(eta).all():
            return False
        return self.valid_mean(self.link.mean(eta))

    def deviance_residuals(
        self, y: Array, weights: Array | None, mu: Array, extra: float = 0.0
    ) -> Array:
        """``sign(y - mu) sqrt(weight unit deviance)``; exactly 0 at ``y == mu``."""
        unit = np.maximum(self.unit_deviance(y, mu, extra), 0.0)
        size = np.sqrt(unit if weights is None else unit * weights)
        return np.where(y == mu, 0.0, np.copysign(size, y - mu))

    def pearson_residuals(
        self, y: Array, weights: Array | None, mu: Array, extra: float = 0.0
    ) -> Array:
        """``(y - mu) sqrt(weight / V(mu))``; exactly 0 at ``y == mu``."""
        variance = self.variance(mu, extra)
        safe = np.where(y == mu, 1.0, variance)
        with np.errstate(divide="ignore"):
            scaled = (y - mu) / np.sqrt(safe)
        return scaled if weights is None else scaled * np.sqrt(weights)
