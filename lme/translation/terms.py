"""The random effects of a ``MixedLM`` as terms: a factor, columns and a structure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from lme.errors import OptionError

Array = NDArray[np.float64]

MAX_COLUMNS = 50
"""Columns of a variance component that can stand in one row."""
_CATEGORY = re.compile(r"^(?:C\()?(?P<name>[^()\[\]]+)\)?\[(?:T\.)?(?P<level>.*)\]$")


class Entry(NamedTuple):
    """One old parameter: its name, its source and index, its place in the term."""

    old: str
    source: str  # "re" for cov_re, "vc" for a variance component
    index: Any
    position: tuple[int, int]


@dataclass(frozen=True)
class OldTerm:
    """One random-effects term of a ``MixedLM``.

    Attributes
    ----------
    group : str
        Name of the grouping factor.
    labels : (n,) array of object
        Level of each row.
    values : (n, k) array
        Columns.
    columns : tuple of str
        Their names here.
    structure : str
    entries : tuple of Entry
    category : str
        The variable whose levels lie in the groups; empty if there is none.
    """

    group: str
    labels: NDArray[Any]
    values: Array
    columns: tuple[str, ...]
    structure: str
    entries: tuple[Entry, ...]
    category: str = ""


def group_name(model: Any) -> str:
    """Name of the grouping variable, as far as the model knows it."""
    names = list(getattr(model.data, "exog_re_names", None) or [])
    frame = getattr(model.data, "frame", None)
    groups = np.asarray(model.groups)
    if frame is not None:
        candidates = [str(name).removesuffix(" Var") for name in names]
        for name in [*candidates, *map(str, frame.columns)]:
            if name in frame and np.array_equal(np.asarray(frame[name]), groups):
                return name
    given = getattr(model.groups, "name", None)
    return str(given) if given is not None else "Group"


def old_terms(model: Any, free: Any, results: Any) -> list[OldTerm]:
    """The terms of a model.

    Parameters
    ----------
    model : MixedLM
    free : MixedLMParams or None
        The pattern of parameters that are estimated.
    results : MixedLMResults or None
        To see where parameters are held.

    Raises
    ------
    OptionError
        For what has no counterpart.
    """
    _check_pattern(model, free)
    group = group_name(model)
    labels = np.asarray(model.groups, dtype=object)
    found: list[OldTerm] = []
    if model.k_re:
        found += _slopes(model, free, results, group, labels)
    for k, name in enumerate(model.exog_vc.names):
        found.append(_component(model, k, str(name), group, labels))
    return found


def _check_pattern(model: Any, free: Any) -> None:
    if free is None:
        return
    fixed = np.asarray(free.fe_params)
    held = fixed.size and (fixed == 0).any()
    held = held or (model.k_re and (np.diag(free.cov_re) == 0).any())
    held = held or (model.k_vc and (np.asarray(free.vcomp) == 0).any())
    if held:
        raise OptionError(
            "free holds a fixed effect or a variance at its start.",
            "Only covariances can be held here, at zero.",
            "Leave the column or the component out of the model.",
        )


def _slopes(
    model: Any, free: Any, results: Any, group: str, labels: NDArray[Any]
) -> list[OldTerm]:
    """The terms of `exog_re`: one, or one for each block of a free pattern."""
    values = np.asarray(model.exog_re, dtype=float)
    k = values.shape[1]
    names = _slope_names(model, group, values)
    full = list(model.data.exog_re_names_full)
    pattern = np.ones((k, k)) if free is None else np.asarray(free.cov_re)
    blocks = _blocks(pattern != 0)
    if results is not None:
        outside = np.asarray(results.cov_re, dtype=float).copy()
        for block in blocks:
            outside[np.ix_(block, block)] = 0.0
        if np.abs(outside).max(initial=0.0) > 1e-12 * np.abs(results.cov_re).max():
            raise OptionError(
                "free holds a covariance at a value other than zero.",
                "Covariances can be held at zero only.",
            )
    found = []
    for block in blocks:
        entries = []
        for a, i in enumerate(block):
            for b, j in enumerate(block[: a + 1]):
                name = full[i * (i + 1) // 2 + j]
                old = name if name.endswith((" Var", " Cov")) else f"{name} Var"
                entries.append(Entry(old, "re", (i, j), (a, b)))
        columns = tuple(names[i] for i in block)
        found.append(
            OldTerm(group, labels, values[:, block], columns, "us", tuple(entries))
        )
    return found


def _slope_names(model: Any, group: str, values: Array) -> list[str]:
    names = [str(name) for name in model.data.exog_re_names]
    if len(names) != values.shape[1]:
        names = [f"x_re{i + 1}" for i in range(values.shape[1])]
    ones = (values == 1).all(axis=0)
    if ones.any():
        names[int(np.argmax(ones))] = "(Intercept)"
    return names


def _blocks(pattern: NDArray[np.bool_]) -> list[list[int]]:
    """Sets of columns that are correlated; refuses patterns between the two."""
    count, label = connected_components(sparse.csr_array(pattern.astype(float)))
    blocks = [np.flatnonzero(label == c).tolist() for c in range(count)]
    for block in blocks:
        if not pattern[np.ix_(block, block)].all():
            raise OptionError(
                "free holds some covariances of columns that others connect.",
                "Expected blocks: within each all covariances are estimated.",
                "Use an unstructured or a diagonal pattern.",
            )
    return sorted(blocks)


def _component(
    model: Any, k: int, name: str, group: str, labels: NDArray[Any]
) -> OldTerm:
    """A variance component: a nested factor, a slope, or columns of one variance."""
    mats = [_dense(mat) for mat in model.exog_vc.mats[k]]
    names = [list(map(str, each)) for each in model.exog_vc.colnames[k]]
    rows = [model.row_indices[label] for label in model.group_labels]
    entry = Entry(f"{name} Var", "vc", k, (0, 0))
    n = len(labels)
    widest = max(mat.shape[1] for mat in mats)
    if all(((mat != 0).sum(axis=1) <= 1).all() for mat in mats):
        if widest == 1:
            values = np.zeros((n, 1))
            for where, mat in zip(rows, mats, strict=True):
                values[where] = mat
            column = _one_name(names, values, name)
            return OldTerm(group, labels, values, (column,), "us", (entry,))
        return _nested(model, name, group, labels, mats, names, rows, entry)
    if widest > MAX_COLUMNS:
        raise OptionError(
            f"The variance component {name!r} has up to {widest} columns, several of "
            "them in one row.",
            f"Expected one column a row, or at most {MAX_COLUMNS}.",
        )
    values = np.zeros((n, widest))
    for where, mat in zip(rows, mats, strict=True):
        values[np.ix_(where, range(mat.shape[1]))] = mat
    longest = max(names, key=len)
    columns = (
        longest
        if len(set(longest)) == widest
        else [f"{name}{j}" for j in range(widest)]
    )
    return OldTerm(group, labels, values, tuple(columns), "homdiag", (entry,))


def _dense(mat: Any) -> Array:
    dense: Any = mat
    if sparse.issparse(mat):
        dense = dense.toarray()
    dense = np.asarray(dense)
    return np.asarray(dense, dtype=float).reshape(len(dense), -1)


def _one_name(names: list[list[str]], values: Array, name: str) -> str:
    if (values == 1).all():
        return "(Intercept)"
    found = {each[0] for each in names if each}
    return found.pop() if len(found) == 1 else name


def _nested(
    model: Any,
    name: str,
    group: str,
    labels: NDArray[Any],
    mats: list[Array],
    names: list[list[str]],
    rows: list[list[int]],
    entry: Entry,
) -> OldTerm:
    """A factor whose levels are the columns of each group."""
    n, single = len(labels), len(mats) == 1
    values, inner = np.zeros((n, 1)), np.empty(n, dtype=object)
    categories = set()
    for g, (where, mat, columns) in enumerate(zip(rows, mats, names, strict=True)):
        column = np.abs(mat).argmax(axis=1)
        values[where, 0] = mat[np.arange(len(mat)), column]
        short = []
        for text in columns:
            match = _CATEGORY.match(text)
            short.append(match["level"] if match else text)
            categories.add(match["name"].strip() if match else "")
        end = "" if single else f":{model.group_labels[g]}"
        for row, j in zip(where, column, strict=True):
            inner[row] = f"{short[j]}{end}"
    category = categories.pop() if len(categories) == 1 else ""
    factor = category or name
    full = factor if single else f"{factor}:{group}"
    column_name = "(Intercept)" if (values == 1).all() else name
    return OldTerm(full, inner, values, (column_name,), "us", (entry,), category)
