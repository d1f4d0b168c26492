"""Linear models: what must not change when the same model is written differently."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

import lme
from lme.engine import cholmod
from lme.tests.metamorphic import (
    agree,
    close,
    linear,
    linear_models,
    run,
    same_objective,
    same_theta,
    together,
)

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")


def rows(model):
    """Any order of rows."""
    order = model.rng.permutation(len(model.frame))
    a, b = model.fit(), model.on(model.frame.iloc[order]).fit()
    same_objective(a.objective, b.objective)
    close(b.params, a.params, a.bse, "coefficients")
    close(
        linear(b).loc[a.fittedvalues.index],
        linear(a),
        a.fit_record.sigma,
        "linear predictor",
    )
    assert list(b.theta.index) == list(a.theta.index)


def labels(model):
    """Any names of the levels, and with them any order."""
    changed, back = {}, {}
    for name in model.groups:
        found = np.unique(model.frame[name])
        new = [f"level {i}" for i in model.rng.permutation(found.size)]
        back[name] = dict(zip(new, found, strict=True))
        changed[name] = model.frame[name].map(dict(zip(found, new, strict=True)))
    a, b = model.fit(), model.on(**changed).fit()
    agree(a, b)
    if a.convergence.unique:
        for name, effects in a.ranef().items():
            other = b.ranef()[name]
            other.index = [back[name][label] for label in other.index]
            other = other.loc[effects.index, effects.columns]
            close(other, effects, 10.0 * a.fit_record.sigma, "effects")


def empty_levels(model):
    """Categories that do not occur."""
    changed = {
        name: pd.Categorical(
            model.frame[name],
            ["aa", *np.unique(model.frame[name]), "zz"],
        )
        for name in [*model.groups, "f"]
    }
    a, b = model.fit(), model.on(**changed).fit()
    assert b.objective == a.objective
    assert dict(b.ngroups) == dict(a.ngroups)
    agree(a, b)


def codings(model):
    """Any reference level, and contrasts of any kind."""
    if "f" not in model.fixed:
        return
    a = model.fit()
    order = list(model.rng.permutation(list("abc")))
    agree(a, model.on(f=pd.Categorical(model.frame["f"], order)).fit())
    for name in ("contr.sum", "contr.helmert", "contr.poly"):
        agree(a, model.with_options(contrasts={"f": name}).fit())


def predictors(model):
    """Units of the predictors, and their zero where the model allows for one."""
    rng = model.rng
    c, d = 10.0 ** rng.uniform(-3, 3, 2)
    a = model.fit()
    b = model.on(x=model.frame["x"] * c, z=model.frame["z"] * d).fit()
    agree(a, b)
    if model.family is None:
        # The same point of the criterion, whatever the search did.
        units = [
            {"x": c, "z": d}.get(name.split(".")[1], 1.0) for name in b.theta.index
        ]
        at = lme.fit.objective_at(a.fit_record, b.theta * units)
        T = [{"x": c, "z": d}.get(variable, 1.0) for variable in _variables(a)]
        shift = 2.0 * np.log(T).sum() if model.reml else 0.0
        assert b.objective == pytest.approx(at + shift, rel=1e-10, abs=1e-8)
    slopes = ("0 + x", "||")
    if any(part in bar for bar in model.bars for part in slopes):
        return
    if model.fixed.startswith("0"):
        return
    shifted = model.on(x=(model.frame["x"] + 3.0) * c, z=model.frame["z"] * d - 2.0)
    agree(a, shifted.fit())


def _variables(res):
    """The numeric variable of each column of X."""
    return [
        next((v for v in name.split(":") if v in ("x", "z")), "")
        for name in res.params.index
    ]


def response(model):
    """Units of the response, and what the fixed part can take up."""
    rng = model.rng
    c = 10.0 ** rng.uniform(-3, 3)
    a = model.fit()
    df = len(model.frame) - (a.params.size if a.reml else 0)
    b = model.on(y=model.frame["y"] * -c).fit()
    same_objective(a.objective, b.objective - 2.0 * df * np.log(c))
    agree(a, b, shift=2.0 * df * np.log(c), scale=-c)
    gamma = rng.normal(size=a.params.size)
    moved = model.on(y=model.frame["y"] + a.getME("X") @ gamma).fit()
    same_objective(a.objective, moved.objective)
    close(moved.params - gamma, a.params, a.bse, "coefficients")
    close(moved.resid, a.resid, a.sigma, "residuals")
    offset = model.with_options(offset=a.getME("X") @ gamma)
    offset = offset.on(y=model.frame["y"] + a.getME("X") @ gamma).fit()
    same_objective(a.objective, offset.objective)
    close(offset.params, a.params, a.bse, "coefficients")


def weights(model):
    """Only the ratio of two weights means anything."""
    if "weights" not in model.options:
        return
    c = 10.0 ** model.rng.uniform(-3, 3)
    a, b = model.fit(), model.on(w=model.frame["w"] * c).fit()
    same_objective(a.objective, b.objective)
    close(b.params, a.params, a.bse, "coefficients")
    close(b.fittedvalues, a.fittedvalues, a.sigma, "fitted values")
    close(b.sigma / np.sqrt(c), a.sigma, a.sigma, "sigma")
    units = [1.0 if name.endswith(".cor") else np.sqrt(c) for name in b.theta.index]
    at = lme.fit.objective_at(a.fit_record, b.theta.to_numpy() * units)
    assert at == pytest.approx(b.objective, rel=1e-10, abs=1e-8)


def duplicates(model):
    """A row k times, or with k times its weight, where the variance is known."""
    rng = model.rng
    frame = model.frame.assign(w=rng.uniform(0.5, 2.0, len(model.frame)))
    times = rng.integers(1, 4, len(frame))
    model = model.with_options(weights="w", sigma=float(rng.uniform(0.5, 2.0)))
    a = model.on(frame.assign(w=frame["w"] * times)).fit()
    b = model.on(frame.loc[np.repeat(frame.index, times)].reset_index(drop=True)).fit()

    def free_of_rows(res):
        log = np.log(res.getME("weights")) - np.log(2.0 * np.pi * res.sigma**2)
        return res.objective + log.sum()

    a, b = together(a, b, free_of_rows)
    same_objective(free_of_rows(a), free_of_rows(b))
    close(b.params, a.params, a.bse, "coefficients")
    if a.convergence.unique:
        close(b.bse, a.bse, a.bse, "standard errors")
    first = np.cumsum(times) - times
    close(b.fittedvalues.iloc[first], a.fittedvalues, a.sigma, "fitted values")


def copies(model):
    """The same data twice, with other levels: twice the deviance."""
    other = model.frame.assign(
        **{name: model.frame[name] + "bis" for name in model.groups}
    )
    model = replace(model, reml=False)
    a = model.fit()
    b = model.on(pd.concat([model.frame, other], ignore_index=True)).fit()
    a, b = together(a, b, lambda res: res.objective / len(res.fittedvalues))
    same_objective(a.objective, b.objective / 2.0)
    close(b.params, a.params, a.bse, "coefficients")
    if model.family is None:
        at = lme.fit.objective_at(a.fit_record, b.theta)
        assert at == pytest.approx(b.objective / 2.0, rel=1e-10, abs=1e-8)
    if a.convergence.unique and same_theta(a, b):
        close(b.bse * np.sqrt(2.0), a.bse, a.bse, "standard errors")


UNCORRELATED = (
    *("(1 | {0}) + (0 + {1} | {0})", "zerocorr({1} | {0})", "({1} || {0})"),
    *("diag({1} | {0})", "(0 + {1} | {0}) + (1 | {0})"),
)


def uncorrelated(model):
    """All ways to say that intercept and slope are uncorrelated."""
    group = model.groups[0]
    fits = [
        replace(model, bars=(text.format(group, "x"), *model.bars[1:])).fit()
        for text in UNCORRELATED
    ]
    for other in fits[1:]:
        agree(fits[0], other)


def terms(model):
    """The order of terms, and the ways to write a nested or indicator term."""
    a = model.fit()
    agree(a, replace(model, bars=model.bars[::-1]).fit())
    g, h = model.groups[0], model.groups[-1]
    if g != h:
        one, two = f"(1 | {h} / {g})", f"(1 | {h}) + (1 | {g}:{h})"
        if len(model.frame.groupby([g, h])) < len(model.frame):
            agree(replace(model, bars=(one,)).fit(), replace(model, bars=(two,)).fit())
    if f"(f | {g})" in model.bars:
        cells = (f"(0 + f | {g})", *model.bars[1:])
        agree(a, replace(model, bars=cells).fit())


def kernels(model):
    """Either factorization."""
    a, b = model.fit(kernel="blocked"), model.fit(kernel="cholmod")
    assert b.convergence.kernel == "cholmod"
    same_objective(a.objective, b.objective)
    agree(a, b)
    for res, kernel in ((a, "cholmod"), (b, "blocked")):
        other = model.fit(kernel=kernel, control={"max_evaluations": 1})
        at = lme.fit.objective_at(other.fit_record, res.theta)
        assert at == pytest.approx(res.objective, rel=1e-12, abs=1e-10)


def matrices(model):
    """Arrays in the place of the formula."""
    g = model.groups[0]
    model = replace(model, bars=(f"(x | {g})",))
    a, frame = model.fit(), model.frame
    b = lme.LMM(
        frame["y"],
        a.getME("X"),
        groups={g: frame[g]},
        exog_re={g: np.column_stack([np.ones(len(frame)), frame["x"]])},
        weights=frame.get("w"),
        REML=model.reml,
    ).fit()
    assert b.objective == a.objective
    agree(a, b)


def least_squares(model):
    """All variances zero."""
    a = model.fit()
    b = model.fit(fix={"theta": dict.fromkeys(a.theta.index, 0.0)})
    w = model.frame.get("w", 1.0)
    ols = sm.WLS(model.frame["y"], a.getME("X"), weights=w).fit()
    n, p = len(model.frame), a.params.size
    expected = -2.0 * ols.llf
    if model.reml:
        whitened = np.linalg.slogdet(ols.model.wexog.T @ ols.model.wexog)[1]
        rss = ols.ssr
        expected += whitened + (n - p) * (1.0 + np.log(2.0 * np.pi * rss / (n - p)))
        expected -= n * (1.0 + np.log(2.0 * np.pi * rss / n))
    assert b.objective == pytest.approx(expected, rel=1e-11, abs=1e-9)
    zeros = np.zeros(a.theta.size)
    at = lme.fit.objective_at(a.fit_record, zeros)
    assert at == pytest.approx(expected, rel=1e-11, abs=1e-9)
    assert a.objective <= expected + 1e-8
    np.testing.assert_allclose(b.params, ols.params, rtol=1e-8, atol=1e-10)
    unbiased = 1.0 if model.reml else np.sqrt((n - p) / n)
    np.testing.assert_allclose(b.bse, ols.bse * unbiased, rtol=1e-8)
    np.testing.assert_allclose(b.fittedvalues, ols.fittedvalues, rtol=1e-8, atol=1e-9)
    assert b.llf == pytest.approx(-expected / 2.0)


def mixedlm(model):
    """The likelihood of statsmodels' MixedLM, at our estimates and at its own."""
    g = model.groups[0]
    slope = model.rng.random() < 0.5
    model = replace(model, bars=(f"({'x' if slope else '1'} | {g})",), options={})
    a, frame = model.fit(), model.frame
    Z = np.column_stack([np.ones(len(frame)), frame["x"]])[:, : 1 + slope]
    old = MixedLM(frame["y"], a.getME("X"), groups=frame[g], exog_re=Z)
    lam = np.asarray(a.fit_record.lambdas[0])
    if abs(np.linalg.det(lam)) < 1e-4:
        return  # where MixedLM has no likelihood
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = old.fit(reml=model.reml)
    at = MixedLMParams.from_components(np.asarray(a.params), cov_re=lam @ lam.T)
    assert old.loglike(at) == pytest.approx(a.llf, rel=1e-8, abs=1e-7)
    assert theirs.llf <= a.llf + 1e-6
    if abs(theirs.llf - a.llf) < 1e-9:
        close(theirs.fe_params, a.params, a.bse / 10.0, "coefficients")
        close(theirs.scale, a.sigma**2, a.sigma**2 / 10.0, "scale")


def starts(model):
    """No start of the search leads to a better optimum than our own."""
    a = model.fit()
    signs = np.array([not name.endswith(".cor") for name in a.theta.index])
    for _ in range(3):
        start = np.exp(model.rng.normal(size=signs.size)) * np.where(signs, 1.0, 0.0)
        assert a.objective <= model.fit(start=start).objective + 1e-6


RELATIONS = [
    *(rows, labels, empty_levels, codings, predictors, response, weights, duplicates),
    *(copies, uncorrelated, terms, kernels, matrices, least_squares, mixedlm, starts),
]


def each(relations):
    """Parameters for pytest; what compares the kernels needs both."""
    needs = pytest.mark.skipif(not cholmod.available(), reason="no scikit-sparse")
    return [
        pytest.param(f, id=f.__name__, marks=[needs] if f.__name__ == "kernels" else [])
        for f in relations
    ]


@pytest.mark.parametrize("relation", each(RELATIONS))
def test_same_model(relation):
    run(linear_models(), relation, 3)


@pytest.mark.slow
@pytest.mark.parametrize("start", [1, 2, 7])
@pytest.mark.parametrize("relation", each(RELATIONS))
def test_same_model_many_times(relation, start):
    run(linear_models(), relation, 60, start)
