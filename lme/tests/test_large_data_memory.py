"""A data set larger than the memory that a process may have."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import lme

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
resource = pytest.importorskip("resource")

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits of memory are those of Linux"
)

#: Fits the model in a process whose data segment is limited after the imports. The
#: limit is on private memory, as libraries reserve addresses that they never use.
CHILD = """
import resource, sys
import lme

path, small, formula = sys.argv[1:]

def fitted(data):
    return MODEL.fit()

# What is imported, allocated and started on first use is not the data's.
fitted(small)
with open("/proc/self/status") as status:
    lines = dict(line.split(":", 1) for line in status)
limit = int(lines["VmData"].split()[0]) * 1024 + EXTRA
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
if PARTITIONS:
    res = fitted(path)
else:
    import pandas as pd

    res = fitted(pd.read_parquet(path))
print(limit, repr(float(res.objective)), *map(repr, map(float, res.params)))
"""


#: One thread, and no memory that is set aside before it is needed.
ALONE = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


LINEAR = "lme.lmer(formula, data)"
COUNTS = "lme.glmer(formula, data, family='poisson')"


def fitted_apart(path, formula, extra, by_partitions=True, model=LINEAR):
    """Limit of memory, objective and coefficients from a process of its own."""
    code = CHILD.replace("EXTRA", str(extra)).replace("PARTITIONS", str(by_partitions))
    code = code.replace("MODEL", model)
    small = path.with_name("small.parquet")
    pq.write_table(pq.ParquetFile(path).read_row_group(0), small)
    found = subprocess.run(
        [sys.executable, "-c", code, str(path), str(small), formula],
        capture_output=True,
        text=True,
        timeout=300,
        env=ALONE,
    )
    if found.returncode:
        return None, found.stderr
    limit, *numbers = found.stdout.split()
    return int(limit), np.array(numbers, dtype=float)


def written(path, groups, rows, columns, levels, seed=3, counts=False):
    """A Parquet file of row groups with the same predictors and other responses."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns))
    g = rng.integers(0, levels, rows)
    effects = rng.normal(size=levels)[g]
    names = [f"x{j}" for j in range(columns)]
    fixed = [pa.array(column) for column in X.T]
    writer, size = None, 0
    for _ in range(groups):
        y = X[:, 0] + effects + rng.normal(size=rows)
        if counts:
            y = rng.poisson(np.exp(0.5 * (X[:, 0] + effects))).astype(float)
        table = pa.Table.from_arrays(
            [pa.array(y), pa.array(g), *fixed], names=["y", "g", *names]
        )
        if writer is None:
            writer = pq.ParquetWriter(
                path, table.schema, compression="none", use_dictionary=False
            )
        writer.write_table(table)
        size += table.nbytes
    writer.close()
    return size, f"y ~ {' + '.join(names)} + (1 | g)"


def test_more_than_the_memory_left(tmp_path):
    # Four times what may be allocated for data, beside the libraries.
    path, extra = tmp_path / "rows.parquet", 12 * 2**20
    size, formula = written(path, groups=54, rows=10_000, columns=10, levels=100)
    assert size > 4 * extra
    limit, found = fitted_apart(path, formula, extra)
    assert limit, found
    again = lme.lmer(formula, pd.read_parquet(path)).fit()
    np.testing.assert_allclose(found[0], again.objective, rtol=1e-12)
    np.testing.assert_allclose(found[1:], again.params, rtol=1e-8, atol=1e-10)
    # The limit holds: the same rows as one frame are too much.
    _, error = fitted_apart(path, formula, extra, by_partitions=False)
    assert "Error" in str(error)


@pytest.mark.slow
def test_four_times_the_memory_of_the_process(tmp_path):
    # All the process may have, libraries included.
    path, extra = tmp_path / "rows.parquet", 96 * 2**20
    size, formula = written(path, groups=170, rows=40_000, columns=40, levels=1000)
    limit, found = fitted_apart(path, formula, extra)
    assert limit, found
    assert size > 4 * limit
    # The coefficient of the first column is 1, that of the others 0.
    expected = np.zeros(found.size - 1)
    expected[1] = 1.0
    np.testing.assert_allclose(found[2:], expected[1:], atol=0.005)


@pytest.mark.slow
def test_counts_of_more_than_the_memory_left(tmp_path):
    """Iterations of a generalized model read the rows again, partition by partition."""
    path, extra = tmp_path / "rows.parquet", 12 * 2**20
    size, formula = written(
        path, groups=54, rows=10_000, columns=10, levels=100, counts=True
    )
    assert size > 4 * extra
    limit, found = fitted_apart(path, formula, extra, model=COUNTS)
    assert limit, found
    again = lme.glmer(formula, pd.read_parquet(path), family="poisson").fit()
    np.testing.assert_allclose(found[0], again.objective, rtol=1e-12)
    assert (np.abs(found[1:] - again.params) < 1e-6 * again.bse).all()
    _, error = fitted_apart(path, formula, extra, by_partitions=False, model=COUNTS)
    assert "Error" in str(error)
