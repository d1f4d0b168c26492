"""A residual standard deviation that is known: meta-analysis and observation levels."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar

import lme
from lme.engine.choice import choose
from lme.engine.lmm import Criterion
from lme.errors import DesignError, OptionError


def _studies(seed=1, n=25):
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.05, 0.6, n)
    x = rng.normal(size=n)
    y = 0.4 + 0.3 * x + rng.normal(0, 0.5, n) + rng.normal(0, np.sqrt(v))
    return pd.DataFrame({"y": y, "x": x, "v": v, "study": np.arange(n)})


def _minus2(tau, frame, reml):
    """Criterion of a random-effects meta-analysis (Viechtbauer 2005, eqs. 2 and 3)."""
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    w = 1.0 / (frame["v"].to_numpy() + tau**2)
    XWX = (X * w[:, None]).T @ X
    r = frame["y"] - X @ np.linalg.solve(XWX, X.T @ (w * frame["y"]))
    n = len(frame) - (2 if reml else 0)
    value = n * np.log(2 * np.pi) - np.log(w).sum() + (w * r**2).sum()
    return value + (np.linalg.slogdet(XWX)[1] if reml else 0.0)


@pytest.mark.parametrize("reml", [True, False])
def test_meta_analysis(reml):
    frame = _studies()
    model = lme.lmer(
        "y ~ x + (1 | study)", frame, weights=1 / frame["v"], sigma=1, REML=reml
    )
    res = model.fit()
    best = minimize_scalar(
        _minus2,
        bounds=(0.01, 3),
        args=(frame, reml),
        options={"xatol": 1e-10},
        method="bounded",
    )
    assert res.sigma == 1.0
    assert res.objective == pytest.approx(best.fun, abs=1e-8)
    assert res.theta.iloc[0] == pytest.approx(best.x, abs=1e-5)
    assert res.npar == 3
    again = res.refit(frame["y"] + 1.0)
    assert again.sigma == 1.0
    assert again.params["(Intercept)"] == pytest.approx(res.params["(Intercept)"] + 1)


def test_one_row_a_level_and_no_fixed_effects():
    # MixedModels.jl test/sigma.jl: y ~ 0 + (1 | z), sd 3 and sigma 1.
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y": rng.normal(0, np.sqrt(10), 1000), "z": np.arange(1000)})
    res = lme.lmer("y ~ 0 + (1 | z)", frame, sigma=1).fit()
    assert res.sigma == 1.0 and res.params.size == 0
    total = np.mean(frame["y"] ** 2)
    assert res.theta.iloc[0] == pytest.approx(np.sqrt(total - 1.0), abs=1e-6)
    other = lme.lmer("y ~ 0 + (1 | z)", frame, sigma=3.14).fit()
    assert other.sigma == 3.14
    with pytest.raises(DesignError, match="smaller than the number of observations"):
        lme.lmer("y ~ 0 + (1 | z)", frame)


@pytest.mark.parametrize("reml", [True, False])
def test_gradient_and_limit(reml):
    sleep = lme.datasets.load("sleepstudy")
    model = lme.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    free = model.fit(reml=reml)
    # At its own estimate of sigma the criterion and the optimum are the same.
    fixed = model.fit(reml=reml, sigma=free.sigma)
    assert fixed.objective == pytest.approx(free.objective, abs=1e-8)
    np.testing.assert_allclose(fixed.theta, free.theta, rtol=1e-5)
    assert fixed.npar == free.npar - 1
    problem = free.fit_record.problem
    kernel, _ = choose(problem.cross, "auto")
    criterion = Criterion(problem, kernel, reml, sigma=20.0)
    theta = np.array([0.8, 0.1, 0.3])
    gradient = criterion.evaluate(theta).gradient
    numeric = [
        criterion.evaluate(theta + h).value - criterion.evaluate(theta - h).value
        for h in 1e-5 * np.eye(3)
    ]
    np.testing.assert_allclose(2e-5 * gradient, numeric, rtol=1e-6)


def test_satterthwaite_leaves_sigma_out():
    sleep = lme.datasets.load("sleepstudy")
    model = lme.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    free, fixed = model.fit(), model.fit(sigma=model.fit().sigma)
    one = free.contrast("Days", ddf="satterthwaite")["df"].iloc[0]
    two = fixed.contrast("Days", ddf="satterthwaite")["df"].iloc[0]
    assert two > one - 1e-6 and np.isfinite(two)


@pytest.mark.parametrize("sigma", [0, -1.0, "1", np.nan, np.inf, True])
def test_bad_sigma(sigma):
    sleep = lme.datasets.load("sleepstudy")
    model = lme.lmer("Reaction ~ Days + (1 | Subject)", sleep)
    with pytest.raises(OptionError, match="not a positive number"):
        model.fit(sigma=sigma)
    with pytest.raises(OptionError, match="not a positive number"):
        lme.lmer("Reaction ~ Days + (1 | Subject)", sleep, sigma=sigma)


@pytest.mark.parametrize("sigma", [1e308, 1e-200, 1e60])
def test_sigma_beyond_what_can_be_squared(sigma):
    sleep = lme.datasets.load("sleepstudy")
    with pytest.raises(OptionError, match="other units"):
        lme.lmer("Reaction ~ Days + (1 | Subject)", sleep, sigma=sigma)
