"""The functions a formula may call, and how to add one's own.

A formula reaches nothing but this table: there is no name lookup in Python and no
attribute access. Functions that depend on the whole column, such as ``scale`` or
``ns``, remember what they learnt from the training data, at any depth of nesting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from lme.errors import FormulaError, LMEError, OptionError
from lme.formula import arithmetic, factors, splines, transforms
from lme.formula.arguments import match_arguments
from lme.formula.coding import CONTRASTS
from lme.formula.values import (
    ContrastFunction,
    Factor,
    Matrix,
    Value,
    as_value,
    rows,
)

Fit = Callable[..., tuple[Any, Value]]
Apply = Callable[..., Value]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the formula language.

    Parameters
    ----------
    name : str
        As written in formulas.
    parameters : tuple of str or None
        R's argument names, for matching; ``"..."`` takes any number of values. None
        hands the arguments over as they are.
    learn : callable
        From the matched arguments to ``(state, value)``.
    repeat : callable
        From the state and the matched arguments to the value on new data.
    stateful : bool
        Whether there is a state; it is None otherwise.
    symbols : mapping
        Bare names with a meaning of their own in an argument, by position and by
        parameter name: ``sum`` in ``C(f, sum)``. They win over columns.
    takes_names : bool
        Whether all arguments are to be passed by position, with their tags (or
        their names when they are bare names, else "") in ``names=`` of `fit` and
        `apply`. Only ``cbind`` needs it.
    """

    name: str
    parameters: tuple[str, ...] | None
    learn: Fit
    repeat: Apply
    stateful: bool = False
    symbols: Mapping[int | str, Mapping[str, Value]] = field(default_factory=dict)
    takes_names: bool = False

    def fit(
        self,
        args: Sequence[Value],
        kwargs: Mapping[str, Value],
        names: tuple[str, ...] = (),
    ) -> tuple[Any, Value]:
        """The state to remember (plain data, or None) and the value."""
        if self.takes_names:
            return None, self.repeat(None, tuple(args), names)
        if self.parameters is None:
            return self.learn(*args, **kwargs)
        return self.learn(*self._match(args, kwargs))

    def apply(
        self,
        state: Any,
        args: Sequence[Value],
        kwargs: Mapping[str, Value],
        names: tuple[str, ...] = (),
    ) -> Value:
        """The value on new data, from the state that `fit` returned."""
        if self.takes_names:
            return self.repeat(None, tuple(args), names)
        if self.parameters is None:
            return self.repeat(state, *args, **kwargs)
        return self.repeat(state, *self._match(args, kwargs))

    def _match(self, args: Sequence[Value], kwargs: Mapping[str, Value]) -> list[Any]:
        assert self.parameters is not None
        # A full set of arguments by position needs no matching.
        if not kwargs and len(args) == len(self.parameters):
            if "..." not in self.parameters:
                return list(args)
        return match_arguments(self.name, self.parameters, args, kwargs)


@runtime_checkable
class Transform(Protocol):
    """What `register` accepts: a transform that learns from the training data.

    `fit` receives the arguments of the call and returns the state, which must be
    picklable; `apply` receives the state and the arguments and returns an array of
    shape (n,) or (n, k), or a pandas object. Columns arrive as NumPy arrays,
    factors as `pandas.Categorical`, single values as Python scalars.
    """

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Learn from the training data."""

    def apply(self, state: Any, *args: Any, **kwargs: Any) -> Any:
        """Transform training or new data."""


def _plain(
    name: str, parameters: str, compute: Callable[..., Value], **options: Any
) -> Function:
    def learn(*args: Any) -> tuple[None, Value]:
        return None, compute(*args)

    def repeat(state: None, *args: Any) -> Value:
        return compute(*args)

    return Function(name, tuple(parameters.split()), learn, repeat, **options)


def _stateful(
    name: str, parameters: str, learn: Fit, repeat: Apply, **options: Any
) -> Function:
    return Function(name, tuple(parameters.split()), learn, repeat, True, **options)


def _contrast(name: str) -> Function:
    extra = {"treatment": " base", "poly": " scores"}.get(name, "")

    def compute(n: Value, *rest: Value) -> Value:
        option, contrasts = rest if len(rest) == 2 else (None, rest[0])
        return factors.contrast_matrix_of(name, n, contrasts, option)

    return _plain(f"contr.{name}", f"n{extra} contrasts", compute)


def _colon() -> Function:
    """``a:b``: a sequence of integers, or the interaction of two factors."""

    def learn(a: Value, b: Value) -> tuple[Any, Value]:
        if isinstance(a, Factor) and isinstance(b, Factor):
            return factors.colon_fit(a, b)
        return None, arithmetic.sequence(a, b)

    def repeat(state: Any, a: Value, b: Value) -> Value:
        if state is None:
            return arithmetic.sequence(a, b)
        return factors.interaction_apply(state, (a, b))

    return _stateful(":", "from to", learn, repeat)


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
    *(_plain(s, "x y", arithmetic.arithmetic(s)) for s in arithmetic.ARITHMETIC),
    *(_plain(s, "x y", arithmetic.comparison(s)) for s in arithmetic.COMPARISONS),
    *(_plain(s, "x", arithmetic.elementwise(s)) for s in arithmetic.ELEMENTWISE),
    _plain("&", "x y", arithmetic.conjunction),
    _plain("|", "x y", arithmetic.disjunction),
    _plain("!", "x", arithmetic.negation),
    _plain("%in%", "x table", arithmetic.is_member),
    _plain("I", "x", arithmetic.identity),
    _plain("offset", "object", arithmetic.identity),
    _plain("log", "x base", arithmetic.logarithm),
    _plain("abs", "x", arithmetic.absolute),
    _plain("sign", "x", arithmetic.sign),
    _plain("round", "x digits", arithmetic.rounded),
    _plain("pmin", "... na.rm", arithmetic.parallel("pmin")),
    _plain("pmax", "... na.rm", arithmetic.parallel("pmax")),
    _plain("ifelse", "test yes no", arithmetic.if_else),
    _plain("is.na", "x", arithmetic.is_missing),
    _plain("c", "...", arithmetic.combine),
    _plain("cbind", "...", arithmetic.bind_columns, takes_names=True),
    _plain("seq", "from to by length.out", arithmetic.seq),
    _colon(),
    *map(_contrast, CONTRASTS),
    _stateful(
        "factor",
        "x levels labels exclude ordered",
        factors.factor_fit,
        factors.factor_apply,
    ),
    _stateful("ordered", "x levels labels", factors.ordered_fit, factors.factor_apply),
    _stateful("as.factor", "x", factors.as_factor_fit, factors.levels_apply),
    _stateful("as.ordered", "x", factors.as_ordered_fit, factors.levels_apply),
    _stateful("droplevels", "x", factors.droplevels_fit, factors.levels_apply),
    _stateful("relevel", "x ref", factors.relevel_fit, factors.levels_apply),
    _stateful("cut", _CUT, factors.cut_fit, factors.cut_apply),
    _stateful(
        "interaction",
        "... drop sep lex.order",
        factors.interaction_fit,
        factors.interaction_apply,
    ),
    _stateful(
        "C",
        "object contr how.many base scores",
        factors.coded_fit,
        factors.levels_apply,
        symbols={1: _CONTRAST_WORDS, "contr": _CONTRAST_WORDS},
    ),
    _stateful("dummy", "f levelsToKeep", factors.dummy_fit, factors.dummy_apply),
    _stateful("fulldummy", "f", factors.fulldummy_fit, factors.dummy_apply),
    _stateful("scale", "x center scale", transforms.scale_fit, transforms.scale_apply),
    _stateful(
        "poly",
        "x ... degree coefs raw simple",
        transforms.poly_fit,
        transforms.poly_apply,
    ),
    _stateful(
        "bs",
        "x df knots degree intercept Boundary.knots",
        splines.bs_fit,
        splines.bs_apply,
    ),
    _stateful(
        "ns", "x df knots intercept Boundary.knots", splines.ns_fit, splines.ns_apply
    ),
    *(
        _stateful(s, "x na.rm", transforms.summary_fit(s), transforms.remembered)
        for s in transforms.SUMMARIES
    ),
    _stateful(
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


def as_function(name: str, thing: Transform | Callable[..., Any]) -> Function:
    """A user's transform or plain function as a function of the language.

    Used by `register`, and for functions and transforms in ``context=``. Single
    values of the training call stay Python scalars on new data, columns stay
    arrays even when the new data have one row.

    Raises
    ------
    FormulaError
        On call, for whatever the user's code raises.
    """

    def learn(*args: Any, **kwargs: Any) -> tuple[Any, Value]:
        single = {k: rows(v) == 1 for k, v in [*enumerate(args), *kwargs.items()]}
        memory: Any = None
        if isinstance(thing, Transform):
            memory = guarded(thing.fit, single, (), args, kwargs)
        state = {"single": single, "memory": memory}
        return state, repeat(state, *args, **kwargs)

    def repeat(state: Any, *args: Any, **kwargs: Any) -> Value:
        if isinstance(thing, Transform):
            first, call = (state["memory"],), thing.apply
        else:
            first, call = (), thing
        return as_value(guarded(call, state["single"], first, args, kwargs))

    def guarded(
        call: Callable[..., Any],
        single: Mapping[Any, bool],
        first: tuple[Any, ...],
        args: tuple[Value, ...],
        kwargs: Mapping[str, Value],
    ) -> Any:
        plain = [_unwrapped(v, single.get(i, False)) for i, v in enumerate(args)]
        named = {k: _unwrapped(v, single.get(k, False)) for k, v in kwargs.items()}
        try:
            return call(*first, *plain, **named)
        except LMEError:
            raise
        except Exception as error:
            raise FormulaError(
                f"The function {name}() raised {type(error).__name__}: {error}",
                remedy="It is not part of lme; see where it was defined.",
            ) from error

    return Function(name, None, learn, repeat, True)


def _unwrapped(value: Value, single: bool) -> Any:
    """A value as a user's function wants it; copies, so that data stay as they are."""
    if isinstance(value, Matrix):
        return value.values.copy()
    if isinstance(value, Factor):
        return pd.Categorical.from_codes(
            value.codes, list(value.levels), ordered=value.ordered
        )
    if isinstance(value, np.ndarray):
        return value.tolist()[0] if single and len(value) == 1 else value.copy()
    return value
