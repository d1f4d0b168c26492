"""Cluster-robust covariances: clubSandwich, brute force, and exact identities."""

import pickle

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

import lme
from lme.errors import (
    DataError,
    DesignError,
    FitError,
    FormulaError,
    GroupError,
    OptionError,
)
from lme.inference.robust import bias_reduction
from lme.inference.robust.clusters import find_clusters
from lme.inference.robust.generalized_sandwich import (
    cluster_scores,
    generalized_sandwich,
)
from lme.inference.robust.sandwich import CORRECTIONS, inverse_rows, linear_sandwich
from lme.tests.glmm_cases import GLMM_CASES, NB_CASES
from lme.tests.measures_cases import ROBUST, STORED, frame, robust_case

SLEEP = frame("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"


def clusters(fit, groups=None):
    return find_clusters(fit.design, groups)


def dense(fit):
    """``V / sigma^2`` as one matrix."""
    design = fit.design
    n = design.nobs
    V = np.eye(n) if design.weights is None else np.diag(1.0 / design.weights)
    for term, factor in zip(design.terms, fit.lambdas, strict=True):
        U = term.values @ factor
        V += (U @ U.T) * (term.codes[:, None] == term.codes)
    return V


@pytest.fixture(scope="module")
def weighted():
    """Unequal weights, clusters above the random effects, one of 60 rows."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(40), rng.integers(2, 9, 40))
    school = np.where(g < 12, 0, 1 + g % 6)
    data = pd.DataFrame({"g": g, "school": school, "x": rng.normal(size=g.size)})
    data["f"] = rng.choice(list("abc"), g.size)
    data["w"] = rng.uniform(0.3, 3.0, g.size)
    data["o"] = rng.normal(size=g.size)
    b = rng.normal(size=(40, 2))[g]
    data["y"] = (
        data["o"] + b[:, 0] + (1 + b[:, 1]) * data["x"] + rng.normal(size=g.size)
    )
    return lme.lmer("y ~ x + f + (x | g)", data, weights="w", offset="o").fit()


# --- references ------------------------------------------------------------------


# CR1p of oats is infinite: there are as many coefficients as blocks.
PAIRS = [
    (name, t) for name in ROBUST for t in CORRECTIONS if (name, t) != ("oats", "CR1p")
]


@pytest.mark.parametrize("name, type", PAIRS)
def test_clubsandwich(name, type):
    want = STORED["sandwich"][name][type]
    fit = robust_case(name).fit_record
    groups = STORED["pairs"] if name == "sleep_pairs" else None
    found = linear_sandwich(fit, clusters(fit, groups), type)
    V = np.array(want["vcov"]).reshape(found.covariance.shape)
    scale = np.sqrt(np.outer(V.diagonal(), V.diagonal()))
    # Both optima of theta are good to about 1e-8.
    assert_allclose(found.covariance / scale, V / scale, atol=2e-7)
    identity = np.eye(len(V))
    assert_allclose([found.df(row[None]) for row in identity], want["df"], rtol=1e-6)
    if "htz" in want:
        L = identity[1:]
        b = L @ found.beta
        F = float(b @ np.linalg.solve(L @ found.covariance @ L.T, b)) / len(L)
        assert_allclose(
            [F * found.scaling(L), len(L), found.df(L)], want["htz"], rtol=1e-6
        )


# --- brute force -------------------------------------------------------------------


def test_dense_matrices(weighted):
    fit = weighted.fit_record
    V, X = dense(fit), fit.X
    Vi = np.linalg.inv(V)
    assert_allclose(inverse_rows(fit), Vi @ X, atol=1e-10)
    M = np.linalg.inv(X.T @ Vi @ X)
    e = fit.design.y - fit.design.offset - X @ fit.beta
    made = clusters(fit, weighted.model.data.frame["school"])
    meat = {"CR0": 0.0, "CR2": 0.0, "CR3": 0.0}
    for rows in made.rows():
        block = np.ix_(rows, rows)
        W = Vi[block]
        D = np.linalg.cholesky(V[block]).T
        H = X[rows] @ M @ X[rows].T @ W
        values, vectors = np.linalg.eigh(D @ (V[block] - X[rows] @ M @ X[rows].T) @ D.T)
        A2 = D.T @ (vectors / np.sqrt(values)) @ vectors.T @ D
        A3 = np.linalg.inv(np.eye(rows.size) - H)
        for type, A in (("CR0", np.eye(rows.size)), ("CR2", A2), ("CR3", A3)):
            s = X[rows].T @ W @ A @ e[rows]
            meat[type] = meat[type] + np.outer(s, s)
    for type, inner in meat.items():
        found = linear_sandwich(fit, made, type)
        assert_allclose(found.covariance, M @ inner @ M, rtol=1e-8, atol=1e-14)


def test_degrees_of_freedom_by_quadratic_forms(weighted):
    """The two moments of ``l'C l`` as a quadratic form in the rows."""
    fit = weighted.fit_record
    V, X = dense(fit), fit.X
    Vi, M = np.linalg.inv(V), fit.vcov_unscaled
    made = clusters(fit, weighted.model.data.frame["school"].to_numpy())
    residual = np.eye(len(V)) - X @ M @ X.T @ Vi
    L = np.array([[0.0, 1.0, -0.5, 0.2]])
    Q = np.zeros_like(V)
    for rows in made.rows():
        s = residual[rows].T @ Vi[np.ix_(rows, rows)] @ X[rows] @ M @ L[0]
        Q += np.outer(s, s)
    QV = Q @ V
    expected = np.trace(QV) ** 2 / np.trace(QV @ QV)
    assert_allclose(linear_sandwich(fit, made, "CR0").df(L), expected)


def test_jackknife(weighted):
    """CR3 is the spread of the estimates without each cluster, theta held."""
    fit = weighted.fit_record
    V, X, y = dense(fit), fit.X, fit.design.y - fit.design.offset
    made = clusters(fit, weighted.model.data.frame["school"].to_numpy())
    spread = 0.0
    for rows in made.rows():
        rest = np.setdiff1d(np.arange(y.size), rows)
        Vi = np.linalg.inv(V[np.ix_(rest, rest)])
        beta = np.linalg.solve(X[rest].T @ Vi @ X[rest], X[rest].T @ Vi @ y[rest])
        spread = spread + np.outer(fit.beta - beta, fit.beta - beta)
    assert_allclose(linear_sandwich(fit, made, "CR3").covariance, spread, rtol=1e-7)


@pytest.mark.parametrize("groups", ["g", "school"])
def test_unbiased_under_the_working_model(weighted, groups):
    """The expectation of CR2 is the covariance of the working model, exactly."""
    fit = weighted.fit_record
    made = clusters(fit, weighted.model.data.frame[groups])
    found = linear_sandwich(fit, made, "CR2")
    M = found.bread
    each = found.inner - np.swapaxes(found.outer, 1, 2) @ M @ found.outer
    assert_allclose(M @ each.sum(axis=0) @ M, M, rtol=1e-9, atol=1e-12)
    # And that of CR0 is not.
    plain = linear_sandwich(fit, made, "CR0")
    each = plain.inner - np.swapaxes(plain.outer, 1, 2) @ M @ plain.outer
    assert (np.diag(M @ each.sum(axis=0) @ M) < np.diag(M)).all()


@pytest.mark.parametrize("name", ["scots", "machines", "sleep_pairs"])
def test_large_clusters_one_by_one(name, monkeypatch):
    fit = robust_case(name).fit_record
    made = clusters(fit, STORED["pairs"] if name == "sleep_pairs" else None)
    results = []
    for large in (0, 10_000):
        monkeypatch.setattr(bias_reduction, "_LARGE", large)
        results.append(linear_sandwich(fit, made, "CR2"))
    one, batch = results
    assert_allclose(one.covariance, batch.covariance, rtol=1e-9, atol=1e-14)
    assert_allclose(one.inner, batch.inner, rtol=1e-7, atol=1e-9)


def test_statsmodels_without_variance_between_groups():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(15), 8)
    x, e = rng.normal(size=120), rng.normal(size=120)
    e -= np.bincount(g, e)[g] / 8
    x -= np.bincount(g, x)[g] / 8
    data = pd.DataFrame({"y": x + e * (1 + np.abs(x)), "x": x, "g": g})
    data["y"] -= (np.bincount(g, data["y"]) / 8)[g]
    res = lme.lmer("y ~ x + (1 | g)", data).fit()
    assert res.fit_record.theta[0] == 0.0
    ols = sm.OLS(data["y"], sm.add_constant(data[["x"]])).fit()
    for correct in (True, False):
        found = res.get_robustcov_results("cluster", use_correction=correct)
        kwds = {"groups": g, "use_correction": correct}
        want = ols.get_robustcov_results("cluster", **kwds)
        assert_allclose(found.bse.iloc[1], want.bse[1], rtol=1e-8)


# --- through the results -------------------------------------------------------------


@pytest.fixture(scope="module")
def sleep():
    return lme.lmer(FORMULA, frame("uneven")).fit()


def test_everything_uses_it(sleep):
    before = sleep.bse.copy()
    found = sleep.get_robustcov_results()
    want = STORED["sandwich"]["sleep_uneven"]["CR2"]
    se = np.sqrt(np.array(want["vcov"]).diagonal())
    assert_allclose(found.bse, se, rtol=1e-6)
    assert_allclose(np.sqrt(np.diag(found.cov_params())), se, rtol=1e-6)
    row = found.contrast("Days").iloc[0]
    assert_allclose(row[["se", "df"]], [se[1], want["df"][1]], rtol=1e-6)
    assert_allclose(found.t_test("Days = 0").sd.item(), se[1], rtol=1e-6)
    assert_allclose(found.conf_int().loc["Days"], row[["lower", "upper"]])
    assert_allclose(found.pvalues["Days"], row["p"])
    table = found.anova()
    assert_allclose(table["F value"], want["htz"][0], rtol=1e-6)
    assert_allclose(table["DenDF"], want["htz"][2], rtol=1e-6)
    joint = found.contrast(["(Intercept) = 250", "Days = 10"], joint=True)
    assert joint["DenDF"].iloc[0] < row["df"]
    text = found.summary().as_text()
    assert "cluster-robust, CR2 by Subject (18 clusters)" in text
    assert "tests by t (Satterthwaite, CR2 by Subject)" in text
    assert (found.cov_type, found.cov_kwds["type"]) == ("cluster", "CR2")
    # The first result is as it was.
    assert (sleep.cov_type, sleep.cov_kwds) == ("nonrobust", {})
    assert_allclose(sleep.bse, before)
    assert "cluster" not in sleep.summary().as_text()


def test_ways_to_ask(sleep):
    want = sleep.get_robustcov_results("CR1").bse
    assert_allclose(sleep.get_robustcov_results(type="CR1").bse, want)
    options = {"cov_type": "cluster", "cov_kwds": {"type": "CR1"}}
    assert_allclose(lme.lmer(FORMULA, frame("uneven")).fit(**options).bse, want)
    labels = frame("uneven")["Subject"]
    for groups in ("Subject", labels, labels.astype(str).to_numpy(), list(labels)):
        again = sleep.get_robustcov_results("CR1", groups=groups)
        assert_allclose(again.bse, want)
    normal = sleep.get_robustcov_results("CR1").contrast("Days", ddf="z")
    assert "z" in normal and np.isinf(normal["df"].iloc[0])
    assert_allclose(normal["se"], want["Days"])


def test_clusters_by_column_and_missing_rows():
    data = SLEEP.assign(block=np.repeat(np.arange(6), 30), u=1.0)
    data.loc[[4, 77], "u"] = np.nan
    res = lme.lmer("Reaction ~ Days + u:Days - Days + (1 | Subject)", data).fit()
    by_name = res.get_robustcov_results(groups="block")
    assert by_name.cov_kwds["count"] == 6
    every = res.get_robustcov_results(groups=data["block"])
    used = res.get_robustcov_results(groups=data["block"].drop([4, 77]))
    assert_allclose(every.bse, by_name.bse)
    assert_allclose(used.bse, by_name.bse)


def test_kept_and_light(sleep):
    found = sleep.get_robustcov_results()
    again = pickle.loads(pickle.dumps(found))
    again.remove_data()
    assert_allclose(again.bse, found.bse)
    assert_allclose(again.contrast("Days"), found.contrast("Days"))
    with pytest.raises(FitError, match="needs the data"):
        again.get_robustcov_results("CR0")


def test_refusals(sleep):
    crossed = lme.lmer(
        "diameter ~ 1 + (1 | plate) + (1 | sample)", lme.datasets.load("Penicillin")
    ).fit()
    with pytest.raises(DesignError, match="Level 'a' of 'plate' is in more than one"):
        crossed.get_robustcov_results()
    with pytest.raises(DesignError, match="of 'Subject'"):
        sleep.get_robustcov_results(groups="Days")
    with pytest.raises(FormulaError, match="Did you mean 'Subject'"):
        sleep.get_robustcov_results(groups="subject")
    with pytest.raises(DataError, match=r"have 2 rows\. The model uses 162"):
        sleep.get_robustcov_results(groups=[1, 2])
    labels = frame("uneven")["Subject"].astype(str)
    with pytest.raises(DataError, match="missing in 10 rows"):
        sleep.get_robustcov_results(groups=labels.where(labels != "372"))
    with pytest.raises(OptionError, match="Did you mean 'CR3'"):
        sleep.get_robustcov_results(type="CR33")
    with pytest.raises(OptionError, match="HC0"):
        sleep.get_robustcov_results("HC3")
    with pytest.raises(OptionError, match="Did you mean 'groups'"):
        sleep.get_robustcov_results(group="Subject")
    with pytest.raises(OptionError, match="'satterthwaite' and 'z'"):
        sleep.get_robustcov_results().contrast("Days", ddf="kenward-roger")
    with pytest.raises(FitError, match="1 clusters; CR1 needs more than 1"):
        sleep.get_robustcov_results("CR1", groups=np.zeros(162))
    with pytest.raises(GroupError):
        find_clusters(sleep.fit_record.design, "school")


def test_refusals_before_the_fit(binary):
    model = lme.lmer(FORMULA, SLEEP)
    with pytest.raises(OptionError, match="'nonrobust', 'cluster', 'CR0'"):
        model.fit(cov_type="hc1")
    with pytest.raises(OptionError, match="Did you mean 'cluster'"):
        model.fit(cov_type="clutser")
    with pytest.raises(OptionError, match="cov_kwds has no meaning"):
        model.fit(cov_kwds={"groups": "Subject"})
    with pytest.raises(OptionError, match="cov_kwds is of type list"):
        model.fit(cov_type="cluster", cov_kwds=["Subject"])
    with pytest.raises(OptionError, match="given as 'CR1' and as 'CR2'"):
        model.fit(cov_type="CR2", cov_kwds={"type": "CR1"})
    with pytest.raises(OptionError, match="'hessian', 'rx', 'cluster'"):
        binary[1].model.fit(cov_type="sandwich")
    with pytest.raises(OptionError, match="cov_kwds has no meaning"):
        binary[1].model.fit(cov_type="rx", cov_kwds={"groups": "g"})


def test_too_many_coefficients():
    with pytest.raises(FitError, match="6 clusters; CR1p needs more than 6"):
        robust_case("oats").get_robustcov_results("CR1p")


def test_clusters_too_large_for_their_matrices(weighted, monkeypatch):
    monkeypatch.setattr("lme.inference.robust.bias_reduction._LARGE", 3)
    monkeypatch.setattr("lme.inference.robust.bias_reduction._LARGEST", 3)
    with pytest.raises(FitError, match=r"for one cluster.*Use type='CR1'"):
        weighted.get_robustcov_results("CR2", groups="school")
    assert np.isfinite(weighted.get_robustcov_results("CR1", groups="school").bse).all()


def test_jackknife_needs_every_coefficient():
    data = SLEEP.assign(only=(SLEEP["Subject"] == "308") * SLEEP["Days"])
    res = lme.lmer("Reaction ~ Days + only + (1 | Subject)", data).fit()
    with pytest.raises(FitError, match="CR3 is not defined"):
        res.get_robustcov_results("CR3")
    assert np.isfinite(res.get_robustcov_results("CR2").bse).all()


# --- generalized models --------------------------------------------------------------


@pytest.mark.parametrize("name", ["cbpp", "sim_pois", "contraception_slope"])
def test_scores_add_up(name):
    fit = GLMM_CASES[name].fit().fit_record
    scores = cluster_scores(fit, clusters(fit))
    assert np.abs(scores).max() > 5.0
    assert np.abs(scores.sum(axis=0)).max() < 1e-3


def test_scores_with_an_extra_parameter():
    fit = NB_CASES["nb_sim"].fit().fit_record
    scores = cluster_scores(fit, clusters(fit))
    assert scores.shape[1] == fit.point.size
    assert np.abs(scores.sum(axis=0)).max() < 1e-3


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(40), 6)
    x = rng.normal(size=240)
    p = 1 / (1 + np.exp(0.3 - x - rng.normal(size=40)[g]))
    data = pd.DataFrame({"y": (rng.random(240) < p).astype(float), "x": x, "g": g})
    model = lme.glmer("y ~ x + (1 | g)", data, family="bernoulli")
    return data, model.fit(nAGQ=25)


def test_brute_force_likelihood(binary):
    """Against integrals and finite differences that share nothing with the engine."""
    data, res = binary
    nodes = np.linspace(-8, 8, 801)
    density = np.exp(-0.5 * nodes**2) / np.sqrt(2 * np.pi) * (nodes[1] - nodes[0])
    sign = 2 * data["y"].to_numpy()[:, None] - 1

    def logs(par):
        eta = par[0] + par[1] * data["x"].to_numpy()[:, None] + par[2] * nodes
        rows = -np.log1p(np.exp(-sign * eta))
        sums = rows.reshape(40, 6, -1).sum(axis=1)
        return np.log(np.exp(sums) @ density)

    at = np.array([*res.params, res.theta.iloc[0]])
    assert_allclose(logs(at).sum(), res.llf, atol=1e-6)
    steps = 1e-4 * np.eye(3)
    scores = np.array([(logs(at + h) - logs(at - h)) / 2e-4 for h in steps]).T
    H = np.array(
        [
            [
                (
                    logs(at + a + b)
                    - logs(at + a - b)
                    - logs(at - a + b)
                    + logs(at - a - b)
                ).sum()
                / 4e-8
                for b in steps
            ]
            for a in steps
        ]
    )
    V = np.linalg.solve(H, scores.T @ scores) @ np.linalg.inv(H)
    found = res.get_robustcov_results("CR0")
    assert_allclose(found.cov_params(), V[:2, :2], rtol=1e-4)
    assert_allclose(
        res.get_robustcov_results().cov_params(), V[:2, :2] * 40 / 39, rtol=1e-4
    )


def test_generalized_result(binary):
    _, res = binary
    found = res.get_robustcov_results()
    assert found.cov_type == "cluster" and res.cov_type == "hessian"
    assert not np.allclose(found.bse, res.bse, rtol=1e-3)
    text = found.summary().as_text()
    assert "cluster-robust, CR1 by g (40 clusters)" in text
    assert_allclose(found.contrast("x")["se"], found.bse["x"])
    fitted = res.model.fit(nAGQ=25, cov_type="cluster", cov_kwds={"type": "CR0"})
    assert_allclose(fitted.bse * np.sqrt(40 / 39), found.bse, rtol=1e-5)


def test_generalized_refusals(binary):
    _, res = binary
    with pytest.raises(OptionError, match="'CR0', 'CR1', 'CR1S'"):
        res.get_robustcov_results("CR2")
    fast = res.model.fit(nAGQ=0)
    with pytest.raises(FitError, match="not defined for nAGQ=0"):
        fast.get_robustcov_results()
    salamander = GLMM_CASES["salamander"].fit()
    with pytest.raises(DesignError, match="in more than one cluster"):
        generalized_sandwich(
            salamander.fit_record, clusters(salamander.fit_record, "Female")
        )


@pytest.mark.slow
def test_right_where_the_model_is_wrong():
    """With variances that grow with x only the robust errors have their size."""
    rng = np.random.default_rng(77)
    g, x = np.repeat(np.arange(60), 5), rng.normal(size=300)
    estimates, model, robust = [], [], []
    for _ in range(300):
        b = 2.0 * x * rng.normal(size=60)[g]
        y = 1 + x + b + rng.normal(size=300)
        data = pd.DataFrame({"y": y, "x": x, "g": g})
        res = lme.lmer("y ~ x + (1 | g)", data).fit()
        estimates.append(res.params["x"])
        model.append(res.bse["x"])
        robust.append(res.get_robustcov_results().bse["x"])
    truth = np.std(estimates)
    assert np.mean(model) < 0.8 * truth
    assert_allclose(np.sqrt(np.mean(np.square(robust))), truth, rtol=0.1)
