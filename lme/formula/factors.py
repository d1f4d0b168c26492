"""Functions that make, recode and code factors.

Each pair ``*_fit`` and ``*_apply`` returns what must be remembered with the value,
and repeats the value on new data. Levels of the training data stay in their places;
a level that only new data have is appended behind them, where the caller finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError, near
from lme.formula.arguments import (
    check_size,
    required,
    strings,
    switch,
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
from lme.formula.values import (
    ContrastFunction,
    Factor,
    Matrix,
    Value,
    as_double,
    as_factor,
    describe,
    is_text,
    label,
    rows,
)

# All combinations are listed up to this number, beyond it those that occur.
MAX_COMBINATIONS = 100_000
MAX_BREAKS = 100_000

State = dict[str, Any]


def conform(factor: Factor, levels: Sequence[str]) -> Factor:
    """A factor recoded to `levels`, its other levels appended.

    Examples
    --------
    >>> conform(Factor(np.array([0, 1]), ("b", "z")), ("a", "b"))
    Factor(codes=array([1, 2]), levels=('a', 'b', 'z'), ordered=False, contrasts=None)
    """
    levels = tuple(levels)
    if factor.levels == levels:
        return factor
    position = {text: i for i, text in enumerate(levels)}
    used = factor.drop_unused()
    extra = tuple(text for text in used.levels if text not in position)
    position.update({text: len(levels) + i for i, text in enumerate(extra)})
    lookup = np.array([position[t] for t in used.levels] + [-1], dtype=np.intp)
    return replace(factor, codes=lookup[used.codes], levels=levels + extra)


def texts(value: Value, function: str, parameter: str) -> list[str]:
    """The elements of a vector as labels."""
    if isinstance(value, Factor):
        return [value.levels[c] for c in value.codes]
    if not isinstance(value, np.ndarray):
        raise FormulaError(
            f"The argument {parameter!r} of {function}() is {describe(value)}.",
            "A vector of levels was expected.",
        )
    return [label(v) for v in value.tolist() if v is not None]


def factor_fit(
    x: Value,
    levels: Value = None,
    labels: Value = None,
    exclude: Value = None,
    ordered: Value = None,
) -> tuple[State, Value]:
    """R's ``factor(x, levels, labels, exclude, ordered)``; drops unused levels."""
    if exclude is not None:
        raise FormulaError(
            "factor() has an argument 'exclude'.",
            "It is not supported.",
            "Leave the values out of levels=.",
        )
    x = _comparable(required(x, "factor"), levels)
    source = as_factor(x)
    if levels is None:
        keys: list[str] = list(source.drop_unused().levels)
    else:
        keys = texts(levels, "factor", "levels")
        if len(set(keys)) != len(keys):
            raise FormulaError("factor() got the same level twice in 'levels'.")
    names = keys if labels is None else texts(labels, "factor", "labels")
    if labels is not None and len(names) == 1 and len(keys) != 1:
        names = [f"{names[0]}{i + 1}" for i in range(len(keys))]
    if len(names) != len(keys):
        raise FormulaError(
            f"factor() got {len(names)} labels for {len(keys)} levels.",
            "Give one label for each level, or one for all.",
        )
    state: State = {
        "keys": tuple(keys),
        "labels": tuple(names),
        "closed": levels is not None,
        "numeric": isinstance(levels, np.ndarray) and levels.dtype.kind == "f",
        "ordered": switch(ordered, "factor", "ordered", source.ordered),
    }
    return state, _relabelled(source, state)


def factor_apply(state: State, x: Value, *_: Value) -> Value:
    """`factor_fit` repeated on new data."""
    if state["numeric"]:
        x = _comparable(x, np.empty(0))
    return _relabelled(as_factor(required(x, "factor")), state)


def _comparable(x: Value, levels: Value) -> Value:
    # Levels given as doubles have double labels ("1e+05"), so that an integer
    # column would not match them by text.
    if isinstance(x, np.ndarray) and isinstance(levels, np.ndarray):
        numeric = x.dtype.kind == "i" and levels.dtype.kind == "f"
        return x.astype(np.float64) if numeric else x
    return x


def _relabelled(source: Factor, state: State) -> Factor:
    recoded = conform(source, state["keys"])
    known, distinct = len(state["keys"]), tuple(dict.fromkeys(state["labels"]))
    extra = () if state["closed"] else recoded.levels[known:]
    levels = distinct + tuple(t for t in extra if t not in distinct)
    names = [*state["labels"], *recoded.levels[known:]]
    padded = np.full(len(names) + 1, -1, dtype=np.intp)
    kept = known + len(extra)
    padded[:kept] = _positions(names[:kept], levels)
    return Factor(padded[recoded.codes], levels, state["ordered"])


def _positions(names: Sequence[str], levels: Sequence[str]) -> list[int]:
    where = {text: i for i, text in enumerate(levels)}
    return [where[t] for t in names]


def as_factor_fit(x: Value) -> tuple[State, Value]:
    """R's ``as.factor``: a factor stays as it is, unused levels included."""
    result = as_factor(required(x, "as.factor"))
    return {"levels": result.levels, "ordered": result.ordered}, result


def as_ordered_fit(x: Value) -> tuple[State, Value]:
    """R's ``as.ordered``, which drops the unused levels of an unordered factor."""
    source = as_factor(required(x, "as.ordered"))
    kept = source if source.ordered else source.drop_unused()
    result = replace(kept, ordered=True, contrasts=None)
    return {"levels": result.levels, "ordered": True}, result


def ordered_fit(
    x: Value, levels: Value = None, labels: Value = None
) -> tuple[State, Value]:
    """R's ``ordered(x, levels, labels)``."""
    return factor_fit(x, levels, labels, None, np.array([True]))


def droplevels_fit(x: Value) -> tuple[State, Value]:
    """R's ``droplevels``."""
    result = as_factor(required(x, "droplevels")).drop_unused()
    return {"levels": result.levels, "ordered": result.ordered}, result


def levels_apply(state: State, x: Value, *_: Value) -> Value:
    """A factor of new data with the remembered levels, contrasts and order."""
    recoded = conform(as_factor(required(x, "factor")), state["levels"])
    return replace(recoded, ordered=state["ordered"], contrasts=state.get("contrasts"))


def relevel_fit(x: Value, ref: Value = None) -> tuple[State, Value]:
    """R's ``relevel(x, ref)``: the level `ref`, a label or a position, first."""
    source = as_factor(required(x, "relevel"))
    if source.ordered:
        raise FormulaError(
            "relevel() got an ordered factor.", "Only unordered factors have a base."
        )
    required(ref, "relevel", "ref")
    levels = list(source.levels)
    if is_text(ref):
        name = (strings(ref, "relevel", "ref") or [""])[0]
        if name not in levels:
            raise FormulaError(
                f"relevel() got ref = {name!r}, which is not a level.",
                f"The levels are {', '.join(levels[:10])}.",
                near(name, levels),
            )
        first = levels.index(name)
    else:
        first = whole(ref, "relevel", "ref", 1) - 1
        if not 0 <= first < len(levels):
            raise FormulaError(
                f"relevel() got ref = {first + 1}.",
                f"A position must be in 1 to {len(levels)}.",
                "Write the label in quotes to choose by label.",
            )
    levels.insert(0, levels.pop(first))
    state = {"levels": tuple(levels), "ordered": False}
    return state, levels_apply(state, source)


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
    numbers = _vector(x, "cut")
    edges = _edges(numbers, required(breaks, "cut", "breaks"))
    state: State = {
        "edges": edges,
        "right": switch(right, "cut", "right", True),
        "closed": switch(include_lowest, "cut", "include.lowest", False),
        "ordered": switch(ordered_result, "cut", "ordered_result", False),
    }
    if labels is None:
        digits = whole(dig_lab, "cut", "dig.lab", 3)
        names = _interval_labels(edges, digits, state["right"], state["closed"])
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
    numbers, edges = _vector(x, "cut"), state["edges"]
    side: Any = "left" if state["right"] else "right"
    codes = np.searchsorted(edges, numbers, side=side) - 1
    if state["closed"]:
        end = edges[0] if state["right"] else edges[-1]
        codes[numbers == end] = 0 if state["right"] else len(edges) - 2
    outside = (codes < 0) | (codes >= len(edges) - 1) | np.isnan(numbers)
    codes = np.where(outside, -1, codes).astype(np.intp)
    if state["labels"] is None:
        positions = codes + 1
        return np.where(outside, None, positions) if outside.any() else positions
    levels = tuple(dict.fromkeys(state["labels"]))
    if len(levels) != len(state["labels"]):
        lookup = np.array([*_positions(state["labels"], levels), -1], dtype=np.intp)
        codes = lookup[codes]
    return Factor(codes, levels, state["ordered"])


def _vector(x: Value, function: str) -> NDArray[np.float64]:
    numbers = as_double(required(x, function), f"The argument of {function}()")
    return numbers if numbers.ndim == 1 else numbers.ravel(order="F")


def _edges(x: NDArray[np.float64], breaks: Value) -> NDArray[np.float64]:
    edges = np.sort(as_double(breaks, "The argument 'breaks' of cut()"))
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
        if all(a != b for a, b in zip(marks, marks[1:], strict=False)):
            break
    else:
        return [f"Range_{i}" for i in range(1, len(edges))]
    # R formats infinite breaks together, in a common width: "(0, Inf]".
    wide = " Inf" if marks[0] == "-inf" else "Inf"
    marks = [{"inf": wide, "-inf": "-Inf"}.get(mark, mark) for mark in marks]
    left, close = ("(", "]") if right else ("[", ")")
    names = [f"{left}{a},{b}{close}" for a, b in zip(marks, marks[1:], strict=False)]
    if closed and right:
        names[0] = "[" + names[0][1:]
    elif closed:
        names[-1] = names[-1][:-1] + "]"
    return names


def interaction_fit(
    factors: tuple[Value, ...],
    drop: Value = None,
    sep: Value = None,
    lex_order: Value = None,
) -> tuple[State, Value]:
    """R's ``interaction``: the combinations of factors as one factor.

    Notes
    -----
    The first factor varies fastest, with ``lex.order = TRUE`` the last. Beyond
    100,000 combinations only those that occur become levels, in the same order.
    """
    mark = "." if sep is None else (strings(sep, "interaction", "sep") or ["."])[0]
    last = switch(lex_order, "interaction", "lex.order", False)
    parts = _parts(factors, "interaction")
    result = combinations(parts, mark, last, switch(drop, "interaction", "drop", False))
    return {"levels": result.levels, "sep": mark, "last": last}, result


def interaction_apply(state: State, factors: tuple[Value, ...], *_: Value) -> Value:
    """`interaction_fit` repeated on new data."""
    parts = _parts(factors, "interaction")
    seen = combinations(parts, state["sep"], state["last"], True)
    return conform(seen, state["levels"])


def colon_fit(x: Value, y: Value) -> tuple[State, Value]:
    """R's ``f:g`` of two factors inside a function: the last varies fastest."""
    result = combinations(_parts((x, y), ":"), ":", True, False)
    return {"levels": result.levels, "sep": ":", "last": True}, result


def _parts(values: tuple[Value, ...], function: str) -> list[Factor]:
    if not values:
        raise FormulaError(f"{function}() was called without arguments.")
    parts = [as_factor(v) for v in values]
    if len({len(p) for p in parts}) > 1:
        raise FormulaError(f"{function}() combines factors of different lengths.")
    return parts


def combinations(
    parts: Sequence[Factor], sep: str, last_fastest: bool, observed: bool
) -> Factor:
    """The combination of factors that each row has, as a factor.

    Parameters
    ----------
    parts : sequence of Factor
        Factors of equal length.
    sep : str
        What joins the labels.
    last_fastest : bool
        Whether the last factor varies fastest in the order of levels.
    observed : bool
        Whether to keep only the combinations that occur.
    """
    inward = list(parts) if last_fastest else list(reversed(parts))
    size, codes = 1, np.zeros(len(parts[0]), dtype=np.int64)
    absent = np.zeros(len(codes), dtype=bool)
    for part in inward:
        size *= max(len(part.levels), 1)
        if size >= 2**62:
            raise FormulaError("A combination of factors has more than 2^62 cells.")
        codes = codes * max(len(part.levels), 1) + part.codes
        absent |= part.codes < 0
    order = 1 if last_fastest else -1
    if observed or size > MAX_COMBINATIONS:
        cells, inverse = np.unique(codes[~absent], return_inverse=True)
        positions = np.full(len(codes), -1, dtype=np.intp)
        positions[~absent] = inverse
        digits: list[list[str]] = []
        for part in reversed(inward):
            cells, remainder = np.divmod(cells, max(len(part.levels), 1))
            digits.insert(0, [part.levels[i] for i in remainder])
        names = [sep.join(cell[::order]) for cell in zip(*digits, strict=True)]
    else:
        positions = np.where(absent, -1, codes).astype(np.intp)
        names = [sep.join(c[::order]) for c in product(*(p.levels for p in inward))]
    levels = tuple(dict.fromkeys(names))
    if len(levels) != len(names):
        lookup = np.array([*_positions(names, levels), -1], dtype=np.intp)
        positions = lookup[positions]
    return Factor(positions, levels)


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
    if len(levels) < 2:
        raise FormulaError(
            f"C() got a factor with {len(levels)} level(s).",
            "A coding needs 2 or more levels.",
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
        return polynomial(levels, as_double(scores, "'scores' of contr.poly()"))
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
        check_size(count, count, function)
        levels = numbered(count)
    else:
        levels = tuple(texts(n, function, "n"))
        check_size(len(levels), len(levels), function)
    if len(levels) < 2:
        raise FormulaError(
            f"{function}() was asked for {len(levels)} level(s).",
            "Contrasts need 2 or more levels.",
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
