"""Elimination trees and selected inverses against dense matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from lme.engine import elimination, selinv
from lme.engine.selinv import SelectedInverse
from lme.tests.designs import filled_pattern, parents, postorder


def random_matrix(n, density, seed):
    """A random positive definite matrix, dense but with few nonzeros."""
    rng = np.random.default_rng(seed)
    B = np.where(rng.random((n, n)) < density, rng.normal(size=(n, n)), 0.0)
    return B @ B.T + np.eye(n)


def chain(n):
    return np.eye(n) * 3.0 + np.eye(n, k=1) + np.eye(n, k=-1)


def arrow(n):
    out = np.eye(n) * n
    out[-1] = out[:, -1] = 1.0
    out[-1, -1] = n
    return out


def comb(n):
    """Blocks of several widths that hang on one dense end."""
    rng = np.random.default_rng(n)
    out = np.eye(n) * n
    start = 0
    for width in range(1, 10):
        stop = start + width
        block = rng.normal(size=(width, width))
        out[start:stop, start:stop] += block @ block.T
        rows = n - 12 + rng.permutation(12)[: width // 2 + 1]
        link = rng.normal(size=(rows.size, width))
        out[np.ix_(rows, range(start, stop))] += link
        out[np.ix_(range(start, stop), rows)] += link.T
        start = stop
    return out


def compressed(pattern):
    """Column starts and row indices of a lower-triangular pattern."""
    cols, rows = np.nonzero(pattern.T)
    starts = np.searchsorted(cols, np.arange(len(pattern) + 1))
    return starts.astype(np.int32), rows.astype(np.int32), cols


def check_inverse(M):
    pattern = filled_pattern(M)
    starts, rows, cols = compressed(pattern)
    plan = SelectedInverse(starts, rows)
    inverse = np.linalg.inv(M)
    for scale in (1.0, 7.0):
        # A plan serves every matrix with the pattern.
        L = np.linalg.cholesky(scale * M)
        values = plan.compute(L[rows, cols])[plan.positions(rows, cols)]
        expected = inverse[rows, cols] / scale
        atol = 1e-12 * np.abs(expected).max()
        np.testing.assert_allclose(values, expected, rtol=0, atol=atol)
    return plan


MATRICES = {
    "one": np.array([[2.0]]),
    "diagonal": np.diag(np.arange(1.0, 9.0)),
    "dense": random_matrix(40, 1.0, 0),
    "chain": chain(50),
    "arrow": arrow(30),
    "comb": comb(70),
    "forest": np.kron(np.eye(5), random_matrix(6, 0.4, 1)),
    "sparse": random_matrix(150, 0.01, 2),
    "filling": random_matrix(150, 0.03, 3),
}


@pytest.mark.parametrize("id_", MATRICES)
def test_inverse_on_the_pattern(id_):
    check_inverse(MATRICES[id_])


@pytest.mark.parametrize("id_", ["comb", "sparse", "filling"])
def test_small_stacks_and_wide_panels(monkeypatch, id_):
    # The same numbers when every stack is cut and every panel goes to LAPACK.
    monkeypatch.setattr(selinv, "_STACK", 1)
    monkeypatch.setattr(selinv, "_WIDE", 2)
    check_inverse(MATRICES[id_])


@pytest.mark.parametrize("price", [0.0, 1e3, 1e9])
def test_any_amalgamation(monkeypatch, price):
    monkeypatch.setattr(elimination, "_NODE", price)
    for M in MATRICES.values():
        plan = check_inverse(M)
        if price == 1e9:
            # Nothing is left to merge: every tree is one supernode.
            assert len(plan._levels) == 1


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    density=st.floats(0.0, 0.15),
    seed=st.integers(0, 10**6),
)
def test_random_patterns(n, density, seed):
    M = random_matrix(n, density, seed)
    pattern = filled_pattern(M)
    parent = parents(pattern)
    rows, cols = np.nonzero(np.tril(M, -1))
    tree = elimination.elimination_tree(rows, cols, n)
    np.testing.assert_array_equal(tree, parent)
    depth = elimination.depths(parent)
    above = np.append(depth, -1)[parent]
    np.testing.assert_array_equal(depth, above + 1)
    check_inverse(M)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    density=st.floats(0.0, 0.15),
    seed=st.integers(0, 10**6),
)
def test_cost_of_random_patterns(n, density, seed):
    M = random_matrix(n, density, seed)
    perm = postorder(parents(filled_pattern(M)))
    M = M[np.ix_(perm, perm)]
    counts = filled_pattern(M).sum(axis=0)
    rows, cols = np.nonzero(np.tril(M, -1))
    parent = elimination.elimination_tree(rows, cols, n)
    exact = elimination.column_counts(rows, cols, parent)
    np.testing.assert_array_equal(exact, counts)
    first = elimination.first_descendants(parent)
    sizes = np.ones(n, dtype=int)
    for j in range(n):
        if parent[j] < n:
            sizes[parent[j]] += sizes[j]
    np.testing.assert_array_equal(first, np.arange(n) + 1 - sizes)
    # Either triangle will do, in any numbering, with the diagonal or without.
    shuffled = np.random.default_rng(seed).permutation(n)
    diagonal = np.arange(n)
    work = elimination.cost(
        shuffled,
        shuffled[np.concatenate([cols, diagonal])],
        shuffled[np.concatenate([rows, diagonal])],
    )
    assert work.entries == counts.sum()
    assert work.flops == (counts.astype(float) ** 2).sum()


def test_supernodes_are_the_same_rows():
    pattern = filled_pattern(MATRICES["filling"])
    starts, rows, _ = compressed(pattern)
    nodes = elimination.supernodes(starts.astype(np.intp), rows.astype(np.intp))
    n = len(pattern)
    assert nodes.width.sum() == n
    for node, (width, below, top) in enumerate(
        zip(nodes.width, nodes.below, nodes.top, strict=True)
    ):
        columns = np.flatnonzero(nodes.of_column == node)
        np.testing.assert_array_equal(columns, np.arange(top - width + 1, top + 1))
        outside = pattern[top + 1 :, columns]
        assert (outside == outside[:, :1]).all()
        assert outside[:, 0].sum() == below
        parent = nodes.parent[node]
        if below:
            assert nodes.of_column[top + 1 + outside[:, 0].argmax()] == parent
        else:
            assert parent == nodes.width.size


def test_long_chain_takes_few_rounds():
    # One edge for each column in a line: the tree is as deep as it can be.
    n = 3000
    M = sparse.diags_array([np.ones(n - 1)], offsets=[-1], shape=(n, n)).tocoo()
    parent = elimination.elimination_tree(
        M.row.astype(np.intp), M.col.astype(np.intp), n
    )
    np.testing.assert_array_equal(parent, np.arange(1, n + 1))
    assert elimination.depths(parent)[0] == n - 1
    starts = np.minimum(np.arange(n + 1) * 2, 2 * n - 1)
    rows = np.column_stack([np.arange(n), np.arange(1, n + 1)]).ravel()[:-1]
    nodes = elimination.amalgamate(elimination.supernodes(starts, rows))
    assert elimination.depths(nodes.parent).max() < n / 3
    assert nodes.width.sum() == n
