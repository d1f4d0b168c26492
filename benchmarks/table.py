"""The benchmark models: data, formula, and how often to repeat a fit."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from benchmarks.ratings import nested, ratings
from lme.tests.cases import data, has_data


@dataclass(frozen=True)
class Benchmark:
    """One model to time; `make_data` is called once."""

    name: str
    data: str
    formula: str
    reml: bool
    repetitions: int
    make_data: Callable[[], pd.DataFrame] | None = None

    @property
    def available(self) -> bool:
        return self.make_data is not None or has_data(self.data)

    def load(self) -> pd.DataFrame:
        return self.make_data() if self.make_data else data(self.data)


_KB07 = "S + T + U + V + W + X + Z"
BENCHMARKS = [
    Benchmark(
        "sleepstudy", "sleepstudy", "Reaction ~ Days + (Days | Subject)", True, 20
    ),
    Benchmark(
        "penicillin",
        "Penicillin",
        "diameter ~ 1 + (1 | plate) + (1 | sample)",
        True,
        20,
    ),
    Benchmark(
        "oats_nested",
        "oats",
        "yield ~ variety * nitrogen + (1 | block/mainplot)",
        True,
        10,
    ),
    Benchmark(
        "machines_vector", "Machines", "score ~ Machine + (Machine | Worker)", True, 10
    ),
    Benchmark(
        "insteval", "InstEval", "y ~ service * dept + (1 | s) + (1 | d)", False, 3
    ),
    Benchmark(
        "insteval_3",
        "InstEval",
        "y ~ service + (1 | s) + (1 | d) + (1 | dept)",
        False,
        3,
    ),
    Benchmark("d3_scalar", "d3", "Y ~ 1 + U + (1 | G) + (1 | H) + (1 | I)", False, 3),
    Benchmark(
        "d3_vector",
        "d3",
        "Y ~ 1 + U + (1 + U | G) + (1 + U | H) + (1 + U | I)",
        False,
        1,
    ),
    Benchmark(
        "kb07_intercepts", "kb07", f"Y ~ 1 + {_KB07} + (1 | G) + (1 | H)", False, 10
    ),
    Benchmark(
        "kb07_maximal",
        "kb07",
        f"Y ~ 1 + {_KB07} + (1 + {_KB07} | G) + (1 + {_KB07} | H)",
        False,
        1,
    ),
    Benchmark(
        "nested_1m",
        "generated",
        "y ~ x + (1 | class_) + (x | school)",
        True,
        1,
        nested,
    ),
    Benchmark(
        "ratings_1m",
        "generated",
        "y ~ 1 + (1 | user) + (1 | item)",
        False,
        1,
        ratings,
    ),
]
