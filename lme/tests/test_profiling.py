"""Profiles against lme4, against dense likelihoods, and by their own identities."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.stats import gamma, nbinom, norm

import lme
from lme.covariance import STRUCTURES
from lme.engine import natural
from lme.engine.choice import choose
from lme.engine.deviance import Deviance
from lme.engine.restriction import held
from lme.errors import FitError
from lme.inference.profile import profiling
from lme.inference.profile.curves import Curve
from lme.inference.profile.parameters import parameters
from lme.inference.profile.scales import POSITIVE
from lme.inference.profile.surfaces import surface
from lme.tests.cases import REFERENCE, data

REFERENCES = json.loads((REFERENCE / "profiles" / "intervals.json").read_text())
MODELS = {
    "dyestuff": ("Dyestuff", "Yield ~ 1 + (1 | Batch)"),
    "sleep_full": ("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
    "sleep_uncorr": ("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
    "sleep_int": ("sleepstudy", "Reaction ~ Days + (1 | Subject)"),
    "penicillin": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    "pastes": ("Pastes", "strength ~ 1 + (1 | batch) + (1 | sample)"),
    "tablets": ("tablets", "y ~ method + (1 | tablet)"),
    "ergoStool": ("ergoStool", "effort ~ Type + (1 | Subject)"),
    "cake_temp": ("cake", "angle ~ recipe + temp + (1 | recipe:replicate)"),
    "machines": ("Machines", "score ~ Machine + (Machine | Worker)"),
}
GENERALIZED = {
    "cbpp": (
        "cbpp",
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        "binomial",
    ),
    "sim_pois": ("simglm", "yp ~ x + trt + (1 | g)", "poisson"),
}
# One call for each structure; the columns of a level are seen three times.
CALLS = {
    "us": "us(0 + t | g)",
    "diag": "diag(0 + t | g)",
    "homdiag": "diag(0 + t | g, hom=TRUE)",
    "cs": "cs(0 + t | g)",
    "homcs": "cs(0 + t | g, hom=TRUE)",
    "ar1": "ar1(0 + t | g)",
    "hetar1": "ar1(0 + t | g, hom=FALSE)",
    "toep": "toep(0 + t | g)",
    "homtoep": "toep(0 + t | g, hom=TRUE)",
}


@cache
def fitted(name, reml=True):
    if name in GENERALIZED:
        frame, formula, family = GENERALIZED[name]
        return lme.glmer(formula, data(frame), family=family).fit()
    frame, formula = MODELS[name]
    return lme.lmer(formula, data(frame)).fit(reml=reml)


@cache
def repeated():
    """Three correlated columns a level, each seen three times."""
    rng = np.random.default_rng(3)
    sd, n = np.array([1.0, 1.5, 2.0]), 30
    C = np.array([[1, 0.6, 0.4], [0.6, 1, 0.6], [0.4, 0.6, 1]]) * np.outer(sd, sd)
    b = rng.multivariate_normal(np.zeros(3), C, n)
    g, t = np.repeat(np.arange(n), 9), np.tile(np.repeat(np.arange(3), 3), n)
    y = 2 + b[g, t] + rng.normal(0, 1, g.size)
    return pd.DataFrame(
        {"y": y, "g": g.astype(str), "t": pd.Categorical(t.astype(str))}
    )


@cache
def structured(name, reml=True):
    return lme.lmer(f"y ~ 1 + {CALLS[name]}", repeated()).fit(reml=reml)


def dense_deviance(fit, known, values):
    """``-2 log-likelihood`` at the reported parameters, by n x n matrices."""
    found = dict(zip(known, values, strict=True))
    y, n = fit.design.y, fit.design.y.size
    V = np.diag(np.full(n, found[next(p for p in known if p.kind == "sigma")] ** 2))
    for slot, term in enumerate(fit.design.terms):
        p = len(term.columns)
        own = [each for each in known if each.slot == slot]
        sds = [found[each] for each in own if each.kind == "sd"]
        sd = np.full(p, sds[0]) if len(sds) == 1 else np.array(sds)
        R = np.eye(p)
        cors = [each for each in own if each.kind == "cor"]
        for each in cors:
            i, j = each.rows
            shared = term.structure not in ("us", "diag")
            for a in range(p):
                for b in range(a):
                    pattern = term.structure[-2:] if shared else "us"
                    if pattern == "cs" or (a, b) == (i, j):
                        R[a, b] = R[b, a] = found[each]
                    elif pattern == "r1":
                        R[a, b] = R[b, a] = found[each] ** (a - b)
                    elif shared and a - b == i:
                        R[a, b] = R[b, a] = found[each]
        S = R * np.outer(sd, sd)
        same = term.codes[:, None] == term.codes
        V += (term.values @ S @ term.values.T) * same
    beta = [found[each] for each in known if each.kind == "beta"]
    e = y - fit.X @ np.array(beta)
    quadratic = e @ np.linalg.solve(V, e)
    return float(np.linalg.slogdet(V)[1] + quadratic + n * np.log(2 * np.pi))


# --- gradients --------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 1])
def test_the_deviance_has_the_right_gradient_and_curvature(row):
    fit = fitted("sleep_full", reml=False).fit_record
    problem = fit.problem
    kernel, _ = choose(problem.cross)
    turn, _ = natural.leading_basis(problem.template.slots[0], [row, 1 - row])
    other = natural.with_structure(problem.template, 0, natural.Leading(turn))
    problem = replace(problem, template=other)
    theta = natural.moved(
        fit.problem.template, other, fit.problem.template.internal(fit.theta)
    )
    c = np.linalg.solve(problem.R.T, np.eye(2)[row])
    criterion = Deviance(problem, kernel, c)
    optimum = np.concatenate([theta, [np.log(fit.sigma), fit.beta[row]]])
    at = criterion.evaluate(optimum)
    assert_allclose(at.value, fit.objective, rtol=1e-12)
    assert_allclose(at.gradient, 0.0, atol=1e-4)
    h = 1e-5
    for x in (optimum, optimum + np.array([0.1, 0.2, -0.1, 0.05, 1.0])):
        slopes = [
            (criterion.evaluate(x + h * e).value - criterion.evaluate(x - h * e).value)
            / (2 * h)
            for e in np.eye(5)
        ]
        assert_allclose(criterion.evaluate(x).gradient, slopes, rtol=1e-6, atol=1e-5)
    # Average information is the Hessian itself in a balanced design.
    H = [
        (criterion.evaluate(optimum + h * e).gradient - at.gradient) / h
        for e in np.eye(5)
    ]
    again = criterion.evaluate(optimum)
    assert_allclose(again.curvature(), H, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["sleep_full", "cbpp", *CALLS])
def test_restricted_gradients(name):
    fit = (structured if name in CALLS else fitted)(name).fit_record
    ground = surface(fit)
    rng = np.random.default_rng(1)
    for i, each in enumerate(ground.parameters):
        setting = ground.setting(each)
        at = setting.scale.inward(ground.optimum.estimates[i])
        free = setting.restriction.collapse(setting.start, at)
        best = held(setting.evaluate, setting.restriction, at)(free)
        assert best.value == pytest.approx(ground.optimum.value, abs=1e-7), each.name
        free, at = free + 0.03 * rng.normal(size=free.size), at + 0.02
        point = held(setting.evaluate, setting.restriction, at)(free)
        x, h = setting.restriction.expand(free, at), 1e-5
        assert_allclose(setting.restriction.collapse(x, at), free, atol=1e-10)
        value = ground.values(point.full)[i]
        assert value == pytest.approx(setting.scale.outward(at), rel=1e-9), each.name

        def along(step, at=at, setting=setting, free=free):
            return held(setting.evaluate, setting.restriction, at + step)(free).value

        def inside(step, at=at, setting=setting, free=free):
            return held(setting.evaluate, setting.restriction, at)(free + step).value

        slopes = [(inside(h * e) - inside(-h * e)) / (2 * h) for e in np.eye(free.size)]
        assert_allclose(point.gradient, slopes, rtol=1e-5, atol=1e-4)
        slope = (along(h) - along(-h)) / (2 * h)
        assert_allclose(point.slope, slope, rtol=1e-5, atol=1e-4)


# --- values -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dyestuff_ML", "sleep_full_ML"])
def test_zeta_at_given_values(name):
    reference = dict(REFERENCES["points"][name])
    reference.pop("estimate")
    basis = reference.pop("basedev")
    found = fitted(name[:-3]).profile()
    assert found.deviance == pytest.approx(basis, abs=1e-7)
    for row, points in reference.items():
        # Cubics between exact points.
        curve = found[row]
        assert_allclose(curve.zeta_at(points["value"]), points["zeta"], atol=2e-3)
        inside = np.abs(points["zeta"]) < found.cutoff
        back = curve.value(np.array(points["zeta"])[inside])
        assert_allclose(back, np.array(points["value"])[inside], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", REFERENCES["confint"])
def test_intervals_of_lme4(name):
    reference = REFERENCES["confint"][name]
    if name == "machines":
        # lme4 stops short of the constrained optimum of a correlation of three
        # columns; `test_profiles_of_dense_likelihoods` checks those.
        reference = {k: v for k, v in reference.items() if k[:3] != "cor"}
    model = name.removesuffix("_ML").removesuffix("_REML")
    result = fitted(model)
    found = result.confint(parm=list(reference))
    wanted = np.array(list(reference.values()))
    width = np.diff(wanted)
    # lme4 interpolates between points of its grid.
    assert np.abs((found.to_numpy() - wanted) / width).max() < 5e-4
    assert list(found.columns) == ["2.5 %", "97.5 %"]
    old = [
        {p.old: p.name for p in parameters(result.fit_record)}.get(k, k)
        for k in reference
    ]
    assert list(found.index) == old


@pytest.mark.parametrize(
    "name", ["sleep_full", "sleep_uncorr", "machines", "penicillin", *CALLS]
)
def test_profiles_of_dense_likelihoods(name):
    """At every point the others give the deviance, and are stationary."""
    result = (structured if name in CALLS else fitted)(name)
    fit = result.fit_record
    profile = result.profile("theta_")
    known = profile.parameters
    assert set(CALLS) == set(STRUCTURES)
    for curve in profile.values():
        assert curve.monotone
        held_at = profile.names.index(curve.name)
        assert_allclose(curve.others[:, held_at], curve.values)
        for k in (0, 2, -3):
            others, zeta = curve.others[k], curve.zeta[k]
            value = dense_deviance(fit, known, others)
            assert value - profile.deviance == pytest.approx(zeta**2, abs=3e-5)
    curve = profile[profile.names[1]]
    others = curve.others[2]
    for j in range(len(known)):
        step = np.zeros(len(known))
        step[j] = 1e-3 * max(abs(others[j]), 0.1)
        if j == profile.names.index(curve.name):
            continue
        ends = [dense_deviance(fit, known, others + s * step) for s in (1, -1)]
        # No decrease of the deviance can be had beside it, rounding errors apart.
        rise = 0.5 * sum(ends) - profile.deviance - curve.zeta[2] ** 2
        drop = 0.5 * abs(ends[0] - ends[1])
        assert drop**2 / max(4 * rise, 1e-12) < 1e-5


def test_a_glmm_by_an_optimizer_that_knows_nothing():
    result = fitted("cbpp")
    fit = result.fit_record
    curve = result.profile("period2")["period2"]
    p = fit.problem.p
    j = 1
    for k in (0, -1):

        def criterion(free, value=curve.values[k]):
            beta = np.insert(free[:-1], j, value)
            psi = np.append(fit.problem.R @ beta, free[-1])
            return fit.criterion.evaluate(psi, gradient=False).value

        start = np.append(np.delete(curve.others[k][1:], j), curve.others[k][0])
        options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 2000}
        best = minimize(criterion, start + 0.05, method="Nelder-Mead", options=options)
        assert p == 4
        assert best.fun - fit.objective == pytest.approx(curve.zeta[k] ** 2, abs=2e-6)


def test_a_link_whose_means_may_be_negative():
    """Steps that leave the means positive only; the minima are those of a search."""
    rng = np.random.default_rng(9)
    g, x = np.repeat(np.arange(8), 6), np.tile(np.arange(6.0), 8)
    frame = pd.DataFrame({"y": rng.poisson(0.3 + 0.5 * x), "x": x, "g": g.astype(str)})
    model = lme.glmer("y ~ x + (1 | g)", frame, family="poisson", link="identity")
    result = model.fit()
    fit = result.fit_record
    curve = result.profile("sd_(Intercept)|g", reach=2.0, exact=())["sd_(Intercept)|g"]
    assert curve.estimate == 0.0 and curve.zeta[-1] > 2.0

    def criterion(beta):
        psi = np.append(fit.problem.R @ beta, curve.values[-1])
        value = fit.criterion.evaluate(psi, gradient=False).value
        return value if np.isfinite(value) else 1e10

    options = {"xatol": 1e-8, "fatol": 1e-10}
    best = minimize(
        criterion, curve.others[-1][1:], method="Nelder-Mead", options=options
    )
    assert best.fun - fit.objective == pytest.approx(curve.zeta[-1] ** 2, abs=1e-5)


def test_too_few_points_for_a_limit():
    """The path ends early, which a warning says; the limit is not known."""
    with pytest.warns(lme.errors.ProfileWarning, match="broke off"):
        profile = fitted("sleep_int").profile("Days", max_points=3, step=0.2, exact=())
    curve = profile["Days"]
    assert 0.4 < curve.zeta[-1] < 0.9 and curve.zeta.size == 7
    assert np.isnan(curve.limits(0.95)).all()
    whole = fitted("sleep_int").profile("Days", exact=())["Days"]
    assert_allclose(curve.limits(0.3), whole.limits(0.3), rtol=1e-4)


def skewed(family):
    """Twelve groups of six counts, or of six positive numbers."""
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(12), 6), rng.normal(size=72)
    mu = np.exp(1 + 0.3 * x + rng.normal(0, 0.5, 12)[g])
    counts = family == "negative_binomial"
    y = rng.negative_binomial(2, 2 / (2 + mu)) if counts else rng.gamma(4, mu / 4)
    return pd.DataFrame({"y": y, "x": x, "g": g.astype(str)})


def integrated(frame, family, values):
    """``-2 log-likelihood`` at sd, sigma or theta, and beta, by 60 fixed nodes."""
    sd, extra, *beta = values
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    eta = beta[0] + beta[1] * frame["x"].to_numpy()
    mu = np.exp(eta[:, None] + sd * nodes)
    y = frame["y"].to_numpy()[:, None]
    if family == "negative_binomial":
        rows = nbinom.logpmf(y, extra, extra / (extra + mu))
    else:
        rows = gamma.logpdf(y, 1 / extra**2, scale=mu * extra**2)
    groups = pd.DataFrame(rows).groupby(frame["g"].to_numpy()).sum()
    parts = np.exp(groups.to_numpy()) @ weights / np.sqrt(2 * np.pi)
    return -2.0 * np.log(parts).sum()


@pytest.mark.parametrize(
    "family, name", [("negative_binomial", "nb_theta"), ("gamma", "sigma")]
)
def test_dispersions_by_integration(family, name):
    """Profiles of the last parameter of a family, with adaptive quadrature."""
    frame = skewed(family)
    model = lme.glmer("y ~ x + (1 | g)", frame, family=family, link="log")
    result = model.fit(nAGQ=15)
    profile = result.profile(name, exact=())
    curve = profile[name]
    assert curve.zeta[0] < -2.9 and curve.zeta[-1] > 2.9
    for value, others, zeta in zip(curve.values, curve.others, curve.zeta, strict=True):
        assert others[1] == pytest.approx(value, rel=1e-12)
        rise = integrated(frame, family, others) - profile.deviance
        assert rise == pytest.approx(zeta**2, abs=2e-5)
    # The ends are minima over the other parameters.
    others = curve.others[-1]
    for j, step in ((0, 1e-3), (2, 1e-3), (3, 1e-3)):
        moved = [
            integrated(frame, family, others + sign * step * np.eye(4)[j])
            for sign in (-1, 1)
        ]
        assert min(moved) > integrated(frame, family, others)


def test_slopes_are_those_of_zeta():
    for name in ("sleep_full", "cbpp"):
        result = fitted(name)
        coarse = result.profile(step=0.75)
        fine = result.profile(step=0.15)
        assert sum(c.zeta.size for c in fine.values()) > 2.5 * sum(
            c.zeta.size for c in coarse.values()
        )
        for curve in coarse.values():
            dense = fine[curve.name]
            values = dense.values[(np.abs(dense.zeta) < 3.0)]
            assert_allclose(
                curve.zeta_at(values), dense.zeta_at(values), atol=3e-3, rtol=1e-3
            )


def test_wald_limits_are_the_slope_of_the_profile():
    """dzeta/dvalue at the estimate is one over the standard error."""
    result = fitted("sleep_full", reml=False)
    wald = result.confint(method="wald", variances=True)
    profile = result.profile(step=0.02, reach=0.05, exact=())
    z = norm.ppf(0.975)
    for curve in profile.values():
        kind = curve.kind
        forth, back = (
            (np.arctanh, np.tanh)
            if kind == "cor"
            else (np.log, np.exp)
            if kind in ("sd", "sigma")
            else (np.asarray, np.asarray)
        )
        width = np.diff(forth(curve.value([-0.02, 0.02])))[0] / 0.04
        center = forth(curve.estimate)
        limits = [float(back(center - z * width)), float(back(center + z * width))]
        assert_allclose(wald.loc[curve.name], limits, rtol=2e-3, atol=1e-3)


def test_contours_lie_where_they_should():
    result = fitted("sleep_int", reml=False)
    fit = result.fit_record
    profile = result.profile()
    found = profile.contours("Days", "sigma", levels=[0.5, 0.9], points=5)
    assert sorted(found["level"].unique()) == [0.5, 0.9]
    known, y = profile.parameters, fit.design.y
    assert y.size == 180
    for _, row in found.iterrows():

        def deviance(free, row=row):
            # sd, sigma, (Intercept), Days
            values = [abs(free[0]), row["sigma"], free[1], row["Days"]]
            return dense_deviance(fit, known, values)

        best = minimize(
            deviance,
            [fit.theta[0] * fit.sigma, fit.beta[0]],
            method="Nelder-Mead",
            options={"xatol": 1e-3, "fatol": 1e-5},
        )
        rise = best.fun - profile.deviance
        assert rise == pytest.approx(-2 * np.log1p(-row["level"]), rel=0.02)


# --- bounds -----------------------------------------------------------------------


def test_a_standard_deviation_that_may_be_zero():
    limits = fitted("pastes").confint(0.95, parm="sd_(Intercept)|batch").iloc[0]
    assert limits.iloc[0] == 0.0
    assert limits.iloc[1] == pytest.approx(2.9466, abs=2e-3)
    # Dyestuff reaches -2.3244 at zero: the limit is 0 at 99 percent only.
    assert fitted("dyestuff").confint(0.99).iloc[0, 0] == 0.0
    assert fitted("dyestuff").confint(0.95).iloc[0, 0] == pytest.approx(
        12.198, abs=0.01
    )
    profile = fitted("dyestuff").profile(".sig01")
    assert profile[".sig01"].zeta[0] == pytest.approx(-2.3243980067, abs=1e-6)
    assert profile[".sig01"].values[0] == 0.0


def test_a_singular_fit():
    result = lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff2")).fit(reml=False)
    assert result.is_singular
    profile = result.profile()
    curve = profile["sd_(Intercept)|Batch"]
    assert curve.estimate == 0.0
    assert curve.zeta[0] == 0.0
    limits = profile.confint()
    assert limits.iloc[0, 0] == 0.0
    assert 1.5 < limits.iloc[0, 1] < 2.5
    # Just another way to hold the standard deviation: through theta.
    at = curve.values[3]
    sigma = curve.others[3][1]
    from_theta = dense_deviance(
        result.fit_record, profile.parameters, [at, sigma, curve.others[3][2]]
    )
    assert from_theta - profile.deviance == pytest.approx(curve.zeta[3] ** 2, abs=1e-5)


def correlated(slope, seed=3, noise=0.7):
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(12), 6), np.tile(np.arange(6.0), 12)
    b = rng.normal(0, 1, 12)
    y = 1 + 0.3 * x + b[g] * (1 + slope * x) + rng.normal(0, noise, 72)
    return pd.DataFrame({"y": y, "x": x, "g": g.astype(str)})


def test_a_correlation_of_one():
    result = lme.lmer("y ~ x + (x | g)", correlated(0.5)).fit()
    profile = result.profile("cor_x.(Intercept)|g")
    curve = next(iter(profile.values()))
    assert curve.estimate == pytest.approx(1.0)
    low, high = curve.limits(0.95)
    assert high == 1.0
    assert 0.7 < low < 0.95


def test_a_correlation_that_the_data_do_not_bound():
    """Beside a variance that may be zero no correlation is excluded."""
    frame = correlated(0.0, noise=1.0)
    result = lme.lmer("y ~ x + (x | g)", frame).fit(reml=False)
    without = lme.lmer("y ~ x + (1 | g)", frame).fit(reml=False)
    profile = result.profile()
    curve = profile["cor_x.(Intercept)|g"]
    assert curve.limits(0.95) == (-1.0, 1.0)
    # Where the correlation has no meaning left zeta stays what it is at the end.
    assert_allclose(curve.zeta_at([-1.0, 1.0]), curve.zeta[[0, -1]], atol=1e-6)
    assert np.isnan(curve.zeta_at([-1.01, 1.01])).all()
    most = np.sqrt(without.objective - result.objective)
    assert np.abs(curve.zeta).max() <= most + 1e-4
    assert profile["sd_x|g"].zeta[0] == pytest.approx(-most, abs=1e-4)
    assert profile["sd_x|g"].limits(0.95)[0] == 0.0


def test_a_correlation_without_a_meaning():
    frame = correlated(0.0, noise=3.0)
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    result = lme.lmer("y ~ x + (x | g)", frame).fit()
    profile = result.profile()
    curve = profile["cor_x.(Intercept)|g"]
    assert np.isnan(curve.estimate)
    assert curve.limits(0.95) == (-1.0, 1.0)
    assert np.isfinite(profile.confint().to_numpy()).all()


@pytest.mark.slow
def test_a_coefficient_without_a_bound():
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(15), 6), np.tile(np.arange(6.0), 15) > 2
    frame = pd.DataFrame(
        {
            "y": np.where(x, 1, rng.binomial(1, 0.4, 90)),
            "x": x * 1.0,
            "g": g.astype(str),
        }
    )
    with pytest.warns(lme.errors.ConvergenceWarning, match="separation"):
        result = lme.glmer("y ~ x + (1 | g)", frame, family="bernoulli").fit()
    with pytest.warns(lme.errors.ProfileWarning, match="without end above"):
        limits = result.profile("x", reach=2.0).confint()
    assert np.isposinf(limits.iloc[0, 1])
    assert 2.0 < limits.iloc[0, 0] < 5.0


def test_a_better_optimum_is_found_and_used():
    """Estimates that are not at the minimum are left with a warning."""
    result = fitted("sleep_full", reml=False)
    fit = result.fit_record
    astray = replace(fit, theta=fit.theta * [1.5, 0.0, 0.4])
    right = result.profile(exact=())
    with pytest.warns(lme.errors.ProfileWarning, match="lower deviance") as caught:
        found = profiling.profile(astray, exact=())
    assert len(caught) == 1
    assert found.notes[0].startswith("Profiling found a lower deviance (1751.939)")
    assert found.deviance == pytest.approx(right.deviance, abs=1e-6)
    assert_allclose(found.estimates, right.estimates, rtol=1e-4)
    assert_allclose(found.confint(), right.confint(), rtol=2e-3, atol=1e-3)


def test_a_better_optimum_of_a_generalized_model():
    fit = fitted("cbpp").fit_record
    moved = replace(fit, theta=1.5 * fit.theta)
    right = fitted("cbpp").profile("period2", exact=())
    with pytest.warns(lme.errors.ProfileWarning, match="lower deviance"):
        found = profiling.profile(moved, "period2", exact=())
    assert found.deviance == pytest.approx(right.deviance, abs=1e-6)
    assert_allclose(found.confint(), right.confint(), rtol=2e-3)


def test_better_optima_without_end(monkeypatch):
    fit = fitted("sleep_full", reml=False).fit_record
    astray = replace(fit, theta=fit.theta * [1.5, 0.0, 0.4])
    monkeypatch.setattr(profiling, "_RESTARTS", 0)
    with pytest.raises(FitError, match=r"again and again.*from other starts"):
        profiling.profile(astray, "Days", exact=())


def test_a_better_optimum_among_several_processes():
    """All parameters begin again in turn; the curves are those of one process."""
    fit = fitted("sleep_full", reml=False).fit_record
    astray = replace(fit, theta=fit.theta * [1.5, 0.0, 0.4])
    chosen = ["Days", "(Intercept)"]
    with pytest.warns(lme.errors.ProfileWarning, match="lower deviance"):
        alone = profiling.profile(astray, chosen, exact=())
    with (
        parallel_config(backend="threading"),
        pytest.warns(lme.errors.ProfileWarning, match="lower deviance"),
    ):
        found = profiling.profile(astray, chosen, exact=(), n_jobs=2)
    assert_allclose(found.confint(), alone.confint(), rtol=1e-9)


def test_a_known_sigma_and_unequal_deviations():
    """A pattern of correlations whose deviations are held one by one."""
    model = lme.lmer(f"y ~ 1 + {CALLS['cs']}", repeated(), sigma=1.0)
    profile = model.fit().profile(["sd_t1|g", "cor|g"], exact=())
    known = parameters(structured("cs").fit_record)
    for curve in profile.values():
        for k in (0, -1):
            values = np.insert(curve.others[k], 4, 1.0)
            rise = dense_deviance(structured("cs").fit_record, known, values)
            rise -= profile.deviance
            assert rise == pytest.approx(curve.zeta[k] ** 2, abs=1e-6)


def test_a_known_sigma_is_not_profiled():
    """Meta-analysis: the deviance of tau, worked out by hand."""
    rng = np.random.default_rng(1)
    n = 25
    v, x = rng.uniform(0.05, 0.6, n), rng.normal(size=n)
    y = 0.4 + 0.3 * x + rng.normal(0, 0.5, n) + rng.normal(0, np.sqrt(v))
    frame = pd.DataFrame({"y": y, "x": x, "v": v, "study": np.arange(n)})
    model = lme.lmer("y ~ x + (1 | study)", frame, weights=1 / v, sigma=1)
    profile = model.fit().profile()
    assert list(profile) == ["sd_(Intercept)|study", "(Intercept)", "x"]
    X = np.column_stack([np.ones(n), x])
    curve = profile[".sig01"]
    for tau, zeta in zip(curve.values, curve.zeta, strict=True):
        w = 1.0 / (v + tau**2)
        r = y - X @ np.linalg.solve((X * w[:, None]).T @ X, X.T @ (w * y))
        value = n * np.log(2 * np.pi) - np.log(w).sum() + (w * r**2).sum()
        assert value - profile.deviance == pytest.approx(zeta**2, abs=1e-6)
    slopes = lme.lmer(
        "Reaction ~ Days + (Days | Subject)", data("sleepstudy"), sigma=25.0
    )
    found = slopes.fit().profile(exact=())
    known = parameters(fitted("sleep_full").fit_record)
    for each in found.values():
        values = np.insert(each.others[1], 3, 25.0)
        fit = slopes.fit().fit_record
        rise = dense_deviance(fit, known, values) - found.deviance
        assert rise == pytest.approx(each.zeta[1] ** 2, abs=3e-5)


def test_frames_of_evenly_spaced_values():
    """The density is the derivative of the normal distribution at zeta."""
    curve = fitted("sleep_int").profile("Days")["Days"]
    frame = curve.to_frame(points=401)
    at = frame["value"].to_numpy()
    assert_allclose(np.diff(at), (curve.values[-1] - curve.values[0]) / 400)
    slope = np.gradient(norm.cdf(curve.zeta_at(at)), at)
    assert_allclose(frame["density"][1:-1], slope[1:-1], rtol=2e-3, atol=1e-6)
    assert list(curve.to_frame()["value"]) == list(curve.values)


def test_contours_beyond_the_profile_are_left_out():
    profile = fitted("sleep_int").profile(["Days", "(Intercept)"], reach=1.3, exact=())
    frame = profile.contours("Days", "(Intercept)", levels=(0.3, 0.99))
    assert set(frame["level"]) == {0.3}
    short = fitted("sleep_int").profile(
        ["Days", "(Intercept)"], reach=0.4, step=1.0, exact=()
    )
    frame = short.contours("Days", "(Intercept)")
    assert frame.empty and "level" in frame


def test_wald_limits_without_coefficients():
    frame = data("sleepstudy").assign(Reaction=lambda d: d["Reaction"] - 300.0)
    result = lme.lmer("Reaction ~ 0 + (1 | Subject)", frame).fit()
    found = result.confint(method="wald")
    assert list(found.index) == ["sd_(Intercept)|Subject", "sigma"]
    assert found.isna().all().all()
    profile = result.profile(exact=())
    assert list(profile) == list(found.index)
    for curve in profile.values():
        for k in (0, -1):
            at = dense_deviance(result.fit_record, profile.parameters, curve.others[k])
            rise = curve.zeta[k] ** 2
            assert at - profile.deviance == pytest.approx(rise, abs=1e-6)


def test_a_profile_that_is_not_monotone():
    """E.6 #77: straight lines, the outermost crossings, and no exception."""
    at = np.linspace(0.5, 6.0, 12)
    zeta = np.array([-2.5, -1.8, -2.2, -1.0, -0.4, 0.0, 0.6, 1.2, 0.9, 1.4, 1.7, 1.8])
    curve = Curve(
        "sd",
        "sd",
        3.0,
        zeta,
        at,
        at[:, None],
        at,
        np.full(12, np.nan),
        POSITIVE,
        0.0,
        np.nan,
    )
    assert not curve.monotone
    low, high = curve.limits(0.95)
    assert low == pytest.approx(0.5 + 0.5 * (2.5 - norm.ppf(0.975)) / 0.7)
    assert np.isnan(high)
    assert curve.zeta_at(2.75) == pytest.approx(-0.2)
    assert curve.limits(0.5)[1] == pytest.approx(np.interp(0.67449, zeta[6:8], at[6:8]))
    notes = profiling.odd(curve, 3.0)
    assert "falling back to linear" in notes[0]
    assert "broke off above" in notes[1]
    # A standard deviation that never reaches the quantile may be zero.
    flat = replace(curve, zeta=zeta / 2, rate=np.full(12, 0.2))
    assert flat.limits(0.99)[0] == 0.0
