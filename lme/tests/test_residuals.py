"""Residuals of all kinds and types, quantile residuals, whitening, the table of three
levels, leverage."""

import gzip
import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose as close
from scipy.linalg import block_diag
from scipy.stats import kstest, norm

import lme
from lme.engine.choice import KERNELS
from lme.engine.cholmod import available
from lme.engine.crossproducts import pattern
from lme.errors import FitError, GroupError, LMEError, OptionError
from lme.inference.diagnostics import whitening
from lme.inference.diagnostics.leverage import held, leverage
from lme.inference.diagnostics.quantile_residuals import quantile_residuals
from lme.inference.prediction.simulation import simulate_responses
from lme.tests.cases import CASES, REFERENCE
from lme.tests.glmm_cases import GLMM_CASES

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

TEXT = gzip.decompress((REFERENCE / "diagnostics" / "diagnostics.json.gz").read_bytes())
LINEAR = json.loads(TEXT)["linear"]
SMALL = [name for name in LINEAR if not name.startswith("insteval")]


@cache
def fitted(name, **options):
    if name in CASES:
        return CASES[name].fit(**options)
    return GLMM_CASES[name].fit(**options)


@cache
def zero_variance():
    """A fit with a variance of exactly zero, a weight and an offset."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 5), "x": rng.normal(size=30)})
    frame["y"] = 2 + frame.x + rng.normal(size=30)
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    frame["w"] = rng.uniform(0.5, 2, 30)
    frame["o"] = rng.normal(size=30)
    return lme.lmer(
        "y ~ x + (x | g)", frame, weights="w", offset=frame.o.to_numpy()
    ).fit()


def dense_covariance(fit):
    """``V / sigma^2`` of weighted rows, with no idea of groups."""
    Z = fit.design.Zt.T.toarray()
    if fit.design.weights is not None:
        Z = Z * np.sqrt(fit.design.weights)[:, None]
    Lambda = block_diag(
        *[
            np.kron(np.eye(len(t.levels)), lam)
            for t, lam in zip(fit.design.terms, fit.lambdas, strict=True)
        ]
    )
    return np.eye(len(Z)) + Z @ Lambda @ Lambda.T @ Z.T


# --- leverage -------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_leverage_is_lme4s(name):
    if not CASES[name].identified:
        pytest.skip("theta is not unique, and neither is the leverage")
    for kind, expected in LINEAR[name].items():
        res = fitted(name, reml=kind == "REML")
        h = leverage(res.fit_record)
        # theta of the reference is good to about 1e-8, and so is a leverage.
        close(h[:10], expected["hatvalues10"], 1e-5, 2e-6)
        close(h.sum(), expected["hatvalues_sum"], 1e-5)
        pearson = res.residuals(type="pearson")
        scale = float(np.sqrt(np.mean(pearson**2)))
        close(pearson[:10], expected["resid10_pearson"], 1e-5, 1e-4 * scale)
        close((res.residuals() ** 2).sum(), expected["resid_sumsq_response"], 1e-4)


@pytest.mark.parametrize("name", ["sleep_full", "penicillin", "pastes", "weights"])
def test_leverage_is_the_derivative_of_fitted_values(name):
    fit = fitted(name).fit_record
    V = dense_covariance(fit)
    root = 1.0 if fit.design.weights is None else np.sqrt(fit.design.weights)[:, None]
    X, inverse = fit.X * root, np.linalg.inv(V)
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    close(leverage(fit), 1.0 - P.diagonal(), 1e-11, 1e-13)
    # And by moving one response: fitted values are linear in it, theta held.
    at = held(fit)
    step = np.zeros(fit.design.nobs)
    step[3] = 1.0
    close(leverage(fit)[3], step[3] - (P @ step)[3], 1e-11)
    close(at.residual, P @ at.problem.residual, 1e-8, 1e-8)


def test_leverage_without_a_variance():
    """That of least squares; a theta of exactly zero is an ordinary point."""
    fit = zero_variance().fit_record
    assert fit.convergence.singular and np.any(fit.theta == 0.0)
    held_at_zero = replace(fit, theta=np.zeros(fit.theta.size))
    X = fit.X * np.sqrt(fit.design.weights)[:, None]
    Q, _ = np.linalg.qr(X)
    close(leverage(held_at_zero), (Q**2).sum(axis=1), 1e-12)


@pytest.mark.parametrize("nAGQ", [0, 1])
@pytest.mark.parametrize("name", ["cbpp", "sim_pois_slope", "sim_gamma_log"])
def test_leverage_of_the_working_model(name, nAGQ):
    fit = fitted(name, nAGQ=nAGQ).fit_record
    at = fit.family.pointwise(
        fit.problem.y,
        fit.problem.weights,
        fit.eta,
        float(np.log(fit.extra)) if fit.family.extra else 0.0,
    )
    root = np.sqrt(at.W)[:, None]
    Z = fit.design.Zt.T.toarray() * root
    Lambda = block_diag(
        *[
            np.kron(np.eye(len(t.levels)), lam)
            for t, lam in zip(fit.design.terms, fit.lambdas, strict=True)
        ]
    )
    inverse = np.linalg.inv(np.eye(len(Z)) + Z @ Lambda @ Lambda.T @ Z.T)
    X = fit.X * root
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    close(leverage(fit), 1.0 - P.diagonal(), 1e-9, 1e-12)
    assert leverage(fit).min() > 0.0 and leverage(fit).max() < 1.0


@pytest.mark.skipif(not available(), reason="needs scikit-sparse")
@pytest.mark.parametrize("name", ["penicillin", "machines_nested", "pastes", "cake"])
def test_kernels_give_the_same_inverse(name):
    fit = fitted(name).fit_record
    template = fit.problem.template
    lambdas = template.lambdas(template.internal(fit.theta))
    where = pattern(fit.problem.factors)
    found = []
    for make in KERNELS.values():
        kernel = make(fit.problem.cross)
        kernel.factor(lambdas)
        found.append(where.quadratic(*kernel.inverse()))
    close(found[0], found[1], 1e-9, 1e-12)


def test_inverse_by_pieces_is_the_same(monkeypatch):
    fit = fitted("penicillin").fit_record
    whole = leverage(fit)
    monkeypatch.setattr("lme.engine.blocked._MIXED_ENTRIES", 50)
    close(leverage(fit), whole, 1e-13)


def test_hatvalues_are_labelled():
    res = fitted("sleep_full")
    hat = res.hatvalues()
    assert hat.index.equals(res.fit_record.design.index)
    close(hat.sum(), 29.0221, 1e-5)  # C.8 52
    close(
        fitted("sleep_full", reml=False).hatvalues().sum(), 28.61165, 1e-5
    )  # of default lme4


# --- kinds and types ------------------------------------------------------------------


def test_three_levels():
    """A 4.9: HLMdiag's residuals of sleepstudy."""
    res = fitted("sleep_full")
    close(res.residuals("marginal")[:3], [-1.84510, -3.16769, -21.53908], 1e-5)
    close(res.residuals("conditional")[:3], [-4.10366, -14.62522, -42.19558], 1e-5)
    close(res.residuals("random")[:3], [2.25855, 11.45753, 20.65650], 1e-5)
    close(res.resid, res.residuals())


def test_ranges_of_residuals():
    """E.6 #72."""
    resid = fitted("sleep_full").residuals()
    close([resid.min(), resid.max()], [-101.17996, 132.54664], 2e-5)
    ranges = {
        None: (-3.1975034, 2.35668826),
        "pearson": (-2.381636, 2.879088),
        "working": (-1.241734, 5.410645),
        "response": (-0.1946747, 0.3184589),
    }
    for kind, expected in ranges.items():
        values = fitted("cbpp").residuals(type=kind)
        # From the default lme4, whose PIRLS stops early.
        close([values.min(), values.max()], expected, 1e-3)


def test_kinds_of_a_generalized_model():
    res = fitted("sim_pois_off")
    fit = res.fit_record
    eta = fit.X @ fit.beta + fit.design.offset
    mu, y = np.exp(eta), fit.design.y
    close(res.residuals("marginal", "response"), y - mu, 1e-12)
    close(res.residuals("marginal", "pearson"), (y - mu) / np.sqrt(mu), 1e-12)
    close(res.residuals("marginal", "working"), (y - mu) / mu, 1e-12)
    deviance = res.residuals("marginal")
    close(deviance**2, fit.family.unit_deviance(y, mu), 1e-9, 1e-12)
    assert (np.sign(deviance) == np.sign(y - mu)).all()
    close(res.residuals("random"), fit.eta - eta, 1e-12)
    difference = res.residuals("marginal", "response") - res.residuals(type="response")
    close(res.residuals("random", "response"), difference, 1e-10, 1e-12)


def test_scaled_and_studentized():
    res = fitted("sleep_int")
    h = res.hatvalues()
    close(res.residuals(scaled=True), res.resid / res.sigma)
    student = res.residuals(standardize="leverage")
    close(student, res.resid / res.sigma / np.sqrt(1 - h), 1e-10)
    gamma = fitted("sim_gamma_log")
    pearson = gamma.residuals(type="pearson", standardize="leverage")
    expected = gamma.residuals(type="pearson", scaled=True) / np.sqrt(
        1 - gamma.hatvalues()
    )
    close(pearson, expected, 1e-10)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("sleep_full", {"kind": "marginl"}, "Did you mean 'marginal'"),
        ("sleep_full", {"type": "partial"}, "type='partial' is not known"),
        ("sleep_full", {"kind": "pearson"}, "Write type='pearson'"),
        ("cbpp", {"type": "marginal"}, "Write kind='marginal'"),
        ("sleep_full", {"standardize": "chol"}, "must be one of"),
        ("cbpp", {"kind": "random", "type": "pearson"}, "difference of linear"),
        ("cbpp", {"kind": "random", "type": "quantile"}, "A response has a quantile"),
        ("cbpp", {"type": "quantile", "n_sim": 0}, "whole number from 1"),
        ("cbpp", {"type": "quantile", "seed": -1}, "negative"),
        ("cbpp", {"kind": "marginal", "standardize": "cholesky"}, "generalized model"),
        ("sleep_full", {"standardize": "cholesky"}, "kind='marginal'"),
        (
            "sleep_full",
            {"kind": "marginal", "standardize": "leverage"},
            "kind='conditional'",
        ),
        ("cbpp", {"type": "working", "standardize": "leverage"}, "type='pearson'"),
        ("cbpp", {"type": "normalized"}, "a generalized model.*type='pearson'"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(OptionError, match=message):
        fitted(name).residuals(**options)


def test_rows_left_out_come_back_as_nan():
    frame = lme.datasets.load("sleepstudy")
    frame.loc[7, "Reaction"] = np.nan
    res = lme.lmer("Reaction ~ Days + (1 | Subject)", frame, na_action="exclude").fit()
    for found in (
        res.residuals("marginal", standardize="cholesky"),
        res.residuals(type="quantile"),
        res.hatvalues(),
        res.hlm_resid()[".ls.resid"],
    ):
        assert len(found) == 180 and np.flatnonzero(np.isnan(found)).tolist() == [7]
    assert len(res.get_influence().summary_frame()) == 179


def test_without_data():
    res = lme.lmer(
        "Reaction ~ Days + (1 | Subject)", lme.datasets.load("sleepstudy")
    ).fit()
    res.remove_data()
    calls = (res.residuals, res.hatvalues, res.hlm_resid, res.get_influence)
    for call in (*calls, res.diagnose):
        with pytest.raises(FitError, match="remove_data"):
            call()


# --- whitening ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["sleep_full", "penicillin", "pastes", "weights", "oats_block", "offset_arg"],
)
@pytest.mark.parametrize("in_turn", [False, True])
def test_whitening_is_the_cholesky_factors(name, in_turn, monkeypatch):
    res = fitted(name)
    fit = res.fit_record
    if in_turn:
        monkeypatch.setattr(whitening, "_BLOCK", 5)
        monkeypatch.setattr(whitening, "_dense_is_better", lambda *_: False)
    root = 1.0 if fit.design.weights is None else np.sqrt(fit.design.weights)
    L = np.linalg.cholesky(dense_covariance(fit))
    expected = np.linalg.solve(L, root * res.residuals("marginal")) / res.sigma
    found = res.residuals("marginal", standardize="cholesky")
    close(found, expected, 1e-8, 1e-10)


@pytest.mark.parametrize("block", [3, 400])
def test_whitening_of_related_levels(block, monkeypatch):
    """Known covariances between levels, and parts with more rows than a block."""
    frame = lme.datasets.load("sleepstudy").astype({"Subject": str}).iloc[:90]
    names = sorted(frame["Subject"].unique())
    K = pd.DataFrame(0.4 + 0.6 * np.eye(len(names)), index=names, columns=names)
    res = lme.lmer(
        "Reaction ~ Days + (1 | Subject)", frame, covariances={"Subject": K}
    ).fit()
    monkeypatch.setattr(whitening, "_BLOCK", block)
    codes = pd.factorize(frame["Subject"], sort=True)[0]
    V = np.eye(len(frame)) + res.theta.iloc[0] ** 2 * K.to_numpy()[np.ix_(codes, codes)]
    e = res.residuals("marginal") / np.sqrt(res.scale)
    found = res.residuals("marginal", standardize="cholesky")
    close(found, np.linalg.solve(np.linalg.cholesky(V), e), 1e-9)


def test_parts_are_found():
    frame = pd.DataFrame({"a": list("xxyyzz"), "b": list("112233")})
    for b, parts in ((list("112233"), 3), (list("122331"), 1), (list("111233"), 2)):
        codes = [pd.factorize(np.array(column))[0] for column in (frame.a, b)]
        factors = tuple(
            whitening.Factor(c.astype(np.intp), 3, np.ones((6, 1))) for c in codes
        )
        assert np.unique(whitening.independent_parts(factors)).size == parts


def test_too_large_a_part_is_refused(monkeypatch):
    monkeypatch.setattr(whitening, "_BLOCK", 20)
    monkeypatch.setattr(whitening, "_MOST_WORK", 1000.0)
    with pytest.raises(FitError, match="144 rows with 30 random effects"):
        fitted("penicillin").residuals("marginal", standardize="cholesky")


# --- quantile residuals ---------------------------------------------------------------


def test_quantiles_of_a_linear_model_are_exact():
    res = fitted("weights")
    fit = res.fit_record
    close(
        res.residuals(type="quantile", scaled=True),
        res.residuals(type="pearson", scaled=True),
        1e-8,
    )
    variance = dense_covariance(fit).diagonal() / fit.design.weights
    expected = norm.cdf(res.residuals("marginal") / np.sqrt(variance) / res.sigma)
    close(res.residuals("marginal", "quantile"), expected, 1e-9)


@pytest.mark.parametrize("name", ["cbpp", "sim_pois", "sim_bern", "sim_gamma_log"])
def test_quantiles_are_uniform_under_the_model(name):
    """Responses drawn from the fit, whatever the number of simulations."""
    fit = fitted(name).fit_record
    ranks = []
    for i, y in enumerate(simulate_responses(fit, 40, seed=11)):
        drawn = replace(fit, design=replace(fit.design, y=y))
        ranks.append(quantile_residuals(drawn, "marginal", n=19, seed=i))
    ranks = np.array(ranks)
    assert ranks.min() > 0 and ranks.max() < 1
    # Rows of a group go together, so one row a group is taken from each replicate.
    _, first = np.unique(fit.design.terms[0].codes, return_index=True)
    assert kstest(ranks[:, first].ravel(), "uniform").pvalue > 0.01
    assert abs(ranks.mean() - 0.5) < 0.03


def test_quantiles_see_a_wrong_model():
    """Poisson responses of twice the variance: too many in the tails."""
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(20), 15)
    x = rng.normal(size=g.size)
    mu = np.exp(1 + 0.3 * x + 0.4 * rng.normal(size=20)[g])
    frame = pd.DataFrame({"g": g.astype(str), "x": x})
    frame["y"] = rng.negative_binomial(2.0, 2.0 / (2.0 + mu))
    poisson = lme.glmer("y ~ x + (1 | g)", frame, family="poisson").fit()
    nb = lme.glmer("y ~ x + (1 | g)", frame, family="negative_binomial").fit()
    p = [
        kstest(res.residuals(type="quantile", seed=1), "uniform").pvalue
        for res in (poisson, nb)
    ]
    assert p[0] < 1e-3 < 0.05 < p[1]


def test_seeds():
    res = fitted("cbpp")
    first = res.residuals(type="quantile", seed=3)
    assert first.equals(res.residuals(type="quantile", seed=3))
    assert not first.equals(res.residuals(type="quantile", seed=4))
    scores = res.residuals(type="quantile", seed=3, scaled=True)
    close(norm.cdf(scores), first, 1e-9)
    given = np.random.default_rng(8)
    assert not res.residuals(type="quantile", seed=given).equals(
        res.residuals(type="quantile", seed=given)
    )


# --- the table of three levels --------------------------------------------------------


def test_table_of_three_levels():
    """A 4.10."""
    res = fitted("sleep_full")
    table = res.hlm_resid()
    assert list(table) == [
        *[".resid", ".fitted", ".ls.resid", ".ls.fitted", ".mar.resid", ".mar.fitted"]
    ]
    y = lme.datasets.load("sleepstudy").Reaction
    for kind in ("", ".ls", ".mar"):
        resid = table[".resid" if not kind else f"{kind}.resid"]
        close(resid + table[".fitted" if not kind else f"{kind}.fitted"], y)
    frame = lme.datasets.load("sleepstudy")
    one = frame[frame.Subject == "309"]
    line = np.polyfit(one.Days, one.Reaction, 1)
    close(table.loc[one.index, ".ls.fitted"], np.polyval(line, one.Days), 1e-9)
    standardized = res.hlm_resid(standardize=True)
    assert list(standardized) == [".std.resid", ".student.resid", ".chol.mar.resid"]
    close(standardized[".std.resid"], table[".resid"] / res.sigma)
    # Uncorrelated with unit variance: their mean square is r2 / (sigma^2 n).
    close((standardized[".chol.mar.resid"] ** 2).sum(), 178.0, 1e-8)


def test_table_with_a_group_and_constant_columns():
    res = fitted("orthodont_c")
    within = res.hlm_resid()[".ls.fitted"]
    frame = CASES["orthodont_c"].arguments()["data"]
    one = frame[frame.Subject == frame.Subject.iloc[0]]
    line = np.polyfit(one.age, one.distance, 1)
    close(within[one.index], np.polyval(line, one.age), 1e-9)


def test_table_refuses():
    with pytest.raises(GroupError, match="Did you mean 'Subject'"):
        fitted("sleep_full").hlm_resid(group="subject")
    with pytest.raises(OptionError, match="generalized"):
        fitted("cbpp").hlm_resid()
    assert issubclass(GroupError, LMEError)
