"""Small random designs for the engine, and what a kernel must say of them.

The reference works with dense matrices and nothing else; at the end are elimination
trees by their definition.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import block_diag

from lme.covariance import STRUCTURES
from lme.engine.crossproducts import cross_products
from lme.engine.relcov import Term, assemble, colour, spread


def codes(rng, n, levels):
    """Levels of n rows, all of them occurring."""
    out = rng.integers(0, levels, n)
    out[rng.permutation(n)[:levels]] = np.arange(levels)
    return out


def nested_codes(rng, n, *levels):
    """Levels of n rows for factors each nested in the next."""
    out = [codes(rng, n, levels[0])]
    for finer, coarser in pairwise(levels):
        parent = codes(rng, finer, coarser)
        out.append(parent[out[-1]])
    return out


def groupings(kind, rng, n):
    """Codes, number of levels and of columns of each factor."""
    if kind == "one scalar":
        return [(codes(rng, n, 40), 40, 1)]
    if kind == "one slope":
        return [(codes(rng, n, 40), 40, 2)]
    if kind == "one vector":
        return [(codes(rng, n, 40), 40, 3)]
    if kind == "scalar crossed":
        return [(codes(rng, n, 40), 40, 1), (codes(rng, n, 30), 30, 1)]
    if kind == "vector crossed":
        sizes = [(40, 2), (9, 3), (5, 1)]
        return [(codes(rng, n, levels), levels, p) for levels, p in sizes]
    if kind == "nested":
        a, b, c = nested_codes(rng, n, 60, 12, 4)
        return [(a, 60, 2), (b, 12, 2), (c, 4, 1)]
    if kind == "nested scalar":
        a, b, c = nested_codes(rng, n, 60, 12, 4)
        return [(a, 60, 1), (b, 12, 1), (c, 4, 1)]
    if kind == "nested and crossed":
        a, b = nested_codes(rng, n, 60, 12)
        return [(a, 60, 2), (b, 12, 3), (codes(rng, n, 7), 7, 2)]
    if kind == "small first":
        # The factors that are eliminated first come last.
        a, b = nested_codes(rng, n, 60, 12)
        return [(codes(rng, n, 7), 7, 2), (b, 12, 3), (a, 60, 2)]
    if kind == "empty levels":
        return [(codes(rng, n, 40), 45, 1), (codes(rng, n, 30), 33, 2)]
    if kind == "local":
        # Neighbouring levels meet only: a long, thin elimination tree.
        a = codes(rng, n, 60)
        return [(a, 60, 1), ((a + rng.integers(0, 2, n)) // 2, 31, 1)]
    raise KeyError(kind)


KINDS = (
    "one scalar",
    "one slope",
    "one vector",
    "scalar crossed",
    "vector crossed",
    "nested",
    "nested scalar",
    "nested and crossed",
    "small first",
    "empty levels",
    "local",
)


@dataclass(frozen=True)
class Reference:
    """Dense answers at one theta."""

    logdet: float
    matrix: np.ndarray
    P: np.ndarray  # Lambda M^-1 Lambda'
    Q: list  # per factor, at the given weights
    condition: float  # of M


class RandomDesign:
    """A design with its cross-products and its dense matrices.

    `relate` gives the known covariance of a factor from its codes and its number of
    levels, or None.
    """

    def __init__(self, kind, seed=0, n=200, px=2, weights=None, relate=None):
        rng = np.random.default_rng(seed)
        terms = []
        for group, (index, levels, p) in enumerate(groupings(kind, rng, n)):
            values = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
            known = None if relate is None else relate(group, index, levels)
            terms.append(Term(index, levels, values, STRUCTURES["us"], group, known))
        sqrt_weights = None if weights is None else np.sqrt(weights)
        self.factors, self.template = assemble(terms, sqrt_weights)
        self.E = rng.normal(size=(n, px + 1))
        self.cross = cross_products(self.factors, self.E[:, :-1], self.E[:, -1])
        blocks = []
        for factor in self.factors:
            Z = np.zeros((n, factor.levels, factor.values.shape[1]))
            Z[np.arange(n), factor.codes] = factor.values
            blocks.append(Z.reshape(n, -1))
        self.Z = np.hstack(blocks)
        W = rng.normal(size=(px + 1, px + 1))
        self.weights = W + W.T

    def spans(self):
        """Index array (l, p) into the columns of Z, per factor."""
        start = 0
        for factor in self.factors:
            shape = factor.levels, factor.values.shape[1]
            yield start + np.arange(shape[0] * shape[1]).reshape(shape)
            start += shape[0] * shape[1]

    def reference(self, lambdas):
        """What a kernel must say at these factors."""
        Lambda = block_diag(
            *(
                np.kron(colour(f.known, np.eye(f.levels)), lam)
                for f, lam in zip(self.factors, lambdas, strict=True)
            )
        )
        ZL = self.Z @ Lambda
        M = ZL.T @ ZL + np.eye(ZL.shape[1])
        half = np.linalg.solve(np.linalg.cholesky(M), ZL.T)
        # V^-1 = I - Z Lambda M^-1 Lambda' Z'
        solved = np.hstack([self.Z, self.E])
        solved = solved - half.T @ (half @ solved)
        VZ, VE = solved[:, : self.Z.shape[1]], solved[:, self.Z.shape[1] :]
        inner = self.Z.T @ VE
        Q = self.Z.T @ VZ - inner @ self.weights @ inner.T
        return Reference(
            float(np.linalg.slogdet(M)[1]),
            self.E.T @ VE,
            Lambda @ np.linalg.solve(M, Lambda.T),
            [
                np.einsum(
                    "ij,iajb->ab",
                    spread(f.known, np.eye(f.levels)),
                    Q[np.ix_(s.ravel(), s.ravel())].reshape(*s.shape, *s.shape),
                )
                for f, s in zip(self.factors, self.spans(), strict=True)
            ],
            float(np.linalg.cond(M)),
        )


def filled_pattern(M):
    """Pattern of the Cholesky factor by eliminating one column after the other."""
    filled = M != 0
    for j in range(len(M)):
        below = np.flatnonzero(filled[j + 1 :, j]) + j + 1
        filled[np.ix_(below, below)] = True
    return np.tril(filled)


def parents(pattern):
    """First row below the diagonal in each column, by its definition."""
    n = len(pattern)
    below = np.tril(pattern, -1)
    return np.where(below.any(axis=0), below.argmax(axis=0), n)


def postorder(parent):
    """An order in which every subtree is contiguous; the same factor otherwise."""
    n = parent.size
    children = [[] for _ in range(n + 1)]
    for j, p in enumerate(parent):
        children[p].append(j)
    order = []

    def visit(j):
        for child in children[j]:
            visit(child)
        order.append(j)

    for root in children[n]:
        visit(root)
    return np.array(order, dtype=np.intp)
