"""The bootstrap: numbers of the book, reproducibility, kinds, records, bad input."""

import warnings

import numpy as np
import pandas as pd
import pytest

import lme
from lme.engine import batched
from lme.errors import (
    ConvergenceWarning,
    DataError,
    DataTypeError,
    FitError,
    GroupError,
    OptionError,
)
from lme.inference.bootstrap import resampling as module
from lme.inference.bootstrap.draws import Task, group_to_draw, reflated, run
from lme.inference.bootstrap.intervals import intervals, shortest_interval
from lme.inference.bootstrap.record import Bootstrap
from lme.inference.prediction.simulation import simulate_responses


@pytest.fixture(scope="module")
def sleep():
    frame = lme.datasets.load("sleepstudy")
    return lme.lmer("Reaction ~ Days + (Days | Subject)", frame).fit()


@pytest.fixture(scope="module")
def dyestuff():
    model = lme.lmer("Yield ~ 1 + (1 | Batch)", lme.datasets.load("Dyestuff"))
    return model.fit(reml=False)


@pytest.fixture(scope="module")
def cbpp():
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return lme.glmer(formula, lme.datasets.load("cbpp"), family="binomial").fit()


def quiet(result, *args, **options):
    return result.bootstrap(*args, progress=False, **options)


# --- numbers -------------------------------------------------------------------------


def test_embrace_uncertainty_chapter_1(dyestuff):
    """Means, shortest intervals and the singular share of 10,000 replicates.

    Embrace Uncertainty, section 1.5, with another generator: within Monte-Carlo error.
    """
    found = quiet(dyestuff, 10_000, seed=1234)
    assert len(found) == 10_000 and not found.failures
    beta = found.wide["(Intercept)"]
    assert beta.mean() == pytest.approx(1527.5, abs=4 * 17.7 / 100)
    assert beta.std() == pytest.approx(17.71, rel=0.03)
    assert 0.085 < found.singular_fraction < 0.11
    shortest = found.confint("shortest").to_numpy()
    wanted = [[0.0, 54.3062], [35.3499, 62.6078], [1493.65, 1563.5]]
    assert list(found.names) == ["sd_(Intercept)|Batch", "sigma", "(Intercept)"]
    assert shortest[0, 0] == 0.0
    # Where it lies has a large Monte-Carlo error, how wide it is a small one.
    assert np.abs(shortest - wanted).max() < 4.0
    assert np.abs(np.diff(shortest - wanted)).max() < 2.0


def test_replicates_are_refits_of_simulated_responses(sleep):
    found = quiet(sleep, 6, seed=11)
    Y = simulate_responses(sleep.fit_record, 6, 11)
    for i in (0, 5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            single = sleep.refit(Y[i])
        row = found.wide.loc[i]
        assert row["objective"] == pytest.approx(single.objective, abs=1e-7)
        assert row["Days"] == pytest.approx(single.params["Days"], abs=1e-8)
        assert row["sigma"] == pytest.approx(single.sigma, rel=1e-6)
        parts = single.VarCorr().to_frame()["sdcor"].to_numpy()
        assert np.allclose(row.iloc[:4].astype(float), parts, rtol=1e-5)
        assert np.allclose(found.theta[i], single.theta, atol=2e-6)


def test_standard_errors_are_recovered(sleep):
    found = quiet(sleep, 2000, seed=2).summary()
    # Monte-Carlo error of a standard deviation from 2,000 values: 1.6 percent.
    assert np.allclose(found["std_error"].iloc[-2:], sleep.bse, rtol=0.07)
    assert found["estimate"]["sigma"] == sleep.sigma
    assert (found["replicates"] > 1900).all()


# --- reproducible --------------------------------------------------------------------


def test_a_seed_gives_the_same_numbers(dyestuff):
    one, two = quiet(dyestuff, 40, seed=5), quiet(dyestuff, 40, seed=5)
    assert np.array_equal(one.values, two.values)
    assert not np.array_equal(one.values, quiet(dyestuff, 40, seed=6).values)
    generator = np.random.default_rng(1)
    first, second = (quiet(dyestuff, 5, seed=generator) for _ in range(2))
    assert first.seed != second.seed
    fresh = quiet(dyestuff, 5)
    again = quiet(dyestuff, 5, seed=fresh.seed_sequence)
    assert np.array_equal(fresh.values, again.values)


@pytest.mark.parametrize("kind", ["parametric", "semiparametric", "cases", "groups"])
def test_a_longer_run_begins_with_the_shorter(sleep, kind):
    long = quiet(sleep, 9, seed=3, kind=kind)
    short = quiet(sleep, 4, seed=3, kind=kind)
    assert np.allclose(long.values[:4], short.values, rtol=1e-6, atol=1e-8)
    on = quiet(sleep, 9, seed=3, kind=kind, resume=short)
    assert np.allclose(long.values, on.values, rtol=1e-6, atol=1e-8)
    assert np.array_equal(on.values[:4], short.values)
    assert len(quiet(sleep, 3, resume=on)) == 3


def test_any_number_of_workers_gives_the_same(cbpp, sleep):
    serial = quiet(cbpp, 6, seed=1, workers=1)
    assert np.array_equal(serial.values, quiet(cbpp, 6, seed=1, workers=2).values)
    serial = quiet(sleep, 1100, seed=1)
    assert np.array_equal(serial.values, quiet(sleep, 1100, seed=1, workers=2).values)


def test_jobs_are_cut_at_multiples():
    jobs = module._jobs(5, 100, 16, 64, 3)
    assert jobs[0][0] == 5 and jobs[-1][1] == 100
    assert all(cut % 16 == 0 for _, cut in jobs[:-1])
    assert [a for a, _ in jobs[1:]] == [b for _, b in jobs[:-1]]
    assert len(module._jobs(0, 10, 1, 64, 2)) == 5


def test_an_interrupt_keeps_what_is_done(sleep, monkeypatch):
    calls = []

    def interrupted(task: Task, first: int, stop: int, tick=None):
        calls.append(first)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(task, first, stop, tick)

    monkeypatch.setattr(module, "run", interrupted)
    with pytest.warns(ConvergenceWarning, match="interrupted after 64 of 100"):
        part = quiet(sleep, 100, seed=1, kind="groups")
    assert len(part) == 64
    calls.append(0)
    whole = quiet(sleep, 70, resume=part)  # kind and seed are those of the part
    assert len(whole) == 70 and whole.kind == "groups"
    calls[:] = [0]
    with pytest.raises(KeyboardInterrupt):
        quiet(sleep, 10, seed=1)


# --- kinds ---------------------------------------------------------------------------


def test_reflated_modes_have_the_estimated_covariance(sleep):
    fit = sleep.fit_record
    factor = fit.sigma * fit.lambdas[0]
    found = reflated(fit.b[0], factor)
    assert np.allclose(found.mean(axis=0), 0.0, atol=1e-10)
    assert np.allclose(found.T @ found / len(found), factor @ factor.T)
    flat = np.array([[3.0, 0.0], [1.0, 0.0]])
    found = reflated(fit.b[0], flat)
    assert np.allclose(found.T @ found / len(found), flat @ flat.T)


def test_semiparametric(sleep):
    found = quiet(sleep, 400, seed=1, kind="semiparametric").summary()
    assert np.allclose(found["std_error"].iloc[-2:], sleep.bse, rtol=0.2)
    assert found["mean"]["sigma"] == pytest.approx(sleep.sigma, rel=0.05)
    kept = quiet(sleep, 400, seed=1, kind="semiparametric", re_form="all").summary()
    # Without variation between subjects the coefficients vary much less.
    assert (kept["std_error"].iloc[-2:] < 0.7 * found["std_error"].iloc[-2:]).all()


def test_effects_that_are_kept(sleep):
    drawn, kept = (quiet(sleep, 200, seed=1, re_form=r) for r in ("none", "all"))
    assert kept.wide["Days"].std() < 0.7 * drawn.wide["Days"].std()
    some = quiet(sleep, 20, seed=1, re_form="~ (0 + Days | Subject)")
    assert some.re_form == "~ (0 + Days | Subject)"


def test_whole_groups(sleep):
    found = quiet(sleep, 200, seed=1, kind="groups")
    assert found.groups == "Subject"
    # The cluster bootstrap estimates the variance that a sandwich does.
    assert np.allclose(found.summary()["std_error"].iloc[-2:], sleep.bse, rtol=0.2)


def test_a_group_drawn_twice_is_two_groups(dyestuff):
    """Levels drawn with replacement: the mean of their means, each a level."""
    from lme.inference.bootstrap.draws import _samples, check_task

    task = check_task(dyestuff.fit_record, "groups", "none", None, 1)
    rows, codes = next(_samples(task, 0, 1))
    assert np.unique(codes["Batch"]).size == 6 and rows.size == 30
    drawn = dyestuff.fit_record.design.terms[0].codes[rows]
    assert np.unique(drawn).size < 6
    found = quiet(dyestuff, 1, seed=1, kind="groups")
    mean = dyestuff.fit_record.design.y[rows].mean()
    assert found.values[0, -1] == pytest.approx(mean)


def test_nested_levels_are_drawn_with_their_group():
    model = lme.lmer("strength ~ 1 + (1 | batch / cask)", lme.datasets.load("Pastes"))
    result = model.fit()
    assert group_to_draw(result.fit_record.design) == "batch"
    found = quiet(result, 5, seed=2, kind="groups")
    assert found.groups == "batch" and np.isfinite(found.values[:, -1]).all()
    other = quiet(result, 5, seed=2, kind="groups", groups="cask:batch")
    assert other.groups == "cask:batch"


def test_rows(sleep):
    found = quiet(sleep, 50, seed=1, kind="cases")
    assert found.summary()["mean"]["Days"] == pytest.approx(10.47, abs=1.0)


def test_generalized(cbpp):
    found = quiet(cbpp, 10, seed=1, workers=1)
    assert found.names[0] == "sd_(Intercept)|herd" and "sigma" not in found.names
    assert not found.failures
    Y = simulate_responses(cbpp.fit_record, 10, 1)
    trials = cbpp.model.design.trials
    counts = np.column_stack([Y[3] * trials, trials - Y[3] * trials])
    single = cbpp.refit(counts)
    assert np.allclose(found.values[3, 1:], single.params, atol=1e-4)
    assert found.objective[3] == pytest.approx(single.objective, abs=1e-6)
    groups = quiet(cbpp, 3, seed=1, kind="groups", workers=1)
    assert np.isfinite(groups.values).all()


def test_dispersion_and_theta_have_columns():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(12), 8)
    frame = pd.DataFrame({"g": g, "x": rng.normal(size=96)})
    mean = np.exp(0.5 * frame["x"] + rng.normal(size=12)[g] * 0.5 + 1.0)
    frame["y"] = rng.gamma(5.0, mean / 5.0)
    model = lme.glmer("y ~ x + (1 | g)", frame, family="gamma", link="log")
    result = model.fit()
    found = quiet(result, 3, seed=1, workers=1)
    assert found.names[1] == "sigma"
    assert found.estimates[1] == pytest.approx(np.sqrt(result.dispersion))
    assert np.isfinite(found.values).all()


def test_dropped_columns_are_nan():
    frame = lme.datasets.load("sleepstudy")
    frame["twice"] = 2 * frame["Days"]
    with pytest.warns(lme.errors.RankWarning):
        result = lme.lmer("Reaction ~ Days + twice + (1 | Subject)", frame).fit()
    found = quiet(result, 300, seed=1)
    assert found.dropped == ("twice",) and found.wide["twice"].isna().all()
    long = found.frame
    assert long.loc[long["names"] == "twice", "value"].isna().all()
    limits = found.confint(parm="beta_")
    assert list(limits.index) == ["(Intercept)", "Days"]
    assert limits.mean(axis=1)["Days"] == pytest.approx(result.params["Days"], abs=0.2)


# --- the record ----------------------------------------------------------------------


def test_frames(sleep):
    found = quiet(sleep, 7, seed=1)
    long = found.frame
    assert list(long) == ["iter", "type", "group", "names", "value"]
    assert len(long) == 7 * 6 and long["iter"].iloc[-1] == 6
    first = long.iloc[:6]
    assert list(first["type"]) == ["beta"] * 2 + ["sigma", "sigma", "rho", "sigma"]
    assert list(first["group"][2:]) == ["Subject"] * 3 + ["residual"]
    assert first["names"].iloc[4] == "Days, (Intercept)"
    assert np.isnan(first["names"].iloc[5])
    assert first["value"].iloc[1] == found.wide["Days"][0]
    assert found.wide.shape == (7, 6 + 3 + 3)
    assert "7 parametric replicates" in repr(found)


def test_intervals_by_hand(sleep):
    found = quiet(sleep, 399, seed=1)
    values = np.sort(found.wide["Days"])
    limits = {k: found.confint(k).loc["Days"] for k in module_kinds()}
    low, high = values[9], values[389]
    estimate = sleep.params["Days"]
    assert limits["percentile"].tolist() == pytest.approx([low, high])
    basic = [2 * estimate - high, 2 * estimate - low]
    assert limits["basic"].tolist() == pytest.approx(basic)
    center = 2 * estimate - values.mean()
    half = 1.959964 * values.std(ddof=1)
    assert limits["normal"].tolist() == pytest.approx([center - half, center + half])
    assert limits["shortest"].tolist() == list(shortest_interval(values))
    frame = found.confint(level=0.9, parm=["sigma", ".sig03"])
    assert list(frame.columns) == ["5 %", "95 %"]
    assert list(frame.index) == ["sigma", "sd_Days|Subject"]


def module_kinds():
    return ("percentile", "basic", "normal", "shortest")


def test_names_of_the_intervals(sleep):
    frame = quiet(sleep, 20, seed=1).confint()
    assert list(frame.columns) == ["2.5 %", "97.5 %"]
    assert list(frame.index) == [
        "sd_(Intercept)|Subject",
        "sd_Days|Subject",
        "cor_Days.(Intercept)|Subject",
        "sigma",
        "(Intercept)",
        "Days",
    ]


def test_shortest_interval():
    values = np.random.default_rng(0).permutation(np.arange(1, 101))
    assert shortest_interval(values, 0.95) == (1.0, 95.0)
    skewed = [0.0, 0.0, 0.0, 1.0, 5.0, np.nan]
    assert shortest_interval(skewed, 0.6) == (0.0, 0.0)
    assert shortest_interval([3.0]) == (3.0, 3.0)
    with pytest.raises(DataError):
        shortest_interval([np.nan])
    with pytest.raises(OptionError):
        shortest_interval(values, 95)


def test_missing_replicates_are_left_out():
    values = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, 4.0], [3.0, np.nan]])
    found = intervals(values, np.array([2.0, 4.0]), "percentile", 0.5)
    assert found[0].tolist() == [1.0, 3.0] and np.isnan(found[1]).all()


def test_saved_and_read_again(sleep, tmp_path):
    found = quiet(sleep, 30, seed=1)
    found.save(tmp_path / "boot.npz")
    again = Bootstrap.load(tmp_path / "boot.npz")
    assert np.array_equal(again.values, found.values, equal_nan=True)
    pd.testing.assert_frame_equal(again.confint(), found.confint())
    pd.testing.assert_frame_equal(again.frame, found.frame)
    assert again.seed == found.seed and again.parameters == found.parameters
    longer = quiet(sleep, 35, resume=again)
    assert len(longer) == 35
    found.save(tmp_path / "half.npz", dtype="float32")
    half = Bootstrap.load(tmp_path / "half.npz")
    assert np.allclose(half.values, found.values, rtol=1e-6)
    with pytest.raises(OptionError):
        found.save(tmp_path / "x.npz", dtype="int")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(DataError, match="not a record"):
        Bootstrap.load(tmp_path / "other.npz")
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(DataError):
        Bootstrap.load(tmp_path / "text.npz")


def test_put_together(dyestuff):
    one, two = quiet(dyestuff, 10, seed=1), quiet(dyestuff, 5, seed=2)
    both = one + two
    assert len(both) == 15 and np.array_equal(both.values[10:], two.values)
    assert len(both.take(both.singular)) == both.singular.sum()
    with pytest.raises(OptionError, match="same seed"):
        one + one
    with pytest.raises(OptionError, match="different models"):
        one + quiet(dyestuff, 5, seed=2, kind="groups")
    with pytest.raises(OptionError, match="several runs"):
        quiet(dyestuff, 20, resume=both)
    with pytest.raises(TypeError):
        one + 1


def test_failures_are_counted(sleep, monkeypatch):
    def spoiled(task, first, stop, tick=None):
        found = run(task, first, stop, tick)
        found.reason[:2] = batched.FAILED
        return found

    monkeypatch.setattr(module, "run", spoiled)
    with pytest.warns(ConvergenceWarning, match=r"2 of 10 refits failed: .*\(2\)"):
        found = quiet(sleep, 10, seed=1)
    assert found.failures == {"the refit failed": 2}
    assert np.isnan(found.values[:2]).all() and not found.singular[:2].any()
    assert found.confint().notna().all().all()
    assert "2 failed" in repr(found)


# --- matrices of responses -----------------------------------------------------------


def test_refit_to_a_matrix(sleep):
    frame = sleep.simulate(5, seed=3)
    fits = sleep.refit(frame)
    assert len(fits) == 5 and list(fits.params.index) == list(frame.columns)
    assert fits.converged.all() and "5 fits" in repr(fits)
    single = fits[2]
    assert np.allclose(fits.params.iloc[2], single.params, atol=1e-6)
    assert np.allclose(fits.theta.iloc[2], single.theta, atol=1e-5)
    assert fits.llf.iloc[2] == pytest.approx(single.llf, abs=1e-7)
    assert fits.sigma.iloc[2] == pytest.approx(single.sigma, rel=1e-6)
    parts = single.VarCorr().to_frame()["sdcor"]
    assert np.allclose(fits.components.iloc[2], parts, rtol=1e-4)
    assert not fits.singular.iloc[2] and fits.reason.iloc[2] == "converged"
    assert [round(one.llf, 4) for one in fits][2] == round(single.llf, 4)
    wrong = frame.to_numpy().copy()
    wrong[0, 1] = np.nan
    fits = sleep.refit(wrong)
    assert fits.converged.tolist() == [True, False, True, True, True]
    assert fits.params.iloc[1].isna().all()


def test_refit_of_rows_that_were_dropped():
    frame = lme.datasets.load("sleepstudy")
    frame.loc[3, "Days"] = np.nan
    result = lme.lmer("Reaction ~ Days + (1 | Subject)", frame).fit()
    Y = np.column_stack([frame["Reaction"], 2 * frame["Reaction"]])
    fits = result.refit(Y)
    assert np.allclose(fits.params.iloc[1], 2 * result.params, rtol=1e-6)
    assert np.allclose(result.refit(Y[frame["Days"].notna()]).params, fits.params)
    with pytest.raises(DataError, match="Transpose it"):
        result.refit(Y[frame["Days"].notna()].T)
    with pytest.raises(DataTypeError):
        result.refit(np.full((180, 2), "a"))


def test_refit_of_generalized_responses(cbpp):
    frame = cbpp.simulate(2, seed=3)
    fits = cbpp.refit(frame)
    assert len(fits) == 2 and list(fits.params.index) == ["sim_1", "sim_2"]
    single = cbpp.refit(frame["sim_2"].to_numpy())
    assert np.allclose(fits.params.loc["sim_2"], single.params, atol=1e-4)
    assert (fits.sigma == 1.0).all()
    with pytest.raises(DataError):
        cbpp.refit(np.full((56, 3), -1.0))


# --- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"kind": "parametrc"}, OptionError, "Did you mean 'parametric'"),
        ({"n": 0}, OptionError, "whole number"),
        ({"n": 2.5}, OptionError, "whole number"),
        ({"seed": "a"}, DataTypeError, "seed"),
        ({"seed": -1}, OptionError, "negative"),
        ({"groups": "Subject"}, OptionError, "kind='groups'"),
        ({"kind": "groups", "groups": "Subjct"}, GroupError, "Did you mean"),
        ({"kind": "groups", "re_form": "all"}, OptionError, "no meaning"),
        ({"kind": "semiparametric", "re_form": "~1"}, OptionError, "'none'"),
        ({"re_form": "al"}, OptionError, "re_form"),
        ({"workers": 0}, OptionError, "workers"),
        ({"workers": 1.5}, OptionError, "workers"),
        ({"resume": 3}, OptionError, "of type int. Expected a Bootstrap"),
    ],
)
def test_bad_options(sleep, options, error, text):
    with pytest.raises(error, match=text):
        sleep.bootstrap(**{"n": 3, "progress": False, **options})


def test_bad_use(sleep, dyestuff, cbpp):
    other = quiet(dyestuff, 3, seed=1)
    with pytest.raises(OptionError, match="another model"):
        quiet(sleep, 5, seed=1, resume=other)
    with pytest.raises(OptionError, match="does not have"):
        quiet(cbpp, 3, kind="semiparametric")
    with pytest.raises(OptionError, match="Did you mean 'percentile'"):
        other.confint("percentil")
    with pytest.raises(OptionError, match="level"):
        other.confint(level=95)
    with pytest.raises(OptionError, match="no parameter"):
        other.confint(parm="sigm")
    penicillin = lme.datasets.load("Penicillin")
    crossed = lme.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", penicillin).fit()
    with pytest.raises(OptionError, match="crossed"):
        quiet(crossed, 3, kind="groups")
    assert len(quiet(crossed, 3, seed=1, kind="groups", groups="plate")) == 3


def test_without_data(sleep):
    light = lme.lmer(
        "Reaction ~ Days + (Days | Subject)", lme.datasets.load("sleepstudy")
    ).fit()
    light.remove_data()
    with pytest.raises(FitError, match="needs the data"):
        light.bootstrap(3)
