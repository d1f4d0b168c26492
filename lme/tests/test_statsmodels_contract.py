"""What statsmodels expects of models and results, and where it bites.

The pitfalls are those found by running statsmodels 0.15; one test each.
"""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from statsmodels.base.model import (
    LikelihoodModel,
    LikelihoodModelResults,
    LikelihoodResultsWrapper,
)
from statsmodels.iolib.summary import Summary
from statsmodels.iolib.summary2 import Summary as Summary2
from statsmodels.iolib.summary2 import summary_col
from statsmodels.regression.linear_model import OLS

import lme
from lme.errors import FitError, LMEError, OptionError, UnavailableError
from lme.report.side_by_side import compare_table
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def sleep():
    return data("sleepstudy")


@pytest.fixture(scope="module")
def res(sleep):
    return lme.lmer(SLEEP, sleep).fit()


@pytest.fixture(scope="module")
def glmm():
    return lme.glmer(CBPP, lme.datasets.load("cbpp"), family="binomial").fit()


@pytest.fixture(params=["res", "glmm"])
def both(request):
    return request.getfixturevalue(request.param)


def test_classes(both):
    assert isinstance(both.model, LikelihoodModel)
    assert isinstance(both, LikelihoodResultsWrapper)
    assert isinstance(both._results, LikelihoodModelResults)


# --- the pitfalls -------------------------------------------------------------------


def test_1_from_formula_and_pickles_without_patsy(both, sleep, monkeypatch):
    """statsmodels' data record would parse the formula again when it is unpickled."""
    import patsy

    kept = pickle.dumps(both)

    def refuse(*args, **kwargs):
        raise AssertionError("patsy read an lme formula")

    monkeypatch.setattr(patsy, "dmatrices", refuse)
    monkeypatch.setattr(patsy, "dmatrix", refuse)
    again = pickle.loads(kept)
    assert again.summary().as_text() == both.summary().as_text()
    assert again.model.formula == both.model.formula
    made = lme.LMM.from_formula(SLEEP, sleep)
    assert made.formula == SLEEP and made.data.frame is sleep
    general = lme.GLMM.from_formula(CBPP, lme.datasets.load("cbpp"), family="binomial")
    assert general.exog_names[0] == "(Intercept)"


def test_2_terms_are_tested_without_patsys_design(both):
    table = both.wald_test_terms().table
    assert table.index[0] == "(Intercept)" and len(table) == 2
    assert (table["pvalue"] < 0.01).all()


def test_3_hypotheses_with_rs_names(res):
    # F(1, 17) of one coefficient is t squared.
    assert_allclose(
        float(np.squeeze(res.f_test("(Intercept) = 0").statistic)),
        res.tvalues["(Intercept)"] ** 2,
        rtol=1e-9,
    )
    test = res.t_test("(Intercept) - 25 * Days = 0")
    assert_allclose(test.effect, res.params.iloc[0] - 25 * res.params.iloc[1])


def test_4_counts_of_parameters(both):
    """Without the variance parameters AIC and BIC would be wrong."""
    assert both.df_modelwc == both.npar == both.nobs - both.df_resid
    assert_allclose(both.aic, -2 * both.llf + 2 * both.npar)
    assert_allclose(both.bic, -2 * both.llf + np.log(both.nobs) * both.npar)
    with pytest.raises(OptionError, match="llf"):
        both.model.loglike(both.params)


def test_5_predict_reads_new_data_by_the_formula(res, sleep):
    found = res.predict(sleep.tail(3))
    assert isinstance(found, pd.Series) and found.index.equals(sleep.tail(3).index)
    assert_allclose(found, res.fittedvalues.tail(3), rtol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        lambda res, d: res.predict(np.ones((3, 2))),
        lambda res, d: res.predict(exog=d),
        lambda res, d: res.predict(d, transform=False),
        lambda res, d: res.predict(5),
        lambda res, d: res.predict(d[["Reaction"]]),
        lambda res, d: res.model.predict(np.ones(3)),
        lambda res, d: res.model.predict("a"),
    ],
)
def test_5_predict_used_as_in_statsmodels(res, sleep, call):
    with pytest.raises((LMEError, TypeError)) as raised:
        call(res, sleep)
    assert isinstance(raised.value, LMEError), raised.value


def test_5_model_predict_is_the_fixed_part(both):
    expected = both.model.exog @ both.params.to_numpy()
    assert_allclose(both.model.predict(both.params), expected)
    assert_allclose(both.model.predict(both.params, both.model.exog[:2]), expected[:2])


def test_6_rows_with_missing_values(sleep):
    """Weights go with the rows that are left."""
    holes = sleep.assign(w=np.arange(180.0) + 1)
    holes.loc[3, "Reaction"] = np.nan
    holes.loc[5, "w"] = np.nan
    fit = lme.lmer("Reaction ~ Days + (1 | Subject)", holes, weights="w").fit()
    assert fit.nobs == 178 and fit.model.design.weights[3] == 5.0
    assert list(fit.resid.index[:5]) == [0, 1, 2, 4, 6]


def test_7_rows_are_not_resampled(both):
    """The bootstrap of the base class draws rows; none of ours may do that."""
    found = type(both._results).bootstrap.__qualname__
    assert not found.startswith("ResultMixin")


@pytest.mark.parametrize("name", ["res", "glmm"])
def test_8_remove_data_leaves_no_row(name, request):
    full = request.getfixturevalue(name)
    light = pickle.loads(pickle.dumps(full))
    text = light.summary().as_text()
    light.remove_data()
    n = full.nobs
    assert light.summary().as_text() == text and light.nobs == n
    sizes = [np.size(value) for value in _arrays(light._results, set())]
    assert n not in sizes and max(sizes) < n
    new = full.model.data.frame.head(3)
    assert_allclose(light.predict(new), full.predict(new), rtol=1e-12)
    again = pickle.loads(pickle.dumps(light))
    assert_allclose(again.predict(new), full.predict(new), rtol=1e-12)


def _arrays(thing, seen):
    """Every array and frame that an object holds, at any depth."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, (np.ndarray, pd.Series, pd.DataFrame)):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from _arrays(value, seen)
    elif isinstance(thing, (list, tuple)):
        for value in thing:
            yield from _arrays(value, seen)
    elif type(thing).__module__.startswith("lme"):
        for key in getattr(thing, "__dict__", {}):
            yield from _arrays(thing.__dict__[key], seen)


def test_9_constants(sleep):
    def fit(formula):
        return lme.lmer(formula, sleep).fit()

    assert fit("Reaction ~ 0 + (1 | Subject)").k_constant == 0
    assert len(fit("Reaction ~ 0 + (1 | Subject)").params) == 0
    assert fit("Reaction ~ 0 + factor(Days) + (1 | Subject)").k_constant == 1
    with pytest.raises(LMEError, match="infinite"):
        lme.lmer("Reaction ~ log(Days) + (1 | Subject)", sleep)


def test_10_covariance_is_scaled_once(res):
    assert_allclose(np.sqrt(np.diag(res.cov_params())), res.bse)
    assert_allclose(res.normalized_cov_params * res.scale, res.cov_params())
    assert_allclose(res.cov_params(column="Days"), res.bse["Days"] ** 2)
    swapped = res.cov_params(column=["Days", 0])
    assert list(swapped.index) == list(swapped.columns) == ["Days", "(Intercept)"]
    assert_allclose(np.diag(swapped), res.bse[::-1] ** 2)
    # Two combinations of two coefficients are not the coefficients.
    assert isinstance(res.cov_params(np.eye(2)), np.ndarray)
    assert list(res.cov_params().index) == ["(Intercept)", "Days"]
    assert_allclose(res.cov_params("Days"), [[res.bse["Days"] ** 2]])
    with pytest.raises(OptionError, match="Did you mean 'Days'"):
        res.cov_params(column="days")
    with pytest.raises(OptionError, match="not a coefficient"):
        res.cov_params(column=7)


def test_11_strings_and_their_missing_values(sleep):
    texts = sleep.assign(Subject=sleep["Subject"].astype(str))
    texts["Subject"] = texts["Subject"].astype("string")
    texts.loc[[1, 2], "Subject"] = pd.NA
    fit = lme.lmer("Reaction ~ Days + (1 | Subject)", texts).fit()
    assert fit.nobs == 178
    objects = texts.assign(Subject=texts["Subject"].astype(object))
    same = lme.lmer("Reaction ~ Days + (1 | Subject)", objects).fit()
    assert_allclose(fit.params, same.params, rtol=1e-12)


def test_12_two_columns_are_proportion_and_trials(glmm):
    assert glmm.model.endog.ndim == 1
    assert glmm.model.endog.max() <= 1.0
    assert glmm.model.design.trials.sum() == lme.datasets.load("cbpp")["size"].sum()


def test_13_params_are_the_fixed_effects(both):
    """Statsmodels' tables label rows by the model's names."""
    assert list(both.params.index) == both.model.exog_names
    table = both.summary2()
    assert isinstance(table, Summary2)
    assert list(table.tables[1].index) == both.model.exog_names
    assert "Coef." in table.as_text()
    assert r"\begin{table" in table.as_latex() and "<table" in table.as_html()


# --- what the bases offer -----------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["score_obsv", "hessv", "covjac", "covjhj", "bsejac", "bsejhj"]
)
def test_attributes_that_cannot_work(both, name):
    assert not hasattr(both, name)
    with pytest.raises(UnavailableError, match=f"{name} is not available"):
        getattr(both._results, name)


@pytest.mark.parametrize("name", ["score", "hessian", "information"])
def test_derivatives_say_where_they_are(both, name):
    with pytest.raises(UnavailableError, match="convergence"):
        getattr(both.model, name)(both.params)


def test_methods_that_cannot_work(both):
    with pytest.raises(UnavailableError, match="delta"):
        both.get_nlfun(lambda p: p)
    with pytest.raises(UnavailableError, match="rows of a group are dependent"):
        both._get_robustcov_results("HC0")


def test_nonlinear_functions_of_the_coefficients(res):
    found = res._get_wald_nonlinear(lambda p: np.exp(p[1:] / 10))
    se = np.exp(res.params["Days"] / 10) / 10 * res.bse["Days"]
    assert_allclose(np.sqrt(found.cov()), [[se]], rtol=1e-6)


@pytest.mark.parametrize("alpha", [2, 0, 1, -0.1, "a", None, np.nan, True, [0.05]])
def test_alpha(both, alpha):
    for call in (both.conf_int, both.summary, both.summary2):
        with pytest.raises(OptionError, match="between 0 and 1"):
            call(alpha=alpha)


@pytest.mark.parametrize("digits", [0, 16, "x", 2.5, True])
def test_digits(both, digits):
    with pytest.raises(OptionError, match="whole number"):
        both.summary(digits=digits)


def test_summary2_of_named_data_without_fixed_effects(sleep):
    frame = sleep.assign(Reaction=sleep["Reaction"] - 300.0)
    frame.attrs["name"] = "sleepstudy"
    fit = lme.lmer("Reaction ~ 0 + (1 | Subject)", frame).fit()
    information, components = fit.summary2().tables
    cells = information.to_numpy().ravel().tolist()
    assert cells[cells.index("Data:") + 1] == "sleepstudy"
    assert list(components.index) == ["Subject (Intercept)", "Residual"]
    assert_allclose(components.loc["Residual", "Var./Cov."], fit.scale)


def test_float_format(res):
    assert "251.4 " in res.summary2(float_format="%.1f").as_text()
    with pytest.raises(OptionError, match="format"):
        res.summary2(float_format="four")


MIXEDLM_ARGUMENTS = {
    "groups": "Subject",
    "re_formula": "~Days",
    "vc_formula": {"a": "0 + b"},
    "missing": "drop",
    "method": "bfgs",
}


@pytest.mark.parametrize("name", MIXEDLM_ARGUMENTS)
def test_arguments_of_mixedlm(sleep, name):
    arguments = {name: MIXEDLM_ARGUMENTS[name]}
    for build in (lme.lmer, lme.LMM.from_formula):
        with pytest.raises(TypeError, match=f"'{name}' is not an argument of lmer"):
            build(SLEEP, sleep, **arguments)
    with pytest.raises(TypeError, match="not an argument of glmer"):
        lme.glmer(SLEEP, sleep, family="poisson", **arguments)


# --- keeping ------------------------------------------------------------------------


@pytest.mark.parametrize("remove", [False, True])
def test_save_and_load(both, tmp_path, remove):
    path = tmp_path / "fit.pickle"
    both.save(path, remove_data=remove)
    again = type(both._results).load(path)
    assert type(again) is type(both)
    assert again.summary().as_text() == both.summary().as_text()
    assert again.__doc__ == both.__doc__
    new = both.model.data.frame.head(4)
    assert_allclose(again.predict(new), both.predict(new), rtol=1e-12)
    pd.testing.assert_frame_equal(again.coef()[_group(both)], both.coef()[_group(both)])
    # Unlike in statsmodels the result that was saved keeps its data.
    assert both.fittedvalues.size == both.nobs
    if remove:
        with pytest.raises(FitError, match="remove_data"):
            again.predict()
    else:
        assert_allclose(again.predict(), both.predict(), rtol=1e-12)


def _group(result):
    return result.model.design.terms[0].group


def test_light_pickle_is_small():
    """InstEval with 28 coefficients takes 91 kB; this is a tenth of its levels."""
    rng = np.random.default_rng(3)
    n = 4000
    frame = pd.DataFrame(
        {
            "s": rng.integers(297, size=n),
            "d": rng.integers(113, size=n),
            "f": rng.choice(list("abcdefghijklmn"), size=n),
            "t": rng.choice(["no", "yes"], size=n),
        }
    )
    frame["y"] = rng.normal(size=n) + rng.normal(size=297)[frame["s"]]
    fit = lme.lmer("y ~ f * t + (1 | s) + (1 | d)", frame).fit()
    light, full = io.BytesIO(), io.BytesIO()
    fit.save(full)
    fit.save(light, remove_data=True)
    levels = 297 + 113
    # 16 bytes a level for mode and label, and the covariances of 28 coefficients.
    assert len(light.getvalue()) < 20 * levels + 30_000 < len(full.getvalue()) / 20
    again = pickle.loads(light.getvalue())
    assert_allclose(again.predict(frame), fit.predict(), rtol=1e-12)


def test_what_cannot_be_pickled_is_named(sleep, tmp_path):
    fit = lme.lmer(
        "Reaction ~ f(Days) + (1 | Subject)", sleep, context={"f": lambda x: x + 1}
    ).fit()
    with pytest.raises(FitError, match="context"):
        fit.save(tmp_path / "x")


# --- tables of several fits ---------------------------------------------------------


def test_summary_col(res, glmm):
    text = summary_col(
        [res, glmm],
        stars=True,
        info_dict={"N": lambda r: f"{r.nobs:.0f}", "AIC": lambda r: f"{r.aic:.1f}"},
    ).as_text()
    assert "251.4051***" in text and "180" in text and "1755.6" in text


def test_formats_of_the_summary(both):
    summary = both.summary()
    assert isinstance(summary, Summary)
    assert r"\begin{tabular}" in summary.as_latex()
    assert "<table" in summary.as_html() and "\n" in summary.as_csv()


def test_stargazer(res):
    stargazer = pytest.importorskip("stargazer.stargazer")
    text = stargazer.Stargazer([res, res]).render_html()
    assert "251.405" in text and "180" in text


def test_compare_table(res, sleep):
    simple = res.update(". ~ . - (Days | Subject) + (1 | Subject)", REML=False)
    X = pd.DataFrame({"(Intercept)": 1.0, "Days": sleep["Days"]})
    ols = OLS(sleep["Reaction"], X).fit()
    table = compare_table(ols, simple, res, names=["OLS", "ri", "rs"], stars=True)
    frame = table.to_frame()
    assert frame.loc["Days"].tolist() == ["10.4673***"] * 3
    assert frame.loc["Subject: Days"].tolist() == ["", "", "5.9221"]
    assert frame.loc["Residual", "rs"] == "25.5918"
    assert frame.loc["Method"].tolist() == ["", "ML", "REML"]
    assert frame.loc["Observations"].tolist() == ["180", "180", "180"]
    for text in (table.as_latex(), table.as_html(), table.as_markdown()):
        assert "10.4673" in text and "Observations" in text
    assert table.as_markdown().count("\n|") == len(frame) + 1
    assert r"Reaction (1)" in compare_table(res, res).as_text()
    assert "(6.8246)" in compare_table(res).as_text()
    low, high = res.conf_int().loc["Days"]
    cell = f"({low:.2f}, {high:.2f})"
    assert cell in compare_table(res, below="ci", digits=2).as_text()
    assert "(<1e-05)" in compare_table(res, below="p").as_text()
    assert "(3.26e-06)" in compare_table(res, below="p", p_style="r").as_text()


def test_compare_table_of_other_models(glmm, sleep):
    """A family in place of REML; no sigma; no correlation that is zero by design."""
    apart = lme.lmer("Reaction ~ Days + diag(Days | Subject)", sleep).fit()
    chosen = ("nobs", "converged", "nowhere", "use_t")
    frame = compare_table(
        glmm, apart, names=["g", "l"], below="none", statistics=chosen
    ).to_frame()
    assert frame.loc["Method"].tolist() == ["binomial(logit)", "REML"]
    assert frame.loc["Residual"].tolist() == ["", f"{apart.scale**0.5:.4f}"]
    assert frame.loc["converged"].tolist() == ["True", "True"]
    assert "nowhere" not in frame.index and "" not in frame.index
    assert not [name for name in frame.index if "corr" in name]
    assert frame.loc["Subject: Days", "l"] == "5.9882"


@pytest.mark.filterwarnings("ignore:.*divide:RuntimeWarning")
def test_compare_table_without_random_effects():
    """Least squares alone: no part for deviations; no mark beside a p of NaN."""
    X = pd.DataFrame({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    saturated = OLS(pd.Series([1.0, 3.0], name="y"), X).fit()
    frame = compare_table(saturated, stars=True, below="none").to_frame()
    assert frame.loc["a"].tolist() == ["1.0000"]
    assert frame.loc["b"].tolist() == ["3.0000"]
    assert "Random effects (Std.Dev.)" not in frame.index


@pytest.mark.parametrize(
    "arguments, options, expected",
    [
        ((), {}, "no fit"),
        ((5,), {}, "is a int"),
        (("res",), {"names": "ab"}, "1 names"),
        (("res",), {"below": "sd"}, "below='sd'"),
        (("res",), {"p_style": "x"}, "p_style='x'"),
        (("res",), {"digits": "many"}, "digits"),
    ],
)
def test_compare_table_refuses(res, arguments, options, expected):
    given = [res if each == "res" else each for each in arguments]
    with pytest.raises(OptionError, match=expected):
        compare_table(*given, **options)
