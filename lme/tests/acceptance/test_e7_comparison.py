"""E.7, comparison of models: scenarios 83 to 87."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import lme
from lme.inference.comparison.nesting import outside
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"
INTERCEPTS = "Reaction ~ Days + (1 | Subject)"
COLUMNS = ["npar", "AIC", "BIC", "logLik", "-2*log(L)", "Chisq", "Df", "Pr(>Chisq)"]


def fit(formula, name="sleepstudy", reml=False, **options):
    return lme.lmer(formula, data(name), **options).fit(reml=reml)


def test_83_reml_fits_are_refitted():
    small, large = fit(INTERCEPTS, reml=True), fit(SLEEP, reml=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lme.anova(large, small, names=["fm2", "fm1"])
    assert repr(found).count("refitted by maximum likelihood") == 1
    # A further column has the p-value of a variance at zero.
    assert list(found.table.columns) == [*COLUMNS, "Pr(>Chibarsq)"]
    assert list(found.table.index) == ["fm1", "fm2"]
    np.testing.assert_allclose(found["-2*log(L)"], [1794.07862, 1751.93934], atol=1e-5)
    assert small.reml and large.reml
    fixed = lme.anova(fit("Reaction ~ 1 + (1 | Subject)", reml=True), small)
    assert list(fixed.table.columns) == COLUMNS


def test_84_a_fixed_effect():
    fm0, fm1 = fit("Reaction ~ 1 + (Days | Subject)"), fit(SLEEP)
    found = lme.anova(fm0, fm1)
    np.testing.assert_allclose(found["-2*log(L)"], [1775.4759, 1751.9393], atol=1e-4)
    assert found["Chisq"].iloc[1] == pytest.approx(23.5365, abs=1e-4)
    assert found["Df"].iloc[1] == 1


def test_84_least_squares_against_the_mixed_model():
    lm1 = smf.ols("Reaction ~ Days", data("sleepstudy")).fit()
    found = lme.anova(lm1, fit(SLEEP))
    assert found["npar"].tolist() == [3, 6]
    # Three parameters, two of them variances: chi-square with 3 is conservative.
    assert found["Pr(>Chisq)"].iloc[1] == pytest.approx(5.9e-32, rel=0.01)
    assert "conservative" in " ".join(found.notes)


def test_85_equivalent_models_have_no_p_value():
    sleep = data("sleepstudy").assign(hours=lambda d: 24.0 * d["Days"] + 5.0)
    one = lme.lmer(SLEEP, sleep).fit(reml=False)
    two = lme.lmer("Reaction ~ hours + (hours | Subject)", sleep).fit(reml=False)
    table = lme.anova(one, two).table
    assert table["Df"].iloc[1] == 0 and np.isnan(table["Pr(>Chisq)"].iloc[1])
    # R warns that it assigns names, which it takes from the call; results here have
    # no names until names= gives them, so there is nothing to warn of.
    assert list(table.index) == ["MODEL1", "MODEL2"]


def test_85_different_rows_are_refused():
    sleep = data("sleepstudy")
    lost = sleep.assign(other=np.where(np.arange(180) == 7, np.nan, sleep["Days"]))
    null = lme.lmer("Reaction ~ 1 + (1 | Subject)", lost).fit()
    full = lme.lmer("Reaction ~ other + (1 | Subject)", lost).fit()
    with pytest.raises(lme.FitError, match="180 and 179 rows"):
        lme.anova(null, full)


@pytest.mark.parametrize(
    "one, two, reason",
    [
        (SLEEP, "Reaction ~ Days + (0 + Days | Subject)", None),
        (INTERCEPTS, "Reaction ~ Days + (0 + Days | Subject)", "Days"),
        (INTERCEPTS, "Reaction ~ 0 + Days + (1 | Subject)", None),
        (
            "Reaction ~ 1 + (1 | Subject)",
            "Reaction ~ 0 + Days + (1 | Subject)",
            "column",
        ),
        (
            "Reaction ~ 1 + (1 | Subject)",
            "Reaction ~ 1 + (1 | item)",
            "groups by Subject",
        ),
    ],
)
def test_86_models_that_are_not_nested(one, two, reason):
    # MixedModels.jl refuses the larger model in the first place (None here); as in R
    # the order does not matter, and a smaller model within a larger one is compared.
    items = np.random.default_rng(0).integers(0, 9, 180)
    sleep = data("sleepstudy").assign(item=items.astype(str))
    pair = [lme.lmer(f, sleep).fit(reml=False) for f in (one, two)]
    if reason is None:
        assert not lme.is_nested(*pair) and lme.is_nested(*reversed(pair))
        assert lme.anova(*pair)["Df"].iloc[1] > 0
        return
    assert not lme.is_nested(*pair) and not lme.is_nested(*reversed(pair))
    with pytest.raises(lme.FitError, match=reason):
        lme.anova(*pair)


def test_86_restricted_likelihoods_are_not_mixed():
    null = fit("Reaction ~ 1 + (Days | Subject)", reml=True)
    full = fit(SLEEP, reml=True)
    with pytest.raises(lme.FitError, match="different fixed effects"):
        lme.anova(null, full, refit=False)
    with pytest.raises(lme.FitError, match="some by maximum likelihood"):
        lme.anova(null, fit(SLEEP), refit=False)
    # Left to itself anova refits what was fitted by REML, and says so.
    found = lme.anova(null, fit(SLEEP))
    assert found["Chisq"].iloc[1] == pytest.approx(23.5365, abs=1e-4)
    assert "refitted by maximum likelihood" in " ".join(found.notes)


def test_86_least_squares_with_larger_fixed_effects():
    lm1 = smf.ols("Reaction ~ Days", data("sleepstudy")).fit()
    with pytest.raises(lme.FitError, match="Days"):
        lme.anova(lm1, fit("Reaction ~ 1 + (Days | Subject)"))


def test_86_families_and_links_that_differ():
    contra = data("Contraception")
    contra["use01"] = (contra["use"] == "Y").astype(float)
    small, large = (f"use01 ~ {f} + (1 | district)" for f in ("urban", "urban + age"))
    logit = lme.glmer(small, contra, family="bernoulli").fit(nAGQ=0)
    probit = lme.glmer(large, contra, family="bernoulli", link="probit")
    poisson = lme.glmer(large, contra, family="poisson")
    for other in (probit, poisson):
        with pytest.raises(lme.FitError, match=r"famil|link"):
            lme.anova(logit, other.fit(nAGQ=0))
    X = sm.add_constant((contra["urban"] == "Y").astype(float))
    glm = sm.GLM(contra["use01"], X, family=sm.families.Binomial()).fit()
    with pytest.raises(lme.FitError, match=r"famil|link"):
        lme.anova(glm, probit.fit(nAGQ=0))
    with pytest.raises(lme.FitError):
        lme.anova(sm.OLS(contra["use01"], X).fit(), logit)
    with pytest.raises(lme.FitError):
        lme.anova(glm, lme.lmer(small, contra).fit())


def test_86_means_are_compared_by_their_spaces():
    small = fit("Yield - 1500 ~ 0 + (1 | Batch)", "Dyestuff")
    large = fit("Yield - 1500 ~ 1 + (1 | Batch)", "Dyestuff")
    assert lme.is_nested(small, large) and not lme.is_nested(large, small)
    assert lme.anova(small, large)["Df"].iloc[1] == 1
    unit = np.eye(3)
    assert outside(unit[:, :2], unit[:, [2]]).size == 1


def test_87_generalized_models():
    contra = data("Contraception")
    contra["use01"] = (contra["use"] == "Y").astype(float)
    formula = "1 + age + urban + livch"
    # The smaller models have no square of age, as in MixedModels.jl's tests.
    dummies = pd.get_dummies(contra[["urban", "livch"]], drop_first=True, dtype=float)
    X = sm.add_constant(dummies.assign(age=contra["age"]))
    glm = sm.GLM(contra["use01"], X, family=sm.families.Binomial()).fit()
    gm0 = lme.glmer(
        f"use01 ~ {formula} + (1 | urban:district)", contra, family="bernoulli"
    ).fit(nAGQ=0)
    gm1 = lme.glmer(
        f"use01 ~ {formula} + I(age^2) + (1 | urban:district)",
        contra,
        family="bernoulli",
    ).fit(nAGQ=0)
    found = lme.anova(glm, gm1)["Chisq"].iloc[1]
    assert found == pytest.approx(95.0725, abs=1e-3)
    assert lme.anova(gm0, gm1)["Chisq"].iloc[1] == pytest.approx(38.0713, abs=2e-3)
