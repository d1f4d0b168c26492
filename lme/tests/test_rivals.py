"""Faults of other packages, each a test that this one must pass.

The faults were seen by running the packages, and are listed by package in the
founding documents (rivals.md). A test is named after the package whose fault it is,
and its first line says the fault. Numbers in the tests are those of lme4 with tight
tolerances, lmerTest, pbkrtest, emmeans or glmmTMB.

No test can express these points: wheels for some platforms only (there is nothing to
compile here: `test_glmm_wheels`); times and memory against other packages, which
benchmarks/ has; the installation of R and of R packages; the size of dependencies;
what users write in the trackers; and packages of other fields (genetics, additive
models, forests, pharmacometrics), whose models are not ours.
"""

import ast
import logging
import pickle
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose as close

import lme
from lme.families import Link, Poisson
from lme.fit import objective_at
from lme.tests.best_of_five import best_of_five
from lme.tests.cases import CASES, data, reference_models
from lme.tests.glmm_cases import GLMM_CASES, NB_CASES, references

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
CONTRA = "use ~ 1 + age + I(age^2) + urban + livch + (1 | district)"
PACKAGE = Path(lme.__file__).parent


@pytest.fixture(scope="module")
def sleep():
    return data("sleepstudy")


@pytest.fixture(scope="module")
def res(sleep):
    return lme.lmer(SLEEP, sleep).fit()


@pytest.fixture(scope="module")
def cbpp():
    return lme.glmer(CBPP, data("cbpp"), family="binomial").fit()


@pytest.fixture(scope="module")
def cake():
    formula = "angle ~ recipe * temperature + (1 | recipe:replicate)"
    return lme.lmer(formula, data("cake")).fit()


def objective(formula, frame, **options):
    return lme.lmer(formula, frame, **options).fit().objective


def least(fit, starts=4):
    """The least objective that SciPy finds from points all over the space."""
    return best_of_five(fit.fit_record, 1, starts, ["L-BFGS-B"])[0]


# --- glmm 0.6.2 -----------------------------------------------------------------------


def test_glmm_has_few_methods(cbpp):
    """No predict, simulate, refit, profile, update, conditional variances, influence,
    plots, emmeans, allFit."""
    assert cbpp.predict({"period": ["2"], "herd": ["1"]}).shape == (1,)
    drawn = cbpp.simulate(1, seed=1)["sim_1"]
    assert cbpp.refit(drawn).converged
    assert len(cbpp.profile("theta_")) == 1
    assert cbpp.update(". ~ . - period").npar == 2
    assert cbpp.condVar()["herd"].shape == (1, 1, 15)
    assert len(cbpp.get_influence("herd").cooks_distance) == 15
    assert len(cbpp.emmeans("period", type="response").to_frame()) == 4
    assert lme.allfit(cbpp, ["newton", "powell"])["converged"].all()
    pytest.importorskip("matplotlib").use("Agg")
    assert cbpp.plot_ranef().axes


def test_glmm_returns_tuples(res, cbpp):
    """No data frame anywhere; residuals of two types only."""
    for fit in (res, cbpp):
        assert isinstance(fit.params, pd.Series)
        for table in (fit.VarCorr().to_frame(), fit.ranef().to_frame(), fit.tidy()):
            assert isinstance(table, pd.DataFrame)
        assert isinstance(fit.confint(method="wald"), pd.DataFrame)
    for kind in ("deviance", "pearson", "working", "response", "quantile"):
        assert len(cbpp.residuals(type=kind, seed=1)) == 56


@pytest.mark.parametrize(
    "one, other",
    [
        ("Days + (Days || Subject)", "Days + (1 | Subject) + (0 + Days | Subject)"),
        ("Days + (0 + Days | Subject)", "Days + (-1 + Days | Subject)"),
        ("Days + (1 | lab/Subject)", "Days + (1 | lab) + (1 | lab:Subject)"),
        ("lab * half + (1 | Subject)", "(lab + half)^2 + (1 | Subject)"),
        ("lab * half - lab:half + (1 | Subject)", "lab + half + (1 | Subject)"),
        ("`Days` + (1 | Subject)", "Days + (1 | Subject)"),
        ("I(Days^2) + (1 | Subject)", "square + (1 | Subject)"),
        ("factor(Days) + (1 | Subject)", "DaysF + (1 | Subject)"),
    ],
)
def test_glmm_grammar(one, other):
    """No ||, 0 +, -1 in a bar, functions but I(x^k), ^, -, (x | a/b), back-ticks."""
    frame = data("sleepstudy_x").assign(square=lambda d: d["Days"] ** 2.0)
    found = [objective(f"Reaction ~ {text}", frame) for text in (one, other)]
    assert found[0] == pytest.approx(found[1], abs=1e-7)


def test_glmm_functions(sleep):
    """No log(), scale(), poly(), ns(), log(y), dot."""
    frame = sleep.assign(centred=(sleep["Days"] - 4.5) / sleep["Days"].std())
    plain = lme.lmer("Reaction ~ centred + (1 | Subject)", frame).fit()
    scaled = lme.lmer("Reaction ~ scale(Days) + (1 | Subject)", frame).fit()
    close(scaled.params, plain.params, rtol=1e-9)
    curves = ["poly(Days, 9)", "ns(Days, df = 9)", "factor(Days)"]
    values = [
        lme.lmer(f"log(Reaction) ~ {curve} + (1 | Subject)", sleep).fit(reml=False)
        for curve in curves
    ]
    close([fit.llf for fit in values], values[0].llf, rtol=1e-9)
    dot = lme.lmer("Reaction ~ . - Subject + (1 | Subject)", sleep).fit()
    assert list(dot.params.index) == ["(Intercept)", "Days"]


def test_glmm_needs_the_fixed_slope(sleep):
    """A random slope must be a numeric fixed term, so its slope cannot be tested."""
    null = lme.lmer("Reaction ~ 1 + (Days | Subject)", sleep).fit()
    full = lme.lmer(SLEEP, sleep).fit()
    assert lme.anova(null, full)["Chisq"].iloc[1] == pytest.approx(23.5365, abs=1e-4)


def test_glmm_responses_and_contrasts(cbpp):
    """Factor responses and cbind refused; ordered factors by treatment contrasts;
    no contrasts=."""
    assert cbpp.objective == pytest.approx(184.0526, abs=2e-4)
    frame = data("Contraception")
    assert lme.glmer(CONTRA, frame, family="binomial").fit().converged
    sleep = data("sleepstudy")
    sleep["when"] = pd.cut(sleep["Days"], [-1, 2, 5, 9], labels=list("abc"))
    ordered = lme.lmer("Reaction ~ when + (1 | Subject)", sleep).fit()
    assert list(ordered.params.index) == ["(Intercept)", "when.L", "when.Q"]
    sums = lme.lmer(
        "Reaction ~ when + (1 | Subject)", sleep, contrasts={"when": "contr.sum"}
    ).fit()
    assert list(sums.params.index) == ["(Intercept)", "when1", "when2"]


@pytest.mark.parametrize("name", ["sim_pois_sqrt", "sim_pois_identity", "cbpp_cauchit"])
def test_glmm_links(name):
    """One to three links a family: no square root, identity, cauchit."""
    fit = GLMM_CASES[name].fit()
    want = references()["models"][name]["fits"]["nAGQ1"]["minus2logLik"]
    assert fit.converged and fit.objective == pytest.approx(want, abs=2e-4)


class _Softplus(Link):
    """``mu = log(1 + exp(eta))``."""

    def __init__(self):
        super().__init__("softplus")

    def link(self, mu):
        return np.log(np.expm1(mu))

    def mean(self, eta):
        return np.logaddexp(0.0, eta)

    def first(self, eta):
        return 1.0 / (1.0 + np.exp(-eta))

    def second(self, eta):
        return self.first(eta) * (1.0 - self.first(eta))

    def third(self, eta):
        return self.second(eta) * (1.0 - 2.0 * self.first(eta))


class _Counts(Poisson):
    name = "counts"
    links = ("softplus", "log")


def test_glmm_families_of_the_user():
    """No custom family."""
    ticks = data("grouseticks")
    formula = "TICKS ~ YEAR + (1 | BROOD)"
    same = lme.glmer(formula, ticks, family=_Counts(link="log")).fit()
    plain = lme.glmer(formula, ticks, family="poisson").fit()
    assert same.llf == pytest.approx(plain.llf, abs=1e-9)
    fit = lme.glmer(formula, ticks, family=_Counts(link=_Softplus())).fit()
    assert fit.converged
    close(fit.fittedvalues, np.logaddexp(0, fit.linear_predictor), rtol=1e-12)
    # The slope of the likelihood by differences: the optimum is one of that link.
    eta = np.linspace(-3.0, 4.0, 29)
    y, step = np.arange(29.0) % 5, 1e-6
    each = [fit.family.pointwise(y, None, eta + h) for h in (-step, step)]
    middle = fit.family.pointwise(y, None, eta)
    close((each[1].deviance - each[0].deviance) / (2 * step), middle.g, 1e-6, 1e-7)
    close((each[1].Wo - each[0].Wo) / (2 * step), middle.dWo, rtol=1e-5, atol=1e-7)


def test_glmm_falls_back_to_laplace():
    """Quadrature with two factors is silently Laplace; here it is refused."""
    ticks = data("grouseticks")
    formula = "TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)"
    with pytest.raises(lme.OptionError, match="single grouping factor"):
        lme.glmer(formula, ticks, family="poisson").fit(nAGQ=9)


def test_glmm_negative_binomial():
    """A negative binomial ends .46 above lme4's deviance."""
    model = lme.glmer(
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)",
        data("grouseticks"),
        family="negative_binomial",
    )
    assert model.fit().objective == pytest.approx(1779.94, abs=5e-3)
    assert model.fit(nAGQ=25).objective == pytest.approx(1779.21, abs=5e-3)


def test_glmm_control(sleep):
    """No control of optimizer and tolerance."""
    model = lme.lmer(SLEEP, sleep)
    tight = model.fit(optimizer="powell", control={"tolerance": 1e-10})
    assert tight.objective == pytest.approx(1743.6282719585, abs=1e-8)
    with pytest.raises(lme.OptionError, match="max_evaluations"):
        model.fit(control={"maxfun": 7})


def test_glmm_zero_weights(sleep):
    """Zero weights refused. For a normal response they are here too, with the remedy:
    the row says nothing, and its likelihood is not finite. Zero trials are allowed."""
    weights = np.ones(180)
    weights[3] = 0.0
    with pytest.raises(lme.DataError, match="subset"):
        lme.lmer(SLEEP, sleep, weights=weights)
    kept = lme.lmer(SLEEP, sleep, weights=weights, subset=weights > 0).fit()
    assert kept.nobs == 179
    frame = data("cbpp").assign(share=lambda d: d["incidence"] / d["size"])
    formula = "share ~ period + (1 | herd)"
    trials = frame["size"].where(np.arange(56) != 7, 0)
    none = lme.glmer(formula, frame, family="binomial", weights=trials).fit()
    rest = lme.glmer(
        formula, frame[trials > 0], family="binomial", weights="size"
    ).fit()
    assert none.llf == pytest.approx(rest.llf, abs=1e-8)


def test_glmm_wheels():
    """No wheels for some platforms: nothing of this package is compiled."""
    compiled = [p for p in PACKAGE.rglob("*") if p.suffix in (".so", ".pyd", ".c")]
    assert compiled == []


# --- mixedlm 1.3.0 --------------------------------------------------------------------


def test_mixedlm_kenward_roger(sleep):
    """Its Kenward-Roger is Satterthwaite, with standard errors not adjusted."""
    keep = (np.arange(1, 181) * 7 % 11 > 2) & ~(
        sleep["Subject"].isin(["308", "309"]) & (sleep["Days"] > 3)
    )
    rows = sleep[keep]
    rows = rows.assign(group=np.where(rows["Subject"].cat.codes < 6, "a", "b"))
    fit = lme.lmer("Reaction ~ Days + group + (Days | Subject)", rows).fit()
    names = ["(Intercept)", "Days", "groupb"]
    # lmerTest and pbkrtest.
    satterthwaite = [16.79129083, 15.96174177, 15.93125875]
    kenward_roger = [17.05049877, 15.64007959, 16.11867869]
    plain = [12.505958531, 1.495752505, 15.075847745]
    adjusted = [12.951693251, 1.505213096, 15.881361288]
    wald = fit.contrast(np.eye(3), ddf="satterthwaite")
    exact = fit.contrast(np.eye(3), ddf="kenward-roger")
    assert list(fit.params.index) == names
    close(wald["df"], satterthwaite, rtol=2e-5)
    close(exact["df"], kenward_roger, rtol=2e-5)
    close(wald["se"], plain, rtol=1e-5)
    close(exact["se"], adjusted, rtol=1e-5)


def test_mixedlm_type_three(cake):
    """One F for each coefficient, of treatment coding, not one for each term."""
    table = cake.anova(type=3, ddf="satterthwaite")
    assert list(table.index) == ["recipe", "temperature", "recipe:temperature"]
    assert table["NumDF"].tolist() == [2, 5, 10]
    close(table["DenDF"], [42, 210, 210], rtol=1e-5)
    close(table["F value"], [0.2488, 20.5199, 1.0062], atol=6e-5)


def test_mixedlm_marginal_means(cake):
    """Degrees of freedom n - p = 252 where emmeans has 42."""
    means = cake.emmeans("recipe", ddf="kenward-roger").to_frame()
    close(means["df"], 42.0, rtol=1e-5)
    close(means["estimate"], [33.1, 31.6, 31.6], atol=0.06)


def test_mixedlm_gamma():
    """A gamma model ends at theta 0, 670 above lme4, converged."""
    fit = GLMM_CASES["sim_gamma_log"].fit()
    want = references()["glmmTMB"]["sim_gamma_log"]
    assert fit.converged and fit.theta.iloc[0] > 0.4
    assert fit.objective == pytest.approx(want["minus2logLik"], abs=1e-4)
    sd = want["VarCorr_sd"]["g"][0]
    assert fit.VarCorr().to_frame()["sdcor"].iloc[0] == pytest.approx(sd, rel=1e-3)


@pytest.mark.parametrize("name", NB_CASES)
def test_mixedlm_negative_binomial(name):
    """PIRLS did not converge, 56 above lme4."""
    fit = NB_CASES[name].fit()
    want = references()["nb"][name]["fit"]["minus2logLik"]
    assert fit.converged and fit.objective == pytest.approx(want, abs=1e-3)


def test_mixedlm_interaction_without_main_effect():
    """f:x without f:x's main effects drops a level, a different model, unsaid."""
    frame = data("sleepstudy_x")
    fit = lme.lmer("Reaction ~ lab:Days + (1 | Subject)", frame).fit()
    names = ["labL1:Days", "labL2:Days", "labL3:Days"]
    assert list(fit.params.index) == ["(Intercept)", *names]
    for i, level in enumerate(["L1", "L2", "L3"]):
        frame[f"d{i}"] = frame["Days"] * (frame["lab"] == level)
    same = objective("Reaction ~ d0 + d1 + d2 + (1 | Subject)", frame)
    assert fit.objective == pytest.approx(same, abs=1e-8)


def test_mixedlm_names(cbpp):
    """Coefficients named period.2 by position, not by level."""
    assert list(cbpp.params.index)[1:] == ["period2", "period3", "period4"]
    worker = lme.lmer("score ~ Machine + (1 | Worker)", data("Machines")).fit()
    assert list(worker.params.index) == ["(Intercept)", "MachineB", "MachineC"]


@pytest.mark.parametrize(
    "term, size",
    [
        ("log(Days + 1)", 2),
        ("scale(Days)", 2),
        ("poly(Days, 2)", 3),
        ("factor(lab)", 3),
        ("C(lab, contr.sum)", 3),
        ("offset(2 * Days)", 1),
        ("I(Days^2)", 2),
        ("(lab + half)^2", 6),
        (". - Subject - w - off - DaysF - Days2 - big", 5),
    ],
)
def test_mixedlm_lexer(term, size):
    """No function call of any kind in a formula."""
    model = lme.lmer(f"Reaction ~ {term} + (1 | Subject)", data("sleepstudy_x"))
    assert model.fit().params.size == size


def test_mixedlm_standard_errors(cbpp):
    """Standard errors of generalized models from the RX block only: .2279 for .2325."""
    assert cbpp.bse.iloc[0] == pytest.approx(0.2325, abs=1e-4)
    rx = np.sqrt(np.diag(cbpp.cov_params(cov_type="rx")))[0]
    assert rx == pytest.approx(0.2279, abs=1e-4)
    assert "Hessian" in str(cbpp.summary())


def test_mixedlm_profiles(res, cbpp):
    """Profiles of fixed effects only."""
    assert list(res.confint().index)[:4] == [
        "sd_(Intercept)|Subject",
        "sd_Days|Subject",
        "cor_Days.(Intercept)|Subject",
        "sigma",
    ]
    limits = cbpp.confint(parm="theta_").iloc[0]
    assert 0.3 < limits.iloc[0] < 0.6423 < limits.iloc[1] < 1.2


def test_mixedlm_refits_of_counts(cbpp):
    """refit of grouped binomial responses fails."""
    drawn = cbpp.simulate(3, seed=8)
    assert cbpp.refit(drawn["sim_2"]).converged


def test_mixedlm_asks_for_the_data_again():
    """drop1, allFit and profile want the data again."""
    frame = data("sleepstudy")
    fit = lme.lmer(SLEEP, frame).fit()
    del frame
    assert len(fit.drop1().table) == 2
    assert len(lme.allfit(fit)) >= 3
    assert len(fit.profile("sigma")) == 1


def test_mixedlm_first_fit():
    """The first fit of a process is slow, by lazy imports: here it imports nothing."""
    code = (
        "import sys, lme\n"
        "frame = lme.datasets.load('sleepstudy')\n"
        "before = set(sys.modules)\n"
        "lme.lmer('Reaction ~ Days + (Days | Subject)', frame).fit().bse\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# --- lme-python 0.2.7 -----------------------------------------------------------------


def test_lme_python_laplace():
    """nAGQ=1 is lme4's nAGQ=0 under the name of Laplace; 9 nodes leave the estimates
    alone."""
    model = lme.glmer(CBPP, data("cbpp"), family="binomial")
    fast, laplace, nodes = (model.fit(nAGQ=n) for n in (0, 1, 9))
    assert fast.params.iloc[0] == pytest.approx(-1.36048, abs=1e-5)
    assert laplace.params.iloc[0] == pytest.approx(-1.39853, abs=2e-5)
    assert laplace.theta.iloc[0] == pytest.approx(0.64226, abs=2e-5)
    assert abs(nodes.params.iloc[0] - laplace.params.iloc[0]) > 1e-4
    # Absolute likelihoods, comparable with anything.
    assert laplace.aic == pytest.approx(194.0526, abs=1e-4)
    assert nodes.llf == pytest.approx(-91.98337, abs=1e-5)


def test_lme_python_quadrature():
    """Nine nodes print 2331.4 where 2372.46 is true."""
    fit = lme.glmer(CONTRA, data("Contraception"), family="binomial").fit(nAGQ=9)
    assert fit.objective == pytest.approx(2372.459, abs=1e-3)


def singular():
    """Slopes of groups that cross at one point: a singular optimum, and theta = 0 a
    corner from which both intercepts and slopes alone lead uphill."""
    rng = np.random.default_rng(10)
    group, x = np.repeat(np.arange(10), 6), np.tile(np.arange(6.0), 10)
    y = 5 * rng.normal(size=60) + rng.normal(size=10)[group] * (x - 2.5)
    return lme.lmer("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": group}))


def test_lme_python_singular_optimum():
    """converged at 500.68 where a singular fit has 499.37; also interlace."""
    fit = singular().fit()
    assert fit.converged and fit.is_singular
    corner = objective_at(fit.fit_record, [0.0, 0.0, 0.0])
    assert objective_at(fit.fit_record, [0.01, 0.0, 0.0]) > corner
    assert objective_at(fit.fit_record, [0.0, 0.0, 0.01]) > corner
    assert corner - fit.objective > 3.5
    assert fit.objective <= least(fit) + 1e-7


def test_lme_python_two_factors_with_slopes(sleep):
    """converged at 1743.6283 where 1743.5985 is true: a small second term lost."""
    rng = np.random.default_rng(24)
    frame = sleep.assign(h=rng.integers(0, 6, 180).astype(str))
    fit = lme.lmer("Reaction ~ Days + (Days | Subject) + (Days | h)", frame).fit()
    alone = objective(SLEEP, sleep)
    assert fit.converged and 0.01 < alone - fit.objective < 0.03
    assert fit.objective <= least(fit) + 1e-6


def test_lme_python_nested_slopes():
    """converged at 1914.12 where (Days | g/f) has 1893.66."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"g": np.repeat(np.arange(8), 30), "x": np.tile(range(10), 24)}
    )
    frame["f"] = np.repeat(np.arange(24), 10)
    outer, inner = rng.normal(size=(8, 2)), rng.normal(size=(24, 2))
    frame["y"] = 12 * rng.normal(size=240) + 20 * outer[frame["g"], 0]
    frame["y"] += 8 * inner[frame["f"], 0] + frame["x"] * (
        10 + 3 * outer[frame["g"], 1] + 4 * inner[frame["f"], 1]
    )
    fit = lme.lmer("y ~ x + (x | g/f)", frame).fit()
    assert fit.converged
    assert fit.objective <= least(fit, 2) + 1e-6


def test_lme_python_dependent_columns(sleep, res):
    """Estimates of an aliased pair are arbitrary, and theta five times too large."""
    frame = sleep.assign(twice=2 * sleep["Days"])
    model = lme.lmer("Reaction ~ Days + twice + (Days | Subject)", frame)
    with pytest.warns(lme.RankWarning, match="twice"):
        fit = model.fit()
    close(fit.theta, res.theta, rtol=1e-6)
    every = fit.fixef(add_dropped=True)
    assert every["Days"] == pytest.approx(res.params["Days"], rel=1e-8)
    assert np.isnan(every["twice"])


def test_lme_python_weights(sleep):
    """A weighted log-likelihood without the sum of log w."""
    one = lme.lmer(SLEEP, sleep).fit()
    five = lme.lmer(SLEEP, sleep, weights=np.full(180, 5.0)).fit()
    assert five.llf == pytest.approx(one.llf, abs=1e-8)
    assert five.sigma == pytest.approx(np.sqrt(5) * one.sigma, rel=1e-7)
    want = CASES["weights"].fit(reml=False)
    # lme4.
    reference = reference_models()["weights"]["fits"]["ML"]["logLik"]
    assert want.llf == pytest.approx(reference, abs=1e-6)


def test_lme_python_scale_of_profiles(res, cbpp):
    """Limits of .sig01 on the scale of theta, .54 to 1.50; a limit of a generalized
    intercept that is its estimate."""
    limits = res.confint(parm=[".sig01"]).iloc[0]
    close(limits, [14.38142, 37.71600], rtol=1e-4)
    low, high = cbpp.confint(parm=["(Intercept)"]).iloc[0]
    assert low < cbpp.params.iloc[0] - 0.3 and high > cbpp.params.iloc[0] + 0.3


def test_lme_python_missing_values_and_categories():
    """NaN and None are errors, factors have no random slopes, categories no order."""
    frame = data("Machines")
    frame["Machine"] = frame["Machine"].cat.reorder_categories(["C", "A", "B"])
    frame = frame.astype({"Worker": object})
    frame.loc[3, "score"], frame.loc[5, "Worker"] = np.nan, None
    fit = lme.lmer("score ~ Machine + (Machine | Worker)", frame).fit()
    assert fit.nobs == 52
    assert list(fit.params.index) == ["(Intercept)", "MachineA", "MachineB"]
    assert fit.theta.size == 6


def test_lme_python_pickle(res, cbpp):
    """Results cannot be pickled; tests ask for the data again."""
    for fit in (res, cbpp):
        again = pickle.loads(pickle.dumps(fit))
        pd.testing.assert_series_equal(again.params, fit.params)
    restored = pickle.loads(pickle.dumps(res))
    table = restored.contrast("Days", ddf="kenward-roger")
    assert table["df"].iloc[0] == pytest.approx(17.0, rel=1e-4)
    assert restored.bootstrap(3, seed=1, progress=False).wide.shape[0] == 3


# --- interlace-lme 0.3.2 --------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["blocked", "cholmod"])
def test_interlace_starting_values(sleep, kernel):
    """With scikit-sparse the starting values come back as converged: 1799 for 1752."""
    if kernel == "cholmod":
        pytest.importorskip("sksparse")
    fit = lme.lmer(SLEEP, sleep).fit(reml=False, kernel=kernel)
    assert fit.objective == pytest.approx(1751.9393444632, abs=1e-8)
    assert not np.allclose(fit.theta, [1.0, 0.0, 1.0], atol=0.01)


def test_interlace_degrees_of_freedom(res):
    """Kenward-Roger for intercepts only; Satterthwaite 18.8 where lmerTest has 17."""
    for ddf in ("satterthwaite", "kenward-roger"):
        table = res.contrast(np.eye(2), ddf=ddf)
        close(table["df"], 17.0, rtol=1e-4)


def test_interlace_summary(res):
    """The log-likelihood printed as the REML criterion."""
    lines = str(res.summary()).splitlines()
    heads = next(i for i, line in enumerate(lines) if "REML criterion" in line)
    assert lines[heads + 1].split()[:2] == ["1743.6283", "-871.8141"]


def test_interlace_implied_intercepts(sleep, res):
    """(Days | Subject) has no intercept, unsaid."""
    assert list(res.ranef()["Subject"].columns) == ["(Intercept)", "Days"]
    same = objective("Reaction ~ Days + (1 + Days | Subject)", sleep)
    assert res.objective == pytest.approx(same, abs=1e-10)


def test_interlace_powers(sleep):
    """I(Days^2) is an exclusive or: 1782.6 for 1785.8."""
    found = objective("Reaction ~ Days + I(Days^2) + (1 | Subject)", sleep)
    assert found == pytest.approx(1785.795, abs=1e-3)


def test_interlace_interactions(cake):
    """Marginal means and tests of type III without the interactions."""
    means = cake.emmeans("recipe").to_frame()
    close(means["estimate"].iloc[0], 33.1222, atol=1e-4)
    close(means["df"], 42.0, rtol=1e-5)


# --- gpboost 1.8.0 --------------------------------------------------------------------


def test_gpboost_is_not_exact():
    """Stochastic log-determinants with two factors: Penicillin 332.728 for 332.188,
    theta of Pastes .87 for 1.33; a loose end."""
    two = lme.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data("Penicillin"))
    assert two.fit(reml=False).objective == pytest.approx(332.18834867, abs=1e-7)
    nested = lme.lmer("strength ~ 1 + (1 | batch) + (1 | sample)", data("Pastes"))
    theta = nested.fit(reml=False).theta
    close(theta, [3.5269029, 1.3299137], rtol=1e-5)
    again = [two.fit(reml=False).objective for _ in range(2)]
    assert again[0] == again[1]


def test_gpboost_lacks(res):
    """No REML, correlated effects, quadrature, formula, tests, anova, summary, standard
    errors."""
    assert res.reml and res.theta.size == 3
    assert res.anova()["Pr(>F)"].iloc[0] < 1e-4
    assert "std err" in str(res.summary())


# --- statsmodels MixedLM --------------------------------------------------------------


def test_statsmodels_many_groups():
    """41 minutes with 125,066 groups, where lmer takes two seconds."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(125_066), 2)
    frame = pd.DataFrame({"g": groups, "x": rng.normal(size=groups.size)})
    frame["y"] = frame["x"] + rng.normal(size=125_066)[groups]
    frame["y"] += rng.normal(size=groups.size)
    fit = lme.lmer("y ~ x + (1 | g)", frame).fit()
    assert fit.converged and fit.theta.iloc[0] == pytest.approx(1.0, abs=0.02)
    assert fit.convergence.evaluations < 30


def test_statsmodels_crossed_effects():
    """Crossed factors end the console: 100 times slower than R."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"s": rng.integers(0, 400, 6000), "i": rng.integers(0, 90, 6000)}
    )
    frame["y"] = rng.normal(size=400)[frame["s"]] + 2 * rng.normal(size=90)[frame["i"]]
    frame["y"] += rng.normal(size=6000)
    fit = lme.lmer("y ~ 1 + (1 | s) + (1 | i)", frame).fit()
    close(fit.VarCorr().to_frame()["sdcor"], [1.0, 2.0, 1.0], rtol=0.2)


def test_statsmodels_says_nothing(sleep, caplog):
    """Hours without output."""
    with caplog.at_level(logging.INFO, logger="lme"):
        fit = lme.lmer(SLEEP, sleep).fit(verbose=1)
    assert len(caplog.records) >= fit.convergence.evaluations
    assert len(fit.trace) == fit.convergence.evaluations


def test_statsmodels_collapsed_variance():
    """The MAP of a binomial mixed model has a random effect of 1e-26 (ML .475)."""
    fit = lme.glmer(CONTRA, data("Contraception"), family="binomial").fit()
    assert fit.theta.iloc[0] == pytest.approx(0.475, abs=1e-3)


# --- pymer4 0.9.2 ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "option, words",
    [
        ({"REML": False}, "Did you mean 'reml'"),
        ({"nAGQ": 9}, "glmer"),
        ({"optimiser": "powell"}, "Did you mean 'optimizer'"),
    ],
)
def test_pymer4_swallows_options(sleep, option, words):
    """fit(REML=False) and fit(nAGQ=9) are swallowed, and REML and Laplace returned."""
    with pytest.raises(lme.OptionError, match=words):
        lme.lmer(SLEEP, sleep).fit(**option)


def test_pymer4_swallows_options_of_generalized_models():
    model = lme.glmer(CBPP, data("cbpp"), family="binomial")
    assert model.fit(nAGQ=9).nAGQ == 9
    for option in ("n_agq", "REML", "ctrl"):
        with pytest.raises(lme.OptionError, match=option):
            model.fit(**{option: 9})
    with pytest.raises(lme.LMEError, match="nAGQ"):
        lme.glmer(CBPP, data("cbpp"), family="binomial", nAGQ=9)
    assert lme.lmer(SLEEP, data("sleepstudy")).fit(reml=False).reml is False


def _imported():
    """Packages that modules of ours import when they are imported."""
    for path in PACKAGE.rglob("*.py"):
        if "tests" in path.relative_to(PACKAGE).parts:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield str(node.module).split(".")[0]


def test_pymer4_dependencies():
    """Declares no dependency, and does not import; also the wheels of two others."""
    try:
        declared = requires("statsmodels-lme") or []
    except PackageNotFoundError:
        pytest.skip("not installed as a distribution")
    users = [line for line in declared if 'extra == "dev"' not in line]
    names = {re.split(r"[>=\[; ]", line)[0].replace("-", "_") for line in users}
    own = set(sys.stdlib_module_names) | {"lme"}
    assert set(_imported()) - own <= names
    assert "matplotlib" not in {
        line.split(">")[0] for line in declared if "extra ==" not in line
    }


# --- kamino-lme 0.0.1 -----------------------------------------------------------------


def test_kamino_evaluations(res):
    """386 evaluations for sleepstudy."""
    assert res.convergence.evaluations <= 10


def test_kamino_grammar():
    """Refuses (Days | Subject), ||, I(), f:x, integer groups and missing values."""
    frame = data("sleepstudy_x").astype({"Reaction": float})
    frame["id"] = frame["Subject"].astype(str).astype(int)
    frame.loc[0, "Reaction"] = np.nan
    fit = lme.lmer("Reaction ~ I(Days^2) + lab:Days + (Days || id)", frame).fit()
    assert fit.nobs == 179 and fit.ngroups["id"] == 18


def test_kamino_repr(res, cbpp):
    """repr prints every array."""
    for each in (res, cbpp, res.model, res.ranef(), res.VarCorr()):
        assert len(repr(each)) < 4000
    assert "array(" not in repr(res)


def test_kamino_ideas(res, sleep, tmp_path):
    """Its ideas: bootstraps that go on, safe small bundles for prediction, CR2."""
    part = res.bootstrap(5, seed=3, progress=False)
    part.save(tmp_path / "half.npz")
    kept = lme.Bootstrap.load(tmp_path / "half.npz")
    whole = res.bootstrap(9, resume=kept, progress=False)
    again = res.bootstrap(9, seed=3, progress=False)
    np.testing.assert_array_equal(whole.values, again.values)
    light = res.without_data()
    close(light.predict(sleep), res.fittedvalues, rtol=1e-12)
    robust = res.get_robustcov_results("cluster", groups="Subject", type="CR2")
    assert np.isfinite(robust.bse).all()


# --- others ---------------------------------------------------------------------------


def test_edi_kernels_units():
    """A logistic model of unscaled covariates stops far from its optimum; groups of at
    most two rows."""
    frame = data("Contraception")
    model = lme.glmer(CONTRA, frame, family="binomial")
    assert model.fit(nAGQ=9).theta.iloc[0] == pytest.approx(0.4786, abs=1e-4)
    far = lme.glmer(CONTRA, frame.assign(age=1e4 * frame["age"]), family="binomial")
    assert far.fit(nAGQ=9).theta.iloc[0] == pytest.approx(0.4786, abs=1e-4)


def test_flash_mm_variances():
    """Exact on Penicillin; so are we."""
    fit = lme.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data("Penicillin"))
    want = [0.7169, 3.7309, 0.3024]
    close(fit.fit().VarCorr().to_frame()["vcov"], want, atol=6e-5)


def test_fastglmm_quasi_likelihood(cbpp):
    """Penalized quasi-likelihood under another name: intercept -1.415, and a second
    variance that a binomial model does not have."""
    assert cbpp.params.iloc[0] == pytest.approx(-1.39853, abs=2e-5)
    assert list(cbpp.VarCorr().to_frame()["grp"]) == ["herd"]
    assert cbpp.sigma == 1.0


def test_pymixef_trials(cbpp):
    """Needs a vector of trials for any response: here 0/1, shares and counts serve."""
    wide = data("cbpp").assign(share=lambda d: d["incidence"] / d["size"])
    share = lme.glmer(
        "share ~ period + (1 | herd)", wide, family="binomial", weights="size"
    )
    assert share.fit().llf == pytest.approx(cbpp.llf, abs=1e-9)
    assert lme.glmer(CONTRA, data("Contraception"), family="bernoulli").fit().converged


def test_pyreml_summary(cbpp):
    """No summary and no inference for users of lme4."""
    text = str(cbpp.summary())
    assert "Random effects" in text and "P>|z|" in text
