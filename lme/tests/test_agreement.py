"""All optimizers on one model."""

import pytest

import lme
from lme.errors import DataTypeError, OptionError
from lme.tests.cases import CASES


def test_optimizers_agree_and_newton_needs_least():
    res = CASES["sleep_full"].fit()
    table = lme.allfit(res)
    assert list(table.index) == ["newton", "nelder-mead", "powell", "cobyla"]
    assert table["above_best"].max() < 1e-5
    assert table["evaluations"].idxmin() == "newton"
    assert list(table.columns[-3:]) == list(res.theta.index)


def test_generalized_model():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    data = lme.datasets.load("cbpp")
    res = lme.glmer(formula, data, family="binomial").fit()
    table = lme.allfit(res, ["newton", "nelder-mead"])
    assert table["above_best"].max() < 1e-5
    assert table.loc["newton", "objective"] == pytest.approx(res.objective, abs=1e-9)


def test_unknown_optimizer():
    with pytest.raises(OptionError, match="Did you mean 'powell'"):
        lme.allfit(CASES["dyestuff"].fit(), ["pwell"])


def test_names_of_optimizers():
    res = CASES["dyestuff"].fit()
    assert list(lme.allfit(res, "powell").index) == ["powell"]
    for wrong in (5, [], {"powell"}):
        with pytest.raises(DataTypeError, match=r"no list of names.*newton, nelder"):
            lme.allfit(res, wrong)
