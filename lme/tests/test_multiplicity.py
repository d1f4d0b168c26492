"""Adjusted p-values and intervals against scipy, statsmodels and simulation."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lme.errors import OptionError
from lme.inference.marginal.multiplicity import (
    ADJUSTMENTS,
    Family,
    adjusted_p,
    adjustment_name,
    critical_values,
    range_tail,
)


def family_of(C, covariance=None):
    """The family of contrasts C of means with a covariance."""
    V = C @ (np.eye(C.shape[1]) if covariance is None else covariance) @ C.T
    sd = np.sqrt(V.diagonal())
    R = V / np.outer(sd, sd)
    return Family(len(C), C.shape[1], R, int(np.linalg.matrix_rank(R)))


def pairs(k):
    return np.array([np.eye(k)[i] - np.eye(k)[j] for i, j in combinations(range(k), 2)])


@pytest.mark.parametrize(
    "q, k, df",
    [
        *[(1.0, 2, 3.0), (3.5, 4, 20.0), (8.0, 10, 2.5), (5.0, 50, 1e3)],
        *[(30.0, 5, 1.0), (9.5, 6, 24.0), (6.0, 3, np.inf), (0.3, 8, 7.7)],
    ],
)
def test_studentized_range(q, k, df):
    expected = stats.studentized_range.sf(q, k, df)
    assert_allclose(range_tail(q, k, df), expected, rtol=1e-7, atol=1e-11)


def test_two_means_are_a_t_test():
    for t in (0.1, 2.0, 5.0):
        tail = range_tail(np.sqrt(2) * t, 2, 9.3)
        assert_allclose(tail, 2 * stats.t.sf(t, 9.3), rtol=1e-10)
    assert np.isnan(range_tail(np.nan, 3, 9.0))


@pytest.mark.parametrize("df", [4.0, 30.5, np.inf])
def test_multivariate_t_contains_the_others(df):
    """Tukey's tail for all pairs; Sidak's for independent estimates."""
    for t in (0.8, 2.0, 3.5):
        all_pairs = family_of(pairs(5))
        tukey = ADJUSTMENTS["tukey"].tail(t, df, all_pairs)
        assert_allclose(ADJUSTMENTS["mvt"].tail(t, df, all_pairs), tukey, rtol=2e-3)
    alone = family_of(np.eye(4))
    if np.isinf(df):
        sidak = ADJUSTMENTS["sidak"].tail(2.2, df, alone)
        assert_allclose(ADJUSTMENTS["mvt"].tail(2.2, df, alone), sidak, rtol=5e-3)
    one = family_of(np.array([[1.0, -1.0], [-2.0, 2.0]]))
    single = 2 * stats.t.sf(2.0, df)
    assert_allclose(ADJUSTMENTS["mvt"].tail(2.0, df, one), single)


def test_multivariate_t_by_simulation():
    rng = np.random.default_rng(2)
    V = np.diag([1.0, 4.0, 0.5, 2.0])
    C = np.array([[-1.0, 1, 0, 0], [-1, 0, 1, 0], [-1, 0, 0, 1]])
    family = family_of(C, V)
    z = rng.multivariate_normal(np.zeros(3), family.correlation, size=400_000)
    s = np.sqrt(rng.chisquare(8, size=400_000) / 8)
    largest = np.abs(z / s[:, None]).max(axis=1)
    for t in (1.0, 2.0, 3.0):
        expected = (largest > t).mean()
        error = np.sqrt(expected / 400_000)
        tail = ADJUSTMENTS["mvt"].tail(t, 8.0, family)
        assert_allclose(tail, expected, atol=5 * error + 3e-4)


def test_approximate_dunnett_is_near():
    """With three treatments of equal size, within 0.03 of the exact tail."""
    family = family_of(np.array([[-1.0, 1, 0, 0], [-1, 0, 1, 0], [-1, 0, 0, 1]]))
    for t in (0.6, 2.0, 3.0):
        exact = ADJUSTMENTS["mvt"].tail(t, 42.0, family)
        assert_allclose(ADJUSTMENTS["dunnettx"].tail(t, 42.0, family), exact, atol=0.03)


@pytest.mark.parametrize(
    "name, other",
    [
        *[("holm", "holm"), ("hochberg", "simes-hochberg"), ("fdr", "fdr_bh")],
        *[("bonferroni", "bonferroni"), ("sidak", "sidak")],
    ],
)
def test_agrees_with_statsmodels(name, other):
    rng = np.random.default_rng(4)
    t = rng.normal(size=9) * 3
    t[4] = t[2]
    df = np.full(9, 11.0)
    p = 2 * stats.t.sf(np.abs(t), df)
    expected = multipletests(p, method=other)[1]
    found = adjusted_p(t, df, name, family_of(np.eye(9)))
    assert_allclose(found, expected, rtol=1e-10)
    # One that is not known stays so, and does not count.
    more = np.append(t, np.nan)
    found = adjusted_p(more, np.append(df, np.nan), name, family_of(np.eye(9)))
    assert_allclose(found[:-1], expected, rtol=1e-10)
    assert np.isnan(found[-1])


@pytest.mark.parametrize("name", ADJUSTMENTS)
def test_intervals_and_tests_agree(name):
    """At the critical value the adjusted p-value is one minus the coverage."""
    method = ADJUSTMENTS[name]
    family = family_of(pairs(4))
    df = np.array([6.0, 6.0, 17.3, np.inf, np.nan, 6.0])
    critical = critical_values(df, 0.9, name, family)
    assert np.isnan(critical[4])
    tail = ADJUSTMENTS["bonferroni"].tail if method.stepwise else method.tail
    for value, own in zip(critical[[0, 2, 3]], df[[0, 2, 3]], strict=True):
        p = tail(value, own, family) if tail else 2 * stats.t.sf(value, own)
        assert_allclose(p, 0.1, rtol=1e-6)


def test_tails_are_ordered():
    """More is asked of Scheffe than of Tukey, and of Tukey than of one test."""
    family = family_of(pairs(4))
    t, df = np.array([2.7]), np.array([20.0])
    p = {name: adjusted_p(t, df, name, family)[0] for name in ADJUSTMENTS}
    assert p["none"] < p["tukey"] < p["sidak"] < p["bonferroni"]
    assert p["tukey"] < p["scheffe"]
    assert (np.array(list(p.values())) <= 1).all()


def test_names():
    assert adjustment_name("BH") == "fdr"
    assert adjustment_name("Tukey") == "tukey"
    with pytest.raises(OptionError, match="Did you mean 'holm'"):
        adjustment_name("homl")


@pytest.mark.parametrize("name", ["tukey", "mvt", "bonferroni", "scheffe"])
def test_many_degrees_of_freedom(name):
    """Critical values between a few exact ones are as good as these."""
    family = family_of(pairs(4))
    df = 1.0 / np.linspace(1e-9, 0.8, 40)
    every = critical_values(df, 0.95, name, family)
    some = [critical_values(df[i : i + 1], 0.95, name, family)[0] for i in (3, 20, 37)]
    assert_allclose(every[[3, 20, 37]], some, rtol=1e-6)
