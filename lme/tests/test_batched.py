"""Many responses at once: derivatives, and agreement with one refit after the other."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import lme
from lme.engine import batched, lmm, warm
from lme.engine.batched_algebra import cholesky, inverse_lower, log_diagonal
from lme.engine.batched_dense import Design, load_dense
from lme.engine.batched_levels import Classes, load
from lme.engine.batched_parameters import external, lifted
from lme.engine.batched_search import newton_steps
from lme.engine.choice import choose
from lme.fit import refit
from lme.inference.bootstrap.refitting import refit_many
from lme.inference.prediction.simulation import simulate_responses
from lme.search import newton_step


def unbalanced():
    frame = lme.datasets.load("sleepstudy")
    frame["third"] = "t" + (frame["Days"] // 3).astype(int).astype(str)
    return frame[np.random.default_rng(5).random(len(frame)) < 0.8].reset_index()


def two_classes():
    """Half of the subjects stop two days earlier: designs of two kinds."""
    frame = lme.datasets.load("sleepstudy")
    early = frame["Subject"].cat.codes % 2 == 0
    return frame[~early | (frame["Days"] < 8)].reset_index()


FRAMES = {
    "sleepstudy": lambda: lme.datasets.load("sleepstudy"),
    "unbalanced": unbalanced,
    "two classes": two_classes,
    "Dyestuff": lambda: lme.datasets.load("Dyestuff"),
    "Dyestuff2": lambda: lme.datasets.load("Dyestuff2"),
    "Penicillin": lambda: lme.datasets.load("Penicillin").iloc[:100],
    "Pastes": lambda: lme.datasets.load("Pastes"),
    "Machines": lambda: lme.datasets.load("Machines"),
}
DAYS = "Reaction ~ Days + (Days | Subject)"
CASES = [
    ("sleepstudy", DAYS, True),
    ("unbalanced", DAYS, True),
    ("unbalanced", DAYS, False),
    ("two classes", DAYS, True),
    ("sleepstudy", "Reaction ~ 0 + (Days | Subject)", True),
    ("sleepstudy", "Reaction ~ Days + (Days || Subject)", False),
    ("unbalanced", "Reaction ~ Days + homdiag(Days | Subject)", True),
    ("Dyestuff", "Yield ~ 1 + (1 | Batch)", False),
    ("Dyestuff2", "Yield ~ 1 + (1 | Batch)", True),
    ("Machines", "score ~ Machine + (Machine | Worker)", True),
    ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", True),
    ("Pastes", "strength ~ 1 + (1 | batch / cask)", False),
    ("unbalanced", "Reaction ~ Days + (Days | Subject) + (1 | third)", True),
]
_FITS = {}


def fitted(data, formula, reml=True):
    key = data, formula, reml
    if key not in _FITS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = lme.lmer(formula, FRAMES[data]())
            _FITS[key] = model.fit(reml=reml).fit_record
    return _FITS[key]


def criteria(fit, Y):
    """The batch of a fit and its responses."""
    problem = fit.problem
    way = batched.plan(problem)
    constant = fit.criterion.constant
    _, residual = batched.least_squares(problem, Y)
    make = load if isinstance(way, Classes) else load_dense
    return make(way, problem, residual, fit.reml, constant)


@pytest.mark.parametrize("data, formula, reml", CASES)
def test_value_and_derivatives(data, formula, reml):
    fit = fitted(data, formula, reml)
    Y = simulate_responses(fit, 3, seed=1)
    batch = criteria(fit, Y)
    k = fit.theta.size
    rng = np.random.default_rng(2)
    theta = 0.3 + rng.random((k, 3))
    theta[:, 1] = 0.0
    theta[-1, 2] = 0.0
    at = batch.evaluate(theta)
    assert at.hessian.shape == (k, k, 3)
    for r in range(3):
        problem = lmm.with_response(fit.problem, Y[r])
        criterion = lmm.Criterion(problem, choose(problem.cross)[0], reml)
        single = criterion.evaluate(theta[:, r])
        size = 1.0 + np.abs(single.gradient).max()
        assert at.value[r] == pytest.approx(single.value, abs=1e-8)
        assert np.allclose(at.gradient[:, r], single.gradient, atol=1e-8 * size)
        assert np.allclose(at.coefficients[:, r], single.coefficients, atol=1e-8)
        assert at.logdet[r] == pytest.approx(single.logdet, abs=1e-9)
    step = 1e-5
    for i in range(k):
        shift = np.zeros((k, 1))
        shift[i] = step
        high, low = batch.evaluate(theta + shift), batch.evaluate(theta - shift)
        slope = (high.gradient - low.gradient) / (2 * step)
        size = 1.0 + np.abs(at.hessian).max()
        assert np.abs(slope - at.hessian[i]).max() < 1e-6 * size


@pytest.mark.parametrize("data, formula, reml", CASES)
def test_same_answers_as_one_by_one(data, formula, reml):
    fit = fitted(data, formula, reml)
    Y = simulate_responses(fit, 12, seed=4)
    start = fit.problem.template.internal(fit.theta)
    found = batched.refit_batch(fit.problem, reml, start, Y)
    assert found.converged.all() and len(found) == 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        singles = [refit(fit, y) for y in Y]
    scale = max(1.0, float(np.abs(fit.theta).max()))
    for r, single in enumerate(singles):
        assert found.objective[r] == pytest.approx(single.objective, abs=1e-6)
        # A search of one stops at a predicted decrease of 1e-10.
        assert np.abs(found.theta[r] - single.theta).max() < 5e-6 * scale
        assert np.abs(found.beta[r] - single.beta).max(initial=0.0) < 1e-6
        assert found.sigma[r] == pytest.approx(single.sigma, rel=1e-6)
        assert found.ldL2[r] == pytest.approx(single.ldL2, abs=1e-4)


def test_no_start_finds_the_same():
    fit = fitted("unbalanced", DAYS)
    Y = simulate_responses(fit, 20, seed=5)
    start = fit.problem.template.internal(fit.theta)
    warm_ones = batched.refit_batch(fit.problem, True, start, Y)
    cold = batched.refit_batch(fit.problem, True, None, Y * 7.0)
    assert cold.converged.all()
    assert np.allclose(cold.theta, warm_ones.theta, atol=1e-5)
    assert np.allclose(cold.sigma, 7.0 * warm_ones.sigma, rtol=1e-6)


def test_zero_variances_are_exactly_zero():
    fit = fitted("Dyestuff2", "Yield ~ 1 + (1 | Batch)")
    assert fit.theta[0] == 0.0
    Y = simulate_responses(fit, 200, seed=6)
    found = batched.refit_batch(fit.problem, True, np.zeros(1), Y)
    zero = found.theta[:, 0] == 0.0
    # The share for equal groups: P(chi2_5 / 5 <= chi2_24 / 24) is about 0.57.
    assert 0.45 < zero.mean() < 0.7
    assert np.allclose(found.sigma[zero], Y[zero].std(axis=1, ddof=1))
    assert (found.theta[~zero] > 1e-3).all()


def test_perfect_correlations():
    fit = fitted("sleepstudy", DAYS)
    Y = simulate_responses(fit, 300, seed=7)
    start = fit.problem.template.internal(fit.theta)
    found = batched.refit_batch(fit.problem, True, start, Y)
    flat = np.flatnonzero(found.theta[:, 2] == 0.0)
    assert 0 < flat.size < 60
    for r in flat[:3]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            single = refit(fit, Y[r])
        assert single.convergence.singular
        assert found.objective[r] == pytest.approx(single.objective, abs=1e-7)


def test_a_common_level_does_not_matter():
    fit = fitted("sleepstudy", DAYS)
    Y = simulate_responses(fit, 5, seed=8)
    start = fit.problem.template.internal(fit.theta)
    plain = batched.refit_batch(fit.problem, True, start, Y)
    far = batched.refit_batch(fit.problem, True, start, Y + 1e6)
    assert np.allclose(plain.theta, far.theta, atol=1e-6)
    assert np.allclose(plain.beta[:, 0] + 1e6, far.beta[:, 0], rtol=1e-9)


def test_weights_and_offset():
    frame = unbalanced()
    rng = np.random.default_rng(9)
    frame["w"] = rng.uniform(0.5, 2.0, len(frame))
    frame["o"] = rng.normal(size=len(frame))
    model = lme.lmer(DAYS, frame, weights="w", offset="o")
    fit = model.fit().fit_record
    Y = simulate_responses(fit, 4, seed=1)
    start = fit.problem.template.internal(fit.theta)
    found = batched.refit_batch(fit.problem, True, start, Y)
    for r, y in enumerate(Y):
        single = refit(fit, y)
        assert found.objective[r] == pytest.approx(single.objective, abs=1e-7)
        assert np.allclose(found.beta[r], single.beta, atol=1e-6)


def test_unusable_responses_have_reasons():
    fit = fitted("sleepstudy", DAYS)
    Y = simulate_responses(fit, 4, seed=1)
    good = batched.refit_batch(fit.problem, True, None, Y[:1])
    Y[1, 3] = np.nan
    Y[2] = 1.0 + fit.X[:, 1]
    Y[3] = 0.0
    for found in (
        batched.refit_batch(fit.problem, True, None, Y),
        refit_many(fit, Y, warm=False),
    ):
        wanted = [
            batched.CONVERGED,
            batched.NOT_FINITE,
            batched.EXACT,
            batched.EXACT,
        ]
        assert found.reason.tolist() == wanted
        assert np.isnan(found.objective[1:]).all() and np.isnan(found.beta[1:]).all()
        assert found.objective[0] == pytest.approx(good.objective[0], abs=1e-8)
    none = batched.refit_batch(fit.problem, True, None, Y[:0])
    assert len(none) == 0 and none.theta.shape == (0, 3)


def test_cut_short():
    fit = fitted("sleepstudy", DAYS)
    Y = simulate_responses(fit, 3, seed=1)
    found = batched.refit_batch(fit.problem, True, None, Y, max_evaluations=2)
    assert (found.reason == batched.NOT_CONVERGED).all()
    assert (found.evaluations == 2).all()


def test_classes():
    assert len(batched.plan(fitted("sleepstudy", DAYS).problem).starts) == 1
    way = batched.plan(fitted("unbalanced", DAYS).problem)
    assert 1 < len(way.starts) <= 18 and way.counts.sum() == 18
    two = batched.plan(fitted(*CASES[-3]).problem)
    assert isinstance(two, Design) and two.A.shape == (23, 23)


def test_designs_without_a_common_way():
    frame = lme.datasets.load("sleepstudy")
    fit = lme.lmer("Reaction ~ Days + cs(1 + Days | Subject)", frame).fit().fit_record
    assert batched.plan(fit.problem) is None
    with pytest.raises(ValueError, match="one at a time"):
        batched.refit_batch(fit.problem, True, None, fit.design.y[None, :])
    Y = simulate_responses(fit, 2, seed=1)
    found = refit_many(fit, Y)
    for r, y in enumerate(Y):
        assert found.objective[r] == pytest.approx(refit(fit, y).objective, abs=1e-6)


def test_one_by_one_is_the_same(monkeypatch):
    fit = fitted("Pastes", CASES[-2][1], False)
    Y = simulate_responses(fit, 20, seed=3)
    Y[2, 0] = np.inf
    ticks = []
    together = refit_many(fit, Y, tick=ticks.append)
    assert sum(ticks) == 20
    monkeypatch.setattr(batched, "plan", lambda problem: None)
    single = refit_many(fit, Y, tick=ticks.append)
    assert sum(ticks) == 40
    assert (single.reason == together.reason).all() and single.reason[2] != 0
    assert np.allclose(single.objective, together.objective, atol=1e-6, equal_nan=True)
    assert np.allclose(single.theta, together.theta, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("case", [CASES[1], CASES[2], CASES[-3], CASES[-1]])
def test_first_points_are_evaluations(case):
    data, formula, reml = case
    fit = fitted(data, formula, reml)
    Y = simulate_responses(fit, 18, seed=3)
    problem = fit.problem
    theta = problem.template.internal(fit.theta)
    criterion = lmm.Criterion(problem, choose(problem.cross)[0], reml)
    _, residual = batched.least_squares(problem, Y)
    hessian = fit.convergence.hessian
    found = warm.first_points(criterion, theta, hessian, residual)
    for r in (0, 17):
        other = lmm.with_response(problem, Y[r])
        single = lmm.Criterion(other, choose(other.cross)[0], reml).evaluate(theta)
        assert found[r].value == pytest.approx(single.value, abs=1e-8)
        assert np.allclose(found[r].gradient, single.gradient, atol=1e-7)
        assert found[r].curvature() is hessian
    assert warm.first_points(criterion, theta, hessian * np.nan, residual) is None


def test_starts_leave_zero():
    problem = fitted("sleepstudy", DAYS).problem
    start = lifted(problem, np.array([0.0, 0.5, 1.0]))
    assert start[0] > 0.05 and start[1:].tolist() == [0.5, 1.0]


def test_external_parameters():
    cases = [CASES[0], CASES[4], CASES[5], CASES[6], CASES[8]]
    rng = np.random.default_rng(1)
    for data, formula, reml in cases:
        template = fitted(data, formula, reml).problem.template
        theta = np.abs(rng.normal(size=(template.size, 6)))
        theta[-1, 1] = 0.0
        theta[:, 2] = 0.0
        theta[0, 3] = 0.0
        found = external(template, theta)
        for r in range(6):
            canonical = template.canonical(theta[:, r])
            wanted = template.external(canonical)
            assert np.allclose(found[r], wanted, atol=1e-10), (formula, r)


def test_algebra():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(7, 4, 4))
    A = A @ A.transpose(0, 2, 1) + np.eye(4)
    stacked = np.ascontiguousarray(A.transpose(1, 2, 0))
    L = cholesky(stacked)
    assert np.allclose(L.transpose(2, 0, 1), np.linalg.cholesky(A))
    product = np.einsum("abr,bcr->acr", inverse_lower(L), L)
    assert np.allclose(product, np.eye(4)[:, :, None])
    assert np.allclose(log_diagonal(L), np.linalg.slogdet(A)[1])
    bad = np.array([[[1.0, 1.0], [2.0, 0.0]], [[2.0, 0.0], [1.0, 1.0]]])
    assert np.isnan(cholesky(bad)[1, 1]).tolist() == [True, False]


def test_steps_are_those_of_the_search():
    rng = np.random.default_rng(3)
    H = rng.normal(size=(3, 3, 40))
    H = H + H.transpose(1, 0, 2)
    H[:, :, ::2] = np.einsum("abr,cbr->acr", H, H)[:, :, ::2]
    g = rng.normal(size=(3, 40))
    radius = rng.uniform(0.1, 3.0, 40)
    step, decrease, promise = newton_steps(g, H, radius)
    for r in range(40):
        wanted = newton_step(g[:, r], H[:, :, r], radius[r])
        # Both bisect for the multiplier, to a hundredth.
        assert np.allclose(step[:, r], wanted[0], rtol=0.03, atol=0.03 * radius[r])
        assert decrease[r] == pytest.approx(wanted[1], rel=0.05)
        assert promise[r] == pytest.approx(wanted[2], rel=1e-8)
    assert (np.linalg.norm(step, axis=0) < 1.02 * radius).all()


def test_the_problem_is_not_changed():
    fit = fitted("sleepstudy", DAYS)
    before = fit.problem.y.copy(), fit.problem.cross.gram.copy()
    Y = simulate_responses(fit, 2, seed=1)
    copy = Y.copy()
    refit_many(replace(fit), Y)
    assert np.array_equal(before[0], fit.problem.y) and np.array_equal(Y, copy)
    assert np.array_equal(before[1], fit.problem.cross.gram)
