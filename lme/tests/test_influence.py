"""Influence of rows and groups: lme4's numbers, and real refits without the rows."""

import gzip
import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose as close

import lme
from lme.engine import lmm
from lme.engine.choice import choose
from lme.engine.cholmod import available
from lme.engine.crossproducts import pattern
from lme.engine.downdating import full_rank, without_rows
from lme.engine.lmm import Criterion
from lme.errors import DataError, FitError, GroupError, OptionError
from lme.inference.diagnostics import unit_deletion
from lme.inference.diagnostics.influence import influence
from lme.inference.diagnostics.leverage import held
from lme.inference.diagnostics.unit_deletion import one_newton_step
from lme.tests.cases import CASES, REFERENCE, data
from lme.tests.glmm_cases import GLMM_CASES

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

TEXT = gzip.decompress((REFERENCE / "diagnostics" / "diagnostics.json.gz").read_bytes())
LME4 = json.loads(TEXT)["influence"]


@cache
def fitted(name, **options):
    return (CASES.get(name) or GLMM_CASES[name]).fit(**options)


@cache
def weighted():
    """Two crossed factors, weights, an offset, rows of unequal number."""
    rng = np.random.default_rng(3)
    n = 90
    frame = pd.DataFrame(
        {
            "g": rng.choice(list("abcdefgh"), n),
            "h": rng.choice(list("uvwxyz"), n),
            "x": rng.normal(size=n),
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.normal(size=n),
        }
    )
    effects = dict(zip("abcdefghuvwxyz", rng.normal(size=14), strict=True))
    frame["y"] = 3 + frame.x + frame.o + frame.g.map(effects) + frame.h.map(effects)
    frame["y"] += rng.normal(size=n) / np.sqrt(frame.w)
    return frame, _fit_weighted(frame)


def _fit_weighted(frame, reml=True):
    formula = "y ~ x + offset(o) + (x | g) + (1 | h)"
    return lme.lmer(formula, frame, weights="w").fit(reml=reml)


# --- lme4's numbers -------------------------------------------------------------------


@pytest.mark.parametrize("name", LME4)
def test_groups_are_lme4s(name):
    expected = LME4[name]
    found = fitted(name).get_influence(expected["group"])
    rows = expected["levels"]
    close(found.params_deleted.loc[rows], expected["params"], 1e-8)
    # The reference's theta is good to 1e-8 or so, and a covariance to 1e-5.
    close(found.cooks_distance[rows], expected["cooks_distance"], 1e-5, 1e-8)
    if expected["dfbetas"] is not None:
        # lme4 takes the full fit from the other: caveat 13.
        close(-found.dfbetas.loc[rows], expected["dfbetas"], 1e-3, 3e-5)
    assert found.notes.empty


@pytest.mark.parametrize("name", LME4)
def test_rows_are_lme4s(name):
    expected = LME4[name]
    found = fitted(name).get_influence()
    close(found.cooks_distance[:10], expected["cooks_distance_obs10"], 1e-5, 1e-8)
    close(found.cooks_distance.sum(), expected["cooks_distance_obs_sum"], 1e-5)
    close(found.hat_matrix_diag[:10], expected["hat10"], 1e-5)
    # What lme4 1.1 calls rstudent has sigma of all rows.
    close(found.resid_studentized_internal[:10], expected["rstudent10"], 1e-5)


def test_printed_numbers():
    """E.6 #73."""
    res = fitted("sleep_int")
    rows, groups = res.get_influence(), res.get_influence(groups="Subject")
    close(rows.hat_matrix_diag[:3], [0.107483311, 0.102096106, 0.098055702], 1e-7)
    close(rows.cooks_distance[:3], [0.127645977, 0.127346548, 0.243724627], 1e-7)
    close(groups.cooks_distance[:2], [0.3392146, 0.2903091], 1e-6)
    exact = fitted("sleep_int").get_influence(method="exact")
    close(exact.params_deleted.iloc[0], [252.3235, 10.32227], 1e-6)


# --- against refits -------------------------------------------------------------------


@pytest.mark.parametrize("reml", [True, False])
def test_groups_against_refits(reml):
    frame, _ = weighted()
    res = _fit_weighted(frame, reml)
    before = frame.copy()
    for factor in ("g", "h"):
        found = res.get_influence(factor)
        for level in found.index[:3]:
            again = _fit_weighted(frame[frame[factor] != level], reml)
            close(found.params_deleted.loc[level], again.params, 1e-6)
            close(found.bse_deleted.loc[level], again.bse, 1e-5)
            close(found.sigma_deleted[level], again.sigma, 1e-6)
            close(found.theta_deleted.loc[level], again.theta, 1e-4, 1e-4)
            variances = [np.diag(c) for c in again.VarCorr().values()]
            wanted = np.append(np.concatenate(variances), again.scale)
            close(found.varcomp_deleted.loc[level], wanted, 1e-4, 1e-6)
            d = res.params - again.params
            cook = d @ np.linalg.solve(res.cov_params(), d) / 2
            m = len(found.index)
            close(found.cooks_distance[level], cook * (m - 2) / m, 1e-5)
            mdffits = d @ np.linalg.solve(again.cov_params(), d) / 2
            close(found.mdffits[level], mdffits, 1e-5)
            ratio = np.linalg.solve(res.cov_params(), again.cov_params())
            close(found.cov_ratio[level], np.linalg.det(ratio), 1e-4)
            close(found.cov_trace[level], abs(np.trace(ratio) - 2), 1e-3, 1e-5)
    assert frame.equals(before)


def test_rows_against_refits():
    frame, res = weighted()
    exact = res.get_influence(method="exact")
    for i in (0, 17, 63):
        again = _fit_weighted(frame.drop(index=i))
        close(exact.params_deleted.iloc[i], again.params, 1e-6)
        close(exact.theta_deleted.iloc[i], again.theta, 1e-4, 1e-4)


def test_rows_with_theta_held():
    """Closed forms against the criterion without the row at the same theta."""
    _, res = weighted()
    found = res.get_influence()
    fit = res.fit_record
    for i in (0, 17, 63):
        stay = np.delete(np.arange(90), i)
        design = fit.design
        terms = [
            lmm.Term(t.codes[stay], len(t.levels), t.values[stay], s.structure, f)
            for f, (t, s) in enumerate(
                zip(design.terms, fit.problem.template.slots, strict=True)
            )
        ]
        problem = lmm.build(
            design.y[stay],
            fit.X[stay],
            terms,
            weights=design.weights[stay],
            offset=design.offset[stay],
        )
        kernel, _ = choose(problem.cross)
        inner = problem.template.internal(fit.theta)
        at = Criterion(problem, kernel, True).evaluate(inner)
        beta = np.linalg.solve(problem.R, problem.level + at.coefficients)
        sigma = np.sqrt(at.r2 / (89 - 2))
        inverse = np.linalg.inv(at.RX @ problem.R)
        covariance = sigma**2 * inverse @ inverse.T
        close(found.params_deleted.iloc[i], beta, 1e-9)
        close(found.sigma_deleted.iloc[i], sigma, 1e-9)
        close(found.bse_deleted.iloc[i], np.sqrt(np.diag(covariance)), 1e-8)
        d = fit.beta - beta
        close(found.mdffits.iloc[i], d @ np.linalg.solve(covariance, d) / 2, 1e-7)
        whole = fit.sigma**2 * fit.vcov_unscaled
        ratio = np.linalg.solve(whole, covariance)
        close(found.cov_ratio.iloc[i], np.linalg.det(ratio), 1e-8)
        close(found.cov_trace.iloc[i], abs(np.trace(ratio) - 2), 1e-6, 1e-9)


@pytest.mark.parametrize("name", ["sleep_full", "sleep_int", "penicillin"])
def test_one_step_is_near(name):
    """Most of the way from all rows to an exact deletion, for theta and beta."""
    res = fitted(name)
    group = next(iter(res.fit_record.design.flist))
    for groups in (group, None):
        exact = res.get_influence(groups, method="exact")
        step = res.get_influence(groups, method="one-step")
        for attribute, whole in (
            ("theta_deleted", res.theta.to_numpy()),
            ("params_deleted", np.asarray(res.params)),
        ):
            wanted = getattr(exact, attribute).to_numpy()
            moved = np.linalg.norm(wanted - whole)
            missed = np.linalg.norm(getattr(step, attribute).to_numpy() - wanted)
            assert missed < 0.35 * moved
        # Changes of the variances, of up to 27 percent, to a few percent.
        missed = np.abs(step.varcomp_change - exact.varcomp_change).to_numpy().max()
        assert missed < 0.06 if groups else missed < 0.01


@pytest.mark.parametrize(
    "name, group, nAGQ",
    [("cbpp", "herd", 1), ("cbpp", "herd", 0), ("sim_gamma_log", "g", 1)],
)
def test_generalized_groups_against_refits(name, group, nAGQ):
    case = GLMM_CASES[name]
    res = case.fit(nAGQ=nAGQ)
    found = res.get_influence(group)
    factor = res.fit_record.design.flist[group]
    frame = data(case.data)
    for k in (0, 5):
        kept = frame[factor.codes != k]
        options = {"family": case.family, **case.options}
        again = lme.glmer(case.formula, kept, **options).fit(nAGQ=nAGQ)
        close(found.params_deleted.iloc[k], again.params, 1e-4, 1e-5)
        close(found.theta_deleted.iloc[k], again.theta, 1e-3, 1e-5)
        close(found.sigma_deleted.iloc[k], again.sigma, 1e-4)
    held_theta = res.get_influence(group, method="one-step")
    shift = res.params - found.params_deleted
    missed = held_theta.params_deleted - found.params_deleted
    assert np.linalg.norm(missed) < 0.3 * np.linalg.norm(shift)
    with pytest.raises(FitError, match="method='exact'"):
        held_theta.theta_deleted  # noqa: B018
    assert not any(c.startswith("rvc_") for c in held_theta.summary_frame())


def test_generalized_rows():
    """lme4's formula on the working model; one step of beta against a refit."""
    res = fitted("sim_pois")
    found = res.get_influence()
    pearson = res.residuals(type="pearson")
    h = found.hat_matrix_diag
    close(found.cooks_distance, (pearson / (1 - h)) ** 2 * h / len(res.params), 1e-9)
    i = int(found.cooks_distance.argmax())
    case = GLMM_CASES["sim_pois"]
    again = lme.glmer(case.formula, data(case.data).drop(index=i), family="poisson")
    again = again.fit()
    exact, step = res.params - again.params, found.dfbeta.iloc[i]
    assert np.linalg.norm(exact - step) < 0.2 * np.linalg.norm(exact)


# --- layout ---------------------------------------------------------------------------


def test_layout_of_statsmodels():
    res = fitted("sleep_full")
    rows = res.get_influence().summary_frame()
    assert list(rows) == [
        *["dfb_(Intercept)", "dfb_Days", "cooks_d", "standard_resid", "hat_diag"],
        *["dffits_internal", "student_resid", "dffits"],
    ]
    ratio = np.sqrt(rows.hat_diag / (1 - rows.hat_diag))
    close(rows.dffits, rows.student_resid * ratio)
    close(rows.dffits_internal, rows.standard_resid * ratio)
    groups = res.get_influence("Subject")
    frame = groups.summary_frame()
    assert list(frame) == [
        *["dfb_(Intercept)", "dfb_Days", "cooks_d", "mdffits", "cov_ratio"],
        *["cov_trace", "nobs", "rvc_(Intercept)|Subject", "rvc_Days|Subject"],
        "rvc_Residual",
    ]
    assert frame.index.name == "Subject" and (frame.nobs == 10).all()
    close(groups.dfbeta, np.asarray(res.params) - groups.params_not_obsi)
    close(groups.varcomp_change["Residual"], groups.sigma_deleted**2 / res.scale - 1)
    assert "largest by Cook's distance" in repr(groups)
    assert "<table" in groups._repr_html_()


def test_without_random_effects_it_is_least_squares():
    """With theta of zero: statsmodels' OLS influence."""
    fit = fitted("sleep_int", reml=True).fit_record
    ols = sm.OLS(fit.design.y, fit.X).fit()
    zero = replace(
        fit,
        theta=np.zeros(1),
        beta=ols.params,
        sigma=float(np.sqrt(ols.scale)),
        mu=ols.fittedvalues,
    )
    found = influence(zero)
    expected = ols.get_influence()
    close(found.hat_matrix_diag, expected.hat_matrix_diag, 1e-9)
    close(found.dfbetas, expected.dfbetas, 1e-2)
    close(found.dfbeta, expected.dfbeta, 1e-8)
    close(found.cooks_distance, expected.cooks_distance[0], 1e-8)
    close(found.resid_studentized_external, expected.resid_studentized_external, 1e-8)
    close(found.dffits, expected.dffits[0], 1e-8)
    close(found.cov_ratio, expected.cov_ratio, 1e-8)


# --- labels, options, units without a fit ---------------------------------------------


def test_labels_for_each_row():
    res = fitted("sleep_int")
    frame = lme.datasets.load("sleepstudy")
    by_name = res.get_influence("Subject")
    by_label = res.get_influence(frame.Subject.astype(str))
    close(by_label.params_deleted, by_name.params_deleted, 1e-9)
    assert by_label.unit == "Subject"
    early = res.get_influence(np.where(frame.Days < 2, "early", "late"))
    again = lme.lmer("Reaction ~ Days + (1 | Subject)", frame[frame.Days >= 2]).fit()
    close(early.params_deleted.loc["early"], again.params, 1e-7)
    some = res.get_influence(np.where(frame.Days < 2, 1.0, np.nan))
    close(some.params_deleted.loc[1.0], again.params, 1e-7)
    assert len(some.index) == 1


def test_labels_of_all_rows_where_some_are_left_out():
    frame = lme.datasets.load("sleepstudy")
    frame.loc[[3, 50], "Reaction"] = np.nan
    res = lme.lmer("Reaction ~ Days + (1 | Subject)", frame).fit()
    found = res.get_influence(frame.Subject.astype(str))
    close(found.params_deleted, res.get_influence("Subject").params_deleted, 1e-12)
    assert found.sizes[:2].tolist() == [9, 10] and found.sizes.sum() == 178
    with pytest.raises(DataError, match="179 labels, and the model has 178"):
        res.get_influence(frame.Subject.astype(str).iloc[:179])


def test_rows_of_a_model_without_fixed_effects():
    """Nothing to move: leverages and studentized residuals are left."""
    frame = lme.datasets.load("sleepstudy").assign(y=lambda d: d.Reaction - 300)
    res = lme.lmer("y ~ 0 + (1 | Subject)", frame).fit()
    found = res.get_influence()
    assert found.params_deleted.shape == (180, 0)
    assert found.cooks_distance.isna().all()
    scaled = res.resid / np.sqrt(res.scale * (1 - res.hatvalues()))
    close(found.resid_studentized_internal, scaled, 1e-10)


def test_a_generalized_model_has_no_sigma():
    res = fitted("cbpp")
    rows = res.get_influence()
    pearson = res.residuals(type="pearson")
    close(
        rows.resid_studentized_internal, pearson / np.sqrt(1 - res.hatvalues()), 1e-10
    )
    groups = res.get_influence("herd")
    assert list(groups.varcomp_change) == ["(Intercept)|herd"]
    frame = data("cbpp")
    again = lme.glmer(res.model.formula, frame[frame.herd != "1"], family="binomial")
    ratio = again.fit().theta.iloc[0] ** 2 / res.theta.iloc[0] ** 2
    close(groups.varcomp_change.iloc[0, 0], ratio - 1, 1e-4)


def test_a_failure_stops_its_own_unit_only(monkeypatch):
    """The reason stands beside the unit, and in print."""
    original = unit_deletion.LinearRefits.without

    def failing(self, rows):
        if rows[0] == 0:
            raise np.linalg.LinAlgError("Singular matrix")
        if rows[0] == 10:
            raise FitError("There is no minimum.", "One was expected.")
        return original(self, rows)

    right = fitted("sleep_int").get_influence("Subject")
    monkeypatch.setattr(unit_deletion.LinearRefits, "without", failing)
    found = fitted("sleep_int").get_influence("Subject")
    expected = {"308": "Singular matrix", "309": "There is no minimum."}
    assert found.notes.to_dict() == expected
    assert repr(found).splitlines()[-1] == "309: There is no minimum."
    close(found.params_deleted.iloc[2:], right.params_deleted.iloc[2:], 1e-10)
    assert found.params_deleted.iloc[:2].isna().all().all()


def test_a_factor_of_one_level_does_not_hinder():
    frame = lme.datasets.load("sleepstudy").assign(all="a")
    checks = {"one_level": "ignore", "levels": "ignore"}
    formula = "Reaction ~ Days + (1 | Subject) + (1 | all)"
    res = lme.lmer(formula, frame, checks=checks).fit()
    found = res.get_influence("Subject")
    assert found.notes.empty
    # The intercept takes up the only level: as if it were not there.
    without = fitted("sleep_int").get_influence("Subject")
    close(found.params_deleted, without.params_deleted, 1e-6)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"groups": "subject"}, GroupError, "Did you mean 'Subject'"),
        ({"groups": [1, 2, 3]}, DataError, "3 labels"),
        ({"groups": 5}, DataError, "name of a grouping factor"),
        ({"method": "onestep"}, OptionError, "Did you mean 'one-step'"),
        ({"n_jobs": 0}, OptionError, "whole number"),
        ({"n_jobs": "all"}, OptionError, "whole number"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        fitted("sleep_int").get_influence(**options)


def test_units_without_which_there_is_no_fit():
    """NaN and a note; the others have their numbers."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 6)})
    frame["t"] = np.where(frame.g == "f", "new", "old")
    frame["y"] = rng.normal(size=36) + frame.g.map(
        dict(zip("abcdef", rng.normal(size=6), strict=True))
    )
    res = lme.lmer("y ~ t + (1 | g)", frame).fit()
    for method in ("exact", "one-step"):
        found = res.get_influence("g", method=method)
        assert found.params_deleted.isna().all(axis=1).tolist() == [False] * 5 + [True]
        assert found.notes.to_dict() == {"f": "the fixed effects lose full rank"}
        assert np.isfinite(found.cooks_distance[:5]).all()
    halves = res.get_influence(np.where(frame.g < "b", "few", "rest"))
    assert halves.notes.to_dict()["rest"] == "the fixed effects lose full rank"
    flat = lme.lmer("y ~ 1 + (1 | g)", frame).fit()
    most = flat.get_influence(np.where(frame.g < "b", "few", "rest"))
    assert most.notes.to_dict() == {"rest": "one level of g is left"}
    every = flat.get_influence(np.ones(36))
    assert "0 rows are left" in every.notes.iloc[0]
    counts = lme.glmer(
        "k ~ t + (1 | g)", frame.assign(k=rng.poisson(2, 36)), family="poisson"
    ).fit()
    for method in ("exact", "one-step"):
        found = counts.get_influence("g", method=method)
        assert found.notes.to_dict() == {"f": "the fixed effects lose full rank"}


def test_a_row_alone():
    """A predictor that a single row has: its leverage is 1."""
    frame = lme.datasets.load("sleepstudy").assign(one=0.0)
    frame.loc[4, "one"] = 1.0
    found = lme.lmer("Reaction ~ Days + one + (1 | Subject)", frame).fit()
    rows = found.get_influence()
    assert rows.notes.index.tolist() == [4]
    assert np.isnan(rows.cooks_distance[4])
    assert np.isfinite(rows.cooks_distance.drop(4)).all()


def test_a_variance_of_zero_can_come_back():
    """All rows have no variance between groups; without one group there is some."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(6), 8)
    e = rng.normal(size=48)
    e -= np.array([e[g == k].mean() for k in range(6)])[g]
    # The last group has residuals so large that the means of the others drown.
    y = np.where(g == 5, 12.0 * e, e + np.array([1.0, -1.0, 0.5, -0.5, 0, 0])[g])
    frame = pd.DataFrame({"g": g.astype(str), "y": y})
    res = lme.lmer("y ~ 1 + (1 | g)", frame).fit()
    assert res.is_singular
    found = res.get_influence("g")
    again = lme.lmer("y ~ 1 + (1 | g)", frame[frame.g != "5"]).fit()
    assert again.theta.iloc[0] > 0.1
    close(found.theta_deleted.loc["5"], again.theta, 1e-4)


def test_a_known_sigma_stays():
    """As in a meta-analysis: no residual variance is estimated without a row either."""
    frame = lme.datasets.load("sleepstudy")
    model = lme.lmer("Reaction ~ Days + (1 | Subject)", frame)
    res = model.fit(sigma=30.0)
    groups, rows = res.get_influence("Subject"), res.get_influence()
    one = lme.lmer("Reaction ~ Days + (1 | Subject)", frame[frame.Subject != "308"])
    again = one.fit(sigma=30.0)
    close(groups.params_deleted.loc["308"], again.params, 1e-7)
    close(groups.theta_deleted.loc["308"], again.theta, 1e-5)
    close(groups.bse_deleted.loc["308"], again.bse, 1e-5)
    exact = res.get_influence(method="exact")
    for found in (groups, rows, exact):
        assert (found.sigma_deleted == 30.0).all()
    close(rows.theta_deleted, exact.theta_deleted, 2e-3)
    moved = np.abs(exact.theta_deleted - res.theta).to_numpy().max()
    assert moved > 0.02


def test_the_result_is_left_alone():
    res = fitted("penicillin")
    before = (res.theta.copy(), res.fit_record.problem.cross.gram.copy())
    objective = res.fit_record.criterion.evaluate(
        res.fit_record.problem.template.internal(res.fit_record.theta)
    ).value
    res.get_influence("plate")
    close(before[0], res.theta, 0)
    close(before[1], res.fit_record.problem.cross.gram, 0)
    close(objective, res.objective, 1e-12)


def test_progress(capsys):
    fitted("sleep_int").get_influence("Subject", progress=True)
    assert "deletion" in capsys.readouterr().err


@pytest.mark.slow
def test_in_parallel():
    res = fitted("cbpp")
    one, two = (res.get_influence("herd", n_jobs=n) for n in (1, 2))
    close(one.params_deleted, two.params_deleted, 1e-12)


# --- the engine's part ----------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True])
def test_downdated_cross_products(many):
    """Those of the rows that stay, whichever way they are formed."""
    _, res = weighted()
    problem = res.fit_record.problem
    where = pattern(problem.factors)
    rows = np.arange(60 if many else 12, dtype=np.intp)
    left = without_rows(problem, where, rows)
    stay = np.arange(rows.size, 90)
    fresh = pattern(left.factors).cross_products(
        np.column_stack([problem.basis, problem.residual])[stay]
    )
    for a, b in zip(left.cross.diagonal, fresh.diagonal, strict=True):
        close(a, b, 1e-9, 1e-10)
    close(left.cross.gram, fresh.gram, 1e-9, 1e-10)
    for a, b in zip(left.cross.dense, fresh.dense, strict=True):
        close(a, b, 1e-9, 1e-10)
    close(
        left.cross.pairs[0, 1].matrix.toarray(),
        fresh.pairs[0, 1].matrix.toarray(),
        1e-9,
        1e-10,
    )
    assert left.n == stay.size == problem.n - rows.size


@pytest.mark.skipif(not available(), reason="needs scikit-sparse")
def test_both_kernels_delete():
    frame, res = weighted()
    other = lme.lmer("y ~ x + offset(o) + (x | g) + (1 | h)", frame, weights="w").fit(
        kernel="cholmod"
    )
    a, b = (r.get_influence("g").params_deleted for r in (res, other))
    close(a, b, 1e-6)


def test_rank_of_some_rows():
    Q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 3)))
    assert full_rank(Q[3:], Q[3:].T @ Q[3:])
    assert not full_rank(Q[:2], Q[:2].T @ Q[:2])
    flat = Q.copy()
    flat[3:, 2] = flat[3:, 1]
    assert not full_rank(flat[3:], flat[3:].T @ flat[3:])


def test_newton_steps():
    """All rows at once or one at a time; none across zero, none too long."""
    H = np.array([[2.0, 0.3], [0.3, 1.0]])
    theta = np.array([1.0, 0.2])
    gradients = np.array([[0.1, 0.05], [5.0, 0.0], [0.0, 0.5]])
    together = one_newton_step(gradients, H, theta)
    for g, moved in zip(gradients, together, strict=True):
        close(one_newton_step(g, H, theta), moved)
    close(together[0], theta - np.linalg.solve(H, gradients[0]))
    assert np.linalg.norm(together[1] - theta) < 0.52
    assert together[2, 1] == 0.0


def test_held_problem_of_a_light_weight():
    """Rows of a generalized model whose weight vanishes do no harm."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"g": np.repeat(list("abcde"), 20), "x": rng.normal(size=100)})
    frame["k"] = (rng.random(100) < 1 / (1 + np.exp(-12 * frame.x))).astype(float)
    res = lme.glmer("k ~ x + (1 | g)", frame, family="binomial").fit()
    at = held(res.fit_record)
    h = at.random + at.fixed
    assert np.isfinite(h).all() and h.min() >= 0.0 and h.max() < 1.0
    assert np.isfinite(res.get_influence().dfbeta).all().all()
