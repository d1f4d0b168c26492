"""Columns that learn from all rows, when the rows come in partitions."""

import numpy as np
import pandas as pd
import pytest

import lme
from lme.errors import DataError, FormulaError
from lme.partitions.statistics import OrderStatistics

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ds = pytest.importorskip("pyarrow.dataset")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(11)
    n = 900
    frame = pd.DataFrame(
        {
            "x": rng.gamma(2.0, 1.0, n) + 5,
            "o": rng.normal(size=n),
            "z": rng.normal(size=n),
            "f": rng.choice(["low", "mid", "high"], n),
            "b": rng.random(n) < 0.4,
            "k": rng.integers(1, 9, n),
            "g": rng.integers(0, 40, n),
        }
    )
    frame["y"] = frame["x"] + rng.normal(size=40)[frame["g"]] + rng.normal(size=n)
    frame.loc[::50, "z"] = np.nan
    return frame


@pytest.fixture(scope="module")
def rows(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("columns") / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=130)
    return ds.dataset(path)


def fits(formula, *sources):
    return [lme.lmer(f"y ~ {formula} + (1 | g)", data).fit() for data in sources]


@pytest.mark.parametrize(
    "terms",
    [
        "I(k - max(k)) + I(k / sum(k))",
        "I(x - min(x)) + I(o / var(o))",
        "I(z - mean(z, na.rm = TRUE)) + I(z > median(z, na.rm = TRUE))",
        "I(x > quantile(x, 0.3))",
        "scale(x, center = FALSE)",
        "scale(x, scale = FALSE) + scale(o, center = 2, scale = 3)",
        "scale(cbind(x, o))",
        "poly(x, o, degree = 2)",
        "poly(cbind(x, o), 2)",
        "poly(x, 2, raw = TRUE)",
        "ns(o, df = 3, Boundary.knots = c(-1, 1))",
        "interaction(f, b) + factor(cut(o, 3))",
        "bs(x, df = 5, Boundary.knots = c(6, 9))",
        "factor(factor(f):factor(k))",
    ],
)
@pytest.mark.filterwarnings("ignore::lme.errors.LMEWarning")
def test_same_columns_as_in_memory(frame, rows, terms):
    whole, parts = fits(terms, frame, rows)
    assert list(parts.params.index) == list(whole.params.index)
    np.testing.assert_allclose(parts.params, whole.params, rtol=1e-8, atol=1e-9)
    assert parts.objective == pytest.approx(whole.objective, rel=1e-12)
    np.testing.assert_allclose(
        parts.predict(frame[:9]), whole.predict(frame[:9]), rtol=1e-9
    )


@pytest.mark.filterwarnings("ignore::lme.errors.RankWarning")
@pytest.mark.parametrize("kind", ["spread", "equal", "near"])
def test_quantiles_of_many_values_are_exact(frame, tmp_path, monkeypatch, kind):
    """Found by counting in ever narrower ranges, where not all values can be held."""
    monkeypatch.setattr(OrderStatistics, "FEW", 20)
    monkeypatch.setattr(OrderStatistics, "PARTS", 8)
    data = frame.copy()
    if kind == "equal":
        data["x"] = np.where(data["x"] < 8, 7.0, 8.0)
    elif kind == "near":
        data["x"] = 1.0 + np.arange(len(data)) % 500 * 2.0**-52
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(data), path, row_group_size=130)
    for p in (0.0, 0.25, 0.5, 0.9, 1.0):
        terms = f"I(x > quantile(x, {p}))" if p < 1.0 else "I(x >= median(x))"
        whole, parts = fits(terms, data, path)
        assert parts.objective == pytest.approx(whole.objective, rel=1e-12)


def test_files_of_text(frame, tmp_path):
    path = tmp_path / "rows.csv"
    frame.to_csv(path, index=False)
    whole, parts = fits("x + f", frame, ds.dataset(path, format="csv"))
    assert parts.objective == pytest.approx(whole.objective, rel=1e-12)
    np.testing.assert_allclose(parts.params, whole.params, rtol=1e-9)


@pytest.mark.parametrize(
    ("terms", "error", "text"),
    [
        ("poly(z, 2)", FormulaError, "missing or infinite"),
        ("I(x > quantile(z, 0.5))", FormulaError, "na.rm = TRUE"),
        ("ns(o, 3, Boundary.knots = c(50, 60))", FormulaError, "no values within"),
        ("I(z - mean(z))", DataError, "Every row has a missing value"),
        ("I(z > median(z))", DataError, "Every row has a missing value"),
    ],
)
def test_columns_that_cannot_be(frame, rows, terms, error, text):
    for data in (frame, rows):
        with pytest.raises(error, match=text):
            fits(terms, data)
