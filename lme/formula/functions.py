"""The functions a formula may call, and how to add one's own.

A formula reaches nothing but this table: there is no name lookup in Python and no
attribute access. Functions that depend on the whole column, such as ``scale`` or
``ns``, remember what they learnt from the training data, at any depth of nesting.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lme.errors import OptionError
from lme.formula import (
    arithmetic,
    elementwise,
    factors,
    indicators,
    intervals,
    splines,
    transforms,
    vectors,
)
from lme.formula.calls import Function, Transform, plain, stateful
from lme.formula.calls import as_function as as_function
from lme.formula.coding import CONTRASTS
from lme.formula.values import ContrastFunction, Factor, Value


def _contrast(name: str) -> Function:
    extra = {"treatment": " base", "poly": " scores"}.get(name, "")

    def compute(n: Value, *rest: Value) -> Value:
        option, contrasts = rest if len(rest) == 2 else (None, rest[0])
        return indicators.contrast_matrix_of(name, n, contrasts, option)

    return plain(f"contr.{name}", f"n{extra} contrasts", compute)


def _colon() -> Function:
    """``a:b``: a sequence of integers, or the interaction of two factors."""

    def learn(a: Value, b: Value) -> tuple[Any, Value]:
        if isinstance(a, Factor) and isinstance(b, Factor):
            return factors.colon_fit(a, b)
        return None, vectors.sequence(a, b)

    def repeat(state: Any, a: Value, b: Value) -> Value:
        if not state:
            return vectors.sequence(a, b)
        return factors.interaction_apply(state, (a, b))

    return stateful(":", "from to", learn, repeat)


# R's C() reads these bare names as the contrast functions by name, so that the
# columns are called after the levels; `contr.sum` is the function itself.
_CONTRAST_WORDS: dict[str, Value] = {
    key: np.array([f"contr.{key}"], dtype=object) for key in CONTRASTS
}
_CONTRAST_OBJECTS: dict[str, Value] = {
    f"contr.{key}": ContrastFunction(key) for key in CONTRASTS
}

RESERVED = frozenset({"TRUE", "FALSE", "Inf", "NaN", "NA", "NULL"})
"""Constants that no column can hide."""

CONSTANTS: dict[str, Value] = {
    "TRUE": np.array([True]),
    "FALSE": np.array([False]),
    "T": np.array([True]),
    "F": np.array([False]),
    "Inf": np.array([np.inf]),
    "NaN": np.array([np.nan]),
    "NA": np.array([None], dtype=object),
    "NULL": None,
    "pi": np.array([np.pi]),
    **_CONTRAST_OBJECTS,
}
"""Names with a value; columns and the context come first, but for `RESERVED`."""

_CUT = "x breaks labels include.lowest right dig.lab ordered_result"

_BUILT_IN: list[Function] = [
    *(plain(s, "x y", arithmetic.arithmetic(s)) for s in arithmetic.ARITHMETIC),
    *(plain(s, "x y", arithmetic.comparison(s)) for s in arithmetic.COMPARISONS),
    *(plain(s, "x", elementwise.elementwise(s)) for s in elementwise.ELEMENTWISE),
    plain("&", "x y", arithmetic.conjunction),
    plain("|", "x y", arithmetic.disjunction),
    plain("!", "x", arithmetic.negation),
    plain("%in%", "x table", vectors.is_member),
    plain("I", "x", vectors.identity),
    plain("offset", "object", vectors.identity),
    plain("log", "x base", elementwise.logarithm),
    plain("abs", "x", elementwise.absolute),
    plain("abs2", "x", elementwise.squared),
    plain("sign", "x", elementwise.sign),
    plain("round", "x digits", elementwise.rounded),
    plain("pmin", "... na.rm", elementwise.parallel("pmin")),
    plain("pmax", "... na.rm", elementwise.parallel("pmax")),
    plain("ifelse", "test yes no", vectors.if_else),
    plain("is.na", "x", vectors.is_missing),
    plain("c", "...", vectors.combine),
    plain("cbind", "...", vectors.bind_columns, takes_names=True),
    plain("seq", "from to by length.out", vectors.seq),
    _colon(),
    *map(_contrast, CONTRASTS),
    stateful(
        "factor",
        "x levels labels exclude ordered",
        factors.factor_fit,
        factors.factor_apply,
    ),
    stateful("ordered", "x levels labels", factors.ordered_fit, factors.factor_apply),
    stateful("as.factor", "x", factors.as_factor_fit, factors.levels_apply),
    stateful("as.ordered", "x", factors.as_ordered_fit, factors.levels_apply),
    stateful("droplevels", "x", factors.droplevels_fit, factors.levels_apply),
    stateful("relevel", "x ref", factors.relevel_fit, factors.levels_apply),
    stateful("cut", _CUT, intervals.cut_fit, intervals.cut_apply),
    stateful(
        "interaction",
        "... drop sep lex.order",
        factors.interaction_fit,
        factors.interaction_apply,
    ),
    stateful(
        "C",
        "object contr how.many base scores",
        indicators.coded_fit,
        factors.levels_apply,
        symbols={1: _CONTRAST_WORDS, "contr": _CONTRAST_WORDS},
    ),
    stateful("dummy", "f levelsToKeep", indicators.dummy_fit, indicators.dummy_apply),
    stateful("fulldummy", "f", indicators.fulldummy_fit, indicators.dummy_apply),
    stateful("scale", "x center scale", transforms.scale_fit, transforms.scale_apply),
    stateful(
        "poly",
        "x ... degree coefs raw simple",
        transforms.poly_fit,
        transforms.poly_apply,
    ),
    stateful(
        "bs",
        "x df knots degree intercept Boundary.knots",
        splines.bs_fit,
        splines.bs_apply,
    ),
    stateful(
        "ns", "x df knots intercept Boundary.knots", splines.ns_fit, splines.ns_apply
    ),
    *(
        stateful(s, "x na.rm", transforms.summary_fit(s), transforms.remembered)
        for s in transforms.SUMMARIES
    ),
    stateful(
        "quantile", "x probs na.rm", transforms.quantile_fit, transforms.remembered
    ),
]

FUNCTIONS: dict[str, Function] = {function.name: function for function in _BUILT_IN}
"""Every function of the formula language, by name."""

_PROTECTED = frozenset(FUNCTIONS)


def register(name: str, transform: Transform | type[Transform]) -> None:
    """Add a transform of one's own to the formula language.

    Parameters
    ----------
    name : str
        A name of letters, digits, dots and underscores that R has not taken.
    transform : object or class
        With the methods `fit` and `apply` of `Transform`.

    Raises
    ------
    OptionError
        If the name is taken or malformed, or the methods are missing.

    Notes
    -----
    The state is stored with the fitted model; the transform itself is found by its
    name, so that it must be registered again before an unpickled model predicts.

    Examples
    --------
    >>> class Rank:
    ...     def fit(self, x):
    ...         return np.sort(x)
    ...     def apply(self, state, x):
    ...         return np.searchsorted(state, x) / len(state)
    >>> register("rank01", Rank)
    >>> state, value = FUNCTIONS["rank01"].fit([np.array([3.0, 1.0, 2.0])], {})
    >>> value.tolist()
    [0.6666666666666666, 0.0, 0.3333333333333333]
    >>> FUNCTIONS["rank01"].apply(state, [np.array([9.0])], {}).tolist()
    [1.0]
    """
    plain = name.replace(".", "").replace("_", "")
    if not (plain.isalnum() and plain.isascii() and name[0].isalpha()):
        raise OptionError(
            f"{name!r} is not a name for a function.",
            "Use letters, digits, dots and underscores, a letter first.",
        )
    if name in _PROTECTED or name in CONSTANTS:
        raise OptionError(
            f"{name!r} is part of the formula language.",
            remedy="Choose another name.",
        )
    thing: Any = transform() if isinstance(transform, type) else transform
    if not isinstance(thing, Transform):
        raise OptionError(
            f"{type(thing).__name__} cannot be registered.",
            "A transform has the methods fit and apply.",
        )
    FUNCTIONS[name] = as_function(name, thing)
