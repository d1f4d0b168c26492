"""Families against R's glm, scipy's distributions and statsmodels."""

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special, stats

from lme.families import FAMILIES, LINKS, NegativeBinomial, resolve
from lme.families.saturated import (
    binomial_saturated,
    poisson_deviance,
    poisson_saturated,
    stirling,
    stirling_slope,
)
from lme.tests.families_grid import PAIRS, responses, usable_eta

REFERENCE = json.loads(
    (Path(__file__).parent / "reference" / "families" / "glm.json").read_text("utf-8")
)
GLM = REFERENCE["glm"]


def case(name):
    fields = GLM[name]
    arrays = {k: np.array(v) for k, v in fields.items() if isinstance(v, list)}
    if fields["theta"] is not None:
        family = NegativeBinomial(fields["theta"], fields["link"])
    else:
        family = resolve(fields["family"], fields["link"])
    return fields | arrays | {"family": family}


def least_squares(family, X, y, weights, eta, iterations=60):
    """Maximum likelihood of a model without random effects, by Fisher scoring."""
    beta = np.linalg.lstsq(X, eta, rcond=None)[0]
    for _ in range(iterations):
        at = family.pointwise(y, weights, X @ beta, order=1)
        step = np.linalg.solve(X.T @ (at.W[:, None] * X), -0.5 * X.T @ at.g)
        value = at.deviance.sum()
        while not family.pointwise(y, weights, X @ (beta + step)).deviance.sum() <= (
            value + 1e-10
        ):
            step /= 2
        beta = beta + step
    return beta


@pytest.mark.parametrize("name", GLM)
def test_deviance_and_likelihood_of_r(name):
    r = case(name)
    family, y, weights, mu = r["family"], r["y"], r["weights"], r["mu"]
    at = family.pointwise(y, weights, r["eta"])
    assert at.deviance.sum() == pytest.approx(r["deviance"], rel=1e-12)
    np.testing.assert_allclose(family.mean(r["eta"]), mu, rtol=1e-13)
    extra = np.log(r["deviance"] / y.size) if family.dispersion else 0.0
    loglik = family.loglik(y, weights, mu, extra).sum()
    assert loglik == pytest.approx(r["loglik"], rel=1e-12)
    total = family.pointwise(y, weights, r["eta"], extra).deviance.sum()
    total += family.constant(y, weights, extra)
    assert -0.5 * total == pytest.approx(r["loglik"], rel=1e-12)
    for kind in ("deviance_residuals", "pearson_residuals"):
        residuals = getattr(family, kind)(y, weights, mu)
        np.testing.assert_allclose(residuals, r[kind], rtol=1e-6, atol=1e-8)
    # R keeps the weights of its last iteration, one step before the coefficients.
    np.testing.assert_allclose(at.W, r["working_weights"], rtol=1e-5)


@pytest.mark.parametrize("name", GLM)
def test_coefficients_of_r(name):
    r = case(name)
    family, y, weights = r["family"], r["y"], r["weights"]
    X = np.column_stack([np.ones(y.size), r["x"]])
    start = family.link.link(family.start_mean(y, weights))
    if "identity" in name or "sqrt" in name or name == "binomial_log":
        start = r["eta"] + 0.01
    beta = least_squares(family, X, y, weights, start)
    np.testing.assert_allclose(beta, r["coef"], rtol=1e-6, atol=1e-8)


def test_negative_binomial_theta_of_r():
    """At R's optimum of glm.nb the derivative in log theta is zero."""
    r = REFERENCE["glm_nb"]
    x, y = np.array(r["x"]), np.array(r["y"], dtype=float)
    family = resolve("nbinom")
    eta = r["coef"][0] + r["coef"][1] * x
    extra = np.log(r["theta"])
    loglik = family.loglik(y, None, np.exp(eta), extra).sum()
    assert loglik == pytest.approx(r["loglik"], rel=1e-12)
    more = family.extra_derivatives(y, None, eta, extra)
    assert more.deviance.sum() + more.constant == pytest.approx(0.0, abs=1e-7)
    assert abs(more.constant) > 1.0


@pytest.mark.parametrize("name", LINKS)
def test_links_of_r(name):
    r = {k: np.array(v) for k, v in REFERENCE["links"][name].items()}
    link = LINKS[name]
    # R clips its means to 1 - epsilon.
    np.testing.assert_allclose(link.mean(r["eta"]), r["mu"], rtol=1e-12)
    np.testing.assert_allclose(link.first(r["eta"]), r["first"], rtol=1e-12)


def scipy_logpdf(name, y, w, mu, extra):
    """Log-density of each row by scipy, prior weights as documented."""
    phi = theta = np.exp(extra)
    if name == "bernoulli":
        return w * stats.bernoulli.logpmf(y, mu)
    if name == "binomial":
        return stats.binom.logpmf(np.round(y * w), w, mu)
    if name == "poisson":
        return w * stats.poisson.logpmf(y, mu)
    if name == "negative_binomial":
        return w * stats.nbinom.logpmf(y, theta, theta / (theta + mu))
    if name == "gaussian":
        return stats.norm.logpdf(y, mu, np.sqrt(phi / w))
    if name == "gamma":
        return stats.gamma.logpdf(y, w / phi, scale=mu * phi / w)
    return stats.invgauss.logpdf(y, mu * phi / w, scale=w / phi)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("extra", [-3.0, 0.0, 1.2])
def test_likelihood_of_scipy(name, extra):
    family = resolve(name)
    mu = family.mean(usable_eta(family, -2, 2, 30))
    y, w = responses(family, mu.size)
    expected = scipy_logpdf(name, y, w, mu, extra)
    actual = family.loglik(y, w, mu, extra)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


def test_saturated_pieces():
    k = np.array([0.0, 1e-5, 0.5, 1.0, 7.0, 15.9, 16.1, 300.0, 1e8])
    naive = special.xlogy(k, k) - k - special.gammaln(k + 1)
    np.testing.assert_allclose(poisson_saturated(k), naive, rtol=1e-7, atol=1e-12)
    middle = k[2:-1]
    naive = middle * (special.digamma(middle) - np.log(middle)) + 0.5
    np.testing.assert_allclose(stirling_slope(middle), naive, rtol=1e-9)
    # The first terms of the series, where the naive difference has no digit left.
    assert stirling(np.array(1e12)) == pytest.approx(1 / 12e12, rel=1e-14)
    assert stirling_slope(np.array(1e12)) == pytest.approx(-1 / 12e12, rel=1e-14)
    np.testing.assert_allclose(
        binomial_saturated(np.arange(5.0), np.full(5, 4.0)),
        stats.binom.logpmf(np.arange(5), 4, np.arange(5) / 4),
        rtol=1e-12,
        atol=1e-15,
    )


def test_poisson_deviance_next_to_the_mean():
    y = np.array([1e-8, 0.3, 5.0, 1e6])
    for gap in (1e-10, 1e-5, 0.15, 0.3, 3.0):
        mu = y * (1 + gap)
        g = (mu - y) / y  # as rounded
        exact = y * (g - np.log1p(g))
        if gap < 0.1:  # g - log(1 + g) = g^2/2 - g^3/3 + ...
            exact = y * sum((-g) ** k / k for k in range(2, 14))
        np.testing.assert_allclose(poisson_deviance(y, mu), exact, rtol=1e-12)
    assert poisson_deviance(0.0, 2.0) == 2.0
    assert poisson_deviance(0.0, 0.0) == 0.0
    assert poisson_deviance(2.0, 0.0) == np.inf


STATSMODELS_LINKS = {
    "logit": sm.families.links.Logit,
    "probit": sm.families.links.Probit,
    "cloglog": sm.families.links.CLogLog,
    "cauchit": sm.families.links.Cauchy,
    "log": sm.families.links.Log,
    "identity": sm.families.links.Identity,
    "inverse": sm.families.links.InversePower,
    "sqrt": sm.families.links.Sqrt,
    "inverse_squared": sm.families.links.InverseSquared,
}
STATSMODELS_FAMILIES = {
    "binomial": sm.families.Binomial,
    "poisson": sm.families.Poisson,
    "gamma": sm.families.Gamma,
    "inverse_gaussian": sm.families.InverseGaussian,
    "gaussian": sm.families.Gaussian,
    "negative_binomial": sm.families.NegativeBinomial,
}


@pytest.mark.filterwarnings("ignore:The .* link function does not respect")
@pytest.mark.filterwarnings("ignore:Negative binomial dispersion")
@pytest.mark.parametrize("name, link", [p for p in PAIRS if p[0] != "bernoulli"])
def test_statsmodels(name, link):
    """The object is recognised, and means the same thing."""
    options = {"alpha": 0.4} if name == "negative_binomial" else {}
    theirs = STATSMODELS_FAMILIES[name](
        STATSMODELS_LINKS[link](), check_link=False, **options
    )
    ours = resolve(theirs)
    assert (ours.name, ours.link.name) == (name, link)
    assert ours.extra == ("phi" if ours.dispersion else None)
    eta = usable_eta(ours)
    mu = ours.mean(eta)
    y, _ = responses(ours, eta.size)
    one = name == "binomial"
    y = np.round(y) if one else y
    np.testing.assert_allclose(theirs.link.inverse(eta), mu, rtol=1e-9)
    np.testing.assert_allclose(
        theirs.link.inverse_deriv(eta), ours.link.first(eta), rtol=1e-7
    )
    np.testing.assert_allclose(theirs.variance(mu), ours.variance(mu), rtol=1e-9)
    np.testing.assert_allclose(
        theirs.deviance(y, mu), ours.unit_deviance(y, mu).sum(), rtol=1e-7
    )
    if name != "inverse_gaussian":  # theirs lacks a factor in the density
        np.testing.assert_allclose(
            theirs.loglike(y, mu, scale=1.0), ours.loglik(y, None, mu).sum(), rtol=1e-7
        )
