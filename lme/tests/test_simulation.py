"""Simulated responses: their distribution, their form, and their reproducibility."""

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal

import lme
from lme.errors import DataError, DataTypeError, FormulaError, OptionError
from lme.inference.prediction import simulation, simulation_design
from lme.inference.prediction.simulation import blocks, draw_block, simulate_responses
from lme.inference.prediction.simulation_design import simulate

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def sleep():
    return lme.datasets.load("sleepstudy")


@pytest.fixture(scope="module")
def cbpp():
    return lme.datasets.load("cbpp")


@pytest.fixture(scope="module")
def res(sleep):
    return lme.lmer(SLEEP, sleep).fit()


@pytest.fixture(scope="module")
def counts(cbpp):
    return lme.glmer(CBPP, cbpp, family="binomial").fit()


# --- reproducible ---------------------------------------------------------------------


def test_blocks_do_not_depend_on_the_workers(res, counts):
    for fit in (res.fit_record, counts.fit_record):
        n = 2 * simulation.BLOCK + 5
        expected = simulate_responses(fit, n, 7)
        tasks = list(blocks(fit, n, 7))
        assert [count for _, count in tasks] == [128, 128, 5]
        # In any order, and by several workers.
        backwards = [draw_block(fit, *task) for task in tasks[::-1]][::-1]
        assert_array_equal(np.vstack(backwards), expected)
        workers = Parallel(n_jobs=2, prefer="threads")
        assert_array_equal(
            np.vstack(workers(delayed(draw_block)(fit, *task) for task in tasks)),
            expected,
        )


def test_replicates_do_not_depend_on_their_number(res, counts):
    for fit in (res.fit_record, counts.fit_record):
        many = simulate_responses(fit, 200, 3)
        assert_array_equal(simulate_responses(fit, 130, 3), many[:130])
        assert_array_equal(simulate_responses(fit, 1, 3), many[:1])
        assert not np.array_equal(many[0], many[128])


def test_blocks_of_many_rows_are_small(res, monkeypatch):
    monkeypatch.setattr(simulation, "_NUMBERS", 1000)
    assert [count for _, count in blocks(res.fit_record, 12, 1)] == [5, 5, 2]
    assert simulate_responses(res.fit_record, 12, 1).shape == (12, 180)


def test_seeds(res):
    fit = res.fit_record
    first = simulate_responses(fit, 2, 11)
    sequence = np.random.SeedSequence(11)
    assert_array_equal(simulate_responses(fit, 2, sequence), first)
    assert_array_equal(simulate_responses(fit, 2, sequence), first)
    generator = np.random.default_rng(11)
    one, two = (simulate_responses(fit, 2, generator) for _ in range(2))
    assert not np.array_equal(one, two)
    again = simulate_responses(fit, 2, np.random.default_rng(11))
    assert_array_equal(again, one)
    assert not np.array_equal(res.simulate(1), res.simulate(1))


# --- distribution ---------------------------------------------------------------------


def test_moments(res):
    fit = res.fit_record
    Y = simulate_responses(fit, 20_000, 1)
    Z = np.column_stack([np.ones(10), np.arange(10)])
    V = Z @ fit.lambdas[0] @ fit.lambdas[0].T @ Z.T + np.eye(10)
    V *= fit.sigma**2
    sd = np.sqrt(V.diagonal())
    assert_allclose(Y.mean(0), fit.X @ fit.beta, atol=4 * sd.max() / np.sqrt(20_000))
    # Standard errors of covariances are about 1% of the product of deviations.
    scale = np.outer(sd, sd)
    assert np.abs((np.cov(Y[:, :10].T) - V) / scale).max() < 0.04
    between = np.corrcoef(Y[:, 5], Y[:, 15])[0, 1]
    assert abs(between) < 0.03


def test_what_is_kept(res):
    fit = res.fit_record
    n = 4000
    own = simulate_responses(fit, n, 2, re_form="all")
    error = 4.5 * fit.sigma / np.sqrt(n)
    assert_allclose(own.mean(0), fit.mu, atol=error)
    assert_allclose(own.std(0), fit.sigma, rtol=0.06)
    part = simulate_responses(fit, n, 2, re_form="~ (1 | Subject)")
    kept = res.predict(re_form="~ (1 | Subject)")
    slopes = fit.sigma * np.linalg.norm(fit.lambdas[0][1])
    sd = np.sqrt(fit.sigma**2 + slopes**2 * fit.X[:, 1] ** 2)
    assert_allclose(part.mean(0), kept, atol=4.5 * sd.max() / np.sqrt(n))
    assert_allclose(part.std(0), sd, rtol=0.06)


def test_weights(sleep):
    weights = np.linspace(0.2, 5.0, 180)
    res = lme.lmer("Reaction ~ Days + (1 | Subject)", sleep, weights=weights).fit()
    Y = simulate_responses(res.fit_record, 4000, 1, re_form="all")
    assert_allclose(Y.std(0), res.sigma / np.sqrt(weights), rtol=0.06)
    # Neither weights nor offset of the fit are for new rows.
    shifted = lme.lmer(
        "Reaction ~ Days + (1 | Subject)", sleep, weights=weights, offset=weights
    ).fit()
    with pytest.raises(DataError, match="offset"):
        shifted.simulate(1, seed=1, newdata=sleep.head(3))
    few = shifted.simulate(
        4000, seed=1, newdata=sleep.head(3), offset=[0, 0, 1e3], re_form="all"
    )
    assert_allclose(few.std(axis=1), shifted.sigma, rtol=0.06)
    means = few.mean(axis=1) - shifted.predict(sleep.head(3), offset=[0, 0, 1e3])
    assert_allclose(means, 0.0, atol=4.5 * shifted.sigma / np.sqrt(4000))


def test_means_of_generalized_models(counts, cbpp):
    Y = simulate_responses(counts.fit_record, 4000, 1, re_form="all")
    sd = np.sqrt(counts.fit_record.mu * (1 - counts.fit_record.mu) / cbpp["size"])
    assert_allclose(Y.mean(0), counts.fit_record.mu, atol=5 * sd.max() / np.sqrt(4000))
    assert_allclose(Y.std(0), sd, rtol=0.1)
    # With new effects: the mean over the normal distribution, by quadrature.
    nodes, share = np.polynomial.hermite_e.hermegauss(30)
    eta = counts.fit_record.X[:1] @ counts.params.to_numpy()
    values = 1 / (1 + np.exp(-(eta + counts.fit_record.theta[0] * nodes)))
    expected = values @ share / share.sum()
    found = simulate_responses(counts.fit_record, 8000, 2)[:, 0].mean()
    assert abs(found - expected) < 4 * 0.17 / np.sqrt(8000)


# --- form -----------------------------------------------------------------------------


def test_frames(res, sleep):
    found = res.simulate(3, seed=1)
    assert found.columns.tolist() == ["sim_1", "sim_2", "sim_3"]
    assert found.index.equals(sleep.index)
    assert_array_equal(found.to_numpy().T, simulate_responses(res.fit_record, 3, 1))
    assert_allclose(res.refit(found["sim_2"]).nobs, 180)


def test_the_type_of_the_response(cbpp, counts):
    found = counts.simulate(2, seed=1)
    assert found.columns.tolist() == [
        *[("sim_1", "successes"), ("sim_1", "failures")],
        *[("sim_2", "successes"), ("sim_2", "failures")],
    ]
    assert (found["sim_1"].sum(axis=1) == cbpp["size"]).all()
    assert (found.dtypes == "int64").all()
    again = counts.refit(found["sim_1"])
    expected = found["sim_1"]["successes"] / cbpp["size"]
    assert_allclose(again.fit_record.design.y, expected, atol=1e-12)


def test_categories_bools_and_counts():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(15), 8)})
    yes = rng.random(120) < 0.6
    frame["word"] = np.where(yes, "yes", "no")
    frame["category"] = pd.Categorical(frame["word"], ["yes", "no"])
    frame["bool"], frame["number"] = yes, yes.astype(int)
    frame["share"] = rng.binomial(5, 0.4, 120) / 5
    frame["count"], frame["five"] = rng.poisson(3, 120), 5

    def simulated(name, family, **options):
        model = lme.glmer(f"{name} ~ 1 + (1 | g)", frame, family=family, **options)
        return model.fit(nAGQ=0).simulate(1, seed=2)["sim_1"]

    for name in ("word", "category"):
        found = simulated(name, "binomial")
        assert set(found.cat.categories) == {"yes", "no"}
        assert_array_equal(found.index, frame.index)
        assert 30 < (found == "yes").sum() < 110
    assert found.cat.categories.tolist() == ["yes", "no"]
    assert simulated("bool", "binomial").dtype == bool
    assert simulated("number", "bernoulli").dtype == "int64"
    assert simulated("number", "binomial").dtype == "int64"
    assert simulated("count", "poisson").dtype == "int64"
    assert simulated("count", "negative_binomial").dtype == "int64"
    share = simulated("share", "binomial", weights="five")
    assert share.dtype == float and np.allclose(share * 5, np.round(share * 5))


@pytest.mark.parametrize("family", ["gamma", "inverse_gaussian", "gaussian"])
def test_families_with_a_dispersion(family):
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(20), 10)
    mean = np.exp(1 + 0.3 * rng.standard_normal(20)[g])
    frame = pd.DataFrame({"g": g, "y": mean * rng.gamma(8.0, 1 / 8.0, 200)})
    res = lme.glmer("y ~ 1 + (1 | g)", frame, family=family, link="log").fit()
    found = simulate_responses(res.fit_record, 3000, 1, re_form="all")
    mu = res.fit_record.mu
    variance = res.dispersion * res.family.variance(mu)
    assert_allclose(found.mean(0), mu, atol=5 * np.sqrt(variance.max() / 3000))
    assert_allclose(np.mean(found.var(0) / variance), 1.0, rtol=0.05)


def test_rows_left_out(sleep):
    frame = sleep.astype({"Reaction": float})
    frame.loc[[0, 5], "Reaction"] = np.nan
    formula = "Reaction ~ Days + (1 | Subject)"
    omitted = lme.lmer(formula, frame).fit().simulate(2, seed=1)
    padded = lme.lmer(formula, frame, na_action="exclude").fit().simulate(2, seed=1)
    assert omitted.shape == (178, 2) and padded.shape == (180, 2)
    assert padded.isna().any(axis=1).sum() == 2
    assert_array_equal(padded.dropna(), omitted)


# --- new data -------------------------------------------------------------------------


@pytest.mark.parametrize("re_form", ["none", "all", "~ (1 | Subject)"])
def test_the_rows_of_the_fit_as_new_data(res, sleep, re_form):
    own = res.simulate(3, seed=5, re_form=re_form)
    new = res.simulate(3, seed=5, re_form=re_form, newdata=sleep)
    assert_allclose(new, own, rtol=1e-12)


def test_the_counts_of_the_fit_as_new_data(counts, cbpp):
    own = counts.simulate(2, seed=5)
    pd.testing.assert_frame_equal(counts.simulate(2, seed=5, newdata=cbpp), own)
    # Without counts there is one trial, unless weights say how many.
    bare = cbpp[["herd", "period"]]
    one = counts.simulate(1, seed=5, newdata=bare)["sim_1"]
    assert (one.sum(axis=1) == 1).all()
    part = cbpp.astype({"size": float})
    part.loc[0, "size"] = np.nan
    lost = counts.simulate(1, seed=5, newdata=part)["sim_1"]
    assert lost.isna().all(axis=1).tolist() == [True] + [False] * 55
    ten = counts.simulate(1, seed=5, newdata=bare, weights=np.full(56, 10))["sim_1"]
    assert (ten.sum(axis=1) == 10).all()


def test_new_groups(res, sleep):
    more = pd.concat([sleep, sleep.assign(Subject=sleep["Subject"].astype(str) + "b")])
    assert res.simulate(1, seed=1, newdata=more).shape == (360, 1)
    # Two rows of one new group, another new group, an old one.
    frame = pd.DataFrame({"Days": 0, "Subject": ["x", "x", "y", "308"]})
    Y = res.simulate(6000, seed=1, newdata=frame, re_form="all").to_numpy()
    fit = res.fit_record
    between = fit.sigma * fit.lambdas[0][0, 0]
    total = between**2 + fit.sigma**2
    V = np.diag([total, total, total, fit.sigma**2])
    V[0, 1] = V[1, 0] = between**2
    assert np.abs(np.cov(Y) - V).max() < 0.07 * total
    expected = [*[res.params.iloc[0]] * 3, fit.mu[0]]
    assert_allclose(Y.mean(1), expected, atol=4.5 * np.sqrt(total / 6000))
    # Conditional on the intercepts only, a new group has both effects.
    frame = pd.DataFrame({"Days": 5, "Subject": ["x", "308"]})
    Y = res.simulate(6000, seed=2, newdata=frame, re_form="~ (1 | Subject)").to_numpy()
    z = np.array([1.0, 5.0])
    Sigma = fit.sigma**2 * fit.lambdas[0] @ fit.lambdas[0].T
    new, old = z @ Sigma @ z, 25 * Sigma[1, 1]
    assert_allclose(Y.var(axis=1), fit.sigma**2 + np.array([new, old]), rtol=0.08)


def test_missing_values_in_new_data(res, sleep):
    frame = sleep.astype({"Days": float, "Subject": object})
    frame.loc[0, "Days"], frame.loc[[1, 2], "Subject"] = np.nan, None
    for re_form in ("none", "all"):
        found = res.simulate(500, seed=1, newdata=frame, re_form=re_form)
        assert np.flatnonzero(found.isna().any(axis=1)).tolist() == [0]
        # Rows without a level are groups of their own.
        assert abs(np.corrcoef(found.iloc[1], found.iloc[2])[0, 1]) < 0.2


def test_few_levels_and_the_state_of_the_fit(sleep):
    formula = "Reaction ~ poly(scale(Days), 2) + (1 | Subject)"
    res = lme.lmer(formula, sleep).fit()
    few = res.simulate(2000, seed=1, newdata=sleep.head(10), re_form="all")
    error = 4.5 * res.sigma / np.sqrt(2000)
    assert_allclose(few.mean(axis=1), res.predict().iloc[:10], atol=error)


# --- without a fit --------------------------------------------------------------------


def test_parameters_of_a_fit_give_its_responses(res, sleep, counts, cbpp):
    params = {"beta": res.params, "theta": res.theta, "sigma": res.sigma}
    found = simulate(SLEEP, sleep, params, n=3, seed=4)
    assert_allclose(found, res.simulate(3, seed=4), rtol=1e-12)
    params = {"beta": dict(counts.params)}
    params["theta"] = dict(counts.theta)
    found = simulate(CBPP, cbpp, params, "binomial", n=2, seed=4)
    pd.testing.assert_frame_equal(found, counts.simulate(2, seed=4))


def test_standard_deviations_and_correlations(sleep):
    params = {"beta": [250.0, 10.0], "sigma": 25.0}
    params |= {"sd": {"Subject": [30.0, 6.0]}, "cor": {"Subject": -0.5}}
    found = simulate("~ Days + (Days | Subject)", sleep, params, n=8000, seed=1)
    z = np.array([[1.0, 0.0], [1.0, 9.0]])
    Sigma = np.array([[900.0, -90.0], [-90.0, 36.0]])
    V = z @ Sigma @ z.T + 625 * np.eye(2)
    assert_allclose(np.cov(found.iloc[[0, 9]]), V, atol=0.06 * V.max())
    by_name = params | {"sd": {"Subject": {"Days": 6.0, "(Intercept)": 30.0}}}
    by_name["cor"] = {"Subject": [[1.0, -0.5], [-0.5, 1.0]]}
    again = simulate("~ Days + (Days | Subject)", sleep, by_name, n=2, seed=1)
    assert_allclose(again, found.iloc[:, :2], rtol=1e-12)
    crossed = lme.datasets.load("Penicillin")
    params = {"beta": [20.0], "sd": {"plate": 1.0, "sample": 2.0}, "sigma": 0.5}
    found = simulate("~ 1 + (1 | plate) + (1 | sample)", crossed, params, n=9, seed=1)
    assert found.shape == (144, 9)


def test_the_response_need_not_be_there(cbpp):
    params = {"beta": [-1.0, 0, 0, 0], "theta": [0.5]}
    bare = cbpp[["herd", "period"]].assign(n=4)
    one = simulate("y ~ period + (1 | herd)", bare, params, "binomial", seed=1)
    assert set(one["sim_1"]) <= {0, 1}
    four = simulate(
        "y ~ period + (1 | herd)", bare, params, "binomial", seed=1, weights="n"
    )
    assert set(four["sim_1"] * 4) <= {0, 1, 2, 3, 4}
    typed = bare.assign(y=pd.Categorical(["sick", "well"] * 28, ["well", "sick"]))
    found = simulate("y ~ period + (1 | herd)", typed, params, "binomial", seed=1)
    assert found["sim_1"].cat.categories.tolist() == ["well", "sick"]
    empty = bare.assign(y=np.nan)
    simulate("y ~ period + (1 | herd)", empty, params, "binomial", seed=1)
    lost = bare.copy()
    lost.loc[3, "period"] = None
    found = simulate("y ~ period + (1 | herd)", lost, params, "poisson", seed=1)
    assert found["sim_1"].isna().tolist().index(True) == 3 and len(found) == 56


def test_an_offset_moves_the_responses(sleep):
    plain = simulate(SLEEP, sleep, GOOD, seed=1)
    moved = simulate(SLEEP, sleep, GOOD, seed=1, offset="10 * Days")
    assert_allclose(moved["sim_1"] - plain["sim_1"], 10 * sleep["Days"], atol=1e-9)
    # Any column may be in the data, the one that stands for the response too.
    taken = sleep.assign(**{simulation_design._RESPONSE: np.nan})
    pd.testing.assert_frame_equal(simulate(SLEEP, taken, GOOD, seed=1), plain)


def test_parameters_without_fixed_effects(sleep):
    """No beta is needed, and the responses are around zero."""
    params = {"theta": [0.0], "sigma": 2.0}
    found = simulate("y ~ 0 + (1 | Subject)", sleep, params, n=300, seed=1)
    assert abs(found.to_numpy().mean()) < 0.03
    assert abs(found.to_numpy().std() - 2.0) < 0.03


@pytest.mark.parametrize(
    ("family", "link", "more"),
    [
        ("poisson", None, {}),
        ("negative_binomial", None, {"nb_theta": 2.0}),
        ("bernoulli", "probit", {}),
        ("gamma", "log", {"sigma": 0.4}),
        ("inverse_gaussian", "log", {"sigma": 0.3}),
        ("gaussian", "log", {"sigma": 0.5}),
        ("gaussian", None, {"sigma": 0.5}),
        (lme.families.NegativeBinomial(2.0), None, {}),
    ],
)
def test_all_families(cbpp, family, link, more):
    params = {"beta": [0.5, 0, 0, 0], "theta": [0.0], **more}
    found = simulate(
        "~ period + (1 | herd)", cbpp, params, family, n=400, link=link, seed=1
    )
    law = lme.families.resolve(family, link)
    assert abs(found.to_numpy().mean() - law.mean(np.array([0.5]))[0]) < 0.06


GOOD = {"beta": [1.0, 2.0], "theta": [1.0, 0.0, 1.0], "sigma": 1.0}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"sigma": None}, {}, "must specify sigma"),
        ({"sigma": None}, {"family": "gamma"}, "must specify sigma"),
        ({"sigma": -1}, {}, "positive"),
        ({"sigma": [1, 2]}, {}, "sigma"),
        ({"beta": [1, 2, 3]}, {}, r"shape \(3,\).*'Days'"),
        ({"beta": {"Day": 1}}, {}, "Did you mean 'Days'"),
        ({"beta": {"Days": 1}}, {}, r"lacks '\(Intercept\)'"),
        ({"beta": None}, {}, "no 'beta'"),
        ({"beta": [1, np.nan]}, {}, "finite"),
        ({"beta": ["a", 1]}, {}, "numbers"),
        ({"theta": [1.0]}, {}, "Subject.Days"),
        ({"bta": 1}, {}, "Did you mean 'beta'"),
        ({"sd": {"Subject": [1, 1]}}, {}, "both"),
        ({"theta": None, "sd": {"Subjct": 1}}, {}, "Did you mean 'Subject'"),
        ({"cor": {"Subject": 0.5}}, {}, "without 'sd'"),
        ({"nb_theta": 1.0}, {}, "theta"),
        ({"sigma": None}, {"family": "negative_binomial"}, "nb_theta"),
        ({}, {"family": "poisson"}, "no parameter of scale"),
        ({}, {"family": "poison"}, "poisson"),
        ({}, {"n": 0}, "whole number"),
        ({}, {"n": 2.5}, "whole number"),
        ({}, {"n": 10**18}, r"cannot be held.*smaller number"),
        ({"theta": None, "sd": [1, 2]}, {}, r"type list.*'Subject'"),
        ({"theta": None, "sd": {"Subject": [1, -2]}}, {}, "sd of 'Subject' has -2"),
        ({}, {"seed": -1}, "negative"),
        ({}, {"seed": "a"}, "seed"),
        ({}, {"weights": "Dais"}, "Days"),
    ],
)
def test_parameters_that_are_refused(sleep, changes, options, message):
    params = {k: v for k, v in (GOOD | changes).items() if v is not None}
    with pytest.raises((OptionError, DataTypeError, FormulaError), match=message):
        simulate(SLEEP, sleep, params, **options)


def test_more_that_is_refused(sleep, res, counts):
    with pytest.raises(DataTypeError, match="mapping"):
        simulate(SLEEP, sleep, [1, 2])
    with pytest.raises(FormulaError, match="Write the terms out"):
        simulate("Reaction ~ . + (1 | Subject)", sleep, GOOD)
    bad = {"beta": GOOD["beta"], "sigma": 1.0, "sd": {"Subject": [1.0, 2.0]}}
    for cor in (1.5, [[1, 0.5], [0.4, 1]], [[1]]):
        with pytest.raises(OptionError, match="correlation"):
            simulate(SLEEP, sleep, bad | {"cor": {"Subject": cor}})
    three = "y ~ Days + (Days + I(Days^2) | Subject)"
    apart = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    with pytest.raises(OptionError, match="'Subject' is not positive semidefinite"):
        simulate(
            three,
            sleep,
            {**bad, "sd": {"Subject": [1, 2, 3]}, "cor": {"Subject": apart}},
        )
    with pytest.raises(DataError, match=r"A weight is 2\.5.*whole weights"):
        simulate(
            CBPP,
            lme.datasets.load("cbpp"),
            {"beta": np.zeros(4), "theta": [0.5]},
            "binomial",
            weights=np.full(56, 2.5),
        )
    with pytest.raises(OptionError, match="without newdata"):
        res.simulate(1, weights=np.ones(180))
    with pytest.raises(OptionError, match="'all'"):
        res.simulate(1, re_form="every")
    with pytest.raises(DataError, match="not positive"):
        counts.simulate(1, newdata=lme.datasets.load("cbpp"), weights=np.zeros(56))
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(9), 9), "y": rng.poisson(9, 81)})
    identity = lme.glmer(
        "y ~ 1 + (1 | g)", frame, family="poisson", link="identity"
    ).fit()
    law = {"beta": [1.0], "theta": [9.0]}
    with pytest.raises(DataError, match="out of its range"):
        simulate("y ~ 1 + (1 | g)", frame, law, identity.family, seed=1)
