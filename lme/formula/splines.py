"""B-splines and natural cubic splines, column by column those of R's ``splines``.

References
----------
de Boor, C. (1978). A Practical Guide to Splines. Springer.
Hastie, T. J. (1992). Generalized additive models, in Statistical Models in S,
chapter 7.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from lme.errors import DataWarning, FormulaError
from lme.formula.arguments import State, check_size, required, switch, vector, whole
from lme.formula.transforms import quantile7
from lme.formula.values import Matrix, Value

MAX_DEGREE = 30
MAX_KNOTS = 1_000


def bs_fit(
    x: Value,
    df: Value = None,
    knots: Value = None,
    degree: Value = None,
    intercept: Value = None,
    boundary: Value = None,
) -> tuple[State, Value]:
    """R's ``bs``: a B-spline basis.

    Notes
    -----
    With `df` the interior knots are quantiles (type 7) of the values inside the
    boundary, df - degree of them, one less with an intercept.
    """
    values = _vector(x, "bs")
    order = whole(degree, "bs", "degree", 3) + 1
    if not 2 <= order <= MAX_DEGREE + 1:
        raise FormulaError(
            f"bs() got degree {order - 1}.", f"It must be in 1 to {MAX_DEGREE}."
        )
    full = switch(intercept, "bs", "intercept", False)
    ends = _boundary(values, boundary, "bs")
    interior = _interior(values, df, knots, order - (not full), ends, "bs")
    state: State = {
        "knots": interior,
        "boundary": ends,
        "degree": order - 1,
        "intercept": full,
    }
    return state, bs_apply(state, values)


def bs_apply(state: State, x: Value, *_: Value) -> Value:
    """`bs_fit` on new data, the end polynomials continued outside the boundary."""
    values = _vector(x, "bs")
    degree, ends = state["degree"], state["boundary"]
    knots = _all_knots(state["knots"], ends, degree + 1)
    check_size(len(values), len(knots) - degree - 1, "bs")
    present = ~np.isnan(values)
    inside = values[present]
    if ((inside < ends[0]) | (inside > ends[1])).any():
        warnings.warn(
            DataWarning(
                f"bs() got values outside its boundary {ends[0]:g} to {ends[1]:g}."
                " The outer polynomial pieces are continued there. Trust them only"
                " near the boundary, or use ns()."
            ),
            stacklevel=2,
        )
    basis = np.full((len(values), len(knots) - degree - 1), np.nan)
    basis[present] = _design(knots, degree, inside)
    return _named(basis if state["intercept"] else basis[:, 1:])


def ns_fit(
    x: Value,
    df: Value = None,
    knots: Value = None,
    intercept: Value = None,
    boundary: Value = None,
) -> tuple[State, Value]:
    """R's ``ns``: natural cubic splines, linear beyond the boundary.

    Notes
    -----
    The coefficients c of a natural spline satisfy C c = 0 for the second
    derivatives C (2 x m) of the B-splines at the two ends. With the Householder
    decomposition C' = Q R, the last m - 2 columns of Q span the solutions, and the
    basis is B Q[:, 2:].
    """
    values = _vector(x, "ns")
    full = switch(intercept, "ns", "intercept", False)
    ends = _boundary(values, boundary, "ns", widen=True)
    interior = _interior(values, df, knots, 1 + full, ends, "ns")
    state: State = {"knots": interior, "boundary": ends, "intercept": full}
    return state, ns_apply(state, values)


def ns_apply(state: State, x: Value, *_: Value) -> Value:
    """`ns_fit` on new data."""
    values = _vector(x, "ns")
    ends = state["boundary"]
    knots = _all_knots(state["knots"], ends, 4)
    check_size(len(values), len(knots) - 4, "ns")
    present = ~np.isnan(values)
    within = np.clip(values[present], *ends)
    basis = _design(knots, 3, within)
    beyond = values[present] - within
    if beyond.any():
        slopes = _design(knots, 3, ends, derivative=1)
        basis += np.where(beyond[:, None] < 0, slopes[0], slopes[1]) * beyond[:, None]
    constraints = _design(knots, 3, ends, derivative=2)
    if not state["intercept"]:
        basis, constraints = basis[:, 1:], constraints[:, 1:]
    q = np.linalg.qr(constraints.T, mode="complete")[0]
    result = np.full((len(values), basis.shape[1] - 2), np.nan)
    result[present] = basis @ q[:, 2:]
    return _named(result)


def _vector(x: Value, function: str) -> NDArray[np.float64]:
    values = vector(required(x, function), function, "x")
    if np.isinf(values).any():
        raise FormulaError(
            f"{function}() got infinite values.", "A spline needs finite numbers."
        )
    return values


def _boundary(
    x: NDArray[np.float64], given: Value, function: str, *, widen: bool = False
) -> NDArray[np.float64]:
    if given is not None:
        ends = np.sort(vector(given, function, "Boundary.knots"))
        if len(ends) != 2 or not np.isfinite(ends).all():
            raise FormulaError(
                f"{function}() got {len(ends)} Boundary.knots.",
                "Two finite numbers were expected.",
            )
    else:
        present = x[~np.isnan(x)]
        if not len(present):
            raise FormulaError(f"{function}() got no values that are not missing.")
        ends = np.array([present.min(), present.max()])
        if widen and len(present) == 1:
            ends = np.sort(present * np.array([7, 9]) / 8)
    if ends[0] == ends[1]:
        raise FormulaError(
            f"{function}() got values that are all {ends[0]:g}.",
            "A spline needs a range.",
        )
    return ends


def _interior(
    x: NDArray[np.float64],
    df: Value,
    knots: Value,
    smallest: int,
    ends: NDArray[np.float64],
    function: str,
) -> NDArray[np.float64]:
    """The interior knots given, or quantiles that make `df` columns."""
    if knots is not None:
        interior = np.sort(vector(knots, function, "knots"))
        if not np.isfinite(interior).all():
            raise FormulaError(f"{function}() got knots that are not finite.")
    elif df is not None:
        wanted = whole(df, function, "df", 0)
        count = wanted - smallest
        if count < 0:
            warnings.warn(
                DataWarning(
                    f"{function}() got df = {wanted}."
                    f" At least {smallest} is needed, which is used."
                ),
                stacklevel=2,
            )
        check_size(1, wanted, function)
        probabilities = np.linspace(0, 1, max(count, 0) + 2)[1:-1]
        inside = x[(x >= ends[0]) & (x <= ends[1])]
        if count > 0 and not len(inside):
            raise none_inside(function, *map(float, ends))
        interior = quantile7(inside, probabilities) if count > 0 else np.empty(0)
    else:
        interior = np.empty(0)
    if len(interior) > MAX_KNOTS:
        raise FormulaError(
            f"{function}() got {len(interior)} knots.", f"At most {MAX_KNOTS} can be."
        )
    if ((interior < ends[0]) | (interior > ends[1])).any():
        raise FormulaError(
            f"{function}() got knots outside its boundary {ends[0]:g} to {ends[1]:g}.",
            "Interior knots must lie between the boundary knots.",
            "Set Boundary.knots as well.",
        )
    return interior


def none_inside(function: str, low: float, high: float) -> FormulaError:
    """What to say where there is nothing to take quantiles of."""
    return FormulaError(
        f"{function}() got no values within its boundary {low:g} to {high:g}.",
        "With df the interior knots are quantiles of the values there.",
        "Give other Boundary.knots, or knots in place of df.",
    )


def _all_knots(
    interior: NDArray[np.float64], ends: NDArray[np.float64], order: int
) -> NDArray[np.float64]:
    return np.sort(np.concatenate([np.repeat(ends, order), interior]))


def _design(
    knots: NDArray[np.float64],
    degree: int,
    x: NDArray[np.float64],
    derivative: int = 0,
) -> NDArray[np.float64]:
    """Values or derivatives of all B-splines, shape (n, m)."""
    count = len(knots) - degree - 1
    # Tied data can repeat an end knot more than degree + 1 times. SciPy would take
    # its piece from the empty interval there; the splines beyond it are zero.
    low = max(0, int(np.sum(knots == knots[0])) - degree - 1)
    high = max(0, int(np.sum(knots == knots[-1])) - degree - 1)
    spline = BSpline(knots[low : len(knots) - high], np.eye(count - low - high), degree)
    result = np.zeros((len(x), count))
    result[:, low : count - high] = spline(x, nu=derivative)
    return result


def _named(basis: NDArray[np.float64]) -> Matrix:
    names = tuple(map(str, range(1, basis.shape[1] + 1)))
    return Matrix(np.ascontiguousarray(basis), names)
