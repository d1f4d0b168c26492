"""E.5, generalized models: scenarios 55 to 71."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lme
from lme.families import LINKS
from lme.tests.acceptance.reference import frame, references
from lme.tests.cases import data

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
SLEEP = "Reaction ~ Days + (Days | Subject)"


def cbpp(nAGQ=1, **options):
    return lme.glmer(CBPP, data("cbpp"), family="binomial", **options).fit(nAGQ=nAGQ)


def contraception():
    frame = data("Contraception")
    return frame.assign(use01=(frame["use"] == "Y").astype(float))


def test_55_cbpp():
    res = cbpp()
    beta = [-1.39854982537216, -0.992335519118859, -1.12867532780426]
    np.testing.assert_allclose(res.params, [*beta, -1.58030423764517], rtol=5e-4)
    assert res.theta.iloc[0] == pytest.approx(0.642226809144453, rel=6e-4)
    variance = res.VarCorr().to_frame()["vcov"].iloc[0]
    assert variance == pytest.approx(0.41245527438386, rel=1e-3)
    assert res.deviance == pytest.approx(73.47428, rel=1e-4)
    # lme4's 194.05267 is at its looser optimum: a lower one is right.
    assert (res.npar, res.aic) == (5, pytest.approx(194.0526746, abs=2e-3))
    assert res.aic <= 194.0526746


def test_56_three_forms_of_one_response():
    wide = data("cbpp")
    counts = cbpp()
    shares = wide.assign(share=wide["incidence"] / wide["size"])
    weighted = lme.glmer(
        "share ~ period + (1 | herd)", shares, family="binomial", weights="size"
    ).fit()
    rows = wide.loc[wide.index.repeat(wide["size"])].copy()
    each = np.concatenate([np.arange(n) for n in wide["size"]])
    rows["sick"] = (each < rows["incidence"]).astype(int)
    long = lme.glmer("sick ~ period + (1 | herd)", rows, family="bernoulli").fit()
    for other in (weighted, long):
        np.testing.assert_allclose(other.params, counts.params, rtol=1e-6)
        np.testing.assert_allclose(other.theta, counts.theta, rtol=1e-6)
    assert weighted.llf == pytest.approx(counts.llf, abs=1e-9)
    ways = stats.binom.logpmf(wide["incidence"], wide["size"], 0.5).sum()
    ways -= wide["size"].sum() * np.log(0.5)
    assert counts.llf - long.llf == pytest.approx(ways, abs=1e-7)


def test_57_success_and_failure_exchanged():
    there = cbpp()
    back = lme.glmer(
        "cbind(size - incidence, incidence) ~ period + (1 | herd)",
        data("cbpp"),
        family="binomial",
    ).fit()
    np.testing.assert_allclose(back.params, -there.params, rtol=1e-6)
    np.testing.assert_allclose(back.theta, there.theta, rtol=1e-6)
    assert back.llf == pytest.approx(there.llf, abs=1e-9)


def test_58_numbers_of_quadrature_nodes():
    assert cbpp(nAGQ=90).converged
    with pytest.raises(lme.OptionError, match="100"):
        cbpp(nAGQ=101)
    ticks = data("grouseticks")
    model = lme.glmer(
        "TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)", ticks, family="poisson"
    )
    with pytest.raises(lme.OptionError, match="single grouping factor"):
        model.fit(nAGQ=9)


def test_59_contraception_by_district_and_urban():
    model = lme.glmer(
        "use01 ~ 1 + age + I(age^2) + urban + livch + (1 | urban:district)",
        contraception(),
        family="bernoulli",
    )
    fast, laplace, nodes = (model.fit(nAGQ=n) for n in (0, 1, 7))
    assert fast.objective == pytest.approx(2361.657, abs=2e-3)
    assert fast.theta.iloc[0] == pytest.approx(0.57207, abs=1e-4)
    assert laplace.objective == pytest.approx(2361.5458, abs=1e-3)
    assert laplace.llf == pytest.approx(-1180.7729, abs=1e-3)
    assert nodes.objective == pytest.approx(2360.8761, abs=1e-3)


def test_60_verbagg():
    frame = data("VerbAgg")
    frame["r01"] = (frame["r2"] == "Y").astype(float)
    res = lme.glmer(
        "r01 ~ 1 + Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        frame,
        family="bernoulli",
    ).fit()
    assert res.objective == pytest.approx(8151.40, rel=1e-5)


def test_60_grouseticks():
    # MixedModels.jl leaves out the likelihood of the saturated model.
    frame = data("grouseticks")
    formula = "TICKS ~ YEAR + cHEIGHT + (1 | INDEX) + (1 | BROOD) + (1 | LOCATION)"
    res = lme.glmer(formula, frame, family="poisson").fit(nAGQ=0)
    y = frame["TICKS"].to_numpy()
    saturated = stats.poisson.logpmf(y, y).sum()
    assert res.objective + 2 * saturated == pytest.approx(851.4046, abs=1e-3)


def test_60_mmec():
    mmec = references()["mmec"]
    rows = frame(mmec["data"])
    model = lme.glmer(
        "deaths ~ uvb + offset(log(expected)) + (1 | region)", rows, family="poisson"
    )
    res = model.fit(nAGQ=11)
    assert res.theta.iloc[0] == pytest.approx(0.41217, abs=1e-5)
    np.testing.assert_allclose(res.params, [-0.13860, -0.034414], atol=1e-5)
    np.testing.assert_allclose(res.params, mmec["fit"]["beta"], rtol=1e-5)
    y = rows["deaths"].to_numpy()
    saturated = stats.poisson.logpmf(y, y).sum()
    assert res.objective + 2 * saturated == pytest.approx(655.25335, abs=1e-4)


def test_61_an_effect_for_each_row():
    ticks = data("grouseticks")
    assert lme.glmer("TICKS ~ (1 | INDEX)", ticks, family="poisson").fit().converged
    frame = data("cbpp").assign(row=np.arange(56))
    formula = "cbind(incidence, size - incidence) ~ period + (1 | row)"
    assert lme.glmer(formula, frame, family="binomial").fit().converged
    sleep = data("sleepstudy").assign(row=np.arange(180))
    with pytest.raises(lme.DesignError, match="180 levels for 180"):
        lme.lmer("Reaction ~ Days + (1 | row)", sleep)


@pytest.fixture
def separated():
    rng = np.random.default_rng(101)
    frame = pd.DataFrame({"y": rng.integers(0, 2, 1000), "x": rng.random(1000)})
    frame["f"] = np.repeat(np.arange(20), 50)
    frame["x2"] = (np.arange(1000) == 999).astype(int)
    frame.loc[999, "y"] = 0
    return frame


@pytest.mark.parametrize("link, bound", [("logit", -10.0), ("probit", -4.0)])
def test_62_complete_separation_is_said(separated, link, bound):
    model = lme.glmer("y ~ x + x2 + (1 | f)", separated, family="binomial", link=link)
    with pytest.warns(lme.ConvergenceWarning, match="separation"):
        res = model.fit()
    assert res.params["x2"] < bound
    same = lme.glmer(
        "y ~ x + (1 | f)", separated.iloc[:999], family="binomial", link=link
    ).fit()
    np.testing.assert_allclose(res.params[:2], same.params, atol=1e-3)


@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_63_responses_that_are_not_numbers(family):
    sleep = data("sleepstudy")
    text = sleep.assign(Reaction=sleep["Reaction"].astype(str))
    with pytest.raises(lme.LMEError, match="Reaction"):
        lme.glmer("Reaction ~ (1 | Days)", text, family=family).fit()


def test_63_truth_values_and_two_levels():
    sleep = data("sleepstudy")
    sleep["rr"] = np.arange(180) % 2 == 0
    truth = lme.glmer("rr ~ (1 | Days)", sleep, family="binomial").fit()
    sleep["two"] = np.where(sleep["rr"], "yes", "no")
    levels = lme.glmer("two ~ (1 | Days)", sleep, family="binomial").fit()
    # The first level is failure, as in R.
    assert levels.llf == pytest.approx(truth.llf, abs=1e-10)
    # R takes three levels for the first against the rest; here they are refused.
    sleep["three"] = np.array(["a", "b", "c"])[np.arange(180) % 3]
    with pytest.raises(lme.LMEError, match="three"):
        lme.glmer("three ~ (1 | Days)", sleep, family="binomial").fit()


def test_63_a_log_link_finds_its_own_starts():
    # lme4 stops: "cannot find valid starting values". One mean for all rows is valid
    # for any response with a positive mean.
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"x": rng.normal(2.0, 1.0, 100), "g": np.arange(100) % 5})
    res = lme.glmer("x ~ 1 + (1 | g)", frame, family="gaussian", link="log").fit()
    assert res.converged and np.exp(res.params.iloc[0]) == pytest.approx(2.0, abs=0.3)


def test_64_unknown_arguments_and_gaussian_families():
    with pytest.raises(lme.LMEError, match="REML"):
        lme.glmer(CBPP, data("cbpp"), family="binomial", REML=True)
    with pytest.raises(lme.OptionError, match="family"):
        lme.glmer(SLEEP, data("sleepstudy"))
    # lme4 goes on by REML; glmer is maximum likelihood here for every family.
    want = lme.lmer(SLEEP, data("sleepstudy"), REML=False).fit()
    with pytest.warns(lme.FormulaWarning, match="REML=False"):
        model = lme.glmer(SLEEP, data("sleepstudy"), family="gaussian")
    assert model.fit().objective == want.objective


def test_65_another_link_by_update():
    probit = cbpp().update(link="probit")
    assert probit.family.link.name == "probit"
    again = cbpp(link="probit")
    assert probit.objective == pytest.approx(again.objective, abs=1e-8)


@pytest.mark.parametrize(
    "name, inverse",
    [
        ("logit", lambda eta: 1 / (1 + np.exp(-eta))),
        ("probit", stats.norm.cdf),
        ("cauchit", stats.cauchy.cdf),
        ("cloglog", lambda eta: -np.expm1(-np.exp(eta))),
        ("log", np.exp),
        ("sqrt", np.square),
        ("inverse", lambda eta: 1 / eta),
    ],
)
def test_65_links_in_closed_form(name, inverse):
    eta = np.array([0.05, 0.3, 1.0, 2.5])
    link = LINKS[name]
    np.testing.assert_allclose(link.mean(eta), inverse(eta), rtol=1e-12)
    np.testing.assert_allclose(link.link(link.mean(eta)), eta, rtol=1e-9)


def test_65_presence_and_absence():
    radinger = references()["radinger"]
    model = lme.glmer(
        "presabs ~ predictor + (1 | species)",
        frame(radinger["data"]),
        family="binomial",
    )
    with warnings.catch_warnings():
        # Some predictors are far out, with nothing separated.
        warnings.simplefilter("error")
        res = model.fit()
    np.testing.assert_allclose(res.params, [0.5425528, 6.4289962], rtol=1e-4)
    assert res.llf == pytest.approx(radinger["fit"]["loglik"], abs=1e-5)


def test_66_offsets():
    ticks = data("grouseticks").assign(expo=lambda d: 1.0 + d["cHEIGHT"] ** 2 / 1e4)
    inside = lme.glmer(
        "TICKS ~ YEAR + offset(log(expo)) + (1 | BROOD)", ticks, family="poisson"
    ).fit()
    beside = lme.glmer(
        "TICKS ~ YEAR + (1 | BROOD)",
        ticks,
        family="poisson",
        offset=np.log(ticks["expo"]),
    ).fit()
    assert beside.llf == pytest.approx(inside.llf, abs=1e-9)
    np.testing.assert_allclose(beside.params, inside.params, rtol=1e-8)
    again = beside.refit(ticks["TICKS"])
    assert again.llf == pytest.approx(beside.llf, abs=1e-9)


def test_67_hessian_against_rx_standard_errors():
    control = np.r_[np.zeros(42), np.ones(8), np.zeros(18), np.ones(32)]
    treated = np.repeat([0.0, 1.0], 50)
    rows = pd.DataFrame(
        {
            "event": np.column_stack([treated, control]).ravel(),
            "group": np.tile([1.0, 0.0], 100),
            "id": np.repeat(np.arange(100), 2),
        }
    )
    res = lme.glmer("event ~ group + (1 | id)", rows, family="binomial").fit(nAGQ=21)
    np.testing.assert_allclose(res.bse, [0.42542855, 0.42492581], rtol=1e-4)
    rx = np.sqrt(np.diag(res.cov_params(cov_type="rx")))
    np.testing.assert_allclose(rx, [0.3840921, 0.3768747], rtol=1e-4)


@pytest.mark.parametrize(
    "start",
    [
        1.0,
        {"theta": 1.0},
        {"beta": [-1.0, -1.0, -1.0, -1.0]},
        {"fixef": [-1.0, -1.0, -1.0, -1.0], "theta": [0.5]},
    ],
)
def test_68_starts(start):
    model = lme.glmer(CBPP, data("cbpp"), family="binomial")
    assert model.fit(start=start).objective == pytest.approx(184.05265, abs=1e-4)


def test_68_impossible_starts():
    model = lme.glmer(CBPP, data("cbpp"), family="binomial")
    with pytest.raises(lme.OptionError, match="theta"):
        model.fit(start={"Theta": 1.0})
    with pytest.raises(lme.OptionError, match="finite"):
        model.fit(start="a")


def test_69_bad_coefficients_to_start_with():
    model = lme.glmer(CBPP, data("cbpp"), family="binomial")
    res = model.fit(start={"beta": [1e3, -1e3, 50.0, 0.0]})
    assert res.objective == pytest.approx(184.05265, abs=1e-4)


def test_69_an_epidemic_where_lme4_needs_starts():
    # PIRLS of lme4 fails here from its own starts.
    rows = frame(references()["epidemic"])
    rows["R0"] = rows["R0"].astype(str).astype("category")
    rows["share"] = rows["Inew"] / rows["S"]
    res = lme.glmer(
        "share ~ R0 - 1 + offset(log(I/N)) + (1 | R0:trial)",
        rows,
        family="binomial",
        link="cloglog",
        weights="S",
    ).fit()
    want = [1.2735051, 2.0330635, 2.9764088]
    np.testing.assert_allclose(np.exp(res.params), want, rtol=1e-4)


def test_70_a_deviance_residual_of_a_perfect_fit_is_zero():
    family = lme.families.Binomial()
    y, trials = np.array([1.0, 2, 3, 4, 5]) / 100, np.full(5, 100.0)
    found = family.deviance_residuals(y, trials, np.full(5, 0.03))
    assert found[2] == 0.0 and np.isfinite(found).all()


@pytest.mark.parametrize("family", ["gamma", "inverse_gaussian", "negative_binomial"])
def test_71_families_with_a_dispersion_simulate(family):
    # lme4 refuses some by name; here each family can draw.
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(np.arange(15), 12)})
    mean = np.exp(0.5 + 0.4 * rng.normal(size=15))[frame["g"]]
    frame["y"] = rng.gamma(4.0, mean / 4.0)
    if family == "negative_binomial":
        frame["y"] = rng.poisson(frame["y"])
    res = lme.glmer("y ~ 1 + (1 | g)", frame, family=family, link="log").fit()
    draws = res.simulate(2, seed=1)
    assert draws.shape == (180, 2) and (draws.to_numpy() >= 0).all()
    assert np.isfinite(res.bootstrap(3, seed=1, progress=False).wide).all(axis=None)


def test_71_means_that_a_family_cannot_draw_are_named():
    # lme4: "simulation not implemented for family". Every family of ours has a
    # sampler; one that is given a mean outside its range says so.
    frame = data("grouseticks").assign(small=1.0)
    with pytest.raises(lme.LMEError, match="poisson"):
        lme.simulate(
            "~ small + (1 | BROOD)",
            frame,
            {"beta": [-9.0, 1.0], "theta": [0.1]},
            family="poisson",
            link="identity",
            seed=1,
        )
