"""Entries of an inverse on the pattern of its sparse Cholesky factor.

With ``M = L L'`` the inverse S obeys ``S = (L L')^-1``; for a supernode with columns J
and rows I below them, and with ``Y = L_IJ L_JJ^-1``,

    S_IJ = -S_II Y        S_JJ = (L_JJ L_JJ')^-1 + Y' S_II Y,

and ``S_II`` is known once the supernode's parent is done. The recurrence runs down the
elimination tree, one level of the tree at a time; supernodes of one level and of
nearly one shape form a stack and are done by one set of array operations.

References
----------
.. [1] Takahashi, K., Fagan, J. & Chin, M.-S. (1973). Formation of a sparse bus
   impedance matrix and its application to short circuit study. Proc. 8th PICA Conf.,
   63-69.
.. [2] Erisman, A. M. & Tinney, W. F. (1975). On computing certain elements of the
   inverse of a sparse matrix. Comm. ACM 18(3), 177-179. doi:10.1145/360680.360704
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lme.engine.elimination import Supernodes, amalgamate, depths, supernodes

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Entries of a stack of matrices that fit into a core's cache.
_STACK = 200_000
#: Panels this wide are inverted one by one by LAPACK, narrower ones in stacks.
_WIDE = 32


@dataclass(frozen=True, slots=True)
class _Group:
    """A stack of supernodes of one depth, padded to one shape.

    Attributes
    ----------
    count, width, below : int
        Supernodes, columns of each and rows below them.
    panels : int
        Start of the (count, width + below, width) stack of panels.
    starts, strides, rows : (count,), (count,) and (count, below) intp
        Where the parents' fronts start, how long their rows are, and which of their
        rows these supernodes need.
    front : int
        Start of this stack's own fronts on its level; -1 when nobody needs them.
    """

    count: int
    width: int
    below: int
    panels: int
    starts: Index
    strides: Index
    rows: Index
    front: int


def _shape_class(size: Index) -> Index:
    """Sizes that may be padded to one: exact up to 2, then two to each doubling."""
    large = np.ceil(2.0 * np.log2(np.maximum(size, 2) / 2.0)).astype(np.intp)
    return np.where(size <= 2, size, 2 + large)


def _ranges(counts: Index) -> Index:
    """``0 .. count - 1`` for each of `counts`, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - counts, counts)


def _groups(nodes: Supernodes, depth: Index, childless: NDArray[np.bool_]) -> Index:
    """Group of each supernode; groups are numbered from the roots down."""
    keys = np.column_stack(
        [depth, childless, _shape_class(nodes.width), _shape_class(nodes.below)]
    )
    order = np.lexsort(keys.T[::-1])
    change = (np.diff(keys[order], axis=0) != 0).any(axis=1)
    group = np.empty(order.size, dtype=np.intp)
    group[order] = np.concatenate([[0], np.cumsum(change)])
    return group


class SelectedInverse:
    """Plan of the recurrence for one pattern; `compute` runs it.

    Parameters
    ----------
    indptr, indices : integer arrays
        Pattern of the lower-triangular factor by columns, rows ascending, the
        diagonal first.
    """

    def __init__(self, indptr: NDArray[np.int_], indices: NDArray[np.int_]) -> None:
        starts, rows = indptr.astype(np.intp), indices.astype(np.intp)
        nodes = amalgamate(supernodes(starts, rows))
        self._nodes = nodes
        self._n = starts.size - 1
        order = np.argsort(nodes.of_column, kind="stable")
        self._local = np.empty(self._n, dtype=np.intp)
        self._local[order] = _ranges(nodes.width)
        # Rows below each supernode, one after the other, found by their keys.
        self._first_row = np.cumsum(nodes.below) - nodes.below
        self._owner = np.repeat(np.arange(nodes.width.size), nodes.below)
        source = np.repeat(starts[nodes.top] + 1, nodes.below) + _ranges(nodes.below)
        self._rows = rows[source]
        self._keys = self._owner * self._n + self._rows
        self._lay_out()
        columns = np.repeat(np.arange(self._n), np.diff(starts))
        self._scatter = self.positions(rows, columns)

    def _lay_out(self) -> None:
        """Give every supernode its place in memory and plan the levels."""
        nodes = self._nodes
        m = nodes.width.size
        depth = depths(nodes.parent)
        childless = np.ones(m + 1, dtype=bool)
        childless[nodes.parent] = False
        group = _groups(nodes, depth, childless[:m])
        order = np.argsort(group, kind="stable")
        count = np.bincount(group)
        first = np.cumsum(count) - count
        width = np.maximum.reduceat(nodes.width[order], first)
        below = np.maximum.reduceat(nodes.below[order], first)
        level = depth[order][first]
        side = width + below
        slot = np.empty(m, dtype=np.intp)
        slot[order] = _ranges(count)
        panels = np.concatenate([[0], np.cumsum(count * side * width)])
        self.size = int(panels[-1])
        self._width, self._padded = width[group], below[group]
        self._start = panels[group] + slot * (side * width)[group]
        # Each level has its own array of fronts, alive until the next is done.
        needed = count * side**2 * ~childless[order][first]
        total = np.cumsum(needed) - needed
        fronts = total - total[np.searchsorted(level, level)]
        self._front_sizes = np.bincount(level, needed).astype(np.intp)
        front = fronts[group] + slot * (side**2)[group]
        rows = self._rows_in_parents(slot, group, count * below)
        self._levels: list[list[_Group]] = [[] for _ in range(level[-1] + 1)]
        parent = np.where(nodes.parent < m, nodes.parent, 0)
        for g, members in enumerate(np.split(order, first[1:])):
            above = parent[members]
            self._levels[level[g]].append(
                _Group(
                    int(count[g]),
                    int(width[g]),
                    int(below[g]),
                    int(panels[g]),
                    front[above],
                    side[group[above]],
                    rows[g].reshape(count[g], below[g]),
                    int(fronts[g]) if needed[g] else -1,
                )
            )
        spare = self._width - nodes.width
        column = np.repeat(nodes.width, spare) + _ranges(spare)
        self._pads = np.repeat(self._start, spare) + column * (
            np.repeat(self._width, spare) + 1
        )

    def _rows_in_parents(self, slot: Index, group: Index, sizes: Index) -> list[Index]:
        """Where the rows below each supernode stand in its parent's front."""
        place = self._local_rows(self._rows, self._nodes.parent[self._owner])
        first = np.cumsum(sizes) - sizes
        # Padding points at row 0: what comes of it is multiplied by zero.
        padded = np.zeros(sizes.sum(), dtype=np.intp)
        start = first[group] + slot * self._padded
        padded[start[self._owner] + _ranges(self._nodes.below)] = place
        return np.split(padded, first[1:])

    def _local_rows(self, rows: Index, nodes: Index) -> Index:
        """Position of `rows` among the columns and rows below of `nodes`."""
        inside = self._nodes.of_column[rows] == nodes
        out = self._local[rows]
        far = np.flatnonzero(~inside)
        found = np.searchsorted(self._keys, nodes[far] * self._n + rows[far])
        out[far] = self._width[nodes[far]] + found - self._first_row[nodes[far]]
        return out

    def positions(self, rows: Index, cols: Index) -> Index:
        """Where entries of the pattern (``rows >= cols``) stand in the panels."""
        node = self._nodes.of_column[cols]
        local = self._local_rows(rows, node)
        place: Index = self._start[node] + local * self._width[node]
        return place + self._local[cols]

    def compute(self, data: Array) -> Array:
        """Panels of the inverse from the entries of the factor.

        Parameters
        ----------
        data : array
            Entries of the factor in the order of the pattern.

        Returns
        -------
        (size,) array
            To be read at `positions`.
        """
        panels = np.zeros(self.size)
        panels[self._pads] = 1.0
        panels[self._scatter] = data
        above = np.empty(0)
        for groups, size in zip(self._levels, self._front_sizes, strict=True):
            fronts = np.empty(size)
            for group in groups:
                _solve_group(group, panels, above, fronts)
            above = fronts
        return panels


def _solve_group(group: _Group, panels: Array, above: Array, fronts: Array) -> None:
    """Overwrite the group's panels of the factor by those of the inverse."""
    width, below = group.width, group.below
    side = width + below
    entries = group.count * side * width
    stack = panels[group.panels : group.panels + entries].reshape(-1, side, width)
    step = max(1, _STACK // max(1, below**2))
    for start in range(0, group.count, step):
        part = slice(start, start + step)
        panel = stack[part]
        inner = None
        if below:
            inner = _gather(group, part, above)
        _invert(panel, inner)
        if group.front >= 0:
            first = group.front + start * side**2
            front = fronts[first : first + len(panel) * side**2].reshape(-1, side, side)
            front[:, :, :width] = panel
            if inner is not None:
                front[:, :width, width:] = panel[:, width:].transpose(0, 2, 1)
                front[:, width:, width:] = inner


def _gather(group: _Group, part: slice, above: Array) -> Array:
    """``S_II`` of some supernodes, from their parents' fronts."""
    rows = group.rows[part]
    starts, strides = group.starts[part], group.strides[part]
    if len(rows) == 1:
        side, start = int(strides[0]), int(starts[0])
        front = above[start : start + side**2].reshape(side, side)
        return np.asarray(front[rows[0]].take(rows[0], axis=1)[None])
    lines = starts[:, None] + rows * strides[:, None]
    return np.asarray(above.take(lines[:, :, None] + rows[:, None, :]))


def _invert(panel: Array, inner: Array | None) -> None:
    """One step of the recurrence for a stack of panels, in place."""
    width = panel.shape[2]
    if inner is None and width >= _WIDE:
        for block in panel:
            upper, _ = lapack.dpotri(block.T, lower=0)
            upper = np.triu(upper)
            np.add(upper, np.triu(upper, 1).T, out=block)
        return
    root = panel[:, :width]
    if width == 1:
        inverse = 1.0 / root
    elif width < _WIDE:
        inverse = np.asarray(np.linalg.inv(root), dtype=float)
    else:
        inverse = np.stack([lapack.dtrtri(block.T, lower=0)[0].T for block in root])
    product = inverse.transpose(0, 2, 1) @ inverse if width > 1 else inverse * inverse
    if inner is not None:
        Y = panel[:, width:] @ inverse if width > 1 else panel[:, 1:] * inverse
        Z = inner @ Y
        product += Y.transpose(0, 2, 1) @ Z
        np.negative(Z, out=panel[:, width:])
    panel[:, :width] = product
