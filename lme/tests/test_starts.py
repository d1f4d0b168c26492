"""Where a search starts, by the names that results have."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.errors import DesignError, FormulaWarning, OptionError
from lme.naming import covariance_parameters

TERMS = [
    "(x | g)",
    "diag(0 + f | g)",
    "homdiag(0 + f | g)",
    "cs(0 + f | g)",
    "homcs(0 + f | g)",
    "ar1(0 + f | g)",
    "hetar1(0 + f | g)",
    "toep(0 + f | g)",
    "homtoep(0 + f | g)",
]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    n = 400
    frame = pd.DataFrame({"g": np.repeat(np.arange(40), 10)})
    frame["f"] = pd.Categorical(rng.choice(list("abc"), n))
    frame["x"] = rng.normal(size=n)
    sigma = [[1, 0.5, 0.25], [0.5, 1.5, 0.6], [0.25, 0.6, 0.8]]
    effects = rng.multivariate_normal(np.zeros(3), sigma, size=40)
    frame["y"] = effects[frame.g, frame.f.cat.codes] + rng.normal(size=n)
    frame["count"] = rng.poisson(np.exp(0.3 * frame.y))
    frame["size"] = np.exp(0.5 * frame.y)
    return frame


def natural(res):
    """Deviations and correlations of the random effects under the names of confint."""
    out = {}
    for each in covariance_parameters(res.model.design):
        part = res.VarCorr().components[each.slot]
        if each.kind == "sd":
            out[each.name] = float(part.sd[each.rows[0]])
        else:
            out[each.name] = float(part.corr[each.rows])
    return out


@pytest.mark.parametrize("term", TERMS)
def test_the_estimates_are_where_the_search_ends_at_once(data, term):
    model = lme.lmer(f"y ~ 1 + {term}", data)
    res = model.fit()
    again = model.fit(start=natural(res) | {"sigma": res.sigma})
    assert again.trace["objective"].iloc[0] == pytest.approx(res.objective, abs=1e-9)
    assert len(again.trace) == 1


def test_a_part_of_them_leaves_the_rest_to_moments(data):
    model = lme.lmer("y ~ 1 + (0 + f | g)", data)
    res = model.fit()
    again = model.fit(start={"sd_fa|g": 3.0, "sigma": 1.0})
    first = again.trace.iloc[0]
    assert first["g.fa"] == pytest.approx(3.0)
    assert again.objective == pytest.approx(res.objective, abs=1e-8)


def test_of_held_elements(data):
    model = lme.lmer("y ~ 1 + (0 + f | g)", data)
    fix = {"theta": {"g.fa": "g.fc"}}
    res = model.fit(fix=fix)
    again = model.fit(fix=fix, start={"sd_fa|g": 2.0, "sd_fc|g": 2.0})
    assert again.objective == pytest.approx(res.objective, abs=1e-8)
    assert again.theta["g.fa"] == again.theta["g.fc"]


def test_of_generalized_models(data):
    model = lme.glmer("size ~ x + (1 | g)", data, family="gamma", link="log")
    res = model.fit()
    start = {"sigma": res.sigma, "theta": res.theta, "beta": res.params}
    again = model.fit(start=start)
    assert again.trace["objective"].iloc[0] == pytest.approx(res.objective, abs=1e-6)
    model = lme.glmer("count ~ x + (1 | g)", data, family="negative_binomial")
    res = model.fit()
    again = model.fit(start={"nb_theta": 2.0, "x": 0.1})
    assert again.objective == pytest.approx(res.objective, abs=1e-6)


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ({"sigma": 0.0}, "is 0. It must be positive"),
        ({"sigma": "a"}, "'a'.*A finite number from 0"),
        ({"sd_x|g": -1}, "is -1"),
        ({"cor_x.(Intercept)|g": 2}, "is 2.*from -1 to 1"),
        ({"theta": {"g.y": 1}}, "'g.y'.*elements are.*Did you mean 'g.x'"),
        ({"theta": "much"}, "3 covariance parameters"),
        ({"thetas": 1}, "Did you mean 'theta'"),
        ({"x": 1}, "fixed effects are profiled out"),
    ],
)
def test_bad_starts(data, start, text):
    with pytest.raises(OptionError, match=f"(?s){text}"):
        lme.lmer("y ~ x + (x | g)", data).fit(start=start)


def test_correlations_that_cannot_be(data):
    model = lme.lmer("y ~ 1 + (0 + f | g)", data)
    names = ["cor_fb.fa|g", "cor_fc.fa|g", "cor_fc.fb|g"]
    start = dict(zip(names, [0.9, 0.9, -0.9], strict=True))
    with pytest.raises(OptionError, match="do not fit each other"):
        model.fit(start=start)


# --- models with too little, or nothing, to search ------------------------------------


def test_a_term_without_columns_changes_nothing(data):
    with pytest.warns(FormulaWarning, match="no columns"):
        with_it = lme.lmer("y ~ x + (0 | f) + (1 | g)", data).fit()
    without = lme.lmer("y ~ x + (1 | g)", data).fit()
    assert with_it.objective == without.objective
    assert with_it.ranef()["f"].shape == (3, 0)
    assert with_it.condVar()["f"].shape == (0, 0, 3)
    np.testing.assert_array_equal(with_it.predict(), without.predict())
    with (
        pytest.warns(FormulaWarning, match="no columns"),
        pytest.raises(DesignError, match="Leave out the 0"),
    ):
        lme.lmer("y ~ x + (0 | g)", data).fit()


def test_as_many_fixed_effects_as_rows(data):
    with pytest.raises(DesignError, match=r"400 independent columns.*400 rows"):
        lme.lmer("y ~ factor(x) + (1 | g)", data).fit()
