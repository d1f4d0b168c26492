"""What results say and do where the residuals have a structure."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import DataError, FitError, FormulaError
from lme.tests.test_residual_structures import DATA, TEXT, _simulated

IDENT = "varIdent(Sex)"
ORTHODONT = "distance ~ age * Sex + (1 | Subject)"


@pytest.fixture(scope="module")
def strata():
    return lme.lmer(ORTHODONT, DATA["O"], residual="varIdent(Sex)").fit()


@pytest.fixture(scope="module")
def series():
    frame, _ = _simulated(np.random.default_rng(21), 30, 6)
    # Rows out of order: nothing may rely on it.
    frame = frame.sample(frac=1.0, random_state=2)
    return lme.lmer(TEXT, frame, residual="ar1(t | g) + varIdent(s)").fit()


def _covariance(res):
    """Residual covariance of the rows, by the definition."""
    record, frame = res.fit_record, res.model.data.frame
    rho, ratio = res.residual_structure["estimate"]
    t, g = frame["t"].to_numpy(), frame["g"].to_numpy()
    R = np.where(g[:, None] == g, rho ** np.abs(t[:, None] - t).astype(float), 0.0)
    sd = res.sigma * np.where(frame["s"] == "a", 1.0, ratio)
    assert_allclose(sd, res.sigma / np.sqrt(record.design.weights))
    return np.outer(sd, sd) * R


def _marginal(res):
    """Covariance of the response."""
    record = res.fit_record
    Z = record.design.Zt.T.toarray()
    L = np.kron(np.eye(Z.shape[1] // record.lambdas[0].shape[0]), record.lambdas[0])
    return _covariance(res) + res.sigma**2 * Z @ L @ L.T @ Z.T


# --- reports --------------------------------------------------------------------------


def test_table_and_counts(strata, series):
    assert list(strata.residual_structure.columns) == ["term", "parameter", "estimate"]
    assert strata.residual_structure["parameter"].tolist() == ["Female"]
    assert (strata.npar, series.npar) == (7, 6)
    assert strata.df_resid == 108 - 7
    assert_allclose(strata.aic, -2.0 * strata.llf + 14.0)
    assert_allclose(strata.bic, -2.0 * strata.llf + 7.0 * np.log(108))
    plain = lme.lmer(ORTHODONT, DATA["O"]).fit()
    assert plain.residual_structure.empty
    assert "structure" not in str(plain.summary())


def test_summary(strata, series):
    text = str(series.summary())
    assert "Residual structure ar1(t | g) + varIdent(s)" in text
    assert "Phi" in text and "take the residual structure as" in text
    assert "residual varIdent(Sex)" in repr(strata)
    assert "<table" in strata.summary().as_html()
    fixed = lme.lmer(ORTHODONT, DATA["O"], residual="varFixed(age)").fit()
    assert fixed.npar == 6
    assert "nothing estimated" in str(fixed.summary())


def test_inference_against_the_dense_model(series):
    record = series.fit_record
    V = _marginal(series)
    inverse = np.linalg.inv(V)
    X = record.X
    G = X.T @ inverse @ X
    assert_allclose(series.cov_params(), np.linalg.inv(G), rtol=1e-8)
    beta = np.linalg.solve(G, X.T @ inverse @ record.design.y)
    assert_allclose(series.fixef(), beta, rtol=1e-8)
    r = record.design.y - X @ beta
    Z = record.design.Zt.T.toarray()
    b = series.sigma**2 * record.lambdas[0][0, 0] ** 2 * Z.T @ inverse @ r
    assert_allclose(series.ranef()["g"]["(Intercept)"], b, rtol=1e-7, atol=1e-9)
    scores = pd.DataFrame(X * (inverse @ r)[:, None])
    scores = scores.groupby(record.design.terms[0].codes).sum().to_numpy()
    meat = np.linalg.inv(G) @ scores.T @ scores @ np.linalg.inv(G)
    robust = series.get_robustcov_results("CR0", groups="g")
    assert_allclose(robust.cov_params(), meat, rtol=1e-7)


def test_residuals(series):
    r = series.resid
    sd = np.sqrt(_covariance(series).diagonal())
    pearson = series.residuals(type="pearson", scaled=True)
    assert_allclose(pearson, r / sd)
    normal = series.residuals(type="normalized").to_numpy()
    inverse = np.linalg.inv(_covariance(series))
    assert_allclose(normal @ normal, r @ inverse @ r, rtol=1e-9)
    same = series.residuals(type="normalized", scaled=True)
    assert_allclose(same, normal)
    white = series.residuals("marginal", standardize="cholesky").to_numpy()
    m = series.residuals("marginal").to_numpy()
    wanted = m @ np.linalg.inv(_marginal(series)) @ m
    assert_allclose(white @ white, wanted, rtol=1e-9)


def test_conditional_aic(series):
    found = series.caic()
    n = series.nobs
    S, V = _covariance(series), _marginal(series)
    r = np.asarray(series.resid)
    size = np.linalg.slogdet(2.0 * np.pi * S)[1] + r @ np.linalg.solve(S, r)
    assert_allclose(found.loglik, -0.5 * size, rtol=1e-10)
    inverse, X = np.linalg.inv(V), series.fit_record.X
    P = inverse - inverse @ X @ series.cov_params() @ X.T @ inverse
    trace = n - np.trace(S @ P)
    assert_allclose(found.df - found.correction - 1.0, trace, rtol=1e-8)


# --- comparison -----------------------------------------------------------------------


def test_likelihood_ratio(strata):
    plain = lme.lmer(ORTHODONT, DATA["O"]).fit()
    table = lme.anova(plain, strata).table
    # nlme: anova(lme(..., method = "ML"), update(..., weights = varIdent(~1 | Sex)))
    assert_allclose(table["Chisq"].iloc[1], 2 * (-204.6762 + 214.3192), atol=2e-3)
    assert table["Df"].iloc[1] == 1
    both = strata.update(residual="ar1(1 | Subject) + varIdent(Sex)")
    assert lme.anova(strata, both).table["Df"].iloc[1] == 1
    ar1 = strata.update(residual="ar1(1 | Subject)")
    with pytest.raises(FitError, match="not nested"):
        lme.anova(strata, ar1.update(". ~ . + I(age^2)"))


def test_bootstrap_test_refits_the_structure():
    plain = lme.lmer(ORTHODONT, DATA["O"], REML=False).fit()
    large = plain.update(residual="varIdent(Sex)")
    table = lme.anova(plain, large, test="boot", nsim=15, seed=1).table
    assert table["Pr(boot)"].iloc[1] == pytest.approx(1 / 16)


def test_drop1_keeps_the_structure(strata):
    table = strata.drop1().table
    small = strata.update(". ~ . - age:Sex", REML=False)
    large = strata.update(REML=False)
    assert_allclose(table["LRT"].iloc[1], 2.0 * (large.llf - small.llf), atol=1e-6)


# --- again ----------------------------------------------------------------------------


def test_update_and_refit(strata):
    assert strata.update(residual=None).residual_structure.empty
    ml = strata.update(REML=False)
    assert_allclose(ml.residual_structure["estimate"], 0.4657965, rtol=1e-5)
    y = DATA["O"]["distance"].to_numpy()
    again = strata.refit(y)
    assert_allclose(again.objective, strata.objective, rtol=1e-12)
    other = strata.refit(np.where(DATA["O"]["Sex"] == "Male", y, 24 + 3 * (y - 24)))
    ratio = other.residual_structure["estimate"][0]
    assert_allclose(ratio, 3 * strata.residual_structure["estimate"][0], rtol=0.3)
    twice = other.refit(y)
    assert_allclose(twice.objective, strata.objective, rtol=1e-10)
    many = strata.refit(np.column_stack([y, other.model.endog]))
    assert_allclose(many.params.to_numpy()[1], other.fixef(), rtol=1e-6)
    assert_allclose(many[1].residual_structure["estimate"], ratio, rtol=1e-6)


def test_bootstrap_estimates_the_structure_again(strata):
    boot = strata.bootstrap(6, seed=1, progress=False)
    Y = strata.simulate(6, seed=1).to_numpy()
    for i in range(2):
        fit = strata.refit(Y[:, i])
        assert_allclose(boot.objective[i], fit.objective, rtol=1e-10)
        assert_allclose(boot.wide["sigma"].iloc[i], fit.sigma, rtol=1e-7)


def test_simulated_responses_have_the_covariance(series):
    Y = series.simulate(6000, seed=5, re_form="all").to_numpy()
    S = _covariance(series)
    centred = Y - np.asarray(series.fittedvalues)[:, None]
    found = centred @ centred.T / Y.shape[1]
    sd = np.sqrt(S.diagonal())
    error = np.abs(found - S) / np.outer(sd, sd)
    assert error.max() < 6.0 / np.sqrt(Y.shape[1])


def test_predictions_of_observations(strata):
    frame = DATA["O"].iloc[[0, 70]]
    assert list(frame["Sex"]) == ["Male", "Female"]
    by_fit = strata.get_prediction().summary_frame().iloc[[0, 70]]
    by_data = strata.get_prediction(frame).summary_frame()
    assert_allclose(by_data.to_numpy(float), by_fit.to_numpy(float), rtol=1e-10)
    mean = by_data["mean_se"] ** 2
    half = (by_data["obs_ci_upper"] - by_data["mean"]) / 1.959963984540054
    ratio = strata.residual_structure["estimate"][0]
    wanted = strata.sigma**2 * np.array([1.0, ratio**2])
    assert_allclose(half**2 - mean, wanted, rtol=1e-6)
    # Means need no more than without a structure; observations need the stratum.
    other = lme.lmer("distance ~ age + (1 | Subject)", DATA["O"], residual=IDENT).fit()
    assert_allclose(other.predict(frame.drop(columns="Sex")), other.predict(frame))
    with pytest.raises(DataError, match=r"1 row.* stratum"):
        other.get_prediction(frame.assign(Sex=["Male", "Unknown"]))
    with pytest.raises(FormulaError, match="no column 'Sex'"):
        other.get_prediction(frame.drop(columns="Sex"))


def test_observations_beside_a_correlation_only():
    """A chain leaves each residual the variance sigma^2, a new one too."""
    frame = DATA["O"]
    res = lme.lmer(ORTHODONT, frame, residual="ar1(1 | Subject)").fit()
    found = res.get_prediction(frame.iloc[[0, 70]])
    assert_allclose(found.se_obs**2 - found.se_mean**2, res.scale, rtol=1e-9)


def test_kept_fits(strata, series):
    for res in (strata, series):
        other = pickle.loads(pickle.dumps(res))
        assert_allclose(
            other.residual_structure["estimate"], res.residual_structure["estimate"]
        )
        light = res.without_data()
        assert light.npar == res.npar
        assert "Residual structure" in str(light.summary())


def test_restored_fits(series, tmp_path):
    path = tmp_path / "fit.json"
    series.save_fit(path)
    other = lme.restore_fit(path, series.model.data.frame)
    assert_allclose(other.objective, series.objective, rtol=1e-12)
    assert_allclose(other.fittedvalues, series.fittedvalues, rtol=1e-10)
    assert_allclose(other.convergence.hessian, series.convergence.hessian)
    pd.testing.assert_frame_equal(other.residual_structure, series.residual_structure)
    text = path.read_text().replace('"residual": [', '"residual": [1.0, ', 1)
    path.write_text(text)
    with pytest.raises(DataError, match="damaged"):
        lme.restore_fit(path, series.model.data.frame)


# --- what is refused, and what is not -------------------------------------------------

CORRELATED = [
    lambda res: res.hatvalues(),
    lambda res: res.residuals(standardize="leverage"),
    lambda res: res.get_influence(),
    lambda res: res.get_influence("g"),
    lambda res: res.get_robustcov_results("CR2"),
    lambda res: res.simulate(newdata=res.model.data.frame.head(3)),
    lambda res: res.getME("L"),
]
STRUCTURED = [
    lambda res: res.confint(),
    lambda res: res.profile(),
    lambda res: res.bootstrap(3, kind="groups", progress=False),
    lambda res: res.bootstrap(3, kind="semiparametric", progress=False),
    lambda res: res.ranova(),
]


@pytest.mark.parametrize("call", CORRELATED)
def test_refused_with_a_correlation(series, call):
    with pytest.raises(FitError, match=r"residual|weighted rows"):
        call(series)


@pytest.mark.parametrize("call", STRUCTURED)
def test_refused_with_any_structure(strata, call):
    with pytest.raises(FitError, match="residual structure"):
        call(strata)


def test_reports_without_leverages(series):
    table = series.augment()
    assert table[".hat"].isna().all() and table[".fitted"].notna().all()
    assert "residuals: normal" in str(series.diagnose())
    buffer = io.BytesIO()
    pickle.dump(series.glance(), buffer)
    assert buffer.tell()
