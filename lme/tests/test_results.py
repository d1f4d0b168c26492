"""What a result offers: statsmodels' contract, lme4's names, keeping."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import sparse
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.iolib.summary2 import summary_col

import lme
from lme.errors import DataError, FitError, OptionError
from lme.inference.internals import PARTS
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep():
    return data("sleepstudy")


@pytest.fixture(scope="module")
def res(sleep):
    return lme.lmer(SLEEP, sleep).fit()


def close(value, expected, rtol=1e-6, atol=0.0):
    np.testing.assert_allclose(
        np.asarray(value, float), np.asarray(expected, float), rtol=rtol, atol=atol
    )


# --- the contract of statsmodels -----------------------------------------------------


def test_labelled_outputs(res):
    assert isinstance(res, lme.LMMResultsWrapper)
    assert isinstance(res._results, LikelihoodModelResults)
    for name in ("params", "bse", "tvalues", "pvalues"):
        found = getattr(res, name)
        assert isinstance(found, pd.Series)
        assert list(found.index) == ["(Intercept)", "Days"]
    assert list(res.cov_params().columns) == ["(Intercept)", "Days"]
    pd.testing.assert_series_equal(res.fixef(), res.params)
    pd.testing.assert_series_equal(res.fe_params, res.params)
    for name in ("fittedvalues", "resid"):
        assert getattr(res, name).index.equals(data("sleepstudy").index)
    close(res.fittedvalues + res.resid, data("sleepstudy")["Reaction"])
    close(res.tvalues, res.params / res.bse)
    close(np.sqrt(np.diag(res.cov_params())), res.bse)
    assert res.scale == res.sigma**2
    assert res.use_t is True
    assert res.ddf == "satterthwaite"


def test_bare_results_hold_arrays(res):
    bare = res._results
    for name in ("params", "bse", "tvalues", "pvalues", "fittedvalues", "resid"):
        assert isinstance(getattr(bare, name), np.ndarray)


def test_everything_in_dir_works(res):
    """Tools that walk over the attributes of a result must not be surprised."""
    failing = []
    for name in dir(res):
        if name.startswith("_"):
            continue
        try:
            getattr(res, name)
        except Exception as error:
            failing.append((name, repr(error)))
    # ResultMixin's scores by row have no meaning where rows are not independent.
    expected = {"score_obsv", "hessv", "covjac", "covjhj", "bsejac", "bsejhj"}
    assert {name for name, _ in failing} <= expected


def test_agrees_with_mixedlm(res, sleep):
    other = smf.mixedlm(
        "Reaction ~ Days", sleep, groups=sleep["Subject"], re_formula="~Days"
    ).fit(reml=True)
    close(res.params, other.fe_params, 1e-5)
    close(res.cov_re, other.cov_re, 1e-3)
    close(res.scale, other.scale, 1e-4)
    close(res.llf, other.llf, 1e-7)
    close(res.random_effects["308"], other.random_effects["308"], 1e-3)
    crossed = lme.lmer(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", data("Penicillin")
    ).fit()
    assert set(crossed.cov_re) == {"plate", "sample"}
    assert set(crossed.random_effects) == {"plate", "sample"}


def test_tables_of_several_models(res, sleep):
    small = lme.lmer("Reaction ~ 1 + (1 | Subject)", sleep).fit()
    text = summary_col([res, small], stars=True).as_text()
    assert "251.4051***" in text and "10.4673***" in text


def test_prediction(res, sleep):
    """E.8 #88, #89 as far as they go."""
    close(res.predict(), res.fittedvalues)
    close(res.predict(sleep), res.fittedvalues)
    close(res.predict(sleep.astype({"Subject": str}).iloc[[5]]), res.fittedvalues[[5]])
    population = res.predict(sleep.drop(columns="Subject"), re_form="none")
    close(population, res.params.iloc[0] + res.params.iloc[1] * sleep["Days"])
    close(res.predict(re_form="none"), population)
    new = pd.DataFrame({"Days": [0, 1], "Subject": ["308", "new"]}, index=["p", "q"])
    with pytest.raises(DataError, match="'Subject' that the fit did not see: 'new'"):
        res.predict(new)
    close(res.predict(new, new_levels="population").loc["q"], res.params.sum())
    assert res.predict(new, new_levels="nan").isna().tolist() == [False, True]
    with pytest.raises(OptionError, match="'population'"):
        res.predict(new, new_levels="populaton")
    with pytest.raises(OptionError, match="re_form=None"):
        res.predict(new, re_form=None)
    shifted = lme.lmer(SLEEP, sleep, offset=np.arange(180.0)).fit()
    with pytest.raises(DataError, match="has an offset= array"):
        shifted.predict(sleep)
    close(shifted.predict(sleep, offset=np.arange(180.0)), shifted.fittedvalues)
    close(shifted.predict(re_form="none") - np.arange(180.0), shifted.predict(
        sleep, re_form="none", offset=np.zeros(180)))  # fmt: skip


# --- lme4's names -------------------------------------------------------------------


def test_getme_knows_every_name(res):
    for name in PARTS:
        assert res.getME(name) is not None
    with pytest.raises(OptionError, match=r"'thta'.*Did you mean 'theta'"):
        res.getME("thta")


def test_parts_fit_together(res, sleep):
    weighted = lme.lmer(SLEEP, sleep, weights=np.linspace(1, 2, 180)).fit()
    crossed = lme.lmer(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", data("Penicillin"), REML=False
    ).fit()
    for fit in (res, weighted, crossed):
        part = fit.getME
        Zt, Lambdat, X = part("Zt"), part("Lambdat"), part("X")
        root = np.sqrt(part("weights"))
        assert sparse.issparse(Zt) and sparse.issparse(part("L"))
        close((part("Z") - Zt.T).toarray(), 0)
        close((part("Lambda") - Lambdat.T).toarray(), 0)
        close(part("b"), part("Lambda") @ part("u"), 1e-8, 1e-10)
        close(part("mu"), X @ part("beta") + part("Z") @ part("b"), 1e-10)
        A = part("A").toarray()
        close(A, (Lambdat @ Zt).toarray() * root, 1e-12, 1e-12)
        L, RZX, RX = part("L").toarray(), part("RZX"), part("RX")
        close(L @ L.T, A @ A.T + np.eye(len(A)), 1e-8, 1e-8)
        close(L @ RZX, A @ (X * root[:, None]), 1e-8, 1e-6)
        WX = X * root[:, None]
        close(RX.T @ RX, WX.T @ WX - RZX.T @ RZX, 1e-8)
        close(fit.cov_params(), fit.scale * np.linalg.inv(RX.T @ RX), 1e-8)
        cmp = part("devcomp")["cmp"]
        close(2 * np.log(np.diag(L)).sum(), cmp["ldL2"], 1e-8)
        close(cmp["pwrss"], cmp["wrss"] + cmp["ussq"], 1e-12)
        close(np.sum((root * fit.resid) ** 2), cmp["wrss"], 1e-8)
        values = np.asarray(part("theta"))
        close(Lambdat.data, values[part("Lind")])
        q = len(part("b"))
        assert (part("q"), part("Gp")[-1], part("n")) == (q, q, fit.nobs)
        assert part("Tp")[-1] == part("m") == len(values)


def test_small_parts(res):
    assert res.getME("cnms") == [("Subject", ("(Intercept)", "Days"))]
    assert list(res.getME("flist")["Subject"][:2]) == ["308", "308"]
    assert res.getME("is_REML") is True and res.getME("REML") == 2
    assert res.getME("lower").tolist() == [0.0, -np.inf, 0.0]
    assert (res.getME("p_i"), res.getME("l_i"), res.getME("q_i")) == ([2], [18], [36])
    assert res.getME("n_rtrms") == res.getME("n_rfacs") == res.getME("k") == 1
    assert res.getME("offset").tolist() == [0.0] * 180
    assert res.getME("mmList")["Subject"].shape == (180, 2)


def test_verdict(res):
    assert res.converged and not res.is_singular
    assert res.convergence.evaluations == len(res.trace)
    assert list(res.trace.columns) == ["objective", "gradient_norm", *res.theta.index]
    close(res.trace["objective"].iloc[-1], res.objective, 1e-10)
    assert res.warnings == ()


def test_warnings_are_kept_once():
    frame = data("sleepstudy_x").assign(big=lambda d: np.cos(d["Days"]) * 1e9)
    formula = "Reaction ~ Days + big + (0 + lab || Subject)"
    with pytest.warns(lme.LMEWarning) as seen:
        res = lme.lmer(formula, frame, checks={"scale": "warn"}).fit()
    assert [type(w).__name__ for w in res.warnings][:2] == [
        "DataWarning",
        "FormulaWarning",
    ]
    assert len(res.warnings) == len(seen) == len({str(w) for w in res.warnings})
    notes = res.summary().notes
    assert all(notes.count(str(warning)) == 1 for warning in res.warnings)


# --- keeping ------------------------------------------------------------------------


def same(first, second):
    assert first.summary().as_text() == second.summary().as_text()
    pd.testing.assert_series_equal(first.params, second.params)
    pd.testing.assert_frame_equal(first.ranef()["Subject"], second.ranef()["Subject"])
    assert first.bic == second.bic


def test_pickle(res, sleep):
    copy = pickle.loads(pickle.dumps(res))
    same(copy, res)
    close(copy.condVar()["Subject"], res.condVar()["Subject"], 1e-10)
    close(copy.deviance, res.deviance, 1e-12)
    close(copy.predict(sleep.head()), res.predict(sleep.head()))
    close(copy.refit(2 * sleep["Reaction"]).params, 2 * res.params, 1e-5)
    close(copy.update(REML=False).objective, 1751.9393444636682, 1e-12)


def test_save_and_load(res, tmp_path):
    path = tmp_path / "fit.pickle"
    res.save(path)
    same(lme.LMMResults.load(path), res)
    light = io.BytesIO()
    pickle.loads(pickle.dumps(res)).save(light, remove_data=True)
    assert len(light.getvalue()) < path.stat().st_size / 3


@pytest.mark.parametrize("summarized", [True, False])
def test_remove_data(res, sleep, summarized):
    model = lme.lmer(SLEEP, sleep)
    light = model.fit()
    if summarized:
        light.summary()
    light.remove_data()
    light.remove_data()
    light = pickle.loads(pickle.dumps(light))
    same(light, res)
    assert (light.nobs, light.df_resid, light.npar) == (180, 174, 6)
    close(light.t_test("Days = 0").pvalue, res.pvalues["Days"])
    close(light.coef()["Subject"], res.coef()["Subject"])
    close(light.predict(sleep.head()), res.predict(sleep.head()))
    assert light.VarCorr().to_frame().equals(res.VarCorr().to_frame())
    for what in (
        lambda: light.fittedvalues,
        lambda: light.resid,
        lambda: light.residuals(),
        lambda: light.condVar(),
        lambda: light.deviance,
        lambda: light.predict(),
        lambda: light.getME("X"),
        lambda: light.refit(sleep["Reaction"]),
        lambda: lme.anova(light, res),
    ):
        with pytest.raises(FitError, match="remove_data"):
            what()
    with pytest.raises(DataError, match="does not hold the data"):
        light.update(". ~ . - Days")
    # The model that was fitted is untouched.
    assert model.endog.size == 180 and model.data.frame is sleep
    assert model.fit().objective == res.objective


def test_representations(res):
    text = repr(res)
    assert text == str(res)
    assert text.splitlines()[0] == (
        "Linear mixed model fit by REML: Reaction ~ Days + (Days | Subject)"
    )
    html = res._repr_html_()
    assert html.count("<tr>") == 4 and "&lt;1e-05" in html
    with_error = "&lt;1e-16</td><td>24.7405</td>"
    assert with_error in html


def test_unknown_groups_are_errors_of_ours(res):
    for parts in (res.VarCorr(), res.ranef()):
        with pytest.raises(lme.GroupError, match="Did you mean 'Subject'"):
            parts["subject"]
        assert parts.get("subject") is None
        assert "subject" not in parts


def test_what_get_me_returns_is_the_users(res):
    X = res.getME("X")
    X[...] = 7.0
    assert res.getME("X")[0, 0] == 1.0
    both = res.getME(["beta", "theta"])
    assert list(both) == ["beta", "theta"]
