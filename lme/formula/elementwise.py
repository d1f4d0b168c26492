"""Mathematical functions of numbers, value by value.

A domain problem such as ``log(-1)`` gives NaN without a warning: the caller counts
the rows lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from lme.errors import FormulaError
from lme.formula.arguments import number, required, switch, whole
from lme.formula.arithmetic import aligned, numeric, rewrap
from lme.formula.values import Value, as_double

ELEMENTWISE: dict[str, Callable[..., NDArray[Any]]] = {
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "floor": np.floor,
    "ceiling": np.ceil,
    "trunc": np.trunc,
    "plogis": expit,
    "qlogis": logit,
}


def elementwise(name: str) -> Callable[..., Value]:
    """The function of a NumPy ufunc, computing in double."""
    compute = ELEMENTWISE[name]

    def call(x: Value) -> Value:
        numbers = as_double(required(x, name), f"The argument of {name}()")
        return rewrap(compute(numbers), x)

    return call


def logarithm(x: Value, base: Value = None) -> Value:
    """R's ``log(x, base = exp(1))``."""
    numbers = as_double(required(x, "log"), "The argument of log()")
    if base is None:
        return rewrap(np.log(numbers), x)
    divisor = number(base, "log", "base", math.e)
    if divisor in (2.0, 10.0):
        exact = np.log2 if divisor == 2 else np.log10
        return rewrap(exact(numbers), x)
    return rewrap(np.log(numbers) / np.log(divisor), x)


def absolute(x: Value) -> Value:
    """R's ``abs``, which keeps integers."""
    return rewrap(np.abs(numeric(required(x, "abs"), "The argument of abs()")), x)


def squared(x: Value) -> Value:
    """``abs2`` of MixedModels.jl: ``|x|^2``."""
    numbers = as_double(required(x, "abs2"), "The argument of abs2()")
    return rewrap(np.square(numbers), x)


def sign(x: Value) -> Value:
    """R's ``sign``."""
    numbers = as_double(required(x, "sign"), "The argument of sign()")
    return rewrap(np.sign(numbers), x)


def rounded(x: Value, digits: Value = None) -> Value:
    """R's ``round``: to the nearer of two decimals, ties to the even one.

    Notes
    -----
    With digits d the candidates are floor(x 10^d) / 10^d and the one above; the
    one nearer to x as a double wins, so that ``round(0.15, 1)`` is 0.1: the
    double 0.15 is below its decimal text.
    """
    numbers = numeric(required(x, "round"), "The argument of round()")
    places = whole(digits, "round", "digits", 0)
    if numbers.dtype.kind == "i" and digits is None:
        return rewrap(numbers, x)
    numbers = numbers.astype(np.float64, copy=False)
    if places == 0:
        return rewrap(np.round(numbers), x)
    if abs(places) > 300:  # powers of ten beyond a double's
        zeros = np.where(np.isfinite(numbers), 0.0, numbers)
        return rewrap(numbers if places > 0 else zeros, x)
    power = 10.0 ** abs(places)
    scaled = numbers * power if places > 0 else numbers / power
    low, high = np.floor(scaled), np.ceil(scaled)
    below, above = (low / power, high / power)
    if places < 0:
        below, above = (low * power, high * power)
    down, up = numbers - below, above - numbers
    lower = (down < up) | ((down == up) & (low % 2 == 0))
    result = np.where(lower, below, above)
    # Beyond 2^53 there are no decimals left to round.
    return rewrap(np.where(np.abs(scaled) < 2.0**53, result, numbers), x)


def parallel(name: str) -> Callable[..., Value]:
    """R's ``pmin`` and ``pmax`` over any number of vectors."""
    exact, ignoring = {
        "pmin": (np.minimum, np.fmin),
        "pmax": (np.maximum, np.fmax),
    }[name]

    def call(vectors: tuple[Value, ...], na_rm: Value = None) -> Value:
        compute = ignoring if switch(na_rm, name, "na.rm", False) else exact
        arrays = [numeric(v, f"An argument of {name}()") for v in vectors]
        if not arrays:
            raise FormulaError(f"{name}() was called without arguments.")
        arrays = aligned(f"{name}()", *arrays)
        result = arrays[0]
        for array in arrays[1:]:
            result = compute(result, array)
        return rewrap(result, *vectors)

    return call
