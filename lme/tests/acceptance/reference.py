"""Data and fits from R; made by ``reference/scripts/make_acceptance.R``."""

import gzip
import json
from functools import cache
from typing import Any

import pandas as pd

from lme.tests.cases import REFERENCE


@cache
def references() -> dict[str, Any]:
    """Topic -> its data and fits."""
    path = REFERENCE / "acceptance" / "acceptance.json.gz"
    content: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return content


def frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Data as R had them; text columns are factors in order of appearance."""
    out = pd.DataFrame(columns)
    for name in out.columns:
        if not pd.api.types.is_numeric_dtype(out[name]):
            out[name] = pd.Categorical(out[name], pd.unique(out[name]))
    return out
