"""The elimination tree of a sparse Cholesky factor, by array operations only.

Column j of the factor depends on the columns below it in a tree: its parent is the
first row below the diagonal of column j. The tree gives the cost of a factorization
before anything is factored, and the order in which the entries of an inverse can be
computed (see `selinv`).

References
----------
.. [1] Liu, J. W. H. (1990). The role of elimination trees in sparse factorization.
   SIAM J. Matrix Anal. Appl. 11(1), 134-172. doi:10.1137/0611010
.. [2] Gilbert, J. R., Ng, E. G. & Peyton, B. W. (1994). An efficient algorithm to
   compute row and column counts for sparse Cholesky factorization. SIAM J. Matrix
   Anal. Appl. 15(4), 1075-1091. doi:10.1137/S0895479892236921
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]


def _climb(parent: Index, start: Index, limit: Index) -> Index:
    """The highest ancestor of each `start` that is still below its `limit`."""
    root = parent.size - 1
    jumps = [parent]
    while (jumps[-1] != root).any():
        jumps.append(jumps[-1][jumps[-1]])
    for jump in reversed(jumps):
        higher = jump[start]
        start = np.where(higher < limit, higher, start)
    return start


def elimination_tree(rows: Index, cols: Index, n: int) -> Index:
    """Parent of each column; n for a root.

    Parameters
    ----------
    rows, cols : (m,) intp
        Entries strictly below the diagonal (``rows > cols``), in elimination order.
    n : int
        Number of columns.

    Notes
    -----
    An edge from j to i > j puts i among the ancestors of j. Each round takes the
    nearest of a node's edges for its parent and moves the others up to the last
    ancestor below their end; edges are never lost, so that at the end, when every
    node has one edge, it is the tree of the whole pattern.
    """
    parent = np.full(n + 1, n, dtype=np.intp)
    low, high = cols, rows
    while low.size:
        before = parent.copy()
        np.minimum.at(parent, low, high)
        replaced = np.flatnonzero((parent != before) & (before < n))
        low = np.concatenate([low, replaced])
        high = np.concatenate([high, before[replaced]])
        loose = parent[low] != high
        low = _climb(parent, low[loose], high[loose])
        high = high[loose]
        loose = parent[low] != high
        key = np.unique(low[loose] * n + high[loose])
        low, high = key // n, key % n
    return parent[:n]


def depths(parent: Index) -> Index:
    """Number of ancestors of each node; `parent` is n for a root."""
    n = parent.size
    above = np.append(parent, n)
    depth = np.append(parent < n, False).astype(np.intp)
    while (above[:n] < n).any():
        depth += depth[above]
        above = above[above]
    return depth[:n]


def first_descendants(parent: Index) -> Index:
    """Smallest node below each node of a postordered tree (itself for a leaf)."""
    n = parent.size
    order = np.lexsort((np.arange(n), parent))
    previous = np.full(n, -1)
    sibling = parent[order[1:]] == parent[order[:-1]]
    previous[order[1:][sibling]] = order[:-1][sibling]
    # A first child begins where its parent begins; any other begins after the
    # sibling before it.
    up = np.where((previous < 0) & (parent < n), parent, np.arange(n))
    while True:
        higher = up[up]
        if (higher == up).all():
            return previous[up] + 1
        up = higher


def _common_ancestors(parent: Index, depth: Index, low: Index, high: Index) -> Index:
    """Lowest common ancestors of pairs ``low < high`` in a postordered tree."""
    n = parent.size
    # The shallowest node from low to high is high itself, or a child of the answer.
    best = depth * n + np.arange(n)
    level = np.frexp((high - low + 1).astype(float))[1] - 1
    out = np.empty(low.size, dtype=np.intp)
    for k in range(int(level.max(initial=-1)) + 1):
        if k:
            half = 1 << (k - 1)
            best = np.minimum(best[:-half], best[half:])
        here = np.flatnonzero(level == k)
        left, right = best[low[here]], best[high[here] + 1 - (1 << k)]
        out[here] = np.minimum(left, right) % n
    return np.where(out == high, high, parent[out])


def column_counts(rows: Index, cols: Index, parent: Index) -> Index:
    """Entries in each column of the factor, the diagonal included.

    Parameters
    ----------
    rows, cols : (m,) intp
        Entries strictly below the diagonal, in a postordered elimination order.
    parent : (n,) intp
        As made by `elimination_tree`.
    """
    n = parent.size
    nodes = np.arange(n)
    order = np.lexsort((cols, rows))
    row = np.concatenate([rows[order], nodes])
    col = np.concatenate([cols[order], nodes])
    order = np.argsort(row, kind="stable")
    row, col = row[order], col[order]
    same = row[1:] == row[:-1]
    low, high = col[:-1][same], col[1:][same]
    common = _common_ancestors(parent, depths(parent), low, high)
    # Row i of the factor is the subtree that its entries span below i: a node of it
    # lies above one more of the entries than of their common ancestors.
    change = np.bincount(col, minlength=n + 1) - np.bincount(common, minlength=n + 1)
    change -= np.bincount(parent, minlength=n + 1)
    total = np.concatenate([[0], np.cumsum(change[:n])])
    counts: Index = total[1:] - total[first_descendants(parent)]
    return counts


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one factorization.

    Attributes
    ----------
    flops : float
        Multiplications and additions.
    entries : float
        Entries of the factor.
    """

    flops: float
    entries: float


def cost(perm: Index, rows: Index, cols: Index) -> Cost:
    """Work of factoring a pattern in a postordered elimination order.

    Parameters
    ----------
    perm : (n,) intp
        The column that is eliminated first, second and so on.
    rows, cols : (m,) intp
        Entries of one triangle, with or without the diagonal.
    """
    place = np.empty(perm.size, dtype=np.intp)
    place[perm] = np.arange(perm.size)
    low, high = place[rows], place[cols]
    low, high = np.minimum(low, high), np.maximum(low, high)
    off = low != high
    low, high = low[off], high[off]
    counts = column_counts(high, low, elimination_tree(high, low, perm.size))
    return Cost(float(np.square(counts, dtype=float).sum()), float(counts.sum()))


@dataclass(frozen=True, slots=True)
class Supernodes:
    """Sets of columns that are treated as one dense panel each.

    Attributes
    ----------
    of_column : (n,) intp
        Supernode of each column.
    width, below : (m,) intp
        Number of columns, and of rows below them.
    parent : (m,) intp
        Supernode of the first row below; m for a root.
    top : (m,) intp
        Last column of each; its rows below the diagonal are the rows below.
    """

    of_column: Index
    width: Index
    below: Index
    parent: Index
    top: Index


def supernodes(indptr: Index, indices: Index) -> Supernodes:
    """Maximal runs of columns with the same rows, from the factor's pattern."""
    n = indptr.size - 1
    count = np.diff(indptr)
    parent = np.full(n, n, dtype=np.intp)
    inner = count > 1
    parent[inner] = indices[indptr[:-1][inner] + 1]
    starts = np.ones(n, dtype=bool)
    starts[1:] = (parent[:-1] != np.arange(1, n)) | (count[1:] != count[:-1] - 1)
    of_column = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)
    width = np.diff(np.append(first, n))
    top = first + width - 1
    above = np.append(of_column, first.size)[parent[top]]
    return Supernodes(of_column, width, count[top] - 1, above, top)


#: Nanoseconds for: a supernode in a stack, an entry gathered from the front above, an
#: entry written to the own front, an entry of the panel, a multiplication in LAPACK.
_NODE, _GATHER, _FRONT, _PANEL, _FLOP = 200.0, 4.0, 3.0, 2.0, 0.1


def _time(width: Index, below: Index, leaf: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Time that the inverse needs for a supernode."""
    c, r = width.astype(float), below.astype(float)
    side = c + r
    flops = 2.0 * c * (r * r + 2.0 * r * c + c * c)
    front = np.where(leaf, 0.0, _FRONT * side * side)
    out: NDArray[np.float64] = front + _NODE + _GATHER * r * r
    out += _PANEL * c * side + _FLOP * flops
    return out


def amalgamate(nodes: Supernodes) -> Supernodes:
    """Merge children into their parents where that saves time.

    Notes
    -----
    The price is explicit zeros: the rows below a merged supernode are those of the
    parent. Each round lets nodes of even (then odd) depth join their parents, one
    child for each, so that no decision rests on sizes that change in the same round.
    """
    width, below, parent = nodes.width.copy(), nodes.below, nodes.parent.copy()
    m = width.size
    owner = np.arange(m)
    alive = np.ones(m, dtype=bool)
    idle = parity = 0
    while idle < 2:
        depth = depths(np.where(alive, parent, m))
        children = np.bincount(parent[alive], minlength=m + 1)
        child = np.flatnonzero(alive & (parent < m) & (depth % 2 == parity))
        above = parent[child]
        leaf = children[child] == 0
        gain = (
            _time(width[child], below[child], leaf)
            + _time(width[above], below[above], np.zeros(1, dtype=bool))
            - _time(
                width[child] + width[above],
                below[above],
                leaf & (children[above] == 1),
            )
        )
        good = gain > 0.0
        child, above, gain = child[good], above[good], gain[good]
        # The best child of each parent comes first in this order.
        order = np.lexsort((-gain, above))
        _, first = np.unique(above[order], return_index=True)
        child, above = child[order[first]], above[order[first]]
        width[above] += width[child]
        alive[child] = False
        moved = np.arange(m + 1)
        moved[child] = above
        owner, parent = moved[owner], moved[parent]
        idle = 0 if child.size else idle + 1
        parity = 1 - parity
    keep = np.flatnonzero(alive)
    label = np.append(np.cumsum(alive) - 1, keep.size)
    return Supernodes(
        label[owner][nodes.of_column],
        width[keep],
        below[keep],
        label[parent[keep]],
        nodes.top[keep],
    )
