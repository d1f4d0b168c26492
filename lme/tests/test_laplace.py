"""Gradients of the GLMM criteria against differences, for every family and link.

Random designs; predictors that are continuous, so that no weight sits at a kink.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lme.covariance import STRUCTURES
from lme.engine import cholmod, pirls, quadrature, rows
from lme.engine.cholmod import Cholmod
from lme.engine.laplace import Laplace
from lme.engine.quadrature import Quadrature, nodes
from lme.engine.relcov import Term
from lme.families import FAMILIES, NegativeBinomial, resolve

FAMILIES_AND_LINKS = [
    (name, link) for name, family in FAMILIES.items() for link in family.links
]
# Observed and expected information are the same for canonical links.
KINDS = [
    (name, link, observed)
    for name, link in FAMILIES_AND_LINKS
    for observed in (False, True)
    if not (observed and resolve(name, link).canonical)
]


@pytest.fixture(autouse=True, scope="module")
def modes_to_rounding():
    """Differences divide the noise of the modes by the step: leave none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pirls, "_TOLERANCE", 1e-22)
        patch.setattr(pirls, "_MAX_ITERATIONS", 50)
        yield


# A linear predictor around which the mean is in the middle of its range.
CENTERS = {
    "identity": 2.0,
    "inverse": 0.7,
    "sqrt": 1.5,
    "inverse_squared": 0.5,
    "log": 0.3,
}
PROBABILITIES = ("bernoulli", "binomial")


def center(family):
    if family.name in PROBABILITIES and family.link.name == "log":
        return -1.2
    return CENTERS.get(family.link.name, 0.2)


def spread(family):
    """Size of the random part: small where the link has an edge."""
    narrow = {"identity", "inverse", "sqrt", "inverse_squared"}
    if family.link.name in narrow or family.link.name == "log":
        return 0.12
    return 0.5


def grouped(rng, kind, n):
    """Terms of the random part."""
    us, diag = STRUCTURES["us"], STRUCTURES["diag"]
    one = np.ones((n, 1))
    slope = np.column_stack([np.ones(n), rng.normal(size=n)])
    if kind == "scalar":
        return [Term(rng.integers(0, 6, n), 6, one, us, 0)]
    if kind == "slope":
        return [Term(rng.integers(0, 5, n), 5, slope, us, 0)]
    if kind == "crossed":
        first = Term(rng.integers(0, 5, n), 5, slope, diag, 0)
        return [first, Term(rng.integers(0, 3, n), 3, one, us, 1)]
    if kind == "covariate":
        return [Term(rng.integers(0, 5, n), 5, slope[:, 1:], us, 0)]
    raise KeyError(kind)


def problem_of(family, kind, seed, *, n=40):
    """A problem with responses drawn from the family, and a point near the truth."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.uniform(-1, 1, n)])
    offset = 0.05 * rng.normal(size=n)
    beta = np.array([center(family), 0.5 * spread(family)])
    terms = grouped(rng, kind, n)
    eta = offset + X @ beta
    for term in terms:
        effects = spread(family) * rng.normal(size=(term.levels, term.values.shape[1]))
        eta = eta + np.einsum("np,np->n", term.values, 0.5 * effects[term.codes])
    weights = np.ones(n)
    if family.name != "bernoulli":
        weights = rng.integers(1, 6, n).astype(float)
    mean = family.mean(np.where(np.sign(eta) == np.sign(beta[0]), eta, beta[0]))
    extra = np.log(0.4) if family.dispersion else np.log(2.0)
    if family.name == "gaussian":
        # Responses far outside the range of the mean leave no unique mode.
        extra = np.log(0.02)
    mean = np.clip(mean, 0.02, 0.98) if family.name in PROBABILITIES else mean
    y = family.draw(rng, mean, weights, extra)
    problem = rows.build(y, X, terms, family, weights=weights, offset=offset)
    gamma = problem.R @ beta
    theta = np.abs(problem.template.internal(first_theta(problem, rng)))
    theta = spread(family) * theta
    psi = np.concatenate([gamma, theta])
    if family.extra is not None:
        psi = np.append(psi, extra + 0.1)
    return problem, psi


def first_theta(problem, rng):
    slots = problem.template.slots
    start = np.concatenate(
        [s.structure.start(s.columns.stop - s.columns.start) for s in slots]
    )
    return start * rng.uniform(0.5, 1.2, start.size) + 0.2 * (start == 0.0)


def differences(criterion, psi, step=1e-5):
    out = np.empty(psi.size)
    for i, unit in enumerate(np.eye(psi.size)):
        high = criterion.evaluate(psi + step * unit, gradient=False).value
        low = criterion.evaluate(psi - step * unit, gradient=False).value
        out[i] = (high - low) / (2 * step)
    return out


def agree(criterion, psi, rtol=2e-5):
    at = criterion.evaluate(psi)
    assert np.isfinite(at.value)
    expected = differences(criterion, psi)
    scale = np.maximum(np.abs(expected), 1e-2 * np.abs(expected).max() + 1.0)
    np.testing.assert_array_less(np.abs(at.gradient - expected) / scale, rtol)


@pytest.mark.parametrize("family, link, observed", KINDS)
def test_laplace(family, link, observed):
    for kind, seed in (("slope", 1), ("crossed", 2)):
        problem, psi = problem_of(resolve(family, link), kind, seed)
        agree(Laplace(problem, observed=observed), psi)


@pytest.mark.skipif(not cholmod.available(), reason="needs scikit-sparse")
@pytest.mark.parametrize("family, link, observed", KINDS)
def test_sparse_factorization(family, link, observed, monkeypatch):
    """What large crossed models are given: the same values, and its gradient."""
    problem, psi = problem_of(resolve(family, link), "crossed", 2)
    expected = Laplace(problem, observed=observed).evaluate(psi)
    monkeypatch.setattr(pirls, "choose", lambda cross: (Cholmod(cross), ""))
    criterion = Laplace(problem, observed=observed)
    found = criterion.evaluate(psi)
    assert isinstance(criterion.pirls.kernel, Cholmod)
    assert found.value == pytest.approx(expected.value, rel=1e-11)
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-7, atol=1e-7)
    agree(criterion, psi)


@pytest.mark.parametrize("family, link, observed", KINDS)
def test_joint(family, link, observed):
    """nAGQ = 0: the coefficients are part of the modes."""
    problem, psi = problem_of(resolve(family, link), "crossed", 3)
    criterion = Laplace(problem, observed=observed, joint=True)
    criterion.gamma = psi[: problem.p]
    agree(criterion, psi[problem.p :])


@pytest.mark.parametrize("family, link", FAMILIES_AND_LINKS)
def test_quadrature(family, link):
    problem, psi = problem_of(resolve(family, link), "scalar", 4)
    for count in (2, 7):
        agree(Quadrature(problem, count), psi)
    problem, psi = problem_of(resolve(family, link), "covariate", 5)
    agree(Quadrature(problem, 5), psi)


@pytest.mark.parametrize("at_once", [1, 80, 120])
@pytest.mark.parametrize("family", ["bernoulli", "gaussian", "negative_binomial"])
def test_quadrature_by_runs_of_nodes(family, at_once, monkeypatch):
    """The memory that rows times nodes may take does not change the answer."""
    problem, psi = problem_of(resolve(family), "slope", 4)
    whole = Quadrature(problem, 3).evaluate(psi)
    monkeypatch.setattr(quadrature, "_AT_ONCE", at_once)
    found = Quadrature(problem, 3).evaluate(psi)
    assert found.value == pytest.approx(whole.value, rel=1e-13)
    scale = np.abs(whole.gradient).max()
    np.testing.assert_allclose(found.gradient, whole.gradient, atol=1e-12 * scale)


@pytest.mark.parametrize("family, link", FAMILIES_AND_LINKS)
def test_no_variance(family, link):
    """theta = 0 is an ordinary point: the criterion is even there."""
    problem, psi = problem_of(resolve(family, link), "slope", 6)
    psi[problem.p : problem.p + problem.template.size] = 0.0
    for criterion in (Laplace(problem), Laplace(problem, observed=True)):
        at = criterion.evaluate(psi)
        agree(criterion, psi)
        theta = at.gradient[problem.p : problem.p + problem.template.size]
        np.testing.assert_allclose(theta, 0.0, atol=1e-9)
    problem, psi = problem_of(resolve(family, link), "scalar", 7)
    psi[problem.p] = 0.0
    agree(Quadrature(problem, 5), psi)
    # Without variance there is nothing to integrate over.
    plain = Laplace(problem).evaluate(psi).value
    np.testing.assert_allclose(Quadrature(problem, 5).evaluate(psi).value, plain)


@pytest.mark.parametrize("family, link", FAMILIES_AND_LINKS)
def test_one_node_is_laplace(family, link):
    problem, psi = problem_of(resolve(family, link), "scalar", 8)
    one, plain = Quadrature(problem, 1).evaluate(psi), Laplace(problem).evaluate(psi)
    np.testing.assert_allclose(one.value, plain.value, rtol=1e-10)
    np.testing.assert_allclose(one.gradient, plain.gradient, rtol=1e-6, atol=1e-6)


def test_known_theta_of_a_negative_binomial():
    family = NegativeBinomial(theta=1.5)
    problem, psi = problem_of(family, "slope", 9)
    assert psi.size == problem.p + problem.template.size
    agree(Laplace(problem), psi)


def test_groups_of_zeros_and_ones():
    """A group of failures only has a mode far out, and a smooth criterion."""
    rng = np.random.default_rng(10)
    codes = np.repeat(np.arange(6), 8)
    y = np.where(codes < 2, 0.0, np.where(codes < 4, 1.0, rng.integers(0, 2, 48)))
    X = np.column_stack([np.ones(48), rng.normal(size=48)])
    term = Term(codes, 6, np.ones((48, 1)), STRUCTURES["us"], 0)
    for link in ("logit", "probit", "cloglog", "cauchit"):
        problem = rows.build(y, X, [term], resolve("bernoulli", link))
        for theta in (0.3, 3.0):
            psi = np.array([0.1, 0.2, theta])
            agree(Laplace(problem), psi)
            agree(Laplace(problem, observed=link != "cauchit"), psi)
            agree(Quadrature(problem, 9), psi)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.sampled_from(FAMILIES_AND_LINKS),
    st.sampled_from(["scalar", "slope", "crossed", "covariate"]),
    st.integers(0, 10**6),
    st.booleans(),
    st.integers(12, 60),
)
def test_random_designs(pair, kind, seed, observed, n):
    problem, psi = problem_of(resolve(*pair), kind, seed, n=n)
    criterion = Laplace(problem, observed=observed)
    if not np.isfinite(criterion.evaluate(psi).value):
        return
    agree(criterion, psi, rtol=1e-4)


def working_changes(problem, at):
    """For each parameter of theta its factor, and how lambda changes with it."""
    template = problem.template
    jacobians = template.jacobians(at.theta[problem.p :][: template.size])
    for slot, J in zip(template.slots, jacobians, strict=True):
        for each in J:
            change = np.zeros_like(at.lambdas[slot.factor])
            change[slot.columns, slot.columns] = each
            yield slot.factor, change


@pytest.mark.parametrize("kind", ["slope", "crossed"])
@pytest.mark.parametrize(
    "family, link", [("poisson", "log"), ("bernoulli", "probit"), ("gamma", "log")]
)
def test_curvature_is_that_of_the_working_model(family, link, kind):
    """Average information of a linear mixed model by dense matrices."""
    problem, psi = problem_of(resolve(family, link), kind, 12)
    criterion = Laplace(problem)
    at = criterion.evaluate(psi)
    W, v = at.modes.at.W, -0.5 * at.modes.at.g

    def covariance(f, inner):
        factor = problem.factors[f]
        same = factor.codes[:, None] == factor.codes
        return same * (factor.values @ inner @ factor.values.T)

    V = np.diag(1.0 / W)
    for f, lam in enumerate(at.lambdas):
        V += covariance(f, lam @ lam.T)
    inverse = np.linalg.inv(V)
    changes = list(working_changes(problem, at))
    first = []
    for f, change in changes:
        half = change @ at.lambdas[f].T
        first.append(covariance(f, half + half.T))
    p, k = problem.p, len(changes)
    expected = np.zeros((psi.size, psi.size))
    expected[:p, :p] = 2.0 * problem.basis.T @ inverse @ problem.basis
    rest = inverse - np.outer(v, v)
    for i, (f, change) in enumerate(changes):
        for j, (g, other) in enumerate(changes):
            value = v @ first[i] @ inverse @ first[j] @ v
            if f == g:
                half = change @ other.T
                value += np.vdot(rest, covariance(f, half + half.T))
            expected[p + i, p + j] = value
    if psi.size > p + k:
        expected[-1, -1] = problem.n
    found = criterion.curvature(at)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("count", [1, 2, 5, 25, 100])
def test_nodes_integrate_the_normal_density(count):
    x, log_w = nodes(count)
    assert np.array_equal(x, -x[::-1])
    weights = np.exp(log_w - x * x)
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-12)
    if count > 1:
        np.testing.assert_allclose(weights @ (2 * x * x), 1.0, rtol=1e-10)


def test_quadrature_is_the_integral():
    """Against brute force: a dense grid over the random effect of each group."""
    problem, psi = problem_of(resolve("bernoulli"), "scalar", 11)
    gamma, theta = psi[:2], float(psi[2])
    u = np.linspace(-9, 9, 4001)
    density = np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi) * (u[1] - u[0])
    base = problem.offset + problem.basis @ gamma
    lam = float(problem.template.lambdas(np.array([theta]))[0][0, 0])
    total = 0.0
    for level in range(6):
        rows = problem.factors[0].codes == level
        values = problem.factors[0].values[rows]
        eta = base[rows, None] + values * lam * u
        mean = problem.family.mean(eta)
        y = problem.y[rows, None]
        likelihood = np.prod(np.where(y == 1, mean, 1 - mean), axis=0)
        total += np.log(likelihood @ density)
    found = Quadrature(problem, 40).evaluate(psi).value
    np.testing.assert_allclose(found, -2 * total, rtol=1e-9)
