"""Triangular factors of rows that come in pieces."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lme.engine.accumulation import Block, stacked, triangles_of, triangular


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (3, 3), (20, 3), (5, 0), (0, 0)])
def test_triangles_have_the_products_of_their_rows(shape):
    rows = np.random.default_rng(1).normal(size=shape)
    R = triangular(rows)
    assert R.shape == (shape[1], shape[1])
    assert (R.diagonal() >= 0.0).all()
    assert not np.tril(R, -1).any()
    assert_allclose(R.T @ R, rows.T @ rows, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("cut", [0, 2, 13, 30])
def test_triangles_of_pieces_are_those_of_all_rows(cut, weighted):
    rng = np.random.default_rng(2)
    n = 30
    z, X = rng.normal(size=n), rng.normal(size=(n, 4))
    root = rng.uniform(0.5, 2.0, n) if weighted else None
    values = (np.ones((n, 1)), rng.normal(size=(n, 3)))
    codes = np.zeros(n, dtype=np.intp)

    def piece(part):
        some = None if root is None else root[part]
        columns = tuple(v[part] for v in values)
        return Block(z[part], X[part], some, (codes[part],) * 2, columns)

    parts = [triangles_of(piece(part)) for part in (slice(cut), slice(cut, n))]
    w = np.ones(n) if root is None else root
    whole = [np.column_stack([X, z]), *values]
    for R, columns in zip(stacked(*parts), whole, strict=True):
        square = columns * w[:, None]
        assert_allclose(R.T @ R, square.T @ square, rtol=1e-10, atol=1e-12)
