"""Memory of designs: it grows with the rows, not with the levels."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from lme.formula import build_design


@pytest.mark.parametrize("kind", ["category", "int", "str"])
def test_crossing_many_levels_forms_no_product(kind):
    rng = np.random.default_rng(2)
    n = 20_000
    data = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "f1": rng.integers(0, 10_000, n),
            "f2": rng.integers(0, 20_000, n),
        }
    ).astype({"f1": kind, "f2": kind})
    tracemalloc.start()
    design = build_design("y ~ 1 + (1 | f1:f2) + (1 | f1/f2)", data)
    assert design.Zt.nnz == 3 * n
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


def test_nested_factors_are_rows_apart():
    n = 10_000
    data = pd.DataFrame(
        {"y": np.zeros(n), "f1": np.arange(n), "f2": np.arange(n)[::-1]}
    )
    design = build_design("y ~ 1 + (1 | f1/f2)", data)
    assert design.Zt.shape == (2 * n, n)


@pytest.mark.slow
def test_a_million_rows():
    rng = np.random.default_rng(3)
    n = 1_000_000
    data = pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "u": rng.integers(0, 6000, n),
            "m": rng.integers(0, 4000, n),
        }
    )
    tracemalloc.start()
    design = build_design("y ~ 1 + (1 | u) + (1 | m)", data)
    assert design.Zt.shape == (10_000, n)
    assert tracemalloc.get_traced_memory()[1] < 400e6
    tracemalloc.stop()
