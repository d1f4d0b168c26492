"""Degrees of freedom against lmerTest, pbkrtest and nlme, and by identities."""

import gzip
import io
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

import lme
from lme.errors import FitError, OptionError
from lme.inference.hypotheses.ddf import DDF_METHODS
from lme.inference.hypotheses.directions import evaluated
from lme.inference.hypotheses.satterthwaite import (
    combined,
    hessian,
    satterthwaite,
)
from lme.tests.cases import CASES, REFERENCE, SHARED

STORED = json.loads(gzip.decompress((REFERENCE / "ddf.json.gz").read_bytes()))
MODELS = STORED["models"]
METHODS = ["Satterthwaite", "Kenward-Roger"]
COLUMNS = ["NumDF", "DenDF", "F value", "Pr(>F)"]


def fitted(name, **options):
    return lme.lmer(**CASES[name].arguments(), **options).fit()


@pytest.fixture(scope="module")
def results():
    return {name: fitted(name) for name in MODELS}


@pytest.fixture(scope="module")
def unbalanced():
    frame = pd.read_csv(io.StringIO(STORED["data"]))
    return frame.astype(dict.fromkeys("ghab", "category"))


def assert_table(found, expected):
    assert list(found.index) == expected["rows"]
    # The reference stopped its search at 1e-9: good to 1e-5, p-values of 1e-50 less.
    for column, rtol in zip(COLUMNS, [0, 1e-4, 1e-5, 1e-4], strict=True):
        assert_allclose(found[column], expected[column], rtol=rtol, atol=1e-300)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_coefficients_equal_lmertest(results, name, method):
    expected = MODELS[name].get(f"summary {method}")
    if expected is None:
        return
    p = len(expected)
    found = results[name].contrast(np.eye(p), ddf=method)
    expected = np.array(expected, float)
    assert_allclose(found["se"], expected[:, 1], rtol=1e-5)
    assert_allclose(found["df"], expected[:, 2], rtol=1e-5)
    assert_allclose(found["t"], expected[:, 3], rtol=1e-4, atol=1e-10)
    assert_allclose(found["p"], expected[:, 4], rtol=1e-3, atol=1e-300)


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_terms_equal_lmertest(results, name, method, kind):
    expected = MODELS[name].get(f"anova {kind} {method}")
    if expected is None:
        return
    found = results[name].anova(type=kind, ddf=method)
    assert_table(found, expected)
    assert found.attrs["ddf"] == method and found.attrs["type"] == kind
    assert repr(found).startswith(f"Tests of terms, type {kind}; {method}")


@pytest.mark.parametrize("name", [k for k in MODELS if "vcov" in MODELS[k]])
def test_kenward_roger_equals_pbkrtest(results, name):
    method = DDF_METHODS["kenward-roger"](results[name].fit_record)
    V = np.array(MODELS[name]["vcov"])
    size = np.sqrt(np.outer(V.diagonal(), V.diagonal()))
    assert_allclose(method.covariance / size, V / size, atol=1e-6)
    if "joint" in MODELS[name]:
        F, q, df, scaling = MODELS[name]["joint"]
        rows = np.eye(len(V))[1:]
        found = results[name].contrast(rows, ddf="kenward-roger", joint=True)
        assert_allclose(found.iloc[0][["F value", "DenDF"]], [F, df], rtol=1e-5)
        assert found["NumDF"].item() == q
        assert_allclose(method.scaling(rows), scaling, rtol=1e-8)


@pytest.mark.parametrize("name", [k for k in MODELS if "contest" in MODELS[k]])
def test_contrast_equals_lmertest(results, name):
    L, df = MODELS[name]["contest"]
    assert_allclose(results[name].contrast(L)["df"].item(), df, rtol=2e-5)


@pytest.mark.parametrize("number", range(len(STORED["unbalanced"])))
def test_unbalanced_cells(unbalanced, number):
    entry = STORED["unbalanced"][number]
    options = {"REML": entry["reml"][0]}
    if entry["weights"][0]:
        options["weights"] = "w"
    formula = entry["formula"][0]
    if "poly" in formula:
        with pytest.warns(lme.RankWarning):
            res = lme.lmer(formula, unbalanced, **options).fit()
    else:
        res = lme.lmer(formula, unbalanced, **options).fit()
    found = res.contrast(np.eye(len(res.params)))
    assert_allclose(found["df"], np.array(entry["summary"])[:, 2], rtol=1e-4)
    if "kr" in entry:
        found = res.contrast(np.eye(len(res.params)), ddf="kenward-roger")
        assert_allclose(found["df"], np.array(entry["kr"])[:, 2], rtol=1e-5)
        assert_allclose(found["se"], np.array(entry["kr"])[:, 1], rtol=1e-5)
    for method in METHODS:
        for kind in (1, 2, 3):
            expected = entry.get(f"{method}{kind}")
            if expected is None:
                continue
            if kind == 3 and "poly" in formula:
                with pytest.raises(OptionError, match="dropped"):
                    res.anova(type=3, ddf=method)
                continue
            assert_table(res.anova(type=kind, ddf=method), expected)


def numeric_hessian(fit):
    """Second differences of f(theta, sigma), written out from its pieces."""
    criterion = fit.criterion
    at = evaluated(fit)
    point = np.append(at.theta, fit.sigma)

    def f(x):
        inner = criterion.evaluate(x[:-1], gradient=False)
        # P = D + df log(r2) + constant
        rest = inner.value - criterion.df * np.log(inner.r2)
        return rest + inner.r2 / x[-1] ** 2 + 2 * criterion.df * np.log(x[-1])

    steps = 1e-3 * np.maximum(np.abs(point), 0.1)
    k = len(point)
    out = np.empty((k, k))
    for i in range(k):
        for j in range(k):
            total = 0.0
            for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                x = point.copy()
                x[i] += a * steps[i]
                x[j] += b * steps[j]
                total += a * b * f(x)
            out[i, j] = total / (4 * steps[i] * steps[j])
    return out


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", ["sleep_full", "machines_nested", "tablets_missing"])
def test_derivatives_by_differences(name, reml):
    fit = fitted(name, REML=reml).fit_record
    H = hessian(fit)
    size = np.sqrt(np.outer(H.diagonal(), H.diagonal()))
    assert_allclose(H / size, numeric_hessian(fit) / size, atol=2e-4)
    jacobian = satterthwaite(fit).jacobian
    theta = evaluated(fit).theta
    T = fit.problem.R
    for i in range(len(theta)):
        covariances = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[i] += sign * 1e-5
            RX = fit.criterion.evaluate(moved, gradient=False).RX @ T
            covariances.append(fit.sigma**2 * np.linalg.inv(RX.T @ RX))
        difference = (covariances[0] - covariances[1]) / 2e-5
        assert_allclose(jacobian[i], difference, atol=1e-6 * np.abs(difference).max())
    expected = 2 * fit.sigma * fit.vcov_unscaled
    assert_allclose(jacobian[-1], expected)


@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger", "containment"])
def test_balanced_one_way_is_exact(method):
    """The mean of k balanced groups has k - 1 degrees of freedom."""
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(7), 4)
    y = rng.normal(size=7)[g] + 0.3 * rng.normal(size=28)
    res = lme.lmer("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g})).fit()
    found = res.contrast([1.0], ddf=method)
    means = y.reshape(7, 4).mean(axis=1)
    assert_allclose(found["se"].item(), means.std(ddof=1) / np.sqrt(7), rtol=1e-6)
    # nlme gives the intercept the largest count that there is.
    expected = 21 if method == "containment" else 6
    assert_allclose(found["df"].item(), expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger"])
def test_variance_of_zero(method):
    """Without a random variance Satterthwaite is ordinary least squares."""
    frame = pd.DataFrame({"x": np.tile([0.0, 1, 2, 3], 6), "g": np.repeat(range(6), 4)})
    frame["y"] = frame.x + np.tile([0.1, -0.3, 0.3, -0.1], 6)
    res = lme.lmer("y ~ x + (1 | g)", frame).fit()
    assert res.is_singular
    found = res.contrast(np.eye(2), ddf=method)
    assert np.isfinite(found["df"]).all()
    assert (found["df"] > 0).all()
    if method == "satterthwaite":
        assert_allclose(found["df"], 22.0, rtol=1e-8)


def test_containment_equals_nlme():
    """Counts of nlme 3.1-162, and the table of the unbalanced tablets."""
    tablets = fitted("tablets_missing").contrast(np.eye(2), ddf="containment")
    assert tablets["df"].tolist() == [19.0, 9.0]
    assert_allclose(tablets["p"].iloc[1], 0.4285, atol=5e-5)
    assert_allclose(tablets["lower"].iloc[1], -0.2688549, atol=2e-6)
    oats = fitted("oats_split").contrast(np.eye(12), ddf="containment")
    assert oats["df"].tolist() == [45.0, 10.0, 10.0, *[45.0] * 9]
    data = lme.datasets.load("Orthodont")
    res = lme.lmer("distance ~ Sex * age + (1 | Subject)", data).fit()
    assert res.anova(ddf="containment")["DenDF"].tolist() == [25.0, 79.0, 79.0]
    crossed = fitted("penicillin")
    with pytest.raises(OptionError, match="not nested"):
        crossed.contrast([1.0], ddf="containment")


def test_tables_of_nlme():
    """nlme 3.1-162, sequential and marginal, with the intercept."""
    tablets = fitted("tablets_missing")
    table = tablets.anova(type=1, ddf="containment", intercept=True)
    assert list(table.index) == ["(Intercept)", "method"]
    assert table["DenDF"].tolist() == [19.0, 9.0]
    # nlme stopped its search at 1e-6, and printed three decimals.
    for value, known, rtol in zip(
        table["F value"], [15715.981, 0.687], [2e-6, 1e-3], strict=True
    ):
        assert_allclose(value, known, rtol=rtol)
    assert_allclose(table["Pr(>F)"].iloc[1], 0.4285, atol=5e-5)
    marginal = tablets.anova(type=3, ddf="containment", intercept=True)
    assert_allclose(marginal["F value"].iloc[0], 12335.807, rtol=1e-5)
    balanced = fitted("tablets").anova(ddf="containment", type=1, intercept=True)
    assert balanced["DenDF"].tolist() == [9.0, 9.0]
    assert_allclose(balanced["F value"], [9666.573, 0.287], rtol=2e-3)
    oats = lme.datasets.load("oats")
    formula = "yield ~ nitrogen * variety + (1 | block/mainplot)"
    table = (
        lme.lmer(formula, oats).fit().anova(type=1, ddf="containment", intercept=True)
    )
    assert table["DenDF"].tolist() == [45.0, 45.0, 10.0, 45.0]
    expected = [245.14265, 37.68562, 1.48534, 0.30282]
    assert_allclose(table["F value"], expected, rtol=3e-5)
    without = fitted("sleep_full").anova(type=1, intercept=True)
    assert list(without.index) == ["(Intercept)", "Days"]


def test_kenward_roger_refits_ml():
    ml, reml = fitted("sleep_full", REML=False), fitted("sleep_full")
    found = ml.contrast(np.eye(2), ddf="kenward-roger")
    expected = reml.contrast(np.eye(2), ddf="kenward-roger")
    assert_allclose(found, expected, rtol=1e-6)
    assert found.attrs["ddf"] == "Kenward-Roger, REML fit"


def test_contrasts_by_name(results):
    res = results["sleep_full"]
    found = res.contrast(["Days = 10", "(Intercept) - 2*Days"])
    assert list(found.index) == ["Days = 10", "(Intercept) - 2*Days"]
    slope = res.fixef()["Days"]
    assert_allclose(found["t"].iloc[0], (slope - 10) / res.bse["Days"])
    plain = res.contrast("Days", ddf="z")
    assert_allclose(res.contrast("Days")["p"].item(), res.pvalues["Days"])
    assert np.isinf(plain["df"].item())
    assert "z" in plain
    joint = res.contrast([[0, 1], [0, 2]], joint=True)
    assert joint["NumDF"].item() == 1
    assert_allclose(joint["DenDF"].item(), found["df"].iloc[0])
    residual = res.contrast("Days", ddf="residual")
    assert residual["df"].item() == 178


def test_every_test_has_the_default_degrees_of_freedom(results):
    """The p-values of the summary are those of every other way to ask."""
    res = results["sleep_full"]
    p = res.contrast(np.eye(2))["p"]
    assert_allclose(res.pvalues, p)
    assert_allclose(res.t_test(np.eye(2)).pvalue, p)
    assert_allclose(res.wald_test_terms().table["pvalue"], p, rtol=1e-6)
    assert res.wald_test_terms().table["df_denom"].tolist() == pytest.approx([17, 17])
    half = np.diff(res.conf_int())[:, 0] / 2
    assert_allclose(half, res.bse * stats.t.isf(0.025, 17), rtol=1e-6)
    for ddf in DDF_METHODS:
        frame = res.contrast(np.eye(2), ddf=ddf)
        assert_allclose(res.t_test(np.eye(2), ddf=ddf).pvalue, frame["p"])
        assert_allclose(res.conf_int(ddf=ddf), frame[["lower", "upper"]])
        joint = res.contrast(np.eye(2), ddf=ddf, joint=True)
        assert_allclose(res.wald_test(np.eye(2), ddf=ddf).pvalue, joint["Pr(>F)"])
    given = res.t_test([0, 1], cov_p=4 * np.eye(2))
    assert_allclose(given.sd, 2.0)
    assert given.distribution == "norm"


def test_large_models_are_tested_by_z(results, monkeypatch):
    monkeypatch.setattr("lme.inference.hypotheses.ddf.LIMIT_SECONDS", -1.0)
    res = fitted("sleep_int")
    assert (res.ddf, res.use_t) == ("z", False)
    text = str(res.summary())
    assert "tests by z (normal)" in text
    assert "degrees of freedom would take long" in text
    asked = str(res.summary(ddf="satterthwaite"))
    assert "take long" not in asked
    assert "t (Satterthwaite)" in asked


@pytest.mark.parametrize("coding", ["contr.treatment", "contr.sum", "contr.helmert"])
def test_pairwise_differences(coding):
    data = lme.datasets.load("cake")
    formula = "angle ~ recipe + temperature + (1 | recipe:replicate)"
    res = lme.lmer(formula, data, contrasts={"recipe": coding}).fit()
    found = res.t_test_pairwise("recipe", method=["hs", "bonferroni"])
    frame = found.result_frame
    assert list(frame.index) == ["B-A", "C-A", "C-B"]
    assert found.contrasts.shape == (3, len(res.params))
    by_name = lme.lmer(formula, data).fit()
    expected = by_name.contrast(["recipeB", "recipeC", "recipeC - recipeB"])
    assert_allclose(frame["coef"], expected["estimate"], rtol=1e-6)
    assert_allclose(frame["P>|t|"], expected["p"], rtol=1e-5)
    three = np.minimum(3 * expected["p"], 1)
    assert_allclose(frame["pvalue-bonferroni"], three, rtol=1e-5)
    assert not frame["reject-hs"].any()
    named = res.t_test_pairwise("recipe", factor_labels="xyz", ddf="z").result_frame
    assert list(named.index) == ["y-x", "z-x", "z-y"]
    assert "P>|z|" in named
    full = lme.lmer("angle ~ 0 + recipe + (1 | recipe:replicate)", data).fit()
    assert full.t_test_pairwise("recipe").contrasts[0].tolist() == [-1, 1, 0]
    for arguments, message in (
        (("recipes",), "Did you mean 'recipe'"),
        (("recipe", "homl"), "Did you mean 'hommel'"),
        (("recipe", "hs", 0.05, ["a"]), "1 labels are given for the 3 levels"),
    ):
        with pytest.raises(OptionError, match=message):
            res.t_test_pairwise(*arguments)


def test_summary_names_the_method(results):
    text = str(results["sleep_full"].summary(ddf="satterthwaite"))
    assert "tests by t (Satterthwaite)" in text
    assert "17.00" in text
    assert "P>|t|" in text
    assert str(results["sleep_full"].summary()) == text
    assert "tests by z (normal)" in str(results["sleep_full"].summary(ddf="z"))


def test_refusals(results):
    res = results["sleep_full"]
    with pytest.raises(OptionError, match="satterthwaite"):
        res.summary(ddf="saterthwaite")
    with pytest.raises(OptionError, match="1, 2 and 3"):
        res.anova(type=4)
    with pytest.raises(OptionError, match="zero"):
        res.contrast([[0, 0], [0, 1]], joint=True)
    cbpp = lme.datasets.load("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    glmm = lme.glmer(formula, cbpp, family="binomial").fit()
    with pytest.raises(OptionError, match="linear mixed models"):
        glmm.contrast([0, 1, 0, 0], ddf="satterthwaite")
    assert_allclose(glmm.contrast([0, 1, 0, 0])["se"], glmm.bse.iloc[1])


def test_types_of_a_model_from_arrays():
    frame = lme.datasets.load("sleepstudy")
    X = pd.DataFrame({"one": 1.0, "Days": frame["Days"]})
    res = lme.LMM(frame["Reaction"], X, groups=frame["Subject"]).fit()
    with pytest.raises(OptionError, match=r"Type 2 needs a formula.*Use type=1"):
        res.anova(type=2)
    last = res.anova(type=1).iloc[-1]
    assert_allclose(last["F value"], res.tvalues.iloc[-1] ** 2, rtol=1e-8)
    with pytest.raises(OptionError, match=r"not a factor.*The factors are none"):
        res.t_test_pairwise("Days")


def test_differences_between_levels_need_their_columns():
    frame = lme.datasets.load("cake").assign(late=lambda d: (d["recipe"] == "C") * 1.0)
    with pytest.warns(lme.RankWarning):
        res = lme.lmer("angle ~ late + recipe + (1 | replicate)", frame).fit()
    with pytest.raises(OptionError, match=r"'recipe' were dropped.*Use emmeans"):
        res.t_test_pairwise("recipe")


def test_degrees_of_freedom_of_several_rows():
    """The mean of F from those of its t tests; none is infinite, or F has 2."""
    df = np.array([5.0, 12.0, 40.0])
    F = np.mean([stats.t(v).var() for v in df])
    assert_allclose(stats.f(3, combined(df)).mean(), F)
    assert combined(np.array([1.5, 8.0])) == 2.0
    assert combined(np.array([7.0, 7.0])) == 7.0


def test_held_elements_have_no_kenward_roger():
    frame = lme.datasets.load("sleepstudy")
    model = lme.lmer("Reaction ~ Days + (Days | Subject)", frame)
    res = model.fit(fix={"theta": {"Subject.Days": 0.2}})
    with pytest.raises(FitError, match=r"Subject\.Days = 0\.2\).*'satterthwaite'"):
        res.anova(ddf="kenward-roger")
    with pytest.raises(FitError, match=r"ranova is not available.*with anova"):
        res.ranova()
    with pytest.raises(FitError, match=r"sd_Days\|Subject has no profile.*beta_"):
        res.profile("sd_Days|Subject")


def test_without_data_and_pickled():
    res = fitted("sleep_int")
    before = res.contrast("Days")
    res.remove_data()
    pd.testing.assert_frame_equal(res.contrast("Days"), before)
    again = pickle.loads(pickle.dumps(res))
    pd.testing.assert_frame_equal(again.contrast("Days"), before)
    with pytest.raises(FitError, match="needs the data"):
        res.contrast("Days", ddf="kenward-roger")


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_stored_reference_is_that_of_shared():
    names = {path.stem for path in (SHARED / "reference/inference/lmm").glob("*.json")}
    assert names == set(MODELS)


@pytest.mark.parametrize("method", DDF_METHODS)
def test_without_fixed_effects(method):
    data = lme.datasets.load("sleepstudy")
    res = lme.lmer("Reaction ~ 0 + (1 | Subject)", data).fit()
    assert res.anova(ddf=method).empty
    assert "Fixed effects: none" in str(res.summary(ddf=method))


@pytest.mark.parametrize("method", ["satterthwaite", "kenward-roger"])
def test_units_do_not_matter(method):
    data = lme.datasets.load("sleepstudy")
    formula = "Reaction ~ Days + (Days | Subject)"
    other = data.assign(Reaction=1e6 * data.Reaction, Days=1e-5 * data.Days)
    one = lme.lmer(formula, data).fit().contrast(np.eye(2), ddf=method)
    two = lme.lmer(formula, other).fit().contrast(np.eye(2), ddf=method)
    assert_allclose(one[["df", "t", "p"]], two[["df", "t", "p"]], rtol=1e-6)
