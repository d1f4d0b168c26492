"""How each stateful function learns from summaries of partitions.

A learner looks at the arguments of a call in one partition, summaries are merged in the
order of the partitions, and the whole gives the state, or asks for another pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lme.engine.accumulation import triangular
from lme.errors import FormulaError
from lme.formula.arguments import State, switch, whole
from lme.formula.calls import Function, Transform
from lme.formula.functions import FUNCTIONS
from lme.formula.values import Factor, Matrix, Value, as_double, rows
from lme.partitions.quantile_learners import Quantiles, Range, Spline
from lme.partitions.representatives import Representative, distinct, merged
from lme.partitions.statistics import (
    Moments,
    chebyshev_triangle,
    moments_of,
    recurrence,
)

Array = NDArray[np.float64]


class Learner(Protocol):
    """Learns the state of one call."""

    def look(self, matched: Sequence[Any], number: int) -> Any:
        """Summary of the arguments in partition `number`."""

    def merge(self, a: Any, b: Any) -> Any:
        """Summary of two successive sets of partitions."""

    def learn(self, seen: Any, function: Function, matched: list[Any]) -> State | None:
        """The state, or None where another pass is needed.

        Parameters
        ----------
        seen : summary of all partitions
        function : Function
        matched : list
            Arguments in some partition, of which only constants count.
        """


class Levels:
    """Functions of categories, which learn from the distinct values."""

    def look(self, matched: Sequence[Any], number: int) -> Representative:
        """Distinct values, or combinations of them."""
        values = matched[0] if isinstance(matched[0], tuple) else matched[:1]
        return distinct({str(i): _column(v) for i, v in enumerate(values)}, number)

    def merge(self, a: Representative, b: Representative) -> Representative:
        """Distinct values of both."""
        return merged(a, b)

    def learn(
        self, seen: Representative, function: Function, matched: list[Any]
    ) -> State | None:
        """The state from the distinct values alone."""
        found = tuple(seen.values.values())
        several = isinstance(matched[0], tuple)
        state: State = function.learn(found if several else found[0], *matched[1:])[0]
        return state


class Colon(Levels):
    """``f:g`` of two factors; of two numbers it is a sequence and learns nothing."""

    def look(self, matched: Sequence[Any], number: int) -> Representative:
        """Combinations of levels."""
        if not all(isinstance(value, Factor) for value in matched):
            return Representative({"0": np.zeros(0), "1": np.zeros(0)}, -1)
        return distinct({str(i): v for i, v in enumerate(matched)}, number)

    def learn(
        self, seen: Representative, function: Function, matched: list[Any]
    ) -> State | None:
        """The state from the combinations; empty for a sequence."""
        found = tuple(seen.values.values())
        if seen.first < 0:
            return {}
        state: State = function.learn(*found)[0]
        return state


class Columns:
    """Functions of numbers, which learn from moments of each column."""

    def look(self, matched: Sequence[Any], number: int) -> list[Moments]:
        """Moments of the columns of the first argument."""
        values = as_double(matched[0], "The argument")
        values = values[:, None] if values.ndim == 1 else values
        return [moments_of(column) for column in values.T]

    def merge(self, a: list[Moments], b: list[Moments]) -> list[Moments]:
        """Moments of both."""
        return [one + other for one, other in zip(a, b, strict=True)]


class Scale(Columns):
    """``scale``: means, and deviations from them or from what is given."""

    def learn(
        self, seen: list[Moments], function: Function, matched: list[Any]
    ) -> State | None:
        """Centre and scale of each column."""
        # Two rows show which of the statistics are wanted, and that they can be had.
        shown = np.array([[-1.0] * len(seen), [1.0] * len(seen)])
        state: State = function.learn(Matrix(shown), *matched[1:])[0]
        means = np.array([m.mean if m.count else np.nan for m in seen])
        center = state["center"]
        if center is not None and _is_default(matched[1]):
            center = means
        about = np.zeros(len(seen)) if center is None else center
        if _is_default(matched[2]) and state["scale"] is not None:
            squares = [
                m.squares + m.count * (m.mean - c) ** 2
                for m, c in zip(seen, about, strict=True)
            ]
            counts = np.array([max(1, m.count - 1) for m in seen])
            state["scale"] = np.sqrt(np.array(squares) / counts)
        state["center"] = center
        return state


def _is_default(option: Value) -> bool:
    """Whether a statistic is computed: TRUE, or not given."""
    if option is None:
        return True
    return isinstance(option, np.ndarray) and option.dtype.kind == "b"


class Summary(Columns):
    """``mean``, ``sd``, ``var``, ``min``, ``max`` and ``sum``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def learn(
        self, seen: list[Moments], function: Function, matched: list[Any]
    ) -> State | None:
        """One number."""
        m = seen[0]
        drops = switch(matched[1], self.name, "na.rm", False)
        if not m.count and (drops or not m.missing):
            raise FormulaError(f"{self.name}() got no values.")
        variance = m.squares / (m.count - 1) if m.count > 1 else np.nan
        value: float | int = {
            "mean": m.mean,
            "sd": float(np.sqrt(variance)),
            "var": variance,
            "min": m.low,
            "max": m.high,
            "sum": m.total,
        }[self.name]
        if m.missing and not drops:
            value = np.nan
        elif _is_whole(matched[0]) and self.name in ("min", "max", "sum"):
            value = int(value)
        return {"value": value}


def _is_whole(value: Value) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "ib"


class Poly:
    """``poly``: ranges first, then triangular factors of Chebyshev polynomials."""

    def __init__(self) -> None:
        self.ranges: list[Moments] | None = None
        self.degree = 0

    def look(self, matched: Sequence[Any], number: int) -> list[Any]:
        """Moments, or a triangular factor, of each variable."""
        variables = _poly_variables(matched)
        if self.ranges is None:
            return [moments_of(x) for x in variables]
        return [
            chebyshev_triangle(x, m.low, m.high, self.degree)
            for x, m in zip(variables, self.ranges, strict=True)
        ]

    def merge(self, a: list[Any], b: list[Any]) -> list[Any]:
        """Those of both."""
        if self.ranges is None:
            return [one + other for one, other in zip(a, b, strict=True)]
        both = zip(a, b, strict=True)
        return [triangular(np.vstack(pair)) for pair in both]

    def learn(
        self, seen: list[Any], function: Function, matched: list[Any]
    ) -> State | None:
        """Recurrences of the orthonormal polynomials."""
        if self.ranges is None:
            first = self._state(seen, function, matched)
            if first["recurrences"] is None:
                return first
            self.ranges, self.degree = seen, first["degree"]
            return None
        for R in seen:
            size = np.abs(R.diagonal())
            if size[-1] <= 1e-12 * size.max():
                raise FormulaError(
                    f"poly() got degree {self.degree} for too few distinct values.",
                    "The degree must be below their number.",
                )
        state = self._state(self.ranges, function, matched)
        state["recurrences"] = tuple(
            recurrence(R, m) for R, m in zip(seen, self.ranges, strict=True)
        )
        return state

    def _state(
        self, seen: list[Moments], function: Function, matched: list[Any]
    ) -> State:
        """The state on a few values in the range: its options are what counts."""
        for m in seen:
            if m.missing or not np.isfinite([m.low, m.high]).all():
                raise FormulaError(
                    "poly() got missing or infinite values.",
                    "Orthogonal polynomials need a number in every row.",
                    "Drop these rows first, or use raw = TRUE.",
                )
        x, more = matched[0], matched[1]
        named = _names_degree(matched)
        given = more[0] if named else matched[2]
        top = whole(given, "poly", "degree", 1)
        shown = [np.linspace(m.low, m.high, max(top, 0) + 2) for m in seen]
        columns = x.values.shape[1] if isinstance(x, Matrix) else 1
        first: Value = shown[0]
        if isinstance(x, Matrix):
            first = Matrix(np.column_stack(shown[:columns]))
        rest = more if named else tuple(shown[columns:])
        state: State = function.learn(first, rest, *matched[2:])[0]
        return state


def _names_degree(matched: Sequence[Any]) -> bool:
    """Whether the second argument of ``poly`` is its degree, not a variable."""
    more = matched[1]
    one = len(more) == 1 and matched[2] is None
    return one and rows(more[0]) == 1 and not isinstance(more[0], Matrix)


def _poly_variables(matched: Sequence[Any]) -> list[Array]:
    x, more = matched[0], matched[1]
    if _names_degree(matched):
        more = ()
    found: list[Array] = []
    for value in (x, *more):
        block = as_double(value, "An argument of poly()")
        found.extend([block] if block.ndim == 1 else list(block.T))
    return found


class Plain:
    """A function of the user's without memory; it sees a partition at a time."""

    def look(self, matched: Sequence[Any], number: int) -> dict[Any, bool]:
        """Which arguments are single values."""
        args, kwargs = matched
        return {k: rows(v) == 1 for k, v in [*enumerate(args), *kwargs.items()]}

    def merge(self, a: dict[Any, bool], b: dict[Any, bool]) -> dict[Any, bool]:
        """Which are single values in both."""
        return {k: a[k] and b[k] for k in a}

    def learn(
        self, seen: dict[Any, bool], function: Function, matched: list[Any]
    ) -> State | None:
        """That single values stay Python scalars."""
        return {"single": seen, "memory": None}


def _column(value: Value) -> Value:
    """A vector or a factor; a matrix of one column is a vector."""
    if isinstance(value, Matrix) and value.values.shape[1] == 1:
        return value.values[:, 0]
    return value


_LEVELS = (
    *("factor", "ordered", "as.factor", "as.ordered", "droplevels", "relevel"),
    *("C", "dummy", "fulldummy", "interaction"),
)


def learner_of(function: Function, given: Any = None) -> Learner:
    """What learns the state of a function from partitions.

    Parameters
    ----------
    function : Function
    given : object, optional
        What the user supplied under this name.

    Raises
    ------
    FormulaError
        For a transform of the user's, which looks at all rows at once.
    """
    name = function.name
    if given is not None and not isinstance(given, Transform):
        return Plain()
    if FUNCTIONS.get(name) is function:
        if name in _LEVELS:
            return Levels()
        if name == ":":
            return Colon()
        if name in ("mean", "sd", "var", "min", "max", "sum"):
            return Summary(name)
        if name in ("median", "quantile"):
            return Quantiles(name)
        made: dict[str, type[Any]] = {"scale": Scale, "poly": Poly, "cut": Range}
        if name in made:
            found: Learner = made[name]()
            return found
        if name in ("bs", "ns"):
            return Spline(name)
    raise FormulaError(
        f"{name}() learns from all rows at once, and the data are read by partitions.",
        "scale, poly, factor, cut, ns, bs, quantile and the like learn by partitions.",
        "Make the column with your own code before the model is built.",
    )
