"""What a function of the formula language is, and how a user's own becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from lme.errors import FormulaError, LMEError
from lme.formula.arguments import match_arguments
from lme.formula.values import Factor, Matrix, Value, as_value, rows

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
        matched = self.match(args, kwargs)
        # log(-1) is NaN, not a warning: the caller counts the rows lost.
        with np.errstate(all="ignore"):
            return self.learn(*matched)

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
        matched = self.match(args, kwargs)
        with np.errstate(all="ignore"):
            return self.repeat(state, *matched)

    def match(self, args: Sequence[Value], kwargs: Mapping[str, Value]) -> list[Any]:
        """The arguments in the order of `parameters`, None where not given."""
        assert self.parameters is not None
        # A full set of arguments by position needs no matching.
        complete = not kwargs and len(args) == len(self.parameters)
        if complete and "..." not in self.parameters:
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


def plain(
    name: str, parameters: str, compute: Callable[..., Value], **options: Any
) -> Function:
    """A function without memory; its parameters are separated by blanks."""

    def learn(*args: Any) -> tuple[None, Value]:
        return None, compute(*args)

    def repeat(state: None, *args: Any) -> Value:
        return compute(*args)

    return Function(name, tuple(parameters.split()), learn, repeat, **options)


def stateful(
    name: str, parameters: str, learn: Fit, repeat: Apply, **options: Any
) -> Function:
    """A function that remembers; its parameters are separated by blanks."""
    return Function(name, tuple(parameters.split()), learn, repeat, True, **options)


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
        single = state["single"]
        if isinstance(thing, Transform):
            memory = (state["memory"],)
            return as_value(guarded(thing.apply, single, memory, args, kwargs))
        return as_value(guarded(thing, single, (), args, kwargs))

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
            text = str(error).rstrip(".")
            raise FormulaError(
                f"The function {name}() raised {type(error).__name__}: {text}.",
                remedy="It is not part of lme; see where it was defined.",
            ) from error

    return Function(name, None, learn, repeat, True)


def _unwrapped(value: Value, single: bool) -> Any:
    """A value as a user's function wants it; copies, so that data stay as they are."""
    if isinstance(value, Matrix):
        return value.values.copy()
    if isinstance(value, Factor):
        kind = pd.CategoricalDtype(list(value.levels), value.ordered)
        return pd.Categorical.from_codes(value.codes, dtype=kind)
    if isinstance(value, np.ndarray):
        return value.tolist()[0] if single and len(value) == 1 else value.copy()
    return value
