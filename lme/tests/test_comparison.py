"""Likelihood-ratio comparisons; the scenarios of features.md C.7 and E.7."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose

import lme
from lme.errors import FitError, OptionError
from lme.inference.comparison.candidates import candidate, without_random_effects
from lme.inference.comparison.likelihood_table import compare
from lme.inference.comparison.nesting import is_nested
from lme.tests.cases import REFERENCE, data

STORED = json.loads(gzip.decompress((REFERENCE / "comparison.json.gz").read_bytes()))
COLUMNS = ["npar", "AIC", "BIC", "logLik", "-2*log(L)", "Chisq", "Df", "Pr(>Chisq)"]
# lme4 1.1 calls the fifth column deviance.
THEIRS = [*COLUMNS[:4], "deviance", *COLUMNS[5:]]
SLEEP = "Reaction ~ Days + (Days | Subject)"
INTERCEPT = "Reaction ~ Days + (1 | Subject)"


def fit(formula=SLEEP, name="sleepstudy", reml=True, **options):
    return lme.lmer(formula, data(name), **options).fit(reml=reml)


def close(a, b, rtol=1e-8, atol=1e-10):
    assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol, atol)


def any_fit(formula, name, reml):
    frame = data(name)
    if "|" not in formula:
        return smf.ols(formula, frame).fit()
    if name in ("cbpp", "Contraception"):
        return lme.glmer(formula, frame, family="binomial").fit()
    return lme.lmer(formula, frame).fit(reml=reml)


# --- the table ------------------------------------------------------------------------


@pytest.mark.parametrize("name", STORED["anova"])
def test_anova_equals_lme4(name):
    """The tables of lme4, ordinary least squares and GLMMs among them."""
    entry = STORED["anova"][name]
    keep = "refit=FALSE" in name
    models = [any_fit(f, entry["data"], " ML" not in name) for f in entry["formulas"]]
    found = lme.anova(*models, refit=not keep)
    for ours, theirs in zip(COLUMNS, THEIRS, strict=True):
        # lme4's GLMMs stop at 1e-4 of the log-likelihood.
        rtol, atol = (2e-3, 1e-3) if "contra" in name or "cbpp" in name else (1e-5, 0)
        close(found[ours], entry[theirs], rtol, atol)


def test_anova_of_reml_fits():
    """C.7 #42, E.7 #83: refitted, with one note; sorted; columns and header."""
    small, large = fit(INTERCEPT), fit()
    found = lme.anova(large, small, names=["large", "small"])
    assert list(found.table.columns) == [*COLUMNS, "Pr(>Chibarsq)"]
    assert list(found.table.index) == ["small", "large"]
    close(found["Chisq"].iloc[1], 42.1393, 1e-5)
    notes = " ".join(found.notes)
    assert notes.count("refitted by maximum likelihood") == 1
    assert "conservative" in notes
    lines = repr(found).splitlines()
    assert lines[:3] == [
        "Models:",
        f"small: {INTERCEPT}",
        f"large: {SLEEP}",
    ]
    assert "Pr(>Chisq): chi-square with Df degrees of freedom" in lines[3]
    assert "0.5 chi2(1) + 0.5 chi2(2)" in lines[4]
    assert lines[5].split() == [*COLUMNS, "Pr(>Chibarsq)"]
    html = found._repr_html_()
    assert "<table>" in html and "0.5 chi2(1)" in html and "&gt;" in html
    frame = found.to_frame()
    assert frame.attrs["methods"][0].startswith("Pr(>Chisq)")
    frame.iloc[0, 0] = 0
    assert found["npar"].iloc[0] == 4


def test_anova_of_fixed_effects():
    """E.7 #84: no variance is tested, so nothing is said of boundaries."""
    null = fit("Reaction ~ 1 + (Days | Subject)", reml=False)
    found = lme.anova(null, fit(reml=False))
    close(found["Chisq"].iloc[1], 23.5365, 1e-5)
    close(found["-2*log(L)"], [1775.4759, 1751.9393], 1e-7)
    assert found.notes == () and list(found.table.columns) == COLUMNS
    assert list(found.table.index) == ["MODEL1", "MODEL2"]


def test_equivalent_models():
    """E.7 #85: two ways to write a model, Df 0, no p-value."""
    frame = data("sleepstudy").assign(hours=lambda d: 24.0 * d["Days"] - 3.0)
    first = lme.lmer(SLEEP, frame).fit()
    other = lme.lmer("Reaction ~ hours + (hours | Subject)", frame).fit()
    table = lme.anova(first, other).table
    assert table["Df"].iloc[1] == 0 and np.isnan(table["Pr(>Chisq)"].iloc[1])
    close(table["Chisq"].iloc[1], 0.0, atol=1e-6)


def test_refits_keep_the_options_of_the_fit():
    model = lme.lmer(INTERCEPT, data("sleepstudy"))
    short = model.fit(control={"max_evaluations": 300}, kernel="blocked")
    kept = candidate(short).fit.options
    again = lme.inference.comparison.candidates.refitted(candidate(short)).fit
    assert again.options == kept and not again.reml


# --- least squares and GLMs -----------------------------------------------------------


def test_least_squares_is_the_smaller_model():
    """E.7 #84: p 5.9e-32 (lm1 against fm1)."""
    frame = data("sleepstudy")
    lm = smf.ols("Reaction ~ Days", frame).fit()
    found = lme.anova(lm, fit(reml=False))
    close(found["logLik"].iloc[0], lm.llf, 1e-12)
    close(found["Pr(>Chisq)"].iloc[1], 5.9e-32, 0.01)
    assert found["npar"].tolist() == [3, 6]
    # The REML criteria of both, from our own reduction of the mixed model.
    kept = lme.anova(lm, fit(INTERCEPT), refit=False)
    close(kept["logLik"], [-946.8318317, -893.2325427], 1e-8)
    plain = without_random_effects(candidate(fit(INTERCEPT)))
    close(plain.objective, kept["-2*log(L)"].iloc[0], 1e-10)
    with pytest.raises(FitError, match="different fixed effects"):
        ones = smf.ols("Reaction ~ 1", frame).fit()
        lme.anova(ones, fit(INTERCEPT), refit=False)


def test_weighted_least_squares():
    frame = data("sleepstudy").assign(w=np.arange(1.0, 181.0))
    wls = smf.wls("Reaction ~ Days", frame, weights=frame["w"]).fit()
    mixed = lme.lmer(INTERCEPT, frame, weights="w").fit(reml=False)
    found = lme.anova(wls, mixed)
    close(found["logLik"].iloc[0], wls.llf, 1e-12)
    # A variance of zero leaves weighted least squares.
    start = lme.fit.objective_at(mixed.fit_record, np.zeros(1))
    close(found["-2*log(L)"].iloc[0], start, 1e-10)
    with pytest.raises(FitError, match="different prior weights"):
        lme.anova(smf.ols("Reaction ~ Days", frame).fit(), mixed)


@pytest.fixture(scope="module")
def cbpp():
    frame = data("cbpp")
    counts = np.column_stack([frame["incidence"], frame["size"] - frame["incidence"]])
    X = smf.ols("incidence ~ period", frame).exog
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    res = lme.glmer(formula, frame, family="binomial").fit()
    return frame, counts, X, res


def test_glm_is_the_smaller_model(cbpp):
    """E.7 #87: absolute likelihoods, also of proportions with weights."""
    frame, counts, X, res = cbpp
    glm = sm.GLM(counts, X, family=sm.families.Binomial()).fit()
    found = lme.anova(glm, res)
    close(found["logLik"].iloc[0], glm.llf, 1e-10)
    close(found["Chisq"].iloc[1], 2 * (res.llf - glm.llf), 1e-8)
    share = sm.GLM(
        frame["incidence"] / frame["size"],
        X,
        family=sm.families.Binomial(),
        var_weights=frame["size"].to_numpy(float),
    ).fit()
    close(lme.anova(share, res)["Chisq"], found["Chisq"], 1e-8)
    plain = without_random_effects(candidate(res))
    close(plain.objective, -2 * glm.llf, 1e-10)
    probit = sm.families.Binomial(sm.families.links.Probit())
    with pytest.raises(FitError, match=r"binomial\(probit\)"):
        lme.anova(sm.GLM(counts, X, family=probit).fit(), res)


def test_glm_of_contraception():
    """E.7 #87: 2 (l1 - l0) = 95.0725 against a GLM, 38.0713 between fast fits."""
    frame = data("Contraception")
    # In MixedModels.jl's test the smaller models have no square of age.
    small = "use ~ 1 + age + urban + livch"
    success = frame["use"] == frame["use"].cat.categories[1]
    plain = smf.logit(
        "y ~ age + C(urban) + C(livch)", frame.assign(y=success.astype(float))
    ).fit(disp=False)
    gm0 = lme.glmer(f"{small} + (1 | urban:district)", frame, family="bernoulli")
    gm1 = gm0.update(". ~ . + I(age^2)")
    fast = [m.fit(nAGQ=0) for m in (gm0, gm1)]
    close(lme.anova(plain, fast[1])["Chisq"].iloc[1], 95.0725, 1e-5)
    close(lme.anova(*fast)["Chisq"].iloc[1], 38.0713, 5e-5)
    with pytest.raises(FitError, match="nAGQ=0"):
        lme.anova(fast[0], gm1.fit())


def test_other_families_without_random_effects():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(20), 10)
    x = rng.standard_normal(200)
    eta = 0.5 + 0.3 * x + rng.normal(0, 0.5, 20)[g]
    frame = {"x": x, "g": g.astype(str)}
    frame |= {"n": rng.poisson(np.exp(eta)), "t": rng.gamma(4.0, np.exp(eta) / 4.0)}
    X = np.column_stack([np.ones(200), x])
    pois = lme.glmer("n ~ x + (1 | g)", frame, family="poisson").fit()
    glm = sm.GLM(frame["n"], X, family=sm.families.Poisson()).fit()
    close(lme.anova(glm, pois)["logLik"].iloc[0], glm.llf, 1e-10)
    close(without_random_effects(candidate(pois)).objective, -2 * glm.llf, 1e-9)
    discrete = sm.Poisson(frame["n"], X).fit(disp=False)
    close(lme.anova(discrete, pois)["logLik"].iloc[0], glm.llf, 1e-8)
    # The dispersion at its maximum likelihood, which statsmodels does not estimate.
    log = sm.families.Gamma(sm.families.links.Log())
    gamma = sm.GLM(frame["t"], X, family=log).fit()
    mixed = lme.glmer("t ~ x + (1 | g)", frame, family="gamma", link="log").fit()
    found = lme.anova(gamma, mixed)
    best = max(gamma.llf_scaled(s) for s in np.linspace(0.1, 2.0, 4000))
    close(found["logLik"].iloc[0], best, 1e-6)
    assert found["npar"].tolist() == [3, 4] and found["Chisq"].iloc[1] > 0
    # The theta of a negative binomial moves the means, and is estimated with them.
    frame["n"] = rng.poisson(np.exp(eta) * rng.gamma(2.0, 0.5, 200))
    nb = lme.glmer("n ~ x + (1 | g)", frame, family="negative_binomial").fit()
    plain = without_random_effects(candidate(nb))
    free = sm.NegativeBinomial(frame["n"], X).fit(disp=False, maxiter=200)
    close(plain.objective, -2 * free.llf, 1e-7)


def test_exposure_is_an_offset():
    """statsmodels has the exposure of counts; here its logarithm is an offset."""
    frame = data("grouseticks")
    frame["hours"] = np.random.default_rng(0).uniform(1, 5, len(frame))
    formula = "TICKS ~ YEAR + offset(log(hours)) + (1 | BROOD)"
    res = lme.glmer(formula, frame, family="poisson").fit()
    y, X = np.asarray(frame["TICKS"], float), np.asarray(res.model.exog)
    glm = sm.GLM(y, X, family=sm.families.Poisson(), exposure=frame["hours"]).fit()
    found = lme.anova(glm, res)
    close(found["logLik"].iloc[0], glm.llf, 1e-10)
    close(found["Chisq"].iloc[1], 2 * (res.llf - glm.llf), 1e-8)
    with pytest.raises(FitError, match="different offsets"):
        lme.anova(sm.GLM(y, X, family=sm.families.Poisson()).fit(), res)


def test_a_gamma_model_without_effects_from_a_bad_start():
    """Least squares on 1 / y leaves the range of the link; the optimum is the GLM's."""
    rng = np.random.default_rng(7)
    x = rng.uniform(0, 10, 80)
    y = rng.gamma(1.0, 1 / (0.02 + 0.3 * x))
    frame = pd.DataFrame({"y": y, "x": x, "g": np.repeat(np.arange(10), 8).astype(str)})
    X = np.column_stack([np.ones(80), x])
    assert (X @ np.linalg.lstsq(X, 1 / y)[0]).min() < 0
    res = lme.glmer("y ~ x + (1 | g)", frame, family="gamma").fit()
    glm = sm.GLM(y, X, family=sm.families.Gamma()).fit()
    best = max(glm.llf_scaled(s) for s in np.linspace(0.2, 4.0, 4000))
    close(without_random_effects(candidate(res)).objective, -2 * best, 1e-6)


def test_a_larger_model_that_fits_worse():
    """A search that stopped early: no test, and a note."""
    small = fit(INTERCEPT, reml=False)
    model = lme.lmer(SLEEP, data("sleepstudy"))
    with pytest.warns(lme.ConvergenceWarning):
        early = model.fit(
            reml=False, control={"max_evaluations": 1}, start=[0.01, 0.0, 0.01]
        )
    table = lme.anova(small, early)
    close(table["Chisq"].iloc[1], small.objective - early.objective, 1e-8)
    assert table["Chisq"].iloc[1] < 0 and np.isnan(table["Pr(>Chisq)"].iloc[1])
    assert "stopped early" in " ".join(table.notes)


@pytest.mark.filterwarnings("ignore:.*has no columns:lme.LMEWarning")
@pytest.mark.parametrize("in_parts", [False, True])
def test_models_with_many_levels_and_a_term_without_columns(in_parts):
    """Of data in partitions a few rows are looked at, and classes of their levels."""
    rng = np.random.default_rng(0)
    n = 2000
    frame = pd.DataFrame({"g": rng.integers(0, 100, n), "h": rng.integers(0, 90, n)})
    frame["x"] = rng.normal(size=n)
    effects = rng.normal(size=100)[frame["g"]] + rng.normal(size=90)[frame["h"]]
    frame["y"] = frame["x"] + effects + rng.normal(size=n)
    source = frame
    if in_parts:
        dask = pytest.importorskip("dask.dataframe")
        source = dask.from_pandas(frame, npartitions=3)

    def made(random):
        return lme.lmer(f"y ~ x + {random}", source).fit(reml=False)

    empty = made("(1 | h) + (0 | g)")
    both, slopes = made("(1 | g) + (1 | h)"), made("(x | g) + (1 | h)")
    assert is_nested(empty, both) and is_nested(both, slopes)
    assert not is_nested(slopes, both)
    assert not is_nested(made("(1 | g)"), made("(x | h)"))
    table = lme.anova(empty, both)
    assert table["Df"].tolist()[1] == 1
    close(table["Chisq"].iloc[1], empty.objective - both.objective, 1e-10)
    if not in_parts:
        left = made("(1 | g) + (0 | h)").ranova()
        assert list(left.table.index) == ["<none>", "(1 | g)"]


# --- what is refused ------------------------------------------------------------------

REFUSED = {
    "slope and intercept": (
        "Reaction ~ Days + (0 + Days | Subject)",
        "Reaction ~ 1 + Days + I(Days > 4) + (1 | Subject)",
        r"\(0 \+ Days \| Subject\) .* has the column Days",
    ),
    "mean": (
        "Reaction ~ 0 + Days + (1 | Subject)",
        "Reaction ~ 1 + (Days | Subject)",
        "fixed-effects column Days",
    ),
    "intercept": (
        "Reaction ~ 1 + (1 | Subject)",
        "Reaction ~ 0 + Days + (Days | Subject)",
        r"fixed-effects column \(Intercept\)",
    ),
    "groups": (
        "Reaction ~ 1 + (1 | Subject)",
        "Reaction ~ Days + (1 | item)",
        "no term there groups by Subject",
    ),
    "same size": (
        "Reaction ~ 1 + (1 | Subject)",
        "Reaction ~ 1 + (1 | item)",
        "no term there groups by Subject",
    ),
    "correlation": (
        "Reaction ~ 1 + (Days | Subject)",
        "Reaction ~ Days + I(Days^2) + (Days || Subject)",
        "allows covariances that",
    ),
    "offset": (
        "Reaction ~ 1 + offset(Days) + (1 | Subject)",
        "Reaction ~ item + (1 | Subject)",
        "different offsets",
    ),
}


@pytest.fixture(scope="module")
def items():
    frame = data("sleepstudy")
    items = np.random.default_rng(0).integers(0, 9, 180).astype(str)
    return frame.assign(item=items, a=np.tile(list("abc"), 60))


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_are_not_nested_are_refused(items, name):
    """C.7 #43, E.7 #86: R prints p = 1."""
    small, large, reason = REFUSED[name]
    pair = [lme.lmer(f, items).fit(reml=False) for f in (small, large)]
    with pytest.raises(FitError, match=reason) as caught:
        lme.anova(*pair)
    assert "AIC" in caught.value.remedy
    assert not is_nested(*pair)
    table = lme.anova(*pair, check="note")
    assert np.isnan(table["Pr(>Chisq)"].iloc[1]) and np.isnan(table["Chisq"].iloc[1])
    assert np.isfinite(table["AIC"]).all() and "No test of MODEL1" in table.notes[0]


def test_check_ignore(items):
    small = lme.lmer("Reaction ~ 1 + (1 | Subject)", items).fit()
    large = lme.lmer("Reaction ~ Days + (1 | item)", items).fit()
    found = lme.anova(small, large, check="ignore")
    assert "not checked" in " ".join(found.notes)
    assert found["Df"].iloc[1] == 1
    with pytest.raises(OptionError, match=r"check='notes'.*Did you mean 'note'"):
        lme.anova(small, large, check="notes")


def test_least_squares_with_more_columns_is_refused():
    """E.7 #86: lm with larger fixed effects than the mixed model."""
    frame = data("sleepstudy")
    lm = smf.ols("Reaction ~ Days", frame).fit()
    large = lme.lmer("Reaction ~ 1 + (Days | Subject)", frame).fit()
    with pytest.raises(FitError, match="column Days"):
        lme.anova(lm, large)
    cubic = smf.ols("Reaction ~ Days + I(Days**2) + I(Days**3)", frame).fit()
    with pytest.raises(FitError, match="no random effects"):
        lme.anova(cubic, lme.lmer("Reaction ~ 1 + (1 | Subject)", frame).fit())


def test_mean_by_column_space():
    """E.7 #86: 0 + (1|batch) on yield - 1500 is nested in 1 + (1|batch)."""
    small = fit("Yield - 1500 ~ 0 + (1 | Batch)", "Dyestuff", False)
    large = fit("Yield - 1500 ~ 1 + (1 | Batch)", "Dyestuff", False)
    assert lme.anova(small, large)["Df"].iloc[1] == 1
    # An offset that the larger model can make is no difference.
    frame = data("Dyestuff").assign(level=1500.0)
    moved = lme.lmer("Yield ~ 0 + offset(level) + (1 | Batch)", frame).fit()
    free = lme.lmer("Yield ~ 1 + (1 | Batch)", frame).fit()
    close(lme.anova(moved, free)["Chisq"], lme.anova(small, large)["Chisq"], 1e-6)
    with pytest.raises(FitError, match=r"different responses.*offset"):
        lme.anova(small, free)


def test_anova_of_reml_criteria():
    """E.7 #86: REML with different fixed effects, REML against ML."""
    a, b = fit(INTERCEPT), fit()
    found = lme.anova(a, b, refit=False)
    close(found["-2*log(L)"], [a.objective, b.objective])
    assert "restricted" in found.methods[0]
    null = fit("Reaction ~ 1 + (Days | Subject)")
    with pytest.raises(FitError, match="different fixed effects"):
        lme.anova(null, b, refit=False)
    note = lme.anova(null, b, refit=False, check="note").notes[0]
    assert "different fixed effects" in note
    with pytest.raises(FitError, match="some by maximum likelihood"):
        lme.anova(a, fit(reml=False), refit=False)
    scaled = fit("Reaction ~ I(2 * Days) + (Days | Subject)")
    with pytest.raises(FitError, match="coded differently"):
        lme.anova(a, scaled, refit=False)


def test_anova_refuses():
    res = fit()
    part = lme.lmer(SLEEP, data("sleepstudy").iloc[:90]).fit()
    with pytest.raises(FitError, match="180 and 90 rows"):
        lme.anova(res, part)
    with pytest.raises(FitError, match=r"different responses \(Reaction and log"):
        lme.anova(res, fit("log(Reaction) ~ Days + (1 | Subject)"))
    weighted = lme.lmer(SLEEP, data("sleepstudy"), weights=np.arange(1.0, 181)).fit()
    with pytest.raises(FitError, match="different prior weights"):
        lme.anova(res, weighted)
    with pytest.raises(OptionError, match="1 model to compare"):
        lme.anova(res)
    with pytest.raises(OptionError, match="is a LMM"):
        lme.anova(res, res.model)
    with pytest.raises(OptionError, match="2 different names"):
        lme.anova(res, res, names=["a", "a"])
    with pytest.raises(OptionError, match=r"test='boots'.*Did you mean 'boot'"):
        lme.anova(fit(INTERCEPT), res, test="boots")
    with pytest.raises(OptionError, match="nsim=0"):
        lme.anova(fit(INTERCEPT), res, test="boot", nsim=0)
    light = fit()
    light.remove_data()
    with pytest.raises(FitError, match="remove_data"):
        lme.anova(light, res)
    ols = smf.ols("Reaction ~ Days", data("sleepstudy")).fit()
    ols.remove_data()
    with pytest.raises(FitError, match="remove_data"):
        lme.anova(ols, res)
    robust = smf.rlm("Reaction ~ Days", data("sleepstudy")).fit()
    with pytest.raises(OptionError, match=r"result of RLM.*OLS"):
        lme.anova(robust, res)


def test_known_sigma():
    frame = data("sleepstudy")
    known = lme.lmer(INTERCEPT, frame, sigma=30.0).fit(reml=False)
    free = lme.lmer(SLEEP, frame).fit(reml=False)
    assert lme.anova(known, free)["Df"].iloc[1] == 3
    with pytest.raises(FitError, match="sigma is known in the larger model"):
        lme.anova(
            lme.lmer("Reaction ~ 1 + (1 | Subject)", frame).fit(reml=False),
            lme.lmer(SLEEP, frame, sigma=30.0).fit(reml=False),
        )
    plain = without_random_effects(candidate(known))
    close(plain.objective, lme.fit.objective_at(known.fit_record, np.zeros(1)), 1e-10)


def test_compare_takes_records():
    records = [fit(INTERCEPT).fit_record, fit().fit_record]
    found = compare(records, ["a", "b"], data="sleepstudy")
    assert repr(found).startswith("Data: sleepstudy\nModels:\na: Reaction")
