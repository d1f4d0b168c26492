"""E.4, missing data: scenarios 50 to 54."""

import numpy as np
import pytest

import lme
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture
def sleep():
    frame = data("sleepstudy")
    frame.index = [f"a{i + 1}" for i in range(len(frame))]
    return frame


def test_50_missing_responses(sleep):
    sleep.loc[["a1", "a2", "a3"], "Reaction"] = np.nan
    omit = lme.lmer(SLEEP, sleep).fit()
    assert len(omit.fittedvalues) == 177 and omit.fittedvalues.index[0] == "a4"
    exclude = lme.lmer(SLEEP, sleep, na_action="exclude").fit()
    padded = exclude.residuals()
    assert len(padded) == 180 and padded.isna().sum() == 3
    np.testing.assert_allclose(padded.dropna(), omit.residuals(), rtol=1e-12)


def test_51_only_variables_that_are_used_count(sleep):
    full = lme.lmer(SLEEP, sleep).fit()
    unused = lme.lmer(SLEEP, sleep.assign(other=np.nan)).fit()
    np.testing.assert_allclose(unused.theta, full.theta, rtol=1e-12)
    for column in ("Days", "Subject"):
        frame = sleep.copy()
        frame[column] = frame[column].where(np.arange(180) > 0)
        assert lme.lmer(SLEEP, frame).fit().nobs == 179


def test_52_infinite_and_missing_values_are_named(sleep):
    bad = sleep.copy()
    bad.loc["a9", "Reaction"] = np.inf
    with pytest.raises(lme.DataError, match="Reaction"):
        lme.lmer(SLEEP, bad)
    with pytest.raises(lme.LMEError, match="missing"):
        lme.lmer(
            SLEEP,
            sleep.assign(Days=sleep["Days"].where(sleep["Days"] > 0)),
            na_action="fail",
        )


def test_53_what_follows_a_fit_with_dropped_rows(sleep):
    whole = sleep["Reaction"].copy()
    sleep.loc[["a1", "a20"], "Reaction"] = np.nan
    res = lme.lmer(SLEEP, sleep).fit()
    assert res.simulate(2, seed=1).shape == (178, 2)
    assert np.isfinite(res.refit(whole).objective)
    boot = res.bootstrap(10, seed=1, progress=False)
    assert len(boot) == 10
    assert np.isfinite(res.confint(method="wald").to_numpy()[-2:]).all()
    assert np.isfinite(res.confint(method="profile").to_numpy()).all()


def test_54_a_missing_covariate_predicts_nan(sleep):
    res = lme.lmer(SLEEP, sleep).fit()
    new = sleep.head(3).copy()
    new["Days"] = [0.0, np.nan, 2.0]
    found = res.predict(new)
    assert list(found.isna()) == [False, True, False]
    assert list(found.index) == ["a1", "a2", "a3"]
