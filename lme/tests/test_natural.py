"""Bases with an effect in front: the same covariance, and what its entries mean."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lme.covariance import STRUCTURES
from lme.engine import natural
from lme.engine.relcov import Term, assemble


@pytest.fixture(scope="module")
def template():
    """Four terms, of which two stand behind others of their factor."""
    rng = np.random.default_rng(1)
    n, us = 60, STRUCTURES["us"]
    first, second = rng.integers(0, 8, n), rng.integers(0, 5, n)
    one = np.ones((n, 1))
    slopes = rng.normal(3.0, 1.0, (n, 3))
    terms = [
        Term(first, 8, one, us, 0),
        Term(first, 8, slopes, us, 0),
        Term(second, 5, slopes[:, 2:] ** 2, us, 1),
        Term(second, 5, np.hstack([one, slopes[:, :1]]), us, 1),
    ]
    return assemble(terms, None)[1]


@pytest.mark.parametrize(
    ("number", "rows"),
    [(0, [0]), (1, [0]), (1, [2]), (1, [2, 0]), (1, [0, 1]), (3, [1]), (3, [1, 0])],
)
def test_the_same_covariance_with_an_effect_in_front(template, number, rows):
    theta = np.random.default_rng(2).normal(size=template.size)
    before = natural.relative_covariances(template, template.lambdas(theta))
    slot = template.slots[number]
    turn, sizes = natural.leading_basis(slot, rows)
    lead = (slot.basis @ turn)[rows]
    assert_allclose(lead, np.eye(len(turn))[: len(rows)] * sizes[:, None], atol=1e-12)
    other = natural.with_structure(template, number, natural.Leading(turn))
    moved = natural.moved(template, other, theta)
    after = natural.relative_covariances(other, other.lambdas(moved))
    for one, two in zip(before, after, strict=True):
        assert_allclose(two, one, rtol=1e-10, atol=1e-12)
    # The first entry is the standard deviation of the first effect, in its size.
    deviation = np.sqrt(before[number][rows[0], rows[0]])
    assert_allclose(sizes[0] * moved[slot.theta][0], deviation, rtol=1e-10)
