"""Models that the tests share: which data, which formula, which options.

`CASES` is every model with a reference fit, read from ``reference/lmm``;
`BENCH_CASES` are larger ones, whose objectives other engines agree on.
"""

import gzip
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import lme.datasets
from lme.datasets.storage import decode

HERE = Path(__file__).resolve().parent
REFERENCE = HERE / "reference"
SHARED = HERE.parents[1].parent / "shared"

# theta and sigma are not identified separately, or theta alone is not: only the
# objective, the fixed effects and the covariance of the response are. (In
# daysF_zerocorr0 the ten variances of the days and sigma^2 only occur as sums.)
NOT_IDENTIFIED = {
    "daysF_corr",
    "daysF_split",
    "daysF_dbar",
    "daysF_zerocorr0",
    "half_dbar",
    "machines_dbar",
}
# Seconds, not milliseconds, for one fit.
SLOW: set[str] = set()


@dataclass(frozen=True)
class Case:
    """One model; `options` are keyword arguments of `lme.lmer`."""

    id: str
    data: str
    formula: str
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def identified(self) -> bool:
        """Whether theta and sigma can be compared, not only what they imply."""
        return self.id not in NOT_IDENTIFIED

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `lme.lmer`, formula and data included."""
        return {"formula": self.formula, "data": data(self.data), **self.options}

    def fit(self, reml: bool = True, **options: Any) -> Any:
        """The fitted model."""
        return lme.lmer(**self.arguments()).fit(reml=reml, **options)


def data(name: str) -> pd.DataFrame:
    """A data set of the package, of the test folder or of ../shared, as R has it."""
    if name in lme.datasets.list():
        return lme.datasets.load(name)
    path = REFERENCE / "data" / f"{name}.txt.gz"
    if path.exists():
        return decode(path.read_bytes())
    frame = pd.read_csv(SHARED / "bench" / "data" / f"{name}.csv.gz")
    return frame.astype({c: "category" for c in ("G", "H", "I") if c in frame})


def has_data(name: str) -> bool:
    """Whether `data` finds it; d3 is too large to be copied here."""
    return (
        name in lme.datasets.list()
        or (REFERENCE / "data" / f"{name}.txt.gz").exists()
        or (SHARED / "bench" / "data" / f"{name}.csv.gz").exists()
    )


@cache
def reference_models() -> dict[str, dict[str, Any]]:
    """Model id -> its formula, data, options and ``fits`` ("REML", "ML")."""
    path = REFERENCE / "lmm" / "models.json.gz"
    models: dict[str, dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return models


def _case(entry: dict[str, Any]) -> Case:
    options = {
        key: entry[key] for key in ("weights", "offset", "subset") if entry.get(key)
    }
    if entry.get("contrasts"):
        options["contrasts"] = {k: v[0] for k, v in entry["contrasts"].items()}
    if entry.get("lmerControl_checks"):
        options["checks"] = entry["lmerControl_checks"]
    return Case(
        entry["id"],
        entry["data"],
        entry["formula"],
        options,
        entry.get("note", ""),
    )


CASES = {name: _case(entry) for name, entry in reference_models().items()}

_KB07 = "S + T + U + V + W + X + Z"
BENCH_CASES = {
    case.id: case
    for case in [
        Case(
            "insteval_3",
            "InstEval",
            "y ~ service + (1 | s) + (1 | d) + (1 | dept)",
        ),
        Case("kb07_intercepts", "kb07", f"Y ~ 1 + {_KB07} + (1 | G) + (1 | H)"),
        Case(
            "kb07_maximal",
            "kb07",
            f"Y ~ 1 + {_KB07} + (1 + {_KB07} | G) + (1 + {_KB07} | H)",
        ),
        Case("d3_scalar", "d3", "Y ~ 1 + U + (1 | G) + (1 | H) + (1 | I)"),
        Case("d3_vector", "d3", "Y ~ 1 + U + (1 + U | G) + (1 + U | H) + (1 + U | I)"),
    ]
}
