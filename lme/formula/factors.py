"""Functions that make and recode factors.

Each pair ``*_fit`` and ``*_apply`` returns what must be remembered with the value,
and repeats the value on new data. Levels of the training data stay in their places;
a level that only new data have is appended behind them, where the caller finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError, near
from lme.formula.arguments import State, required, strings, switch, whole
from lme.formula.values import Factor, Value, as_factor, describe, is_text, label

# All combinations are listed up to this number, beyond it those that occur.
MAX_COMBINATIONS = 100_000


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
    used = factor.drop_unused()
    known = set(levels)
    levels += tuple(text for text in used.levels if text not in known)
    codes = recoding(used.levels, levels)[used.codes]
    return replace(factor, codes=codes, levels=levels)


def texts(value: Value, function: str, parameter: str) -> list[str]:
    """The elements of a vector as labels."""
    if isinstance(value, Factor):
        return [value.levels[c] for c in value.codes if c >= 0]
    if not isinstance(value, np.ndarray):
        raise FormulaError(
            f"The argument {parameter!r} of {function}() is {describe(value)}.",
            "A vector of levels was expected.",
        )
    return [label(v) for v in value.tolist() if v is not None]


def recoding(names: Sequence[str], levels: Sequence[str]) -> NDArray[np.intp]:
    """The position in `levels` of each name, and -1 at the end for missing codes."""
    where = {text: i for i, text in enumerate(levels)}
    return np.array([*(where[t] for t in names), -1], dtype=np.intp)


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
    padded[:kept] = recoding(names[:kept], levels)[:-1]
    return Factor(padded[recoded.codes], levels, state["ordered"])


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
        found = np.full(len(codes), -1, dtype=np.intp)
        found[~absent] = inverse
        digits: list[list[str]] = []
        for part in reversed(inward):
            cells, remainder = np.divmod(cells, max(len(part.levels), 1))
            digits.insert(0, [part.levels[i] for i in remainder])
        names = [sep.join(cell[::order]) for cell in zip(*digits, strict=True)]
    else:
        found = np.where(absent, -1, codes).astype(np.intp)
        names = [sep.join(c[::order]) for c in product(*(p.levels for p in inward))]
    levels = tuple(dict.fromkeys(names))
    if len(levels) != len(names):
        found = recoding(names, levels)[found]
    return Factor(found, levels)
