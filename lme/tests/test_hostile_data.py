"""Data of every kind: a fit or our error, in time, and never changed."""

import datetime as dt
import time
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

import lme
from lme.errors import DataError, DataTypeError, DataWarning, DesignError, FitError

N = 60
RNG = np.random.default_rng(1)
G = np.repeat(np.arange(10), 6)
X = RNG.normal(size=N)
Y = 1.0 + X + RNG.normal(size=10)[G] + RNG.normal(size=N)
MODEL = "y ~ x + (1 | g)"
DATES = pd.date_range("2020-01-01", periods=N, tz="Europe/Berlin")


def frame(**columns):
    return pd.DataFrame({"y": Y, "x": X, "g": G.astype(str)} | columns)


def objects(values):
    return pd.Series(list(values), dtype=object)


def fitted(data):
    """The result, with data that stayed as they were, within ten seconds."""
    before = data.copy(deep=True) if isinstance(data, pd.DataFrame) else None
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lme.LMEWarning)
            res = lme.lmer(MODEL, data).fit()
    finally:
        assert time.perf_counter() - start < 10.0
        if before is not None:
            pd.testing.assert_frame_equal(data, before)
    assert np.isfinite(res.objective)
    assert np.isfinite(res.params).all()
    return res


NUMBERS = {
    "objects": (objects(X), None),
    "sparse": (pd.arrays.SparseArray(X), None),
    "Float64 with NA": (pd.array([None, *X[1:]], dtype="Float64"), None),
    "Int64 with NA": (pd.array([None, *range(1, N)], dtype="Int64"), None),
    "boolean with NA": (pd.array([None, *(X[1:] > 0)], dtype="boolean"), None),
    "half precision": (X.astype(np.float16), None),
    "long double": (X.astype(np.longdouble), None),
    "other byte order": (X.astype(">f8"), None),
    "infinite": (np.where(np.arange(N) == 3, np.inf, X), DataError),
    "all missing": (np.full(N, np.nan), DataError),
    "mixed": (objects([1.0, "a"] * 30), DataTypeError),
    "complex": (X + 1j, DataTypeError),
    "decimals": (objects(Decimal(str(v)) for v in X), DataTypeError),
    "fractions": (objects(Fraction(i, 7) for i in range(N)), DataTypeError),
    "bytes": (objects([b"a", b"b"] * 30), DataTypeError),
    "lists": (objects([[1, 2]] * N), DataTypeError),
    "dicts": (objects([{}] * N), DataTypeError),
    "tz dates": (DATES, DataTypeError),
    "time differences": (pd.to_timedelta(np.arange(N), unit="h"), DataTypeError),
    "periods": (pd.period_range("2020", periods=N, freq="D"), DataTypeError),
    "intervals": (pd.interval_range(0, N), DataTypeError),
    "times": (objects(dt.time(1, i) for i in range(N)), DataTypeError),
    "beyond 64 bits": (objects(10**30 + i for i in range(N)), DataTypeError),
    "beyond int64": (np.uint64(2**64 - 1) - G.astype(np.uint64), DataTypeError),
}


@pytest.mark.parametrize("column", ["x", "y"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_columns_of_numbers(kind, column):
    values, error = NUMBERS[kind]
    # The other column must not be the same numbers.
    data = frame(**{"x": Y} | {column: values}) if column == "y" else frame(x=values)
    if error is None:
        fitted(data)
        return
    with pytest.raises(error) as caught:
        fitted(data)
    assert column in str(caught.value)


@pytest.mark.parametrize("factor", [1e300, 1e160, 1e-160, 1e-300, 1e-310])
def test_scales(factor):
    with pytest.raises(FitError, match="other units"):
        fitted(frame(y=Y * factor))
    with pytest.raises(FitError, match="'x' has values as large as"):
        fitted(frame(x=X * factor))


def test_a_single_huge_value():
    with pytest.raises(FitError, match="scale"):
        fitted(frame(y=np.where(np.arange(N) == 3, 1e300, Y)))
    with pytest.raises(FitError, match="'x' has values as large as 1e\\+300"):
        fitted(frame(x=np.where(np.arange(N) == 3, 1e300, X)))


@pytest.mark.parametrize("factor", [1e50, 1e-50])
def test_units_do_not_matter(factor):
    usual = fitted(frame())
    moved = fitted(frame(x=X * factor))
    assert moved.params["x"] * factor == pytest.approx(usual.params["x"], rel=1e-6)
    assert moved.objective == pytest.approx(
        usual.objective + 2.0 * np.log(factor), abs=1e-6
    )


GROUPS = {
    "categories": (pd.Categorical(G.astype(str)), 10),
    "unused categories": (pd.Categorical(G, categories=range(12)), 10),
    "missing category": (pd.Categorical([None, *G[1:].astype(str)]), 10),
    "text": (pd.array(G.astype(str), dtype="string"), 10),
    "Int64 with NA": (pd.array([None, *G[1:]], dtype="Int64"), 10),
    "bools": (G > 4, 2),
    "boolean with NA": (pd.array([None, *(G[1:] > 4)], dtype="boolean"), 2),
    "infinite": (np.where(G == 0, np.inf, G), 10),
    "dates": (DATES[G], 10),
    "periods": (pd.period_range("2020", periods=10, freq="D")[G], 10),
    "intervals": (pd.cut(G, 5), 5),
    "sparse": (pd.arrays.SparseArray(G), 10),
    "nothing in a text": (np.where(G == 0, "", G.astype(str)), 10),
    "NUL and colons": ([f"a\0{i}:b" for i in G], 10),
    "half a letter": (objects(f"\ud800{i}" for i in G), 10),
    "long texts": (objects("x" * 10_000 + str(i) for i in G), 10),
    "mixed": (objects(int(i) if i % 2 else str(i) for i in G), DataTypeError),
    "bytes": (objects(str(i).encode() for i in G), DataTypeError),
    "tuples": (objects((int(i), 1) for i in G), DataTypeError),
    "lists": (objects([int(i)] for i in G), DataTypeError),
    "sets": (objects(frozenset([int(i)]) for i in G), DataTypeError),
    "complex": (G + 1j, DataTypeError),
    "any objects": (objects(object() for _ in G), DataTypeError),
    "one level": (np.zeros(N, int), DesignError),
    "a level a row": (np.arange(N), DesignError),
    "all missing": (np.full(N, np.nan), DataError),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_columns_of_groups(kind):
    values, wanted = GROUPS[kind]
    if isinstance(wanted, int):
        assert len(fitted(frame(g=values)).ranef()["g"]) == wanted
        return
    with pytest.raises(wanted):
        fitted(frame(g=values))


def test_frames():
    usual = fitted(frame()).params
    doubled = frame().set_axis([0] * N)
    levels = frame().set_axis(pd.MultiIndex.from_arrays([G, np.arange(N)]))
    numbered = frame().assign(**{"0": 1}).rename(columns={"0": 0})
    for data in (doubled, levels, numbered, frame().to_dict("list")):
        pd.testing.assert_series_equal(fitted(data).params, usual)
    frozen = {key: column.to_numpy().copy() for key, column in frame().items()}
    for values in frozen.values():
        values.flags.writeable = False
    pd.testing.assert_series_equal(fitted(frozen).params, usual)
    pd.testing.assert_series_equal(fitted(frame().to_records()).params, usual)


def test_masked_entries_are_missing():
    masked = {
        "y": np.ma.masked_array(Y, mask=X > 1),
        "x": np.ma.masked_array(X, mask=X < -1),
        "g": np.ma.masked_array(G, mask=G == 3),
    }
    kept = (X <= 1) & (X >= -1) & (G != 3)
    res = fitted(masked)
    assert res.nobs == kept.sum()
    same = fitted(frame()[kept]).params
    np.testing.assert_allclose(res.params, same, rtol=1e-6)


def test_record_batches():
    pa = pytest.importorskip("pyarrow")
    batch = pa.RecordBatch.from_pandas(frame())
    np.testing.assert_allclose(fitted(batch).params, fitted(frame()).params)


@pytest.mark.parametrize(
    "data, error",
    [
        (frame().iloc[:0], DataError),
        (frame().iloc[:1], DesignError),
        (frame().iloc[:2], DesignError),
        (frame()[[]], lme.FormulaError),
        (frame().set_axis(["y", "x", "x"], axis=1), DataError),
        (pd.concat({"a": frame()}, axis=1), DataTypeError),
        ({"y": 1, "x": 2, "g": 3}, DataTypeError),
        ({"y": [1, 2], "x": [1], "g": [1, 2]}, DataError),
        ({"y": [[1], [2]], "x": [1, 2], "g": [1, 2]}, DataTypeError),
        ({"y": np.ones((N, 2)), "x": X, "g": G}, DesignError),
        (np.ones((5, 3)), DataTypeError),
        *[(wrong, DataTypeError) for wrong in (None, 3, len, frame()["y"])],
    ],
)
def test_what_is_no_data(data, error):
    with pytest.raises(error):
        fitted(data)


def test_long_identifiers_as_floating_point_numbers():
    """2e15 + 1 and 2e15 + 2 have one label of 15 digits."""
    data = frame(g=2e15 + G)
    with pytest.warns(DataWarning, match="10 different numbers make 5 levels"):
        res = lme.lmer(MODEL, data).fit()
    assert len(res.ranef()["g"]) == 5
    for exact in (data["g"].astype("int64"), data["g"].map("{:.0f}".format)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(fitted(data.assign(g=exact)).ranef()["g"]) == 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lme.lmer(MODEL, frame(g=1e15 + 10.0 * G)).fit()


def test_new_responses():
    res = fitted(frame())
    with pytest.raises(DesignError, match="constant"):
        res.refit(np.ones(N))
    with pytest.raises(DataTypeError, match="not numeric"):
        res.refit(pd.Categorical(list("ab" * 30)))


def test_abs2():
    with_abs2 = lme.lmer("y ~ abs2(x) + (1 | g)", frame()).fit()
    square = lme.lmer("y ~ I(x^2) + (1 | g)", frame()).fit()
    np.testing.assert_allclose(with_abs2.params, square.params)


def test_parts_of_getme():
    res = lme.lmer("y ~ x + (x | g)", frame()).fit()
    ST, factor = res.getME(["ST", "Tlist"]).values()
    scale = np.diag(ST["g"])
    unit = np.tril(ST["g"], -1) + np.eye(2)
    np.testing.assert_allclose(unit * scale, factor["g"], atol=1e-12)
    parts = res.getME("Ztlist")
    assert list(parts) == ["g.(Intercept)", "g.x"]
    np.testing.assert_array_equal(
        parts["g.x"].toarray(), res.getME("Zt").toarray()[1::2]
    )
    assert res.getME("m_i") == [3]


@pytest.mark.slow
def test_a_million_levels():
    n, levels = 1_200_000, 1_000_000
    g = np.concatenate([np.arange(levels), RNG.integers(0, levels, n - levels)])
    y = RNG.normal(size=n) + RNG.normal(size=levels)[g]
    res = lme.lmer(MODEL, {"y": y, "x": RNG.normal(size=n), "g": g}).fit()
    assert res.theta.iloc[0] == pytest.approx(1.0, abs=0.05)
