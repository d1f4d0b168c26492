"""E.1, numbers of linear mixed models: scenarios 1 to 25."""

import json

import numpy as np
import pandas as pd
import pytest

import lme
from lme.fit import objective_at
from lme.tests.acceptance.reference import frame, references
from lme.tests.cases import data, has_data

REL = 1e-5


def fit(formula, name, reml=True, **options):
    return lme.lmer(formula, data(name), **options).fit(reml=reml)


DYE = "Yield ~ 1 + (1 | Batch)"
SLEEP = "Reaction ~ Days + (Days | Subject)"


def test_01_dyestuff_objective_at_given_theta():
    res = fit(DYE, "Dyestuff")
    assert objective_at(res.fit_record, [1.0]) == pytest.approx(319.792389042002)
    assert objective_at(res.fit_record, [0.0]) == pytest.approx(326.023232155879)
    assert res.objective == pytest.approx(319.654276842342, abs=1e-9)
    assert res.sigma == pytest.approx(49.5101, abs=1e-4)
    assert res.cov_params().iloc[0, 0] == pytest.approx(375.7147, rel=REL)
    ml = fit(DYE, "Dyestuff", reml=False)
    assert ml.cov_params().iloc[0, 0] == pytest.approx(313.0972, rel=REL)


def test_02_dyestuff_parts_of_the_criterion():
    res = fit(DYE, "Dyestuff", reml=False)
    assert res.theta.iloc[0] == pytest.approx(0.7525806540, abs=1e-7)
    assert res.objective == pytest.approx(327.32705988, abs=1e-7)
    assert objective_at(res.fit_record, [0.713]) == pytest.approx(327.34216280954615)
    assert res.fit_record.pwrss == pytest.approx(73537.501, rel=1e-7)
    assert res.fit_record.ldL2 == pytest.approx(8.06014611, rel=1e-6)
    hat = res.get_influence().hat_matrix_diag
    assert np.asarray(hat)[0] == pytest.approx(0.15650534, abs=1e-7)
    assert np.sum(hat) == pytest.approx(4.69516, abs=1e-4)


def test_03_likelihood_of_a_reml_fit_is_marked_and_not_mixed():
    # Decision: a REML fit has its restricted likelihood and says so; a comparison
    # refuses to mix it with one of maximum likelihood.
    reml, ml = fit(DYE, "Dyestuff"), fit(DYE, "Dyestuff", reml=False)
    assert reml.reml and reml.llf == pytest.approx(-319.654276842342 / 2)
    with pytest.raises(lme.FitError, match="REML"):
        lme.anova(reml, ml, refit=False)


def test_04_aic_of_the_refit_by_maximum_likelihood():
    ml = fit(DYE, "Dyestuff").update(REML=False)
    assert (ml.npar, ml.aic) == (3, pytest.approx(333.32706, abs=1e-5))


def test_05_dyestuff2_is_exactly_singular():
    ml = fit(DYE, "Dyestuff2", reml=False)
    assert ml.theta.iloc[0] == 0.0 and ml.is_singular
    assert ml.objective == pytest.approx(162.87303665, abs=1e-7)
    assert ml.params.iloc[0] == pytest.approx(5.6656, abs=1e-4)
    assert ml.bse.iloc[0] == pytest.approx(0.6669857, abs=1e-6)
    reml = fit(DYE, "Dyestuff2")
    assert reml.bse.iloc[0] == pytest.approx(0.67838803150, rel=1e-7)
    assert reml.tvalues.iloc[0] == pytest.approx(8.3515624346, rel=1e-6)
    table = ml.confint(method="profile")
    assert table.loc["sd_(Intercept)|Batch"].iloc[0] == 0.0
    assert np.isfinite(table.to_numpy()).all()


def test_06_refit_leaves_no_state():
    res = fit(DYE, "Dyestuff", reml=False)
    other = data("Dyestuff2")["Yield"]
    changed = res.refit(other)
    assert changed.theta.iloc[0] == 0.0
    assert changed.params.iloc[0] == pytest.approx(5.6656, abs=1e-4)
    back = changed.refit(data("Dyestuff")["Yield"])
    assert back.objective == pytest.approx(res.objective, abs=1e-10)
    assert res.theta.iloc[0] == pytest.approx(0.7525806540, abs=1e-7)


def test_07_penicillin():
    res = fit("diameter ~ 1 + (1 | plate) + (1 | sample)", "Penicillin", reml=False)
    assert res.objective == pytest.approx(332.18834867, abs=1e-7)
    np.testing.assert_allclose(res.theta, [1.5375939, 3.2197922], rtol=2e-5)
    variances = res.condVar()
    np.testing.assert_allclose(variances["plate"], 0.0733136, atol=1e-6)
    np.testing.assert_allclose(variances["sample"], 0.0405159, atol=1e-6)
    table = res.confint(method="profile").to_numpy()
    sigma = np.exp([-0.721865, -0.462903])
    want = [[0.633566, 1.182104], [1.095782, 3.556319], sigma, [21.26663, 24.67782]]
    np.testing.assert_allclose(table, want, rtol=1e-3)


def test_08_pastes():
    large = fit("strength ~ 1 + (1 | batch) + (1 | sample)", "Pastes", reml=False)
    small = fit("strength ~ 1 + (1 | sample)", "Pastes", reml=False)
    assert large.objective == pytest.approx(247.99446586, abs=1e-7)
    np.testing.assert_allclose(large.theta, [3.5269029, 1.3299137], rtol=REL)
    table = lme.anova(small, large)
    assert table["Pr(>Chisq)"].iloc[1] == pytest.approx(0.5233767966, abs=1e-7)


def test_09_insteval():
    frame = data("InstEval")
    main = "y ~ service + (1 | s) + (1 | d) + (1 | dept)"
    one = lme.lmer(main, frame).fit(reml=False)
    assert one.objective == pytest.approx(237721.76877450474, abs=1e-5)
    two = lme.lmer("y ~ 1 + service * dept + (1 | s) + (1 | d)", frame).fit(reml=False)
    assert two.params.size == 28
    assert two.objective == pytest.approx(237585.5534151695, abs=1e-5)


def test_10_sleepstudy():
    ml = fit(SLEEP, "sleepstudy", reml=False)
    assert ml.objective == pytest.approx(1751.9393444636682, abs=1e-9)
    np.testing.assert_allclose(ml.theta, [0.9292297, 0.0181647, 0.2226460], atol=1e-5)
    assert ml.aic == pytest.approx(1763.939344, abs=1e-5)
    assert ml.bic == pytest.approx(1783.1, abs=0.05)
    assert fit(SLEEP, "sleepstudy").aic == pytest.approx(1743.6283 + 12, abs=1e-4)
    zero = fit("Reaction ~ Days + (Days || Subject)", "sleepstudy", reml=False)
    assert zero.objective == pytest.approx(1752.003255140962, abs=1e-8)
    np.testing.assert_allclose(zero.theta, [0.9458043, 0.2269274], rtol=REL)
    want = [6.707646513654387, 1.5193112497954953]
    np.testing.assert_allclose(zero.bse, want, rtol=REL)
    sd = [24.171269957611873, 5.79939919963132, 25.55613836753517]
    np.testing.assert_allclose(zero.VarCorr().to_frame()["sdcor"], sd, rtol=REL)
    slope = fit("Reaction ~ Days + (0 + Days | Subject)", "sleepstudy", reml=False)
    assert slope.objective == pytest.approx(1774.080315280526, abs=1e-9)
    assert slope.theta.iloc[0] == pytest.approx(0.24353985, abs=1e-7)


def test_11_conditional_variances():
    ml = fit(SLEEP, "sleepstudy", reml=False)
    want = [[140.96755, -20.604544], [-20.604544, 5.157795]]
    np.testing.assert_allclose(ml.condVar()["Subject"][:, :, 0], want, rtol=1e-5)
    split = fit("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", "sleepstudy")
    frame = split.ranef().to_frame()
    sd = frame.groupby("term", observed=True)["condsd"].first()
    assert sd["(Intercept)"] == pytest.approx(12.238845590, rel=1e-5)
    assert sd["Days"] == pytest.approx(2.33546851406, rel=1e-5)


def test_12_a_structural_zero_prints_as_a_dot():
    res = fit("Reaction ~ Days + zerocorr(Days | Subject)", "sleepstudy")
    assert res.theta.size == 2
    assert repr(res.VarCorr()).splitlines()[2].endswith(" .")


def test_13_double_bar_is_two_terms():
    one = fit("Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", "sleepstudy")
    two = fit("Reaction ~ Days + (Days || Subject)", "sleepstudy")
    want = [252.917801422647, 272.708576602026, 292.499351781404, 312.290126960783]
    for res in (one, two):
        np.testing.assert_allclose(res.fittedvalues[:4], want, rtol=5e-5)
    np.testing.assert_allclose(one.fittedvalues, two.fittedvalues, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.skipif(not has_data("d3"), reason="d3 is too large to be copied here")
def test_14_d3():
    formula = "Y ~ 1 + U + (1 + U | G) + (1 + U | H) + (1 + U | I)"
    res = lme.lmer(formula, data("d3")).fit(reml=False)
    assert res.objective <= 884957.5539373319 + 1e-4
    np.testing.assert_allclose(res.params, [0.4991237, 0.3113077], rtol=1e-5)


def test_15_kb07_correlations_and_components():
    # S, T, U are speaker, precedent and load; G subjects, H items. The maximal model
    # is in test_search.py.
    formula = "Y ~ 1 + S + T + U + (1 | G) + (1 + T | H)"
    res = lme.lmer(formula, data("kb07")).fit(reml=False)
    assert set(res.rePCA()) == {"G", "H"}
    items = next(c for c in res.VarCorr().components if c.group == "H")
    assert abs(items.corr[1, 0]) == pytest.approx(0.70, abs=0.02)


def test_16_two_diagonal_blocks():
    oxide = frame(references()["oxide"])
    res = lme.lmer("Thickness ~ 1 + (1 | Lot/Wafer)", oxide).fit(reml=False)
    np.testing.assert_allclose(res.theta, [1.6892072, 2.9850007], atol=1e-4)
    # MixedModels.jl calls this one poorly defined: its optimizers disagree.
    poor = lme.lmer("Thickness ~ 1 + Source + (Source | Lot/Wafer)", oxide)
    with pytest.warns(lme.ConvergenceWarning, match="not identifiable"):
        ends = [poor.fit(reml=False, start=start) for start in (None, np.full(6, 0.5))]
    assert all(end.converged for end in ends)
    assert ends[0].objective == pytest.approx(ends[1].objective, abs=1e-8)


def test_17_known_sigma():
    rng = np.random.default_rng(1)
    n = 2000
    frame = pd.DataFrame({"y": rng.normal(0, np.sqrt(10.0), n), "z": np.arange(n)})
    res = lme.lmer("y ~ 0 + (1 | z)", frame, sigma=1).fit(reml=False)
    assert res.sigma == 1.0 and res.params.empty
    assert res.fit_record.pwrss / n == pytest.approx(1.0, abs=1e-5)
    assert res.theta.iloc[0] == pytest.approx(3.0, abs=0.15)
    assert lme.lmer("y ~ 0 + (1 | z)", frame, sigma=3.14).fit().sigma == 3.14


@pytest.mark.parametrize("start", [[0.0, 0.0, 0.0], [1e-6, 0, 1e-6], [0, 3, 0]])
def test_18_no_trap_at_a_false_zero(start):
    model = lme.lmer(SLEEP, data("sleepstudy"))
    best = model.fit().objective
    assert model.fit(start=start).objective == pytest.approx(best, abs=1e-6)


def test_19_start_far_off():
    model = lme.lmer(SLEEP, data("sleepstudy"))
    best = model.fit().objective
    res = model.fit(start=[1e8, 1e8, 1e8])
    # Not only within a tenth: at the optimum.
    assert res.objective == pytest.approx(best, abs=1e-6)


def test_20_constant_response():
    frame = data("sleepstudy").assign(Reaction=1.0)
    with pytest.raises(lme.LMEError, match=r"constant|exactly"):
        lme.lmer(SLEEP, frame).fit()
    cbpp = data("cbpp").assign(bad=0)
    with pytest.raises(lme.LMEError, match=r"constant|one value|same"):
        lme.glmer("bad ~ period + (1 | herd)", cbpp, family="bernoulli").fit()


@pytest.mark.parametrize("name", ["plain", "weighted"])
def test_21_ten_weighted_rows(name):
    ten = references()["ten"]
    rows, want = frame(ten["data"]), ten[name]
    weights = "w" if name == "weighted" else None
    res = lme.lmer("a ~ b + (1 | c)", rows, weights=weights).fit(reml=False)
    np.testing.assert_allclose(res.theta, want["theta"], rtol=1e-5)
    np.testing.assert_allclose(res.params, want["beta"], rtol=1e-6)
    np.testing.assert_allclose(res.cov_params(), want["vcov"], rtol=1e-6)
    assert res.sigma == pytest.approx(want["sigma"], rel=1e-6)
    assert res.llf == pytest.approx(want["loglik"], abs=1e-8)


def test_21_a_weight_is_a_precision_up_to_a_factor():
    sleep = data("sleepstudy")
    w = np.random.default_rng(0).uniform(0.5, 2.0, len(sleep))
    one = lme.lmer(SLEEP, sleep, weights=w).fit(reml=False)
    five = lme.lmer(SLEEP, sleep, weights=5 * w).fit(reml=False)
    assert five.objective == pytest.approx(one.objective, abs=1e-8)
    assert five.sigma == pytest.approx(np.sqrt(5) * one.sigma, rel=1e-6)
    np.testing.assert_allclose(five.theta * np.sqrt(5), one.theta, rtol=1e-4)
    np.testing.assert_allclose(five.bse, one.bse, rtol=1e-6)


@pytest.mark.parametrize("name", ["fixed", "ident", "power", "exp"])
def test_22_weights_are_the_variance_functions_of_nlme(name):
    # Within 1e-2 in the test suite of lme4; the optimum is one and the same.
    orthodont = references()["orthodont"]
    want = orthodont["functions"][name]
    res = lme.lmer(
        "distance ~ age + Sex + (1 | Subject)",
        frame(orthodont["data"]),
        weights=np.array(want["weights"]),
    ).fit()
    assert res.llf == pytest.approx(want["loglik"], abs=1e-6)
    np.testing.assert_allclose(res.params, want["beta"], rtol=1e-5)
    np.testing.assert_allclose(res.cov_params(), want["vcov"], rtol=1e-3, atol=1e-9)
    assert res.sigma == pytest.approx(want["sigma"], rel=1e-4)
    sd = res.VarCorr().to_frame()["sdcor"].iloc[0]
    assert sd == pytest.approx(want["sd"], rel=1e-4)


def test_22_default_weights_are_ones():
    sleep = data("sleepstudy")
    plain = lme.lmer(SLEEP, sleep).fit()
    ones = lme.lmer(SLEEP, sleep, weights=np.ones(len(sleep))).fit()
    assert plain.objective == pytest.approx(ones.objective, abs=1e-9)
    np.testing.assert_allclose(ones.bse, plain.bse, rtol=1e-10)


def test_23_offsets_shift():
    sleep = data("sleepstudy")
    plain = lme.lmer(SLEEP, sleep).fit()
    level = lme.lmer(SLEEP, sleep, offset=np.full(len(sleep), 10.0)).fit()
    assert plain.params.iloc[0] - level.params.iloc[0] == pytest.approx(10.0)
    slope = lme.lmer("Reaction ~ Days + offset(3*Days) + (Days | Subject)", sleep).fit()
    assert plain.params.iloc[1] - slope.params.iloc[1] == pytest.approx(3.0)
    assert slope.objective == pytest.approx(plain.objective, abs=1e-8)


def test_24_a_search_cut_short_is_usable_and_says_so():
    model = lme.lmer(SLEEP, data("sleepstudy"))
    with pytest.warns(lme.ConvergenceWarning, match="cut short"):
        res = model.fit(control={"max_evaluations": 2})
    assert not res.converged and np.isfinite(res.bse).all()
    assert "evaluations" in res.convergence.message
    assert "Not converged" in str(res.summary())


def test_25_a_stored_fit_is_checked_on_restoring(tmp_path):
    sleep = data("sleepstudy")
    res = lme.lmer(SLEEP, sleep).fit()
    path = tmp_path / "fit.json"
    res.save_fit(path)
    again = lme.restore_fit(path, sleep)
    assert again.objective == pytest.approx(res.objective, abs=1e-9)
    stored = json.loads(path.read_text())

    stored["estimates"]["objective"] += 1.0
    path.write_text(json.dumps(stored))
    with pytest.raises(lme.LMEError, match="objective"):
        lme.restore_fit(path, sleep)
