"""The moment equations of the start against dense matrices."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lme.covariance import STRUCTURES
from lme.engine import lmm, moments
from lme.engine.relcov import Term
from lme.tests.designs import groupings

KINDS = ("one slope", "scalar crossed", "vector crossed", "small first")


def problem_of(kind, sds=(), seed=0, n=300):
    """A problem with effects of the given deviations and residuals of deviation 2."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = 5.0 + 2.0 * rng.normal(size=n)
    terms = []
    for group, (codes, levels, p) in enumerate(groupings(kind, rng, n)):
        values = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
        terms.append(Term(codes, levels, values, STRUCTURES["us"], group))
        sd = sds[group] if sds else 1.0
        effects = sd * rng.normal(size=(levels, p))
        y = y + np.einsum("np,np->n", values, effects[codes])
    return lmm.build(y, X, terms)


def columns(factor):
    """Dense columns of a factor, (n, l p)."""
    n, p = factor.values.shape
    Z = np.zeros((n, factor.levels, p))
    Z[np.arange(n), factor.codes] = factor.values
    return Z.reshape(n, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_equations_against_dense_matrices(kind):
    problem = problem_of(kind)
    found = moments.equations(problem.cross)
    N = np.eye(problem.n) - problem.basis @ problem.basis.T
    Z = [columns(factor) for factor in problem.factors]
    halves = []
    for f, own in enumerate(Z):
        gram = own.T @ own
        W = np.linalg.inv(gram + moments._SHRINK * np.eye(len(gram)))
        halves.append(W @ own.T @ N)
        noise = W @ gram @ W
        levels, p = problem.factors[f].levels, problem.factors[f].values.shape[1]
        blocks = noise.reshape(levels, p, levels, p)
        assert_allclose(found.noise[f], np.einsum("jajb->ab", blocks), rtol=1e-10)
    exact = [[np.sum((half @ other) ** 2) for other in Z] for half in halves]
    assert_allclose(found.own, [np.sum(half**2) for half in halves], rtol=1e-10)
    assert_allclose(found.products, exact, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_residual_variance_is_what_sweeping_leaves(kind):
    problem = problem_of(kind)
    left, lost = problem.residual, problem.p
    for factor in problem.factors:
        Z = columns(factor)
        left = left - Z @ np.linalg.lstsq(Z, left, rcond=None)[0]
        lost += Z.shape[1]
    expected = left @ left / max(problem.n - lost, problem.n / 4)
    assert_allclose(moments.residual_variance(problem), expected, rtol=1e-5)


@pytest.mark.parametrize("sds", [(4.0, 1.0), (1.0, 4.0), (2.0, 2.0)])
def test_estimates_are_near_the_truth(sds):
    """Standard deviations of many levels; that of the residuals is 2."""
    problem = problem_of("scalar crossed", sds, n=2000)
    theta = moments.start(problem)
    for slot, sd in zip(problem.template.slots, sds, strict=True):
        found = 2.0 * float(theta[slot.theta][0] * slot.basis[0, 0])
        assert 0.6 < abs(found) / sd < 1.6
