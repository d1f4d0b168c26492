"""Elements of theta held at values, and starts by natural names."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.errors import OptionError

NAMES = ["Subject.(Intercept)", "Subject.Days.(Intercept)", "Subject.Days"]


@pytest.fixture(scope="module")
def model():
    data = lme.datasets.load("sleepstudy")
    return lme.lmer("Reaction ~ Days + (Days | Subject)", data)


def test_an_element_of_zero_is_the_smaller_model(model):
    held = model.fit(fix={"theta": {NAMES[1]: 0.0}})
    data = lme.datasets.load("sleepstudy")
    smaller = lme.lmer("Reaction ~ Days + (Days || Subject)", data).fit()
    assert held.objective == pytest.approx(smaller.objective, rel=1e-12)
    assert held.npar == smaller.npar == 5
    np.testing.assert_allclose(held.params, smaller.params, rtol=1e-7)
    np.testing.assert_allclose(held.bse, smaller.bse, rtol=1e-6)


def test_the_others_are_estimated_around_it(model):
    """The held objective is the profile of the free one: never below its minimum."""
    full = model.fit()
    at = [full.theta[NAMES[2]] + step for step in (-0.05, 0.0, 0.05)]
    ends = [model.fit(fix={"theta": {NAMES[2]: value}}) for value in at]
    values = [end.objective - full.objective for end in ends]
    assert values[1] == pytest.approx(0.0, abs=1e-8)
    assert values[0] > 1e-3
    assert values[2] > 1e-3
    for end, value in zip(ends, at, strict=True):
        assert end.theta[NAMES[2]] == value


def test_all_held_is_an_evaluation(model):
    theta = dict(zip(NAMES, [0.92, 0.0, 0.2], strict=True))
    held = model.fit(fix={"theta": theta})
    assert held.npar == 3
    np.testing.assert_allclose(held.theta, [0.92, 0.0, 0.2], rtol=1e-15)
    y = model.endog
    X = model.exog
    Z, Lambda = held.getME("Z"), held.getME("Lambda")
    ZL = (Z @ Lambda).toarray()
    V = ZL @ ZL.T + np.eye(len(y))
    Vi = np.linalg.inv(V)
    beta = np.linalg.solve(X.T @ Vi @ X, X.T @ Vi @ y)
    np.testing.assert_allclose(held.params, beta, rtol=1e-9)
    e = y - X @ beta
    df = len(y) - 2
    dense = (
        np.linalg.slogdet(V)[1]
        + np.linalg.slogdet(X.T @ Vi @ X)[1]
        + df * (1.0 + np.log(2.0 * np.pi * (e @ Vi @ e) / df))
    )
    assert held.objective == pytest.approx(dense, rel=1e-11)


def test_comparison_counts_what_is_free(model):
    held = model.fit(reml=False, fix={"theta": {NAMES[2]: 0.2}})
    table = lme.anova(held, model.fit(reml=False))
    assert list(table["npar"]) == [5, 6]
    assert table["Df"].iloc[1] == 1


def test_an_update_keeps_what_is_held(model):
    held = model.fit(fix={"theta": {NAMES[1]: 0.0, NAMES[2]: 0.2}})
    again = held.update()
    assert again.objective == pytest.approx(held.objective, rel=1e-12)
    assert again.npar == held.npar == 4
    smaller = held.update(". ~ . - Days", reml=False)
    assert smaller.theta[NAMES[2]] == 0.2
    free = held.update(fix=None)
    assert free.npar == 6
    assert free.objective == pytest.approx(model.fit().objective, rel=1e-12)
    # What is held is not in the new model: said, not dropped.
    with pytest.raises(OptionError, match=r"Subject\.Days"):
        held.update(". ~ . - (Days | Subject) + (1 | Subject)")


def test_an_update_of_a_generalized_model():
    frame = lme.datasets.load("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    model = lme.glmer(formula, frame, family="binomial")
    free = model.fit()
    held = free.update(fix={"theta": {"herd.(Intercept)": 0.5}})
    again = held.update()
    assert again.npar == free.npar - 1
    assert again.objective == pytest.approx(held.objective, rel=1e-10)
    assert held.objective > free.objective + 0.1
    robust = free.update(cov_type="cluster", cov_kwds={"groups": "herd"})
    asked = model.fit(cov_type="cluster", cov_kwds={"groups": "herd"})
    np.testing.assert_allclose(robust.bse, asked.bse, rtol=1e-8)


@pytest.fixture(scope="module")
def doses():
    rng = np.random.default_rng(3)
    n = 400
    frame = pd.DataFrame({"g": np.repeat(np.arange(40), 10)})
    frame["f"] = pd.Categorical(rng.choice(list("abc"), n))
    sigma = [[1, 0.5, 0.25], [0.5, 1.5, 0.6], [0.25, 0.6, 0.8]]
    effects = rng.multivariate_normal(np.zeros(3), sigma, size=40)
    frame["y"] = effects[frame.g, frame.f.cat.codes] + rng.normal(size=n)
    return frame


def test_equal_deviations_of_a_pattern_are_the_homogeneous_one(doses):
    model = lme.lmer("y ~ 1 + cs(0 + f | g)", doses)
    equal = model.fit(fix={"theta": {"g.fa": "g.fb", "g.fb": "g.fc"}})
    other = lme.lmer("y ~ 1 + homcs(0 + f | g)", doses).fit()
    assert equal.objective == pytest.approx(other.objective, abs=1e-8)
    assert equal.npar == other.npar == 4
    assert equal.theta["g.cor"] == pytest.approx(other.theta["g.cor"], abs=1e-5)


def test_a_correlation_of_a_pattern_is_held(doses):
    model = lme.lmer("y ~ 1 + cs(0 + f | g)", doses)
    held = model.fit(fix={"theta": {"g.cor": 0.0}})
    other = lme.lmer("y ~ 1 + diag(0 + f | g)", doses).fit()
    assert held.objective == pytest.approx(other.objective, abs=1e-8)
    assert held.npar == other.npar
    nothing = model.fit(fix={"theta": {}})
    assert nothing.npar == held.npar + 1


@pytest.mark.parametrize(
    ("term", "theta", "text"),
    [
        ("cs", {"g.fa": "g.fb", "g.fb": "g.fa"}, "g.fa = g.fb = g.fa goes in a circle"),
        ("cs", {"g.fa": "g.cor"}, "'g.fa' and 'g.cor' cannot be equal"),
        ("cs", {"g.fa": True}, "is True"),
        ("cs", {"g.cor": 1.5}, "is 1.5.*between -1 and 1"),
        ("toep", {"g.cor.2": 0.3}, "one of several correlations.*ar1 or cs"),
        ("cs", 3, "is of type int"),
    ],
)
def test_bad_wishes_of_patterns(doses, term, theta, text):
    model = lme.lmer(f"y ~ 1 + {term}(0 + f | g)", doses)
    with pytest.raises(OptionError, match=f"(?s){text}"):
        model.fit(fix={"theta": theta})


def test_names_that_stand_for_two_elements(doses):
    model = lme.lmer("y ~ 1 + (1 | g) + (1 | g)", doses)
    with pytest.raises(OptionError, match="2 elements of theta are called"):
        model.fit(fix={"theta": {"g.(Intercept)": 0.0}})


def test_generalized():
    data = lme.datasets.load("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    free = lme.glmer(formula, data, family="binomial")
    full = free.fit()
    name, value = full.theta.index[0], full.theta.iloc[0]
    held = free.fit(fix={"theta": {name: value}})
    assert held.objective == pytest.approx(full.objective, rel=1e-10)
    assert held.npar == full.npar - 1
    none = free.fit(fix={"theta": {name: 0.0}})
    assert none.objective > full.objective + 1.0


@pytest.mark.parametrize(
    ("fix", "text"),
    [
        ({"theta": {"Subject.Dayz": 0.0}}, "no element.*Did you mean"),
        ({"theta": {"Subject.Days": -1.0}}, "is -1"),
        ({"theta": {"Subject.Days": float("nan")}}, "is nan"),
        ({"theta": {"Subject.Days": "x"}}, "no element 'x'"),
        ({"thetas": {}}, "Did you mean 'theta'"),
        (3, "Expected a mapping"),
    ],
)
def test_bad_wishes(model, fix, text):
    with pytest.raises(OptionError, match=text):
        model.fit(fix=fix)


def test_start_by_names(model):
    full = model.fit()
    start = {"theta": dict(zip(NAMES, full.theta, strict=True))}
    again = model.fit(start=start)
    assert again.objective == pytest.approx(full.objective, rel=1e-12)
    assert again.convergence.evaluations <= full.convergence.evaluations


@pytest.mark.parametrize("theta", [[1.0, 0.0], [1.0, 0.0, np.nan]])
def test_bad_starts(model, theta):
    with pytest.raises(OptionError, match="3 covariance parameters"):
        model.fit(start={"theta": theta})
