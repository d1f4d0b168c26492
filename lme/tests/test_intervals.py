"""`confint` and `profile` of results: names, tables, options, errors."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import trapezoid

import lme
from lme.covariance import STRUCTURES
from lme.inference.components import variance_components
from lme.inference.profile.parameters import parameters
from lme.tests.test_profiling import fitted, structured

SLEEP = [
    "sd_(Intercept)|Subject",
    "sd_Days|Subject",
    "cor_Days.(Intercept)|Subject",
    "sigma",
    "(Intercept)",
    "Days",
]


def names(result):
    return [each.name for each in parameters(result.fit_record)]


# --- names ------------------------------------------------------------------------


def test_names_and_old_names():
    known = parameters(fitted("sleep_full").fit_record)
    assert [each.name for each in known] == SLEEP
    old = [".sig01", ".sig03", ".sig02", ".sigma", "(Intercept)", "Days"]
    assert [each.old for each in known] == old
    assert names(fitted("machines"))[:6] == [
        "sd_(Intercept)|Worker",
        "sd_MachineB|Worker",
        "sd_MachineC|Worker",
        "cor_MachineB.(Intercept)|Worker",
        "cor_MachineC.(Intercept)|Worker",
        "cor_MachineC.MachineB|Worker",
    ]
    assert names(fitted("sleep_uncorr"))[:3] == [*SLEEP[:2], "sigma"]
    assert names(fitted("cbpp"))[:2] == ["sd_(Intercept)|herd", "(Intercept)"]


@pytest.mark.parametrize("name", STRUCTURES)
def test_names_are_in_the_order_of_the_values(name):
    """For every structure: E.6 #78."""
    result = structured(name)
    profile = result.profile("theta_", reach=1.0)
    found = dict(zip(profile.names, profile.estimates, strict=True))
    ml = structured(name, reml=False)
    part = variance_components(ml.fit_record).components[0]
    columns = ["t0", "t1", "t2"]
    shared = {"sd|g": part.sd[0], "cor|g": part.corr[1, 0]}
    shared |= {"cor.1|g": part.corr[1, 0], "cor.2|g": part.corr[2, 0]}
    for i, column in enumerate(columns):
        shared[f"sd_{column}|g"] = part.sd[i]
        for j in range(i):
            shared[f"cor_{column}.{columns[j]}|g"] = part.corr[i, j]
    shared |= {"sigma": ml.sigma, "(Intercept)": ml.params["(Intercept)"]}
    for each, value in found.items():
        assert value == pytest.approx(shared[each], rel=1e-4), each
    count = STRUCTURES[name].size(3)
    assert len(found) == count + 2
    assert len(set(found)) == len(found)
    for curve in profile.values():
        index = profile.names.index(curve.name)
        assert_allclose(curve.others[:, index], curve.values, rtol=1e-9)
        assert curve.values[0] < curve.estimate < curve.values[-1]


def test_names_stay_unique():
    frame = lme.datasets.load("sleepstudy").rename(columns={"Days": "sigma"})
    frame["other"] = frame["Subject"]
    result = lme.lmer("Reaction ~ sigma + (1 | Subject)", frame).fit()
    assert names(result) == [SLEEP[0], ".sigma", "(Intercept)", "sigma"]
    rows = result.confint(method="wald", parm=["sigma", ".sigma"])
    assert rows["2.5 %"].notna().tolist() == [True, False]
    twice = lme.lmer("Reaction ~ 1 + (1 | Subject) + (0 + sigma | Subject)", frame)
    assert len(set(names(twice.fit()))) == 4


# --- confint ----------------------------------------------------------------------


def test_confint_of_the_sleep_study():
    result = fitted("sleep_full")
    found = result.confint()
    assert list(found.index) == SLEEP
    assert list(found.columns) == ["2.5 %", "97.5 %"]
    # lme4's man/confint.merMod.Rd.
    wanted = [
        [14.38142, 37.71600],
        [3.80116, 8.75338],
        [-0.48150, 0.68499],
        [22.89827, 28.85800],
        [237.68070, 265.12951],
        [7.35865, 13.57592],
    ]
    assert_allclose(found, wanted, rtol=1e-4)
    wide = result.confint(0.99, parm=["Days", ".sig01"])
    assert list(wide.index) == ["Days", SLEEP[0]]
    assert list(wide.columns) == ["0.5 %", "99.5 %"]
    assert_allclose(wide, [[6.21224, 14.72233], [11.6963, 43.92487]], rtol=2e-4)
    assert list(result.confint(parm="beta_").index) == SLEEP[4:]
    assert list(result.confint(parm="theta_", method="wald").index) == SLEEP[:4]


def test_wald():
    found = fitted("sleep_full").confint(method="Wald")
    assert found.iloc[:4].isna().all(axis=None)
    assert_allclose(
        found.iloc[4:], [[238.02914, 264.78107], [7.43759, 13.49698]], rtol=1e-5
    )
    # features.md E.6 #76.
    plain = fitted("sleep_int").confint(method="wald", parm="beta_")
    wanted = [[232.301892, 270.508318], [8.891041, 12.043531]]
    assert_allclose(plain, wanted, rtol=1e-6)
    assert list(plain.index) == ["(Intercept)", "Days"]


def test_wald_of_variances_is_that_of_nlme_for_one_variance():
    """nlme::intervals(lme(Reaction ~ Days, random = ~ 1 | Subject, sleepstudy))."""
    found = fitted("sleep_int").confint(method="wald", variances=True, parm="theta_")
    wanted = [[25.90982, 53.19137], [27.78454, 34.56802]]
    # nlme's Hessian is a difference of values.
    assert_allclose(found, wanted, rtol=2e-3)
    limits = fitted("cbpp").confint(method="wald", variances=True).iloc[0]
    estimate = fitted("cbpp").VarCorr().to_frame()["sdcor"][0]
    assert np.sqrt(limits.prod()) == pytest.approx(estimate, rel=1e-6)
    singular = lme.lmer("Yield ~ 1 + (1 | Batch)", lme.datasets.load("Dyestuff2"))
    rows = singular.fit().confint(method="wald", variances=True)
    assert rows.iloc[0].isna().all()
    assert rows.iloc[1].notna().all()


def test_boot():
    result = fitted("dyestuff")
    options = {"method": "boot", "n": 50, "seed": 1, "progress": False}
    found = result.confint(0.9, **options)
    assert list(found.index) == names(result)
    assert list(found.columns) == ["5 %", "95 %"]
    replicates = result.bootstrap(50, seed=1, progress=False)
    assert_allclose(found, replicates.confint(level=0.9))
    basic = result.confint(0.9, kind="basic", parm=".sigma", **options)
    assert_allclose(basic, replicates.confint("basic", 0.9, "sigma"))
    for wrong in ({"nsim": 50}, {"kind": "bca"}):
        with pytest.raises(lme.LMEError, match=next(iter(wrong))):
            result.confint(method="boot", **wrong)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"parm": "Dayz"}, ["'Dayz'", "'Days'", "sd_Days|Subject", "theta_"]),
        ({"parm": ["Days", 3]}, ["3", "by name"]),
        ({"parm": 3}, ["3", "by name"]),
        ({"parm": []}, ["names no parameter"]),
        ({"level": 95}, ["95", "between 0 and 1"]),
        ({"level": "a"}, ["'a'"]),
        ({"level": True}, ["True"]),
        ({"method": "profil"}, ["'profil'", "'wald'", "'profile'"]),
        ({"method": None}, ["None"]),
        ({"n": 10}, ["'n'", "boot"]),
        ({"variances": True}, ["variances", "profile"]),
    ],
)
def test_wrong_options_of_confint(call, words):
    with pytest.raises(lme.errors.OptionError) as caught:
        fitted("sleep_full").confint(**call)
    for word in words:
        assert word in str(caught.value)


def test_no_profile_without_a_likelihood_or_data():
    model = lme.glmer(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        lme.datasets.load("cbpp"),
        family="binomial",
    )
    fast = model.fit(nAGQ=0)
    with pytest.raises(lme.errors.FitError, match="nAGQ=0"):
        fast.confint()
    assert fast.confint(method="wald").notna().sum().sum() == 8
    light = lme.lmer("Yield ~ 1 + (1 | Batch)", lme.datasets.load("Dyestuff")).fit()
    light.remove_data()
    for method in (light.confint, light.profile):
        with pytest.raises(lme.errors.FitError, match="remove_data"):
            method()


# --- profile ----------------------------------------------------------------------


def test_the_table_of_a_profile():
    result = fitted("sleep_full")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile = result.profile()
    frame = profile.to_frame()
    assert list(frame.columns) == [".zeta", *SLEEP, ".par"]
    assert list(frame[".par"].unique()) == SLEEP
    assert list(profile) == SLEEP
    assert len(profile) == 6
    assert "Days" in profile
    assert profile[".sig02"].name == SLEEP[2]
    for name, part in frame.groupby(".par"):
        assert (part[".zeta"].diff().dropna() > 0).all()
        assert (part[name].diff().dropna() > 0).all()
        at_zero = part[part[".zeta"] == 0.0].iloc[0]
        assert_allclose(at_zero[SLEEP].astype(float), profile.estimates, rtol=1e-6)
        assert part[".zeta"].abs().max() >= profile.cutoff
    # The ML deviance, although the fit is by REML.
    assert profile.deviance == pytest.approx(1751.9393444632, abs=1e-7)
    text = repr(profile)
    assert "sd_Days|Subject" in text
    assert "97.5 %" in text
    again = pickle.loads(pickle.dumps(profile))
    assert_allclose(again.confint(), profile.confint())
    assert "<table" in profile._repr_html_()


def test_part_of_a_profile():
    result = fitted("sleep_full")
    profile = result.profile(["Days", ".sigma"])
    assert list(profile) == ["Days", "sigma"]
    assert list(profile.confint().index) == ["Days", "sigma"]
    assert list(profile.confint(parm="sigma").index) == ["sigma"]
    with pytest.raises(lme.errors.OptionError, match="no profile of 'sd_Days"):
        profile["sd_Days|Subject"]
    with pytest.raises(lme.errors.OptionError, match=r"no parameter '\.sig01'"):
        profile.confint(parm=".sig01")
    with pytest.raises(lme.errors.OptionError, match=r"level=0\.999"):
        profile.confint(0.999)
    assert profile.confint(0.99).shape == (2, 2)


def test_curves_for_figures():
    profile = fitted("sleep_full").profile()
    curve = profile["sd_Days|Subject"]
    values = np.linspace(3.5, 9.0, 7)
    assert_allclose(curve.value(curve.zeta_at(values)), values, rtol=1e-3)
    assert_allclose(curve.zeta_at(curve.values), curve.zeta, atol=1e-9)
    assert_allclose(curve.value(curve.zeta), curve.values, rtol=1e-9)
    assert np.isnan(curve.value(9.0))
    assert np.isnan(curve.zeta_at([0.1])).all()
    frame = curve.to_frame(points=400)
    mass = trapezoid(frame["density"], frame["value"])
    assert mass == pytest.approx(1.0, abs=0.01)
    trace = profile.trace("Days", "(Intercept)")
    assert list(trace.columns) == ["Days", "(Intercept)", "zeta_held", "zeta_other"]
    # Slopes and intercepts of a growth curve are negatively related.
    assert (np.diff(trace["(Intercept)"]) < 0).all()
    contours = profile.contours("Days", "(Intercept)", points=50)
    assert set(contours["level"]) == {0.5, 0.8, 0.9, 0.95, 0.99}
    assert contours.notna().all(axis=None)
    assert profile.contours("Days", "sigma", levels=[0.9999]).empty


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": 0},
        {"step": "a"},
        {"reach": -1.0},
        {"max_points": 1},
        {"max_points": 2.5},
        {"level": 1.0},
        {"exact": [95]},
        {"parm": "x"},
    ],
)
def test_wrong_options_of_profile(wrong):
    with pytest.raises(lme.errors.OptionError):
        fitted("sleep_full").profile(**wrong)


def test_a_profile_changes_nothing():
    result = fitted("sleep_full")
    before = result.objective, result.theta.copy(), result.confint(method="wald")
    result.profile("Days")
    assert result.objective == before[0]
    pd.testing.assert_series_equal(result.theta, before[1])
    pd.testing.assert_frame_equal(result.confint(method="wald"), before[2])
    # The kernel of the fit still answers for the estimates.
    assert result.deviance == pytest.approx(1752.0, abs=1.0)


def test_units_do_not_matter():
    frame = lme.datasets.load("sleepstudy")
    scaled = frame.assign(Reaction=frame["Reaction"] * 1e6, Days=frame["Days"] * 1e-4)
    found = lme.lmer("Reaction ~ Days + (Days | Subject)", scaled).fit().confint()
    plain = fitted("sleep_full").confint()
    factor = np.array([1e6, 1e10, 1.0, 1e6, 1e6, 1e10])
    assert_allclose(found.to_numpy() / factor[:, None], plain, rtol=1e-4)
    years = frame.assign(Days=frame["Days"] + 2000.0)
    shifted = lme.lmer("Reaction ~ Days + (Days | Subject)", years).fit()
    same = ["sd_Days|Subject", "sigma", "Days"]
    assert_allclose(shifted.confint(parm=same), plain.loc[same], rtol=1e-4)


def test_no_profile_with_a_residual_structure():
    frame = lme.datasets.load("Orthodont")
    model = lme.lmer("distance ~ age + (1 | Subject)", frame, residual="varIdent(Sex)")
    result = model.fit()
    with pytest.raises(lme.errors.FitError, match="residual structure"):
        result.confint()
    assert result.confint(method="wald", parm="age").notna().all(axis=None)
