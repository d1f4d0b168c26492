"""Estimates, tests and comparisons; the scenarios of features.md E.1 for LMMs."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

import lme
from lme.errors import OptionError
from lme.fit import objective_at
from lme.inference import components, estimates, modes, text
from lme.inference.diagnostics import residuals
from lme.inference.hypotheses import wald
from lme.tests.cases import data

FACE = Path(__file__).resolve().parent / "reference" / "face"
SLEEP = "Reaction ~ Days + (Days | Subject)"
DYESTUFF = "Yield ~ 1 + (1 | Batch)"
PENICILLIN = "diameter ~ 1 + (1 | plate) + (1 | sample)"


@cache
def fit(formula, source="sleepstudy", reml=True):
    return lme.lmer(formula, data(source), REML=reml).fit()


def close(value, expected, rtol=1e-5, atol=0.0):
    np.testing.assert_allclose(
        np.asarray(value, float), np.asarray(expected, float), rtol=rtol, atol=atol
    )


# --- E.1: core numbers ----------------------------------------------------------


def test_dyestuff_reml_criterion_and_fit():
    """E.1 #1."""
    res = fit(DYESTUFF, "Dyestuff")
    close(objective_at(res.fit_record, np.array([1.0])), 319.792389042002, 1e-12)
    close(objective_at(res.fit_record, np.array([0.0])), 326.023232155879, 1e-12)
    close(res.objective, 319.654276842342, 1e-12)
    close(res.sigma, 49.5101, 1e-6)
    close(res.cov_params().iloc[0, 0], 375.7147)
    ml = fit(DYESTUFF, "Dyestuff", False)
    close(ml.cov_params().iloc[0, 0], 313.0972)


def test_dyestuff_ml_parts():
    """E.1 #2; theta of the reference is .75258069."""
    res = fit(DYESTUFF, "Dyestuff", False)
    close(res.theta, [0.75258069], 2e-6)
    close(res.objective, 327.32705988, 1e-10)
    close(objective_at(res.fit_record, np.array([0.713])), 327.34216280954615, 1e-12)
    cmp = res.getME("devcomp")["cmp"]
    close([cmp["pwrss"], cmp["ldL2"]], [73537.501, 8.06014611], 3e-6)


@pytest.mark.parametrize(
    "reml, se, z", [(False, 0.6669857, None), (True, 0.67838803150, 8.3515624346)]
)
def test_zero_variance(reml, se, z):
    """E.1 #5: exactly zero, and the rest is least squares."""
    frame = data("Dyestuff2")
    res = lme.lmer(DYESTUFF, frame, REML=reml).fit()
    assert res.theta.iloc[0] == 0.0
    assert res.is_singular and res.converged
    close(res.params, [5.6656])
    close(res.bse, [se], 1e-7)
    if z is None:
        close(res.objective, 162.87303665, 1e-10)
        ols = sm.OLS(frame["Yield"], np.ones(30)).fit()
        close(res.llf, ols.llf, 1e-12)
    else:
        close(res.tvalues, [z], 1e-9)
    assert (res.ranef()["Batch"] == 0).all(axis=None)


def test_refit_leaves_no_trace():
    """E.1 #6."""
    frame, other = data("Dyestuff"), data("Dyestuff2")
    res = lme.lmer(DYESTUFF, frame).fit()
    before = res.summary().as_text()
    swapped = res.refit(other["Yield"])
    assert swapped.theta.iloc[0] == 0.0
    close(swapped.params, [5.6656])
    assert res.summary().as_text() == before
    again = swapped.refit(frame["Yield"])
    close(again.theta, res.theta, 1e-6)
    close(again.objective, res.objective, 1e-12)


def test_penicillin():
    """E.1 #7."""
    res = fit(PENICILLIN, "Penicillin", False)
    close(res.objective, 332.18834867, 1e-9)
    close(res.theta, [1.5375939, 3.2197922], 2e-5)
    found = res.condVar()
    close(found["plate"][0, 0], 0.0733136, 2e-5)
    close(found["sample"][0, 0], 0.0405159, 2e-5)


def test_pastes():
    """E.1 #8."""
    res = fit("strength ~ 1 + (1 | batch/cask)", "Pastes", False)
    close(res.objective, 247.99446586, 1e-9)
    close(res.theta, [3.5269029, 1.3299137], 2e-5)
    assert list(res.theta.index) == ["cask:batch.(Intercept)", "batch.(Intercept)"]
    small = fit("strength ~ 1 + (1 | sample)", "Pastes", False)
    table = lme.anova(small, res).to_frame()
    close(table["Pr(>Chisq)"].iloc[1], 0.5233767966, 1e-7)


def test_insteval():
    """E.1 #9: within seconds; the model with interaction is in the printed numbers."""
    res = fit("y ~ service + (1 | s) + (1 | d) + (1 | dept)", "InstEval", False)
    close(res.objective, 237721.76877450474, 1e-12)
    assert list(res.ngroups) == [2972, 1128, 14]


def test_sleepstudy_and_its_simpler_forms():
    """E.1 #10."""
    ml = fit(SLEEP, reml=False)
    close(ml.objective, 1751.9393444636682, 1e-12)
    close(ml.theta, [0.9292297, 0.0181647, 0.2226460], 1e-4)
    close([ml.aic, ml.bic], [1763.939344, 1783.097], 1e-6)
    close(fit(SLEEP).aic, 1743.6283 + 12, 1e-7)
    split = fit("Reaction ~ Days + (Days || Subject)", reml=False)
    close(split.objective, 1752.003255140962, 1e-12)
    close(split.theta, [0.9458043, 0.2269274], 1e-5)
    close(split.bse, [6.707646513654387, 1.5193112497954953])
    sds = split.VarCorr().to_frame()["sdcor"]
    close(sds, [24.171269957611873, 5.79939919963132, 25.55613836753517])
    slope = fit("Reaction ~ Days + (0 + Days | Subject)", reml=False)
    close(slope.objective, 1774.080315280526, 1e-12)
    close(slope.theta, [0.24353985], 1e-6)


def test_conditional_variances_of_sleepstudy():
    """E.1 #11."""
    expected = [[140.96755, -20.604544], [-20.604544, 5.157795]]
    found = fit(SLEEP, reml=False).condVar()["Subject"]
    assert found.shape == (2, 2, 18)
    close(found[:, :, 0], expected, 2e-5)
    frame = fit("Reaction ~ Days + (Days || Subject)").ranef().to_frame()
    close(frame["condsd"].unique()[:1], [12.238845590], 1e-5)
    assert np.isclose(frame["condsd"], 2.33546851406, rtol=1e-5).sum() == 18


def test_structural_zeros_print_as_dots():
    """E.1 #12, C.5 #32."""
    zero = fit("Reaction ~ Days + zerocorr(Days | Subject)")
    assert list(zero.theta.index) == ["Subject.(Intercept)", "Subject.Days"]
    header, rows = zero.VarCorr().printed()
    assert header[-1] == "Corr" and rows[1][-1] == "."
    assert len(zero.VarCorr().to_frame()) == 3
    assert zero.VarCorr()["Subject"].loc["(Intercept)", "Days"] == 0.0
    split = fit("Reaction ~ Days + (Days || Subject)")
    assert list(split.VarCorr()) == ["Subject", "Subject.1"]
    assert "Corr" not in split.VarCorr().printed()[0]
    close(zero.objective, split.objective, 1e-12)


def test_two_spellings_of_no_correlation():
    """E.1 #13."""
    first = fit("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)")
    second = fit("Reaction ~ Days + (Days || Subject)")
    close(first.fittedvalues, second.fittedvalues, 1e-10)
    expected = [252.917801422647, 272.708576602026, 292.499351781404, 312.290126960783]
    close(first.fittedvalues.iloc[:4], expected, 5e-7)


BOUNDARY = json.loads((FACE / "boundary.json").read_text("utf-8"))


@pytest.mark.parametrize("name", BOUNDARY)
@pytest.mark.parametrize("start", [None, 1e-3, 10.0])
@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
def test_no_false_zero(name, start):
    """E.1 #18: the edge does not trap the search."""
    entry = BOUNDARY[name]
    frame = pd.DataFrame(entry["data"])
    theta = np.atleast_1d(entry["theta"])
    begin = None if start is None else np.full(theta.size, start)
    res = lme.lmer(entry["formula"], frame).fit(start=begin)
    close(res.objective, entry["objective"], 0, 1e-6)
    close(res.theta, theta, 1e-4, 1e-6)
    assert (np.asarray(res.theta)[theta == 0] == 0).all()
    close(res.params, np.atleast_1d(entry["beta"]), 1e-5)
    close(res.sigma, entry["sigma"], 1e-5)


WEIGHTED = pd.DataFrame(
    {
        "a": [1.55945122, 0.004391538, 0.005554163, -0.173029772, 4.586284429,
              0.259493671, -0.091735715, 5.546487603, 0.457734831, -0.030169602],
        "b": [0.24520519, 0.080624178, 0.228083467, 0.2471453, 0.398994279,
              0.037213859, 0.102144973, 0.241380251, 0.206570975, 0.15980803],
        "c": list("HFKPPPDMID"),
        "w1": [20, 40, 35, 12, 29, 25, 65, 105, 30, 75],
    }
)  # fmt: skip


def test_weights():
    """E.1 #21."""
    res = lme.lmer("a ~ 1 + b + (1 | c)", WEIGHTED, weights="w1", REML=False).fit()
    close(res.theta, [0.2951818091809752], 1e-5)
    close(res.bse, [0.964016663994572, 3.6309691484830533], 1e-6)
    close(res.cov_params().iloc[0], [0.92932813, -2.55752608], 1e-6)
    plain = lme.lmer("a ~ 1 + b + (1 | c)", WEIGHTED, REML=False).fit()
    assert plain.theta.iloc[0] == 0.0
    close(plain.bse, [1.084912299335946, 4.966336338239706], 1e-9)


def test_scaling_the_weights():
    """E.1 #22, C.9 #58: not normalised, and the likelihood is a density."""
    frame = data("sleepstudy")
    one = lme.lmer(SLEEP, frame, weights=np.ones(180)).fit()
    five = lme.lmer(SLEEP, frame, weights=np.full(180, 5.0)).fit()
    close(one.objective, fit(SLEEP).objective, 1e-12)
    close(five.llf, one.llf, 1e-11)
    close(five.sigma, one.sigma * np.sqrt(5), 1e-5)
    close(five.theta, one.theta / np.sqrt(5), 1e-4)
    close(five.bse, one.bse, 1e-5)
    close(one.getME("weights"), np.ones(180))


def test_weights_are_precisions():
    """Rows averaged over r replicates count r-fold, as in least squares."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(12), 6)
    x = rng.normal(size=72)
    w = rng.integers(1, 5, 72)
    y = 1 + x + rng.normal(size=12)[g] + rng.normal(size=72) / np.sqrt(w)
    frame = pd.DataFrame({"y": y, "x": x, "g": g.astype(str), "w": w})
    res = lme.lmer("y ~ x + (1 | g)", frame, weights="w", REML=False).fit()
    V = res.sigma**2 * (
        np.diag(1 / w) + res.theta.iloc[0] ** 2 * (g[:, None] == g[None, :])
    )
    X = np.column_stack([np.ones(72), x])
    V_inv = np.linalg.inv(V)
    cov = np.linalg.inv(X.T @ V_inv @ X)
    beta = cov @ X.T @ V_inv @ y
    close(res.params, beta, 1e-8)
    close(res.cov_params(), cov, 1e-8)
    density = stats.multivariate_normal(X @ beta, V).logpdf(y)
    close(res.llf, density, 1e-10)


def test_offsets():
    """E.1 #23."""
    frame = data("sleepstudy")
    plain = fit(SLEEP)
    constant = lme.lmer(SLEEP, frame, offset=np.full(180, 10.0)).fit()
    close(constant.params, plain.params - [10, 0], 1e-6)
    close(constant.fittedvalues, plain.fittedvalues, 1e-8)
    term = lme.lmer(SLEEP + " + offset(3 * Days)", frame).fit()
    close(term.params, plain.params - [0, 3], 1e-6)
    close(term.objective, plain.objective, 1e-11)
    close(term.predict(frame.head(5)), plain.fittedvalues.head(5), 1e-6)
    close(term.residuals("marginal"), plain.residuals("marginal"), 1e-5)


# --- VarCorr, ranef, coef, principal components ----------------------------------


def test_varcorr_frame_has_the_columns_and_order_of_lme4():
    frame = fit(SLEEP).VarCorr().to_frame()
    assert list(frame.columns) == ["grp", "var1", "var2", "vcov", "sdcor"]
    assert list(frame["grp"]) == ["Subject"] * 3 + ["Residual"]
    assert list(frame["var1"][:3]) == ["(Intercept)", "Days", "(Intercept)"]
    assert frame["var2"].isna().tolist() == [True, True, False, True]
    assert frame["var1"].isna().tolist() == [False] * 3 + [True]
    close(frame["vcov"], [612.09, 35.07166, 9.60433, 654.941], 1e-5)
    close(frame["sdcor"], [24.74045, 5.922133, 0.0655513, 25.591816], 1e-5)
    lower = fit(SLEEP).VarCorr().to_frame("lower.tri")
    assert lower["var2"].isna().tolist() == [True, False, True, True]
    with pytest.raises(OptionError, match=r"cov\.last"):
        fit(SLEEP).VarCorr().to_frame("first")


def test_varcorr_is_a_mapping():
    found = fit(SLEEP).VarCorr()
    assert list(found) == ["Subject"] and len(found) == 1
    assert found["Subject"].loc["Days", "(Intercept)"] == pytest.approx(9.60433, 1e-5)
    with pytest.raises(KeyError):
        found["subject"]


def test_varcorr_prints():
    assert repr(fit(SLEEP).VarCorr()) == (
        "Groups   Name        Variance Std.Dev.  Corr\n"
        "Subject  (Intercept)   612.09   24.740\n"
        "         Days           35.07    5.922 0.066\n"
        "Residual               654.94   25.592"
    )
    assert "<td>24.740</td>" in fit(SLEEP).VarCorr()._repr_html_()


def test_ranef_merges_the_terms_of_a_factor():
    """C.1 #8."""
    res = fit("Reaction ~ Days + (Days || Subject)")
    modes_ = res.ranef()
    assert list(modes_) == ["Subject"]
    assert list(modes_["Subject"].columns) == ["(Intercept)", "Days"]
    assert dict(res.ngroups) == {"Subject": 18}
    long = modes_.to_frame()
    assert list(long.columns) == ["grpvar", "term", "grp", "condval", "condsd"]
    assert len(long) == 36
    assert long.iloc[0]["grp"] == "308"
    assert list(res.condVar()) == ["Subject", "Subject.1"]


def test_spherical_modes():
    res = fit(SLEEP)
    u, b = res.ranef(spherical=True), res.ranef()
    close(u["Subject"] @ res.getME("Tlist")["Subject"].T, b["Subject"], 1e-10)
    assert u.to_frame()["condsd"].isna().all()
    assert "$Subject" in repr(b)
    assert "<b>Subject</b>" in b._repr_html_()


def test_coef_puts_unmatched_columns_first():
    """C.5 #33."""
    res = fit("Reaction ~ 1 + (Days | Subject)")
    table = res.coef()["Subject"]
    assert list(table.columns) == ["Days", "(Intercept)"]
    close(table["Days"], res.ranef()["Subject"]["Days"])
    crossed = fit(PENICILLIN, "Penicillin").coef()
    assert {k: len(v) for k, v in crossed.items()} == {"plate": 24, "sample": 6}
    constant = fit("Reaction ~ Days + (1 | Subject)").coef()["Subject"]["Days"]
    assert constant.nunique() == 1


def test_principal_components():
    """C.5 #35."""
    full = fit(SLEEP).rePCA()["Subject"]
    close(full.sdev, [0.96685915, 0.23087946], 1e-5)
    close(full.proportion, [0.94605, 0.05395], 1e-4)
    close(full.to_frame().loc["Cumulative proportion"], [0.94605, 1.0], 1e-4)
    factor = fit(SLEEP).getME("Tlist")["Subject"]
    close(full.rotation * full.sdev**2 @ full.rotation.T, factor @ factor.T, 1e-10)
    split = fit("Reaction ~ Days + (Days || Subject)").rePCA()["Subject"]
    close(split.sdev, [0.97990, 0.23423], 1e-4)


def test_theta_names():
    """C.1 #1: down the columns of the lower triangle."""
    res = fit("Reaction ~ Days + (Days | Subject)")
    assert list(res.theta.index) == [
        "Subject.(Intercept)",
        "Subject.Days.(Intercept)",
        "Subject.Days",
    ]
    three = fit("Reaction ~ Days + I(Days^2) + (Days + I(Days^2) | Subject)")
    assert components.theta_names(three.fit_record) == [
        "Subject.(Intercept)",
        "Subject.Days.(Intercept)",
        "Subject.I(Days^2).(Intercept)",
        "Subject.Days",
        "Subject.I(Days^2).Days",
        "Subject.I(Days^2)",
    ]


# --- counting and residuals ---------------------------------------------------------


def test_counting():
    """C.4 #27, #28, #30."""
    res = fit(SLEEP)
    assert (res.npar, res.df_resid, res.nobs) == (6, 174, 180)
    assert fit("Reaction ~ Days + (1 | Subject)").df_resid == 176
    close(res.aic, res.objective + 12, 1e-14)
    close(res.bic, res.objective + 6 * np.log(180), 1e-14)
    close(res.aicc, res.aic + 2 * 6 * 7 / 173, 1e-14)
    close(res.llf, -res.objective / 2, 1e-14)
    close(res.deviance, 2 * 875.992926626617, 1e-9)
    close(estimates.log_likelihood(res.fit_record, reml=False), -res.deviance / 2)
    ml = fit(SLEEP, reml=False)
    assert ml.deviance == ml.objective
    small = lme.lmer("y ~ x + (1 | g)", data_with_rows(6)).fit()
    assert small.aicc > small.aic


def data_with_rows(n):
    rng = np.random.default_rng(0)
    g = np.arange(n) // 2
    return pd.DataFrame(
        {"y": rng.normal(size=n) + g, "x": rng.normal(size=n), "g": g.astype(str)}
    )


def test_residual_kinds():
    """S4 4.9 and C.8 #50: conditional, marginal and random add up."""
    res = fit(SLEEP)
    conditional, marginal = res.residuals(), res.residuals("marginal")
    close(marginal - conditional, res.residuals("random"), 1e-9, 1e-9)
    close(marginal[:3], [-1.84510, -3.16769, -21.53908], 1e-5)
    close(conditional[:3], [-4.10366, -14.62522, -42.19558], 1e-5)
    assert res.resid.min() == pytest.approx(-101.17996, 2e-5)
    assert res.resid.max() == pytest.approx(132.54664, 2e-5)
    close(res.residuals(scaled=True), conditional / res.sigma)
    quantiles = residuals.scaled_quantiles(res.fit_record)
    close(quantiles, [-3.9536, -0.4634, 0.0231, 0.4634, 5.1793], 0, 5e-5)
    with pytest.raises(OptionError, match="'marginal'"):
        res.residuals("marginl")
    with pytest.raises(OptionError, match="pearson"):
        res.residuals(type="partial")


def test_weighted_residuals():
    res = lme.lmer("a ~ 1 + b + (1 | c)", WEIGHTED, weights="w1").fit()
    root = np.sqrt(WEIGHTED["w1"])
    close(res.residuals(type="pearson"), res.resid * root)
    close(res.residuals(type="deviance"), res.resid * root)
    close(res.residuals(type="working"), res.resid)


# --- hypotheses --------------------------------------------------------------------


def test_hypotheses_as_text():
    """statsmodels.md pitfall 3: R's names work whatever the formula engine."""
    res = fit(SLEEP)
    test = res.t_test("Days = 0")
    close([test.statistic.item(), test.pvalue.item()], [6.771480, 3.2638e-06], 1e-4)
    normal = res.t_test("Days = 0", use_t=False)
    close(normal.pvalue.item(), 1.2747e-11, 1e-4)
    close(res.t_test("Days = 10").effect, res.params["Days"])
    both = res.wald_test("(Intercept) = 250, Days = 10")
    difference = res.params.to_numpy() - [250, 10]
    expected = difference @ np.linalg.inv(res.cov_params()) @ difference
    close(both.statistic, expected / 2, 1e-9)
    chi2 = res.wald_test("(Intercept) = 250, Days = 10", use_f=False)
    close(chi2.statistic, expected, 1e-9)
    f = res.f_test("(Intercept) = 250, Days = 10")
    close([f.fvalue, f.df_denom], [expected / 2, 17], 1e-6)
    for same in (
        ["(Intercept) = 250", "Days = 10"],
        {"(Intercept)": 250, "Days": 10},
        (np.eye(2), [250, 10]),
    ):
        close(res.wald_test(same).statistic, expected / 2, 1e-9)
    close(res.t_test([0, 1]).statistic, test.statistic)
    close(res.t_test("Intercept = 0").statistic.item(), res.tvalues.iloc[0])


def test_the_formula_engine_does_not_matter(monkeypatch):
    pytest.importorskip("formulaic")
    import statsmodels.formula

    res = fit(SLEEP)
    expected = res.t_test("(Intercept) = 250").pvalue, res.wald_test_terms().table
    monkeypatch.setattr(statsmodels.formula.options, "formula_engine", "formulaic")
    close(res.t_test("(Intercept) = 250").pvalue, expected[0])
    close(res.f_test("Days = 10").df_denom, 17, 1e-6)
    pd.testing.assert_frame_equal(res.wald_test_terms().table, expected[1])


@pytest.mark.parametrize(
    "formula, hypothesis, row",
    [
        ("Reaction ~ Days + I(Days^2) + (1 | Subject)", "I(Days^2) = 0", [0, 0, 1]),
        ("Reaction ~ poly(Days, 2) + (1 | Subject)",
         "poly(Days, 2)1 = poly(Days, 2)2", [0, 1, -1]),
        ("Reaction ~ log(Days + 1) + (1 | Subject)", "2 * log(Days + 1) = 3", [0, 2]),
    ],
)  # fmt: skip
def test_names_of_r(formula, hypothesis, row):
    matrix, _ = wald.linear_constraint(list(fit(formula).params.index), hypothesis)
    close(matrix, [row])


def test_a_predictor_called_intercept():
    frame = data("sleepstudy").assign(Intercept=np.sin(np.arange(180.0)))
    res = lme.lmer("Reaction ~ Intercept + (1 | Subject)", frame).fit()
    both = res.t_test(["(Intercept) = 290", "Intercept = 0"])
    close(both.tvalue, (res.params - [290.0, 0.0]) / res.bse)


def test_conditional_covariances_with_a_term_without_columns():
    frame = data("sleepstudy").assign(half=np.tile(["a", "b"], 90))
    with pytest.warns(lme.LMEWarning, match="has no columns"):
        res = lme.lmer(f"{SLEEP} + (0 | half)", frame).fit()
    close(res.condVar()["Subject"], fit(SLEEP).condVar()["Subject"])
    assert res.ranef()["half"].shape == (2, 0)


@pytest.mark.parametrize(
    "hypothesis, message",
    [
        ("Dys = 0", "Did you mean 'Days'"),
        ({"Dayz": 0}, "'Dayz' is not the name"),
        ("Days ==", "cannot be read"),
        (np.eye(3), "needs 2 columns"),
        (object(), "neither text nor an array"),
        ((np.eye(2), [1, 2, 3]), "3 values"),
        ({}, "states no hypothesis"),
    ],
)
def test_hypotheses_that_make_no_sense(hypothesis, message):
    with pytest.raises(OptionError, match=message):
        fit(SLEEP).t_test(hypothesis)


def test_terms():
    res = fit("yield ~ variety * nitrogen + (1 | block/mainplot)", "oats")
    table = res.wald_test_terms().table
    assert list(table.index) == [
        "(Intercept)",
        "variety",
        "nitrogen",
        "variety:nitrogen",
    ]
    assert list(table["df_constraint"]) == [1, 2, 3, 6]
    names = [name for name in res.params.index if ":" in name]
    joint = res.wald_test(", ".join(f"{name} = 0" for name in names))
    close(table.loc["variety:nitrogen", "statistic"], joint.statistic, 1e-10)
    some = res.wald_test_terms(skip_single=True, combine_terms=["nitrogen"]).table
    assert list(some.index) == ["variety", "nitrogen", "variety:nitrogen", "nitrogen"]
    assert some["df_constraint"].iloc[-1] == 9
    extra = res.wald_test_terms(extra_constraints=[("first", np.eye(12)[0])])
    assert extra.table.index[-1] == "first"
    with pytest.raises(OptionError, match="no term's label contains 'nitro x'"):
        res.wald_test_terms(combine_terms=["nitro x"])


def test_terms_without_dropped_columns():
    frame = data("sleepstudy").assign(Twice=lambda d: 2 * d["Days"])
    model = lme.lmer("Reaction ~ Days + Twice + (1 | Subject)", frame)
    with pytest.warns(lme.RankWarning):
        table = model.fit().wald_test_terms().table
    assert list(table.index) == ["(Intercept)", "Days"]


def test_intervals():
    """E.6 #76."""
    res = fit("Reaction ~ Days + (1 | Subject)")
    expected = [[232.301892, 270.508318], [8.891041, 12.043531]]
    close(res.conf_int(ddf="z"), expected, 1e-6)
    assert list(res.conf_int().index) == ["(Intercept)", "Days"]
    table = wald.coefficient_table(res.fit_record)
    close(table[["lower", "upper"]], res.conf_int(ddf="z"), 1e-12)
    exact = res.contrast(np.eye(2), alpha=0.1)
    close(exact["p"], res.pvalues, 1e-10)
    close(exact[["lower", "upper"]], res.conf_int(0.1), 1e-12)
    ninety = wald.coefficient_table(res.fit_record, 0.1)
    close(ninety["lower"], res.conf_int(0.1, ddf="z")[0])


# --- text --------------------------------------------------------------------------


def test_numbers_as_text():
    assert text.numbers([1.0, 0.0, np.nan]) == ["1.000", "0.000", ""]
    assert text.numbers([0.0]) == ["0.000"]
    assert text.numbers([1e-12, 3.0]) == ["1e-12", "3"]
    assert text.number(9.9996) == "9.9996"
    assert text.p_value(0.05) == "0.0500"
    # As R's abbreviate(names, 6): longer where short forms coincide.
    alike = [f"treatment_alpha_{word}" for word in ("one", "two", "ten")]
    longer = ["trtmnt_lph_n", "trtmnt_lph_tw", "trtmnt_lph_tn", "Days"]
    assert text.abbreviate([*alike, "Days"]) == longer
    short = text.abbreviate(["recipeB:temp", "recipeC:temp", "recipeB", "a b c d e f"])
    assert len(set(short)) == 4
    assert text.table([["a", "1"]], ["", "x"], left=(0,)) == "  x\na 1"


def test_stacked_order():
    res = fit(SLEEP)
    close(modes.stacked(res.fit_record.b)[:2], res.ranef()["Subject"].iloc[0])
    assert modes.stacked(()).size == 0
