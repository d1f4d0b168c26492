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
    def in_turn(self) -> bool:
        """Whether the data stand in the order of the chain."""
        return bool((np.diff(self.order) == 1).all())

    @cached_property
    def with_previous(self) -> Array:
        """Correlation of each row of the data with the one before it, else 0, (n,)."""
        return self.by_rows(self.correlation)

    @cached_property
    def gain(self) -> Array:
        """``1 / sqrt(1 - c^2)`` of each row of the data, (n,)."""
        c = self.with_previous
        return np.asarray(1.0 / np.sqrt((1.0 - c) * (1.0 + c)))

    @cached_property
    def log_det(self) -> float:
        """``log |W|``."""
        return float(np.log(self.gain).sum())

    def by_rows(self, values: Array) -> Array:
        """Values (n, ...) from the order of the chain to that of the data."""
        if self.in_turn:
            return values
        out = np.empty_like(values)
        out[self.order] = values
        return out

    def previous(self, columns: Array) -> Array:
        """Columns (n, ...) of the row before; of any other row where there is none."""
        if self.in_turn:
            return np.concatenate([columns[:1], columns[:-1]])
        return np.asarray(columns[self._before])

    def onto_previous(self, columns: Array) -> Array:
        """The transpose of `previous`, for columns (n, ...) that are 0 without one."""
        if self.in_turn:
            return np.concatenate([columns[1:], np.zeros_like(columns[:1])])
        out = np.zeros_like(columns)
        # No row is before two others, so that the indices are all different.
        rows = self.order[self.linked]
        out[self._before[rows]] = columns[rows]
        return out

    @cached_property
    def _before(self) -> Codes:
        before = self.order.copy()
        before[self.order[self.linked]] = self.order[np.flatnonzero(self.linked) - 1]
        return before

    def whiten(self, columns: Array) -> Array:
        """``W t`` for t of shape (n,) or (n, k)."""
        c, gain = self._beside(columns)
        return np.asarray(gain * columns - (gain * c) * self.previous(columns))

    def whiten_transposed(self, columns: Array) -> Array:
        """``W' t`` for t of shape (n,) or (n, k)."""
        c, gain = self._beside(columns)
        scaled = gain * columns
        return np.asarray(scaled - self.onto_previous(c * scaled))

    def _beside(self, columns: Array) -> tuple[Array, Array]:
        """Correlation and gain in a shape that multiplies the columns."""
        if columns.ndim == 1:
            return self.with_previous, self.gain
        return self.with_previous[:, None], self.gain[:, None]

    def colour(self, columns: Array) -> Array:
        """``W^-1 t``: correlated from uncorrelated rows, shape as given."""
        return self._solve(columns, transposed=False)

    def colour_transposed(self, columns: Array) -> Array:
        """``W'^-1 t``, shape as given."""
        return self._solve(columns, transposed=True)

    def _solve(self, columns: Array, *, transposed: bool) -> Array:
        if not columns.size:
            return columns
        gain = self.gain[self.order]
        below = -(gain * self.correlation)[1:]
        band = np.array([gain, np.append(below, 0.0)])
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
