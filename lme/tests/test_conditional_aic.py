"""The conditional AIC against its definition and, roughly, cAIC4."""

import gzip
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import FitError
from lme.tests.cases import REFERENCE, data

STORED = json.loads(gzip.decompress((REFERENCE / "comparison.json.gz").read_bytes()))
CAIC = STORED["simulated"]["caic"]

MODELS = {
    "one factor": ("Yield ~ 1 + (1 | Batch)", "Dyestuff", {}),
    "two factors": ("strength ~ 1 + (1 | batch) + (1 | sample)", "Pastes", {}),
    "slopes": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {}),
    "no correlation": ("Reaction ~ Days + (Days || Subject)", "sleepstudy", {}),
    "known sigma": ("Yield ~ 1 + (1 | Batch)", "Dyestuff", {"sigma": 45.0}),
}


def by_refits(res):
    """``sum of d mu_i / d y_i`` by a refit for each row."""
    y, step = res.model.design.y, 1e-3 * res.sigma
    total = 0.0
    for i in range(y.size):
        unit = np.zeros(y.size)
        unit[i] = step
        high, low = (res.refit(y + s * unit).fit_record.mu[i] for s in (1, -1))
        total += (high - low) / (2.0 * step)
    return total


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", ["one factor", "two factors", "known sigma"])
def test_effective_parameters_are_the_derivative(name, reml):
    formula, where, options = MODELS[name]
    res = lme.lmer(formula, data(where), **options).fit(reml=reml)
    found = res.caic()
    assert_allclose(found.df - (not options), by_refits(res), atol=1e-5)
    assert found.correction > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slopes", "no correlation"])
def test_effective_parameters_are_the_derivative_of_slopes(name):
    formula, where, options = MODELS[name]
    res = lme.lmer(formula, data(where), **options).fit()
    assert_allclose(res.caic().df - 1.0, by_refits(res), atol=1e-5)


def test_weights_and_offset():
    frame = data("Pastes").assign(w=np.linspace(0.5, 2.0, 60), o=np.arange(60.0))
    res = lme.lmer("strength ~ 1 + (1 | batch)", frame, weights="w", offset="o").fit()
    found = res.caic()
    # A unit of y is a change of mu, whatever the weight.
    assert_allclose(found.df - 1.0, by_refits(res), atol=1e-5)
    residual = (frame["strength"] - res.fittedvalues).to_numpy()
    variance = res.scale / frame["w"].to_numpy()
    loglik = -0.5 * np.sum(np.log(2 * np.pi * variance) + residual**2 / variance)
    assert_allclose(found.loglik, loglik)
    assert_allclose(float(found), -2 * loglik + 2 * found.df)


@pytest.mark.parametrize("name", CAIC)
def test_near_caic4(name):
    """cAIC4 leaves out a part of the second derivatives: df near, likelihood equal."""
    formula, where = {
        "dyestuff": ("Yield ~ 1 + (1 | Batch)", "Dyestuff"),
        "sleep_int": ("Reaction ~ Days + (1 | Subject)", "sleepstudy"),
    }[name]
    found = lme.lmer(formula, data(where)).fit().caic()
    assert_allclose(found.loglik, CAIC[name]["loglik"], rtol=1e-6)
    assert_allclose(found.df, CAIC[name]["df"], atol=0.06)


def test_variances_of_zero_add_nothing():
    """Dyestuff2: least squares, with an intercept and sigma."""
    found = lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff2")).fit().caic()
    assert_allclose(found.df, 2.0, atol=1e-8)
    assert found.correction == 0.0
    # One variance of two: as without it.
    frame = data("Dyestuff2").assign(h=np.tile(list("abcde"), 6))
    both = lme.lmer("Yield ~ 1 + (1 | Batch) + (1 | h)", frame).fit()
    assert both.theta.iloc[0] * both.theta.iloc[1] == 0.0
    alone = lme.lmer("Yield ~ 1 + (1 | h)", frame).fit()
    assert_allclose(alone.caic().df - 1.0, by_refits(alone), atol=1e-5)
    assert_allclose(both.caic().df, alone.caic().df, atol=1e-6)


def test_generalized_model():
    frame = data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    res = lme.glmer(formula, frame, family="binomial").fit()
    found = res.caic()
    assert_allclose(found.df, res.hatvalues().sum())
    assert np.isnan(found.correction) and "not counted" in repr(found)
    assert 4 < found.df < 4 + 15


def test_undetermined_theta_is_refused():
    frame = data("sleepstudy").assign(twin=data("sleepstudy")["Subject"])
    res = lme.lmer("Reaction ~ Days + (1 | Subject) + (1 | twin)", frame).fit
    with pytest.warns(lme.ConvergenceWarning):
        fitted = res()
    with pytest.raises(FitError, match="Hessian of the criterion is singular"):
        fitted.caic()


def test_generalized_model_by_refits():
    """cAIC4 1.0 finds 11.073 for these counts, from glmer's estimates."""
    rng = np.random.default_rng(7)
    g, x = np.repeat(np.arange(12), 6), rng.normal(size=72)
    b = rng.normal(0, 0.7, 12)[g]
    frame = {"g": g.astype(str), "x": x, "n": rng.poisson(np.exp(1 + 0.3 * x + b))}
    frame["z"] = (rng.random(72) < 1 / (1 + np.exp(-(0.3 * x + 2 * b)))).astype(int)
    counts = lme.glmer("n ~ x + (1 | g)", frame, family="poisson").fit()
    found = counts.caic(refit=True)
    assert_allclose(found.df, 11.073, atol=0.01)
    assert_allclose(found.loglik, -127.5001, atol=1e-3)
    assert_allclose(found.correction, found.df - counts.caic().df)
    coins = lme.glmer("z ~ x + (1 | g)", frame, family="bernoulli").fit()
    # Theta is hard to know from few coins: its estimation costs much.
    assert coins.caic().df < coins.caic(refit=True).df < 14
    herds = lme.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        data("cbpp"),
        family="binomial",
    ).fit()
    with pytest.raises(FitError, match="Poisson counts and for responses of 0 and 1"):
        herds.caic(refit=True)
