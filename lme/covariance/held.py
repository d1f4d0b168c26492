"""A structure some of whose entries are held at a value, or equal to others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lme.covariance.protocol import Structure

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Searched by its root, an entry below this has ceased to change the covariance.
_IDLE = 1e-4


class Held:
    """A structure with entries at a value, and entries that equal one another.

    Parameters
    ----------
    base : Structure
    p : int
        Number of columns.
    position : (k,) intp
        Free parameter of each entry of `base`; -1 for an entry that is held.
    values : (k,) array
        What the held entries report; anything for the others.
    keys : tuple of str
        Names of the free parameters. Other terms with the same name share it.
    rooted : (r,) bool array
        Free parameters of which the square is the entry: entries that may not turn
        negative and whose sign the search could not turn back, because not all of
        their column is free.

    Notes
    -----
    The columns stay in the user's basis, so that entries are the user's entries.
    """

    basis = "none"
    linear = False

    def __init__(
        self,
        base: Structure,
        p: int,
        position: Index,
        values: Array,
        keys: tuple[str, ...],
        rooted: NDArray[np.bool_],
    ) -> None:
        self.base, self.p, self.position, self.values = base, p, position, values
        self.keys, self.rooted = keys, rooted
        self.independent = base.independent
        self._free = position >= 0
        filled = np.where(self._free, base.natural(base.start(p), p), values)
        self._constant = np.where(self._free, 0.0, base.interior(filled, p))
        # Of several entries that are equal the first one stands for all.
        self._first = np.array(
            [int(np.argmax(position == j)) for j in range(len(keys))], dtype=np.intp
        )

    @property
    def entries(self) -> int:
        """Number of entries, held ones too."""
        return int(self.position.size)

    def _whole(self, theta: Array) -> Array:
        """Parameters of `base`."""
        values = np.where(self.rooted, theta**2, theta)
        return np.where(self._free, np.append(values, 0.0)[self.position], 0.0) + (
            self._constant
        )

    def _part(self, whole: Array) -> Array:
        """Free parameters from those of `base`."""
        values = whole[self._first]
        return np.where(self.rooted, np.sqrt(np.maximum(values, 0.0)), values)

    def size(self, p: int) -> int:
        """Number of free parameters."""
        return len(self.keys)

    def factor(self, theta: Array, p: int) -> Array:
        """A factor ``lambda``, shape (p, p)."""
        return self.base.factor(self._whole(theta), p)

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i``, shape (size, p, p)."""
        parts = self.base.jacobian(self._whole(theta), p)
        out = np.zeros((len(self.keys), p, p))
        np.add.at(out, self.position[self._free], parts[self._free])
        return out * np.where(self.rooted, 2.0 * theta, 1.0)[:, None, None]

    def pack(self, factor: Array) -> Array:
        """The free parameters nearest to the covariance of `factor`."""
        return self._part(self.base.pack(factor))

    def natural(self, theta: Array, p: int) -> Array:
        """What is reported, held entries too, shape (entries,)."""
        found = self.base.natural(self._whole(theta), p)
        return np.where(self._free, found, self.values)

    def interior(self, values: Array, p: int) -> Array:
        """The free parameters for which `natural` reports `values`."""
        filled = np.where(self._free, values, self.values)
        return self._part(self.base.interior(filled, p))

    def labels(self, columns: Sequence[str]) -> list[str]:
        """Names of what `natural` reports."""
        return self.base.labels(columns)

    def lower(self, p: int) -> Array:
        """Lower bounds in lme4's convention, shape (size,)."""
        return self.base.lower(p)[self._first]

    def start(self, p: int) -> Array:
        """Parameters nearest to the identity factor, shape (size,)."""
        return self._part(self.base.start(p))

    def idle(self, theta: Array, p: int) -> NDArray[np.bool_]:
        """Parameters that have ceased to change the covariance, shape (size,)."""
        out = self.base.idle(self._whole(theta), p)[self._first]
        return out | (self.rooted & (np.abs(theta) < _IDLE))

    def even(self, p: int) -> NDArray[np.bool_]:
        """Parameters whose sign alone does not change the covariance, (size,)."""
        entries = self.base.even(p)
        all_even = [
            bool(entries[self.position == j].all()) for j in range(self.size(p))
        ]
        return np.asarray(self.rooted | np.array(all_even, dtype=bool))

    def canonical(self, theta: Array, p: int) -> Array:
        """The same covariance with non-negative diagonals."""
        out = np.where(self.even(p), np.abs(theta), theta)
        for column in columns_of(self.base, p):
            own = self.position[column]
            free = len(column) > 1 and not self.rooted[own[own >= 0]].any()
            if free and own.min() >= 0 and out[own[0]] < 0.0:
                out[own] = -out[own]
        return out


def columns_of(base: Structure, p: int) -> list[Index]:
    """Entries in each column of a triangular factor, the diagonal first.

    One column for each entry where the structure has no triangle.
    """
    k = base.size(p)
    if base.basis != "triangular":
        return [np.array([i], dtype=np.intp) for i in range(k)]
    ends = np.cumsum(np.arange(p, 0, -1))
    return np.split(np.arange(k), ends[:-1])


def rooted(
    base: Structure, p: int, position: Index, shared: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Free parameters that are searched by their root; see `Held`.

    Parameters
    ----------
    base : Structure
    p : int
    position : (k,) intp
        As for `Held`.
    shared : (r,) bool array
        Free parameters that stand for several entries, here or elsewhere.
    """
    out = np.zeros(shared.size, dtype=bool)
    for column in columns_of(base, p):
        own = position[column]
        if len(column) == 1 or own[0] < 0:
            continue
        if own.min() < 0 or shared[own].any():
            out[own[0]] = True
    return out
