"""Predicted means: against lme4, and what new data may look like."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lme
from lme.errors import (
    DataError,
    DesignError,
    FormulaError,
    OptionError,
    UnavailableError,
)
from lme.inference.prediction import rows as prediction_rows
from lme.partitions.sources import DatasetSource
from lme.tests.cases import CASES, REFERENCE
from lme.tests.glmm_cases import DISPERSION, GLMM_CASES

pytestmark = pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")

EXPECTED = json.loads(
    gzip.decompress((REFERENCE / "prediction" / "predictions.json.gz").read_bytes())
)
# lme4's optimum of theta is not ours where theta is not identified. InstEval is slow.
LINEAR = [k for k in EXPECTED["lmm"] if k in CASES and CASES[k].identified]
LINEAR = [k for k in LINEAR if not k.startswith("insteval")]
# Families with a dispersion have another criterion in lme4.
GENERALIZED = [
    k for k in EXPECTED["glmm"] if GLMM_CASES[k].family.name not in DISPERSION
]
# Seconds for a fit; they add no kind of model.
GENERALIZED = [k for k in GENERALIZED if not k.startswith(("verbagg", "contra"))]


@pytest.fixture(scope="module")
def sleep():
    return lme.datasets.load("sleepstudy")


@pytest.fixture(scope="module")
def res(sleep):
    return lme.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()


@pytest.fixture(scope="module")
def cbpp():
    data = lme.datasets.load("cbpp")
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return lme.glmer(formula, data, family="binomial").fit(), data


def compare(res, entry, rtol):
    """All predictions of one model, new levels as the population."""
    newdata = pd.DataFrame(entry["newdata"])
    for key, expected in entry.items():
        if key == "newdata":
            continue
        form, _, scale = key.rpartition("_")
        named = {"re_NULL_allow_new": "all", "re_NA": "none"}
        found = res.predict(
            newdata,
            re_form=named.get(form) or f"~ {form.removeprefix('re_')}",
            which="linear" if scale == "link" else "mean",
            new_levels="population",
        )
        expected = np.array(expected, dtype=float)
        size = max(1.0, np.abs(expected).max())
        assert_allclose(found, expected, rtol=0, atol=rtol * size, err_msg=key)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_models_against_lme4(name):
    # theta of the reference is good to 1e-8 relative.
    compare(CASES[name].fit(), EXPECTED["lmm"][name], 1e-6)


@pytest.mark.parametrize("name", GENERALIZED)
def test_generalized_models_against_lme4(name):
    # lme4's PIRLS leaves up to 1e-4 in theta.
    compare(GLMM_CASES[name].fit(), EXPECTED["glmm"][name], 1e-4)


def test_rows_of_the_fit_in_three_ways(res, sleep):
    assert_allclose(res.predict(), res.fittedvalues, rtol=0)
    assert_allclose(res.predict(sleep), res.fittedvalues, rtol=1e-13)
    expected = [253.663652396798, 430.66001930835]
    assert_allclose(res.predict(sleep).iloc[[0, 9]], expected, rtol=1e-6)


def test_parts_of_a_term(res, sleep):
    # Numbers of lme4's own tests.
    slopes = res.predict(re_form="~ (0 + Days | Subject)")
    assert_allclose(slopes.iloc[:2], [251.405, 271.071], atol=6e-4)
    intercepts = res.predict(re_form="~(1|Subject)")
    assert_allclose(intercepts.iloc[:2], [253.664, 264.131], atol=6e-4)
    both = intercepts + slopes - res.predict(re_form="none")
    assert_allclose(both, res.predict(), rtol=1e-12)
    assert_allclose(res.predict(sleep, re_form="~ (0 + Days | Subject)"), slopes)
    assert_allclose(res.predict(re_form="~ 0"), res.predict(re_form="none"))
    # R's way to write a single term.
    assert_allclose(res.predict(re_form="~ 0 + Days | Subject"), slopes)
    with pytest.raises(FormulaError, match="grouping factor"):
        res.predict(re_form="~ 1 | Subject + (0 + Days | Subject)")


def test_two_factors():
    data = lme.datasets.load("Penicillin")
    res = lme.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", data).fit()
    expected = [25.9638, 22.7663, 25.7147, 23.6799, 23.7629, 20.773]
    assert_allclose(res.predict(data.head(6)), expected, atol=1e-4)


def test_models_of_arrays_know_the_parts_of_their_terms(sleep, res):
    X = np.column_stack([np.ones(180), sleep["Days"]])
    groups = {"Subject": sleep["Subject"]}
    model = lme.LMM(sleep["Reaction"], X, groups=groups, exog_re={"Subject": X})
    found = model.fit().predict(re_form="~ (1 | Subject)")
    assert_allclose(found, res.predict(re_form="~ (1 | Subject)"), rtol=1e-6)
    with pytest.raises(DesignError, match="arrays"):
        model.fit().predict(sleep)


# --- new data -------------------------------------------------------------------------


def test_one_row_text_and_fewer_levels(res, sleep):
    one = {"Days": [3], "Subject": ["309"]}
    expected = res.predict().iloc[13]
    assert_allclose(res.predict(one), [expected], rtol=1e-13)
    assert_allclose(res.predict({"Days": [3], "Subject": [309]}), [expected])
    few = sleep[sleep["Subject"].isin(["309", "372"])]
    few = few.assign(Subject=few["Subject"].cat.remove_unused_categories())
    assert_allclose(res.predict(few), res.predict().loc[few.index], rtol=1e-13)
    again = few.assign(Subject=few["Subject"].cat.reorder_categories(["372", "309"]))
    assert_allclose(res.predict(again), res.predict(few), rtol=1e-13)


def test_the_index_is_kept_and_the_data_are_not_changed(res):
    frame = pd.DataFrame({"Days": [1, 2], "Subject": ["308", "new"]}, index=["p", "q"])
    before = frame.copy(deep=True)
    found = res.predict(frame, new_levels="nan")
    assert found.index.tolist() == ["p", "q"]
    assert found.isna().tolist() == [False, True]
    pd.testing.assert_frame_equal(frame, before)


def test_other_frames(res, sleep):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"Days": sleep["Days"].to_list(), "Subject": sleep["Subject"].to_list()}
    )
    assert_allclose(res.predict(frame), res.fittedvalues, rtol=1e-13)


def test_no_rows(res, sleep):
    assert res.predict(sleep.head(0)).shape == (0,)
    assert res.get_prediction(sleep.head(0)).summary_frame().shape == (0, 6)
    assert res.simulate(2, seed=1, newdata=sleep.head(0)).shape == (0, 2)


def test_only_the_columns_that_are_needed(res, sleep):
    population = res.params.iloc[0] + res.params.iloc[1] * sleep["Days"]
    assert_allclose(res.predict(sleep[["Days"]], re_form="none"), population)
    with pytest.raises(FormulaError, match="no column 'Subject'"):
        res.predict(sleep[["Days"]])
    # Columns of a term that is left out may be of any kind.
    data = lme.datasets.load("Pastes")
    nested = lme.lmer("strength ~ 1 + (1 | batch) + (1 | sample)", data).fit()
    odd = data[["batch"]].assign(sample=[{}] * len(data))
    expected = nested.predict(re_form="~ (1 | batch)")
    assert_allclose(nested.predict(odd, re_form="~ (1 | batch)"), expected)


@pytest.mark.parametrize(
    "fixed",
    [
        "poly(Days, 2)",
        "scale(Days)",
        "ns(Days, df = 3)",
        "bs(Days, df = 4)",
        "I(Days^2) + log(Days + 1)",
        "C(factor(Days), contr.sum)",
        "Days + I(2 * Days)",
    ],
)
def test_the_state_of_the_fit(sleep, fixed):
    res = lme.lmer(f"Reaction ~ {fixed} + (1 | Subject)", sleep).fit()
    part = sleep.iloc[[17, 3, 120]]
    expected = res.predict().loc[part.index]
    assert_allclose(res.predict(part), expected, rtol=1e-12)
    expected = res.get_prediction().se_mean.loc[part.index]
    assert_allclose(res.get_prediction(part).se_mean, expected, rtol=1e-10)


def test_missing_values_give_missing_predictions(res, sleep):
    frame = sleep.head(4).astype({"Days": float, "Subject": object})
    frame.loc[1, "Days"] = np.nan
    assert np.flatnonzero(res.predict(frame).isna()).tolist() == [1]
    frame.loc[2, "Subject"] = None
    with pytest.raises(DataError, match="1 row of newdata without a level"):
        res.predict(frame)
    assert res.predict(frame, new_levels="nan").isna().tolist() == [
        False,
        True,
        True,
        0,
    ]
    found = res.predict(frame, new_levels="population")
    assert_allclose(found.loc[2], res.predict(re_form="none").loc[2])
    assert np.isnan(found.loc[1])


def test_rows_left_out_of_the_fit(sleep):
    frame = sleep.astype({"Reaction": float})
    frame.loc[[0, 5], "Reaction"] = np.nan
    formula = "Reaction ~ Days + (1 | Subject)"
    res = lme.lmer(formula, frame, na_action="exclude").fit()
    assert res.predict().isna().sum() == 2
    assert res.get_prediction().summary_frame().shape == (180, 6)
    assert not res.predict(frame).isna().any()
    assert lme.lmer(formula, frame).fit().predict().shape == (178,)


# --- new levels -----------------------------------------------------------------------


def test_new_levels_are_named(res):
    frame = pd.DataFrame({"Days": 1, "Subject": ["308", *"abcdefgh"]})
    with pytest.raises(DataError) as caught:
        res.predict(frame)
    assert "'a', 'b', 'c', 'd', 'e', ... (8 in all)" in str(caught.value)
    assert "'f'" not in str(caught.value)
    with pytest.raises(DataError, match=r"New level of 'Subject' .* not see: 'a'"):
        res.predict(frame.head(2))
    found = res.predict(frame, new_levels="population")
    assert_allclose(found.iloc[1:], res.params.sum())


def test_new_levels_of_interactions():
    data = lme.datasets.load("Pastes")
    res = lme.lmer("strength ~ 1 + (1 | batch/cask)", data).fit()
    frame = pd.DataFrame({"batch": ["A", "A", "Z"], "cask": ["a", "z", "a"]})
    with pytest.raises(DataError, match="'z:A', 'a:Z'"):
        res.predict(frame)
    found = res.predict(frame, new_levels="population")
    batch = res.predict(frame, new_levels="population", re_form="~ (1 | batch)")
    assert found[1] == batch[1] and found[0] != batch[0]
    assert_allclose(found[2], res.params.iloc[0])


def test_links_are_inverse_to_each_other(cbpp):
    res, data = cbpp
    eta = res.predict(data, which="linear")
    assert_allclose(res.predict(data), 1 / (1 + np.exp(-eta)), rtol=1e-12)
    assert_allclose(eta, res.linear_predictor, rtol=1e-12)


# --- size -----------------------------------------------------------------------------


def test_chunks_are_one_answer(res, sleep, monkeypatch):
    spline = lme.lmer("Reaction ~ ns(Days, df = 3) + (1 | Subject)", sleep).fit()
    monkeypatch.setattr(prediction_rows, "_CELLS", 1)
    many = pd.concat([sleep] * 12, ignore_index=True)
    expected = np.tile(spline.predict(), 12)
    assert_allclose(spline.predict(many), expected, rtol=1e-12)
    text = {"Days": many["Days"].tolist(), "Subject": many["Subject"].tolist()}
    assert_allclose(spline.predict(text), expected, rtol=1e-12)
    shift = np.arange(len(many), dtype=float)
    assert_allclose(spline.predict(many, offset=shift), expected + shift, rtol=1e-12)
    # What the user's functions do to a part is not what they do to the whole.
    centred = lme.lmer(
        "Reaction ~ centre(Days) + (1 | Subject)",
        sleep,
        context={"centre": lambda x: x - x.mean()},
    ).fit()
    uneven = many.iloc[: 1500 + 7]
    monkeypatch.undo()
    whole = centred.predict(uneven)
    monkeypatch.setattr(prediction_rows, "_CELLS", 1)
    assert_allclose(centred.predict(uneven), whole, rtol=1e-13)


def test_many_levels_are_fast(sleep):
    rng = np.random.default_rng(3)
    levels = [f"s{i}" for i in range(50_000)]
    frame = pd.DataFrame({"g": pd.Categorical(levels * 2), "x": rng.random(100_000)})
    frame["y"] = rng.standard_normal(100_000) + np.tile(rng.standard_normal(50_000), 2)
    res = lme.lmer("y ~ x + (1 | g)", frame).fit()
    start = pd.Timestamp.now()
    found = res.predict(frame.astype({"g": str}).iloc[::-1])
    se = res.get_prediction(frame.iloc[[7]]).se_mean
    # About .1 s; a loop over levels or a matrix of them takes minutes.
    assert (pd.Timestamp.now() - start).total_seconds() < 5.0
    assert_allclose(found.iloc[::-1], res.fittedvalues, rtol=1e-12)
    assert se.shape == (1,)


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"re_form": "al"}, "'all'"),
        ({"re_form": None}, "R's NULL, all random effects, is 'all'"),
        ({"re_form": 1}, "re_form=1"),
        ({"re_form": "~ (1 | Subjct)"}, "Subjct"),
        ({"re_form": "~ (x | Subject)"}, "no random effect of x"),
        ({"re_form": "~ Days + (1 | Subject)"}, "more than random terms"),
        ({"new_levels": "populaton"}, "'population'"),
        ({"which": "link"}, "'linear'"),
        ({"offset": [1.0]}, "without newdata"),
    ],
)
def test_options_that_are_refused(res, options, message):
    with pytest.raises((OptionError, FormulaError), match=message):
        res.predict(**options)
    with pytest.raises((OptionError, FormulaError), match=message):
        res.get_prediction(**options)


def test_data_in_partitions(sleep, res, tmp_path, monkeypatch):
    """Predictions of partitions, an offset of an expression among the columns."""
    dask = pytest.importorskip("dask.dataframe")
    frame = sleep.assign(o=sleep["Days"] / 10)
    lazy = dask.from_pandas(frame, npartitions=3)
    formula = "Reaction ~ Days + (1 | Subject)"
    here = lme.lmer(formula, frame, offset="10 * log(o + 1)").fit()
    there = lme.lmer(formula, lazy, offset="10 * log(o + 1)").fit()
    assert_allclose(there.predict(lazy).compute(), here.predict(), rtol=1e-9)
    arrays = lme.LMM(sleep["Reaction"], np.ones(180), groups=sleep["Subject"]).fit()
    with pytest.raises(DesignError, match=r"made from arrays.*with a formula"):
        arrays.predict(lazy)
    pytest.importorskip("pyarrow")
    frame.to_parquet(tmp_path / "rows.parquet")

    def absent(self):
        raise ImportError("No module named 'dask'")

    monkeypatch.setattr(DatasetSource, "lazy", absent)
    with pytest.raises(UnavailableError, match=r"need Dask.*statsmodels-lme\[dask\]"):
        res.predict(tmp_path / "rows.parquet")


def test_an_offset_array_is_not_forgotten(sleep):
    known = sleep["Days"].to_numpy() * 2.0
    formula = "Reaction ~ Days + (1 | Subject)"
    res = lme.lmer(formula, sleep, offset=known).fit()
    with pytest.raises(DataError, match="offset"):
        res.predict(sleep)
    assert_allclose(res.predict(sleep, offset=known), res.predict(), rtol=1e-12)
    with pytest.raises(DataError, match="shape"):
        res.predict(sleep, offset=known[:5])
    inside = "Reaction ~ Days + offset(2 * Days) + (1 | Subject)"
    inner = lme.lmer(inside, sleep).fit()
    assert_allclose(inner.predict(sleep), res.predict(), rtol=1e-7)
