"""Generalized models: what must not change when a model is written differently."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import statsmodels.api as sm

import lme
from lme.engine import choice, pirls
from lme.tests.metamorphic import (
    agree,
    close,
    generalized_models,
    linear,
    linear_models,
    run,
    same_objective,
    same_theta,
    together,
)
from lme.tests.test_metamorphic import (
    codings,
    copies,
    each,
    empty_levels,
    labels,
    predictors,
    rows,
    starts,
    terms,
    uncorrelated,
)

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")


def determined(res):
    """Whether the estimates are finite, as far as the fit says."""
    separated = any("separat" in str(warning) for warning in res.warnings)
    return res.convergence.converged and not separated


def duplicates(model):
    """A row k times, or with k times its weight."""
    if not isinstance(model.family, str) or model.family == "binomial":
        return  # weights of a gamma are precisions; binomial(2) is no two Bernoullis
    times = model.rng.integers(1, 4, len(model.frame))
    frame = model.frame.assign(w=times.astype(float))
    family = "binomial" if model.family == "bernoulli" else model.family
    weighted = replace(model, family=family).with_options(weights="w")
    a = weighted.on(frame).fit()
    if not determined(a):
        return
    b = model.on(frame.loc[np.repeat(frame.index, times)].reset_index(drop=True)).fit()
    a, b = together(a, b, lambda res: res.objective)
    same_objective(a.objective, b.objective)
    close(linear(b).iloc[np.cumsum(times) - times], linear(a), 1.0, "linear predictor")
    close(b.params, a.params, a.bse, "coefficients")
    if same_theta(a, b):
        close(b.bse, a.bse, a.bse, "standard errors")


def response(model):
    """The other outcome, other units, or another exposure."""
    a = model.fit()
    if not determined(a):
        return
    if "s" in model.frame:
        b = model.on(y=1.0 - model.frame["y"])
        if "offset" in model.options:
            b = b.on(o=-b.frame["o"])
        b = b.fit()
        same_objective(a.objective, b.objective)
        close(-b.params, a.params, a.bse, "coefficients")
        close(-linear(b), linear(a), 1.0, "linear predictor")
        return
    if model.fixed.startswith("0"):
        return
    c = float(model.rng.uniform(-2.0, 2.0))
    offset = model.frame.get("o", 0.0)
    b = model.on(e=offset + np.zeros(len(model.frame)) + c)
    b = b.with_options(offset="e").fit()
    same_objective(a.objective, b.objective)
    close(linear(b), linear(a), 1.0, "linear predictor")
    assert abs(b.params.iloc[0] + c - a.params.iloc[0]) < 1e-3 * a.bse.iloc[0]
    close(b.params.iloc[1:], a.params.iloc[1:], a.bse.iloc[1:], "coefficients")
    if isinstance(model.family, lme.families.Gamma):
        b = model.on(y=model.frame["y"] * np.exp(c)).fit()
        agree_but_level(a, b, 2.0 * c * len(model.frame))


def agree_but_level(a, b, shift):
    same_objective(a.objective, b.objective - shift)
    close(b.params.iloc[1:], a.params.iloc[1:], a.bse.iloc[1:], "coefficients")
    close(b.bse, a.bse, a.bse, "standard errors")
    close(b.dispersion, a.dispersion, a.dispersion, "dispersion")


def writings(model):
    """A response as numbers, words or truth values, or as two columns of counts."""
    if "s" not in model.frame:
        return
    a, frame = model.fit(), model.frame
    if model.family == "bernoulli":
        agree(a, model.on(y=frame["y"] > 0.5).fit())
        agree(a, model.on(y=np.where(frame["y"] > 0.5, "yes", "no")).fit())
        return
    counts = model.formula.replace("y ~", "cbind(s, n - s) ~")
    options = {key: value for key, value in model.options.items() if key != "weights"}
    agree(a, lme.glmer(counts, frame, family="binomial", **options).fit())


def kernels(model):
    """Either factorization, with the Laplace approximation and without beta."""
    for nodes in (0, 1):
        a = model.fit(nAGQ=nodes)

        def sparse(cross, name="auto"):
            return choice.choose(cross, "cholmod")

        with mock.patch.object(pirls, "choose", sparse):
            b = model.fit(nAGQ=nodes)
        assert (a.convergence.kernel, b.convergence.kernel) == ("blocked", "cholmod")
        same_objective(a.objective, b.objective)
        if determined(a):
            agree(a, b)


STATSMODELS = {
    "bernoulli": sm.families.Binomial(),
    "binomial": sm.families.Binomial(),
    "poisson": sm.families.Poisson(),
    "gamma": sm.families.Gamma(sm.families.links.Log()),
}


def no_effects(model):
    """All variances zero: a generalized linear model, for any number of nodes."""
    model = replace(model, bars=model.bars[:1])
    names = model.fit(nAGQ=0).theta.index
    zero = {"theta": dict.fromkeys(names, 0.0)}
    fits = [model.fit(nAGQ=k, fix=zero) for k in (0, 1, 3)]
    if not determined(fits[0]):
        return
    a, frame = fits[0], model.frame
    name = a.fit_record.family.name
    y = frame["y"]
    if name == "binomial":
        y = np.column_stack([frame["s"], frame["n"] - frame["s"]])
    family = STATSMODELS.get(name)
    if family is None:
        family = sm.families.NegativeBinomial(alpha=1.0 / a.nb_theta)
    old = sm.GLM(y, a.getME("X"), family=family, offset=frame.get("o"))
    old = old.fit(tol=1e-14, maxiter=200)
    scale = a.dispersion if name == "gamma" else 1.0
    expected = -2.0 * old.llf_scaled(scale)
    for res in fits:
        same_objective(expected, res.objective)
        close(res.params, old.params, old.bse, "coefficients")
        close(res.fittedvalues, old.fittedvalues, np.abs(old.fittedvalues), "mean")
        assert res.llf == -0.5 * res.objective
    if name in ("bernoulli", "binomial", "poisson"):
        for res in fits:
            close(res.bse, old.bse, old.bse, "standard errors")


def normal(model):
    """A normal response is a linear model by maximum likelihood."""
    model = replace(model, reml=False)
    a, b = model.fit(), replace(model, family="gaussian").fit()
    same_objective(a.objective, b.objective)
    close(b.params, a.params, a.bse, "coefficients")
    close(b.sigma, a.sigma, a.sigma, "sigma")
    close(linear(b), linear(a), a.sigma, "linear predictor")


def matrices(model):
    """Arrays in the place of the formula."""
    g = model.groups[0]
    model = replace(model, bars=(f"(1 | {g})",))
    a, frame = model.fit(), model.frame
    weights = frame["n"] if model.family == "binomial" else None
    b = lme.GLMM(
        frame["y"],
        a.getME("X"),
        groups={g: frame[g]},
        family=model.family,
        weights=weights,
        offset=frame.get("o"),
    ).fit()
    assert b.objective == a.objective
    agree(a, b)


def settled(relation):
    """A relation of linear models, where the coefficients have finite estimates."""

    def attempt(model):
        if determined(model.fit()):
            relation(model)

    attempt.__name__ = relation.__name__
    return attempt


OWN = [duplicates, response, writings, kernels, no_effects, matrices]
SHARED = [rows, labels, empty_levels, codings, predictors, copies, uncorrelated]
RELATIONS = [*OWN, *(settled(relation) for relation in (*SHARED, terms, starts))]


@pytest.mark.parametrize("relation", each(RELATIONS))
def test_same_model(relation):
    run(generalized_models(), relation, 2)


def test_normal_responses():
    run(linear_models(), normal, 3)


@pytest.mark.slow
@pytest.mark.parametrize("start", [1, 2])
@pytest.mark.parametrize("relation", each(RELATIONS))
def test_same_model_many_times(relation, start):
    run(generalized_models(), relation, 25, start)


@pytest.mark.slow
def test_normal_responses_many_times():
    run(linear_models(), normal, 40, 1)
