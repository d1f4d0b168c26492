"""Data in partitions give what the same rows in memory give."""

import pickle

import numpy as np
import pandas as pd
import pytest

import lme
from lme.errors import (
    DataError,
    DataTypeError,
    DesignError,
    FitError,
    FormulaError,
    LMEError,
    OptionError,
    RankWarning,
)
from lme.partitions.sources import DatasetSource, is_partitioned, source_of

dd = pytest.importorskip("dask.dataframe")
pq = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")
ds = pytest.importorskip("pyarrow.dataset")


def _made(n=1200, seed=8):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.gamma(2.0, 1.0, n) + 50,
            "z": rng.normal(size=n),
            "b": rng.random(n) < 0.4,
            "f": rng.choice(["low", "mid", "high"], n),
            "c": pd.Categorical(rng.choice(list("dbca"), n), categories=list("dbcaz")),
            "g": rng.integers(0, 60, n),
            "h": rng.choice([f"s{i}" for i in range(20)], n),
            "k": np.arange(n) // 400,
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.normal(size=n),
        }
    )
    effects = rng.normal(size=60)[frame["g"]] + 0.02 * frame["x"] * rng.normal(size=n)
    frame["y"] = 1e4 + 2 * frame["x"] + effects + frame["b"] + rng.normal(size=n)
    frame.loc[::97, "z"] = np.nan
    frame.loc[5, "h"] = None
    return frame


@pytest.fixture(scope="module")
def frame():
    return _made()


@pytest.fixture(scope="module")
def lazy(frame):
    return dd.from_pandas(frame, npartitions=7)


@pytest.fixture(scope="module")
def file(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=173)
    return path


def same(formula, frame, partitions, rtol=1e-13, **options):
    """Both fits, after what they have in common was compared."""
    one = lme.lmer(formula, frame, **options).fit()
    other = lme.lmer(formula, partitions, **options).fit()
    assert other.nobs == one.nobs
    # Sums in another order: relative to an objective of some thousands.
    np.testing.assert_allclose(other.objective, one.objective, rtol=rtol, atol=1e-10)
    np.testing.assert_allclose(other.params, one.params, rtol=1e-9, atol=1e-9)
    assert list(other.params.index) == list(one.params.index)
    # The optimum is flat: theta is half as precise as the objective.
    np.testing.assert_allclose(other.theta, one.theta, rtol=2e-6, atol=2e-6)
    for group, table in one.ranef().items():
        assert list(other.ranef()[group].index) == list(table.index)
        np.testing.assert_allclose(other.ranef()[group], table, atol=1e-5)
    return one, other


FORMULAS = [
    ("y ~ x + (1 | g)", {}),
    ("y ~ x + f + c + (x | g) + (1 | h)", {}),
    ("y ~ 0 + f + z + (1 | h/g)", {}),
    ("y ~ b * x + (0 + x | g) + (1 | f:h)", {}),
    ("y ~ x + (f || g)", {}),
    ("y ~ f + z + (1 | g)", {"contrasts": {"f": "contr.sum"}}),
    ("y ~ x + z + (1 | g)", {"weights": "w", "offset": "o"}),
    ("y ~ x + offset(o) + (1 | g)", {"subset": "z > -1 & f != 'mid'"}),
    ("log(y) ~ I(x^2) + (1 | factor(k)) + (1 | g)", {"REML": False}),
    ("y ~ factor(k) + relevel(f, 'mid') + C(c, contr.sum) + (1 | g)", {}),
    ("y ~ scale(x) + poly(x, 3) + (1 | g)", {"na_action": "exclude"}),
    ("y ~ I(x - mean(x)) + I(z / sd(z, na.rm = TRUE)) + (1 | g)", {}),
    ("y ~ ns(x, knots = c(51, 53)) + (1 | g)", {}),
    ("y ~ ns(x, df = 4) + bs(o, df = 5) + (1 | g)", {}),
    ("y ~ cut(x, 4) + (1 | g)", {}),
    ("y ~ cut(x, quantile(x, c(0, 0.3, 1)), include.lowest = TRUE) + (1|g)", {}),
    ("y ~ I(x > median(x)) + interaction(f, b) + (1 | g)", {}),
    ("y ~ scale(log(x)) + dummy(f, 'low') + (1 | g)", {}),
    ("y ~ double(z) + (1 | g)", {"context": {"double": lambda v: 2 * v}}),
    ("y ~ x + (1 | g)", {"sigma": 1.2}),
]


@pytest.mark.parametrize("formula, options", FORMULAS)
@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
def test_same_as_in_memory(frame, lazy, formula, options):
    same(formula, frame, lazy, **options)


@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
def test_every_kind_of_source(frame, file):
    formula = "y ~ x + f + c + (x | g)"
    for data in (file, str(file), [file], ds.dataset(file)):
        assert is_partitioned(data)
        same(formula, frame, data)
    assert source_of(file).columns == tuple(frame.columns)


def test_results_of_partitions(frame, lazy):
    one, other = same("y ~ x * f + (x | g)", frame, lazy, weights="w")
    close = np.testing.assert_allclose
    for kind in (1, 2, 3):
        for ddf in ("satterthwaite", "kenward-roger"):
            tables = [res.anova(type=kind, ddf=ddf) for res in (one, other)]
            close(tables[1], tables[0], rtol=1e-5)
    close(other.conf_int(), one.conf_int(), rtol=1e-7)
    wald = [res.confint(method="profile", parm="x") for res in (one, other)]
    close(wald[1], wald[0], rtol=1e-6)
    close(other.condVar()["g"], one.condVar()["g"], rtol=1e-5, atol=1e-9)
    close(other.deviance, one.deviance, rtol=1e-12)
    means = [res.emmeans("f").to_frame()["estimate"] for res in (one, other)]
    close(means[1], means[0], rtol=1e-8)
    rows = frame.iloc[:5]
    close(
        other.get_prediction(rows).summary_frame(),
        one.get_prediction(rows).summary_frame(),
        rtol=1e-6,
    )
    lines = str(other.summary())
    assert "1200 observations" in lines and "Scaled residuals" not in lines


def test_pickles_and_remove_data(lazy):
    res = lme.lmer("y ~ x + (1 | g)", lazy).fit()
    again = pickle.loads(pickle.dumps(res))
    assert again.objective == res.objective
    assert np.allclose(again.anova(), res.anova())
    light = res.without_data()
    assert light.fit_record.problem is None and res.fit_record.problem is not None
    assert np.allclose(light.pvalues, res.pvalues)
    with pytest.raises(FitError, match="remove_data"):
        light.profile()


def test_a_second_fit_reads_nothing(file, monkeypatch):
    model = lme.lmer("y ~ x + (1 | g)", file)
    first = model.fit()
    monkeypatch.setattr(DatasetSource, "fold", None)
    second = model.fit(reml=False)
    assert second.objective != first.objective
    with pytest.raises(TypeError):
        lme.lmer("y ~ x + z + (1 | g)", file)


def test_dependent_columns(frame, lazy):
    formula = "y ~ x + I(2 * x + 1) + f + (1 | g)"
    with pytest.warns(RankWarning, match=r"I\(2 \* x \+ 1\)"):
        one = lme.lmer(formula, frame).fit()
    with pytest.warns(RankWarning, match=r"I\(2 \* x \+ 1\)"):
        other = lme.lmer(formula, lazy).fit()
    np.testing.assert_allclose(other.params, one.params, rtol=1e-8)
    with pytest.raises(DataError, match="rank deficient"):
        lme.lmer(formula, lazy, checks={"rank": "stop"}).fit()


def test_large_mean_small_spread():
    # The residual has seven digits less than the response, in memory too.
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": np.repeat(np.arange(30), 20), "x": rng.normal(size=600)})
    frame["y"] = 1e7 + rng.normal(size=30)[frame["g"]] + rng.normal(size=600)
    same("y ~ x + (1 | g)", frame, dd.from_pandas(frame, npartitions=5), rtol=1e-10)


def test_update_and_anova(frame, lazy):
    formulas = ["y ~ x + (1 | g)", "y ~ x + f + (1 | g)", "y ~ x + f + (x | g)"]
    ones = [lme.lmer(formula, frame).fit() for formula in formulas]
    others = [lme.lmer(formula, lazy).fit() for formula in formulas]
    expected = lme.anova(*ones)
    for models in (others, [ones[0], *others[1:]]):
        table = lme.anova(*models)
        np.testing.assert_allclose(
            table.table.to_numpy(dtype=float),
            expected.table.to_numpy(dtype=float),
            rtol=1e-7,
            atol=1e-8,
        )
    changed = others[0].update(". ~ . + f")
    np.testing.assert_allclose(changed.objective, others[1].objective, rtol=1e-12)


def test_models_that_cannot_be_compared(frame, lazy):
    first = lme.lmer("y ~ x + (1 | g)", lazy).fit()

    def refused(other, match, **options):
        with pytest.raises(FitError, match=match):
            lme.anova(first, other, **options)

    refused(lme.lmer("y ~ o + (1 | h)", lazy[~lazy["h"].isna()]).fit(), "rows")
    refused(lme.lmer("log(y) ~ x + f + (1 | g)", lazy).fit(), "different responses")
    refused(lme.lmer("y ~ x + f + (1 | g)", lazy, weights="w").fit(), "weights")
    larger = lme.lmer("y ~ x + f + (1 | k)", lazy, checks="ignore").fit()
    refused(larger, "not nested")
    fine = lme.lmer("y ~ x + f + (1 | g)", lazy).fit()
    refused(fine, "test='boot' needs all rows", test="boot")
    shuffled = frame.assign(y=frame["y"].sample(frac=1, random_state=1).to_numpy())
    refused(lme.lmer("y ~ x + f + (1 | g)", shuffled).fit(), "different responses")


ROWS_NEEDED = [
    "bootstrap",
    "drop1",
    "ranova",
    "r2",
    "icc",
    "caic",
    "diagnose",
    "get_influence",
    "hatvalues",
    "residuals",
    "hlm_resid",
    "augment",
]


def test_what_needs_rows(lazy, frame):
    res = lme.lmer("y ~ x + (1 | g)", lazy).fit()
    for name in ROWS_NEEDED:
        with pytest.raises(FitError, match="data are in partitions"):
            getattr(res, name)()
    for call in (
        lambda: res.fittedvalues,
        lambda: res.resid,
        lambda: res.refit(frame["y"]),
        lambda: res.getME("X"),
        lambda: res.confint(method="boot"),
        lambda: res.get_robustcov_results("cluster"),
        lambda: res.anova(ddf="containment"),
        lambda: res.save_fit("never"),
    ):
        with pytest.raises(FitError, match="data are in partitions"):
            call()


@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
def test_lazy_predictions(frame, lazy, file):
    one, other = same("y ~ scale(x) + c + (x | g)", frame, lazy)
    expected = one.predict(frame)
    found = other.predict(lazy)
    assert isinstance(found, dd.Series) and found.npartitions == lazy.npartitions
    np.testing.assert_allclose(found.compute(), expected, rtol=1e-9)
    np.testing.assert_allclose(one.predict(lazy).compute(), expected, rtol=1e-12)
    np.testing.assert_allclose(other.predict().compute(), expected, rtol=1e-9)
    np.testing.assert_allclose(other.predict(file).compute(), expected, rtol=1e-9)
    new = frame.assign(g=frame["g"] + 1)
    with pytest.raises(DataError, match="New level of 'g'"):
        other.predict(dd.from_pandas(new, npartitions=2)).compute()
    options = {"new_levels": "population"}
    np.testing.assert_allclose(
        other.predict(dd.from_pandas(new, npartitions=2), **options).compute(),
        one.predict(new, **options),
        rtol=1e-9,
    )
    with pytest.raises(FormulaError, match="no column 'x'"):
        other.predict(lazy.drop(columns="x"))
    with pytest.raises(DataTypeError, match="offset is of type"):
        other.predict(lazy, offset=np.ones(3))
    with pytest.raises(OptionError, match="get_prediction got data in partitions"):
        other.get_prediction(lazy)


def test_lazy_simulations(frame, lazy):
    res = lme.lmer("y ~ x + (1 | g)", lazy).fit()
    drawn = res.simulate(3, seed=5)
    assert isinstance(drawn, dd.DataFrame)
    assert list(drawn.columns) == ["sim_1", "sim_2", "sim_3"]
    values = drawn.compute()
    pd.testing.assert_frame_equal(values, drawn.compute())
    assert not values.equals(res.simulate(3, seed=6).compute())
    # A replicate is the same whatever the number of those after it.
    pd.testing.assert_series_equal(
        values["sim_1"], res.simulate(1, seed=5).compute()["sim_1"]
    )
    with pytest.raises(OptionError, match="n is 0"):
        res.simulate(0)


def test_simulated_effects_belong_to_levels():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.tile(np.arange(40), 30), "x": 0.0})
    frame["y"] = 3 * rng.normal(size=40)[frame["g"]] + rng.normal(size=1200)
    res = lme.lmer("y ~ 1 + (1 | g)", frame).fit()
    new = frame.assign(g=frame["g"] + 20)
    means = []
    for parts in (2, 5):
        drawn = res.simulate(
            100, seed=9, newdata=dd.from_pandas(new, npartitions=parts)
        )
        means.append(drawn.compute().groupby(new["g"].to_numpy()).mean().to_numpy())
    # Effects are those of the levels, old and new; residuals are not the same.
    assert np.corrcoef(means[0].ravel(), means[1].ravel())[0, 1] > 0.97
    assert not np.allclose(means[0], means[1])
    sd = np.sqrt(res.VarCorr()["g"].iloc[0, 0] + res.sigma**2 / 30)
    np.testing.assert_allclose(means[0].std(axis=0).mean(), sd, rtol=0.03)


# --- odd partitions -------------------------------------------------------------------


def _delayed(parts, meta=None):
    from dask.delayed import delayed

    kept = [delayed(part) for part in parts]
    meta = parts[0] if meta is None else meta
    return dd.from_delayed(kept, meta=meta, verify_meta=False)


def test_odd_partitions(frame):
    # Empty ones, unknown divisions, unsorted rows, duplicates of the index.
    turned = frame.sample(frac=1.0, random_state=3)
    parts = [turned[:0], turned[:700], turned[:0], turned[700:701], turned[701:]]
    lazy = _delayed(parts, frame[:0])
    assert not lazy.known_divisions
    same("y ~ x + f + (x | g)", turned, lazy)
    doubled = pd.concat([frame, frame])
    same("y ~ x + (1 | g)", doubled, dd.from_pandas(doubled, npartitions=3, sort=False))


def test_levels_in_one_partition_alone(frame):
    # Sorted by the factors: no partition sees all levels, some see one.
    turned = frame.sort_values(["f", "g"])
    same(
        "y ~ x + f + (1 | g)", turned, dd.from_pandas(turned, npartitions=9, sort=False)
    )


def test_types_that_differ(frame):
    whole = frame.assign(g=frame["g"] * 1000 + 100_000)
    parts = [whole[:600], whole[600:].assign(g=whole["g"][600:].astype(float))]
    joined = pd.concat(parts)
    one, _ = same("y ~ x + (1 | g)", joined, _delayed(parts))
    assert one.ranef()["g"].index[0] == "1e+05"
    texts = [frame[:600], frame[600:].assign(x="many")]
    with pytest.raises(LMEError, match="x"):
        lme.lmer("y ~ x + (1 | g)", _delayed(texts))
    mixed = [frame[:600], frame[600:].assign(g="a" + frame["g"][600:].astype(str))]
    with pytest.raises(DataTypeError, match="numbers in partition 0 and text in part"):
        lme.lmer("y ~ x + (1 | g)", _delayed(mixed))
    orders = [
        frame[:600].assign(c=frame["c"][:600].cat.as_ordered()),
        frame[600:].assign(
            c=frame["c"][600:].cat.reorder_categories(list("abcdz"), ordered=True)
        ),
    ]
    with pytest.raises(DataError, match="ordered categories of c differ"):
        lme.lmer("y ~ c + (1 | g)", _delayed(orders))
    unions = [frame[:600], frame[600:].assign(c=frame["c"][600:].astype(str))]
    unions[1]["c"] = pd.Categorical(unions[1]["c"], categories=list("acbd"))
    found = lme.lmer("y ~ c + (1 | g)", _delayed(unions)).fit()
    assert list(found.params.index) == ["(Intercept)", "cb", "cc", "ca"]


def test_bad_input(frame, lazy, tmp_path):
    def refused(error, match, formula="y ~ x + (1 | g)", data=lazy, **options):
        with pytest.raises(error, match=match):
            lme.lmer(formula, data, **options)

    refused(FormulaError, "no column 'q'", "y ~ q + (1 | g)")
    refused(FormulaError, "has no response", "~ x + (1 | g)")
    refused(FormulaError, "No random effects", "y ~ x")
    refused(DataTypeError, "weights is of type ndarray", weights=np.ones(1200))
    refused(DataTypeError, "subset is of type ndarray", subset=np.ones(1200, bool))
    refused(FormulaError, "no column 'ww'", weights="ww")
    refused(DataError, "In partition 0: .* weight", weights="o")
    refused(DataTypeError, "In partition 0: .*text or categories", "f ~ x + (1 | g)")
    refused(DataError, "infinite", "y ~ log(x - x) + (1 | g)")
    refused(DataError, "missing values", "y ~ z + (1 | g)", na_action="fail")
    refused(OptionError, "na_action is 'drop'", na_action="drop")
    refused(DataError, "subset selects none of the 1200", subset="x < 0")
    refused(DataError, "no rows: 0", data=dd.from_pandas(frame[:0], npartitions=1))
    refused(DesignError, "only one level", "y ~ f + (1|g)", subset="f == 'low'")
    refused(DesignError, "1 level", "y ~ x + (1 | k)", subset="k == 1")
    refused(DesignError, "constant", "I(0 * y) ~ x + (1 | g)")
    refused(OptionError, "contrasts names 'x'", contrasts={"x": "contr.sum"})
    refused(DataTypeError, "single column of Dask", data=lazy["y"])
    refused(DataError, "cannot be read", data=tmp_path / "nothing.parquet")
    refused(DataError, "cannot be read", data="y ~ x")
    refused(OptionError, "residual= is given", residual="ar1(o | g)")
    text = tmp_path / "text.parquet"
    text.write_text("no rows here")
    refused(DataError, "cannot be read", data=text)

    class Rank:
        def fit(self, x):
            return np.sort(x)

        def apply(self, state, x):
            return np.searchsorted(state, x)

    refused(
        FormulaError,
        r"rank\(\) learns from all rows",
        "y ~ rank(x) + (1 | g)",
        context={"rank": Rank()},
    )
    with pytest.raises(FormulaError, match="degree"):
        lme.lmer("y ~ poly(b, 3) + (1 | g)", lazy)


def test_input_stays_as_it_is(frame):
    before = frame.copy(deep=True)
    lazy = dd.from_pandas(frame, npartitions=3)
    lme.lmer("y ~ scale(x) + f + (1 | g)", lazy).fit().predict(lazy).compute()
    pd.testing.assert_frame_equal(frame, before)


def test_data_that_change_between_passes(frame):
    count = iter(range(1000))
    lazy = dd.from_pandas(frame, npartitions=2)
    lazy = lazy.map_partitions(
        lambda part: part.iloc[: -1 - next(count)], meta=frame[:0]
    )
    with pytest.raises(DataError, match="same rows when they were read again"):
        lme.lmer("y ~ x + (1 | g)", lazy)


def test_known_covariance_of_levels(frame, lazy):
    K = pd.DataFrame(0.3 * np.ones((60, 60)) + 0.7 * np.eye(60)).set_axis(
        [str(i) for i in range(60)], axis=0
    )
    K.columns = K.index
    same("y ~ x + (1 | g)", frame, lazy, covariances={"g": K})
