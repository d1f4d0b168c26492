"""Residual structures: identities of the criterion, references of nlme, recovery."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.engine import lmm
from lme.engine.structured import StructuredCriterion
from lme.formula.design import build_design
from lme.formula.residual import read_residual
from lme.preparation import engine_terms
from lme.relatedness import relate
from lme.residual.chain import Chain
from lme.residual.correlation import Autoregressive, ContinuousAutoregressive
from lme.search import Control, newton
from lme.whitened import composition

FOLDER = Path(__file__).parent / "reference" / "residual"
NLME = json.loads((FOLDER / "nlme.json").read_text())
FACTORS = ("Mare", "Subject", "QB", "Rat", "Diet")


def _read(name):
    frame = pd.read_csv(FOLDER / f"{name}.csv.gz")
    return frame.astype({c: str for c in FACTORS if c in frame})


DATA = {
    "O": lme.datasets.load("Orthodont"),
    "V": _read("Ovary"),
    "D": _read("Dialyzer"),
    "B": _read("BodyWeight"),
}
DATA["D[-c(3, 11, 12, 30), ]"] = DATA["D"].drop(index=[2, 10, 11, 29])


def _fit(one, **options):
    frame = DATA[one["data"]]
    model = lme.lmer(
        one["formula"], frame, residual=one["residual"], REML=one["REML"], **options
    )
    return model.fit()


# --- nlme -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NLME if "gls" not in name])
def test_nlme(name):
    one = NLME[name]
    res = _fit(one)
    assert res.converged
    assert res.npar == one["df"]
    # nlme's search stops at about 1e-6 of the parameters, and short of zero variances.
    assert_allclose(res.llf, one["logLik"], atol=1e-6)
    assert_allclose(res.aic, one["AIC"], atol=2e-6)
    phi = np.atleast_1d(one["phi"]) if one["phi"] != {} else np.empty(0)
    assert_allclose(res.residual_structure["estimate"], phi, rtol=1e-3, atol=1e-6)
    assert_allclose(res.sigma, one["sigma"], rtol=1e-4)
    assert_allclose(res.fixef(), one["beta"], rtol=1e-4, atol=1e-5)
    assert_allclose(res.bse, one["se"], rtol=1e-4)
    sd = np.array(res.VarCorr().to_frame().query("var2.isna()")["sdcor"])[:-1]
    assert_allclose(sd, np.atleast_1d(one["sd"]), rtol=1e-4, atol=1e-3)
    assert_allclose(res.fittedvalues[:5], one["fitted"], rtol=1e-4)
    pearson = res.residuals(type="pearson", scaled=True)
    assert_allclose(pearson[:5], one["pearson"], rtol=1e-3, atol=1e-4)


def test_nlme_names_and_modes():
    res = _fit(NLME["orthodont both REML"])
    table = res.residual_structure
    assert list(table["parameter"]) == ["Phi", "Female"]
    assert list(table["term"]) == ["ar1(1 | Subject)", "varIdent(Sex)"]
    modes = res.ranef()["Subject"]["(Intercept)"].sort_index()
    assert_allclose(modes[:4], NLME["orthodont both REML"]["ranef"], atol=1e-4)


@pytest.mark.parametrize("name", ["orthodont both REML", "dialyzer both ML"])
def test_nlme_normalized_residuals(name):
    # Of the first rows, which belong to the first group and stand in its order.
    res = _fit(NLME[name])
    found = res.residuals(type="normalized")[:4]
    assert_allclose(found, NLME[name]["normalized"][:4], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_nlme_without_random_effects(method):
    one = NLME[f"ovary gls {method}"]
    _, base, criterion = _criterion(
        one["formula"] + " + (1 | Mare)", one["residual"], DATA["V"], one["REML"]
    )
    phi = np.arctanh([one["phi"]])
    at = criterion.evaluate(np.append(phi, 0.0))
    assert_allclose(-0.5 * at.value, one["logLik"], atol=1e-7)
    # nlme's estimate is where the derivative in phi vanishes.
    assert abs(at.gradient[0]) < 1e-3
    beta = np.linalg.solve(base.R, base.level + at.inner.coefficients)
    assert_allclose(beta, one["beta"], rtol=1e-5)
    df = at.inner.criterion.df
    assert_allclose(np.sqrt(at.inner.r2 / df), one["sigma"], rtol=1e-5)


# --- the criterion --------------------------------------------------------------------


def _frame(n=96, seed=3):
    rng = np.random.default_rng(seed)
    g = rng.integers(0, 12, n)
    frame = pd.DataFrame(
        {
            "g": g,
            "s": g // 4,
            "t": rng.permutation(n),
            "x": rng.normal(size=n),
            "v": rng.uniform(0.5, 3.0, n),
            "f": rng.choice(list("abc"), n),
        }
    )
    shift = rng.normal(size=12)[g]
    return frame.assign(y=frame["x"] + shift + rng.normal(size=n))


def _criterion(formula, residual, frame, reml, weights=None, sigma=None, known=None):
    design = build_design(formula, frame, residual=residual, weights=weights)
    design = relate(design, known)
    terms = engine_terms(design)
    base = lmm.build(design.y, design.X, terms, weights=design.weights)
    criterion = StructuredCriterion(base, composition(design), "auto", reml, sigma)
    return design, base, criterion


def _dense(design, base, criterion, psi, known=None):
    """-2 log-likelihood by the n x n covariance matrix."""
    m, structure, n = criterion.size, criterion.structure, design.nobs
    logs = structure.log_deviations(psi[:m])
    if criterion.sigma is None:
        logs = logs - logs.mean()
    root = np.ones(n) if design.weights is None else np.sqrt(design.weights)
    scale = np.exp(logs) / root
    chain = structure.chain(psi[:m])
    R = np.eye(n) if chain is None else chain.among(np.arange(n))
    V = np.outer(scale, scale) * R
    for factor, lam in zip(base.factors, base.template.lambdas(psi[m:]), strict=True):
        values = factor.values / root[:, None]
        p = values.shape[1]
        Z = np.zeros((n, factor.levels * p))
        for j in range(p):
            Z[np.arange(n), factor.codes * p + j] = values[:, j]
        K = np.eye(factor.levels) if known is None else known
        V += Z @ np.kron(K, lam @ lam.T) @ Z.T
    inverse, X = np.linalg.inv(V), design.X
    G = X.T @ inverse @ X
    r = design.y - X @ np.linalg.solve(G, X.T @ inverse @ design.y)
    r2, df = r @ inverse @ r, n - X.shape[1] if criterion.reml else n
    value = np.linalg.slogdet(V)[1]
    if criterion.reml:
        value += np.linalg.slogdet(G)[1]
    if criterion.sigma is None:
        return value + df * (1.0 + np.log(2.0 * np.pi * r2 / df))
    return (
        value
        + df * np.log(2.0 * np.pi * criterion.sigma**2)
        + (r2 / criterion.sigma**2)
    )


def _differences(function, at, step=1e-5):
    return np.array(
        [
            (function(at + h) - function(at - h)) / (2.0 * step)
            for h in np.eye(at.size) * step
        ]
    )


STRUCTURES = [
    "ar1(t | g)",
    "car1(t | g)",
    "varIdent(f)",
    "varPower(v) + ar1(t | g)",
    "varIdent(f) + car1(t | g) + varExp(v | f)",
    "varFixed(v) + ar1(1 | g)",
]


@pytest.mark.parametrize("residual", STRUCTURES)
@pytest.mark.parametrize(
    "options",
    [
        {"reml": True},
        {"reml": False, "weights": "v"},
        {"reml": True, "sigma": 1.3},
    ],
    ids=["REML", "ML-weights", "sigma"],
)
@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (x | g) + (1 | s)"])
def test_value_and_gradient(formula, options, residual):
    design, base, criterion = _criterion(formula, residual, _frame(), **options)
    rng = np.random.default_rng(7)
    psi = rng.normal(size=criterion.size + base.template.size)
    psi[: criterion.size] *= 0.5
    at = criterion.evaluate(psi)
    assert_allclose(at.value, _dense(design, base, criterion, psi), atol=1e-8)
    wanted = _differences(lambda p: criterion.evaluate(p, gradient=False).value, psi)
    scale = 1.0 + np.abs(wanted).max()
    assert_allclose(at.gradient / scale, wanted / scale, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("phi", [10.0, 250.0, 400.0, 700.0, 800.0, 1e308])
@pytest.mark.parametrize("residual", ["varIdent(rare)", "varExp(x)", "varPower(v)"])
def test_far_parameters_are_a_value(residual, phi):
    """Where standard deviations cannot be squared the criterion is infinite."""
    frame = _frame()
    frame["rare"] = np.where(np.arange(len(frame)) < 2, "a", "b")
    _, _, criterion = _criterion("y ~ x + (1 | g)", residual, frame, True)
    for sign in (-1.0, 1.0):
        at = criterion.evaluate(np.array([sign * phi, 0.7]))
        assert at.value > 0.0
        assert np.isfinite(at.gradient).all() == np.isfinite(at.value)
        if phi > 600.0:
            assert at.value == np.inf
    # A far point leaves nothing behind.
    near = np.array([0.3, 0.7])
    again = _criterion("y ~ x + (1 | g)", residual, frame, True)[2]
    assert criterion.evaluate(near).value == again.evaluate(near).value


def test_gradient_with_a_known_covariance_between_groups():
    frame = _frame()
    rng = np.random.default_rng(1)
    A = rng.normal(size=(12, 12))
    K = A @ A.T / 12 + 0.3 * np.eye(12)
    labels = [str(i) for i in range(12)]
    known = {"g": pd.DataFrame(K, index=labels, columns=labels)}
    design, base, criterion = _criterion(
        "y ~ x + (x | g)", "ar1(t | g) + varExp(x)", frame, True, known=known
    )
    levels = [int(level) for level in design.terms[0].levels]
    psi = np.array([0.4, 0.3, 1.1, -0.4, 0.7])
    at = criterion.evaluate(psi)
    dense = _dense(design, base, criterion, psi, K[np.ix_(levels, levels)])
    assert_allclose(at.value, dense, atol=1e-8)
    wanted = _differences(lambda p: criterion.evaluate(p, gradient=False).value, psi)
    assert_allclose(at.gradient, wanted, rtol=1e-6, atol=1e-6)


def test_gradient_at_a_variance_of_zero():
    _, _, criterion = _criterion("y ~ x + (1 | g)", "ar1(t | g)", _frame(), True)
    psi = np.array([0.4, 0.0])
    at = criterion.evaluate(psi)
    assert at.gradient[1] == 0.0
    wanted = _differences(lambda p: criterion.evaluate(p, gradient=False).value, psi)
    assert_allclose(at.gradient, wanted, rtol=1e-6, atol=1e-6)


def test_curvature_is_close_to_the_hessian():
    frame, _ = _simulated(np.random.default_rng(5), 100, 8)
    _, _, criterion = _criterion(
        "y ~ x + (1 | g)", "ar1(t | g) + varIdent(s)", frame, True
    )
    even = np.array([False, False, True])
    start = np.array([0.3, 0.1, 0.5])
    outcome = newton(criterion.evaluate, start, Control(), 0, even)
    psi = outcome.point.theta
    hessian = _differences(lambda p: criterion.evaluate(p).gradient, psi)
    model = criterion.evaluate(psi).curvature()
    # The average information replaces traces by their data counterparts.
    assert np.abs(model - hessian).max() < 0.1 * np.abs(hessian).max()
    assert outcome.status == "converged" and len(outcome.points) <= 12


# --- chains ---------------------------------------------------------------------------


@pytest.mark.parametrize("in_turn", [True, False])
def test_chain_is_the_root_of_its_correlation(in_turn):
    rng = np.random.default_rng(2)
    n = 17
    order = np.arange(n) if in_turn else rng.permutation(n)
    linked = rng.random(n) < 0.7
    linked[0] = False
    correlation = np.where(linked, rng.uniform(-0.9, 0.9, n), 0.0)
    chain = Chain(order, linked, correlation)
    assert chain.in_turn is in_turn
    W = chain.whiten(np.eye(n))
    R = chain.among(np.arange(n))
    assert_allclose(W @ R @ W.T, np.eye(n), atol=1e-12)
    assert_allclose(chain.whiten_transposed(np.eye(n)), W.T, atol=1e-14)
    assert_allclose(chain.colour(np.eye(n)), np.linalg.inv(W), atol=1e-12)
    assert_allclose(chain.colour_transposed(np.eye(n)), np.linalg.inv(W).T, atol=1e-12)
    assert_allclose(chain.log_det, np.linalg.slogdet(W)[1], atol=1e-12)
    some = rng.permutation(n)[:6]
    assert_allclose(chain.among(some), R[np.ix_(some, some)])
    x = rng.normal(size=n)
    assert_allclose(chain.whiten(x), W @ x)
    assert_allclose(chain.whiten_transposed(x), W.T @ x)


def test_correlation_falls_with_the_gap():
    frame = pd.DataFrame(
        {"t": [7, 1, 2, 4], "g": "a", "y": [1.0, 2, 4, 1], "h": [1, 1, 2, 2]}
    )
    design = build_design("y ~ 1", frame, residual="ar1(t | g)", random="allow")
    structure = composition(design)
    R = structure.chain(np.arctanh([-0.6])).among(np.arange(4))
    times = frame["t"].to_numpy()
    lags = np.abs(times[:, None] - times)
    assert_allclose(R, (-0.6) ** lags.astype(float), rtol=1e-12)


# --- the same model written in another way --------------------------------------------

TEXT = "y ~ x + (1 | g)"


def _simulated(rng, groups, times, rho=0.6, ratio=2.0, tau=0.8):
    g = np.repeat(np.arange(groups), times)
    t = np.tile(np.arange(times), groups)
    e = np.empty((groups, times))
    z = rng.normal(size=(groups, times))
    e[:, 0] = z[:, 0]
    for j in range(1, times):
        e[:, j] = rho * e[:, j - 1] + np.sqrt(1.0 - rho**2) * z[:, j]
    s = np.array(["a", "b"])[g % 2]
    x = rng.normal(size=g.size)
    y = 1.0 + 0.5 * x + tau * rng.normal(size=groups)[g]
    y += e.ravel() * np.where(s == "a", 1.0, ratio)
    return pd.DataFrame({"y": y, "x": x, "g": g, "t": t, "s": s}), e


def test_order_of_the_rows_does_not_matter():
    frame, _ = _simulated(np.random.default_rng(8), 40, 6)
    residual = "ar1(t | g) + varIdent(s)"
    plain = lme.lmer(TEXT, frame, residual=residual).fit()
    mixed = lme.lmer(
        TEXT, frame.sample(frac=1.0, random_state=4), residual=residual
    ).fit()
    assert_allclose(mixed.objective, plain.objective, rtol=1e-12)
    assert_allclose(
        mixed.residual_structure["estimate"],
        plain.residual_structure["estimate"],
        rtol=1e-6,
    )
    assert_allclose(
        mixed.residuals(type="normalized").sort_index(),
        plain.residuals(type="normalized"),
        atol=1e-5,
    )


def test_order_of_the_rows_as_time():
    frame, _ = _simulated(np.random.default_rng(8), 30, 6)
    by_time = lme.lmer(TEXT, frame, residual="ar1(t | g)").fit()
    by_order = lme.lmer(TEXT, frame, residual="ar1(1 | g)").fit()
    assert_allclose(by_order.objective, by_time.objective, rtol=1e-13)


def test_continuous_time_agrees_at_whole_times():
    frame, _ = _simulated(np.random.default_rng(8), 40, 6)
    discrete = lme.lmer(TEXT, frame, residual="ar1(t | g)").fit()
    continuous = lme.lmer(TEXT, frame, residual="car1(t | g)").fit()
    assert_allclose(continuous.objective, discrete.objective, rtol=1e-10)
    days = lme.lmer(TEXT, frame.eval("t = t * 30.5"), residual="car1(t | g)").fit()
    assert_allclose(days.objective, discrete.objective, rtol=1e-10)
    phi = discrete.residual_structure["estimate"][0]
    assert_allclose(days.residual_structure["estimate"][0], phi ** (1 / 30.5), 1e-5)


def test_strata_as_weights():
    one = NLME["orthodont strata REML"]
    res = _fit(one)
    ratio = res.residual_structure["estimate"][0]
    frame = DATA["O"].assign(w=np.where(DATA["O"]["Sex"] == "Male", 1.0, ratio**-2))
    weighted = lme.lmer(one["formula"], frame, weights="w").fit()
    assert_allclose(weighted.llf, res.llf, atol=1e-8)
    assert_allclose(weighted.fixef(), res.fixef(), rtol=1e-8)
    assert_allclose(weighted.sigma, res.sigma, rtol=1e-7)
    fixed = lme.lmer(one["formula"], DATA["O"], residual="varFixed(age)").fit()
    frame = frame.assign(w=1.0 / frame["age"])
    assert_allclose(fixed.llf, lme.lmer(one["formula"], frame, weights="w").fit().llf)


def test_prior_weights_times_a_structure():
    frame = _frame()
    both = lme.lmer(TEXT, frame, residual="varIdent(f)", weights="v").fit()
    written = lme.lmer(
        TEXT, frame.eval("u = 1 / v"), residual="varIdent(f) + varFixed(u)"
    ).fit()
    assert_allclose(both.objective, written.objective, rtol=1e-12)
    assert_allclose(both.sigma, written.sigma, rtol=1e-7)


def test_units_of_the_covariate_change_sigma_only():
    frame = DATA["B"].eval("Year = Time + 2000")
    text = "weight ~ Time * Diet + (Time | Rat)"
    plain = lme.lmer(text, frame, residual="varExp(Time)").fit()
    years = lme.lmer(text, frame, residual="varExp(Year)").fit()
    rate = plain.residual_structure["estimate"][0]
    assert_allclose(years.objective, plain.objective, rtol=1e-11)
    assert_allclose(years.residual_structure["estimate"][0], rate, rtol=1e-5)
    assert_allclose(years.sigma, plain.sigma * np.exp(-2000 * rate), rtol=1e-3)
    assert_allclose(years.theta * years.sigma, plain.theta * plain.sigma, rtol=1e-4)


def test_a_known_sigma():
    frame = _frame()
    free = lme.lmer(TEXT, frame, residual="varIdent(f)", REML=False).fit()
    again = lme.lmer(
        TEXT, frame, residual="varIdent(f)", REML=False, sigma=free.sigma
    ).fit()
    assert_allclose(again.objective, free.objective, rtol=1e-10)
    assert again.npar == free.npar - 1


@pytest.mark.parametrize("optimizer", ["nelder-mead", "cobyla"])
def test_other_optimizers_end_there_too(optimizer):
    model = lme.lmer(TEXT, _frame(), residual="ar1(t | g)")
    other = model.fit(optimizer=optimizer)
    assert_allclose(other.objective, model.fit().objective, atol=1e-6)


def test_recovery():
    rng = np.random.default_rng(11)
    found = []
    for _ in range(25):
        frame, _ = _simulated(rng, 60, 8)
        res = lme.lmer(TEXT, frame, residual="ar1(t | g) + varIdent(s)").fit()
        found.append([*res.residual_structure["estimate"], res.sigma, *res.fixef()])
    found = np.array(found)
    truth = np.array([0.6, 2.0, 1.0, 1.0, 0.5])
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - truth) < 4.0 * error + 0.02).all()


def test_no_correlation_at_the_boundary():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        res = lme.lmer(
            "distance ~ age + (1 | Subject)",
            DATA["O"][DATA["O"]["Sex"] == "Male"],
            residual="car1(age | Subject)",
        ).fit()
    assert res.is_singular
    assert "neighbouring residuals have no correlation" in str(res.convergence)
    plain = lme.lmer(
        "distance ~ age + (1 | Subject)", DATA["O"][DATA["O"]["Sex"] == "Male"]
    ).fit()
    assert_allclose(res.objective, plain.objective, atol=1e-5)


# --- what cannot be -------------------------------------------------------------------

BAD = [
    ("corAR1(t | g)", lme.errors.FormulaError, "Write ar1"),
    ("ar1(t)", lme.errors.FormulaError, "ar1\\(time \\| g\\)"),
    ("ar1(t | g) + car1(t | g)", lme.errors.FormulaError, "two correlations"),
    ("varIdent(f) + varIdent(f)", lme.errors.FormulaError, "twice"),
    ("form = ~ t | g", lme.errors.FormulaError, "no ~"),
    ("", lme.errors.FormulaError, "empty"),
    ("varPower(fitted(x))", lme.errors.FormulaError, "fitted values"),
    ("varFixed(v | f)", lme.errors.FormulaError, "varFixed\\(x\\)"),
    ("ar1(t | g / s)", lme.errors.FormulaError, "a:b"),
    ("varIdnt(f)", lme.errors.FormulaError, "Did you mean 'varIdent'"),
    ("varIdent(ff)", lme.errors.FormulaError, "no column 'ff'"),
    ("varPower(f)", lme.errors.DataTypeError, "needs numbers"),
    ("varPower(zero)", lme.errors.DataError, "0 in 96 row"),
    ("varFixed(x)", lme.errors.DataError, "positive"),
    ("varExp(one)", lme.errors.DesignError, "does not vary"),
    ("varIdent(one)", lme.errors.DesignError, "one stratum"),
    ("ar1(v | g)", lme.errors.DataError, "whole-numbered"),
    ("ar1(one | g)", lme.errors.DataError, "twice in the group"),
    ("ar1(t | g:t)", lme.errors.DesignError, "two rows"),
    ("ar1(t | s)", lme.errors.DesignError, "several levels of g"),
    (3, lme.errors.DataTypeError, "type int"),
]


@pytest.mark.parametrize("residual, error, words", BAD)
def test_bad_structures(residual, error, words):
    frame = _frame().assign(zero=0.0, one=1)
    before = frame.copy()
    with pytest.raises(error, match=words):
        lme.lmer(TEXT, frame, residual=residual).fit()
    pd.testing.assert_frame_equal(frame, before)


def test_not_for_generalized_models():
    frame = _frame().assign(z=lambda d: (d["y"] > 0).astype(int))
    with pytest.raises(lme.errors.DataTypeError, match="not normal"):
        lme.glmer("z ~ x + (1 | g)", frame, family="binomial", residual="varIdent(f)")


def test_text_is_read_as_written():
    ar1, ident = read_residual("(ar1(t|g)+varIdent(1|a:b))")
    assert (ar1.name, ar1.text) == ("ar1", "ar1(t | g)")
    assert (ident.text, ident.values) == ("varIdent(1 | a:b)", None)
    assert [node.name for node in ident.nodes] == ["a", "b"]


def test_missing_values_of_the_structure():
    frame = _frame()
    frame.loc[4, "v"] = np.nan
    res = lme.lmer(TEXT, frame, residual="varPower(v)", na_action="exclude").fit()
    assert res.nobs == 95
    assert np.isnan(res.residuals(type="pearson")[4])
    without = lme.lmer(TEXT, frame.drop(index=4), residual="varPower(v)").fit()
    assert_allclose(res.llf, without.llf)


@pytest.mark.parametrize(
    "structure, phi, words",
    [
        (Autoregressive(), 12.0, ["the correlation of neighbouring residuals is +1"]),
        (Autoregressive(), -12.0, ["the correlation of neighbouring residuals is -1"]),
        (Autoregressive(), 0.3, []),
        (
            ContinuousAutoregressive(),
            25.0,
            ["the correlation of neighbouring residuals is +1"],
        ),
        (
            ContinuousAutoregressive(),
            -25.0,
            ["neighbouring residuals have no correlation"],
        ),
        (ContinuousAutoregressive(), 0.3, []),
    ],
)
def test_correlations_at_the_end_of_their_range(structure, phi, words):
    gap = np.array([1.0, 2.0, 3.0])
    assert structure.boundary(np.array([phi]), gap) == words
    rho, _ = structure.neighbours(np.array([phi]), gap)
    ends = [abs(abs(r) - 1.0) < 1e-5 or abs(r) < 1e-5 for r in rho]
    assert all(ends) == bool(words)
