"""E.9, fits within groups, covariance structures, optimizers: scenarios 97 to 100."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.optimizers import OPTIMIZERS
from lme.tests.acceptance.reference import references
from lme.tests.cases import data

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
STRUCTURES = references()["structures"]


def test_97_a_regression_in_each_group():
    found = lme.lmList("Reaction ~ Days | Subject", data("sleepstudy"))
    assert found.pooled_sd == pytest.approx(25.5918156267, rel=1e-11)
    teeth = lme.lmList("distance ~ age | Subject", data("Orthodont"))
    np.testing.assert_allclose(teeth.fixef(), [16.7611111, 0.660185185], rtol=1e-8)


def test_97_groups_that_do_not_determine_their_fit():
    formula = "cbind(incidence, size - incidence) ~ period | herd"
    with pytest.warns(lme.DataWarning) as caught:
        found = lme.lmList(formula, data("cbpp"), family="binomial")
    texts = " ".join(str(note.message) for note in caught)
    assert "2 of 15 groups: 2, 8" in texts and "infinite estimates" in texts
    table = found.coef()
    assert table.shape == (15, 4)
    # Herd 8 was seen in one period, whose odds it does determine, the base's; R gives
    # up on it. Herd 2 lacks the fourth period.
    missing = table.isna()
    assert missing.loc["8"].tolist() == [False, True, True, True]
    assert missing.loc["2"].sum() == 1 and missing.to_numpy().sum() == 4


def test_97_pooled_degrees_of_freedom_of_aliased_groups():
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"g": np.repeat(list("abcd"), 5), "x": np.tile(range(5), 4)})
    rows["y"] = rng.normal(size=20)
    rows.loc[rows["g"] == "d", "x"] = 2
    with pytest.warns(lme.DataWarning, match="Not all coefficients"):
        found = lme.lmList("y ~ x | g", rows)
    # Three groups of 5 - 2 and one of 5 - 1.
    assert found.df_resid == 13
    groups = [part for _, part in rows.groupby("g")]
    left = [np.polyfit(p["x"], p["y"], 1, full=True)[1][0] for p in groups[:3]]
    left.append(((groups[3]["y"] - groups[3]["y"].mean()) ** 2).sum())
    assert found.pooled_sd == pytest.approx(np.sqrt(sum(left) / 13), rel=1e-12)


def _structured(name):
    want = STRUCTURES[name]
    if name.startswith("contra"):
        frame = data("Contraception")
        return want, lme.glmer(want["formula"], frame, family="binomial").fit()
    sleep = data("sleepstudy")
    sleep = sleep.assign(f=pd.Categorical(sleep["Days"]))
    return want, lme.lmer(want["formula"], sleep).fit(reml=want["REML"])


@pytest.mark.parametrize("name", STRUCTURES)
def test_98_structures_agree_with_glmmtmb_and_nlme(name):
    want, res = _structured(name)
    assert res.converged
    assert res.llf == pytest.approx(want["loglik"], abs=5e-9)
    # lme4's own tolerances against them are 5e-5 to 3e-3.
    np.testing.assert_allclose(res.cov_params(), want["vcov"], rtol=1e-4)
    part = res.VarCorr().components[0]
    np.testing.assert_allclose(part.sd, want["sd"], rtol=1e-5)
    np.testing.assert_allclose(part.corr[:, 0], want["cor"], atol=5e-4)
    assert res.sigma == pytest.approx(want["sigma"], rel=2e-6)


def test_98_generalized_autoregression():
    # lme4 stopped here with an error about the length of its start (its issue 908).
    res = lme.glmer(
        "incidence / size ~ 1 + ar1(0 + period | herd)",
        data("cbpp"),
        family="binomial",
        weights="size",
    ).fit()
    # glmmTMB's likelihood.
    assert res.llf == pytest.approx(-94.230540265532, abs=1e-5)
    assert list(res.theta.index) == ["herd.sd", "herd.cor"]


def test_98_a_correlation_of_one_is_singular():
    teeth = data("Orthodont")
    teeth = teeth.assign(f=pd.Categorical(teeth["age"]))
    res = lme.lmer("distance ~ age + cs(0 + f | Subject)", teeth).fit(reml=False)
    assert res.theta["Subject.cor"] == pytest.approx(1.0, abs=1e-6)
    assert res.is_singular
    rng = np.random.default_rng(5)
    rows = pd.DataFrame({"f": np.tile(list("abc"), 60), "g": np.repeat(range(30), 6)})
    rows["y"] = rng.normal(size=180)
    means = rows.groupby("g")["y"].transform("mean")
    rows["y"] -= means
    zero = lme.lmer("y ~ 1 + homdiag(0 + f | g)", rows).fit()
    assert zero.theta.iloc[0] == 0.0 and zero.is_singular


def test_99_structures_stay_with_their_terms():
    # f1 has fewer levels than f2: terms change places, and take their structure along.
    rng = np.random.default_rng(9)
    rows = pd.DataFrame({"f1": rng.integers(0, 25, 1500), "f2": np.arange(1500) % 75})
    rows["t"] = pd.Categorical(rng.integers(0, 3, 1500).astype(str))
    rows["x"] = rng.normal(size=1500)
    shared = rng.multivariate_normal(np.zeros(3), [[4, 2, 2], [2, 4, 2], [2, 2, 4]], 25)
    free = rng.normal(size=(75, 2)) * [1.0, 3.0]
    rows["y"] = shared[rows["f1"], rows["t"].cat.codes] + rng.normal(size=1500)
    rows["y"] += free[rows["f2"], 0] + free[rows["f2"], 1] * rows["x"]
    terms = ["homcs(0 + t | f1)", "diag(x | f2)"]
    fits = [lme.lmer(f"y ~ x + {a} + {b}", rows).fit() for a, b in (terms, terms[::-1])]
    for res in fits:
        assert list(res.VarCorr()) == ["f2", "f1"]
        parts = dict(zip(res.VarCorr(), res.VarCorr().components, strict=True))
        assert parts["f2"].columns == ("(Intercept)", "x")
        assert parts["f2"].corr[1, 0] == 0.0
        assert parts["f2"].sd[1] == pytest.approx(3.0, rel=0.25)
        np.testing.assert_allclose(parts["f1"].sd, parts["f1"].sd[0])
        off = parts["f1"].corr[np.tril_indices(3, -1)]
        np.testing.assert_allclose(off, off[0])
        assert off[0] == pytest.approx(0.5, abs=0.25)
        assert list(res.theta.index[:2]) == ["f2.(Intercept)", "f2.x"]
        # Two fixed effects, two and two of the terms, sigma.
        assert res.npar == 7
    assert fits[0].objective == pytest.approx(fits[1].objective, abs=1e-8)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_100_every_optimizer_ends_in_the_same_place(name):
    linear = lme.lmer(SLEEP, data("sleepstudy"))
    counts = lme.glmer(CBPP, data("cbpp"), family="binomial")
    for model in (linear, counts):
        best, other = model.fit(), model.fit(optimizer=name)
        assert other.converged
        assert other.llf == pytest.approx(best.llf, abs=1e-6)


def test_100_all_of_them_at_once():
    table = lme.allfit(lme.lmer(SLEEP, data("sleepstudy")).fit())
    assert set(table.index) == set(OPTIMIZERS) - {"auto"}
    assert (table["above_best"] < 1e-5).all() and table["converged"].all()
