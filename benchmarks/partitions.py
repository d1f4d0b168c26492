"""``python -m benchmarks.partitions``: data read by row groups, one thread.

Six numbers and a category, and grouping factors whose levels are drawn at random, or
come in blocks (``sorted``): then a row group has its own levels of the first factor,
and each meets four of the second. A process for each data set, for its peak of memory;
seconds are those of the processor.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import lme
from lme.partitions.sources import DatasetSource, source_of

FIXED = "y ~ x1 + x2 + x3 + x4 + f"
GROUP_ROWS = 250_000
#: Rows, levels, and words about the levels.
CASES = [
    ("2e6", "1e3", "random"),
    ("2e6", "1e5", "random"),
    ("2e6", "1e6", "random"),
    ("4e6", "2e6", "random"),
    ("2e6", "1e5", "text"),
    ("2e6", "1e3x1e2", "random"),
    ("2e6", "1e5x1e3", "random"),
    ("2e6", "1e5x1e4", "sorted"),
]


def levels_of(
    rng: np.random.Generator, first: int, n: int, case: tuple[int, tuple[int, ...], str]
) -> list[np.ndarray]:
    """Codes of the levels of some rows, for each factor."""
    rows, counts, kind = case
    codes = [rng.integers(0, count, n) for count in counts]
    if kind == "sorted":
        codes[0] = (first + np.arange(n)) * counts[0] // rows
        for i in range(1, len(counts)):
            codes[i] = (codes[0] * counts[i] // counts[0] + codes[i] % 4) % counts[i]
    return codes


def write(path: Path, case: tuple[int, tuple[int, ...], str]) -> str:
    """A Parquet file in row groups, and the formula of its model."""
    rows, counts, kind = case
    rng = np.random.default_rng(rows + sum(counts))
    effects = [rng.normal(size=count) for count in counts]
    writer = None
    for first in range(0, rows, GROUP_ROWS):
        n = min(GROUP_ROWS, rows - first)
        frame = pd.DataFrame({f"x{i}": rng.normal(size=n) for i in range(1, 5)})
        frame["f"] = pd.Categorical(rng.choice(list("abc"), n), list("abc"))
        frame["y"] = frame["x1"] + rng.normal(size=n)
        for i, codes in enumerate(levels_of(rng, first, n, case)):
            frame["y"] += effects[i][codes]
            text = kind == "text"
            frame[f"g{i}"] = "u" + pd.Series(codes).astype(str) if text else codes
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return FIXED + "".join(f" + (1 | g{i})" for i in range(len(counts)))


def peak() -> float:
    """Megabytes at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(case: tuple[int, tuple[int, ...], str]) -> str:
    """One line of figures."""
    spent: dict[str, float] = {}
    fold = DatasetSource.fold

    def timed(self, task, absorb, columns):
        begin = time.process_time()
        fold(self, task, absorb, columns)
        spent[type(task).__name__] = time.process_time() - begin

    rows = case[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        formula = write(path, case)
        size, before = path.stat().st_size / rows, peak()
        source = source_of(path)
        begin = time.process_time()
        source.fold(lambda frame, number: None, lambda _: None, source.columns)
        reading = time.process_time() - begin
        DatasetSource.fold = timed
        begin = time.process_time()
        res = lme.lmer(formula, path).fit()
        whole = time.process_time() - begin
    passes = [rows / spent[name] for name in ("Surveyor", "Tabulator", "Adder")]
    rates = " ".join(f"{rate / 1e6:8.2f}" for rate in (rows / reading, *passes))
    rest = whole - sum(spent.values())
    kernel = res.convergence.kernel
    memory = f"{before:6.0f} {peak():6.0f}"
    return f"{size:6.0f} {rates} {rest:8.2f} {whole:8.2f} {memory} {kernel}"


def main() -> None:
    """Print one row for each data set."""
    if len(sys.argv) == 4:
        counts = tuple(int(float(count)) for count in sys.argv[2].split("x"))
        print(run((int(float(sys.argv[1])), counts, sys.argv[3])))
        return
    print(
        f"{'':24s} bytes  millions of rows a second       seconds           MB\n"
        f"{'rows levels ids':24s} a row     read   survey tabulate      sum"
        "     rest    whole before   peak kernel"
    )
    for words in CASES:
        print(f"{' '.join(words):24s}", end=" ", flush=True)
        subprocess.run([sys.executable, "-m", "benchmarks.partitions", *words])


if __name__ == "__main__":
    main()
