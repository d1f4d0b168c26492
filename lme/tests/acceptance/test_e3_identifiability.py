"""E.3, rank and identifiability: scenarios 39 to 49."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture
def aliased():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"x": rng.normal(size=60), "r": np.repeat(np.arange(10), 6)})
    frame["y"] = frame["x"]
    frame["z"] = frame["x"] + rng.normal(size=60) + rng.normal(size=10)[frame["r"]]
    return frame


def test_39_dependent_columns_are_dropped_with_a_word(aliased):
    with pytest.warns(lme.RankWarning, match="Dropped 1 column"):
        res = lme.lmer("z ~ x + y + (1 | r)", aliased).fit()
    every = res.fixef(add_dropped=True)
    assert list(every.index) == ["(Intercept)", "x", "y"]
    assert np.isnan(every["y"]) and not np.isnan(every["x"])
    with pytest.raises(lme.LMEError, match="rank deficient"):
        lme.lmer("z ~ x + y + (1 | r)", aliased, checks={"rank": "stop"}).fit()


def test_40_nearly_dependent_columns_stay(aliased):
    aliased.loc[3, "y"] += 1e-3
    res = lme.lmer("z ~ x + y + (1 | r)", aliased).fit()
    assert res.params.size == 3


def test_41_an_empty_cell():
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "a": rng.choice(list("uv"), 200),
            "b": rng.choice(list("pqr"), 200),
            "g": rng.integers(0, 12, 200),
        }
    )
    frame = frame[~((frame["a"] == "v") & (frame["b"] == "r"))].copy()
    frame["y"] = rng.normal(size=len(frame)) + rng.normal(size=12)[frame["g"]]
    frame["ab"] = frame["a"] + frame["b"]
    with pytest.warns(lme.RankWarning):
        crossed = lme.lmer("y ~ a * b + (1 | g)", frame).fit(reml=False)
    one = lme.lmer("y ~ ab + (1 | g)", frame).fit(reml=False)
    assert crossed.llf == pytest.approx(one.llf, abs=1e-8)
    many = crossed.anova(type=1, ddf="z")
    single = one.anova(type=1, ddf="z")
    assert many["NumDF"].sum() == single["NumDF"].sum() == 4
    # Both test the same four-dimensional space.
    joint = crossed.contrast(np.eye(5)[1:], joint=True, ddf="z")
    assert joint["F value"].iloc[0] == pytest.approx(
        single["F value"].iloc[0], rel=1e-6
    )


def test_42_dropped_columns_in_new_data(aliased):
    with pytest.warns(lme.RankWarning):
        res = lme.lmer("z ~ x + y + (1 | r)", aliased).fit()
    same = lme.lmer("z ~ x + (1 | r)", aliased).fit()
    new = aliased.head(7)
    np.testing.assert_allclose(res.predict(new), same.predict(new), rtol=1e-9)
    # Aliased in the new data only: nothing is dropped there.
    rng = np.random.default_rng(1)
    full = aliased.assign(y=rng.normal(size=60))
    free = lme.lmer("z ~ x + y + (1 | r)", full).fit()
    found = free.predict(new)
    want = free.params.to_numpy() @ [np.ones(7), new["x"], new["y"]]
    modes = free.ranef()["r"]["(Intercept)"].to_numpy()[new["r"]]
    np.testing.assert_allclose(found, want + modes, rtol=1e-9)


def test_43_dropped_coefficients_are_nan_where_all_are_shown(aliased):
    # MixedModels.jl gives -0.0; NaN cannot be mistaken for an estimate.
    with pytest.warns(lme.RankWarning):
        res = lme.lmer("z ~ x + y + (1 | r)", aliased).fit()
    assert res.fixef().size == 2
    assert np.isnan(res.fixef(add_dropped=True)["y"])


def test_44_as_many_levels_as_rows():
    frame = pd.DataFrame({"y": [1.0, 3, 2, 5, 4], "g": list("abcde")})
    with pytest.raises(lme.DesignError, match="'g' has 5 levels for 5 observations"):
        lme.lmer("y ~ 1 + (1 | g)", frame)


def test_45_as_many_effects_as_rows():
    frame = data("sleepstudy").query("Days < 2")
    with pytest.raises(lme.DesignError, match="36 observations and 36 random effects"):
        lme.lmer(SLEEP, frame)
    model = lme.lmer(SLEEP, frame, checks="ignore")
    with pytest.warns(lme.LMEWarning):
        assert np.isfinite(model.fit().objective)


def test_46_one_level():
    frame = data("sleepstudy").assign(one="a")
    with pytest.raises(lme.DesignError, match=r"one level|1 level|single"):
        lme.lmer("Reaction ~ Days + (1 | one)", frame)


def test_47_scales_do_not_matter():
    sleep = data("sleepstudy")
    res = lme.lmer(SLEEP, sleep).fit()
    far = sleep.assign(Days=sleep["Days"] * 1e6)
    scaled = lme.lmer(SLEEP, far).fit()
    # lme4 warns; here units never reach the search, so there is nothing to rescale.
    assert scaled.converged
    assert scaled.params["Days"] * 1e6 == pytest.approx(res.params["Days"], rel=1e-8)
    assert scaled.bse["Days"] * 1e6 == pytest.approx(res.bse["Days"], rel=1e-6)


def test_48_no_rows_and_matrix_responses():
    sleep = data("sleepstudy")
    with pytest.raises(lme.LMEError, match=r"0|no rows|No rows"):
        lme.lmer(SLEEP, sleep.assign(Days=np.nan))
    with pytest.raises(lme.LMEError, match="refit"):
        lme.lmer("cbind(Reaction, Days) ~ 1 + (1 | Subject)", sleep)


def test_49_checks_do_not_change_the_fit():
    sleep = data("sleepstudy")
    one = lme.lmer(SLEEP, sleep).fit()
    two = lme.lmer(SLEEP, sleep, checks="ignore").fit()
    assert one.objective == two.objective
