"""Null distributions of likelihood ratios: mixtures, exact ones, the bootstrap."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose
from scipy import stats

import lme
from lme.errors import FitError
from lme.inference.comparison import exact_null, likelihood_ratios
from lme.inference.comparison.boundary import (
    Cone,
    Mixture,
    mixture,
    orthant_weights,
    projection_shares,
)
from lme.inference.comparison.candidates import candidate, without_random_effects
from lme.inference.comparison.exact_null import exact_statistics, spectrum
from lme.inference.comparison.nesting import nesting, space
from lme.inference.comparison.resampled_null import bootstrap_statistics, objectives
from lme.tests.cases import CASES, REFERENCE, data

STORED = json.loads(gzip.decompress((REFERENCE / "comparison.json.gz").read_bytes()))
SIMULATED = STORED["simulated"]
LEVELS = [0.5, 1.0, 2.0, 4.0, 8.0]


def pair(small, large, frame, reml=False, **options):
    """Two candidates; a model without a bar is the larger one without its effects."""
    big = candidate(lme.lmer(large, frame, **options).fit(reml=reml))
    if "|" not in small:
        return without_random_effects(big), big
    return candidate(lme.lmer(small, frame, **options).fit(reml=reml)), big


def found_mixture(small, large, frame, **options):
    both = pair(small, large, frame, **options)
    return mixture(*both, nesting(*both))


def p_values(found, statistics):
    return np.array([found.p_value(s) for s in statistics])


# --- mixtures -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    g, h = np.repeat(np.arange(80), 5), rng.integers(0, 40, 400)
    columns = {"x": rng.standard_normal(400), "z": rng.standard_normal(400)}
    y = 1.0 + 0.8 * rng.standard_normal(80)[g] + rng.standard_normal(400)
    return pd.DataFrame(
        columns
        | {
            "y": y,
            "g": g.astype(str),
            "h": h.astype(str),
            "f": np.tile(list("ab"), 200),
        }
    )


MIXTURES = {
    ("y ~ 1", "y ~ 1 + (1 | g)"): "0.5 chi2(0) + 0.5 chi2(1)",
    ("y ~ 1 + (1 | g)", "y ~ 1 + (x | g)"): "0.5 chi2(1) + 0.5 chi2(2)",
    ("y ~ 1 + (1 | g)", "y ~ x + (x | g)"): "0.5 chi2(2) + 0.5 chi2(3)",
    ("y ~ 1 + (x | g)", "y ~ 1 + (x + z | g)"): "0.5 chi2(2) + 0.5 chi2(3)",
    ("y ~ 1 + (0 + x | g)", "y ~ 1 + (x | g)"): "0.5 chi2(1) + 0.5 chi2(2)",
    ("y ~ 1 + (1 | g)", "y ~ 1 + (1 | g) + (1 | h)"): "0.5 chi2(0) + 0.5 chi2(1)",
    ("y ~ 1 + (1 | g)", "y ~ 1 + homcs(0 + f | g)"): "0.5 chi2(0) + 0.5 chi2(1)",
    ("y ~ 1", "y ~ 1 + homdiag(0 + f | g)"): "0.5 chi2(0) + 0.5 chi2(1)",
    # Inside: a correlation, unequal variances, a fixed effect.
    ("y ~ 1 + (x || g)", "y ~ 1 + (x | g)"): None,
    ("y ~ 1 + (1 | g:f)", "y ~ 1 + zerocorr(0 + f | g)"): None,
    ("y ~ 1 + (1 | g) + (1 | g:f)", "y ~ 1 + (0 + f | g)"): None,
    ("y ~ 1 + (1 | g)", "y ~ x + (1 | g)"): None,
}


@pytest.mark.parametrize("small, large", MIXTURES)
def test_mixture_of_one_variance(frame, small, large):
    found = found_mixture(small, large, frame)
    expected = MIXTURES[small, large]
    assert found is None if expected is None else str(found) == expected


def test_p_value_of_a_mixture():
    """Stram and Lee's halves: for k + 1 against k columns."""
    found = Mixture(1, np.array([0.5, 0.5]), np.empty(0), 2)
    expected = 0.5 * stats.chi2.sf(3.0, 1) + 0.5 * stats.chi2.sf(3.0, 2)
    assert_allclose(found.p_value(3.0), expected)
    assert found.p_value(0.0) == 1.0
    one = Mixture(0, np.array([0.5, 0.5]), np.empty(0), 1)
    assert_allclose(one.p_value(2.0), stats.chi2.sf(2.0, 1) / 2)


def test_weights_of_independent_variances():
    assert_allclose(orthant_weights(np.diag([1.0, 4.0])), [0.25, 0.5, 0.25])
    weights = orthant_weights(np.diag([1.0, 4.0, 0.1]))
    assert_allclose(weights, [0.125, 0.375, 0.375, 0.125])


@pytest.mark.parametrize("m", [2, 3])
def test_weights_equal_simulated_projections(m):
    """The closed forms against projections on the same cone."""
    A = np.random.default_rng(m).standard_normal((m, m))
    covariance = A @ A.T + 0.2 * np.eye(m)
    weights = orthant_weights(covariance)
    assert_allclose(weights.sum(), 1.0)
    cones = [Cone(0, np.eye(1), np.ones((1, 1, 1))) for _ in range(m)]
    for free in (0, 2):
        shares = projection_shares(cones, covariance, free, 20_000)
        closed = Mixture(free, weights, np.empty(0), free + m)
        drawn = Mixture(free, np.empty(0), shares, free + m)
        # Standard errors of means of 20000 probabilities.
        assert_allclose(
            p_values(drawn, LEVELS), p_values(closed, LEVELS), rtol=0.03, atol=1e-3
        )


def test_projection_on_semidefinite_matrices():
    """In the metric of the trace, 2 x 2 matrices form a circular cone of 45 degrees."""
    top = (1.0 - np.cos(np.pi / 4.0)) / 2.0
    closed = Mixture(0, np.array([top, 0.5 - top, 0.5 - top, top]), np.empty(0), 3)
    cone = Cone(0, np.eye(2), space("us", 2))
    shares = projection_shares([cone], np.diag([1.0, 0.5, 1.0]), 0, 20_000)
    drawn = Mixture(0, np.empty(0), shares, 3)
    assert_allclose(
        p_values(drawn, LEVELS), p_values(closed, LEVELS), rtol=0.03, atol=1e-3
    )


def test_weights_do_not_depend_on_units(frame):
    """A covariate in other units, weights in the criterion, a working model."""
    far = frame.assign(x=1e4 * frame["x"], prior=np.linspace(0.5, 2.0, 400))
    near = far.assign(x=frame["x"])
    large = "y ~ 1 + (x || g) + (1 | h)"
    one, other = (
        found_mixture("y ~ 1", large, f, weights="prior") for f in (near, far)
    )
    assert_allclose(one.weights, other.weights, atol=1e-6)
    assert_allclose(one.weights.sum(), 1.0)
    assert not np.allclose(one.weights, [0.125, 0.375, 0.375, 0.125], atol=1e-3)


@pytest.mark.filterwarnings("ignore::lme.ConvergenceWarning")
def test_weights_of_a_generalized_model(frame):
    """Equal weights of the working model: those of the linear model."""
    rng = np.random.default_rng(1)
    counts = frame.assign(n=rng.poisson(5.0, 400)).iloc[::2]
    small, large = "n ~ 1", "n ~ 1 + (x || g) + (1 | h)"
    # There is nothing to find: the search need not come to its end.
    short = {"nAGQ": 0, "control": {"max_evaluations": 20}}
    big = candidate(lme.glmer(large, counts, family="poisson").fit(**short))
    plain = without_random_effects(big)
    found = mixture(plain, big, nesting(plain, big))
    linear = found_mixture(small, large, counts)
    assert_allclose(found.weights, linear.weights, atol=0.01)
    both = found_mixture("n ~ 1", "n ~ 1 + (x | g)", counts)
    model = lme.glmer("n ~ 1 + (x | g)", counts, family="poisson")
    one = candidate(model.fit(**short))
    shares = mixture(plain, one, nesting(plain, one))
    assert_allclose(p_values(shares, LEVELS), p_values(both, LEVELS), rtol=0.05)


def test_unknown_distribution(frame):
    """Correlations mean nothing where variances are zero."""
    found = found_mixture("y ~ 1", "y ~ 1 + ar1(0 + f | g)", frame)
    assert np.isnan(found.p_value(3.0)) and str(found).startswith("not known")
    # Several variances beside a structure that is not linear in its parameters.
    beside = found_mixture(
        "y ~ 1 + ar1(0 + f | h)", "y ~ 1 + ar1(0 + f | h) + (x | g)", frame
    )
    assert np.isnan(beside.p_value(3.0)) and "not linear" in str(beside)
    table = lme.anova(
        lme.lmer("y ~ 1 + (1 | h)", frame).fit(),
        lme.lmer("y ~ 1 + (1 | h) + ar1(0 + f | g)", frame).fit(),
    )
    assert np.isnan(table["Pr(>Chibarsq)"].iloc[1])
    assert np.isfinite(table["Pr(>Chisq)"].iloc[1])


TYPE_I = {
    "one variance": ("none", "y ~ x + z + (1 | g)"),
    "slope with covariance": ("y ~ x + z + (1 | g)", "y ~ x + z + (x | g)"),
    "two variances": ("none", "y ~ x + z + (x || g)"),
    "a whole covariance matrix": ("none", "y ~ x + z + (x | g)"),
    "two columns more": ("y ~ x + z + (1 | g)", "y ~ x + z + (x + z | g)"),
}


@pytest.fixture(scope="module")
def balanced():
    """A hundred groups of six rows with the same covariates."""
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(100), 6)
    x, z = np.tile([-3.0, -2, -1, 1, 2, 3], 100), np.tile([1.0, -1, 0, 0, -1, 1], 100)
    y = rng.standard_normal(100)[g] + rng.standard_normal(600)
    return pd.DataFrame({"x": x, "z": z, "y": y, "g": g.astype(str)})


def _rates(frame, small, large, draws):
    """Shares of p-values below .05 and .2 when the smaller model is true."""
    models = pair(small, large, frame, reml=True)
    found = mixture(*models, nesting(*models))
    drawn = bootstrap_statistics(*models, draws, np.random.default_rng(8))
    drawn = drawn[np.isfinite(drawn)]
    assert drawn.size > 0.999 * draws
    naive = stats.chi2.sf(drawn, models[1].npar - models[0].npar)
    p = p_values(found, drawn)
    return np.mean(p < 0.05), np.mean(p < 0.2), np.mean(naive < 0.05)


@pytest.mark.parametrize("case", list(TYPE_I)[1:4])
def test_type_one_errors(balanced, case):
    rate, often, naive = _rates(balanced, *TYPE_I[case], 400)
    # Three standard errors of 400 draws; small samples err on the safe side.
    assert 0.017 < rate < 0.083 and 0.12 < often < 0.26
    assert naive < rate


@pytest.mark.slow
@pytest.mark.parametrize("case", TYPE_I)
def test_type_one_errors_closely(balanced, case):
    rate, often, naive = _rates(balanced, *TYPE_I[case], 20_000)
    assert 0.042 < rate < 0.053 and 0.17 < often < 0.206
    assert naive < 0.8 * rate


# --- exact distributions --------------------------------------------------------------

NULL_MODELS = {
    "dyestuff": ("Yield ~ 1 + (1 | Batch)", "Dyestuff"),
    "sleep_int": ("Reaction ~ Days + (1 | Subject)", "sleepstudy"),
    "pastes_sample": ("strength ~ 1 + (1 | sample)", "Pastes"),
    "sleep_slope": ("Reaction ~ Days + (0 + Days | Subject)", "sleepstudy"),
}


def _exact(small, large, nsim=100_000, seed=1):
    return exact_statistics(
        spectrum(small, large, nesting(small, large)),
        nsim,
        np.random.default_rng(seed),
    )


@pytest.mark.parametrize("kind", ["rlrt", "lrt"])
@pytest.mark.parametrize("name", NULL_MODELS)
def test_exact_distribution_equals_rlrsim(name, kind):
    """Tail probabilities at RLRsim's quantiles, of 200000 draws there."""
    formula, where = NULL_MODELS[name]
    small, large = pair("none", formula, data(where), reml=kind == "rlrt")
    drawn = _exact(small, large)
    theirs = SIMULATED["null"][name][kind]
    assert_allclose(np.mean(drawn > 1e-8), theirs["positive"], atol=0.01)
    for level, quantile in zip(SIMULATED["levels"], theirs["quantiles"], strict=True):
        if quantile > 1e-3:
            error = 4.0 * np.sqrt(level * (1.0 - level) * (1 / 1e5 + 1 / 2e5))
            assert abs(np.mean(drawn > quantile) - (1.0 - level)) < error


def test_exact_distribution_with_a_fixed_effect():
    """A variance and a fixed effect together."""
    large = candidate(
        lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff")).fit(reml=False)
    )
    small = candidate(
        lme.lmer("Yield ~ 0 + (1 | Batch)", data("Dyestuff")).fit(reml=False)
    )
    drawn = _exact(without_random_effects(small), large)
    theirs = SIMULATED["null"]["dyestuff"]["lrt1"]
    for level, quantile in zip(SIMULATED["levels"], theirs["quantiles"], strict=True):
        error = 4.0 * np.sqrt(level * (1.0 - level) * (1 / 1e5 + 1 / 2e5))
        assert abs(np.mean(drawn > quantile) - (1.0 - level)) < error


def test_exact_distribution_is_that_of_refits():
    """The spectral form against refits of simulated responses, weights included."""
    frame = data("Pastes").assign(w=np.linspace(0.5, 2.0, 60))
    formula = "strength ~ 1 + (1 | batch)"
    for reml in (True, False):
        small, large = pair("none", formula, frame, reml=reml, weights="w")
        exact = np.sort(_exact(small, large, 20_000))
        drawn = bootstrap_statistics(small, large, 1000, np.random.default_rng(2))
        # Kolmogorov's distance over the positive part; 1.63 is its 99% quantile.
        at = np.linspace(1e-3, 8.0, 400)
        F = np.searchsorted(exact, at) / exact.size
        G = np.searchsorted(np.sort(drawn), at) / drawn.size
        assert np.abs(F - G).max() < 1.63 * np.sqrt(1 / 1000 + 1 / 20_000)


def test_exact_p_values():
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff")).fit()
    first = res.ranova(test="exact", nsim=50_000, seed=3)
    p = first["Pr(exact)"].iloc[1]
    assert_allclose(p, SIMULATED["dyestuff_p"], atol=4 * np.sqrt(0.005 / 50_000))
    assert "exact distribution in finite samples, 50000 draws" in first.methods[-1]
    again = res.ranova(test="exact", nsim=50_000, seed=3)
    assert again["Pr(exact)"].iloc[1] == p
    # Beside another variance, as RLRsim does it.
    both = lme.lmer("strength ~ 1 + (1 | batch) + (1 | sample)", data("Pastes")).fit()
    found = both.ranova(test="exact", nsim=50_000, seed=4)
    row = found.table.loc["(1 | batch)"]
    assert_allclose(row["LRT"], SIMULATED["pastes_batch"]["statistic"], atol=1e-6)
    assert_allclose(row["Pr(exact)"], SIMULATED["pastes_batch"]["p"], atol=0.01)
    assert any("approximation" in note for note in found.notes)
    # The chi-square mixture is conservative in small samples.
    assert row["Pr(exact)"] < row["Pr(>Chibarsq)"] < row["Pr(>Chisq)"]


def test_exact_test_refuses():
    frame = data("sleepstudy")
    small = lme.lmer("Reaction ~ Days + (1 | Subject)", frame).fit()
    large = lme.lmer("Reaction ~ Days + (Days | Subject)", frame).fit()
    with pytest.raises(FitError, match="differ by one variance"):
        lme.anova(small, large, test="exact")
    cbpp = data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    counts = lme.glmer(formula, cbpp, family="binomial").fit()
    with pytest.raises(FitError, match="for linear mixed models"):
        counts.ranova(test="exact")
    known = lme.lmer("Reaction ~ Days + (1 | Subject)", frame, sigma=30.0).fit()
    with pytest.raises(FitError, match="known sigma"):
        known.ranova(test="exact")
    held = large.update(
        fix={"theta": {"Subject.Days": 0.0, "Subject.Days.(Intercept)": 0.0}}
    )
    with pytest.raises(FitError, match=r"theta are held in the models.*test='boot'"):
        lme.anova(held, large, test="exact")
    chain = {"residual": "ar1(Days | Subject)"}
    one = lme.lmer("Reaction ~ Days + (1 | Subject)", frame, **chain).fit()
    two = lme.lmer("Reaction ~ Days + (Days || Subject)", frame, **chain).fit()
    with pytest.raises(FitError, match=r"structure ar1\(Days \| Subject\).*'boot'"):
        lme.anova(one, two, test="exact")


def test_exact_test_of_too_many_effects(monkeypatch):
    monkeypatch.setattr(exact_null, "_MOST", 5)
    res = lme.lmer("Yield ~ 1 + (1 | Batch)", data("Dyestuff")).fit()
    with pytest.raises(FitError, match=r"that of 6 random effects.*chi-square mixture"):
        res.ranova(test="exact")


def test_spectrum_of_related_levels():
    """``Z K Z'`` and its part beside the fixed effects, by dense matrices."""
    frame = data("sleepstudy").astype({"Subject": str})
    names = sorted(frame["Subject"].unique())
    K = pd.DataFrame(0.5 + 0.5 * np.eye(18), index=names, columns=names)
    res = lme.lmer(
        "Reaction ~ Days + (1 | Subject)", frame, covariances={"Subject": K}
    ).fit(reml=False)
    large = candidate(res)
    small = without_random_effects(large)
    found = spectrum(small, large, nesting(small, large))
    Z = pd.get_dummies(frame["Subject"])[names].to_numpy(float)
    X = np.asarray(res.model.exog)
    P = np.eye(180) - X @ np.linalg.pinv(X)
    for values, count, V in (
        (found.xi, found.xi_count, Z @ K.to_numpy() @ Z.T),
        (found.mu, found.mu_count, P @ Z @ K.to_numpy() @ Z.T @ P),
    ):
        expected = np.linalg.eigvalsh(V)
        expected = expected[expected > 1e-8 * expected.max()]
        assert_allclose(np.repeat(values, count.astype(int)), expected, rtol=1e-9)


# --- the bootstrap --------------------------------------------------------------------


def test_bootstrap_statistics_equal_refits():
    """Statistics from refits of the same responses, one by one."""
    frame = data("sleepstudy")
    small, large = pair(
        "Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (Days | Subject)", frame
    )
    Y = lme.inference.prediction.simulation.simulate_responses(small.fit, 4, 1)
    for one in (small, large):
        found = objectives(one, Y)
        again = [lme.fit.refit(one.fit, y).objective for y in Y]
        assert_allclose(found, again, atol=1e-6)
    plain = without_random_effects(small)
    ordinary = [lme.fit.refit(small.fit, y) for y in Y]
    expected = [lme.fit.objective_at(fit, np.zeros(1)) for fit in ordinary]
    assert_allclose(objectives(plain, Y), expected, atol=1e-8)


def test_bootstrap_p_value():
    frame = data("Pastes")
    small = lme.lmer("strength ~ 1 + (1 | sample)", frame).fit()
    large = lme.lmer("strength ~ 1 + (1 | sample) + (1 | batch)", frame).fit()
    found = lme.anova(small, large, test="boot", nsim=200, seed=1)
    assert list(found.table.columns[-3:]) == ["Pr(>Chisq)", "Pr(>Chibarsq)", "Pr(boot)"]
    p = found["Pr(boot)"].iloc[1]
    # The restricted likelihood's exact p-value is 0.18, the mixture's 0.26.
    assert 0.1 < p < 0.35 and (201 * p) % 1 == pytest.approx(0, abs=1e-9)
    assert "200 responses drawn from the smaller model" in found.methods[-1]
    again = lme.anova(large, small, test="boot", nsim=200, seed=1)
    assert again["Pr(boot)"].iloc[1] == p


def test_replicates_that_could_not_be_fitted(monkeypatch):
    """They are counted in a note, and the p-value is that of the others."""
    frame = data("sleepstudy")
    small = lme.lmer("Reaction ~ 1 + (1 | Subject)", frame).fit()
    large = lme.lmer("Reaction ~ Days + (1 | Subject)", frame).fit()
    draws = np.append(np.full(3, np.nan), np.linspace(0.1, 2.0, 16))
    monkeypatch.setattr(likelihood_ratios, "bootstrap_statistics", lambda *_: draws)
    found = lme.anova(small, large, test="boot", nsim=19)
    assert found["Pr(boot)"].iloc[1] == pytest.approx(1 / 17)
    assert "3 replicates of the bootstrap could not be fitted." in found.notes


def test_bootstrap_of_a_glmm():
    frame = data("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    res = lme.glmer(formula, frame, family="binomial").fit()
    found = res.ranova(test="boot", nsim=39, seed=2)
    assert found["Pr(boot)"].iloc[1] <= 0.05
    fixed = res.drop1(test="boot", nsim=19, seed=2)
    assert fixed["Pr(boot)"].iloc[1] == pytest.approx(0.05)


def test_counts_with_a_known_theta():
    """Without its variance it is statsmodels' negative binomial GLM."""
    frame = data("grouseticks")
    family = lme.families.NegativeBinomial(2.5)
    res = lme.glmer("TICKS ~ YEAR + (1 | BROOD)", frame, family=family).fit()
    X = np.asarray(res.model.exog)
    law = sm.families.NegativeBinomial(alpha=1 / 2.5)
    glm = sm.GLM(frame["TICKS"].to_numpy(float), X, family=law).fit()
    assert_allclose(res.ranova()["logLik"].iloc[1], glm.llf, rtol=1e-9)


def test_reference_models_exist():
    assert set(STORED["ranova"]) <= set(CASES)
