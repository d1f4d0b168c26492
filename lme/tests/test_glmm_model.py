"""Building, checking and fitting generalized models: E.5 of the acceptance list."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.base.model import LikelihoodModel

import lme
from lme.errors import (
    ConvergenceWarning,
    DataError,
    DataTypeError,
    DataWarning,
    DesignError,
    FormulaWarning,
    OptionError,
    RankWarning,
)
from lme.families import Binomial, NegativeBinomial
from lme.tests.cases import data

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def close(value, expected, rtol=1e-6, atol=0.0):
    np.testing.assert_allclose(
        np.asarray(value, float), np.asarray(expected, float), rtol=rtol, atol=atol
    )


@pytest.fixture(scope="module")
def cbpp():
    frame = data("cbpp")
    rows = [str(i) for i in range(len(frame))]
    return frame.assign(
        row=rows, prop=frame["incidence"] / frame["size"], any=frame["incidence"] > 1
    )


@pytest.fixture(scope="module")
def res(cbpp):
    return lme.glmer(CBPP, cbpp, family="binomial").fit()


# --- building -----------------------------------------------------------------------


def test_a_model_is_one_of_statsmodels(cbpp):
    model = lme.glmer(CBPP, cbpp, family="binomial")
    assert isinstance(model, lme.GLMM) and isinstance(model, LikelihoodModel)
    assert model.exog_names == ["(Intercept)", "period2", "period3", "period4"]
    assert model.exog.shape == (56, 4) and model.formula == CBPP
    assert str(model.family) == "binomial(logit)"
    other = lme.GLMM.from_formula(CBPP, cbpp, family="binomial")
    assert other.fit().objective == model.fit().objective
    copy = pickle.loads(pickle.dumps(model))
    assert copy.fit().objective == model.fit().objective
    with pytest.raises(OptionError, match="loglike"):
        model.loglike([0.0] * 4)


@pytest.mark.parametrize(
    "family, link, text",
    [
        ("binomial", None, "binomial(logit)"),
        ("binomial", "probit", "binomial(probit)"),
        (Binomial("cloglog"), None, "binomial(cloglog)"),
        (Binomial, "cauchit", "binomial(cauchit)"),
        (sm.families.Binomial(), None, "binomial(logit)"),
        (
            sm.families.Binomial(sm.families.links.Probit()),
            None,
            "binomial(probit)",
        ),
        ("binomial", sm.families.links.CLogLog(), "binomial(cloglog)"),
    ],
)
def test_families_and_links(family, link, text, cbpp):
    model = lme.glmer(CBPP, cbpp, family=family, link=link)
    assert str(model.family) == text
    assert model.fit().converged


def test_forms_of_a_binomial_response(cbpp, res):
    """E.5 #56: counts, proportions and single trials are one model."""
    prop = lme.glmer(
        "prop ~ period + (1 | herd)", cbpp, family="binomial", weights="size"
    ).fit()
    ratio = lme.glmer(
        "incidence / size ~ period + (1 | herd)",
        cbpp,
        family="binomial",
        weights=cbpp["size"].to_numpy(),
    ).fit()
    trials = cbpp.loc[cbpp.index.repeat(cbpp["size"].astype(int))].copy()
    counts = zip(cbpp["incidence"], cbpp["size"], strict=True)
    trials["y"] = np.concatenate([np.arange(n) < k for k, n in counts])
    long = lme.glmer("y ~ period + (1 | herd)", trials, family="bernoulli").fit()
    for other in (prop, ratio, long):
        close(other.params, res.params, 1e-5)
        close(other.theta, res.theta, 1e-5)
    close([prop.objective, ratio.objective], res.objective, 1e-10)
    # The likelihood of the order differs from that of the sum by the coefficients.
    design = res.fit_record.design
    constant = res.family.constant(design.y, design.weights)
    saturated = -2 * np.sum(
        np.log(np.where(design.y > 0, design.y, 1)) * design.y * design.weights
        + np.log1p(-np.where(design.y < 1, design.y, 0))
        * (1 - design.y)
        * design.weights
    )
    close(long.objective - res.objective, saturated - constant, 1e-8)


def test_two_categories(cbpp):
    """The first is failure: of a factor, of text sorted, and False."""
    truth = lme.glmer("any ~ period + (1 | herd)", cbpp, family="binomial").fit()
    frame = cbpp.assign(
        number=cbpp["any"].astype(int),
        text=np.where(cbpp["any"], "yes", "no"),
        factor=pd.Categorical(np.where(cbpp["any"], "a", "b"), categories=["b", "a"]),
    )
    for name in ("number", "text", "factor"):
        for family in ("binomial", "bernoulli"):
            other = lme.glmer(f"{name} ~ period + (1 | herd)", frame, family=family)
            close(other.fit().params, truth.params, 1e-10)
    with pytest.raises(DesignError, match="3 levels"):
        lme.glmer(
            "f ~ 1 + (1 | herd)",
            frame.assign(f=np.arange(56) % 3).astype({"f": "category"}),
            family="binomial",
        )


def test_swapped_success_and_failure(cbpp, res):
    """E.5 #57."""
    other = lme.glmer(
        "cbind(size - incidence, incidence) ~ period + (1 | herd)",
        cbpp,
        family="binomial",
    ).fit()
    close(other.params, -res.params, 1e-6)
    close(other.theta, res.theta, 1e-6)
    close(other.objective, res.objective, 1e-12)


def test_matrices(cbpp, res):
    X = pd.get_dummies(cbpp["period"], drop_first=True, dtype=float)
    X.insert(0, "const", 1.0)
    counts = np.column_stack([cbpp["incidence"], cbpp["size"] - cbpp["incidence"]])
    for endog, options in (
        (counts, {}),
        (pd.DataFrame(counts, columns=["yes", "no"]), {}),
        (cbpp["prop"], {"weights": cbpp["size"]}),
    ):
        model = lme.GLMM(endog, X, groups=cbpp["herd"], family="binomial", **options)
        other = model.fit()
        close(other.objective, res.objective, 1e-10)
        close(other.params, res.params, 1e-6)
        assert list(other.params.index) == ["const", "2", "3", "4"]
    with pytest.raises(DataError, match=r"shape \(56, 3\)"):
        lme.GLMM(np.ones((56, 3)), X, groups=cbpp["herd"], family="binomial")
    with pytest.raises(DataError, match="negative"):
        lme.GLMM(counts - 1, X, groups=cbpp["herd"], family="binomial")
    with pytest.raises(OptionError, match="needs a family"):
        lme.GLMM(cbpp["prop"], X, groups=cbpp["herd"])


def test_offset(cbpp):
    """E.5 #66: in the formula and as an argument; refits keep it."""
    formula = "incidence ~ period + (1 | herd)"
    inside = lme.glmer(
        "incidence ~ period + offset(log(size)) + (1 | herd)", cbpp, family="poisson"
    ).fit()
    outside = lme.glmer(formula, cbpp, family="poisson", offset="log(size)").fit()
    values = np.log(cbpp["size"].to_numpy())
    array = lme.glmer(formula, cbpp, family="poisson", offset=values).fit()
    close([outside.objective, array.objective], inside.objective, 1e-12)
    close(array.refit(cbpp["incidence"]).params, inside.params, 1e-8)
    close(outside.predict(cbpp), inside.fittedvalues, 1e-8)
    with pytest.raises(DataError, match="offset= array"):
        array.predict(cbpp)
    close(array.predict(cbpp, offset=values), inside.fittedvalues, 1e-8)


@pytest.mark.parametrize("family", ["bernoulli", "poisson", "negative_binomial"])
def test_weights_stand_for_equal_rows(family):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"x": rng.normal(size=80), "g": np.repeat(list("abcdefgh"), 10)}
    )
    effects = rng.normal(size=8).repeat(10)
    mean = np.exp(0.5 + 0.3 * frame["x"] + 0.5 * effects)
    frame["y"] = rng.poisson(mean)
    if family == "bernoulli":
        frame["y"] = (frame["y"] > 1).astype(int)
    frame["w"] = rng.integers(1, 4, 80)
    known = NegativeBinomial(2.0) if family == "negative_binomial" else family
    weighted = lme.glmer("y ~ x + (1 | g)", frame, family=known, weights="w").fit()
    twice = frame.loc[frame.index.repeat(frame["w"])]
    plain = lme.glmer("y ~ x + (1 | g)", twice, family=known).fit()
    close(weighted.objective, plain.objective, 1e-8)
    close(weighted.params, plain.params, 1e-5)
    close(weighted.bse, plain.bse, 1e-4)


def test_missing_rows(cbpp):
    frame = cbpp.copy()
    frame["incidence"] = frame["incidence"].astype(float)
    frame.loc[[0, 5], "incidence"] = np.nan
    omit = lme.glmer(CBPP, frame, family="binomial").fit()
    assert omit.nobs == 54 and len(omit.fittedvalues) == 54
    exclude = lme.glmer(CBPP, frame, family="binomial", na_action="exclude").fit()
    padded = exclude.residuals()
    assert len(padded) == 56 and padded[[0, 5]].isna().all()
    both = np.column_stack([cbpp["incidence"], cbpp["size"] - cbpp["incidence"]])
    close(omit.refit(both).objective, omit.objective, 1e-10)
    close(omit.refit(both[omit.fit_record.design.kept]).objective, omit.objective)
    part = lme.glmer(CBPP, cbpp, family="binomial", subset="period != '4'").fit()
    assert part.nobs == (cbpp["period"] != "4").sum()


# --- refusals -----------------------------------------------------------------------


def test_reml_is_refused_with_the_reason(cbpp):
    """E.5 #64."""
    with pytest.raises(TypeError, match="restricted likelihood is defined for linear"):
        lme.glmer(CBPP, cbpp, family="binomial", REML=True)
    with pytest.raises(OptionError, match=r"'weight' is not .* mean 'weights'"):
        lme.glmer(CBPP, cbpp, family="binomial", weight=None)
    with pytest.raises(DataTypeError, match="use glmer"):
        lme.LMM.from_formula("prop ~ 1 + (1 | herd)", cbpp, family="binomial")


def test_a_gaussian_family_is_a_linear_model(cbpp):
    sleep = data("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    with pytest.warns(FormulaWarning, match="linear mixed model") as seen:
        model = lme.glmer(formula, sleep, family="gaussian")
    assert seen[0].filename == __file__ and len(seen) == 1
    assert isinstance(model, lme.LMM)
    expected = lme.lmer(formula, sleep, REML=False).fit()
    assert model.fit().objective == expected.objective
    with pytest.raises(OptionError, match=r"lmer\(..., REML=False\)"):
        lme.GLMM.from_formula(formula, sleep, family="gaussian")


@pytest.mark.parametrize(
    "family, message",
    [
        (None, "needs a family"),
        ("quasibinomial", "not a likelihood"),
        ("quasipoisson", "not a likelihood"),
        ("binomal", "Did you mean 'binomial'"),
        ("tweedie", "no closed form"),
    ],
)
def test_families_that_are_refused(family, message, cbpp):
    with pytest.raises(OptionError, match=message):
        lme.glmer(CBPP, cbpp, family=family)


@pytest.mark.parametrize(
    "formula, family, error, message",
    [
        ("I(incidence - 1) ~ 1 + (1 | herd)", "poisson", DataError, "is -1 in row"),
        ("incidence ~ 1 + (1 | herd)", "binomial", DataError, "cbind"),
        ("incidence ~ 1 + (1 | herd)", "bernoulli", DataError, "0 or 1"),
        ("incidence ~ 1 + (1 | herd)", "gamma", DataError, "is 0 in row"),
        ("incidence ~ 1 + (1 | herd)", "inverse_gaussian", DataError, "is 0 in"),
        ("period ~ 1 + (1 | herd)", "poisson", DataTypeError, "Expected numbers"),
        (CBPP, "poisson", DesignError, "2 columns"),
    ],
)
def test_impossible_responses(formula, family, error, message, cbpp):
    """E.5 #63."""
    with pytest.raises(error, match=message):
        lme.glmer(formula, cbpp, family=family)


def test_fractional_counts_warn_once(cbpp):
    with pytest.warns(DataWarning, match="Non-integer counts") as seen:
        model = lme.glmer("I(incidence / 4) ~ 1 + (1 | herd)", cbpp, family="poisson")
    assert len(seen) == 1 and seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = model.fit()
    assert "Non-integer counts" in fitted.summary().as_text()
    with pytest.warns(DataWarning, match="Non-integer") as again:
        fitted.refit(cbpp["incidence"] / 3)
    assert again[0].filename == __file__


def test_effects_of_single_rows(cbpp):
    """E.5 #61: a model of overdispersion where the scale is fixed, else nonsense."""
    formula = "incidence ~ period + offset(log(size)) + (1 | row)"
    for text, family in ((formula, "poisson"), (CBPP + " + (1 | row)", "binomial")):
        fitted = lme.glmer(text, cbpp, family=family).fit()
        assert fitted.converged and fitted.ngroups["row"] == 56
    for family, link in (("gamma", "log"), ("gaussian", "log")):
        with pytest.raises(DesignError, match="56 levels for 56"):
            lme.glmer(
                "I(incidence + 1) ~ 1 + (1 | row)", cbpp, family=family, link=link
            )
    with pytest.raises(DesignError, match="no larger"):
        lme.glmer("incidence ~ 1 + (size | row)", cbpp, family="poisson")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"nAGQ": 101}, "At most 100"),
        ({"nAGQ": -1}, "whole number"),
        ({"nAGQ": 2.5}, "whole number"),
        ({"laplace": "exact"}, "Did you mean 'expected'"),
        ({"cov_type": "HC0"}, "'hessian', 'rx'"),
        ({"optimizer": "bobika"}, "optimizers"),
        ({"start": {"Theta": 1}}, "Did you mean 'theta'"),
        ({"start": "one"}, "finite"),
        ({"start": [1.0, 2.0]}, "2 values"),
    ],
)
def test_impossible_options(options, message, cbpp):
    """E.5 #58, #68."""
    with pytest.raises(OptionError, match=message):
        lme.glmer(CBPP, cbpp, family="binomial").fit(**options)


def test_quadrature_needs_one_grouping_factor(cbpp):
    """E.5 #58."""
    crossed = lme.glmer(CBPP + " + (1 | row)", cbpp, family="binomial")
    with pytest.raises(OptionError, match="single grouping factor"):
        crossed.fit(nAGQ=9)
    assert lme.glmer(CBPP, cbpp, family="binomial").fit(nAGQ=90).converged


# --- fitting ------------------------------------------------------------------------


def test_fitting_changes_neither_model_nor_data(cbpp):
    before = cbpp.copy(deep=True)
    model = lme.glmer(CBPP, cbpp, family="binomial")
    state = set(model.__dict__)
    first = model.fit()
    model.fit(nAGQ=5)
    assert model.fit().objective == first.objective
    assert set(model.__dict__) == state
    pd.testing.assert_frame_equal(cbpp, before)


@pytest.mark.parametrize(
    "start",
    [
        1,
        {"theta": 1},
        {"theta": [0.3], "beta": [0.0, 0.0, 0.0, 0.0]},
        {"fixef": [-1.0, -1.0, -1.0, -1.0]},
        {"beta": [200.0, -300.0, 10.0, 1.0]},
    ],
)
def test_starts(start, cbpp, res):
    """E.5 #68, #69: also from far away."""
    close(lme.glmer(CBPP, cbpp, family="binomial").fit(start=start).llf, res.llf, 1e-9)


def test_no_fixed_effects(cbpp):
    fitted = lme.glmer("any ~ 0 + (1 | herd)", cbpp, family="bernoulli").fit()
    assert len(fitted.params) == 0 and fitted.npar == 1
    assert "Fixed effects: none" in fitted.summary().as_text()


def test_dependent_columns(cbpp):
    frame = cbpp.assign(again=cbpp["period"])
    model = lme.glmer("any ~ period + again + (1 | herd)", frame, family="binomial")
    with pytest.warns(RankWarning, match="rank deficient") as seen:
        fitted = model.fit()
    assert seen[0].filename == __file__
    plain = lme.glmer("any ~ period + (1 | herd)", frame, family="binomial").fit()
    close(fitted.objective, plain.objective, 1e-10)
    assert fitted.fixef(add_dropped=True).isna().sum() == 3
    close(fitted.predict(frame), plain.fittedvalues, 1e-6)
    with pytest.raises(lme.LMEError, match="rank deficient"):
        lme.glmer(
            "any ~ period + again + (1 | herd)",
            frame,
            family="binomial",
            checks={"rank": "stop"},
        ).fit()


def test_separation_is_named():
    """E.5 #62: the fit goes on, and says what is wrong."""
    rng = np.random.default_rng(101)
    frame = pd.DataFrame(
        {"x": rng.normal(size=200), "g": np.repeat(np.arange(20), 10).astype(str)}
    )
    frame["f"] = np.where(np.arange(200) % 10 < 5, "a", "b")
    odds = 0.5 * rng.normal(size=20).repeat(10)
    frame["y"] = rng.random(200) < 1 / (1 + np.exp(-odds))
    frame.loc[frame["f"] == "b", "y"] = False
    for link in ("logit", "probit"):
        model = lme.glmer("y ~ x + f + (1 | g)", frame, family="bernoulli", link=link)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = model.fit()
        text = fitted.summary().as_text()
        assert fitted.params["fb"] < -4
        assert np.isfinite(fitted.bse).all()
        # The other coefficients are those without the separating rows.
        if link == "logit":
            assert any(w.category is ConvergenceWarning for w in caught)
            assert "separation" in text and "100 of 200 rows" in text
            half = lme.glmer(
                "y ~ x + (1 | g)", frame[frame["f"] == "a"], family="bernoulli"
            ).fit()
            close(fitted.params.iloc[:2], half.params, 1e-3, 1e-4)


def test_singular_fits_say_so():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 8).astype(str)})
    frame["y"] = np.tile([0, 1, 1, 0, 1, 0, 1, 1], 10)
    frame["x"] = rng.normal(size=80)
    fitted = lme.glmer("y ~ x + (1 | g)", frame, family="bernoulli").fit()
    assert fitted.is_singular and fitted.theta.iloc[0] == 0.0
    glm = sm.GLM(
        frame["y"], sm.add_constant(frame["x"]), family=sm.families.Binomial()
    ).fit()
    close(fitted.params, glm.params, 1e-6)
    close(fitted.llf, glm.llf, 1e-9)
    close(fitted.bse, glm.bse, 1e-4)
    assert "the intercept for g has no variance" in fitted.summary().as_text()


def test_residual_of_an_exact_fit_is_zero():
    """E.5 #70."""
    y = np.array([0.0, 0.25, 0.5, 1.0, 0.5])
    residuals = Binomial().deviance_residuals(y, np.full(5, 4.0), y)
    assert np.array_equal(residuals, np.zeros(5))


def test_printed_numbers():
    """A.3 2.27, 2.29; S1's VarCorr and errors are wrong, its estimates are right."""
    frame = data("Contraception")
    full = "use ~ age + I(age^2) + urban + livch + (1 | district)"
    cm1 = lme.glmer(full, frame, family="binomial").fit()
    assert (round(cm1.aic), round(cm1.bic)) == (2389, 2433)
    assert (round(cm1.llf), round(cm1.objective)) == (-1186, 2373)
    component = cm1.VarCorr().to_frame().iloc[0]
    close([component["vcov"], component["sdcor"]], [0.22586, 0.47524], 1e-4)
    text = "use ~ age + I(age^2) + urban + ch + (1 | district)"
    cm2 = lme.glmer(text, frame, family="binomial").fit()
    table = lme.anova(cm2, cm1).table
    close(table["Chisq"].iloc[1], 0.45711, 1e-4)
    close(table["Pr(>Chisq)"].iloc[1], 0.79568, 1e-4)
    cm3 = cm2.update(". ~ . + age:ch")
    cm4 = cm3.update(". ~ . - (1 | district) + (urban | district)")
    table = lme.anova(cm3, cm4).table
    close(table["Chisq"].iloc[1], 11.6509, 1e-4)
    close(table["Pr(>Chisq)"].iloc[1], 0.0029515, 1e-3)
    close(cm4.VarCorr().components[0].sd, [0.61506, 0.72535], 1e-4)
    close(cm4.VarCorr().components[0].corr[1, 0], -0.793, 1e-3)
    nodes = cm1.update(nAGQ=9)
    close(nodes.objective, 2372.458885, 1e-9)
    close(nodes.VarCorr().to_frame()["sdcor"].iloc[0], 0.478634, 1e-5)
    close(cm1.update(nAGQ=0).objective, 2372.785, 1e-6)


def test_julia_numbers():
    """E.5 #59."""
    frame = data("Contraception")
    formula = "use ~ 1 + age + I(age^2) + urban + livch + (1 | urban:district)"
    model = lme.glmer(formula, frame, family="bernoulli")
    close(model.fit(nAGQ=0).objective, 2361.657, 1e-6)
    close(model.fit().objective, 2361.5458, 1e-7)
    close(model.fit().llf, -1180.7729, 1e-7)
    close(model.fit(nAGQ=7).objective, 2360.8761, 1e-7)


# --- recovery on simulated data ----------------------------------------------------

TRUTH = {
    "bernoulli": ("logit", [-0.5, 0.8], 0.8),
    "binomial": ("probit", [-0.3, 0.5], 0.5),
    "poisson": ("log", [0.8, 0.4], 0.5),
    "negative_binomial": ("log", [1.2, 0.4], 0.5),
    "gamma": ("log", [1.0, 0.4], 0.5),
    "inverse_gaussian": ("log", [0.5, 0.3], 0.4),
    "gaussian": ("log", [1.0, 0.3], 0.3),
}


@pytest.mark.parametrize("name", TRUTH)
def test_recovery(name):
    """80 groups of 15 rows: estimates within four standard errors of the truth."""
    link, beta, sd = TRUTH[name]
    family = lme.families.resolve(name, link)
    rng = np.random.default_rng(2024)
    g = np.repeat(np.arange(80), 15)
    x = rng.normal(size=g.size)
    eta = beta[0] + beta[1] * x + sd * rng.normal(size=80)[g]
    weights = np.full(g.size, 6.0) if name == "binomial" else np.ones(g.size)
    extra = 0.3 if family.dispersion else 3.0
    y = family.draw(rng, family.mean(eta), weights, np.log(extra))
    frame = pd.DataFrame({"y": y, "x": x, "g": g.astype(str), "w": weights})
    fitted = lme.glmer("y ~ x + (1 | g)", frame, family=family, weights="w").fit()
    assert fitted.converged and not fitted.is_singular
    assert np.all(np.abs(fitted.params - beta) < 4 * fitted.bse)
    close(fitted.VarCorr().components[0].sd, sd, 0.3)
    if family.dispersion:
        close(fitted.dispersion, extra, 0.15)
        close(fitted.sigma**2, fitted.scale, 1e-12)
    if name == "negative_binomial":
        close(fitted.nb_theta, extra, 0.35)
        assert fitted.npar == 4
