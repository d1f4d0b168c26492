"""Structures with a pattern of correlations: cs, ar1, toep.

Correlations are searched on the scale of angles, in which their bounds are ordinary
stationary points, as zero is for a standard deviation: the search is unconstrained and
may end on a bound. Where variances differ, their logarithms are searched, because a
negative standard deviation would turn the signs of some correlations.

Every factor is an analytic function of its parameters, so that a complex step gives
the Jacobian to the last digit (Squire & Trapp 1998, SIAM Rev. 40:110,
doi:10.1137/S003614459631241X).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEP = 1e-100
#: Relative standard deviations that the logarithm can reach.
_LEAST, _MOST = 1e-12, 1e12
#: A relative standard deviation that is zero for all purposes.
_IDLE = 1e-4


def _correlations(covariance: Array) -> Array:
    """Correlation matrix; NaN beside a variance of zero, which has rounding alone."""
    sd = np.sqrt(covariance.diagonal())
    scale = np.where(sd > 1e-6 * sd.max(), sd, np.nan)
    return np.asarray(covariance / np.outer(scale, scale))


def _mean(correlations: Array) -> Array:
    """Mean of those that are known, (1,), 0 where none is; empty of none."""
    known = correlations[~np.isnan(correlations)]
    if not correlations.size:
        return correlations
    return np.array([known.mean() if known.size else 0.0])


class Patterned(ABC):
    """Standard deviations, one or one a column, and a pattern of correlations.

    Parameters
    ----------
    equal : bool
        Whether all columns have one variance ("homogeneous").

    Notes
    -----
    Parameters are the standard deviations (or the logarithms of several) and then the
    angles of the correlations; reported are standard deviations, relative to sigma,
    and correlations.
    """

    independent = False
    linear = False

    def __init__(self, equal: bool) -> None:
        self.equal = equal
        self.basis = "scalar" if equal else "diagonal"

    # --- what a pattern has to say --------------------------------------------

    @abstractmethod
    def angle_count(self, p: int) -> int:
        """Number of correlation parameters."""

    @abstractmethod
    def root(self, angles: Any, p: int) -> Any:
        """A factor of the correlation matrix, analytic in the angles, (p, p)."""

    @abstractmethod
    def from_angles(self, angles: Array, p: int) -> Array:
        """Correlations of the angles."""

    @abstractmethod
    def to_angles(self, correlations: Array, p: int) -> Array:
        """Angles of the correlations."""

    @abstractmethod
    def average(self, correlation: Array) -> Array:
        """Correlation parameters of a correlation matrix, or of one nearby."""

    @abstractmethod
    def even_angles(self, p: int) -> bool:
        """Whether the sign of an angle does not change the covariance."""

    # --- the contract -----------------------------------------------------------

    def _deviations(self, p: int) -> int:
        return 1 if self.equal else p

    def size(self, p: int) -> int:
        """Standard deviations and correlations."""
        return self._deviations(p) + self.angle_count(p)

    def _factor(self, theta: Any, p: int) -> Any:
        d = self._deviations(p)
        sd = theta[:1] if self.equal else np.exp(theta[:d])
        scale = np.full(p, sd[0]) if self.equal else sd
        return scale[:, None] * self.root(theta[d:], p)

    def factor(self, theta: Array, p: int) -> Array:
        """A factor of the covariance, shape (p, p)."""
        return np.asarray(self._factor(theta, p), dtype=float)

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i`` by a complex step, shape (size, p, p)."""
        unit = np.eye(theta.size) * (_STEP * 1j)
        return np.array([self._factor(theta + step, p).imag / _STEP for step in unit])

    def pack(self, factor: Array) -> Array:
        """Parameters of a factor; correlations are averaged over the pattern."""
        p = len(factor)
        covariance = factor @ factor.T
        sd = np.sqrt(covariance.diagonal())
        head = np.array([np.sqrt(np.mean(sd**2))]) if self.equal else _logarithm(sd)
        angles = self.to_angles(self.average(_correlations(covariance)), p)
        return np.concatenate([head, angles])

    def natural(self, theta: Array, p: int) -> Array:
        """Relative standard deviations, then correlations."""
        d = self._deviations(p)
        sd = np.abs(theta[:1]) if self.equal else np.exp(theta[:d])
        return np.concatenate([sd, self.from_angles(theta[d:], p)])

    def interior(self, values: Array, p: int) -> Array:
        """Parameters of relative standard deviations and correlations."""
        d = self._deviations(p)
        sd = values[:1] if self.equal else _logarithm(values[:d])
        return np.concatenate([sd, self.to_angles(values[d:], p)])

    def labels(self, columns: Sequence[str]) -> list[str]:
        """The columns (or ``sd``), then ``cor``, by lag where there are several."""
        k = self.angle_count(len(columns))
        names = ["cor"] if k == 1 else [f"cor.{lag + 1}" for lag in range(k)]
        return [*(["sd"] if self.equal else columns), *names[:k]]

    def lower(self, p: int) -> Array:
        """Zero for a common standard deviation, else -inf, shape (size,)."""
        out = np.full(self.size(p), -np.inf)
        if self.equal:
            out[0] = 0.0
        return out

    def start(self, p: int) -> Array:
        """Unit variances and no correlation, shape (size,)."""
        free = np.zeros(self.angle_count(p))
        head = np.full(self._deviations(p), 1.0 if self.equal else 0.0)
        return np.concatenate([head, self.to_angles(free, p)])

    def idle(self, theta: Array, p: int) -> NDArray[np.bool_]:
        """Logarithms of standard deviations that are zero for all purposes."""
        out = np.zeros(theta.size, dtype=bool)
        if not self.equal:
            out[:p] = theta[:p] < np.log(_IDLE)
        return out

    def even(self, p: int) -> NDArray[np.bool_]:
        """A common standard deviation, and angles where the pattern says so."""
        out = np.full(self.size(p), self.even_angles(p))
        out[: self._deviations(p)] = self.equal
        return out


def _logarithm(sd: Array) -> Array:
    return np.asarray(np.log(np.clip(sd, _LEAST, _MOST)))


class CompoundSymmetry(Patterned):
    """One correlation between any two columns, in ``[-1 / (p - 1), 1]``.

    Notes
    -----
    With ``J = 11'/p`` the correlation matrix has the square root
    ``s (I - J) + c J``, where ``s = sqrt(p / (p - 1)) sin(t)``, ``c = sqrt(p) cos(t)``
    and ``rho = cos(t)^2 - sin(t)^2 / (p - 1)``.
    """

    def angle_count(self, p: int) -> int:
        """One, where there are two columns or more."""
        return int(p > 1)

    def root(self, angles: Any, p: int) -> Any:
        """The symmetric square root, up to signs."""
        if p == 1:
            return np.eye(1)
        mean = np.full((p, p), 1.0 / p)
        s = np.sqrt(p / (p - 1.0)) * np.sin(angles[0])
        return s * (np.eye(p) - mean) + np.sqrt(float(p)) * np.cos(angles[0]) * mean

    def from_angles(self, angles: Array, p: int) -> Array:
        """``rho``."""
        return np.asarray(np.cos(angles) ** 2 - np.sin(angles) ** 2 / max(p - 1, 1))

    def to_angles(self, correlations: Array, p: int) -> Array:
        """``t`` in ``[0, pi / 2]``."""
        share = np.clip(((p - 1) * correlations + 1.0) / p, 0.0, 1.0)
        return np.asarray(np.arccos(np.sqrt(share)))

    def average(self, correlation: Array) -> Array:
        """The mean of all correlations."""
        return _mean(correlation[np.tril_indices(len(correlation), -1)])

    def even_angles(self, p: int) -> bool:
        """True: only the squares of sine and cosine matter."""
        return True


def _from_partial(partial: Any, last: Any) -> Any:
    """Lower-triangular root of the correlation matrix of an autoregression.

    Parameters
    ----------
    partial : (p - 1,) array
        Partial autocorrelations.
    last : (p - 1,) array
        ``sqrt(1 - partial^2)``, with any sign.

    Notes
    -----
    Durbin's recursion gives the regression of each value on those before it; the root
    follows row by row, because the innovations are independent.
    """
    p = partial.size + 1
    root = np.zeros((p, p), dtype=partial.dtype)
    root[0, 0] = 1.0
    weights = np.zeros(0, dtype=partial.dtype)
    spread = 1.0
    for k in range(1, p):
        phi = partial[k - 1]
        weights = np.append(weights - phi * weights[::-1], phi)
        spread = spread * last[k - 1]
        root[k] = weights @ root[k - 1 :: -1]
        root[k, k] = spread
    return root


class Autoregressive(Patterned):
    """Correlation ``rho^|i - j|`` of the columns i and j, rho in [-1, 1].

    The columns are the levels of a factor, in their order and one unit apart:
    ``ar1(0 + time | g)``. Here ``rho = sin(t)``.
    """

    def angle_count(self, p: int) -> int:
        """One, where there are two columns or more."""
        return int(p > 1)

    def root(self, angles: Any, p: int) -> Any:
        """``L_ij = rho^(i - j) sqrt(1 - rho^2)``, and without the root for j = 1."""
        if p == 1:
            return np.eye(1)
        rho = np.sin(angles[0])
        lag = np.subtract.outer(np.arange(p), np.arange(p))
        powers = np.concatenate([[1.0], np.cumprod(np.full(p - 1, rho))])
        root = np.where(lag >= 0, powers[np.abs(lag)], 0.0)
        root[:, 1:] *= np.cos(angles[0])
        return root

    def from_angles(self, angles: Array, p: int) -> Array:
        """``rho``."""
        return np.asarray(np.sin(angles))

    def to_angles(self, correlations: Array, p: int) -> Array:
        """``t`` in ``[-pi / 2, pi / 2]``."""
        return np.asarray(np.arcsin(np.clip(correlations, -1.0, 1.0)))

    def average(self, correlation: Array) -> Array:
        """The mean of the correlations of neighbours."""
        return _mean(np.diag(correlation, -1))

    def even_angles(self, p: int) -> bool:
        """False."""
        return False


class Toeplitz(Patterned):
    """A correlation for each distance ``|i - j|`` between columns.

    Notes
    -----
    Partial autocorrelations ``sin(t_k)`` run over all of (-1, 1) independently of one
    another (Barndorff-Nielsen & Schou 1973, J. Multivariate Anal. 3:408,
    doi:10.1016/0047-259X(73)90030-4); autocorrelations follow by Durbin's recursion.
    """

    def angle_count(self, p: int) -> int:
        """One for each lag."""
        return p - 1

    def root(self, angles: Any, p: int) -> Any:
        """Lower-triangular root."""
        return _from_partial(np.sin(angles), np.cos(angles))

    def from_angles(self, angles: Array, p: int) -> Array:
        """Autocorrelations by lag."""
        root = self.root(angles, p)
        return np.asarray(root[1:, 0])

    def to_angles(self, correlations: Array, p: int) -> Array:
        """Angles of the partial autocorrelations by Durbin's recursion."""
        partial = np.zeros(p - 1)
        weights = np.zeros(0)
        variance = 1.0
        for k, r in enumerate(correlations):
            if not variance > 1e-14:
                break
            phi = (r - weights @ correlations[:k][::-1]) / variance
            if abs(phi) > 1.0:
                # Not a correlation sequence: the nearest that surely is.
                phi = np.clip(phi, -0.9, 0.9) if abs(phi) > 1.0 + 1e-6 else np.sign(phi)
            partial[k] = phi
            weights = np.append(weights - phi * weights[::-1], phi)
            variance *= 1.0 - phi**2
        return np.asarray(np.arcsin(partial))

    def average(self, correlation: Array) -> Array:
        """The mean of the correlations at each lag."""
        p = len(correlation)
        lags = [_mean(np.diag(correlation, -lag)) for lag in range(1, p)]
        return np.concatenate([np.empty(0), *lags])

    def even_angles(self, p: int) -> bool:
        """False."""
        return False
