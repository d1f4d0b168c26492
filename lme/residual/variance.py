"""Variance functions: standard deviations of the residuals relative to sigma."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError, DesignError
from lme.residual.protocol import Array, Rows


def _covariate(rows: Rows) -> Array:
    if rows.values is None:
        raise TypeError("A variance covariate is missing.")
    return rows.values


def _refuse(rows: Rows, bad: NDArray[np.bool_], wanted: str, remedy: str) -> None:
    if bad.any():
        first = _covariate(rows)[np.flatnonzero(bad)[0]]
        raise DataError(
            f"The covariate of {rows.text} is {first:g} in {int(bad.sum())} row(s).",
            wanted,
            remedy,
        )


class Strata:
    """One standard deviation a stratum; that of the first level is sigma.

    Notes
    -----
    ``log s_i = phi_k`` in stratum k, 0 in the first; reported are ``exp(phi_k)``, the
    ratios of standard deviations.
    """

    def check(self, rows: Rows) -> None:
        """A ratio needs two strata."""
        if len(rows.labels) < 2:
            raise DesignError(
                f"{rows.text} has one stratum in the rows used.",
                "Variances that differ need at least two levels.",
                "Leave the term out.",
            )

    def size(self, rows: Rows) -> int:
        """All levels but the first."""
        return len(rows.labels) - 1

    def log_deviations(self, phi: Array, rows: Rows) -> Array:
        """``phi_k`` of each row's stratum."""
        return np.asarray(np.append(0.0, phi)[rows.codes])

    def jacobian(self, phi: Array, rows: Rows) -> Array:
        """Indicators of the strata but the first."""
        mine = rows.codes[:, None] == np.arange(1, phi.size + 1)
        return np.where(mine, 1.0, 0.0)

    def start(self, rows: Rows) -> Array:
        """Equal deviations."""
        return np.zeros(self.size(rows))

    def natural(self, phi: Array) -> Array:
        """Ratios of standard deviations to that of the first stratum."""
        return np.exp(phi)

    def names(self, rows: Rows) -> list[str]:
        """The levels but the first."""
        return list(rows.labels[1:])


class _Covariate:
    """``log s_i = phi_k a_i``, with one phi or one a stratum."""

    parameter = ""

    def attribute(self, rows: Rows) -> Array:
        """What the parameter multiplies, (n,)."""
        raise NotImplementedError

    def check(self, rows: Rows) -> None:
        """A covariate that does not vary says nothing of a variance."""
        a = self.attribute(rows)
        for k in range(max(len(rows.labels), 1)):
            part = a[rows.codes == k]
            if np.ptp(part) <= 1e-12 * max(float(np.abs(a).max()), 1e-300):
                where = f" where {rows.labels[k]}" if rows.labels else ""
                raise DesignError(
                    f"The covariate of {rows.text} does not vary{where}.",
                    "A variance function needs a covariate that varies.",
                    "Leave the term out; varIdent(f) lets variances differ by group.",
                )

    def size(self, rows: Rows) -> int:
        """One, or one a stratum."""
        return max(len(rows.labels), 1)

    def log_deviations(self, phi: Array, rows: Rows) -> Array:
        """``phi_k a_i``."""
        return phi[rows.codes] * self.attribute(rows)

    def jacobian(self, phi: Array, rows: Rows) -> Array:
        """``a_i`` in the column of the row's stratum."""
        mine = rows.codes[:, None] == np.arange(phi.size)
        return np.where(mine, self.attribute(rows)[:, None], 0.0)

    def start(self, rows: Rows) -> Array:
        """Equal deviations."""
        return np.zeros(self.size(rows))

    def natural(self, phi: Array) -> Array:
        """The parameter itself."""
        return phi

    def names(self, rows: Rows) -> list[str]:
        """``power`` or ``expon``, with the stratum where there are several."""
        if not rows.labels:
            return [self.parameter]
        return [f"{self.parameter} {label}" for label in rows.labels]


class Power(_Covariate):
    """``s_i = |v_i|^power``."""

    parameter = "power"

    def check(self, rows: Rows) -> None:
        """The covariate is nowhere zero."""
        _refuse(
            rows,
            _covariate(rows) == 0.0,
            "A power of zero is no standard deviation.",
            "Add a constant to the covariate, or use varExp.",
        )
        super().check(rows)

    def attribute(self, rows: Rows) -> Array:
        """``log |v|``."""
        return np.log(np.abs(_covariate(rows)))


class Exponential(_Covariate):
    """``s_i = exp(expon v_i)``."""

    parameter = "expon"

    def attribute(self, rows: Rows) -> Array:
        """The covariate."""
        return _covariate(rows)


class Fixed:
    """``s_i^2 = v_i``: a variance proportional to a covariate, nothing estimated."""

    def check(self, rows: Rows) -> None:
        """The covariate is positive."""
        _refuse(
            rows,
            ~(_covariate(rows) > 0.0),
            "A variance is positive.",
            "Take a covariate that is positive in all rows.",
        )

    def size(self, rows: Rows) -> int:
        """None."""
        return 0

    def log_deviations(self, phi: Array, rows: Rows) -> Array:
        """Half the logarithm of the covariate."""
        return 0.5 * np.log(_covariate(rows))

    def jacobian(self, phi: Array, rows: Rows) -> Array:
        """No columns."""
        return np.empty((rows.codes.size, 0))

    def start(self, rows: Rows) -> Array:
        """Nothing."""
        return np.empty(0)

    def natural(self, phi: Array) -> Array:
        """Nothing."""
        return phi

    def names(self, rows: Rows) -> list[str]:
        """Nothing."""
        return []
