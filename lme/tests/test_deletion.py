"""Terms left out one at a time: drop1 and ranova against lme4 and lmerTest."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import DataTypeError, FitError, OptionError
from lme.tests.cases import CASES, REFERENCE, data

STORED = json.loads(gzip.decompress((REFERENCE / "comparison.json.gz").read_bytes()))
LINEAR = [name for name in STORED["drop1"] if name in CASES]


def close(a, b, rtol=1e-6, atol=1e-8):
    assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol, atol)


# --- fixed effects --------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_drop1_equals_lme4(name):
    expected = STORED["drop1"][name]
    found = CASES[name].fit().drop1()
    assert list(found.table.index) == expected["rows"]
    assert list(found.table.columns) == ["npar", "AIC", "LRT", "Pr(Chi)"]
    for column in found.table.columns:
        # lme4's likelihood ratios are differences of numbers good to 1e-9.
        close(found[column], expected[column], 1e-5, 1e-8)


@pytest.mark.parametrize("name", ["cbpp", "contraception_ch"])
def test_drop1_of_glmms_equals_lme4(name):
    expected = STORED["drop1"][name]
    formula, frame = {
        "cbpp": (
            "cbind(incidence, size - incidence) ~ period + (1 | herd)",
            data("cbpp"),
        ),
        "contraception_ch": (
            "use ~ age + I(age^2) + urban + ch + (1 | district)",
            data("Contraception"),
        ),
    }[name]
    found = lme.glmer(formula, frame, family="binomial").fit().drop1()
    assert list(found.table.index) == expected["rows"]
    close(found["npar"], expected["npar"])
    close(found["AIC"], expected["AIC"], 1e-6)
    # glmer stops where the log-likelihood is good to 1e-4.
    close(found["LRT"], expected["LRT"], 0, 2e-3)


@pytest.mark.parametrize("name", STORED["drop1_f"])
def test_drop1_f_equals_lmertest(name):
    expected = STORED["drop1_f"][name]
    found = CASES[name].fit().drop1(ddf="satterthwaite")
    assert list(found.table.index) == expected["rows"]
    for column in ["Sum Sq", "NumDF", "DenDF", "F value"]:
        close(found[column], expected[column], 1e-5)
    close(found["Pr(>F)"], expected["Pr(>F)"], 1e-4, 1e-300)


def test_drop1_header_says_how():
    res = CASES["sleep_full"].fit()
    found = res.drop1()
    lines = repr(found).splitlines()
    assert lines[0] == "Single term deletions"
    assert lines[1] == "Model: Reaction ~ Days + (Days | Subject)"
    assert lines[2].startswith("Pr(Chi): chi-square with npar degrees of freedom")
    assert "<none>" in lines[4]
    assert "by Satterthwaite's method" in res.drop1(ddf="satterthwaite").methods[0]
    assert "Kenward-Roger's method" in res.drop1(ddf="kenward-roger").methods[0]
    assert "infinite" in res.drop1(ddf="z").methods[0]
    assert "<none>" not in found._repr_html_()  # escaped


def test_drop1_is_the_comparison_with_the_smaller_model():
    res = CASES["oats_add"].fit()
    found = res.drop1()
    for term in ("variety", "nitrogen"):
        smaller = lme.anova(res.update(f". ~ . - {term}"), res)
        close(found["LRT"][term], smaller["Chisq"].iloc[1], 1e-8)
        close(found["Pr(Chi)"][term], smaller["Pr(>Chisq)"].iloc[1], 1e-7)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(25), 12)
    columns = {"x": rng.standard_normal(300), "w": rng.standard_normal(300)}
    columns |= {"f": np.tile(list("abc"), 100), "k": np.tile(list("ppqqrr"), 50)}
    slope = rng.standard_normal(25)[g]
    y = rng.standard_normal(300) + slope * columns["x"] + rng.standard_normal(25)[g]
    return pd.DataFrame(columns | {"y": y, "g": g.astype(str)})


def test_drop1_obeys_marginality(frame):
    res = lme.lmer("y ~ x * f + w + (1 | g)", frame).fit()
    assert list(res.drop1().table.index) == ["<none>", "w", "x:f"]
    assert list(res.drop1(ddf="satterthwaite").table.index) == ["w", "x:f"]


def test_drop1_without_an_intercept(frame):
    """The level of the mean passes to the next factor, as in R's update."""
    res = lme.lmer("y ~ 0 + f + k + x + (1 | g)", frame).fit()
    found = res.drop1()
    for term in ("f", "k", "x"):
        smaller = lme.anova(res.update(f". ~ . - {term}"), res)
        close(found["LRT"][term], smaller["Chisq"].iloc[1], 1e-6)
        close(found["npar"][term], smaller["Df"].iloc[1])
    tests = res.drop1(ddf="satterthwaite")
    # The hypotheses are those of the same model with an intercept.
    same = lme.lmer("y ~ f + k + x + (1 | g)", frame).fit()
    expected = same.drop1(ddf="satterthwaite")
    close(tests["F value"], expected["F value"], 1e-7)
    close(tests["DenDF"], expected["DenDF"], 1e-5)


def test_drop1_of_dependent_columns(frame):
    """A term whose columns were all dropped is not tested."""
    twin = frame.assign(twin=2.0 * frame["x"])
    with pytest.warns(lme.RankWarning):
        res = lme.lmer("y ~ x + w + twin + (1 | g)", twin).fit()
    found = res.drop1()
    assert list(found.table.index) == ["<none>", "x", "w"]
    # The twin takes over: nothing is lost.
    assert found["npar"]["x"] == 0 and np.isnan(found["Pr(Chi)"]["x"])
    assert list(res.drop1(ddf="satterthwaite").table.index) == ["w"]


def test_drop1_from_arrays(frame):
    X = np.column_stack([np.ones(300), frame["x"], frame["w"]])
    arrays = lme.LMM(frame["y"], X, groups=frame["g"]).fit()
    formula = lme.lmer("y ~ x + w + (1 | g)", frame).fit()
    close(arrays.drop1()["LRT"].iloc[-2:], formula.drop1()["LRT"].iloc[1:], 1e-6)


def test_rows_with_missing_values_stay_out(frame):
    """A reduced model has the rows of the full one."""
    holes = frame.copy()
    holes.loc[:20, "w"] = np.nan
    found = lme.lmer("y ~ x + w + (1 | g)", holes).fit().drop1()
    short = lme.lmer("y ~ x + w + (1 | g)", frame.iloc[21:]).fit().drop1()
    close(found.table, short.table, 1e-6)


# --- random effects -------------------------------------------------------------------


@pytest.mark.parametrize("name", STORED["ranova"])
def test_ranova_equals_lmertest(name):
    expected = STORED["ranova"][name]
    found = CASES[name].fit().ranova()
    rows = expected["rows"]
    # lmerTest writes terms as lme4 expands them.
    assert [r.split(" in ")[0] for r in found.table.index if "in" in r] == [
        r.split(" in ")[0] for r in rows if "in" in r
    ]
    assert len(rows) == len(found.table)
    for column in ["npar", "logLik", "AIC", "LRT", "Df"]:
        close(found[column], expected[column], 1e-6, 1e-5)
    # A p-value of 1e-80 shows the ninth digit of the likelihood.
    close(found["Pr(>Chisq)"], expected["Pr(>Chisq)"], 2e-4, 1e-300)
    assert (found["Pr(>Chibarsq)"] <= found["Pr(>Chisq)"]).iloc[1:].all()


def test_ranova_header_and_labels():
    found = CASES["sleep_full"].fit().ranova()
    assert list(found.table.index) == ["<none>", "Days in (Days | Subject)"]
    lines = repr(found).splitlines()
    assert lines[0] == "Single term deletions of random effects"
    assert "restricted likelihood ratio" in lines[2]
    assert "0.5 chi2(1) + 0.5 chi2(2)" in lines[3]
    whole = CASES["sleep_full"].fit().ranova(reduce_terms=False)
    assert list(whole.table.index) == ["<none>", "(Days | Subject)"]
    assert whole["Df"].iloc[1] == 3
    ml = CASES["sleep_full"].fit(reml=False).ranova()
    close(ml["LRT"].iloc[1], 42.139299, 1e-7)
    assert "maximum likelihood ratio" in ml.methods[0]


RANOVA = {
    "(x * w | g)": {"x:w in (x * w | g)": "(x + w | g)"},
    "(x + w | g)": {"x in (x + w | g)": "(w | g)", "w in (x + w | g)": "(x | g)"},
    "(0 + f | g)": {"f in (0 + f | g)": "(1 | g)"},
    "(f | g)": {"f in (f | g)": "(1 | g)"},
    "(0 + f + x | g)": {
        "f in (0 + f + x | g)": "(0 + x | g)",
        "x in (0 + f + x | g)": "(0 + f | g)",
    },
    "(0 + f + k | g)": {
        "f in (0 + f + k | g)": "(0 + k | g)",
        "k in (0 + f + k | g)": "(0 + f | g)",
    },
    "(x || g)": {"(1 | g)": "(0 + x | g)", "x in (0 + x | g)": "(1 | g)"},
    "zerocorr(1 + x | g)": {"x in diag(1 + x | g)": "(1 | g)"},
    "homcs(0 + f | g) + (1 | k)": {
        "homcs(0 + f | g)": "(1 | k)",
        "(1 | k)": "homcs(0 + f | g)",
    },
}


@pytest.mark.parametrize("random", RANOVA)
def test_ranova_reduces_terms(frame, random):
    """The reductions of lmerTest's ranova, by their own formulas."""
    res = lme.lmer(f"y ~ x + {random}", frame).fit()
    found = res.ranova()
    assert set(found.table.index[1:]) == set(RANOVA[random])
    for label, smaller in RANOVA[random].items():
        other = lme.lmer(f"y ~ x + {smaller}", frame).fit()
        close(found["logLik"][label], other.llf, 1e-9)
        close(found["npar"][label], other.npar)


def test_ranova_from_arrays(frame):
    X = np.column_stack([np.ones(300), frame["x"]])
    arrays = lme.LMM(frame["y"], X, groups=frame["g"], exog_re=X).fit().ranova()
    formula = lme.lmer("y ~ x + (x | g)", frame).fit().ranova()
    assert len(arrays.table) == 2 and " in (" in arrays.table.index[1]
    close(arrays.table, formula.table, 1e-6)


def test_ranova_of_a_glmm():
    frame = data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    res = lme.glmer(formula, frame, family="binomial").fit()
    found = res.ranova()
    close(found["logLik"].iloc[1], -99.0291995, 1e-8)
    half = found["Pr(>Chisq)"].iloc[1] / 2
    close(found["Pr(>Chibarsq)"].iloc[1], half, 1e-10)


def test_bad_arguments():
    res = CASES["sleep_full"].fit()
    with pytest.raises(OptionError, match=r"test='exakt'.*Did you mean 'exact'"):
        res.ranova(test="exakt")
    with pytest.raises(DataTypeError, match="seed is of type str"):
        res.ranova(test="boot", seed="a")
    with pytest.raises(OptionError, match="must not be negative"):
        res.ranova(test="boot", seed=-1)
    with pytest.raises(OptionError, match="ddf='kenward'"):
        res.drop1(ddf="kenward")
    with pytest.raises(FitError, match="differ by one variance"):
        res.drop1(test="exact")
    res.remove_data()
    for call in (res.drop1, res.ranova, res.caic):
        with pytest.raises(FitError, match="remove_data"):
            call()
