"""A formula in lme4's notation that gives the matrices of a ``MixedLM``.

The translation is a guess from names; it counts only if the matrices are the same.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import LMEError
from lme.formula.design import build_design
from lme.formula.records import Design, RandomTerm
from lme.formula.syntax import quote_name
from lme.translation.terms import OldTerm, group_name

Array = NDArray[np.float64]
Found = tuple[str, Any, list[str], list[tuple[int, tuple[int, ...]]]]

_REWRITTEN = (
    (re.compile(r"\bC\((\w+)\)"), r"factor(\1)"),
    (re.compile(r"\bnp\.(log|log2|log10|log1p|exp|expm1|sqrt|sin|cos)\b"), r"\1"),
    (re.compile(r"\bQ\((['\"])(.*?)\1\)"), r"`\2`"),
    (re.compile(r"\*\*"), "^"),
)


def fixed_part(text: str) -> str:
    """A formula of patsy in R's notation, as far as the two differ in names.

    Examples
    --------
    >>> fixed_part("np.log(y) ~ C(f) * Q('a b')")
    'log(y) ~ factor(f) * `a b`'
    """
    for pattern, new in _REWRITTEN:
        text = pattern.sub(new, text)
    return " ".join(text.split())


def translated_design(
    model: Any, terms: list[OldTerm], re_formula: str | None
) -> Found | None:
    """Formula, data, names of the columns and places of the terms; None without one."""
    frame, text = getattr(model.data, "frame", None), getattr(model, "formula", None)
    if frame is None or not isinstance(text, str) or "~" not in text:
        return None
    group = group_name(model)
    single = len(model.group_labels) == 1
    if not single and group not in frame:
        return None
    bars = []
    for term in terms:
        bar = _bar(term, group, single)
        if bar is None:
            return None
        bars.append(bar)
    formula = f"{fixed_part(text)} + {' + '.join(bars)}"
    try:
        design = build_design(formula, frame)
    except LMEError:
        return None
    columns = _same_columns(model, design)
    places = _same_terms(terms, design)
    if columns is None or places is None:
        return None
    return formula, frame, columns, places


def _bar(term: OldTerm, group: str, single: bool) -> str | None:
    """The random term in brackets; None where there is no way to write it."""
    if term.structure != "us":
        return None
    inner = [name for name in term.columns if name != "(Intercept)"]
    left = [] if len(inner) < len(term.columns) else ["0"]
    left += [fixed_part(name) for name in inner]
    factor = quote_name(group)
    if term.category:
        factor = quote_name(term.category)
        factor = factor if single else f"{factor}:{quote_name(group)}"
    elif ":" in term.group or term.group != group:
        return None
    shown = ["1"] if not inner else left if left[:1] == ["0"] else ["1", *left]
    return f"({' + '.join(shown)} | {factor})"


def _same_columns(model: Any, design: Design) -> list[str] | None:
    """The new name of each old column; None unless the matrices are the same."""
    X = np.asarray(model.exog, dtype=float)
    y = np.asarray(model.endog, dtype=float)
    if X.shape != design.X.shape or not np.allclose(y, design.y, rtol=1e-12, atol=0.0):
        return None
    names: list[str] = []
    for column in X.T:
        for name, candidate in zip(design.column_names, design.X.T, strict=True):
            scale = np.abs(column).max(initial=0.0)
            if name not in names and np.allclose(
                column, candidate, rtol=0.0, atol=1e-12 * scale
            ):
                names.append(name)
                break
        else:
            return None
    return names


def _same_terms(
    terms: list[OldTerm], design: Design
) -> list[tuple[int, tuple[int, ...]]] | None:
    """The new term and the order of columns of each old term; None unless equal."""
    places: list[tuple[int, tuple[int, ...]]] = []
    if len(terms) != len(design.terms):
        return None
    for term in terms:
        for k, new in enumerate(design.terms):
            order = _order(term, new)
            if order is not None and all(k != taken for taken, _ in places):
                places.append((k, order))
                break
        else:
            return None
    return places


def _order(term: OldTerm, new: RandomTerm) -> tuple[int, ...] | None:
    """Where each column of the old term is in the new one; None if they differ."""
    if term.values.shape != new.values.shape or not _same_partition(
        term.labels, new.codes
    ):
        return None
    order: list[int] = []
    for column in term.values.T:
        scale = np.abs(column).max(initial=0.0)
        for j, candidate in enumerate(new.values.T):
            if j not in order and np.allclose(
                column, candidate, rtol=0.0, atol=1e-12 * scale
            ):
                order.append(j)
                break
        else:
            return None
    return tuple(order)


def _same_partition(labels: NDArray[Any], codes: NDArray[np.intp]) -> bool:
    pairs = set(zip(labels.tolist(), codes.tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
