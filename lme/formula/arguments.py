"""Matching of arguments to parameters, and reading of single arguments.

R's rules: names first, then unique abbreviations of names, then position; what
stands after ``...`` is matched by its full name only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError, near
from lme.formula.values import Value, as_double, describe, is_text

State: TypeAlias = dict[str, Any]
"""What a stateful function remembers: plain data by name."""

# More columns than this come from a typing error or from malice.
MAX_COLUMNS = 10_000
MAX_CELLS = 10**9


def match_arguments(
    function: str,
    parameters: tuple[str, ...],
    args: Sequence[Value],
    kwargs: Mapping[str, Value],
) -> list[Any]:
    """The values of `parameters`, None where not given.

    Parameters
    ----------
    function : str
        Name for messages.
    parameters : tuple of str
        R's names; the entry ``"..."`` collects positional arguments in a tuple.
    args, kwargs : sequence and mapping of Value
        The arguments as written.

    Raises
    ------
    FormulaError
        For an unknown or doubled name, or too many arguments.

    Examples
    --------
    >>> match_arguments("f", ("x", "degree"), [None], {"deg": None})
    [None, None]
    """
    dots = parameters.index("...") if "..." in parameters else len(parameters)
    bound: dict[str, Any] = {}
    for name, value in kwargs.items():
        target = name if name in parameters else None
        if target is None and name:
            candidates = [p for p in parameters[:dots] if p.startswith(name)]
            target = candidates[0] if len(candidates) == 1 else None
        if target is None or target == "...":
            raise FormulaError(
                f"{function}() has no argument {name!r}.",
                f"Its arguments are {', '.join(parameters)}.",
                near(name, parameters),
            )
        if target in bound:
            raise FormulaError(f"{function}() got the argument {target!r} twice.")
        bound[target] = value
    free = [p for p in parameters[:dots] if p not in bound]
    bound.update(zip(free, args, strict=False))
    rest = tuple(args[len(free) :])
    if "..." in parameters:
        bound["..."] = rest
    elif rest:
        raise FormulaError(
            f"{function}() got {len(args) + len(kwargs)} arguments.",
            f"It takes at most {len(parameters)}: {', '.join(parameters)}.",
        )
    return [bound.get(p) for p in parameters]


def required(value: Value, function: str, parameter: str = "x") -> Any:
    """The value, or an error that it was not given."""
    if value is None:
        raise FormulaError(
            f"{function}() was called without its argument {parameter!r}."
        )
    return value


def vector(value: Value, function: str, parameter: str) -> NDArray[np.float64]:
    """Numbers in one dimension, the columns of a matrix one after the other."""
    return as_double(value, f"The argument {parameter!r} of {function}()").ravel("F")


def number(value: Value, function: str, parameter: str, default: float) -> float:
    """A single number that is not missing."""
    if value is None:
        return default
    numbers = vector(value, function, parameter)
    if numbers.size != 1 or np.isnan(numbers).any():
        raise FormulaError(
            f"The argument {parameter!r} of {function}() is {describe(value)}.",
            "A single number was expected.",
        )
    return float(numbers[0])


def whole(value: Value, function: str, parameter: str, default: int) -> int:
    """A single number, truncated to an integer as R does."""
    found = number(value, function, parameter, default)
    if not abs(found) < 2**31:
        raise FormulaError(
            f"The argument {parameter!r} of {function}() is {found}.",
            "A whole number was expected.",
        )
    return int(found)


def switch(value: Value, function: str, parameter: str, default: bool) -> bool:
    """A single TRUE or FALSE; numbers count as in R."""
    return bool(number(value, function, parameter, default))


def strings(value: Value, function: str, parameter: str) -> list[str]:
    """The elements of a character vector, none missing."""
    if not is_text(value) or any(v is None for v in value):  # type: ignore[union-attr]
        raise FormulaError(
            f"The argument {parameter!r} of {function}() is {describe(value)}.",
            "Strings were expected.",
        )
    return [str(v) for v in value]  # type: ignore[union-attr]


def check_size(rows: int, columns: int, function: str) -> None:
    """Refuse a matrix that no model needs and no memory holds."""
    if columns > MAX_COLUMNS or rows * columns > MAX_CELLS:
        raise FormulaError(
            f"{function}() would make {columns} columns of {rows} rows.",
            f"At most {MAX_COLUMNS} columns and {MAX_CELLS:.0e} cells are allowed.",
        )
