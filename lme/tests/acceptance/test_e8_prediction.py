"""E.8, prediction and simulation: scenarios 88 to 96."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

import lme
from lme.tests.acceptance.reference import references
from lme.tests.cases import REFERENCE, data

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture
def sleep():
    return data("sleepstudy")


@pytest.fixture
def res(sleep):
    return lme.lmer(SLEEP, sleep).fit()


@pytest.fixture
def cbpp():
    return lme.glmer(CBPP, data("cbpp"), family="binomial").fit()


def test_88_rows_of_the_fit(sleep, res):
    np.testing.assert_array_equal(res.predict(), res.fittedvalues)
    np.testing.assert_allclose(res.predict(sleep), res.fittedvalues, rtol=1e-13)
    one = res.predict(pd.DataFrame({"Days": [3], "Subject": ["309"]}))
    assert one.shape == (1,)
    assert one.iloc[0] == pytest.approx(res.fittedvalues.iloc[13], rel=1e-13)
    text = sleep.assign(Subject=sleep["Subject"].astype(str))
    np.testing.assert_allclose(res.predict(text), res.fittedvalues, rtol=1e-13)


def test_89_new_levels(cbpp):
    periods = ["1", "2", "3", "4"]
    known = pd.DataFrame({"period": periods * 2, "herd": ["1"] * 4 + ["2"] * 4})
    new = pd.concat([known, pd.DataFrame({"period": periods, "herd": "new"})])
    with pytest.raises(lme.DataError, match=r"New level of 'herd' .*: 'new'"):
        cbpp.predict(new)
    many = pd.DataFrame({"period": "1", "herd": [f"new{i}" for i in range(50)]})
    with pytest.raises(lme.DataError) as caught:
        cbpp.predict(many)
    assert "'new0', 'new1'" in str(caught.value) and "50 in all" in str(caught.value)
    assert "new49" not in str(caught.value)
    found = cbpp.predict(new, new_levels="population", which="linear")
    own = cbpp.predict(known, which="linear")
    np.testing.assert_array_equal(found.iloc[:8], own)
    mean = cbpp.predict({"period": periods}, re_form="none", which="linear")
    np.testing.assert_array_equal(found.iloc[8:], mean)


def test_90_some_of_the_random_effects(sleep, res):
    ends = pd.DataFrame(
        {"Days": [0, 9] * 3, "Subject": np.repeat(["308", "309", "310"], 2)}
    )
    both = [253.663652, 430.660019, 211.006416, 227.634789, 212.444743, 257.610538]
    slope = [251.405105, 428.401472, 251.405105, 268.033478, 251.405105, 296.570901]
    level = [253.663652, 347.869226, 211.006416, 305.211989, 212.444743, 306.650316]
    want = {"all": both, "none": [251.405105, 345.610678] * 3}
    want |= {"~ (0 + Days | Subject)": slope, "~ (1 | Subject)": level}
    for re_form, values in want.items():
        # lme4's numbers are at its looser optimum.
        found = res.predict(ends, re_form=re_form)
        np.testing.assert_allclose(found, values, rtol=1e-6)
    slopes = res.predict(sleep, re_form="~ (0 + Days | Subject)")
    np.testing.assert_allclose(slopes.iloc[:2], [251.405, 271.071], atol=6e-4)
    intercepts = res.predict(sleep, re_form="~ (1 | Subject)")
    np.testing.assert_allclose(intercepts.iloc[:2], [253.664, 264.131], atol=6e-4)


def test_91_penicillin():
    formula = "diameter ~ 1 + (1 | plate) + (1 | sample)"
    res = lme.lmer(formula, data("Penicillin")).fit()
    want = [25.9638, 22.7663, 25.7147, 23.6799, 23.7629, 20.773]
    np.testing.assert_allclose(res.predict()[:6], want, atol=6e-5)


@pytest.fixture
def partial():
    """200 rows of four variables; the responses are those of lme4's test."""
    rows = pd.DataFrame(
        {
            "x": np.arange(1, 201),
            "f": np.tile(np.arange(1, 11), 20).astype(str),
            "g": np.repeat(np.arange(1, 21), 10).astype(str),
            "h": np.tile(np.arange(1, 6), 40).astype(str),
            "y": references()["partial"],
        }
    )
    rows["f"] = pd.Categorical(rows["f"], [str(i) for i in range(1, 11)])
    return rows


def test_92_only_the_columns_of_the_terms_asked_for(partial):
    model = lme.lmer("y ~ 1 + f + (1 | h/f) + (poly(x, 2) | g)", partial)
    with pytest.warns(lme.ConvergenceWarning, match="not identifiable"):
        res = model.fit()
    first = partial.iloc[[0]]
    nested = res.predict(first[["f", "h"]], re_form="~ 1 | h/f")
    # The variances of h and f:h are not determined, but their modes are: nearly zero.
    assert nested.iloc[0] == pytest.approx(0.14786, abs=1e-4)
    curve = res.predict(first.drop(columns="h"), re_form="~ poly(x, 2) | g")
    assert curve.iloc[0] == pytest.approx(0.1533, abs=1e-3)
    with pytest.raises(lme.FormulaError, match="no columns 'x', 'g'"):
        res.predict(first[["f", "h"]])


def test_92_columns_of_other_terms_may_be_absent_or_odd(partial):
    with pytest.warns(lme.LMEWarning):
        res = lme.lmer("y ~ 1 + f + (1 | g) + (1 | h)", partial).fit()
    here = {"f": ["1"], "g": ["2"]}
    found = res.predict(here, re_form="~ (1 | g)").iloc[0]
    assert found == pytest.approx(0.1512895, abs=2e-5)
    odd = res.predict({**here, "h": [object()]}, re_form="~ (1 | g)")
    assert odd.iloc[0] == found


def test_92_dummy_columns_and_few_levels(sleep):
    machines = data("Machines")
    formula = 'score ~ Machine + (0 + dummy(Machine, "B") | Worker)'
    res = lme.lmer(formula, machines).fit()
    some = machines[machines["Machine"] == "B"].iloc[[4]]
    some = some.assign(Machine=some["Machine"].cat.remove_unused_categories())
    want = res.fittedvalues.loc[some.index]
    np.testing.assert_allclose(res.predict(some), want, rtol=1e-13)
    # As many levels as 50,000: test_prediction.py has the time that takes.
    rows = pd.DataFrame({"g": np.arange(50_000).repeat(2)})
    rng = np.random.default_rng(1)
    rows["y"] = rng.normal(size=100_000) + rng.normal(size=50_000).repeat(2)
    large = lme.lmer("y ~ 1 + (1 | g)", rows).fit()
    again = large.predict(rows.iloc[::-1])
    np.testing.assert_allclose(again.iloc[::-1], large.fittedvalues, rtol=1e-12)


def test_93_standard_errors_of_predictions(cbpp):
    path = REFERENCE / "prediction" / "predictions.json.gz"
    iris = pd.DataFrame(json.loads(gzip.decompress(path.read_bytes()))["iris"])
    res = lme.lmer("Petal_Width ~ Sepal_Length + (1 | Species)", iris).fit()
    se = res.get_prediction().se_mean
    assert se.iloc[0] == pytest.approx(0.0271816, abs=5e-8)
    mean = res.get_prediction(re_form="none").se_mean
    assert mean.iloc[0] == pytest.approx(0.45115, rel=1e-4)
    some = iris[iris["Species"] == "virginica"].iloc[::7]
    found = res.get_prediction(some).se_mean
    np.testing.assert_allclose(found, se.loc[some.index], rtol=1e-12)
    # On the scale of the response by the delta method.
    link = cbpp.get_prediction(which="linear")
    mu = cbpp.fittedvalues
    want = link.se_mean * mu * (1 - mu)
    np.testing.assert_allclose(cbpp.get_prediction().se_mean, want, rtol=1e-12)


def test_94_new_levels_of_three_kinds(sleep, res, cbpp):
    new = sleep.head(10).assign(Subject="new")
    with pytest.raises(lme.DataError, match="'new'"):
        res.predict(new)
    assert res.predict(new, new_levels="nan").isna().sum() == 10
    found = res.predict(new, new_levels="population")
    np.testing.assert_allclose(found, res.predict(re_form="none").iloc[:10])
    with pytest.raises(lme.OptionError, match="which"):
        res.predict(which="deviance")
    eta = cbpp.predict(which="linear")
    np.testing.assert_allclose(cbpp.predict(), 1 / (1 + np.exp(-eta)), rtol=1e-13)


def test_95_simulated_responses(sleep, res):
    own = res.simulate(2, seed=101)
    pd.testing.assert_frame_equal(res.simulate(2, seed=101, newdata=sleep), own)
    more = pd.concat([sleep] * 2, ignore_index=True)
    more["Subject"] = np.repeat(np.arange(36), 10)
    assert res.simulate(1, seed=1, newdata=more).shape == (360, 1)
    # One level of a factor of the fixed part.
    cake = lme.lmer("angle ~ recipe + temperature + (1 | replicate)", data("cake"))
    part = data("cake").query("recipe == 'B'").head(7)
    part = part.assign(recipe=part["recipe"].cat.remove_unused_categories())
    assert cake.fit().simulate(3, seed=1, newdata=part).notna().all(axis=None)


def test_95_missing_values_and_state(sleep):
    lost = sleep.assign(Reaction=sleep["Reaction"].where(np.arange(180) > 4))
    res = lme.lmer(SLEEP, lost, na_action="exclude").fit()
    found = res.simulate(1, seed=1, re_form="all")
    assert found.shape == (180, 1) and found["sim_1"].isna().sum() == 5
    curve = lme.lmer("Reaction ~ poly(scale(Days), 2) + (1 | Subject)", sleep).fit()
    few = curve.simulate(800, seed=2, newdata=sleep.iloc[[7]], re_form="all")
    error = 5 * curve.sigma / np.sqrt(800)
    assert few.mean(axis=1).iloc[0] == pytest.approx(
        curve.fittedvalues.iloc[7], abs=error
    )


def test_95_weights_and_offsets_do_not_leak(sleep):
    shifted = lme.lmer(
        "Reaction ~ Days + offset(off) + (1 | Subject)",
        sleep.assign(off=1000.0),
        weights=np.linspace(1.0, 400.0, 180),
    ).fit()
    new = sleep.head(2).assign(off=[0.0, 5000.0])
    Y = shifted.simulate(2000, seed=3, newdata=new, re_form="all")
    want = shifted.predict(new)
    assert want.diff().iloc[1] == pytest.approx(5000 + shifted.params["Days"])
    spread = shifted.sigma
    np.testing.assert_allclose(Y.mean(axis=1), want, atol=5 * spread / np.sqrt(2000))
    # Weights of the fit belong to its rows; new rows have weight one.
    np.testing.assert_allclose(Y.std(axis=1), spread, rtol=0.08)


def test_95_without_a_fit_and_of_factors(sleep):
    params = {"beta": [250.0, 10.0], "theta": [1.0, 0.0, 0.2]}
    with pytest.raises(lme.LMEError, match="sigma"):
        lme.simulate(SLEEP, sleep, params, seed=1)
    frame = sleep.assign(slow=np.where(sleep["Reaction"] > 300, "yes", "no"))
    frame["slow"] = frame["slow"].astype("category")
    res = lme.glmer("slow ~ Days + (1 | Subject)", frame, family="binomial").fit()
    drawn = res.simulate(1, seed=1)["sim_1"]
    assert drawn.dtype == frame["slow"].dtype and set(drawn) == {"no", "yes"}


def test_96_refits_of_simulated_responses(res):
    drawn = res.simulate(2, seed=4)
    # R refuses a list of two; here each column is a response and has a fit.
    fits = res.refit(drawn)
    assert len(fits) == 2
    single = res.refit(drawn["sim_2"])
    np.testing.assert_allclose(fits.params.loc["sim_2"], single.params, rtol=1e-6)
    assert fits.llf["sim_2"] == pytest.approx(single.llf, abs=1e-7)
    with pytest.raises(lme.LMEError):
        res.refit([drawn["sim_1"], drawn["sim_2"]])
