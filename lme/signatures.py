"""Arguments checked against the annotations of a function, at the door.

A method that is annotated ``ddf: str | None`` refuses a list there, in our words and
naming the argument, instead of failing at the first line that needs a string. Only
plain types are checked; what an argument means is the function's own affair.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from lme.errors import OptionError, OptionTypeError, near

Function = TypeVar("Function", bound=Callable[..., Any])


def _is_bool(value: Any) -> bool:
    plain = isinstance(value, Integral) and value in (0, 1)
    return isinstance(value, bool | np.bool_) or plain


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    """A string, or a row of scalars, of which the function says what they must be."""
    if isinstance(value, str):
        return True
    if isinstance(value, bytes | Mapping | Set) or not isinstance(value, Sequence):
        return bool(getattr(value, "ndim", 0) == 1)
    return all(each is None or np.isscalar(each) for each in value)


Rule = tuple[str, Callable[[Any], bool]]

PLAIN: Mapping[str, Rule] = {
    "None": ("None", lambda value: value is None),
    "str": ("a string", lambda value: isinstance(value, str)),
    "bool": ("True or False", _is_bool),
    "int": ("a whole number", _is_number),
    "float": ("a number", _is_number),
    "Sequence[str]": ("strings", _is_texts),
    "list[str]": ("strings", _is_texts),
    "Mapping[str, Any]": ("a mapping", lambda value: isinstance(value, Mapping)),
}
"""Annotation -> its words and its test.

A number that is not whole passes for ``int``: the function says better what it needs.
"""

EXPLAINED: tuple[tuple[str, ...], ...] = (("int",), ("float",))
"""Annotations left to the functions: numbers have bounds, which they state."""


def checked(function: Function) -> Function:
    """The function, refusing arguments of another type than its annotations say.

    Parameters
    ----------
    function : callable
        Its annotations are strings, as with ``from __future__ import annotations``.

    Returns
    -------
    callable
        The same signature and documentation; the function itself if none of its
        annotations is plain.

    Raises
    ------
    OptionTypeError
        By the returned function.
    """
    signature = inspect.signature(function)
    known = {**PLAIN, **_classes(getattr(function, "__globals__", {}))}
    rules = {
        name: found
        for name, parameter in signature.parameters.items()
        if (found := _alternatives(parameter, known))
    }
    if not rules:
        return function
    order = tuple(signature.parameters)

    @functools.wraps(function)
    def door(*args: Any, **kwargs: Any) -> Any:
        for name, value in (*zip(order, args, strict=False), *kwargs.items()):
            if name in rules and not any(known[each][1](value) for each in rules[name]):
                words = dict.fromkeys(known[each][0] for each in rules[name])
                raise _refusal(name, value, " or ".join(words))
        return function(*args, **kwargs)

    return door  # type: ignore[return-value]


def unknown_option(
    function: Callable[..., Any],
    name: str,
    model: str,
    remedies: Mapping[str, str],
) -> OptionError:
    """What to say of an argument that a method named ``fit`` does not have.

    Parameters
    ----------
    function : callable
        The method; its options are its named arguments.
    name : str
    model : str
        What it fits.
    remedies : mapping
        What to do instead, for names that belong to another method.
    """
    parameters = inspect.signature(function).parameters.values()
    named = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]
    options = [each for each in named if each != "self"]
    return OptionError(
        f"fit has no option {name!r} for a {model} model.",
        f"Its options are {', '.join(options)}.",
        remedies.get(name) or near(name, options),
    )


def _classes(names: Mapping[str, Any]) -> dict[str, Rule]:
    """Rules for annotations that are classes of ours."""
    return {
        name: (f"a {name}", functools.partial(_is_a, kind))
        for name, kind in names.items()
        if inspect.isclass(kind) and kind.__module__.startswith("lme.")
    }


def _is_a(kind: type[Any], value: Any) -> bool:
    return isinstance(value, kind)


def _alternatives(
    parameter: inspect.Parameter, known: Mapping[str, Rule]
) -> tuple[str, ...]:
    """The plain types that an argument may have; none if one is not plain."""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return ()
    names = tuple(str(parameter.annotation).split(" | "))
    if names in EXPLAINED or not all(name in known for name in names):
        return ()
    # R's NULL is another thing for each option, and the function says which.
    return ("str", "None") if names == ("str",) else names


def _refusal(name: str, value: Any, words: str) -> OptionTypeError:
    return OptionTypeError(
        f"{name}={reprlib.repr(value)} is of type {type(value).__name__}.",
        f"Expected {words}.",
    )
