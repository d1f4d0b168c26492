"""Residuals that form a Markov chain within groups: whitening in one pass.

For a correlation ``c_i`` of each row with the one before it in its group, the rows
``(t_i - c_i t_before) / sqrt(1 - c_i^2)`` are uncorrelated with the variance of the
``t_i``. The transformation W is a permuted lower-bidiagonal matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from lme.residual.protocol import Array, Codes


@dataclass(frozen=True)
class Chain:
    """Correlation of each row with the one before it.

    Attributes
    ----------
    order : (n,) intp
        Rows by group and time.
    linked : (n,) bool
        In that order, whether the row has one before it in its group.
    correlation : (n,) array
        In that order, the correlation with the row before; 0 where there is none.
    """

    order: Codes
    linked: NDArray[np.bool_]
    correlation: Array

    @cached_property
    def after(self) -> Codes:
        """Rows of the data that have one before them, (m,)."""
        return np.asarray(self.order[self.linked])

    @cached_property
    def before(self) -> Codes:
        """The rows before those of `after`, (m,)."""
        return np.asarray(self.order[np.flatnonzero(self.linked) - 1])

    @cached_property
    def linked_correlation(self) -> Array:
        """Correlations of `after` with `before`, (m,)."""
        return np.asarray(self.correlation[self.linked])

    @cached_property
    def gain(self) -> Array:
        """``1 / sqrt(1 - c^2)`` of the rows `after`, (m,)."""
        c = self.linked_correlation
        return np.asarray(1.0 / np.sqrt((1.0 - c) * (1.0 + c)))

    @cached_property
    def log_det(self) -> float:
        """``log |W|``."""
        return float(np.log(self.gain).sum())

    def whiten(self, columns: Array) -> Array:
        """``W t`` for t of shape (n,) or (n, k)."""
        c, gain = _beside(self.linked_correlation, self.gain, columns)
        out = np.array(columns, dtype=np.float64)
        out[self.after] -= c * columns[self.before]
        out[self.after] *= gain
        return out

    def whiten_transposed(self, columns: Array) -> Array:
        """``W' t`` for t of shape (n,) or (n, k)."""
        c, gain = _beside(self.linked_correlation, self.gain, columns)
        out = np.array(columns, dtype=np.float64)
        out[self.after] *= gain
        # No row is before two others, so that the indices are all different.
        out[self.before] -= c * gain * columns[self.after]
        return out

    def colour(self, columns: Array) -> Array:
        """``W^-1 t``: correlated from uncorrelated rows, shape as given."""
        return self._solve(columns, transposed=False)

    def colour_transposed(self, columns: Array) -> Array:
        """``W'^-1 t``, shape as given."""
        return self._solve(columns, transposed=True)

    def _solve(self, columns: Array, *, transposed: bool) -> Array:
        if not columns.size:
            return columns
        band = np.ones((2, self.order.size))
        inner = np.flatnonzero(self.linked)
        band[0, inner] = self.gain
        band[1, :] = 0.0
        band[1, inner - 1] = -self.gain * self.linked_correlation
        shape = (1, 0)
        if transposed:
            band = np.array([np.append(0.0, band[1, :-1]), band[0]])
            shape = (0, 1)
        out = np.empty(columns.shape)
        out[self.order] = solve_banded(
            shape, band, columns[self.order], check_finite=False
        )
        return out

    def among(self, rows: Codes) -> Array:
        """Correlation matrix of some rows, (m, m); 0 between groups."""
        group = np.cumsum(~self.linked)
        with np.errstate(divide="ignore"):
            logs = np.log(np.abs(np.where(self.linked, self.correlation, 1.0)))
        negative = np.where(self.linked & (self.correlation < 0.0), 1, 0)
        # A correlation of zero between neighbours cuts the chain like a new group.
        cut = np.cumsum(~np.isfinite(logs))
        total = np.cumsum(np.where(np.isfinite(logs), logs, 0.0))
        signs = np.cumsum(negative)
        place = np.empty(self.order.size, dtype=np.intp)
        place[self.order] = np.arange(self.order.size)
        at = place[rows]
        same = (group[at][:, None] == group[at]) & (cut[at][:, None] == cut[at])
        size = np.exp(-np.abs(total[at][:, None] - total[at]))
        odd = (signs[at][:, None] - signs[at]) % 2
        return np.asarray(np.where(same, size * np.where(odd == 1, -1.0, 1.0), 0.0))


def _beside(c: Array, gain: Array, columns: Array) -> tuple[Array, Array]:
    """Correlation and gain in a shape that multiplies the columns."""
    if columns.ndim == 1:
        return c, gain
    return c[:, None], gain[:, None]
