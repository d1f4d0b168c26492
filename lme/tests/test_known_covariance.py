"""Known covariances between levels: kernels, models, and the published examples."""

import numpy as np
import pytest
from scipy import sparse

from lme.covariance.known import dense_covariance, sparse_precision
from lme.engine.choice import KERNELS
from lme.tests.designs import RandomDesign
from lme.tests.test_kernels import NAMES, POINTS, check, close, point


def spd(levels, seed, rank=None):
    """A covariance matrix with a scale of its own."""
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(levels, rank or 2 * levels))
    return B @ B.T / (rank or levels)


def neighbours(levels, seed):
    """A sparse precision."""
    rng = np.random.default_rng(seed)
    n = 2 * levels
    i, j = rng.integers(0, levels, n), rng.integers(0, levels, n)
    R = sparse.coo_array((rng.normal(size=n), (i, j)), (levels, levels)).tocsc()
    return sparse.csc_array(R @ R.T + 0.5 * sparse.eye_array(levels))


def dense(group, codes, levels):
    return dense_covariance(spd(levels, group), np.unique(codes), "g")


def singular(group, codes, levels):
    K = spd(levels, group, rank=max(levels // 2, 2))
    return dense_covariance(K, np.unique(codes), "g")


def precision(group, codes, levels):
    return sparse_precision(neighbours(levels, group), "g")


def first_only(relate):
    return lambda group, *rest: relate(group, *rest) if group == 0 else None


def last_only(relate):
    return lambda group, *rest: None if group == 0 else relate(group, *rest)


CASES = [
    *[(kind, relate) for kind in ("one scalar", "one vector", "empty levels")
      for relate in (dense, singular, precision)],
    *[("vector crossed", relate)
      for relate in (dense, precision, first_only(dense), first_only(precision),
                     last_only(singular))],
    ("nested and crossed", last_only(dense)),
    ("nested", last_only(precision)),
]  # fmt: skip


@pytest.mark.parametrize("where", POINTS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_kernels_against_dense_matrices(name, case, where):
    kind, relate = case
    design = RandomDesign(kind, relate=relate)
    singular_ = any(
        f.known is not None and f.known.inverse is None for f in design.factors
    )
    if name == "cholmod" and singular_:
        pytest.skip("needs the inverse")
    check(KERNELS[name](design.cross), design, point(design.template, where))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_inverse_where_the_products_have_entries(name, case, monkeypatch):
    kind, relate = case
    design = RandomDesign(kind, relate=relate)
    if name == "cholmod" and any(
        f.known is not None and f.known.inverse is None for f in design.factors
    ):
        pytest.skip("needs the inverse")
    lambdas = design.template.lambdas(point(design.template, "away"))
    kernel = KERNELS[name](design.cross)
    kernel.factor(lambdas)
    P = design.reference(lambdas).P
    diagonal, pairs = kernel.inverse()
    spans = list(design.spans())
    for block, s in zip(diagonal, spans, strict=True):
        close(block, P[s[:, :, None], s[:, None, :]])
    for (f, g), block in pairs.items():
        pair = design.cross.pairs[f, g]
        rows, cols = spans[f][pair.rows], spans[g][pair.cols]
        close(block, P[rows[:, :, None], cols[:, None, :]])
