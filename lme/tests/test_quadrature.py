"""Quadrature over vectors of random effects: integrals, gradients, limits."""

import numpy as np
import pytest
from scipy import integrate

import lme
from lme.engine.laplace import Laplace
from lme.engine.quadrature import Quadrature, grid
from lme.errors import OptionError

VECTOR = "use ~ age + urban + (urban | district)"
SPLIT = "use ~ age + urban + (1 | district) + (0 + age | district)"
THREE = "use ~ age + (age + urban | district)"


@pytest.fixture(scope="module")
def data():
    return lme.datasets.load("Contraception")


def problem_of(formula, data):
    model = lme.glmer(formula, data, family="binomial")
    return model.fit(nAGQ=0).fit_record.problem


def point_of(problem, seed=0):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(0.2, 0.8, problem.template.size)
    return np.concatenate([rng.normal(size=problem.p) * 0.3, theta])


@pytest.mark.parametrize("formula", [VECTOR, SPLIT, THREE])
@pytest.mark.parametrize("count", [2, 3])
def test_gradient_against_differences(formula, count, data):
    problem = problem_of(formula, data)
    criterion = Quadrature(problem, count)
    for singular in (False, True):
        psi = point_of(problem)
        if singular:
            psi[-1] = 0.0
        exact = criterion.evaluate(psi).gradient
        step = 1e-5
        numerical = [
            (
                criterion.evaluate(psi + step * unit).value
                - criterion.evaluate(psi - step * unit).value
            )
            / (2 * step)
            for unit in np.eye(psi.size)
        ]
        scale = max(1.0, float(np.abs(exact).max()))
        np.testing.assert_allclose(exact, numerical, atol=1e-6 * scale)


def test_one_node_is_laplace(data):
    problem = problem_of(VECTOR, data)
    psi = point_of(problem)
    one, laplace = Quadrature(problem, 1).evaluate(psi), Laplace(problem).evaluate(psi)
    assert one.value == pytest.approx(laplace.value, abs=1e-9)
    np.testing.assert_allclose(one.gradient, laplace.gradient, atol=1e-7)


def test_more_nodes_converge_to_the_integral(data):
    """Against an adaptive integration of the likelihood of three districts."""
    few = data[data["district"].isin(["1", "2", "4"])].copy()
    few["district"] = few["district"].cat.remove_unused_categories()
    problem = problem_of("use ~ age + (urban | district)", few)
    psi = point_of(problem, 3)
    gamma, theta = psi[: problem.p], psi[problem.p :]
    lam = problem.template.lambdas(theta)[0]
    fixed = problem.basis @ gamma
    factor = problem.factors[0]
    total = 0.0
    for level in range(factor.levels):
        rows = factor.codes == level
        sign = 2.0 * problem.y[rows] - 1.0
        V, base = factor.values[rows] @ lam, fixed[rows]
        # The likelihood of a level is tiny: without the shift epsabs would decide.
        shift = np.logaddexp(0.0, -sign * base).sum()

        def density(a, b, V=V, base=base, sign=sign, shift=shift):
            eta = base + V @ np.array([a, b])
            log = shift - np.logaddexp(0.0, -sign * eta).sum() - 0.5 * (a * a + b * b)
            return np.exp(log) / (2.0 * np.pi)

        value, _ = integrate.dblquad(density, -8, 8, -8, 8, epsabs=0, epsrel=1e-9)
        total += 2.0 * shift - 2.0 * np.log(value)
    assert Quadrature(problem, 25).evaluate(psi).value == pytest.approx(total, abs=1e-6)


def test_fits_approach_a_limit(data):
    model = lme.glmer(VECTOR, data, family="binomial")
    values = [model.fit(nAGQ=count).objective for count in (1, 5, 9, 15)]
    steps = np.abs(np.diff(values))
    assert steps[0] > 0.5
    assert steps[2] < 1e-5
    assert (np.diff(steps) < 0).all()


def test_product_grid():
    points, log_w = grid(4, 2)
    assert points.shape == (16, 2)
    # Integral of the density of N(0, I / 2) is one.
    mass = np.exp(log_w - (points**2).sum(axis=1)).sum()
    assert mass == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("formula", "count", "message"),
    [
        ("use ~ 1 + (1 | district) + (1 | livch)", 9, "single grouping factor"),
        (VECTOR, 60, "At most 1500 nodes are possible, nAGQ=38"),
        ("use ~ 1 + (livch | district)", 3, "at most 3 random effects"),
    ],
)
def test_refused(formula, count, message, data):
    with pytest.raises(OptionError, match=message):
        lme.glmer(formula, data, family="binomial").fit(nAGQ=count)
