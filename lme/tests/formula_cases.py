"""The reference cases of the formula language: data frames and R's results."""

import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).resolve().parent / "reference" / "formula"


def _read(name):
    return gzip.decompress((FOLDER / name).read_bytes()).decode()


@cache
def _columns():
    return json.loads(_read("data.json.gz"))


@cache
def frame(name):
    """A data set as a frame: R's level order, missing values NaN or None."""
    columns = {}
    for column in _columns()[name]:
        text = np.array(column["text"], dtype=object)
        missing = text == "NA"
        kind = column["type"]
        if kind == "integer" and not missing.any():
            values = text.astype(np.int64)
        elif kind in ("integer", "double"):
            values = np.where(missing, "nan", text).astype(float)
        elif kind == "logical":
            values = text == "TRUE"
            if missing.any():
                values = np.where(missing, None, values)
        else:
            values = np.where(missing, None, text)
            if kind != "string":
                values = pd.Categorical(
                    values, categories=column["levels"], ordered=kind == "ordered"
                )
        columns[column["name"]] = values
    return pd.DataFrame(columns)


@cache
def cases():
    """Every hand-made case as a dictionary; see the specification, section 8."""
    return [json.loads(line) for line in _read("cases.jsonl.gz").splitlines()]


def random_formulas(name):
    """Results of random_formulas.R, one dictionary for each formula."""
    return [json.loads(line) for line in _read(f"random_{name}.jsonl.gz").splitlines()]


def first_random_formulas():
    """Formula and R's result as text, of the set that came with the specification."""
    return [line.split("\t") for line in _read("random_42.tsv.gz").splitlines()]


def hashed(values):
    """A vector or matrix as one number, as random_formulas.R computes it."""
    values = np.asarray(values, dtype=float)
    if not values.size:
        return 0.0
    rows = np.sin(np.arange(1, len(values) + 1))
    if values.ndim == 1:
        return float(values @ rows)
    return float(rows @ values @ np.cos(np.arange(1, values.shape[1] + 1)))
