"""Standard errors and intervals of predictions: brute force, references, coverage."""

import gzip
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, stats

import lme
from lme.errors import DataError, FitError, OptionError
from lme.families import resolve
from lme.families.cumulative import DISTRIBUTIONS, distribution
from lme.fit import refit
from lme.generalized import refit as refit_glmm
from lme.inference.prediction import variance as prediction_variance
from lme.inference.prediction.intervals import get_prediction
from lme.inference.prediction.quantiles import Mixture, quantiles
from lme.inference.prediction.rows import rows_of_data, rows_of_fit, selected_effects
from lme.inference.prediction.variance import error_variance
from lme.inference.working import working_weights
from lme.tests.cases import REFERENCE

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

MODELS = {
    "slopes": ("sleepstudy", "Reaction ~ Days + (Days | Subject)", {}),
    "two terms": ("sleepstudy", "Reaction ~ Days + (Days || Subject)", {}),
    "pattern": ("sleepstudy", "Reaction ~ Days + cs(Days | Subject)", {}),
    "no fixed part": ("sleepstudy", "Reaction ~ 0 + (Days | Subject)", {}),
    "crossed": ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", {}),
    "nested": ("Pastes", "strength ~ 1 + (1 | batch / cask)", {}),
    "weights": (
        "sleepstudy",
        "Reaction ~ Days + (Days | Subject)",
        {"weights": np.linspace(0.5, 3.0, 180)},
    ),
    "binomial": (
        "cbpp",
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        {"family": "binomial"},
    ),
    "poisson": (
        "grouseticks",
        "TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)",
        {"family": "poisson"},
    ),
}


@pytest.fixture(scope="module")
def fits():
    made = {}
    for name, (data, formula, options) in MODELS.items():
        build = lme.glmer if "family" in options else lme.lmer
        made[name] = build(formula, lme.datasets.load(data), **options).fit()
    return made


@pytest.fixture(scope="module")
def res(fits):
    return fits["slopes"]


def mixed_model_equations(fit, rows):
    """Variances from the dense inverse of Henderson's equations."""
    design = fit.design
    Z, X = design.Zt.T.toarray(), fit.X
    generalized = hasattr(fit, "family")
    w = working_weights(fit) if generalized else design.weights
    W = np.diag(np.ones(len(X)) if w is None else w)
    Sigma = linalg.block_diag(
        *[
            np.kron(np.eye(len(term.levels)), factor @ factor.T)
            for term, factor in zip(design.terms, fit.lambdas, strict=True)
        ]
    )
    C = np.block([[X.T @ W @ X, X.T @ W @ Z], [Z.T @ W @ X, Z.T @ W @ Z]])
    p = X.shape[1]
    C[p:, p:] += np.linalg.inv(Sigma)
    z = np.zeros((len(rows.X), len(Sigma)))
    start = 0
    for k, term in enumerate(design.terms):
        width = len(term.columns)
        if k in rows.which:
            own = rows.terms[rows.which.index(k)]
            for i, code in enumerate(own.codes):
                if code >= 0:
                    at = start + code * width
                    z[i, at : at + width] = own.values[i]
        start += width * len(term.levels)
    both = np.hstack([rows.X, z])
    return fit.sigma**2 * np.sum(both * np.linalg.solve(C, both.T).T, axis=1)


@pytest.mark.parametrize("re_form", ["all", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_the_joint_inverse_by_brute_force(fits, name, re_form):
    fit = fits[name].fit_record
    rows = rows_of_fit(fit, selected_effects(fit, re_form))
    expected = mixed_model_equations(fit, rows)
    assert_allclose(error_variance(fit, rows), expected, rtol=1e-9, atol=1e-12)


def test_pairs_of_levels_that_the_data_do_not_have(fits):
    fit = fits["nested"].fit_record
    # Levels of both factors, but not of one row.
    frame = pd.DataFrame({"batch": ["A", "B", "Z"], "cask": ["a", "c", "a"]})
    rows = rows_of_data(fit, frame, selected_effects(fit, "all"))
    assert_allclose(error_variance(fit, rows), mixed_model_equations(fit, rows))
    fit = fits["poisson"].fit_record
    levels = [t.levels for t in fit.design.terms]
    frame = pd.DataFrame({"YEAR": ["95", "96"]})
    for term, own in zip(fit.design.terms, levels, strict=True):
        frame[term.group] = [own[-1], own[0]]
    rows = rows_of_data(fit, frame, selected_effects(fit, "all"))
    assert_allclose(error_variance(fit, rows), mixed_model_equations(fit, rows))


def test_small_batches_of_solutions_are_one_answer(fits, monkeypatch):
    fit = fits["crossed"].fit_record
    rows = rows_of_fit(fit, selected_effects(fit, "all"))
    expected = error_variance(fit, rows)
    monkeypatch.setattr(prediction_variance, "_COLUMNS", 2)
    monkeypatch.setattr(prediction_variance, "_ROWS", 7)
    assert_allclose(error_variance(fit, rows), expected, rtol=1e-13)


def test_standard_errors_of_lme4():
    path = REFERENCE / "prediction" / "predictions.json.gz"
    iris = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes()))["iris"])
    res = lme.lmer("Petal_Width ~ Sepal_Length + (1 | Species)", iris).fit()
    # The numbers of lme4's tests of predict(se.fit = TRUE).
    se = res.get_prediction().se_mean
    assert_allclose(se.iloc[0], 0.0271816, atol=5e-8)
    assert_allclose(res.get_prediction(re_form="none").se_mean.iloc[0], 0.45115, 1e-5)
    some = iris[iris["Species"] == "virginica"].iloc[::7]
    assert_allclose(res.get_prediction(some).se_mean, se.loc[some.index], rtol=1e-12)


def test_without_random_effects_it_is_the_covariance_of_the_estimates(fits):
    for name in ("slopes", "binomial"):
        res = fits[name]
        cov_type = {"cov_type": "rx"} if name == "binomial" else {}
        cov = np.asarray(res.cov_params(**cov_type))
        X = res.fit_record.X
        found = res.get_prediction(re_form="none", which="linear").se_mean
        assert_allclose(found**2, np.sum((X @ cov) * X, axis=1), rtol=1e-9)
    cov = np.asarray(fits["binomial"].cov_params(cov_type="hessian"))
    found = fits["binomial"].get_prediction(
        re_form="none", which="linear", cov_type="hessian"
    )
    X = fits["binomial"].fit_record.X
    assert_allclose(found.se_mean**2, np.sum((X @ cov) * X, axis=1), rtol=1e-9)


def test_no_variance_between_groups():
    data = lme.datasets.load("Dyestuff2")
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", data).fit()
    assert res.is_singular
    found = res.get_prediction()
    assert_allclose(found.se_mean, res.sigma / np.sqrt(len(data)), rtol=1e-9)
    fresh = res.get_prediction({"Batch": ["new"]}, new_levels="sample")
    assert_allclose(fresh.se_mean, found.se_mean.iloc[0], rtol=1e-9)


# --- what the variance is made of -----------------------------------------------------


def test_parts_of_the_variance(res):
    frame = pd.DataFrame({"Days": [0, 9], "Subject": "new"})
    population = res.get_prediction(frame, new_levels="population")
    sample = res.get_prediction(frame, new_levels="sample")
    z = np.array([[1.0, 0.0], [1.0, 9.0]])
    Sigma = np.asarray(res.VarCorr()["Subject"])
    between = np.sum((z @ Sigma) * z, axis=1)
    assert_allclose(population.predicted_mean, sample.predicted_mean)
    assert_allclose(sample.se_mean**2, population.se_mean**2 + between)
    assert_allclose(sample.se_obs**2, sample.se_mean**2 + res.sigma**2)
    # An observation belongs to some group, whatever the mean is a mean of.
    assert_allclose(population.se_obs, sample.se_obs)
    none = res.get_prediction(frame[["Days"]], re_form="none")
    assert_allclose(none.se_mean, population.se_mean)
    assert_allclose(none.se_obs, sample.se_obs)
    known = res.get_prediction({"Days": [2], "Subject": ["308"]})
    assert_allclose(known.se_obs**2, known.se_mean**2 + res.sigma**2)
    weighted = res.get_prediction({"Days": [2], "Subject": ["308"]}, weights=[4.0])
    assert_allclose(weighted.se_obs**2, known.se_mean**2 + res.sigma**2 / 4)
    part = res.get_prediction(
        {"Days": [9], "Subject": ["308"]}, re_form="~ (1 | Subject)"
    )
    rest = part.se_obs**2 - part.se_mean**2 - res.sigma**2
    assert_allclose(rest, 81 * Sigma[1, 1])


def test_weights_of_the_fit_are_for_its_own_rows(fits):
    res = fits["weights"]
    prior = MODELS["weights"][2]["weights"]
    own = res.get_prediction()
    assert_allclose(own.se_obs**2 - own.se_mean**2, res.sigma**2 / prior)
    new = res.get_prediction(lme.datasets.load("sleepstudy"))
    assert_allclose(new.se_obs**2 - new.se_mean**2, res.sigma**2)


def test_the_table_and_its_levels(res):
    found = res.get_prediction()
    table = found.summary_frame(alpha=0.1)
    z = stats.norm.isf(0.05)
    assert list(table) == [
        *["mean", "mean_se", "mean_ci_lower", "mean_ci_upper"],
        *["obs_ci_lower", "obs_ci_upper"],
    ]
    assert_allclose(table["mean"], res.predict())
    assert_allclose(table["mean_ci_upper"], table["mean"] + z * found.se_mean)
    assert_allclose(table["obs_ci_lower"], table["mean"] - z * found.se_obs)
    assert_allclose(found.conf_int(0.1, obs=True)["lower"], table["obs_ci_lower"])
    assert repr(found).split()[:2] == ["mean", "mean_se"]
    again = pickle.loads(pickle.dumps(found))
    pd.testing.assert_frame_equal(again.summary_frame(), found.summary_frame())


def test_new_levels_without_a_prediction(res):
    new = pd.DataFrame({"Days": [1.0, 1.0], "Subject": ["308", "x"]})
    table = res.get_prediction(new, new_levels="nan").summary_frame()
    known = res.get_prediction(new.head(1)).summary_frame()
    pd.testing.assert_frame_equal(table.head(1), known)
    assert table.iloc[1].isna().all()
    assert res.get_prediction(new.head(1))._repr_html_().count("<tr") == 2


def test_new_levels_of_a_factor_with_known_covariance():
    """A level that is not among the known ones has their mean variance."""
    data = lme.datasets.load("sleepstudy").astype({"Subject": str})
    names = sorted(data["Subject"].unique())
    K = pd.DataFrame(0.5 + 1.5 * np.eye(18), index=names, columns=names)
    formula = "Reaction ~ Days + (1 | Subject)"
    res = lme.lmer(formula, data, covariances={"Subject": K}).fit()
    new = {"Days": [3.0], "Subject": ["x"]}
    found = res.get_prediction(new, new_levels="population")
    variance = 2.0 * res.VarCorr()["Subject"].iloc[0, 0] + res.scale
    assert_allclose(found.se_obs**2 - found.se_mean**2, variance)
    drawn = res.get_prediction(new, new_levels="sample")
    assert_allclose(drawn.se_obs, found.se_obs)
    assert_allclose(drawn.se_mean**2 - found.se_mean**2, variance - res.scale)


def test_a_term_without_columns_changes_nothing(res):
    data = lme.datasets.load("sleepstudy").assign(half=np.tile(["a", "b"], 90))
    other = lme.lmer("Reaction ~ Days + (Days | Subject) + (0 | half)", data).fit()
    new = pd.DataFrame({"Days": [1.0], "Subject": ["x"], "half": ["c"]})
    for one in (None, new):
        tables = [
            each.get_prediction(
                one, new_levels="sample", ddf="satterthwaite"
            ).summary_frame()
            for each in (other, res)
        ]
        pd.testing.assert_frame_equal(*tables, rtol=1e-9)


def test_errors_of_observations_are_those_of_linear_models(fits):
    """A generalized model has limits for observations, not one standard deviation."""
    found = fits["binomial"].get_prediction()
    assert found.se_obs.isna().all() and found.se_mean.notna().all()
    assert found.summary_frame().notna().all(axis=None)


def test_columns_for_the_observation_that_are_missing():
    data = lme.datasets.load("sleepstudy")
    res = lme.lmer("Reaction ~ 1 + (Days | Subject)", data).fit()
    found = res.get_prediction({"anything": [1]}, re_form="none")
    table = found.summary_frame()
    assert table["mean_ci_lower"].notna().all() and table["obs_ci_lower"].isna().all()
    with pytest.raises(DataError, match="'Days'"):
        found.conf_int(obs=True)


def test_missing_values_stay_in_their_rows(res):
    frame = pd.DataFrame({"Days": [1.0, np.nan, 2.0], "Subject": ["308", "309", None]})
    table = res.get_prediction(frame, new_levels="sample").summary_frame()
    assert table.notna().all(axis=1).tolist() == [True, False, True]
    lonely = res.get_prediction(frame.iloc[[0]]).summary_frame()
    assert_allclose(table.iloc[[0]], lonely)


# --- degrees of freedom ---------------------------------------------------------------


def test_degrees_of_freedom(res):
    days = pd.DataFrame({"Days": [0, 9]})
    found = res.get_prediction(days, re_form="none", ddf="satterthwaite")
    L = np.array([[1.0, 0.0], [1.0, 9.0]])
    expected = res.t_test(L, ddf="satterthwaite")
    # Gradients here are differences, there exact.
    assert_allclose(found.df["mean"], np.ravel(expected.df_denom), rtol=1e-6)
    half = stats.t.isf(0.025, 17) * found.se_mean
    assert_allclose(found.conf_int()["upper"], found.predicted_mean + half, rtol=1e-6)
    assert np.isinf(res.get_prediction(days, re_form="none").df).all(axis=None)


def test_degrees_of_freedom_with_known_sigma():
    """The residual variance adds no uncertainty of its own."""
    data = lme.datasets.load("sleepstudy")
    res = lme.lmer(MODELS["slopes"][1], data, sigma=25.0).fit()
    days = pd.DataFrame({"Days": [0, 9]})
    found = res.get_prediction(days, re_form="none", ddf="satterthwaite")
    expected = res.t_test(np.array([[1.0, 0.0], [1.0, 9.0]]), ddf="satterthwaite")
    assert_allclose(found.df["mean"], np.ravel(expected.df_denom), rtol=1e-5)
    assert (found.df["obs"] > found.df["mean"]).all()


def test_degrees_of_freedom_of_one_way_layouts():
    # Batch means plus the residual: Satterthwaite's sum of two mean squares.
    data = lme.datasets.load("Dyestuff")
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", data).fit()
    found = res.get_prediction(
        {"Batch": ["new"]}, new_levels="sample", ddf="satterthwaite"
    )
    # var(new) = MSB/n + (MSB - MSE)/m with m = 5 a batch and n = 30 rows.
    table = data.groupby("Batch", observed=True)["Yield"]
    MSB, MSE = 5 * table.mean().var(), table.var().mean()
    a, b = MSB * (1 / 30 + 1 / 5), -MSE / 5
    assert_allclose(found.se_mean**2, a + b, rtol=1e-6)
    expected = (a + b) ** 2 / (a**2 / 5 + b**2 / 24)
    assert_allclose(found.df["mean"], expected, rtol=1e-5)


# --- coverage -------------------------------------------------------------------------


def coverage(groups, simulations, ddf, seed):
    """Shares of intervals of 95% that hold what they are for."""
    rng = np.random.default_rng(seed)
    x, g = np.tile(np.linspace(-1, 1, 5), groups), np.repeat(np.arange(groups), 5)
    data = pd.DataFrame({"x": x, "g": g.astype(str), "y": rng.standard_normal(x.size)})
    start = lme.lmer("y ~ x + (x | g)", data).fit().fit_record
    L = np.linalg.cholesky([[1.0, 0.3], [0.3, 0.5]])
    at = np.linspace(-1, 1, groups)
    old = pd.DataFrame({"x": at, "g": np.arange(groups).astype(str)})
    new = old.assign(g=[f"new{i}" for i in range(groups)])
    found = {"mean old": [], "obs old": [], "mean new": [], "obs new": [], "none": []}
    for _ in range(simulations):
        b, c = (rng.standard_normal((groups, 2)) @ L.T for _ in "bc")
        y = 1 + 2 * x + b[g, 0] + b[g, 1] * x + 0.7 * rng.standard_normal(x.size)
        fit = refit(start, y)
        noise = 0.7 * rng.standard_normal(groups)
        options = {"ddf": ddf}
        for name, frame, effects in (("old", old, b), ("new", new, c)):
            truth = 1 + 2 * at + effects[:, 0] + effects[:, 1] * at
            result = get_prediction(fit, frame, new_levels="sample", **options)
            for kind, target in (("mean", truth), ("obs", truth + noise)):
                limits = result.conf_int(obs=kind == "obs")
                inside = (limits["lower"] < target) & (target < limits["upper"])
                found[f"{kind} {name}"].append(inside.mean())
        limits = get_prediction(fit, new, re_form="none", **options).conf_int(obs=True)
        inside = (limits["lower"] < target) & (target < limits["upper"])
        found["none"].append(inside.mean())
    # Groups of one simulation share the estimates: errors are those of simulations.
    return {
        name: (np.mean(shares), np.std(shares) / np.sqrt(simulations))
        for name, shares in found.items()
    }


def test_coverage():
    for name, (share, error) in coverage(40, 60, "z", 1).items():
        # Nominal but for Monte-Carlo error, and .005 for theta taken as known.
        assert abs(share - 0.95) < 3 * error + 0.005, name


def test_coverage_with_few_groups():
    normal = coverage(8, 30, "z", 2)
    student = coverage(8, 30, "satterthwaite", 2)
    # (With so few groups the mean of a new one is covered more: .96 to .97.)
    for name in ("obs new", "none"):
        share, error = student[name]
        assert abs(share - 0.95) < 3 * error, name
        assert share > normal[name][0], name


def test_coverage_of_counts():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(40), 6)
    data = pd.DataFrame({"g": g.astype(str), "y": rng.poisson(3.0, g.size)})
    start = lme.glmer("y ~ 1 + (1 | g)", data, family="poisson").fit().fit_record
    old = pd.DataFrame({"g": np.arange(40).astype(str)})
    inside = {"mean": [], "obs": [], "new": []}
    for _ in range(30):
        b, c = 0.5 * rng.standard_normal((2, 40))
        fit = refit_glmm(start, rng.poisson(np.exp(1 + b[g])).astype(float))
        found = get_prediction(fit, old)
        limits, truth = found.conf_int(), np.exp(1 + b)
        inside["mean"].append((limits["lower"] < truth) & (truth < limits["upper"]))
        limits, y = found.conf_int(obs=True), rng.poisson(truth)
        inside["obs"].append((limits["lower"] <= y) & (y <= limits["upper"]))
        limits = get_prediction(fit, {"g": ["new"]}, new_levels="sample").conf_int(
            obs=True
        )
        y = rng.poisson(np.exp(1 + c))
        low, high = limits.iloc[0]
        inside["new"].append((low <= y) & (y <= high))
    shares = {name: np.mean(parts) for name, parts in inside.items()}
    # 1200 intervals: a standard error of .007. Counts are covered more, not less.
    assert abs(shares["mean"] - 0.95) < 0.025
    assert 0.93 < shares["obs"] < 0.985
    assert 0.93 < shares["new"] < 0.985


# --- generalized models ---------------------------------------------------------------


def test_scales_of_a_generalized_model(fits):
    res = fits["binomial"]
    linear, mean = res.get_prediction(which="linear"), res.get_prediction()
    mu = mean.predicted_mean
    assert_allclose(mu, res.predict())
    assert_allclose(mean.se_mean, mu * (1 - mu) * linear.se_mean, rtol=1e-9)
    limits = linear.conf_int()
    for end in ("lower", "upper"):
        expected = 1 / (1 + np.exp(-limits[end]))
        assert_allclose(mean.conf_int()[end], expected, rtol=1e-12)
    assert linear.summary_frame()["obs_ci_lower"].isna().all()
    size = lme.datasets.load("cbpp")["size"]
    successes = mean.summary_frame()["obs_ci_upper"] * size
    assert_allclose(successes, successes.round(), atol=1e-9)
    one = res.get_prediction({"period": ["1"], "herd": ["1"]}).summary_frame()
    assert one["obs_ci_upper"].tolist() == [1.0]  # one trial
    many = {"period": ["1"], "herd": ["1"], "n": [50]}
    trials = res.get_prediction(many, weights="n").summary_frame()
    assert 0.3 < trials["obs_ci_upper"].iloc[0] < 0.7


def test_links_that_fall(fits):
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(12), 10)
    mean = 1 / (2 + 0.2 * rng.standard_normal(12)[g])
    data = pd.DataFrame({"g": g, "y": rng.gamma(5.0, mean / 5.0)})
    res = lme.glmer("y ~ 1 + (1 | g)", data, family="gamma", link="inverse").fit()
    table = res.get_prediction().summary_frame()
    assert (table["mean_ci_lower"] < table["mean"]).all()
    assert (table["mean"] < table["mean_ci_upper"]).all()
    inside = data["y"].between(table["obs_ci_lower"], table["obs_ci_upper"]).mean()
    assert 0.88 < inside <= 1.0


LAWS = {
    "bernoulli": ("bernoulli", None, 0.3, 0.0, 1.0),
    "binomial": ("binomial", None, -0.5, 0.0, 20.0),
    "poisson": ("poisson", None, 1.0, 0.0, 1.0),
    "large counts": ("poisson", None, 9.0, 0.0, 1.0),
    "negative binomial": ("negative_binomial", None, 2.0, 0.4, 1.0),
    "gamma": ("gamma", "log", 1.0, -1.2, 1.0),
    "inverse gamma": ("gamma", "inverse", 3.0, -1.2, 1.0),
    "inverse gaussian": ("inverse_gaussian", "log", 0.5, -1.6, 2.0),
    "normal": ("gaussian", "log", 1.0, -1.2, 1.0),
}


def test_every_family_has_a_distribution():
    assert {law[0] for law in LAWS.values()} == set(DISTRIBUTIONS)
    with pytest.raises(OptionError, match="distribution function"):

        class Unknown(type(resolve("poisson"))):
            name = "unknown"

        distribution(Unknown())


@pytest.mark.parametrize("sd", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", LAWS)
def test_quantiles_by_simulation(name, sd):
    family, link, eta, extra, weight = LAWS[name]
    family, rng, n = resolve(family, link), np.random.default_rng(6), 40_000
    one = Mixture(family, *(np.array([v]) for v in (eta, sd, weight)), extra)
    etas = eta + sd * rng.standard_normal(n)
    etas = np.where(etas > 0, etas, eta) if name == "inverse gamma" else etas
    y = family.draw(rng, family.mean(etas), np.full(n, weight), extra)
    for probability in (0.025, 0.5, 0.975):
        q = quantiles(one, probability)[0]
        # Four standard errors of a simulated share.
        error = 4 * np.sqrt(probability * (1 - probability) / n)
        assert np.mean(y < q - 1e-9) < probability + error
        assert np.mean(y <= q + 1e-9) > probability - error


def test_quantiles_without_uncertainty_are_those_of_the_family():
    mean = np.array([0.5, 3.0, 40.0])
    ones, zero = np.ones(3), np.zeros(3)
    for probability in (0.025, 0.3, 0.975):
        counts = Mixture(resolve("poisson"), np.log(mean), zero, ones, 0.0)
        expected = stats.poisson.ppf(probability, mean)
        assert_allclose(quantiles(counts, probability), expected)
        sizes = Mixture(resolve("gamma", "log"), np.log(mean), zero, ones, np.log(0.5))
        expected = stats.gamma.ppf(probability, 2.0, scale=mean / 2.0)
        assert_allclose(quantiles(sizes, probability), expected, rtol=1e-6)
        law = resolve("inverse_gaussian", "log")
        times = Mixture(law, np.log(mean), zero, ones, np.log(0.5))
        expected = stats.invgauss.ppf(probability, mean / 2.0, scale=2.0)
        assert_allclose(quantiles(times, probability), expected, rtol=1e-6)
    unknown = Mixture(
        resolve("poisson"), np.array([np.nan, 0.0]), ones[:2], ones[:2], 0
    )
    assert np.isnan(quantiles(unknown, 0.5)).tolist() == [True, False]


# --- bad input ------------------------------------------------------------------------


def test_what_is_refused(res, fits):
    with pytest.raises(OptionError, match="alpha"):
        res.get_prediction().conf_int(5)
    with pytest.raises(OptionError, match="alpha"):
        res.get_prediction().summary_frame(alpha="a")
    with pytest.raises(OptionError, match="'sample'"):
        res.get_prediction({"Days": [1], "Subject": ["x"]}, new_levels="smple")
    with pytest.raises(OptionError, match="without newdata"):
        res.get_prediction(weights=np.ones(180))
    with pytest.raises(DataError, match="not positive"):
        res.get_prediction({"Days": [1], "Subject": ["308"]}, weights=[0.0])
    with pytest.raises(OptionError, match="'satterthwaite'"):
        res.get_prediction(ddf="saterthwaite")
    with pytest.raises(OptionError, match="linear mixed models"):
        fits["binomial"].get_prediction(ddf="satterthwaite")
    light = lme.lmer(MODELS["slopes"][1], lme.datasets.load("sleepstudy")).fit()
    light.remove_data()
    with pytest.raises(FitError, match="get_prediction needs the data"):
        light.get_prediction()
    assert_allclose(light.predict({"Days": [0], "Subject": ["308"]}), 253.6637, 1e-6)
