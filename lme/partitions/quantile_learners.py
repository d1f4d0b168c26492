"""How functions of ranges and order statistics learn: ``cut``, ``quantile``, splines.

They are learners as `lme.partitions.learners` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError
from lme.formula.arguments import State, switch, vector
from lme.formula.calls import Function
from lme.formula.splines import none_inside
from lme.partitions.statistics import Moments, OrderStatistics, moments_of

Array = NDArray[np.float64]


class Range:
    """``cut``, and splines with given knots, which learn from the range."""

    def look(self, matched: Sequence[Any], number: int) -> Moments:
        """Smallest and largest value, among others."""
        return moments_of(vector(matched[0], "The function", "x"))

    def merge(self, a: Moments, b: Moments) -> Moments:
        """Those of both."""
        return a + b

    def learn(self, seen: Any, function: Function, matched: list[Any]) -> State | None:
        """The state from the two ends."""
        ends = np.array([seen.low, seen.high] if seen.count else [np.nan])
        state: State = function.learn(ends, *matched[1:])[0]
        return state


class Quantiles(Range):
    """Functions of order statistics: range, then bounds, then the values.

    Parameters
    ----------
    name : str
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: State | None = None
        self.order: OrderStatistics | None = None
        self.index: Array = np.zeros(0)
        self.bounds = (-np.inf, np.inf)

    def look(self, matched: Sequence[Any], number: int) -> Any:
        """The range, or counts towards the order statistics."""
        if self.order is not None:
            return self.order.look(vector(matched[0], self.name, "x"))
        x = np.array(vector(matched[0], self.name, "x"), dtype=np.float64)
        if self.state is not None:
            x = x[(x >= self.bounds[0]) & (x <= self.bounds[1])]
        return moments_of(x)

    def merge(self, a: Any, b: Any) -> Any:
        """What both show together."""
        return a + b if self.order is None else self.order.merge(a, b)

    def learn(self, seen: Any, function: Function, matched: list[Any]) -> State | None:
        """The state once the order statistics are known."""
        if self.order is None:
            return self._begin(seen, function, matched)
        found = self.order.narrow(seen)
        if found is None:
            return None
        half = found.size // 2
        low, high = found[:half], found[half:]
        weight = self.index - np.floor(self.index)
        between = (1 - weight) * low + weight * high
        return self._done(np.where(low == high, low, between))

    def _begin(
        self, m: Moments, function: Function, matched: list[Any]
    ) -> State | None:
        drops = switch(matched[-1], self.name, "na.rm", False)
        if m.missing and not drops and self.name == "quantile":
            raise FormulaError(
                "quantile() got missing values.", remedy="Add na.rm = TRUE."
            )
        if not m.count:
            raise FormulaError(f"{self.name}() got no values.")
        if m.missing and not drops:
            return {"value": np.nan}
        p = np.array([0.5])
        if self.name == "quantile":
            # Of two values all quantiles are there: probabilities are checked.
            ends = np.array([m.low, m.high])
            function.learn(ends, *matched[1:])
            given = matched[1]
            p = np.linspace(0, 1, 5) if given is None else vector(given, "", "probs")
        self._seek(p, m)
        return None

    def _seek(self, p: Array, m: Moments) -> None:
        self.index = (m.count - 1) * p
        ranks = [*np.floor(self.index).astype(int), *np.ceil(self.index).astype(int)]
        self.order = OrderStatistics([int(r) for r in ranks], m.low, m.high, m.count)

    def _done(self, values: Array) -> State:
        if self.name == "quantile":
            return {"value": values}
        return {"value": float(values[0])}


class Spline(Quantiles):
    """``bs`` and ``ns``, whose knots are quantiles where only df is given."""

    def _begin(
        self, m: Moments, function: Function, matched: list[Any]
    ) -> State | None:
        if self.state is None:
            ends = np.array([m.low, m.high] if m.count else [np.nan])
            given = None if matched[-1] is None else vector(matched[-1], self.name, "")
            if given is not None and len(given) == 2:
                # Two values that lie within the boundary show how many knots there are.
                ends = np.clip(ends, given.min(), given.max())
            state: State = function.learn(ends, *matched[1:])[0]
            given_knots = matched[2] is not None
            if given_knots or not len(state["knots"]):
                return state
            self.state = state
            self.bounds = (float(state["boundary"][0]), float(state["boundary"][1]))
            if m.low < self.bounds[0] or m.high > self.bounds[1]:
                # Knots are quantiles of the values inside: these have to be counted.
                return None
        if not m.count:
            raise none_inside(self.name, *self.bounds)
        count = len(self.state["knots"])
        self._seek(np.linspace(0, 1, count + 2)[1:-1], m)
        return None

    def _done(self, values: Array) -> State:
        assert self.state is not None
        return {**self.state, "knots": values}
