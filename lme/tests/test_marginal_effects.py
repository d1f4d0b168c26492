"""The marginaleffects package on our results, against our own numbers."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import DataError, DesignError, FitError, OptionError
from lme.marginal_effects import for_marginaleffects


@pytest.fixture
def package():
    return pytest.importorskip("marginaleffects")


@pytest.fixture(scope="module")
def growth():
    data = lme.datasets.load("Orthodont")
    return lme.lmer("distance ~ age * Sex + (age | Subject)", data).fit()


@pytest.fixture(scope="module")
def herds():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return lme.glmer(formula, lme.datasets.load("cbpp"), family="binomial").fit()


def columns(found, *names):
    return [found[name].to_numpy() for name in names]


def same(found, frame, rtol=1e-5):
    """Estimates, errors and limits, whose slopes are numerical derivatives."""
    pairs = zip(
        columns(found, "estimate", "std_error", "conf_low", "conf_high"),
        [frame[name] for name in ("estimate", "se", "lower", "upper")],
        strict=True,
    )
    for own, other in pairs:
        assert_allclose(own, other, rtol=rtol)


def test_predictions_are_marginal_means(package, growth):
    model = for_marginaleffects(growth)
    every = package.predictions(model)
    assert_allclose(every["estimate"], growth.predict(re_form="none"))
    datagrid = importlib.import_module("marginaleffects.datagrid").datagrid
    grid = datagrid(model, age=[8, 11], Sex=["Male", "Female"])
    means = growth.emmeans(["Sex", "age"], at={"age": [8, 11]}, ddf="z")
    found = package.predictions(model, newdata=grid).sort("age", "Sex")
    same(found, means.to_frame())


def test_slopes_are_trends(package, growth):
    model = for_marginaleffects(growth)
    found = package.avg_slopes(model, variables="age", by="Sex").sort("Sex")
    trends = growth.emtrends("Sex", "age", ddf="z").to_frame()
    assert_allclose(found["estimate"], trends["estimate"], rtol=1e-5)
    # Differences of differences in single steps: the package loses two digits.
    same(found, trends, 2e-2)


def test_generalized(package, herds):
    model = for_marginaleffects(herds)
    found = package.avg_predictions(model, by="period").sort("period")
    means = herds.emmeans("period", type="response")
    assert_allclose(found["estimate"], means.to_frame()["estimate"])
    assert_allclose(found["std_error"], means.to_frame()["se"], rtol=1e-4)
    same(found, means.regrid().to_frame(), 1e-4)
    link = package.avg_predictions(for_marginaleffects(herds, "link"), by="period")
    same(link.sort("period"), herds.emmeans("period").to_frame(), 1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_comparisons_are_contrasts(package, growth, herds):
    polars = pytest.importorskip("polars")
    if int(polars.__version__.split(".")[0]) >= 2:
        pytest.skip("marginaleffects 0.6.0 compares levels with polars below 2 only")
    found = package.avg_comparisons(for_marginaleffects(herds, "link"))
    control = herds.emmeans("period").contrast("trt.vs.ctrl", adjust="none")
    same(found, control.to_frame(), 1e-4)
    odds = package.avg_comparisons(for_marginaleffects(herds), comparison="lnor")
    assert_allclose(odds["estimate"], control.to_frame()["estimate"], rtol=1e-6)
    sexes = package.avg_comparisons(for_marginaleffects(growth), variables="Sex")
    pair = growth.emmeans("Sex", ddf="z").pairs(reverse=True).to_frame()
    same(sexes, pair)


def test_columns_of_every_kind(package):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "g": np.repeat(list("abcdef"), 10),
            "text": rng.choice(["low", "high"], 60),
            "yes": rng.random(60) > 0.4,
            "x": rng.normal(size=60),
            "other": [None, *np.arange(59.0)],
        },
        index=np.arange(60) * 2,
    )
    frame["y"] = frame.x + frame.yes + rng.normal(size=60)
    frame.loc[4, "y"] = np.nan
    res = lme.lmer("log(y + 9) ~ text * yes + poly(x, 2) + (1 | g)", frame).fit()
    model = for_marginaleffects(res)
    found = package.predictions(model)
    assert len(found) == 59
    assert_allclose(found["estimate"], res.predict(re_form="none"))
    with_offset = lme.lmer("y ~ text + offset(x) + (1 | g)", frame).fit()
    shifted = package.predictions(for_marginaleffects(with_offset))
    assert_allclose(shifted["estimate"], with_offset.predict(re_form="none"))


def test_refusals(package, growth, monkeypatch):
    with pytest.raises(OptionError, match="'response' or 'link'"):
        for_marginaleffects(growth, "mean")
    data = lme.datasets.load("Orthodont")
    X = np.column_stack([np.ones(len(data)), data["age"]])
    arrays = lme.LMM(data["distance"], X, groups=data["Subject"]).fit()
    with pytest.raises(DesignError, match="made from arrays"):
        for_marginaleffects(arrays)
    light = lme.lmer("distance ~ age + (1 | Subject)", data).fit()
    light.remove_data()
    with pytest.raises(DataError, match="does not hold its data"):
        for_marginaleffects(light)
    doubled = pd.concat([data, data])
    res = lme.lmer("distance ~ age + (1 | Subject)", doubled).fit()
    with pytest.raises(DataError, match="labels that repeat"):
        for_marginaleffects(res)


def test_without_the_package(growth, monkeypatch):
    monkeypatch.setitem(sys.modules, "marginaleffects.classes.model", None)
    with pytest.raises(FitError, match="pip install marginaleffects"):
        for_marginaleffects(growth)
