"""R squared, intraclass correlations, collinearity: references and identities."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy.special import polygamma
from statsmodels.stats.outliers_influence import variance_inflation_factor

import lme
from lme.errors import FitError, OptionError
from lme.inference.measures.explained_variance import (
    intraclass_correlation,
    variance_parts,
)
from lme.tests.cases import CASES
from lme.tests.glmm_cases import GLMM_CASES, NB_CASES
from lme.tests.measures_cases import STORED, frame

# performance: wrong with several terms of a factor; a mean without its correction.
DIFFERENT = {"sleep_uncorr", "sim_pois"}
SHARES = {k: v for k, v in STORED["shares"].items() if k not in DIFFERENT}
SLEEP = frame("sleepstudy")


def numbers(res, **options):
    icc, r2 = res.icc(**options), res.r2(**options)
    return [icc.adjusted, icc.unadjusted, r2.marginal, r2.conditional]


@pytest.fixture(scope="module")
def null_groups():
    """Data whose groups do not differ: theta is 0."""
    rng = np.random.default_rng(3)
    x1 = rng.normal(size=120)
    x2 = 0.7 * x1 + rng.normal(size=120)
    e = rng.normal(size=120)
    g = np.repeat(np.arange(20), 6)
    # Without differences between groups at all the variance is estimated as zero.
    for v in (x1, x2, e):
        v -= np.bincount(g, v)[g] / 6
    return pd.DataFrame({"y": 2 + x1 - x2 + e, "x1": x1, "x2": x2, "g": g})


@pytest.mark.parametrize("name", SHARES)
def test_performance(name):
    case = CASES[name] if name in CASES else GLMM_CASES[name]
    res, want = case.fit(), SHARES[name]
    # Its fits stop where lme4's default does.
    tolerance = 2e-7 if name in CASES else 2e-5
    assert_allclose(numbers(res), want["icc"] + want["r2"], atol=tolerance, rtol=1e-5)
    parts = res.r2().parts
    found = [parts.fixed, parts.random.sum(), parts.residual]
    assert_allclose(found, want["variance"], rtol=1e-4, atol=1e-9)


def test_independent_slopes():
    # performance has the intercept's variance only: .4898.
    res = lme.lmer("Reaction ~ Days + (Days || Subject)", SLEEP).fit()
    variance = res.VarCorr().to_frame()["vcov"].to_numpy()
    random = variance[0] + variance[1] * float((SLEEP["Days"] ** 2).mean())
    assert_allclose(res.icc().adjusted, random / (random + variance[2]))
    assert round(res.icc().adjusted, 3) == 0.716
    assert list(res.icc().by_group.index) == ["Subject"]
    assert list(res.r2().parts.random.index) == ["Subject", "Subject.1"]


def test_ordinary_least_squares(null_groups):
    res = lme.lmer("y ~ x1 + x2 + (1 | g)", null_groups).fit()
    assert res.is_singular
    ols = sm.OLS(null_groups["y"], sm.add_constant(null_groups[["x1", "x2"]])).fit()
    fixed = ols.fittedvalues.var()
    assert_allclose(res.r2().marginal, fixed / (fixed + ols.scale))
    assert res.r2().conditional == res.r2().marginal
    assert res.icc().adjusted == 0.0


def test_units_do_not_matter():
    res = lme.lmer("Reaction ~ Days + (Days | Subject)", SLEEP).fit()
    other = SLEEP.assign(Reaction=SLEEP["Reaction"] / 60, Days=10 * SLEEP["Days"] - 50)
    again = lme.lmer("Reaction ~ Days + (Days | Subject)", other).fit()
    assert_allclose(numbers(again), numbers(res), rtol=1e-6)


def test_unit_of_weights_does_not_matter():
    w = np.tile([1.0, 2.0, 0.5, 3.0, 1.5], 36)
    fits = [
        lme.lmer("Reaction ~ Days + (1 | Subject)", SLEEP, weights=k * w).fit()
        for k in (1.0, 40.0)
    ]
    assert_allclose(numbers(fits[0]), numbers(fits[1]), rtol=1e-6)
    parts = fits[0].r2().parts
    assert_allclose(parts.residual, fits[0].scale * np.mean(1 / w))


def test_groups_add_up():
    res = CASES["pastes"].fit()
    icc = res.icc()
    assert_allclose(icc.by_group.sum(), [icc.adjusted, icc.unadjusted])
    assert list(icc.to_frame().index) == [*icc.by_group.index, "(all)"]
    assert "(all)" in repr(icc) and "<table>" in icc._repr_html_()
    assert "marginal" in repr(res.r2()) and "<table>" in res.r2()._repr_html_()
    assert list(res.r2().to_frame().columns) == ["R2_marginal", "R2_conditional"]


# --- generalized models --------------------------------------------------------


def null_mean(res):
    """Nakagawa's mean, from a fit without predictors."""
    null = res.update(". ~ 1 + (1 | g)")
    variance = float(null.VarCorr()["g"].iloc[0, 0])
    return float(np.exp(null.params.iloc[0] + variance / 2)), null.params.iloc[0]


def test_poisson():
    res = GLMM_CASES["sim_pois"].fit()
    mean, intercept = null_mean(res)
    ratio = 1 / mean
    expected = {
        "lognormal": np.log1p(ratio),
        "delta": ratio,
        "trigamma": polygamma(1, mean),
    }
    for name, value in expected.items():
        assert_allclose(res.r2(approximation=name).parts.residual, value, rtol=1e-5)
    assert res.r2().parts.approximation == "lognormal"
    # performance 0.10.2 leaves tau^2/2 out of the mean.
    parts, want = res.r2().parts, STORED["shares"]["sim_pois"]
    theirs = np.log1p(np.exp(-intercept))
    total = parts.fixed + parts.random.sum() + theirs
    assert_allclose(parts.fixed / total, want["r2"][0], rtol=1e-4)
    # The same variance makes mean counts, which the data have.
    assert_allclose(mean, res.model.endog.mean(), rtol=0.1)


def test_negative_binomial():
    case = NB_CASES["nb_sim"]
    res = case.fit()
    parts = res.r2(approximation="delta").parts
    trigamma = res.r2(approximation="trigamma").parts
    extra = 1 / res.nb_theta
    mean = 1 / (parts.residual - extra)
    assert_allclose(mean, res.model.endog.mean(), rtol=0.3)
    assert_allclose(trigamma.residual, polygamma(1, 1 / (1 / mean + extra)))
    assert_allclose(res.r2().parts.residual, np.log1p(1 / mean + extra))


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(8)
    g = np.repeat(np.arange(30), 12)
    eta = 0.4 + 0.5 * rng.normal(size=30)[g]
    x = rng.normal(size=360)
    mu = np.exp(eta + 0.3 * x)
    return pd.DataFrame(
        {
            "g": g,
            "row": np.arange(360),
            "x": x,
            "time": rng.gamma(4.0, mu / 4.0),
            "count": rng.poisson(mu * rng.gamma(3.0, 1 / 3.0, 360)),
            "yes": rng.random(360) < 1 / (1 + np.exp(-eta - x)),
        }
    )


def test_gamma(drawn):
    res = lme.glmer("time ~ x + (1 | g)", drawn, family="gamma", link="log").fit()
    phi = res.dispersion
    for name, value in (
        ("lognormal", np.log1p(phi)),
        ("delta", phi),
        ("trigamma", polygamma(1, 1 / phi)),
    ):
        assert_allclose(res.icc(approximation=name).parts.residual, value)
    inverse = lme.glmer("time ~ x + (1 | g)", drawn, family="gamma").fit()
    mean = drawn["time"].mean()
    expected = inverse.dispersion / mean**2
    assert_allclose(inverse.r2().parts.residual, expected)


@pytest.mark.parametrize("link, variance", [("probit", 1.0), ("cloglog", np.pi**2 / 6)])
def test_binary_links(drawn, link, variance):
    res = lme.glmer("yes ~ x + (1 | g)", drawn, family="bernoulli", link=link).fit()
    assert_allclose(res.r2().parts.residual, variance)


def test_binary_delta(drawn):
    res = lme.glmer("yes ~ x + (1 | g)", drawn, family="bernoulli").fit()
    null = lme.glmer("yes ~ 1 + (1 | g)", drawn, family="bernoulli").fit()
    sd = float(np.sqrt(null.VarCorr()["g"].iloc[0, 0]))
    nodes = np.linspace(-9, 9, 20001)
    weights = np.exp(-0.5 * nodes**2)
    p = weights @ (1 / (1 + np.exp(-null.params.iloc[0] - sd * nodes))) / weights.sum()
    found = res.r2(approximation="delta").parts
    assert_allclose(found.residual, 1 / (p * (1 - p)), rtol=1e-6)
    assert_allclose(p, drawn["yes"].mean(), atol=0.03)


def test_square_root(drawn):
    res = lme.glmer("count ~ x + (1 | g)", drawn, family="poisson", link="sqrt").fit()
    assert_allclose(res.r2().parts.residual, 0.25)


def test_over_dispersion(drawn):
    res = lme.glmer("count ~ x + (1 | g) + (1 | row)", drawn, family="poisson").fit()
    parts = res.icc().parts
    own = float(res.VarCorr()["row"].iloc[0, 0])
    assert own > 0.1 and list(parts.random.index) == ["g"]
    assert_allclose(parts.dispersion, own)
    assert_allclose(parts.residual, own + parts.distribution)
    assert list(res.icc().by_group.index) == ["g"]


def test_offset_moves_the_mean(drawn):
    data = drawn.assign(o=np.log(10.0))
    options = {"family": "poisson"}
    plain = lme.glmer("count ~ x + (1 | g)", drawn, **options).fit()
    moved = lme.glmer("count ~ x + offset(o) + (1 | g)", data, **options).fit()
    assert_allclose(numbers(moved), numbers(plain), rtol=1e-5)


# --- undefined -----------------------------------------------------------------


def test_refusals(drawn):
    res = lme.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).fit()
    with pytest.raises(OptionError, match="for generalized models"):
        res.r2(approximation="delta")
    flat = replace(res.fit_record, sigma=0.0)
    with pytest.raises(FitError, match="not defined: the variance it divides by is 0"):
        intraclass_correlation(flat)
    poisson = lme.glmer("count ~ x + (1 | g)", drawn, family="poisson").fit()
    with pytest.raises(OptionError, match=r"'lognormal' and 'delta' and 'trigamma'"):
        poisson.r2(approximation="theoretical")
    with pytest.raises(OptionError, match="Did you mean 'lognormal'"):
        poisson.icc(approximation="log-normal")
    binary = lme.glmer("yes ~ x + (1 | g)", drawn, family="bernoulli", link="cauchit")
    with pytest.raises(OptionError, match="not defined for bernoulli"):
        binary.fit().r2(approximation="theoretical")
    res.remove_data()
    with pytest.raises(FitError, match="icc needs the data"):
        res.icc()


def test_no_fixed_effects():
    res = lme.lmer("Reaction ~ 0 + (1 | Subject)", SLEEP).fit()
    assert variance_parts(res.fit_record).fixed == 0.0
    assert res.r2().marginal == 0.0


# --- principal components ------------------------------------------------------

IDENTIFIED = [k for k in STORED["rePCA"] if k in CASES and CASES[k].identified]


@pytest.mark.filterwarnings("ignore::lme.errors.RankWarning")
@pytest.mark.parametrize("name", [k for k in IDENTIFIED if k != "bigx"])
def test_principal_components(name):
    found = CASES[name].fit().rePCA()
    for group, sdev in STORED["rePCA"][name].items():
        assert_allclose(found[group].sdev, sdev, rtol=2e-4, atol=2e-4)


def test_components_of_correlations():
    formula = "Reaction ~ Days + (Days | Subject)"
    res = lme.lmer(formula, SLEEP).fit()
    rho = float(res.VarCorr().components[0].corr[1, 0])
    found = res.rePCA(corr=True)["Subject"]
    assert_allclose(found.proportion, [(1 + rho) / 2, (1 - rho) / 2])
    hours = lme.lmer(formula, SLEEP.assign(Days=24 * SLEEP["Days"])).fit()
    again = hours.rePCA(corr=True)["Subject"]
    assert_allclose(again.proportion, found.proportion, atol=1e-5)
    split = lme.lmer("Reaction ~ Days + (Days || Subject)", SLEEP).fit()
    assert_allclose(split.rePCA(corr=True)["Subject"].proportion, [0.5, 0.5])


# --- collinearity --------------------------------------------------------------


def inflation(name):
    if name == "contraception":
        formula = "use ~ age + I(age^2) + urban + livch + (1 | district)"
        data = frame("Contraception")
        return lme.glmer(formula, data, family="bernoulli").fit().vif()
    formula, data = {
        "sleep_quad": ("Reaction ~ Days + I(Days^2) + (1 | Subject)", "sleepstudy"),
        "scots": (
            "attain ~ verbal * sex + social + (1 | primary) + (1 | second)",
            "ScotsSec",
        ),
        "oats": (
            "yield ~ nitrogen + variety + (1 | block) + (1 | block:variety)",
            "oats",
        ),
    }[name]
    return lme.lmer(formula, frame(data)).fit().vif()


@pytest.mark.parametrize("name", STORED["vif"])
def test_car(name):
    found, want = inflation(name), np.array(STORED["vif"][name]["table"])
    # The Hessian of glmer is one of finite differences.
    tolerance = 2e-3 if name == "contraception" else 1e-6
    if want.ndim == 1:
        assert list(found.index) == STORED["vif"][name]["terms"]
        assert_allclose(found["GVIF"], want, rtol=tolerance)
        assert_allclose(found["GVIF^(1/(2*Df))"], np.sqrt(want), rtol=tolerance)
    else:
        assert_allclose(found, want, rtol=tolerance)


def test_inflation_of_least_squares(null_groups):
    res = lme.lmer("y ~ x1 + x2 + (1 | g)", null_groups).fit()
    X = sm.add_constant(null_groups[["x1", "x2"]]).to_numpy()
    expected = [variance_inflation_factor(X, j) for j in (1, 2)]
    assert_allclose(res.vif()["GVIF"], expected)


def test_coding_does_not_matter():
    formula = "score ~ Machine + age + (1 | Worker)"
    data = frame("Machines")
    data = data.assign(age=np.sqrt(np.arange(len(data))))
    plain = lme.lmer(formula, data).fit().vif()
    other = lme.lmer(formula, data, contrasts={"Machine": "contr.sum"}).fit().vif()
    assert_allclose(plain, other)
    assert list(plain["Df"]) == [2, 1]


def test_inflation_needs_terms():
    with pytest.raises(FitError, match="needs two terms; the model has 1"):
        lme.lmer("Reaction ~ Days + (1 | Subject)", SLEEP).fit().vif()


def test_models_without_predictors():
    """Nothing is explained by the fixed part; the groups' share is the correlation."""
    formula = "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"
    res = lme.glmer(formula, frame("cbpp"), family="binomial").fit()
    variance = res.VarCorr()["herd"].iloc[0, 0]
    adjusted, unadjusted, marginal, conditional = numbers(res)
    assert marginal == pytest.approx(0.0, abs=1e-12)
    share = variance / (variance + np.pi**2 / 3)
    assert adjusted == unadjusted == pytest.approx(share)
    assert conditional == pytest.approx(share)
    # Of counts, with the mean of the model itself: log(1 + 1 / mean) on the log scale.
    frame_ = lme.datasets.load("grouseticks")
    counts = lme.glmer("TICKS ~ 1 + (1 | BROOD)", frame_, family="poisson").fit()
    variance = counts.VarCorr()["BROOD"].iloc[0, 0]
    mean = np.exp(counts.params.iloc[0] + variance / 2)
    share = variance / (variance + np.log1p(1 / mean))
    assert numbers(counts)[3] == pytest.approx(share, rel=1e-6)
