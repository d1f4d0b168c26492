"""Intervals of a numeric vector as a factor: R's ``cut``."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError
from lme.formula.arguments import State, required, switch, vector, whole
from lme.formula.factors import recoding, texts
from lme.formula.values import Factor, Value, label
from lme.formula.vectors import with_missing

MAX_BREAKS = 100_000


def cut_fit(
    x: Value,
    breaks: Value = None,
    labels: Value = None,
    include_lowest: Value = None,
    right: Value = None,
    dig_lab: Value = None,
    ordered_result: Value = None,
) -> tuple[State, Value]:
    """R's ``cut``: intervals of a numeric vector as a factor.

    Notes
    -----
    A single number of intervals divides the range into equal parts, its ends moved
    outwards by a thousandth of the range. Labels have 3 significant digits, or as
    many as are needed to tell the breaks apart.
    """
    numbers = vector(required(x, "cut"), "cut", "x")
    edges = _edges(numbers, required(breaks, "cut", "breaks"))
    state: State = {
        "edges": edges,
        "right": switch(right, "cut", "right", True),
        "closed": switch(include_lowest, "cut", "include.lowest", False),
        "ordered": switch(ordered_result, "cut", "ordered_result", False),
    }
    if labels is None:
        digits = whole(dig_lab, "cut", "dig.lab", 3)
        names: list[str] | None = _interval_labels(
            edges, digits, state["right"], state["closed"]
        )
    elif isinstance(labels, np.ndarray) and labels.dtype.kind == "b":
        names = None if not labels.all() else [label(True)]
    else:
        names = texts(labels, "cut", "labels")
    if names is not None and len(names) != len(edges) - 1:
        raise FormulaError(
            f"cut() got {len(names)} labels for {len(edges) - 1} intervals.",
            "Give one label for each interval.",
        )
    state["labels"] = None if names is None else tuple(names)
    return state, cut_apply(state, numbers)


def cut_apply(state: State, x: Value, *_: Value) -> Value:
    """`cut_fit` repeated on new data; missing outside the remembered breaks."""
    numbers, edges = vector(required(x, "cut"), "cut", "x"), state["edges"]
    side: Any = "left" if state["right"] else "right"
    codes = np.searchsorted(edges, numbers, side=side) - 1
    if state["closed"]:
        end = edges[0] if state["right"] else edges[-1]
        codes[numbers == end] = 0 if state["right"] else len(edges) - 2
    outside = (codes < 0) | (codes >= len(edges) - 1) | np.isnan(numbers)
    codes = np.where(outside, -1, codes).astype(np.intp)
    if state["labels"] is None:
        return with_missing(codes + 1, outside)
    levels = tuple(dict.fromkeys(state["labels"]))
    if len(levels) != len(state["labels"]):
        codes = recoding(state["labels"], levels)[codes]
    return Factor(codes, levels, state["ordered"])


def _edges(x: NDArray[np.float64], breaks: Value) -> NDArray[np.float64]:
    edges = np.sort(vector(breaks, "cut", "breaks"))
    if len(edges) == 1:
        if not 2 <= edges[0] <= MAX_BREAKS:
            raise FormulaError(
                f"cut() got breaks = {label(float(edges[0]))}.",
                f"A number of intervals must be between 2 and {MAX_BREAKS}.",
            )
        finite = x[~np.isnan(x)]
        if not len(finite) or not np.isfinite(finite).all():
            raise FormulaError("cut() cannot divide a range that is not finite.")
        low, high = finite.min(), finite.max()
        width = high - low
        count = int(edges[0]) + 1
        if width == 0:
            width = abs(low) or 1.0
            return np.linspace(low - width / 1000, high + width / 1000, count)
        edges = np.linspace(low, high, count)
        edges[[0, -1]] = low - width / 1000, high + width / 1000
    if len(edges) < 2 or len(edges) > MAX_BREAKS or np.isnan(edges).any():
        raise FormulaError("cut() needs at least two breaks that are not missing.")
    if (np.diff(edges) == 0).any():
        raise FormulaError("cut() got the same break twice.")
    return edges


def _interval_labels(
    edges: NDArray[np.float64], digits: int, right: bool, closed: bool
) -> list[str]:
    for precision in range(max(digits, 1), max(12, digits) + 1):
        marks = [f"{e:.{min(precision, 50)}g}" for e in (edges + 0.0).tolist()]
        if all(a != b for a, b in pairwise(marks)):
            break
    else:
        return [f"Range_{i}" for i in range(1, len(edges))]
    # R formats infinite breaks together, in a common width: "(0, Inf]".
    wide = " Inf" if marks[0] == "-inf" else "Inf"
    marks = [{"inf": wide, "-inf": "-Inf"}.get(mark, mark) for mark in marks]
    left, close = ("(", "]") if right else ("[", ")")
    names = [f"{left}{a},{b}{close}" for a, b in pairwise(marks)]
    if closed and right:
        names[0] = "[" + names[0][1:]
    elif closed:
        names[-1] = names[-1][:-1] + "]"
    return names
