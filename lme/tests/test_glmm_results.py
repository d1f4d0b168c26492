"""What a generalized result offers: statsmodels' contract, lme4's names, reports."""

import pickle
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import sparse
from statsmodels.base.model import LikelihoodModelResults
from statsmodels.iolib.summary2 import summary_col

import lme
from lme.errors import ConvergenceWarning, DataError, FitError, OptionError
from lme.inference.hypotheses import wald
from lme.inference.internals import PARTS
from lme.tests.cases import data
from lme.tests.glmm_cases import GLMM_CASES, NB_CASES

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"

GOLDEN = """\
      Generalized linear mixed model fit by maximum likelihood (Laplace)
==============================================================================
Formula:      cbind(incidence, size - incidence) ~ period + (1 | herd)
Family:       binomial (logit link)
Method:       ML, Laplace approximation; blocked kernel, N evaluations
Search:       converged
Std. errors:  from the Hessian of the log-likelihood
------------------------------------------------------------------------------
-2 log L    logLik  deviance       AIC      AICc       BIC  npar  df resid
184.0526  -92.0263   73.4717  194.0526  195.2526  204.1793     5        51
------------------------------------------------------------------------------
Scaled residuals:
    Min       1Q   Median      3Q     Max
-2.3818  -0.7888  -0.2024  0.5146  2.8796
------------------------------------------------------------------------------
Random effects (56 observations; levels: herd 15):
Groups  Name         Variance  Std.Dev.
herd    (Intercept)    0.4125    0.6423
------------------------------------------------------------------------------
Fixed effects, tests by z (normal):
                coef  std err       z   P>|z|   [0.025   0.975]
(Intercept)  -1.3985   0.2325  -6.016  <1e-08  -1.8542  -0.9429
period2      -0.9923   0.3066  -3.236  0.0012  -1.5933  -0.3913
period3      -1.1287   0.3266  -3.455  0.0005  -1.7689  -0.4885
period4      -1.5803   0.4274  -3.697  0.0002  -2.4181  -0.7426
------------------------------------------------------------------------------
Correlation of fixed effects:
         (Intr)  perid2  perid3
period2  -0.364
period3  -0.340   0.278
period4  -0.261   0.212   0.196
=============================================================================="""

SHORT = f"""\
Generalized linear mixed model fit by maximum likelihood (Laplace): {CBPP}, \
binomial(logit)
-2 log L 184.0526; 56 observations; levels: herd 15
Tests by z (normal)

               Est.     SE     z      p σ_herd
(Intercept) -1.3985 0.2325 -6.02 <1e-08 0.6423
period2     -0.9923 0.3066 -3.24 0.0012
period3     -1.1287 0.3266 -3.46 0.0005
period4     -1.5803 0.4274 -3.70 0.0002"""


def close(value, expected, rtol=1e-6, atol=0.0):
    np.testing.assert_allclose(
        np.asarray(value, float), np.asarray(expected, float), rtol=rtol, atol=atol
    )


def counted(text):
    """The text with the number of evaluations hidden; it may improve."""
    return "\n".join(
        f"{line.rpartition(', ')[0]}, N evaluations"
        if line.startswith("Method:")
        else line
        for line in text.splitlines()
    )


@pytest.fixture(scope="module")
def cbpp():
    return data("cbpp")


@pytest.fixture(scope="module")
def res(cbpp):
    return lme.glmer(CBPP, cbpp, family="binomial").fit()


@pytest.fixture(scope="module")
def gamma():
    return GLMM_CASES["sim_gamma_log"].fit()


# --- the contract of statsmodels ----------------------------------------------------


def test_labelled_outputs(res, cbpp):
    assert isinstance(res, lme.GLMMResultsWrapper)
    assert isinstance(res._results, lme.GLMMResults)
    assert isinstance(res._results, LikelihoodModelResults)
    names = ["(Intercept)", "period2", "period3", "period4"]
    for name in ("params", "bse", "tvalues", "pvalues"):
        found = getattr(res, name)
        assert isinstance(found, pd.Series) and list(found.index) == names
        assert isinstance(getattr(res._results, name), np.ndarray)
    assert list(res.cov_params().columns) == names
    pd.testing.assert_series_equal(res.fixef(), res.params)
    for name in ("fittedvalues", "resid", "linear_predictor"):
        assert len(getattr(res, name)) == 56
    assert res.fittedvalues.index.equals(cbpp.index)
    close(res.tvalues, res.params / res.bse)
    close(res.conf_int().iloc[0], [-1.854167, -0.942894], 1e-5)
    assert res.use_t is False and res.scale == res.sigma == res.dispersion == 1.0
    assert res.nb_theta is None


def test_everything_in_dir_works(res):
    failing = []
    for name in dir(res):
        if name.startswith("_"):
            continue
        try:
            getattr(res, name)
        except Exception:
            failing.append(name)
    # ResultMixin's scores by row have no meaning where rows are not independent.
    expected = {"score_obsv", "hessv", "covjac", "covjhj", "bsejac", "bsejhj"}
    assert set(failing) <= expected


def test_three_numbers(res):
    """C.3 #18: the likelihood, twice it, and the deviance at the modes."""
    close(res.llf, -92.0262818648, 1e-9)
    assert res.objective == -2 * res.llf
    close(res.deviance, 73.47172, 1e-6)
    close(np.sum(res.resid**2), res.deviance, 1e-9)
    close(res.aic, 194.0526, 1e-6)
    close(res.bic, res.objective + 5 * np.log(56))
    close(res.aicc, res.aic + 2 * 5 * 6 / 50)
    assert (res.npar, res.df_resid, res.nobs, res.df_model) == (5, 51, 56, 3)


def test_likelihood_is_absolute(res):
    """C.3 #19: every number of nodes is on one scale."""
    for nodes, llf in ((0, -92.054347), (2, -92.035365), (9, -91.983371), (25, None)):
        fitted = res.update(nAGQ=nodes)
        if llf is not None:
            close(fitted.llf, llf, 2e-6)
        assert fitted.nAGQ == nodes and fitted.family == res.family


def test_standard_errors(res):
    """C.3 #21: two kinds, named."""
    assert res.cov_type == "hessian"
    close(res.bse, [0.232472, 0.306642, 0.326638, 0.427437], 1e-5)
    rx = res.update(cov_type="rx")
    assert rx.cov_type == "rx"
    close(rx.bse, [0.2278909, 0.3053855, 0.3260493, 0.428795], 1e-5)
    close(rx.cov_params(), res.cov_params(cov_type="rx"))
    close(rx.cov_params(cov_type="hessian"), res.cov_params(), 1e-5)
    assert "from the working model" in rx.summary().as_text()
    close(rx.refit(np.asarray(res.model.endog)).bse, rx.bse, 1e-4)
    table = wald.coefficient_table(res.fit_record)
    close(table["se"], res.bse, 1e-12)
    contrast = np.array([0.0, 1.0, -1.0, 0.0])
    close(res._results.cov_params(contrast), res.t_test(contrast).sd.item() ** 2)
    with pytest.raises(OptionError, match="cov_type='robust'"):
        res.cov_params(cov_type="robust")


def test_a_hessian_that_cannot_be_inverted(res):
    """Falls back on the working model, with a warning, once."""
    record = replace(res.fit_record)
    record.__dict__["vcov_hessian"] = None
    bare = lme.GLMMResults(res.model, record)
    with pytest.warns(ConvergenceWarning, match="not positive definite"):
        errors = bare.bse
    close(errors, np.sqrt(np.diag(record.vcov_rx)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bare.cov_type == "rx"
        assert "not positive definite" in bare.summary().as_text()
    assert len(bare.warnings) == 1


def test_hypotheses(res):
    close(res.t_test("period2 = period3").effect, 0.13633935, 1e-4)
    joint = res.wald_test("period2, period3, period4", scalar=True)
    table = res.wald_test_terms().table
    close(table.loc["period", "statistic"], joint.statistic)
    assert list(table["df_constraint"]) == [1, 3]


def test_tables_of_several_models(res, gamma):
    text = summary_col([res, gamma], stars=True).as_text()
    assert "-1.3985***" in text


def test_no_random_variance_is_statsmodels_glm():
    """A variance of zero gives the likelihood of a GLM: absolute on both sides."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.tile(list("abcdef"), 20), "x": rng.normal(size=120)})
    frame["y"] = np.tile([1, 2, 0, 3, 2, 1, 1, 4], 15)
    fitted = lme.glmer("y ~ x + (1 | g)", frame, family="poisson").fit()
    glm = sm.GLM(
        frame["y"], sm.add_constant(frame["x"]), family=sm.families.Poisson()
    ).fit()
    if fitted.is_singular:
        close(fitted.llf, glm.llf, 1e-10)
        close(fitted.deviance, glm.deviance, 1e-8)
    assert fitted.llf >= glm.llf - 1e-8


# --- estimates ----------------------------------------------------------------------


def test_variance_components(res, gamma):
    frame = res.VarCorr().to_frame()
    assert list(frame["grp"]) == ["herd"]
    close(frame["sdcor"], res.theta)
    assert repr(res.VarCorr()).splitlines() == [
        "Groups Name        Variance Std.Dev.",
        "herd   (Intercept)   0.4125   0.6423",
    ]
    assert "Residual" in repr(gamma.VarCorr())
    close(gamma.VarCorr().components[0].sd, gamma.theta)
    assert gamma.npar == len(gamma.params) + 2


def test_random_effects(res):
    frame = res.ranef().to_frame()
    assert list(frame["grp"].iloc[:2]) == ["1", "2"]
    close(frame["condval"].iloc[0], 0.59002, 1e-4)
    close(frame["condsd"] ** 2, res.condVar()["herd"].ravel())
    close(res.condVar()["herd"].ravel()[0], 0.1212886, 1e-4)
    spherical = res.ranef(spherical=True)["herd"]
    close(spherical * res.theta.iloc[0], res.ranef()["herd"])
    table = res.coef()["herd"]
    close(table["(Intercept)"], res.params.iloc[0] + res.ranef()["herd"]["(Intercept)"])
    assert set(res.random_effects) == set(res.ranef()["herd"].index)
    close(res.cov_re, res.VarCorr()["herd"])


@pytest.mark.parametrize("name", ["contraception_slope", "ticks_c", "sim_gamma_log"])
def test_parts(name):
    """getME: what it gives belongs together."""
    fitted = GLMM_CASES[name].fit()
    for part in PARTS:
        fitted.getME(part)
    design, record = fitted.fit_record.design, fitted.fit_record
    Z, Lambda = fitted.getME("Z"), fitted.getME("Lambda")
    close(Z @ fitted.getME("b") + fitted.getME("X") @ fitted.getME("beta"), record.eta)
    close(Lambda @ fitted.getME("u"), fitted.getME("b"), 1e-6, 1e-10)
    L, A = fitted.getME("L"), fitted.getME("A")
    gram = (A @ A.T).toarray() + np.eye(Z.shape[1])
    close((L @ L.T).toarray(), gram, 1e-6, 1e-8)
    RX, RZX, X = fitted.getME("RX"), fitted.getME("RZX"), fitted.getME("X")
    close(2 * np.log(L.diagonal()).sum(), record.ldL2, 1e-6)
    half = sparse.linalg.spsolve_triangular(L.tocsr(), np.eye(Z.shape[1]), lower=True)
    if name == "contraception_slope":
        inverse = Lambda @ half.T @ half @ Lambda.T
        blocks = fitted.condVar()["district"]
        close(blocks[:, :, 3], inverse[6:8, 6:8], 1e-5, 1e-9)
        weights = record.mu * (1 - record.mu)
        XWX = X.T @ (X * weights[:, None])
        close(RX.T @ RX, XWX - RZX.T @ RZX, 1e-5, 1e-6 * np.abs(XWX).max())
    assert fitted.getME("devcomp")["dims"]["useSc"] == int(name == "sim_gamma_log")
    assert fitted.getME("sigma") == fitted.sigma
    assert design.nobs == fitted.getME("n")


# --- rows ---------------------------------------------------------------------------


def test_residual_ranges(res):
    """E.6 #72."""
    ranges = {
        "deviance": (-3.1975034, 2.35668826),
        "pearson": (-2.381636, 2.879088),
        "working": (-1.241734, 5.410645),
        "response": (-0.1946747, 0.3184589),
    }
    for kind, expected in ranges.items():
        values = res.residuals(type=kind)
        # From the default lme4, whose PIRLS stops early.
        close([values.min(), values.max()], expected, 1e-3)
    close(res.resid, res.residuals(type="deviance"))
    with pytest.raises(OptionError, match="type='partial'"):
        res.residuals(type="partial")


def test_scaled_residuals(gamma):
    pearson = gamma.residuals(type="pearson")
    close(gamma.residuals(type="pearson", scaled=True), pearson / gamma.sigma)
    close(pearson, gamma.residuals(type="response") / gamma.fittedvalues)
    values = gamma.residuals(type="working") * gamma.fittedvalues
    close(values, gamma.residuals(type="response"))


def test_prediction(res, cbpp):
    close(res.predict(), res.fittedvalues)
    close(res.predict(which="linear"), res.linear_predictor)
    close(res.predict(cbpp), res.fittedvalues)
    close(res.predict(cbpp.iloc[[5]], which="linear"), res.linear_predictor[[5]])
    population = res.predict(cbpp.drop(columns="herd"), re_form="none", which="linear")
    close(population, res.getME("X") @ res.params.to_numpy())
    close(res.predict(re_form="none"), 1 / (1 + np.exp(-population)))
    new = pd.DataFrame({"period": ["2", "2"], "herd": ["1", "new"]})
    with pytest.raises(DataError, match="did not see"):
        res.predict(new)
    close(
        res.predict(new, new_levels="population").iloc[1],
        res.predict(new, re_form="none").iloc[1],
    )
    assert res.predict(new, new_levels="nan").isna().tolist() == [False, True]
    with pytest.raises(OptionError, match="which='link'"):
        res.predict(which="link")


# --- again and keeping --------------------------------------------------------------


def test_refit(res, cbpp):
    before = res.objective
    counts = np.column_stack([cbpp["incidence"], cbpp["size"] - cbpp["incidence"]])
    swapped = res.refit(counts[:, ::-1])
    close(swapped.params, -res.params, 1e-6)
    close(res.refit(cbpp["incidence"] / cbpp["size"]).objective, before, 1e-10)
    more = res.refit(counts + np.array([1, 2]))
    direct = lme.glmer(
        "cbind(a, b) ~ period + (1 | herd)",
        cbpp.assign(a=counts[:, 0] + 1, b=counts[:, 1] + 2),
        family="binomial",
    ).fit()
    close(more.objective, direct.objective, 1e-9)
    close(more.model.design.trials, direct.model.design.trials)
    assert res.objective == before and res.model.endog[0] == counts[0, 0] / 14
    with pytest.raises(DataError, match="does not hold the data"):
        more.update(". ~ 1 + (1 | herd)")
    with pytest.raises(DataError, match="3 rows"):
        res.refit(counts[:3])
    with pytest.raises(DataError, match="negative"):
        res.refit(counts - 5)
    with pytest.raises(DataError, match="proportion"):
        res.refit(cbpp["incidence"])


def test_refit_of_categories():
    frame = data("Contraception")
    fitted = lme.glmer("use ~ age + (1 | district)", frame, family="binomial").fit()
    text = frame["use"].astype(str)
    close(fitted.refit(text).objective, fitted.objective, 1e-10)
    numbers = (text == "Y").astype(int)
    close(fitted.refit(numbers).objective, fitted.objective, 1e-10)
    other = text.map({"Y": "N", "N": "Y"})
    close(fitted.refit(other).params, -fitted.params, 1e-5, 1e-7)
    with pytest.raises(DataError, match="category 'maybe'"):
        fitted.refit(text.where(text == "Y", "maybe"))


def test_update(res):
    """E.5 #65: options of the model and of the fit may change."""
    probit = res.update(link="probit")
    close(probit.objective, 185.2424, 1e-6)
    assert res.update(nAGQ=9).nAGQ == 9
    assert probit.update(". ~ . - period").family.link.name == "probit"
    # Another family comes with its own link.
    poisson = probit.update("incidence ~ . + offset(log(size))", family="poisson")
    assert str(poisson.family) == "poisson(log)"
    assert probit.update(nAGQ=0, cov_type="rx").update().nAGQ == 0


def test_pickles(res, gamma):
    for fitted in (res, gamma):
        copy = pickle.loads(pickle.dumps(fitted))
        assert copy.summary().as_text() == fitted.summary().as_text()
        close(copy.predict(), fitted.fittedvalues)
        close(copy.update(nAGQ=0).objective, fitted.update(nAGQ=0).objective)


def test_remove_data(cbpp):
    big = lme.glmer(CBPP, cbpp, family="binomial").fit()
    text, errors = big.summary().as_text(), big.bse
    size = len(pickle.dumps(big))
    big.remove_data()
    light = pickle.loads(pickle.dumps(big))
    assert len(pickle.dumps(light)) < size / 2
    assert light.summary().as_text() == text
    close(light.bse, errors)
    close(light.cov_params(cov_type="rx"), big.cov_params(cov_type="rx"))
    assert light.ranef()["herd"].shape == (15, 1)
    close(light.predict(cbpp.head(3)), [0.308208, 0.141748, 0.125957], 1e-4)
    for name in ("resid", "fittedvalues", "linear_predictor"):
        with pytest.raises(FitError, match="remove_data"):
            getattr(light, name)
    for call in (light.residuals, light.predict, light.condVar):
        with pytest.raises(FitError, match="remove_data"):
            call()
    with pytest.raises(FitError, match="remove_data"):
        light.refit(cbpp["incidence"])


# --- comparison ---------------------------------------------------------------------


def test_anova(res):
    small = res.update(". ~ . - period")
    found = lme.anova(res, small, names=["full", "small"])
    assert list(found.table.index) == ["small", "full"]
    close(found["Chisq"].iloc[1], small.objective - res.objective)
    assert found["Df"].iloc[1] == 3 and found.notes == ()


def test_anova_of_different_approximations(res):
    small = res.update(". ~ . - period")
    nodes = lme.anova(small, res.update(nAGQ=9))
    assert "(Laplace, nAGQ=9)" in nodes.notes[0]
    both = lme.anova(small.update(nAGQ=0), res.update(nAGQ=0))
    assert both["Chisq"].iloc[1] > 0 and both.notes == ()
    with pytest.raises(FitError, match="nAGQ=0"):
        lme.anova(small, res.update(nAGQ=0))
    probit = res.update(link="probit")
    kinds = lme.anova(
        probit.update(". ~ . - period"), probit.update(laplace="observed")
    )
    assert "Laplace, observed" in kinds.notes[0]


def test_anova_needs_one_family_and_link(res, cbpp):
    with pytest.raises(FitError, match=r"binomial\(probit\)"):
        lme.anova(res, res.update(". ~ . - period", link="probit"))
    frame = cbpp.assign(any=(cbpp["incidence"] > 0).astype(int))
    formula = "any ~ period + (1 | herd)"
    first = lme.glmer("any ~ 1 + (1 | herd)", frame, family="bernoulli").fit()
    second = lme.glmer(formula, frame, family="binomial").fit()
    assert lme.anova(first, second)["Df"].iloc[1] == 3
    linear = lme.lmer(formula, frame).fit()
    with pytest.raises(FitError, match=r"gaussian\(identity\)"):
        lme.anova(first, linear)


# --- reports ------------------------------------------------------------------------


def test_golden(res):
    assert counted(res.summary().as_text()) == GOLDEN
    assert repr(res) == str(res) == SHORT


def test_headers(res, gamma):
    fast = res.update(nAGQ=0).summary().as_text()
    assert "nAGQ=0: coefficients from PIRLS" in fast
    nodes = res.update(nAGQ=9).summary().as_text()
    assert "(quadrature, 9 nodes)" in nodes
    assert "adaptive quadrature with 9 nodes" in nodes
    text = gamma.summary().as_text()
    assert "Laplace approximation (observed information)" in text
    assert f"Dispersion:   {gamma.dispersion:.4f}" in text
    assert "Residual" in text
    negative = NB_CASES["nb_sim"].fit()
    assert f"Theta:        {negative.nb_theta:.4f}" in negative.summary().as_text()
    probit = res.update(link="probit").summary().as_text()
    assert "Laplace approximation (expected information)" in probit


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_other_formats(res):
    summary = res.summary()
    parser = Balance()
    parser.feed(summary.as_html())
    assert parser.open == [] and "binomial (logit link)" in "".join(parser.text)
    latex = summary.as_latex()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 6
    line = "period2,-0.9923,0.3066,-3.236,0.0012,-1.5933,-0.3913"
    assert line in summary.as_csv().splitlines()
    assert "σ_herd" in res._repr_html_()


def test_several_responses_of_zeros_and_ones():
    """Columns by name; of two levels of names, where these are no pairs of counts."""
    frame = data("cbpp")
    model = lme.glmer("I(incidence > 0) ~ 1 + (1 | herd)", frame, family="binomial")
    Y = pd.DataFrame({k: (frame["incidence"] > k) * 1.0 for k in (0, 1, 2)})
    result = model.fit()
    one_by_one = [result.refit(Y[k]).params.iloc[0] for k in Y]
    close(result.refit(Y).params["(Intercept)"], one_by_one, 0, 1e-4)
    twice = Y[[0, 1, 1, 0]]
    twice.columns = pd.MultiIndex.from_product([["a", "b"], ["s", "f"]]).swaplevel()
    found = result.refit(twice).params["(Intercept)"]
    # The same of shares, where the model has counts.
    counts = lme.glmer(CBPP, frame, family="binomial").fit()
    shares = Y.mul(frame["incidence"] / frame["size"], axis=0)
    singly = [counts.refit(shares[k]).params.iloc[0] for k in shares]
    close(counts.refit(shares).params["(Intercept)"], singly, 0, 1e-4)
    shares = shares[[0, 1, 1, 0]].set_axis(twice.columns, axis=1)
    again = [singly[k] for k in (0, 1, 1, 0)]
    close(counts.refit(shares).params["(Intercept)"], again, 0, 1e-4)
    close(found, [one_by_one[k] for k in (0, 1, 1, 0)], 0, 1e-4)
