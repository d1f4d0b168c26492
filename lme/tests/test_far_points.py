"""Criteria far from any model: no value, no exception, and no trace afterwards."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.engine import cholmod
from lme.engine.choice import KERNELS
from lme.engine.deviance import Deviance
from lme.engine.laplace import Laplace
from lme.engine.lmm import Criterion
from lme.engine.quadrature import Quadrature
from lme.families import resolve
from lme.tests.test_laplace import FAMILIES_AND_LINKS, KINDS, problem_of

needs_cholmod = pytest.mark.skipif(
    not cholmod.available(), reason="scikit-sparse is not installed"
)
FAR = [-1e3, 1e8, 1e160, np.inf, np.nan]


@pytest.fixture(autouse=True)
def overflow_is_expected():
    with np.errstate(all="ignore"):
        yield


def check(criterion, near):
    """No point is better than it can be; the one that was good still is."""
    before = criterion.evaluate(near)
    value, gradient = before.value, before.gradient.copy()
    assert np.isfinite(value)
    for i in range(near.size):
        for far in FAR:
            psi = near.copy()
            psi[i] = far
            found = criterion.evaluate(psi)
            assert not np.isnan(found.value)
            assert found.value > -np.inf
            if np.isfinite(found.value):
                assert np.isfinite(found.gradient).all()
    after = criterion.evaluate(near)
    assert after.value == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(after.gradient, gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name, link, observed", KINDS)
def test_laplace(name, link, observed):
    family = resolve(name, link)
    problem, psi = problem_of(family, "slope", 3)
    check(Laplace(problem, observed=observed), psi)


@pytest.mark.parametrize("name, link", FAMILIES_AND_LINKS)
def test_joint(name, link):
    family = resolve(name, link)
    problem, psi = problem_of(family, "crossed", 4)
    criterion = Laplace(problem, joint=True)
    criterion.gamma = psi[: problem.p]
    check(criterion, psi[problem.p :])


@pytest.mark.parametrize("name, link", FAMILIES_AND_LINKS)
def test_quadrature(name, link):
    family = resolve(name, link)
    problem, psi = problem_of(family, "scalar", 5)
    check(Quadrature(problem, 5), psi)


def linear(seed=2):
    """A model with two factors, and a point near its optimum."""
    rng = np.random.default_rng(seed)
    n = 120
    frame = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 12, n)})
    frame["h"] = rng.integers(0, 8, n)
    frame["y"] = rng.normal(size=12)[frame.g] + frame.x + rng.normal(size=n)
    res = lme.lmer("y ~ x + (x | g) + (1 | h)", frame).fit()
    return res.fit_record.problem


@pytest.mark.parametrize(
    "kernel",
    ["blocked", pytest.param("cholmod", marks=needs_cholmod)],
)
@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize("sigma", [None, 1.3])
def test_linear(kernel, reml, sigma):
    problem = linear()
    made = KERNELS[kernel](problem.cross)
    check(Criterion(problem, made, reml, sigma), np.array([0.9, 0.1, 0.4, 0.3]))


@pytest.mark.parametrize("pinned", [None, [0.4, 1.0]])
def test_deviance(pinned):
    problem = linear()
    made = KERNELS["blocked"](problem.cross)
    near = [0.9, 0.1, 0.4, 0.3, 0.1]
    if pinned is None:
        check(Deviance(problem, made), np.array(near))
    else:
        check(Deviance(problem, made, np.array(pinned)), np.array([*near, 0.2]))
