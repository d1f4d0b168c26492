"""What to average over: specifications such as ``"~ a | b"``, and weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataTypeError, FormulaError, OptionError, near
from lme.inference.marginal.reference_grid import ReferenceGrid, check_predictor

Array = NDArray[np.float64]


def read_specs(
    specs: str | Sequence[str], by: str | Sequence[str] | None
) -> tuple[str, list[str], list[str]]:
    """Contrasts, variables and groups of a specification.

    Parameters
    ----------
    specs : str or sequence of str
        Names, or a formula ``~ a * b | c``, with contrasts as in ``pairwise ~ a``.
    by : str or sequence of str, optional
        Further variables whose levels are looked at apart.

    Returns
    -------
    contrasts : str
        Name of a family; empty without one.
    names, groups : list of str

    Raises
    ------
    FormulaError
        If the text cannot be read.

    Examples
    --------
    >>> read_specs("pairwise ~ a * b | c", None)
    ('pairwise', ['a', 'b'], ['c'])
    """
    groups = [by] if isinstance(by, str) else [] if by is None else list(by)
    if not isinstance(specs, str):
        if not isinstance(specs, Sequence):
            raise DataTypeError(
                f"specs is of type {type(specs).__name__}.",
                "Expected a name, a list of names, or a text such as '~ a | b'.",
            )
        return "", [str(name) for name in specs], groups
    if "~" not in specs:
        return "", [specs.strip()], groups
    left, _, right = specs.partition("~")
    inner, _, outer = right.partition("|")
    if "~" in right or "|" in outer:
        raise FormulaError(
            f"The specification {specs!r} has more than one '~' or '|'.",
            "Expected a text such as '~ a | b' or 'pairwise ~ a'.",
        )
    names, more = _names(inner, specs), _names(outer, specs)
    return left.strip(), names, [*more, *(g for g in groups if g not in more)]


def _names(text: str, specs: str) -> list[str]:
    """Names between ``+``, ``*`` or ``:``; 1 stands for none."""
    if not text.strip():
        return []
    # An even number of backticks behind it: a sign outside of them.
    parts = re.split(r"[+*:](?=(?:[^`]*`[^`]*`)*[^`]*$)", text)
    names = [part.strip() for part in parts]
    if any(not re.fullmatch(r"`[^`]+`|[^\s`()^-]+", name) for name in names):
        raise FormulaError(
            f"The specification {specs!r} cannot be read.",
            "Expected names joined by '*' or '+', and a bar before groups.",
            "For a variable inside a function, such as x in log(x), name x.",
        )
    return [name.strip("`") for name in names if name != "1"]


def check_specs(grid: ReferenceGrid, names: list[str], groups: list[str]) -> None:
    """Refuse unknown names, and a variable that is both inside and a group."""
    for name in names:
        check_predictor(name, grid.names, "specs")
    for name in groups:
        check_predictor(name, grid.names, "by")
    doubled = [name for name in names if name in groups or names.count(name) > 1]
    if doubled:
        raise OptionError(
            f"{doubled[0]!r} is named twice.", "Each variable has one place."
        )


def _equal(F: Array, parts: list[Array]) -> Array:
    return np.ones_like(F)


def _proportional(F: Array, parts: list[Array]) -> Array:
    return np.broadcast_to(F.sum(axis=0), F.shape)


def _outer(F: Array, parts: list[Array]) -> Array:
    """Products of the frequencies of each variable by itself."""
    product = np.ones(F.shape[1])
    for codes in parts:
        margin = np.bincount(codes, F.sum(axis=0))
        product = product * margin[codes]
    return np.broadcast_to(product, F.shape)


def _cells(F: Array, parts: list[Array]) -> Array:
    return F


def _flat(F: Array, parts: list[Array]) -> Array:
    return (F > 0.0).astype(float)


WEIGHTS: dict[str, Callable[[Array, list[Any]], Array]] = {
    "equal": _equal,
    "proportional": _proportional,
    "outer": _outer,
    "cells": _cells,
    "flat": _flat,
}
"""Weights of averaged rows, from frequencies (targets, averaged rows)."""


def averaging(grid: ReferenceGrid, wanted: list[str], weights: str) -> Array:
    """Weights that average a grid over all variables but those wanted.

    Parameters
    ----------
    grid : ReferenceGrid
    wanted : list of str
        Variables that stay; the first varies fastest.
    weights : str
        A key of `WEIGHTS`.

    Returns
    -------
    (t, m) array
        A row for each combination of values that stays; NaN where nothing that it
        averages has data and the weights need some.
    """
    if weights not in WEIGHTS:
        raise OptionError(
            f"weights={weights!r} is not known.",
            f"It must be one of {', '.join(map(repr, WEIGHTS))}.",
            near(str(weights), WEIGHTS),
        )
    sizes = [len(one.labels) for one in grid.predictors]
    stay = [grid.names.index(name) for name in wanted]
    gone = [j for j in range(len(sizes)) if j not in stay]
    target = _ravel(grid.codes[:, stay], [sizes[j] for j in stay])
    inner = _ravel(grid.codes[:, gone], [sizes[j] for j in gone])
    m, targets = len(target), int(target.max()) + 1
    place = np.empty((targets, m // targets), dtype=np.intp)
    place[target, inner] = np.arange(m)
    parts = [grid.codes[place[0], j] for j in gone]
    table = np.array(WEIGHTS[weights](grid.frequencies[place], parts), dtype=float)
    with np.errstate(invalid="ignore"):
        table /= table.sum(axis=1, keepdims=True)
    out = np.zeros((targets, m))
    np.put_along_axis(out, place, table, axis=1)
    return out


def _ravel(codes: NDArray[np.intp], sizes: list[int]) -> NDArray[np.intp]:
    """One number for each row, the first column running fastest."""
    out = np.zeros(len(codes), dtype=np.intp)
    for j in reversed(range(len(sizes))):
        out = out * sizes[j] + codes[:, j]
    return out
