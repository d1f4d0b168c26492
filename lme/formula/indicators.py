"""Codings inside a formula: ``C()``, ``contr.*()``, ``dummy()``, ``fulldummy()``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lme.errors import FormulaError, near
from lme.formula.arguments import (
    State,
    check_size,
    required,
    strings,
    switch,
    vector,
    whole,
)
from lme.formula.coding import (
    CONTRASTS,
    Coding,
    completed,
    contrast_name,
    full_dummy,
    numbered,
    polynomial,
    treatment,
)
from lme.formula.factors import texts
from lme.formula.values import (
    ContrastFunction,
    Factor,
    Matrix,
    Value,
    as_double,
    as_factor,
    is_text,
    rows,
)

MAX_LEVELS = 2_000


def coded_fit(
    x: Value,
    contr: Value = None,
    how_many: Value = None,
    base: Value = None,
    scores: Value = None,
) -> tuple[State, Value]:
    """R's ``C(object, contr, how.many)``: a factor with a coding of its own.

    Notes
    -----
    A contrast function given as an object numbers the levels, so that
    ``C(f, contr.SAS)`` has the columns 1, 2, ...; the same one given by name,
    ``C(f, "contr.SAS")`` or ``C(f, SAS)``, uses the labels. So does R.
    """
    source = as_factor(required(x, "C", "object"))
    levels = source.levels
    if not 2 <= len(levels) <= MAX_LEVELS:
        raise FormulaError(
            f"C() got a factor with {len(levels)} level(s).",
            f"A coding needs between 2 and {MAX_LEVELS} levels.",
        )
    if isinstance(contr, Factor):
        raise FormulaError(
            "The argument 'contr' of C() is a factor.",
            "The name of a contrast function, or a matrix, was expected.",
        )
    name = "poly" if source.ordered else "treatment"
    if is_text(contr):
        name = contrast_name((strings(contr, "C", "contr") or [""])[0])
    count = None if how_many is None else whole(how_many, "C", "how.many", 0)
    plain = count is None and base is None and scores is None
    contrasts: str | Coding
    if (contr is None or is_text(contr)) and plain:
        contrasts = name
    elif isinstance(contr, (np.ndarray, Matrix)) and not is_text(contr):
        columns = contr.columns if isinstance(contr, Matrix) else None
        matrix = as_double(contr, "The argument 'contr' of C()")
        contrasts = completed(matrix, columns, levels, count)
    else:
        kind = contr.name if isinstance(contr, ContrastFunction) else name
        coding = contrast_coding(kind, numbered(len(levels)), base, scores)
        contrasts = completed(*coding, levels, count)
    state = {"levels": levels, "ordered": source.ordered, "contrasts": contrasts}
    return state, replace(source, contrasts=contrasts)


def contrast_coding(
    name: str, levels: Sequence[str], base: Value = None, scores: Value = None
) -> Coding:
    """The matrix of a contrast function, with its optional argument."""
    if base is not None and name == "treatment":
        position = whole(base, "contr.treatment", "base", 1)
        if not 1 <= position <= len(levels):
            raise FormulaError(
                f"contr.treatment() got base = {position}.",
                f"It must be a position in 1 to {len(levels)}.",
            )
        return treatment(levels, position - 1)
    if scores is not None and name == "poly":
        return polynomial(levels, vector(scores, "contr.poly", "scores"))
    if base is not None or scores is not None:
        raise FormulaError(
            f"contr.{name}() got an argument that it does not have.",
            "contr.treatment() has 'base' and contr.poly() has 'scores'.",
        )
    return CONTRASTS[name](levels)


def contrast_matrix_of(name: str, n: Value, contrasts: Value, extra: Value) -> Value:
    """The value of a call such as ``contr.treatment(3, base = 2)``.

    Parameters
    ----------
    name : str
        Key in `CONTRASTS`.
    n : Value
        The number of levels, or the levels.
    contrasts : Value
        FALSE asks for the indicators of all levels.
    extra : Value
        ``base`` or ``scores``.
    """
    function = f"contr.{name}"
    if rows(required(n, function, "n")) == 1 and not is_text(n):
        count = whole(n, function, "n", 0)
        levels = numbered(min(max(count, 0), MAX_LEVELS + 1))
    else:
        levels = tuple(texts(n, function, "n"))
    if not 2 <= len(levels) <= MAX_LEVELS:
        raise FormulaError(
            f"{function}() was asked for {len(levels)} levels.",
            f"Contrasts need between 2 and {MAX_LEVELS} levels.",
        )
    if not switch(contrasts, function, "contrasts", True):
        return Matrix(*full_dummy(levels))
    base, scores = (extra, None) if name == "treatment" else (None, extra)
    return Matrix(*contrast_coding(name, levels, base, scores))


def dummy_fit(x: Value, keep: Value = None) -> tuple[State, Value]:
    """lme4's ``dummy(f, levelsToKeep)``: indicators of some levels.

    Notes
    -----
    All levels but the first are kept when none are named.
    """
    source = as_factor(required(x, "dummy", "f"))
    levels = source.levels[1:]
    if keep is not None:
        levels = tuple(texts(keep, "dummy", "levelsToKeep"))
        for name in levels:
            if name not in source.levels:
                raise FormulaError(
                    f"dummy() got {name!r}, which is not a level.",
                    f"The levels are {', '.join(source.levels[:10])}.",
                    near(name, source.levels),
                )
    if not levels:
        raise FormulaError("dummy() has no level to make a column of.")
    state = {"levels": levels, "all": source.levels}
    return state, _indicators(source, state, "dummy")


def fulldummy_fit(x: Value) -> tuple[State, Value]:
    """Indicators of all levels, as ``fulldummy(f)`` of MixedModels.jl."""
    source = as_factor(required(x, "fulldummy", "f"))
    state = {"levels": source.levels, "all": source.levels}
    return state, _indicators(source, state, "fulldummy")


def dummy_apply(state: State, x: Value, *_: Value) -> Value:
    """Indicators of the remembered levels on new data."""
    source = as_factor(required(x, "dummy", "f"))
    unknown = [t for t in source.drop_unused().levels if t not in state["all"]]
    if unknown:
        raise FormulaError(
            f"dummy() got the new level {unknown[0]!r}.",
            f"The fitted levels are {', '.join(state['all'][:10])}.",
        )
    return _indicators(source, state, "dummy")


def _indicators(source: Factor, state: State, function: str) -> Matrix:
    levels = state["levels"]
    check_size(len(source), len(levels), function)
    column = {text: j for j, text in enumerate(levels)}
    lookup = np.array([column.get(t, -1) for t in source.levels] + [-1], dtype=np.intp)
    values = (lookup[source.codes][:, None] == np.arange(len(levels))).astype(float)
    values[source.codes < 0] = np.nan
    return Matrix(values, levels)
