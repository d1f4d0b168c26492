"""Correlations in time within groups."""

from __future__ import annotations

import numpy as np

from lme.errors import DataError, DesignError
from lme.residual.protocol import Array, Codes, Rows

#: A correlation this close to -1 or 1 is at the end of its range.
_EDGE = 1e-6
#: A correlation of neighbours this small is none.
_NONE = 1e-5


def time_gaps(rows: Rows) -> tuple[Codes, Array]:
    """Order by group and time, and the time since the row before in the group.

    Parameters
    ----------
    rows : Rows
        Without values, the order of the rows is the time.

    Returns
    -------
    order : (n,) intp
    gap : (n,) array
        In that order; 0 for the first row of a group.

    Raises
    ------
    DataError
        If a time occurs twice in a group.
    DesignError
        If no group has two rows.
    """
    n = rows.codes.size
    time = np.arange(n, dtype=np.float64) if rows.values is None else rows.values
    order = np.lexsort((time, rows.codes))
    codes, time = rows.codes[order], time[order]
    same = codes[1:] == codes[:-1]
    gap = np.zeros(n)
    step = np.diff(time)
    gap[1:] = np.where(same, 1.0 if rows.values is None else step, 0.0)
    again = np.flatnonzero(same & (step == 0.0))
    if again.size:
        label = rows.labels[codes[again[0]]]
        raise DataError(
            f"{rows.text} has time {time[again[0]]:g} twice in the group {label}.",
            "Within a group each row has a time of its own.",
            "Use a finer group, or write ar1(1 | g) to take the order of the rows.",
        )
    if not same.any():
        raise DesignError(
            f"No group of {rows.text} has two rows.",
            "A correlation within groups needs groups of several rows.",
            "Use a coarser group.",
        )
    return order, gap


class Autoregressive:
    """AR(1): ``cor(e_s, e_t) = Phi^|s - t|`` at whole-numbered times.

    Notes
    -----
    Searched is ``phi = atanh(Phi)``.
    """

    def gaps(self, rows: Rows) -> tuple[Codes, Array]:
        """As `time_gaps`; the times must be whole numbers."""
        if rows.values is not None:
            odd = rows.values != np.round(rows.values)
            if odd.any():
                value = rows.values[np.flatnonzero(odd)[0]]
                raise DataError(
                    f"{rows.text} has the time {value:g}.",
                    "An autoregression of order 1 needs whole-numbered times.",
                    "Use car1(time | g) for continuous time, or ar1(1 | g) for the "
                    "order of the rows.",
                )
        return time_gaps(rows)

    def size(self, rows: Rows) -> int:
        """One."""
        return 1

    def neighbours(self, phi: Array, gap: Array) -> tuple[Array, Array]:
        """``Phi^gap`` and its derivative."""
        rho = np.tanh(phi[0])
        slope = gap * rho ** (gap - 1.0) * (1.0 - rho * rho)
        return rho**gap, slope[:, None]

    def start(self, gap: Array) -> list[Array]:
        """A little, and much correlation."""
        return [np.array([0.1]), np.array([1.0])]

    def natural(self, phi: Array, gap: Array) -> Array:
        """Phi, the correlation at distance 1."""
        return np.tanh(phi)

    def names(self, rows: Rows) -> list[str]:
        """``Phi``."""
        return ["Phi"]

    def boundary(self, phi: Array, gap: Array) -> list[str]:
        """Phi is -1 or 1."""
        rho = float(np.tanh(phi[0]))
        if 1.0 - abs(rho) >= _EDGE:
            return []
        return [f"the correlation of neighbouring residuals is {np.sign(rho):+.0f}"]


class ContinuousAutoregressive:
    """CAR(1): ``cor(e_s, e_t) = Phi^|s - t|`` with ``0 < Phi < 1``, any times.

    Notes
    -----
    Searched is the logit of the correlation across the median gap, so that the unit of
    time does not matter.
    """

    def gaps(self, rows: Rows) -> tuple[Codes, Array]:
        """As `time_gaps`."""
        return time_gaps(rows)

    def size(self, rows: Rows) -> int:
        """One."""
        return 1

    def neighbours(self, phi: Array, gap: Array) -> tuple[Array, Array]:
        """``rho^(gap / median)`` and its derivative."""
        ratio = gap / np.median(gap)
        # log rho and 1 - rho, without loss at either end.
        log_rho = -np.logaddexp(0.0, -phi[0])
        value = np.exp(ratio * log_rho)
        rest = np.exp(-np.logaddexp(0.0, phi[0]))
        return value, (ratio * value * rest)[:, None]

    def start(self, gap: Array) -> list[Array]:
        """A little, and much correlation."""
        return [np.array([-1.5]), np.array([1.2])]

    def natural(self, phi: Array, gap: Array) -> Array:
        """Phi, the correlation at distance 1."""
        return np.exp(-np.logaddexp(0.0, -phi) / np.median(gap))

    def names(self, rows: Rows) -> list[str]:
        """``Phi``."""
        return ["Phi"]

    def boundary(self, phi: Array, gap: Array) -> list[str]:
        """No correlation, or that of 1."""
        rho, _ = self.neighbours(phi, gap)
        if rho.max() < _NONE:
            return ["neighbouring residuals have no correlation"]
        if 1.0 - rho.min() < _EDGE:
            return ["the correlation of neighbouring residuals is +1"]
        return []
