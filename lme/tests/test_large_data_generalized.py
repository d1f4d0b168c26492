"""Generalized models of data in partitions give what the same rows in memory give."""

import errno
import gc
import pickle
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lme
from lme.engine.laplace import Laplace
from lme.errors import (
    ConvergenceWarning,
    DataError,
    DataWarning,
    FitError,
    OptionError,
    RankWarning,
)
from lme.partitions.sources import DaskSource

dd = pytest.importorskip("dask.dataframe")

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")


def _made(n=600, seed=3):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n) + 30,
            "g": rng.integers(0, 40, n),
            "h": rng.choice([f"s{i}" for i in range(12)], n),
            "f": rng.choice(list("abc"), n),
            "o": 0.1 * rng.normal(size=n),
            "m": rng.integers(1, 6, n),
        }
    )
    z = frame["z"] = frame["x"] - 30
    b = rng.normal(size=(40, 2))[frame["g"]]
    eta = 0.3 * z + 0.8 * b[:, 0] + 0.4 * b[:, 1] * z + 0.4 * (frame["f"] == "b")
    p, mean = 1 / (1 + np.exp(-eta)), np.exp(0.4 * eta + 1)
    frame["b"] = (rng.random(n) < p).astype(int)
    frame["word"] = np.where(frame["b"] == 1, "yes", "no")
    frame["k"] = rng.binomial(frame["m"], p)
    frame["l"] = frame["m"] - frame["k"]
    frame["share"] = frame["k"] / frame["m"]
    frame["c"] = rng.poisson(mean)
    frame["d"] = rng.poisson(mean * rng.gamma(2, 0.5, n))
    frame["t"] = rng.gamma(3, mean / 3) + 1e-3
    frame.loc[::91, "x"] = np.nan
    return frame


@pytest.fixture(scope="module")
def frame():
    return _made()


@pytest.fixture(scope="module")
def lazy(frame):
    return dd.from_pandas(frame, npartitions=3)


def same(formula, frame, partitions, *, fit=None, **options):
    """Both fits, after what they have in common was compared."""
    fit = {"cov_type": "rx"} | (fit or {})
    one = lme.glmer(formula, frame, **options).fit(**fit)
    other = lme.glmer(formula, partitions, **options).fit(**fit)
    assert other.nobs == one.nobs
    close = np.testing.assert_allclose
    close(other.objective, one.objective, rtol=1e-12)
    close(other.deviance, one.deviance, rtol=1e-10)
    assert list(other.params.index) == list(one.params.index)
    # The same search from the same start: rounding is all that differs.
    for name in ("params", "theta", "bse"):
        close(getattr(other, name), getattr(one, name), rtol=1e-8, atol=1e-10)
    close(other.fit_record.extra, one.fit_record.extra, rtol=1e-8)
    close(other.fit_record.pwrss, one.fit_record.pwrss, rtol=1e-8)
    for group, table in one.ranef().items():
        assert list(other.ranef()[group].index) == list(table.index)
        close(other.ranef()[group], table, rtol=1e-7, atol=1e-9)
        close(other.condVar()[group], one.condVar()[group], rtol=1e-7, atol=1e-9)
    assert [str(note) for note in other.warnings] == [str(n) for n in one.warnings]
    return one, other


FORMULAS = [
    ("b ~ x + f + (1 | g) + (1 | h)", "bernoulli", {}, {}),
    ("b ~ x + f + (1 | g) + (1 | h)", "bernoulli", {}, {"nAGQ": 0}),
    ("word ~ x + (x || g)", "bernoulli", {"link": "cloglog"}, {"laplace": "observed"}),
    ("cbind(k, l) ~ scale(x) + (1 | f/h)", "binomial", {}, {}),
    ("share ~ x + offset(o) + (x | g)", "binomial", {"weights": "m"}, {}),
    ("c ~ poly(o, 2) + cs(0 + f | g)", "poisson", {"offset": "o"}, {}),
    ("d ~ x + (1 | g)", "negative_binomial", {}, {}),
    ("d ~ 0 + (1 | g) + (1 | h)", "negative_binomial", {}, {"nAGQ": 0}),
    ("t ~ x + (1 | g)", "gamma", {"link": "log", "weights": "m"}, {}),
    ("t ~ x + (1 | g)", "gamma", {"link": "log"}, {"laplace": "expected"}),
    ("t ~ x + (1 | g)", "gaussian", {"link": "log"}, {}),
    (
        "c ~ z + (z | g)",
        "poisson",
        {"subset": "f != 'c'"},
        {"fix": {"theta": {"g.z": 0.3}}, "start": {"z": 0.1}},
    ),
]


@pytest.mark.parametrize("formula, family, options, fit", FORMULAS)
def test_same_as_in_memory(frame, lazy, formula, family, options, fit):
    same(formula, frame, lazy, family=family, fit=fit, **options)


@pytest.mark.parametrize(
    "response, family, link", [("b", "bernoulli", "probit"), ("d", "nb", "log")]
)
def test_gradient_away_from_the_optimum(frame, lazy, response, family, link):
    family = "negative_binomial" if family == "nb" else family
    formula = f"{response} ~ x + (x | g) + (1 | h)"
    problems = []
    for data in (frame, lazy):
        model = lme.glmer(formula, data, family=family, link=link)
        record = model.fit(nAGQ=0, control={"max_evaluations": 1}).fit_record
        problems.append(record.problem)
    start = np.array([0.3, 0.2])
    rest = np.array([0.7, -0.1, 0.5, 0.4, *([0.6] if family != "bernoulli" else [])])
    for observed, joint in [(False, False), (True, False), (False, True)]:
        psi = rest if joint else np.append(start, rest)
        one, other = (
            Laplace(problem, observed=observed, joint=joint).evaluate(psi)
            for problem in problems
        )
        np.testing.assert_allclose(other.value, one.value, rtol=1e-11)
        # To the size of the whole: single elements may be small.
        size = np.abs(one.gradient).max()
        assert size > 1.0
        np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-7 * size)
        expected = one.curvature()
        size = np.abs(expected).max()
        np.testing.assert_allclose(other.curvature(), expected, atol=1e-7 * size)


def test_known_covariance_of_levels(frame, lazy):
    K = pd.DataFrame(0.3 + 0.7 * np.eye(42), index=range(42), columns=range(42))
    _, other = same(
        "c ~ x + (1 | g)", frame, lazy, family="poisson", covariances={"g": K}
    )
    assert len(other.ranef()["g"]) == 42


def test_odd_partitions(frame):
    # Empty ones, one of a row, sorted by the factor, rows without trials.
    turned = frame.assign(l=frame["l"].where(frame.index % 50 != 7, 0))
    turned = turned.assign(k=turned["k"].where(frame.index % 50 != 7, 0))
    turned = turned.sort_values("g")
    parts = [turned[:0], turned[:300], turned[300:301], turned[301:]]
    from dask.delayed import delayed

    lazy = dd.from_delayed([delayed(part) for part in parts], meta=frame[:0])
    same("cbind(k, l) ~ x + (1 | g) + (1 | h)", turned, lazy, family="binomial")


def test_results_of_partitions(frame, lazy):
    one, other = same(
        "b ~ x * f + (1 | g)",
        frame,
        lazy,
        family="bernoulli",
        fit={"cov_type": "hessian"},
    )
    close = np.testing.assert_allclose

    def pairs(function):
        close(function(other), function(one), rtol=1e-6, atol=1e-9)

    pairs(lambda res: res.confint(method="wald"))
    pairs(lambda res: res.confint(method="profile", parm="x"))
    pairs(
        lambda res: res.wald_test_terms().table[["statistic", "pvalue"]].astype(float)
    )
    pairs(lambda res: res.emmeans("f").to_frame()["estimate"])
    pairs(lambda res: res.get_prediction(frame.iloc[1:8]).summary_frame())
    pairs(lambda res: lme.anova(res, res.update(". ~ . - x:f")).table.astype(float))
    pairs(lambda res: res.model.fit(cov_type="rx").bse)
    assert "observations; levels: g 40" in str(other.summary())
    for name in ("residuals", "bootstrap", "drop1", "r2", "get_influence"):
        with pytest.raises(FitError, match="data are in partitions"):
            getattr(other, name)()
    with pytest.raises(FitError, match="data are in partitions"):
        _ = other.fittedvalues
    light = other.without_data()
    assert light.fit_record.problem is None
    close(light.pvalues, other.pvalues)


def test_quadrature_is_refused(lazy):
    model = lme.glmer("b ~ x + (1 | g)", lazy, family="bernoulli")
    with pytest.raises(OptionError, match=r"nAGQ is 5 for data in partitions(.|\n)*=1"):
        model.fit(nAGQ=5)


def test_responses_that_the_family_refuses(frame, lazy):
    for response, family in (("o", "poisson"), ("c", "bernoulli"), ("o", "gamma")):
        with pytest.raises(DataError, match="In partition 0: "):
            lme.glmer(f"{response} ~ f + (1 | g)", lazy, family=family)


def test_odd_responses_are_told_once(frame):
    halves = frame.assign(c=frame["c"] + 0.5)
    with pytest.warns(DataWarning) as one:
        lme.glmer("c ~ f + (1 | g)", halves, family="poisson")
    with pytest.warns(DataWarning) as other:
        model = lme.glmer(
            "c ~ f + (1 | g)", dd.from_pandas(halves, npartitions=3), family="poisson"
        )
    assert len(one) == len(other) == len(model.warnings) == 1


def test_dependent_columns_and_separation(frame):
    odd = frame.assign(twice=2 * frame["x"], sure=frame["b"] * 30.0)
    lazy = dd.from_pandas(odd, npartitions=3)
    formula = "b ~ x + twice + (1 | g)"
    with pytest.warns(RankWarning, match="twice"):
        same(formula, odd, lazy, family="bernoulli")
    said = []
    for data in (odd, lazy):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lme.glmer("b ~ sure + (1 | g)", data, family="bernoulli").fit()
        said.append(
            [str(w.message) for w in caught if w.category is ConvergenceWarning]
        )
    assert "separation" in said[0][0]
    assert said[0] == said[1]


# --- the files ------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_rows_are_encoded_once_and_removed(lazy, folder, monkeypatch):
    model = lme.glmer("b ~ x + (1 | g) + (1 | h)", lazy, family="bernoulli")
    assert not list(folder.iterdir())
    first = model.fit()
    (own,) = folder.iterdir()
    assert len(list(own.iterdir())) == 2 * lazy.npartitions
    monkeypatch.setattr(DaskSource, "fold", None)
    second = model.fit(nAGQ=0)
    assert second.objective > first.objective
    assert list(folder.iterdir()) == [own]
    del model, first, second
    gc.collect()
    assert not list(folder.iterdir())


def test_pickles(lazy, folder):
    res = lme.glmer("b ~ x + (1 | g)", lazy, family="bernoulli").fit()
    again = pickle.loads(pickle.dumps(res))
    assert len(list(folder.iterdir())) == 1
    # What needs the rows writes them again.
    np.testing.assert_allclose(again.condVar()["g"], res.condVar()["g"], rtol=1e-12)
    assert len(list(folder.iterdir())) == 2
    assert again.model.fit().objective == res.objective


def test_no_room(lazy, folder, monkeypatch):
    model = lme.glmer("b ~ x + (1 | g)", lazy, family="bernoulli")

    def full(self, mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(DataError, match=r"No space left(.|\n)*TMPDIR"):
            model.fit()
    gc.collect()
    assert not list(folder.iterdir())
    assert model.fit().converged
    gone = str(folder / "gone")
    monkeypatch.setattr(tempfile, "tempdir", gone)
    with pytest.raises(DataError, match="TMPDIR"):
        lme.glmer("b ~ x + (1 | h)", lazy, family="bernoulli").fit()


# --- lazy results ---------------------------------------------------------------------


def test_lazy_predictions(frame, lazy):
    one, other = same("c ~ scale(x) + (x | g)", frame, lazy, family="poisson")
    for options in ({}, {"which": "linear"}, {"re_form": "none"}):
        expected = one.predict(frame, **options)
        for res in (one, other):
            found = res.predict(lazy, **options)
            assert isinstance(found, dd.Series)
            assert found.npartitions == lazy.npartitions
            np.testing.assert_allclose(found.compute(), expected, rtol=1e-9)
    own = other.predict()
    assert isinstance(own, dd.Series)
    np.testing.assert_allclose(own.compute(), one.predict(frame), rtol=1e-9)
    # Rows with missing predictors stay, and have no mean.
    assert np.isnan(own.compute()).sum() == frame["x"].isna().sum()


@pytest.mark.parametrize(
    "response, family, kind",
    [("b", "bernoulli", "Int64"), ("c", "poisson", "Int64"), ("t", "gamma", "float64")],
)
def test_lazy_simulations(frame, lazy, response, family, kind):
    link = {"link": "log"} if family == "gamma" else {}
    model = lme.glmer(f"{response} ~ x + (1 | g)", lazy, family=family, **link)
    res = model.fit()
    drawn = res.simulate(40, seed=5)
    assert isinstance(drawn, dd.DataFrame) and drawn.npartitions == lazy.npartitions
    values = drawn.compute()
    assert {str(each) for each in values.dtypes} == {kind}
    pd.testing.assert_frame_equal(values, drawn.compute())
    known = frame["x"].notna()
    numbers = values[known].to_numpy(dtype=float)
    assert values[~known].isna().all(axis=None)
    assert not (res.simulate(1, seed=6).compute()["sim_1"] == values["sim_1"]).all()
    # Means over 40 replicates, those of the responses.
    observed = frame.loc[known, response]
    np.testing.assert_allclose(numbers.mean(), observed.mean(), rtol=0.2)
    one = lme.glmer(f"{response} ~ x + (1 | g)", frame, family=family, **link).fit()
    lazily = one.simulate(2, seed=5, newdata=lazy)
    assert isinstance(lazily, dd.DataFrame)
    np.testing.assert_allclose(
        lazily.compute()[known].to_numpy(dtype=float), numbers[:, :2], rtol=1e-6
    )


def test_two_columns_are_not_simulated_lazily(lazy):
    res = lme.glmer("cbind(k, l) ~ x + (1 | g)", lazy, family="binomial").fit()
    with pytest.raises(OptionError, match="two columns"):
        res.simulate(2, seed=1)
