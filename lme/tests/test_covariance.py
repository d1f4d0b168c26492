"""Covariance structures: a contract for every row of STRUCTURES, and references."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lme
from lme.covariance import STRUCTURES
from lme.engine.bases import internal_basis
from lme.errors import FitError, FormulaError, OptionError

REFERENCE = json.loads(
    (Path(__file__).parent / "reference/covariance/glmmtmb.json").read_text()
)
PATTERNED = [name for name, s in STRUCTURES.items() if not s.linear]


def _theta(structure, p, seed=0):
    return np.random.default_rng(seed).normal(0.3, 0.7, structure.size(p))


def _cov(structure, theta, p):
    factor = structure.factor(theta, p)
    return factor @ factor.T


# --- the contract ---------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("name", STRUCTURES)
def test_jacobian_is_the_derivative(name, p):
    structure = STRUCTURES[name]
    theta = _theta(structure, p)
    steps = 1e-6 * np.eye(theta.size)
    numeric = [
        (structure.factor(theta + h, p) - structure.factor(theta - h, p)) / 2e-6
        for h in steps
    ]
    np.testing.assert_allclose(structure.jacobian(theta, p), numeric, atol=2e-9)


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize(
    "far", [0.0, 1e2, 1e6, np.inf], ids=["centred", "far", "year", "collinear"]
)
def test_internal_basis_spans_the_same_columns(name, far):
    structure = STRUCTURES[name]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 2)) * [30.0, 1e-3]
    x[:, 0] += 30.0 * far if np.isfinite(far) else 0.0
    values = np.column_stack([np.ones(50), x])
    if np.isinf(far):
        values[:, 2] = 2.0 * values[:, 1]
    columns, T, inverse = internal_basis(values, structure)
    np.testing.assert_allclose(T @ inverse, np.eye(3), atol=1e-8)
    sizes = np.abs(values).max(axis=0)
    np.testing.assert_allclose((columns @ inverse) / sizes, values / sizes, atol=1e-12)
    gram = columns.T @ columns / 50
    np.testing.assert_allclose(np.trace(gram), 3.0, rtol=1e-10)
    if structure.basis == "triangular" and np.isfinite(far):
        np.testing.assert_allclose(gram, np.eye(3), atol=1e-10)
        # The intercept first: it stays a column of ones.
        np.testing.assert_allclose(columns[:, 0], 1.0, rtol=1e-12)


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("name", STRUCTURES)
def test_pack_and_interior_give_the_same_covariance(name, p):
    structure = STRUCTURES[name]
    theta = _theta(structure, p)
    cov = _cov(structure, theta, p)
    packed = structure.pack(np.linalg.cholesky(cov))
    np.testing.assert_allclose(_cov(structure, packed, p), cov, atol=1e-12)
    back = structure.interior(structure.natural(theta, p), p)
    np.testing.assert_allclose(_cov(structure, back, p), cov, atol=1e-12)
    assert len(structure.labels([f"c{i}" for i in range(p)])) == structure.size(p)
    assert structure.lower(p).shape == structure.even(p).shape == theta.shape


@pytest.mark.parametrize("p", [1, 2, 4])
@pytest.mark.parametrize("name", STRUCTURES)
def test_start_is_the_identity_and_even_parameters_are_even(name, p):
    structure = STRUCTURES[name]
    start = structure.start(p)
    np.testing.assert_allclose(_cov(structure, start, p), np.eye(p), atol=1e-15)
    theta = _theta(structure, p, 1)
    cov = _cov(structure, theta, p)
    for i in np.flatnonzero(structure.even(p)):
        turned = theta.copy()
        turned[i] *= -1
        np.testing.assert_allclose(_cov(structure, turned, p), cov, atol=1e-12)


def test_patterns_are_what_they_are_called():
    t = np.array([np.log(2.0), np.log(3.0), 0.0, 0.4])
    cs = STRUCTURES["cs"]
    corr = _cov(cs, t, 3) / np.outer([2, 3, 1], [2, 3, 1])
    rho = cs.natural(t, 3)[-1]
    np.testing.assert_allclose(corr, np.where(np.eye(3) > 0, 1.0, rho), atol=1e-14)
    ar1 = STRUCTURES["ar1"]
    lag = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    at = ar1.interior(np.array([1.5, -0.7]), 5)
    np.testing.assert_allclose(_cov(ar1, at, 5), 2.25 * (-0.7) ** lag, atol=1e-14)
    toep = STRUCTURES["homtoep"]
    r = np.array([0.5, 0.1, 0.2])
    at = toep.interior(np.concatenate([[1.0], r]), 4)
    want = np.concatenate([[1.0], r])[lag[:4, :4]]
    np.testing.assert_allclose(_cov(toep, at, 4), want, atol=1e-14)


@pytest.mark.parametrize("name", ["cs", "homcs"])
def test_bounds_of_compound_symmetry_are_ordinary_points(name):
    structure = STRUCTURES[name]
    sd = np.ones(structure.size(4) - 1)
    for rho in (1.0, -1.0 / 3.0):
        theta = structure.interior(np.append(sd, rho), 4)
        assert np.isfinite(structure.jacobian(theta, 4)).all()
        values = np.linalg.eigvalsh(_cov(structure, theta, 4))
        assert values[0] == pytest.approx(0.0, abs=1e-12)


# --- fits ---------------------------------------------------------------------


def _data(key):
    if key.startswith("mach"):
        return lme.datasets.load("Machines")
    if key.startswith("orth"):
        frame = lme.datasets.load("Orthodont")
        return frame.assign(f=pd.Categorical(frame["age"]))
    if key.startswith("cbpp"):
        return lme.datasets.load("cbpp")
    if key.startswith("contra"):
        return lme.datasets.load("Contraception")
    frame = lme.datasets.load("sleepstudy")
    half = pd.Categorical(np.where(frame["Days"] < 5, "early", "late"))
    return frame.assign(half=half)


@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
@pytest.mark.parametrize("key", REFERENCE)
def test_against_glmmtmb(key):
    want = REFERENCE[key]
    frame = _data(key)
    if key.startswith(("cbpp", "contra")):
        res = lme.glmer(want["formula"], frame, family="binomial").fit()
    else:
        res = lme.lmer(want["formula"], frame).fit(reml=want["REML"])
    assert res.llf == pytest.approx(want["loglik"], abs=2e-5)
    assert res.npar == want["df"]
    part = res.VarCorr().components[0]
    np.testing.assert_allclose(part.sd, want["sd"], rtol=1e-3)
    np.testing.assert_allclose(part.corr[:, 0], want["cor"], atol=1e-3)


def _brute_force(res, frame, columns, group, cov):
    """ML criterion from the whole covariance matrix of the response."""
    record = res.fit_record
    term = record.design.terms[0]
    same = np.equal.outer(term.codes, term.codes)
    V = res.scale * np.eye(len(frame)) + same * (term.values @ cov @ term.values.T)
    X, y = record.X, record.design.y
    Vi = np.linalg.inv(V)
    XVX = X.T @ Vi @ X
    r = y - X @ np.linalg.solve(XVX, X.T @ Vi @ y)
    value = np.linalg.slogdet(V)[1] + r @ Vi @ r + len(y) * np.log(2 * np.pi)
    if res.reml:
        p = X.shape[1]
        value += np.linalg.slogdet(XVX)[1] - p * np.log(2 * np.pi)
    return value


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    "term",
    [
        *["cs(f | g)", "cs(0 + f | g, hom = TRUE)", "ar1(0 + f | g)"],
        *["ar1(0 + f | g, hom = FALSE)", "toep(0 + f | g)", "homtoep(0 + f | g)"],
        *["diag(0 + f | g, hom = TRUE)", "homdiag(x | g)"],
    ],
)
def test_objective_against_the_whole_covariance(term, reml):
    rng = np.random.default_rng(5)
    n, groups = 240, 12
    frame = pd.DataFrame(
        {
            "f": pd.Categorical(rng.integers(0, 4, n)),
            "g": rng.integers(0, groups, n),
            "x": rng.normal(size=n),
        }
    )
    lag = np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    b = rng.multivariate_normal(np.zeros(4), 0.6**lag, groups)
    frame["y"] = b[frame["g"], frame["f"].cat.codes] + rng.normal(size=n)
    res = lme.lmer(f"y ~ x + {term}", frame).fit(reml=reml)
    assert res.converged
    part = res.VarCorr().components[0]
    brute = _brute_force(res, frame, part.columns, "g", part.cov)
    assert res.objective == pytest.approx(brute, abs=1e-8)
    # The optimum: no neighbour in the reported parameters is better.
    for i, size in enumerate(res.theta):
        for step in (-1e-3, 1e-3):
            theta = res.theta.to_numpy().copy()
            theta[i] = size + step * max(abs(size), 0.1)
            if abs(theta[i]) > 1 and "cor" in res.theta.index[i]:
                continue
            assert lme.fit.objective_at(res.fit_record, theta) > res.objective - 1e-9


def test_recovers_an_autoregression():
    rng = np.random.default_rng(3)
    times, groups = 12, 200
    lag = np.abs(np.subtract.outer(np.arange(times), np.arange(times)))
    b = rng.multivariate_normal(np.zeros(times), 4 * 0.8**lag, groups)
    frame = pd.DataFrame(
        {
            "g": np.repeat(np.arange(groups), times),
            "t": pd.Categorical(np.tile(np.arange(times), groups)),
            "y": (b + rng.normal(size=b.shape)).ravel(),
        }
    )
    res = lme.lmer("y ~ 1 + ar1(0 + t | g)", frame).fit()
    sd, rho = res.theta
    assert list(res.theta.index) == ["g.sd", "g.cor"]
    assert sd * res.sigma == pytest.approx(2.0, abs=0.15)
    assert rho == pytest.approx(0.8, abs=0.05)
    assert res.npar == 4 and res.converged and not res.is_singular


def test_a_correlation_on_its_bound_is_said():
    frame = _data("orth")
    res = lme.lmer("distance ~ age + cs(0 + f | Subject)", frame).fit(reml=False)
    assert res.converged and res.is_singular
    assert res.theta["Subject.cor"] == pytest.approx(1.0, abs=1e-6)
    assert "directions" in res.convergence.message


def test_start_in_reported_parameters_and_the_same_end():
    frame = lme.datasets.load("Machines")
    model = lme.lmer("score ~ Machine + cs(0 + Machine | Worker)", frame)
    res = model.fit()
    again = model.fit(start=[1.0, 2.0, 1.0, 0.2])
    assert again.objective == pytest.approx(res.objective, abs=1e-7)
    restored = lme.fit.objective_at(res.fit_record, res.theta)
    assert restored == pytest.approx(res.objective, abs=1e-9)


def test_matrices_agree_with_the_reported_covariance():
    frame = lme.datasets.load("Machines")
    res = lme.lmer("score ~ Machine + cs(0 + Machine | Worker)", frame).fit()
    L = res.getME("Lambda").toarray()
    cov = res.scale * (L @ L.T)[:3, :3]
    np.testing.assert_allclose(cov, res.VarCorr()["Worker"], rtol=1e-10)
    assert list(res.getME("lower")) == [0.0, 0.0, 0.0, -1.0]


def test_inference_works_and_kenward_roger_says_why_not():
    frame = lme.datasets.load("Machines")
    res = lme.lmer("score ~ Machine + cs(0 + Machine | Worker)", frame).fit()
    table = res.anova()
    assert np.isfinite(table.to_numpy()).all()
    with pytest.raises(FitError, match="linear in its parameters"):
        res.contrast("MachineB", ddf="kenward-roger")
    hom = lme.lmer("score ~ Machine + homdiag(0 + Machine | Worker)", frame).fit()
    # One variance for all three: the same model as a random intercept of the pairs.
    pair = lme.lmer("score ~ Machine + (1 | Worker:Machine)", frame).fit()
    assert hom.objective == pytest.approx(pair.objective, abs=1e-8)
    left = hom.contrast("MachineB", ddf="kenward-roger")
    right = pair.contrast("MachineB", ddf="kenward-roger")
    np.testing.assert_allclose(left.to_numpy(), right.to_numpy(), rtol=1e-6)


# --- the formula --------------------------------------------------------------


@pytest.mark.parametrize(
    "formula, structure",
    [
        ("y ~ ar1(0 + f | g)", "ar1"),
        ("y ~ ar1(0 + f | g, hom = FALSE)", "hetar1"),
        ("y ~ cs(f | g, hom=TRUE)", "homcs"),
        ("y ~ diag(f | g, hom = TRUE)", "homdiag"),
        ("y ~ diag(f | g, hom = FALSE)", "diag"),
        ("y ~ toep(0 + f | g)", "toep"),
    ],
)
def test_wrappers(formula, structure):
    (bar,) = lme.parse_formula(formula).bars
    assert bar.structure == structure
    again = lme.parse_formula(f"y ~ {bar.text}").bars[0]
    assert again.structure == structure


@pytest.mark.parametrize(
    "formula, message",
    [
        ("y ~ cs(x | g, hom = 2)", "more than a random term"),
        ("y ~ cs(x | g, 2)", "hom = TRUE"),
        ("y ~ us(x | g, hom = TRUE)", "no form with one variance|more than a"),
        ("y ~ homcs(x | g, hom = FALSE)", "no form with variances that differ|more"),
        ("y ~ ar1(0 + f | g, rho = 1)", "more than a random term"),
    ],
)
def test_bad_wrappers(formula, message):
    with pytest.raises(FormulaError, match=message):
        lme.parse_formula(formula)


def test_structures_of_matrix_models():
    frame = lme.datasets.load("Machines")
    Z = pd.get_dummies(frame["Machine"]).astype(float)
    res = lme.LMM(
        frame["score"], Z, groups=frame["Worker"], exog_re=Z, structure="cs"
    ).fit()
    want = lme.lmer("score ~ 0 + Machine + cs(0 + Machine | Worker)", frame).fit()
    assert res.objective == pytest.approx(want.objective, abs=1e-8)
    with pytest.raises(OptionError, match="'toep'"):
        lme.LMM(frame["score"], Z, groups=frame["Worker"], structure="ar2")
