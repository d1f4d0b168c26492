"""The criterion and its gradient: differences, limits, invariance, brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lme
from lme.covariance import STRUCTURES
from lme.engine import lmm, moments
from lme.engine.choice import choose
from lme.engine.relcov import Term, lower_factor
from lme.tests.cases import CASES

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

DESIGNS = sorted(
    case.id for case in CASES.values() if case.data != "InstEval" and case.identified
)


def criterion_of(case, reml):
    """The criterion of a reference model, without fitting it."""
    model = lme.lmer(**case.arguments())
    fit = model.fit(reml=reml, control={"max_evaluations": 1}).fit_record
    kernel, _ = choose(fit.problem.cross)
    return lmm.Criterion(fit.problem, kernel, reml)


def differences(criterion, theta, step=1e-5):
    """Central differences of the criterion, Richardson-extrapolated once."""
    out = np.empty(theta.size)
    for i, unit in enumerate(np.eye(theta.size)):
        size = step * max(1.0, abs(theta[i]))
        first, second = (
            (
                criterion.evaluate(theta + h * unit, gradient=False).value
                - criterion.evaluate(theta - h * unit, gradient=False).value
            )
            / (2 * h)
            for h in (size * 10, size * 20)
        )
        out[i] = (4 * first - second) / 3
    return out


def dense_value(terms, lambdas, X, y, reml, weights=None):
    """The criterion by an n x n covariance matrix."""
    n = y.size
    w = np.ones(n) if weights is None else weights
    V = np.diag(1 / w)
    for term, lam in zip(terms, lambdas, strict=True):
        V += (term.codes[:, None] == term.codes) * (
            term.values @ lam @ lam.T @ term.values.T
        )
    solved = np.linalg.solve(V, np.column_stack([X, y]))
    XVX = X.T @ solved[:, :-1]
    beta = np.linalg.solve(XVX, X.T @ solved[:, -1])
    rest = y - X @ beta
    r2 = rest @ np.linalg.solve(V, rest)
    df = n - X.shape[1] if reml else n
    value = np.linalg.slogdet(V)[1] + df * (1 + np.log(2 * np.pi * r2 / df))
    return value + (np.linalg.slogdet(XVX)[1] if reml else 0.0)


@pytest.mark.parametrize("reml", [True, False], ids=["REML", "ML"])
@pytest.mark.parametrize("id_", DESIGNS)
def test_gradient_of_reference_designs(id_, reml):
    criterion = criterion_of(CASES[id_], reml)
    theta = moments.start(criterion.problem)
    # A point of no symmetry, and one with exact zeros.
    rng = np.random.default_rng(7)
    away = theta * rng.uniform(0.7, 1.4, theta.size)
    singular = away.copy()
    singular[-1] = 0.0
    for point in (away, singular):
        exact = criterion.evaluate(point).gradient
        scale = max(1.0, float(np.abs(exact).max()))
        # f is known to about 1e-13 |f|, which the step of 1e-4 divides.
        np.testing.assert_allclose(
            exact, differences(criterion, point), atol=3e-7 * scale
        )


@st.composite
def random_problem(draw):
    """Terms, X, y and weights of a random small design."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(25, 70))
    terms = []
    for group in range(draw(st.integers(1, 3))):
        levels = draw(st.integers(2, 9))
        if group and draw(st.booleans()):
            codes = terms[-1].codes % levels  # the previous factor is nested in it
        else:
            codes = rng.integers(0, levels, n)
        codes = np.unique(codes, return_inverse=True)[1]
        p = draw(st.integers(1, 3))
        values = rng.normal(size=(n, p)) * rng.uniform(0.1, 10, p) + rng.normal(size=p)
        name = draw(st.sampled_from(sorted(STRUCTURES)))
        terms.append(Term(codes, int(codes.max()) + 1, values, STRUCTURES[name], group))
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    weights = rng.uniform(0.2, 3, n) if draw(st.booleans()) else None
    return terms, X, rng.normal(size=n) * 3 + 10, weights, rng


@settings(max_examples=60, deadline=None)
@given(random_problem(), st.booleans(), st.booleans())
def test_random_designs_against_dense_covariance(problem, reml, zero):
    terms, X, y, weights, rng = problem
    built = lmm.build(y, X, terms, weights=weights)
    kernel, _ = choose(built.cross)
    criterion = lmm.Criterion(built, kernel, reml)
    theta = rng.normal(size=built.template.size)
    if zero:
        theta[rng.integers(theta.size)] = 0.0
    at = criterion.evaluate(theta)
    external = built.template.external(theta)
    lambdas = []
    for slot, term in zip(built.template.slots, terms, strict=True):
        width = term.values.shape[1]
        inner = slot.structure.interior(external[slot.theta], width)
        lambdas.append(slot.structure.factor(inner, width))
    assert at.value == pytest.approx(
        dense_value(terms, lambdas, X, y, reml, weights), rel=1e-10, abs=1e-7
    )
    scale = max(1.0, float(np.abs(at.gradient).max()))
    np.testing.assert_allclose(
        at.gradient, differences(criterion, theta), atol=1e-6 * scale
    )


@pytest.mark.parametrize("reml", [True, False])
def test_zero_theta_is_least_squares(reml):
    criterion = criterion_of(CASES["sleep_full"], reml)
    at = criterion.evaluate(np.zeros(3))
    problem = criterion.problem
    rss = float(np.sum((problem.y - problem.X @ _ols(problem)) ** 2))
    n, p = problem.X.shape
    df = n - p if reml else n
    value = df * (1 + np.log(2 * np.pi * rss / df))
    if reml:
        value += np.linalg.slogdet(problem.X.T @ problem.X)[1]
    assert at.value == pytest.approx(value, abs=1e-9)
    assert not at.gradient.any()


def _ols(problem):
    return np.linalg.lstsq(problem.X, problem.y, rcond=None)[0]


def test_published_values_at_given_theta():
    """Values that lme4 and MixedModels.jl test (features.md E.1, 1 and 2)."""
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", lme.datasets.load("Dyestuff")).fit()
    at = lme.fit.objective_at
    fit = res.fit_record
    assert at(fit, np.array([1.0])) == pytest.approx(319.792389042002, abs=1e-9)
    assert at(fit, np.array([0.0])) == pytest.approx(326.023232155879, abs=1e-9)
    ml = at(fit, np.array([0.713]), reml=False)
    assert ml == pytest.approx(327.34216280954615, abs=1e-9)


def test_curvature_is_near_the_hessian_at_the_optimum():
    """Average information is no more than a model, but a good one there."""
    criterion = criterion_of(CASES["penicillin"], True)
    res = lme.lmer(**CASES["penicillin"].arguments()).fit()
    theta = criterion.problem.template.internal(res.theta.to_numpy())
    model = criterion.evaluate(theta).curvature()
    step = 1e-5
    hessian = np.array(
        [
            (
                criterion.evaluate(theta + step * e).gradient
                - criterion.evaluate(theta - step * e).gradient
            )
            / (2 * step)
            for e in np.eye(theta.size)
        ]
    )
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.diagonal(), hessian.diagonal(), rtol=0.5)


def test_rows_in_any_order_give_the_same_value():
    rng = np.random.default_rng(3)
    frame = lme.datasets.load("Penicillin")
    a = lme.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", frame).fit()
    mixed = frame.iloc[rng.permutation(len(frame))]
    b = lme.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mixed).fit()
    assert a.objective == pytest.approx(b.objective, abs=1e-9)
    np.testing.assert_allclose(a.theta, b.theta, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_units_of_a_predictor_do_not_matter(factor):
    frame = lme.datasets.load("sleepstudy")
    base = lme.lmer("Reaction ~ Days + (Days | Subject)", frame).fit(reml=False)
    frame["far"] = frame["Days"] * factor
    far = lme.lmer("Reaction ~ far + (far | Subject)", frame).fit(reml=False)
    assert far.objective == pytest.approx(base.objective, abs=1e-8)
    assert far.convergence.evaluations == base.convergence.evaluations
    assert not far.is_singular
    assert far.params["far"] * factor == pytest.approx(base.params["Days"], rel=1e-9)
    assert far.theta.iloc[2] * factor == pytest.approx(base.theta.iloc[2], rel=1e-5)


def test_a_large_offset_of_predictor_and_response_does_not_matter():
    """Years instead of days since start: columns that are nearly collinear."""
    frame = lme.datasets.load("sleepstudy")
    base = lme.lmer("Reaction ~ Days + (Days | Subject)", frame).fit(reml=False)
    frame["year"] = frame["Days"] + 2.0e4
    frame["high"] = frame["Reaction"] + 1e7
    far = lme.lmer("high ~ year + (year | Subject)", frame).fit(reml=False)
    assert far.objective == pytest.approx(base.objective, abs=1e-6)
    assert far.params["year"] == pytest.approx(base.params["Days"], rel=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_lower_factor(p):
    """``L Q = matrix`` with L lower triangular, for any matrix, singular ones too."""
    rng = np.random.default_rng(p)
    for _ in range(50):
        matrix = rng.normal(size=(p, p)) * 10.0 ** rng.integers(-3, 4, (p, 1))
        L, Q = lower_factor(matrix)
        np.testing.assert_allclose(L @ Q, matrix, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(Q @ Q.T, np.eye(p), atol=1e-9)
        assert not np.triu(L, 1).any()
        assert (L.diagonal() > 0).all()
    matrix[:, -1] = 0.0
    L, Q = lower_factor(matrix)
    np.testing.assert_allclose(L @ Q, matrix, rtol=1e-9, atol=1e-9)
    assert L[-1, -1] == 0.0


def test_a_kernel_that_was_borrowed_is_factored_again():
    sleep = lme.datasets.load("sleepstudy")
    fit = lme.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit().fit_record
    at = fit.criterion.evaluate(fit.problem.template.internal(fit.theta))
    before = fit.criterion.scores(at)[0].copy()
    lme.fit.objective_at(fit, [3.0, 0.0, 1.0])
    np.testing.assert_array_equal(fit.criterion.scores(at)[0], before)
