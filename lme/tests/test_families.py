"""What every family owes the engine, with every link: identities and limits."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lme.errors import DataError, DataWarning
from lme.families import FAMILIES, LINKS, NegativeBinomial, resolve
from lme.families.base import Pointwise
from lme.families.composition import log_mean
from lme.families.links import Link
from lme.tests.families_grid import (
    EXTRA,
    PAIRS,
    family_of,
    responses,
    support,
    usable_eta,
)

every_pair = pytest.mark.parametrize("name, link", PAIRS)
ARRAYS = ("deviance", "g", "W", "dW", "Wo", "dWo")
# 700 and beyond overflow a naive exponential; the others straddle switches of formula.
EXTREMES = np.array(
    [
        *(-1e6, -701, -700, -100, -40, -25.01, -24.99, -2.4, -2.2, -1e-9, 0.0),
        *(1e-9, 0.5, 5, 24.99, 25.01, 40, 100, 700, 701, 1e6),
    ]
)


def setup(name, link):
    family = family_of(name, link)
    eta = usable_eta(family)
    y, weights = responses(family, eta.size)
    return family, y, weights, eta


def difference(function, x, step=1e-3):
    """Central differences with two Richardson steps; error about step^6."""
    scale = step * np.maximum(0.1, np.abs(x))
    d = [(function(x + k * scale) - function(x - k * scale)) / (2 * k * scale)
         for k in (1, 2, 4)]  # fmt: skip
    first, second = (4 * d[0] - d[1]) / 3, (4 * d[1] - d[2]) / 3
    return (16 * first - second) / 15


def curve(family, y, weights, array, factor=1.0):
    """One of the arrays of `Pointwise` as a function of eta."""
    return lambda eta: factor * getattr(family.pointwise(y, weights, eta, EXTRA), array)


def close(actual, expected, rtol, scale=0.0):
    """Relative to the largest entry nearby, as derivatives cross zero.

    `scale` is the size of what was differenced, whose rounding errors count.
    """
    floor = 1e-3 * np.max(np.abs(expected)) + 1e-4 * scale + 1e-9
    size = np.maximum(np.abs(expected), floor)
    np.testing.assert_array_less(np.abs(actual - expected) / size, rtol)


@every_pair
@pytest.mark.parametrize(
    "of, half, derivative",
    [("deviance", 1, "g"), ("g", 0.5, "Wo"), ("W", 1, "dW"), ("Wo", 1, "dWo")],
)
def test_derivatives(name, link, of, half, derivative):
    family, y, weights, eta = setup(name, link)
    numeric = difference(curve(family, y, weights, of, half), eta)
    at = family.pointwise(y, weights, eta, EXTRA)
    close(getattr(at, derivative), numeric, 2e-7, np.max(np.abs(getattr(at, of))))


TAILED = ("logit", "probit", "cloglog", "cauchit", "log")


@pytest.mark.parametrize("name, link", [p for p in PAIRS if p[1] in TAILED])
def test_derivatives_in_the_tails(name, link):
    family = family_of(name, link)
    eta = np.array([-60.0, -30.0, -25.01, -24.99, -12.0, 3.3, 12.0, 24.0, 30.0])
    if link == "log":
        eta = -np.abs(eta)
    for value in (0.0, 1.0) if name != "gamma" else (1.0,):
        y = np.full_like(eta, max(value, float(name == "inverse_gaussian")))
        at = family.pointwise(y, None, eta, EXTRA)
        for of, half, derivative in (("deviance", 1, "g"), ("g", 0.5, "Wo")):
            numeric = difference(curve(family, y, None, of, half), eta)
            exact = getattr(at, derivative)
            scale = 1e-8 + np.abs(exact)
            assert (np.abs(exact - numeric) / scale < 1e-4).all(), (value, derivative)


@every_pair
def test_extra_derivatives(name, link):
    family, y, weights, eta = setup(name, link)
    exact = family.extra_derivatives(y, weights, eta, EXTRA)
    at = {
        k: family.pointwise(y, weights, eta, EXTRA + k * 1e-3) for k in (-2, -1, 1, 2)
    }
    for of in ("deviance", "g", "W", "Wo"):
        one, two = (getattr(at[k], of) - getattr(at[-k], of) for k in (1, 2))
        numeric = (8 * one - two) / 12e-3
        if family.extra is None:
            np.testing.assert_array_equal(numeric, 0.0)
        else:
            close(getattr(exact, of), numeric, 1e-7)
    numeric = difference(lambda k: family.constant(y, weights, k), EXTRA)
    assert exact.constant == pytest.approx(numeric, rel=1e-8, abs=1e-8)


@every_pair
def test_deviance_and_constant_are_the_likelihood(name, link):
    family, y, weights, eta = setup(name, link)
    # Where a mean rounds to 1 the likelihood is only defined by way of eta.
    eta = np.clip(eta, -3.0, 2.0) if name in ("binomial", "bernoulli") else eta
    at = family.pointwise(y, weights, eta, EXTRA)
    mu = family.mean(eta)
    total = -2.0 * family.loglik(y, weights, mu, EXTRA)
    rows = at.deviance + family.row_constants(y, weights, EXTRA)
    np.testing.assert_allclose(rows, total, rtol=1e-11, atol=1e-11)
    constant = family.constant(y, weights, EXTRA)
    assert at.deviance.sum() + constant == pytest.approx(total.sum(), rel=1e-12)
    unit = family.unit_deviance(y, mu, EXTRA) * family.precision(weights, EXTRA)
    np.testing.assert_allclose(at.deviance, unit, rtol=1e-10, atol=1e-12)


@every_pair
@pytest.mark.parametrize("extra", [-1.0, 0.7])
def test_density(name, link, extra):
    """It sums to one; mean, variance, score and information are as they should be."""
    family = family_of(name, link)
    for eta in usable_eta(family, -1.2, 1.2, 4):
        weight = 1.0 if name in ("bernoulli", "poisson", "negative_binomial") else 3.0
        mu = float(family.mean(np.array(eta)))
        y, w, mass = support(family, mu, weight, extra)
        assert mass.sum() == pytest.approx(1.0, rel=1e-9)
        assert (mass * y).sum() == pytest.approx(mu, rel=1e-8)
        phi = np.exp(extra) if family.dispersion else 1.0
        variance = phi * float(family.variance(np.array(mu), extra)) / weight
        spread = (mass * (y - mu) ** 2).sum()
        assert spread == pytest.approx(variance, rel=1e-8)
        at = family.pointwise(y, w, np.full_like(y, eta), extra)
        assert (mass * at.g).sum() == pytest.approx(0.0, abs=1e-7)
        # Fisher's identity: the variance of the score -g/2 is the information.
        assert (mass * at.g**2).sum() / 4 == pytest.approx(at.W[0], rel=1e-7)
        assert (mass * at.Wo).sum() == pytest.approx(at.W[0], rel=1e-7)
        assert np.ptp(at.W) == 0.0
        more = family.extra_derivatives(y, w, np.full_like(y, eta), extra)
        rows = mass > 1e-18
        slopes = [
            family.constant_slope(y[i : i + 1], w[i : i + 1], extra)
            for i in np.flatnonzero(rows)[:400]
        ]
        if family.dispersion:  # the same for every response
            slopes = slopes[0]
        mean_score = np.sum(mass[rows] * (more.deviance[rows] + slopes))
        assert mean_score == pytest.approx(0.0, abs=1e-7)


@every_pair
def test_observed_weights_are_affine_in_y(name, link):
    """So that at ``y = mu`` they are their own expectation."""
    family, y, weights, eta = setup(name, link)
    mu = family.mean(eta)
    if name == "bernoulli":
        at = [family.pointwise(np.full_like(y, v), weights, eta) for v in (0.0, 1.0)]
        Wo = (1 - mu) * at[0].Wo + mu * at[1].Wo
    else:
        Wo = family.pointwise(mu, weights, eta, EXTRA).Wo
    W = family.pointwise(y, weights, eta, EXTRA).W
    np.testing.assert_allclose(Wo, W, rtol=1e-9, atol=1e-12)


@every_pair
def test_orders_agree(name, link):
    family, y, weights, eta = setup(name, link)
    full = family.pointwise(y, weights, eta, EXTRA)
    assert all(getattr(full, a).shape == eta.shape for a in ARRAYS)
    given_term = family.data_term(y, weights)
    for order, present in ((0, ARRAYS[:1]), (1, ARRAYS[:3]), (2, ARRAYS)):
        part = family.pointwise(
            y, weights, eta, EXTRA, order=order, data_term=given_term
        )
        for array in present:
            np.testing.assert_array_equal(getattr(part, array), getattr(full, array))
        if order < 2:
            assert part.dWo.size == 0
    if family.canonical:
        assert full.Wo is full.W
        assert full.dWo is full.dW


@every_pair
def test_weights(name, link):
    """None is ones; a weight of two is two rows, where it counts rows."""
    family, y, weights, eta = setup(name, link)
    for w in (None, np.ones_like(eta)):
        y1 = np.round(y) if name == "binomial" else y
        at = family.pointwise(y1, w, eta, EXTRA)
        rows = family.loglik(y1, w, family.mean(eta), EXTRA)
        if w is None:
            first, first_rows = at, rows
    for array in ARRAYS:
        np.testing.assert_allclose(getattr(at, array), getattr(first, array), 1e-14)
    np.testing.assert_allclose(rows, first_rows, 1e-14)
    twice = family.pointwise(y, 2 * weights, eta, EXTRA)
    once = family.pointwise(y, weights, eta, EXTRA)
    np.testing.assert_allclose(twice.deviance, 2 * once.deviance, 1e-12, 1e-12)
    np.testing.assert_allclose(twice.dWo, 2 * once.dWo, 1e-12, 1e-12)


def test_weight_zero_takes_a_row_out():
    for name in FAMILIES:
        family = resolve(name)
        eta = usable_eta(family)[:4]
        y, weights = responses(family, 4)
        weights[1] = 0.0
        keep = weights > 0
        total = family.constant(y, weights, EXTRA)
        assert total == pytest.approx(
            family.constant(y[keep], weights[keep], EXTRA), rel=1e-14
        )
        slope = family.constant_slope(y, weights, EXTRA)
        assert slope == pytest.approx(
            family.constant_slope(y[keep], weights[keep], EXTRA), rel=1e-14, abs=1e-14
        )
        assert family.pointwise(y, weights, eta, EXTRA).deviance[1] == 0.0


@every_pair
def test_extreme_predictors(name, link):
    """No warning, no NaN; infinite deviance only where there is no mean."""
    family = family_of(name, link)
    y, weights = responses(family, EXTREMES.size)
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        for w in (None, weights, 1e4 * weights):
            for rows in (y, np.roll(y, 1), np.roll(y, 5)):
                at = family.pointwise(rows, w, EXTREMES, EXTRA)
                more = family.extra_derivatives(rows, w, EXTREMES, EXTRA)
                for array in ARRAYS:
                    values = getattr(at, array)
                    assert not np.isnan(values).any(), array
                    if array != "deviance":
                        assert np.isfinite(values).all(), array
                for array in ("g", "W", "Wo"):
                    assert np.isfinite(getattr(more, array)).all(), array
                assert (at.W >= 0).all()
                alone = [
                    family.valid_eta(EXTREMES[i : i + 1]) for i in range(EXTREMES.size)
                ]
                assert (np.isinf(at.deviance) <= ~np.array(alone)).all()
        mu = family.mean(EXTREMES)
        if name in ("bernoulli", "binomial"):
            for residuals in (family.deviance_residuals, family.pearson_residuals):
                assert np.isfinite(residuals(y, weights, mu)).all()


@every_pair
@settings(max_examples=30, deadline=None)
@given(st.floats(-1e3, 1e3), st.integers(0, 10), st.floats(-4, 4))
def test_any_predictor(name, link, eta, row, extra):
    family = family_of(name, link)
    y, weights = responses(family, 11)
    at = family.pointwise(y[[row]], weights[[row]], np.array([eta]), extra)
    if np.isfinite(at.deviance[0]):
        assert at.deviance[0] >= -1e-9 * (1 + abs(eta) * weights[row] * (1 + y[row]))
        assert family.valid_eta(np.array([eta])) or abs(eta) > 30
    assert all(np.isfinite(getattr(at, a)).all() for a in ARRAYS[1:])


@every_pair
def test_residuals(name, link):
    family, y, weights, eta = setup(name, link)
    mu = family.mean(eta)
    at = family.pointwise(y, weights, eta, 0.0)
    residuals = family.deviance_residuals(y, weights, mu)
    # The mean of 1 - 2e-9 has lost the digits that eta has.
    np.testing.assert_allclose(residuals**2, at.deviance, 1e-8, 1e-12)
    assert (np.sign(residuals) == np.sign(y - mu))[y != mu].all()
    pearson = family.pearson_residuals(y, weights, mu)
    expected = (y - mu) ** 2 * weights / family.variance(mu)
    np.testing.assert_allclose(pearson**2, expected, 1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_residuals_at_the_mean_are_exactly_zero(name):
    family = resolve(name)
    y, weights = responses(family, 11)
    for residuals in (family.deviance_residuals, family.pearson_residuals):
        assert (residuals(y, weights, y) == 0.0).all()
    # One part in 1e12 off, they are small in proportion and not the square root.
    inside = y[(y > 0) & (y < 1)] if name == "binomial" else y[y > 0]
    if name != "bernoulli":
        nearly = family.deviance_residuals(inside, None, inside * (1 + 1e-12))
        exact = family.pearson_residuals(inside, None, inside * (1 + 1e-12))
        np.testing.assert_allclose(nearly, exact, rtol=1e-3)


@every_pair
def test_start(name, link):
    family = family_of(name, link)
    y, weights = responses(family, 40)
    for w in (None, weights):
        mean = family.start_mean(y, w)
        assert family.valid_mean(mean)
        eta = family.link.link(mean)
        assert family.valid_eta(eta)
        assert np.isfinite(family.pointwise(y, w, eta).deviance).all()
        extra = family.start_extra(y, w)
        assert np.isfinite(extra)
        if family.extra is None:
            assert extra == 0.0
    assert family.start_mean(y, None) is not y


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("extra", [-1.0, 0.5])
def test_draws(name, extra):
    family = resolve(name)
    size = 100_000
    rng = np.random.default_rng(5)
    for mu in (0.2, 0.7) if name in ("bernoulli", "binomial") else (0.7, 4.0):
        for weight in (1.0, 4.0):
            mean = np.full(size, mu)
            w = None if weight == 1.0 else np.full(size, weight)
            y = family.draw(rng, mean, w, extra)
            assert y.dtype == np.float64
            assert y.shape == mean.shape
            family.check_response(y, w)
            counted = name in ("bernoulli", "poisson", "negative_binomial")
            variance = float(family.variance(np.array(mu), extra))
            if family.dispersion:
                variance *= np.exp(extra)
            variance /= 1.0 if counted else weight
            error = np.sqrt(variance / size)
            assert abs(y.mean() - mu) < 4.5 * error
            fourth = np.mean((y - mu) ** 4)
            assert abs(np.mean((y - mu) ** 2) - variance) < 4.5 * np.sqrt(fourth / size)


def test_draws_come_from_the_generator():
    for name in FAMILIES:
        draws = [
            resolve(name).draw(np.random.default_rng(s), np.full(20, 0.5))
            for s in (1, 1, 2)
        ]
        np.testing.assert_array_equal(draws[0], draws[1])
        assert (draws[0] != draws[2]).any()


def test_binomial_draws_need_whole_trials():
    family = resolve("binomial")
    rng = np.random.default_rng(1)
    with pytest.raises(DataError, match="numbers of trials"):
        family.draw(rng, np.array([0.5]), np.array([2.5]))
    assert family.draw(rng, np.array([0.5]), np.array([0.0])) == 0.0


@pytest.mark.parametrize(
    "name, y, match",
    [
        ("bernoulli", [0, 1, 0.5], "0.5 in row 2.*is 0 or 1.*binomial"),
        ("binomial", [0.2, 1.5, 2], "1.5 in row 1 and 1 more.*between 0 and 1"),
        ("binomial", [0.2, -1.0], "-1 in row 1"),
        ("poisson", [0, 3, -2], "-2 in row 2.*counts"),
        ("negative_binomial", [-1], "-1 in row 0.*counts"),
        ("gamma", [1.0, 0.0], "0 in row 1.*positive"),
        ("inverse_gaussian", [1.0, -3.0], "-3 in row 1.*positive"),
        ("gaussian", [1.0, np.inf], "inf in row 1.*finite"),
        ("poisson", [1.0, np.nan], "nan in row 1.*finite"),
    ],
)
def test_impossible_responses(name, y, match):
    with pytest.raises(DataError, match=match):
        resolve(name).check_response(np.array(y, dtype=float), None)


def test_fractions_are_warned_about():
    with pytest.warns(DataWarning, match=r"Non-integer counts: 1.5 in row 1 \(1 of 3"):
        resolve("poisson").check_response(np.array([1, 1.5, 2]), None)
    binomial = resolve("binomial")
    share = np.array([0.3, 2 / 3, 1.0])
    with pytest.warns(DataWarning, match="Non-integer successes: 0.3 in row 0"):
        binomial.check_response(share, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        binomial.check_response(share, np.array([10.0, 3.0, 4.0]))
        resolve("poisson").check_response(np.array([0.0, 7.0]), None)


@pytest.mark.parametrize("link", LINKS)
def test_links(link):
    row = LINKS[link]
    eta = np.array([-3.1, -1.2, -0.3, 0.2, 0.9, 2.6])
    if link in ("sqrt", "inverse_squared"):
        eta = np.abs(eta)
    mu = row.mean(eta)
    assert row.valid_eta(eta).all()
    assert row.valid_mean(mu).all()
    np.testing.assert_allclose(row.link(mu), eta, rtol=1e-9)
    close(row.first(eta), difference(row.mean, eta), 1e-8)
    close(row.second(eta), difference(row.first, eta), 1e-8)
    close(row.third(eta), difference(row.second, eta), 1e-8)


@pytest.mark.parametrize("link", LINKS)
def test_links_at_extremes(link):
    row = LINKS[link]
    eta = EXTREMES[row.valid_eta(EXTREMES) & (np.abs(EXTREMES) > 1e-8)]
    with np.errstate(all="raise", under="ignore"):
        for function in (row.mean, row.first, row.second, row.third):
            assert np.isfinite(function(eta)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row.link(np.array([0.0, 1.0]))
        assert not np.isnan(row.mean(np.array([0.3, 2.0]))).any()
    outside = ~row.valid_eta(np.array([-1.0, 0.0]))
    assert (np.isnan(row.mean(np.array([-1.0, 0.0]))) == outside).all()


def test_small_means_keep_their_digits():
    assert LINKS["cauchit"].link(np.array(1e-18)) == pytest.approx(-1e18 / np.pi)
    assert LINKS["cloglog"].link(np.array(1e-18)) == pytest.approx(np.log(1e-18))
    assert LINKS["cauchit"].mean(np.array(-1e18)) == pytest.approx(1e-18 / np.pi)


def test_negative_binomial_limits():
    """A huge theta is a Poisson distribution, theta of one a geometric one."""
    eta = np.linspace(-2, 2, 9)
    y = np.arange(9.0)
    poisson = resolve("poisson")
    large = NegativeBinomial(theta=1e12)
    for order_array in ARRAYS:
        ours = getattr(large.pointwise(y, None, eta), order_array)
        theirs = getattr(poisson.pointwise(y, None, eta), order_array)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert large.constant(y, None) == pytest.approx(poisson.constant(y, None), 1e-10)
    mu = np.exp(eta)
    geometric = y * np.log(mu / (1 + mu)) - np.log1p(mu)
    np.testing.assert_allclose(
        NegativeBinomial(theta=1.0).loglik(y, None, mu), geometric, rtol=1e-12
    )


class Reciprocal(Link):
    """The inverse link as a user writes it: nothing is known of it but its values."""

    def __init__(self):
        super().__init__("reciprocal")

    def link(self, mu):
        return 1 / mu

    def mean(self, eta):
        return 1 / eta

    def first(self, eta):
        return -1 / eta**2

    def second(self, eta):
        return 2 / eta**3

    def third(self, eta):
        return -6 / eta**4

    def valid_eta(self, eta):
        return eta > 0


@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("eta", [[0.2, 1.5, 4.0], [0.2, -1.5, 4.0, 0.0]])
def test_the_scale_of_a_users_link(eta, order):
    """Values, derivatives and rows without a mean are those of the built-in link."""
    found = log_mean(Reciprocal(), np.array(eta), order=order)
    expected = log_mean(LINKS["inverse"], np.array(eta), order=order)
    invalid = np.array(eta) <= 0
    if invalid.any():
        assert_array_equal(found.invalid, invalid)
        assert_array_equal(expected.invalid, invalid)
    else:
        assert found.invalid is None and expected.invalid is None
    assert_allclose(found.value[~invalid], expected.value[~invalid], atol=1e-14)
    if order:
        for name in ("first", "second", "third"):
            ours, theirs = (getattr(each, name)[~invalid] for each in (found, expected))
            assert_allclose(ours, theirs, rtol=1e-12)


def test_a_known_theta_has_no_derivatives():
    family, y = NegativeBinomial(2.0), np.array([0.0, 3.0, 7.0])
    found = family.extra_derivatives(y, None, np.array([0.1, 1.0, 2.0]), 0.0)
    for name in ("deviance", "g", "W", "Wo"):
        assert not np.any(getattr(found, name))
    assert found.constant == family.constant_slope(y, None) == 0.0
    assert family.start_extra(y, None) == 0.0


def test_negative_binomial_theta_known_or_not():
    free, known = NegativeBinomial(), NegativeBinomial(theta=3.0)
    assert (free.extra, known.extra) == ("theta", None)
    y, eta = np.arange(5.0), np.linspace(-1, 1, 5)
    for name in ARRAYS:
        np.testing.assert_allclose(
            getattr(known.pointwise(y, None, eta, 99.0), name),
            getattr(free.pointwise(y, None, eta, np.log(3.0)), name),
            rtol=1e-13,
        )
    assert known.with_link("sqrt").theta == 3.0


@pytest.mark.parametrize("extra", [-700.0, -30.0, 30.0, 700.0])
@pytest.mark.parametrize("name", ["gamma", "negative_binomial", "gaussian"])
def test_wild_extra_parameters(name, extra):
    """A search may try anything; the constants must come back finite."""
    family = resolve(name)
    y, _ = responses(family, 11)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(family.constant(y, None, extra))
        slope = family.constant_slope(y, None, extra)
        at = family.pointwise(y, None, np.full_like(y, 0.5), extra)
    assert np.isfinite(slope)
    assert all(np.isfinite(getattr(at, a)).all() for a in ARRAYS)


def test_stirling_at_large_arguments():
    """The slope of the constant for a nearly known theta is not lost in rounding."""
    family = resolve("negative_binomial")
    y = np.arange(8.0)
    # d/d log theta of the constant tends to 2 sum(y) - ... / theta: here to O(1/theta).
    slopes = [family.constant_slope(y, None, np.log(t)) * t for t in (1e6, 1e8, 1e10)]
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-4)
    assert slopes[2] == pytest.approx(slopes[1], rel=1e-6)


def test_records_are_frozen():
    point = resolve("poisson").pointwise(np.ones(2), None, np.zeros(2))
    assert isinstance(point, Pointwise)
    with pytest.raises(AttributeError):
        point.g = np.zeros(2)
    with pytest.raises(AttributeError):
        resolve("poisson").link = LINKS["sqrt"]


def test_inputs_are_not_modified():
    for name, link in PAIRS:
        family, y, weights, eta = setup(name, link)
        for array in (y, weights, eta):
            array.setflags(write=False)
        family.pointwise(y, weights, eta, EXTRA)
        family.extra_derivatives(y, weights, eta, EXTRA)
        family.loglik(y, weights, family.mean(eta), EXTRA)
        family.start_mean(y, weights)
