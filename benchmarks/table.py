"""The benchmark models: data, formula, and how often to repeat a fit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

import lme
from benchmarks.ratings import answers, nested, ratings
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
    family: str | None = None
    nAGQ: int = 1  # noqa: N815

    @property
    def available(self) -> bool:
        return self.make_data is not None or has_data(self.data)

    def load(self) -> pd.DataFrame:
        return self.make_data() if self.make_data else data(self.data)

    def fit(self, frame: pd.DataFrame) -> Any:
        """Formula, design, search and results."""
        if self.family is None:
            return lme.lmer(self.formula, frame).fit(reml=self.reml)
        model = lme.glmer(self.formula, frame, family=self.family)
        return model.fit(nAGQ=self.nAGQ)


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

_CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
_WOMEN = "use ~ age + I(age^2) + urban + livch"
_VERBAL = "r2 ~ Anger + Gender + btype + situ + mode + (1 | id) + (1 | item)"


def _generalized(
    name: str,
    data: str,
    formula: str,
    nAGQ: int = 1,
    make_data: Callable[[], pd.DataFrame] | None = None,
    family: str = "binomial",
) -> Benchmark:
    return Benchmark(name, data, formula, False, 3, make_data, family, nAGQ)


BENCHMARKS += [
    _generalized("cbpp", "cbpp", _CBPP),
    _generalized("cbpp_agq9", "cbpp", _CBPP, 9),
    _generalized("contraception", "Contraception", f"{_WOMEN} + (1 | district)"),
    _generalized(
        "contraception_agq9", "Contraception", f"{_WOMEN} + (1 | district)", 9
    ),
    _generalized(
        "contraception_slope", "Contraception", f"{_WOMEN} + (urban | district)"
    ),
    _generalized("verbagg", "VerbAgg", _VERBAL),
    _generalized("verbagg_fast", "VerbAgg", _VERBAL, 0),
    _generalized(
        "grouseticks",
        "grouseticks",
        "TICKS ~ YEAR + scale(HEIGHT) + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        family="poisson",
    ),
    _generalized(
        "answers_1m",
        "generated",
        "y ~ x + (1 | subject) + (1 | item)",
        make_data=answers,
    ),
]
