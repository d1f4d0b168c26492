"""E.6, methods of results: scenarios 72 to 82."""

import warnings

import numpy as np
import pandas as pd
import pytest

import lme
from lme.covariance import STRUCTURES
from lme.tests.acceptance.reference import frame, references
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"
INTERCEPTS = "Reaction ~ Days + (1 | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def fit(formula, name, reml=True, **options):
    return lme.lmer(formula, data(name), **options).fit(reml=reml)


def cbpp(nAGQ=1):
    return lme.glmer(CBPP, data("cbpp"), family="binomial").fit(nAGQ=nAGQ)


def test_72_ranges_of_residuals():
    resid = fit(SLEEP, "sleepstudy").residuals()
    np.testing.assert_allclose(
        [resid.min(), resid.max()], [-101.17996, 132.54664], rtol=2e-5
    )
    res = cbpp()
    ranges = {
        "deviance": (-3.1975034, 2.35668826),
        "pearson": (-2.381636, 2.879088),
        "working": (-1.241734, 5.410645),
        "response": (-0.1946747, 0.3184589),
    }
    for kind, want in ranges.items():
        values = res.residuals(type=kind)
        # lme4's are at its looser optimum.
        found = [values.min(), values.max()]
        np.testing.assert_allclose(found, want, rtol=1e-3)


def test_73_influence():
    res = fit(INTERCEPTS, "sleepstudy")
    rows = res.get_influence()
    hat = [0.107483311, 0.102096106, 0.098055702]
    np.testing.assert_allclose(rows.hat_matrix_diag[:3], hat, rtol=1e-7)
    cook = [0.127645977, 0.127346548, 0.243724627]
    np.testing.assert_allclose(rows.cooks_distance[:3], cook, rtol=1e-7)
    groups = res.get_influence("Subject")
    want = [0.3392146, 0.2903091]
    np.testing.assert_allclose(groups.cooks_distance[:2], want, rtol=1e-6)
    exact = res.get_influence(method="exact").params_deleted.iloc[0]
    np.testing.assert_allclose(exact, [252.3235, 10.32227], rtol=1e-6)


def test_73_leverages_by_brute_force():
    sleep = data("sleepstudy")
    res = lme.lmer(SLEEP, sleep).fit()
    # With theta fixed the fitted values are linear in the response.
    fixed = lme.lmer(SLEEP, sleep).fit(fix={"theta": dict(res.theta)})
    hat = res.get_influence().hat_matrix_diag.to_numpy()
    for row in (0, 77, 179):
        y = sleep["Reaction"].to_numpy().copy()
        y[row] += 64.0
        moved = fixed.refit(y).fittedvalues - fixed.fittedvalues
        assert moved.iloc[row] / 64.0 == pytest.approx(hat[row], abs=1e-12)


def test_73_influence_of_fast_fits_and_zero_variances():
    fast = cbpp(nAGQ=0).get_influence()
    assert np.isfinite(fast.cooks_distance).all()
    assert 4.0 < fast.hat_matrix_diag.sum() < 19.0
    zero = fit("Yield ~ 1 + (1 | Batch)", "Dyestuff2")
    assert zero.is_singular
    np.testing.assert_allclose(zero.get_influence().hat_matrix_diag, 1 / 30)
    assert np.isfinite(zero.get_influence("Batch").cooks_distance).all()


def test_74_counts():
    res = fit(INTERCEPTS, "sleepstudy")
    assert (res.df_resid, res.npar) == (176, 4)
    dims = res.getME("devcomp")["dims"]
    assert dims["n"] - dims["p"] - dims["nth"] - dims["useSc"] == 176


@pytest.mark.parametrize("term, npar", [("cs", 18), ("homcs", 4)])
def test_74_counts_of_structured_terms(term, npar):
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        {"f": np.tile(np.arange(15), 40), "g": np.repeat(np.arange(40), 15)}
    ).astype({"f": "category"})
    rows["y"] = rng.normal(size=600) + rng.normal(size=40)[rows["g"]]
    model = lme.lmer(f"y ~ 1 + {term}(0 + f | g)", rows, checks="ignore")
    with pytest.warns(lme.ConvergenceWarning, match="cut short"):
        res = model.fit(control={"max_evaluations": 1})
    # Standard deviations, one correlation, an intercept and sigma.
    assert res.npar == npar and res.df_resid == 600 - npar


def test_75_coefficients_of_a_group_with_a_filled_column():
    res = lme.lmer(
        "resp ~ 0 + var1 + var1:var2 + (1 | var3)", frame(references()["filled"])
    ).fit()
    table = res.coef()["var3"]
    assert list(table.columns) == ["(Intercept)", *res.params.index]
    modes = res.ranef()["var3"]["(Intercept)"]
    np.testing.assert_allclose(table["(Intercept)"], modes)
    want = {"var11": 0.2703951, "var14": 0.6528842, "var13:var2": 0.08702069}
    for name, value in want.items():
        np.testing.assert_allclose(table[name], value, rtol=6e-6)


def test_76_wald_intervals():
    res = fit(INTERCEPTS, "sleepstudy")
    table = res.confint(method="wald")
    names = ["sd_(Intercept)|Subject", "sigma", "(Intercept)", "Days"]
    assert list(table.index) == names == list(res.confint().index)
    assert list(table.columns) == ["2.5 %", "97.5 %"]
    want = [[232.301892, 270.508318], [8.891041, 12.043531]]
    beta = res.confint(method="wald", parm="beta_")
    np.testing.assert_allclose(beta, want, rtol=1e-8)
    assert res.confint(method="wald", parm="theta_").isna().all(axis=None)
    with pytest.raises(lme.OptionError, match="no parameter 'Dayz'"):
        res.confint(parm="Dayz")


def test_77_profiles_that_lme4_calls_non_monotone():
    res = lme.lmer("Y ~ X + Z + X:Z + (X || group)", frame(references()["wonky"])).fit()
    assert res.theta.iloc[0] == 0.0
    with warnings.catch_warnings():
        # lme4 warns: its steps are too short at a variance of zero. Ours are not.
        warnings.simplefilter("error")
        table = res.confint(parm="theta_")
    limits = table.loc["sd_X|group"]
    np.testing.assert_allclose(limits, [0.0, 0.5427609], rtol=1e-3)
    assert table.iloc[0, 0] == 0.0 and np.isfinite(table).all(axis=None)


def test_77_a_lower_limit_of_zero():
    rows = frame(references()["hessianfly"])
    res = lme.glmer("cbind(y, n - y) ~ gen + (1 | block)", rows, family="binomial")
    limits = res.fit().confint(parm="theta_").iloc[0]
    # lme4's upper limit is .37779, from its looser optima.
    assert limits.iloc[0] == 0.0 and limits.iloc[1] == pytest.approx(0.3778, abs=1e-3)


def test_77_correlations_that_the_data_do_not_bound():
    # lme4's limits of the girls of Orthodont, after fifty warnings.
    girls = data("Orthodont").query("Sex == 'Female'")
    model = lme.lmer("distance ~ I(age - 11) + (I(age - 11) | Subject)", girls)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = model.fit().confint(parm="theta_")
    want = [[1.3491125, 3.2428690], [0, 0.3065501], [-1, 1], [0.5106467, 0.9230066]]
    np.testing.assert_allclose(table, want, rtol=1e-4)
    assert table.iloc[1, 0] == 0.0 and tuple(table.iloc[2]) == (-1.0, 1.0)


@pytest.mark.parametrize("name", STRUCTURES)
def test_78_names_of_a_profile_belong_to_its_values(name):
    # More of this, with every curve: test_intervals.py.
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"t": np.tile(np.arange(3), 60), "g": np.repeat(range(30), 6)})
    modes = rng.multivariate_normal(np.zeros(3), [[4, 1, 0], [1, 1, 0], [0, 0, 9]], 30)
    rows["y"] = modes[rows["g"], rows["t"]] + rng.normal(size=180)
    rows["t"] = rows["t"].astype("category")
    res = lme.lmer(f"y ~ 1 + {name}(0 + t | g)", rows).fit(reml=False)
    names = list(res.confint(method="wald").index)
    values = dict(zip(names, res.profile("sigma", reach=0.5).estimates, strict=True))
    part = res.VarCorr().components[0]
    assert values["sigma"] == pytest.approx(res.sigma)
    assert values["(Intercept)"] == pytest.approx(res.params.iloc[0])
    sd = {f"sd_t{i}|g": part.sd[i] for i in range(3)} | {"sd|g": part.sd[0]}
    for key in sd.keys() & values.keys():
        assert values[key] == pytest.approx(sd[key], rel=1e-6)
    cor = {"cor_t1.t0|g": part.corr[1, 0], "cor_t2.t0|g": part.corr[2, 0]}
    cor |= {"cor|g": part.corr[1, 0], "cor_t2.t1|g": part.corr[2, 1]}
    for key in cor.keys() & values.keys():
        assert values[key] == pytest.approx(cor[key], abs=1e-6)


LINEAR = """\
Fixed effects, tests by t (Satterthwaite):
                 coef  std err     df       t   P>|t|    [0.025    0.975]
(Intercept)  251.4051   6.6323  18.00  37.906  <1e-17  237.4712  265.3390
Days          10.4673   1.5022  18.00   6.968  <1e-05    7.3112   13.6234
"""
CORRELATION = """\
Correlation of fixed effects:
      (Intr)
Days  -0.138
"""
# lme4 prints -0.022 and -0.648, from a Hessian of differences at its looser optimum;
# glmmTMB's covariances are -0.0227 and -0.6488.
GENERALIZED = """\
Correlation of fixed effects:
        (Intr)    age
age     -0.023
urbanY  -0.649  0.006
"""


def test_79_printed_summaries():
    text = str(fit(SLEEP, "sleepstudy", reml=False).summary())
    assert LINEAR in text and CORRELATION in text
    formula = "use ~ age + urban + us(1 + urban | district)"
    model = lme.glmer(formula, data("Contraception"), family="binomial")
    printed = str(model.fit().summary())
    want = {"(Intercept)": (-0.720, 0.103), "urbanY": (0.742, 0.169)}
    fixed = printed.split("Fixed effects")[1].split("Correlation")[0]
    rows = {line.split()[0]: line.split()[1:] for line in fixed.splitlines() if line}
    for name, numbers in want.items():
        assert [round(float(x), 3) for x in rows[name][:2]] == list(numbers)
    assert "tests by z" in printed and GENERALIZED in printed


def test_80_shortest_intervals_and_records(tmp_path):
    values = np.random.default_rng(0).permutation(np.arange(1, 101))
    assert lme.shortest_interval(values, 0.95) == (1.0, 95.0)
    res = fit("Yield ~ 1 + (1 | Batch)", "Dyestuff", reml=False)
    one = res.bootstrap(20, seed=1, progress=False)
    two = res.bootstrap(7, seed=2, progress=False)
    both = one + two
    assert (len(one), len(both)) == (20, 27)
    both.save(tmp_path / "half.npz", dtype="float32")
    again = lme.Bootstrap.load(tmp_path / "half.npz")
    assert len(again) == 27
    np.testing.assert_allclose(again.values, both.values, rtol=1e-6)
    long = both.frame
    assert len(long) == 27 * 3


def test_81_bootstraps_of_designs_with_dropped_columns():
    rng = np.random.default_rng(8)
    rows = pd.DataFrame({"g": np.repeat(np.arange(20), 6)})
    rows["a"], rows["b"] = np.tile(list("uvuvuv"), 20), np.tile(list("ppqqrr"), 20)
    rows["x"] = rng.normal(size=120)
    rows["twice"] = 2 * rows["x"]
    rows["y"] = rows["x"] + 0.2 * rng.normal(size=120)
    rows["y"] += 0.3 * rng.normal(size=20)[rows["g"]]
    empty = rows[~((rows["a"] == "v") & (rows["b"] == "r"))]
    for formula, used in [("x + twice", rows), ("a * b + x", empty)]:
        with pytest.warns(lme.RankWarning):
            res = lme.lmer(f"y ~ {formula} + (1 | g)", used).fit()
        boot = res.bootstrap(200, seed=3, progress=False)
        table = boot.confint()
        middle = table.loc[res.params.index].mean(axis=1)
        np.testing.assert_allclose(middle, res.params, atol=0.1)
        # MixedModels.jl keeps -0.0 for what was dropped; here it is missing.
        dropped = res.fixef(add_dropped=True).index.difference(res.params.index)
        assert dropped.size == 1
        assert dropped[0] not in table.index or table.loc[dropped[0]].isna().all()


def test_82_no_share_of_variance_without_a_definition():
    # MixedModels.jl refuses r2 and adjr2. Here r2() names what it is a share of, two
    # numbers by Nakagawa and Schielzeth; least squares' own have no meaning.
    res = fit(SLEEP, "sleepstudy")
    found = res.r2()
    assert found.marginal == pytest.approx(0.2787, abs=1e-4)
    assert found.conditional == pytest.approx(0.7992, abs=1e-4)
    for name in ("rsquared", "rsquared_adj", "adjr2"):
        with pytest.raises(AttributeError):
            getattr(res, name)
