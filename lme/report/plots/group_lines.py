"""Lines of each group over one variable: by itself, of the population, mixed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import FitError, OptionError
from lme.formula.evaluation import Scope
from lme.formula.predictors import FACTOR_MAKERS
from lme.formula.syntax import Call, Name, Node, Number, variables_of
from lme.formula.values import Factor, Matrix
from lme.inference.prediction.rows import Rows, known_part, rows_of_data, rows_of_fit
from lme.inference.working import MixedFit
from lme.report.plots.unpooled import regressions
from lme.report.plots.variables import ModelRows, Variable, means_by

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

LINES = ("within", "population", "mixed")
_POINTS = 41


@dataclass(frozen=True)
class GroupLines:
    """A model seen along one variable, in each level of one factor.

    Attributes
    ----------
    fit : Fit or GLMMFit
    rows : ModelRows
    group, x : str
        The factor, and the variable along which lines run.
    """

    fit: MixedFit
    rows: ModelRows
    group: str
    x: str

    @cached_property
    def along(self) -> Variable:
        """The variable of the rows used."""
        return self.rows[self.x]

    @cached_property
    def members(self) -> list[Codes]:
        """Rows of each level."""
        factor = self.fit.design.flist[self.group]
        order = np.argsort(factor.codes, kind="stable")
        ends = np.cumsum(np.bincount(factor.codes, minlength=len(factor.levels)))
        return np.split(order, ends[:-1])

    @property
    def _own(self) -> dict[int, tuple[int, ...]]:
        """Random columns of the factor, by term."""
        return {
            k: tuple(range(len(term.columns)))
            for k, term in enumerate(self.fit.design.terms)
            if term.group == self.group
        }

    @cached_property
    def _varying(self) -> list[int]:
        """Columns of X that a regression within groups has coefficients for."""
        X, codes = self.fit.X, self.fit.design.flist[self.group].codes
        count = len(self.members)
        names = [self.fit.design.column_names[i] for i in self.fit.kept_columns]
        found = []
        for j, name in enumerate(names):
            column = X[:, j]
            inside = column - means_by(codes, column, count)[codes]
            moves = np.abs(inside).max(initial=0.0) > 1e-9 * np.abs(column).max(
                initial=0
            )
            follows = moves and self._follows(column, codes)
            if name == "(Intercept)" or follows:
                found.append(j)
        if not any(names[j] == "(Intercept)" for j in found) and not found:
            raise FitError(
                f"No column of the fixed part changes with {self.x!r}.",
                "Regressions within groups need one.",
            )
        return found

    def _follows(self, column: Array, codes: Codes) -> bool:
        """Whether a column is a function of x in every group."""
        keys = np.unique(self.along.values, return_inverse=True)[1]
        cell = codes.astype(np.int64) * (keys.max() + 1) + keys
        cell = np.unique(cell, return_inverse=True)[1]
        means = means_by(cell, column, int(cell.max()) + 1)[cell]
        size = float(np.abs(column).max(initial=0.0))
        return bool(np.abs(column - means).max() <= 1e-9 * size)

    @cached_property
    def _regressions(self) -> tuple[list[int], list[int], Any]:
        """Columns of the regressions, the others, and the regressions."""
        p = self.fit.beta.size
        used = self._varying
        rest = [j for j in range(p) if j not in used]
        offset = self.fit.design.offset
        held = np.zeros(self.fit.design.nobs) if offset is None else offset.copy()
        held += self.fit.X[:, rest] @ self.fit.beta[rest]
        return used, rest, regressions(self.fit, self.fit.X[:, used], held, self.group)

    @cached_property
    def intercepts(self) -> Array:
        """Intercept of each level's own regression; NaN where there is none."""
        used, _, found = self._regressions
        names = [self.fit.design.column_names[self.fit.kept_columns[j]] for j in used]
        if "(Intercept)" not in names:
            return means_by(
                self.fit.design.flist[self.group].codes,
                self.fit.design.y,
                len(self.members),
            )
        return np.asarray(found.beta[:, names.index("(Intercept)")])

    # --- rows along x -----------------------------------------------------------------

    def at(self, levels: Codes) -> dict[str, list[tuple[Array, Array]]]:
        """Lines of some levels: name -> x and mean, a pair a level.

        Between the ends of x in the rows used, other variables at their mean (factors
        at their most frequent level) in the group. Where the data are not known the
        lines join the fitted values of the rows.
        """
        scope = self.rows.scope()
        if scope is None or self.fit.design.offset_given or self.x not in scope.table:
            return self._through_rows(levels)
        grid = self._grid()
        frame = self._typical(scope, levels, grid)
        new = rows_of_data(self.fit, frame, self._own)
        return self._split(
            new, np.repeat(levels, grid.size), np.tile(grid, levels.size)
        )

    def _grid(self) -> Array:
        if self.along.is_factor:
            return np.arange(len(self.along.levels), dtype=float)
        values = self.along.values
        recipe = self.fit.design.recipe
        if recipe is not None and self.x in _coerced(recipe.formula.tree):
            return np.unique(values)
        return np.linspace(values.min(), values.max(), _POINTS)

    def _typical(self, scope: Scope, levels: Codes, grid: Array) -> pd.DataFrame:
        """Rows along the grid in each of the levels."""
        recipe = self.fit.design.recipe
        assert recipe is not None
        nodes = (recipe.formula.tree, *recipe.terms.nodes, recipe.offset or Number(0.0))
        every = dict.fromkeys(n.name for node in nodes for n in variables_of(node))
        names = [name for name in every if name in scope.table]
        coerced = _coerced(recipe.formula.tree)
        positions = self.rows.positions(scope)
        columns: dict[str, Any] = {}
        for name in names:
            value = scope.table[name]
            if isinstance(value, Factor):
                held: Any = value.codes[positions]
            elif isinstance(value, np.ndarray):
                held = value[positions]
            else:
                continue
            if name == self.x:
                column = np.tile(grid, levels.size)
                if self.along.is_factor:
                    column = self._levels_of_x(held)[
                        np.tile(np.arange(grid.size), levels.size)
                    ]
            else:
                number = held.dtype.kind in "if" and not isinstance(value, Factor)
                mean = number and name not in coerced
                typical = [_typical_value(held[self.members[i]], mean) for i in levels]
                column = np.repeat(
                    np.array(typical, dtype=held.dtype if not mean else float),
                    grid.size,
                )
            if isinstance(value, Factor):
                kind: Any = pd.CategoricalDtype(list(value.levels), value.ordered)
                codes = column.astype(np.intp)
                columns[name] = pd.Categorical.from_codes(codes, dtype=kind)
            else:
                columns[name] = column
        return pd.DataFrame(columns)

    def _levels_of_x(self, held: Any) -> Any:
        """A value of x for each of its levels."""
        codes = self.along.codes
        first = [
            int(np.flatnonzero(codes == i)[0]) for i in range(len(self.along.levels))
        ]
        return held[first]

    def _through_rows(self, levels: Codes) -> dict[str, list[tuple[Array, Array]]]:
        """The same from the rows of the fit, in the order of x."""
        rows = np.concatenate(
            [
                self.members[i][
                    np.argsort(self.along.values[self.members[i]], kind="stable")
                ]
                for i in levels
            ]
        )
        every = rows_of_fit(self.fit, self._own)
        part = replace(
            every,
            X=every.X[rows],
            offset=None if every.offset is None else every.offset[rows],
            terms=tuple(
                replace(t, codes=t.codes[rows], values=t.values[rows])
                for t in every.terms
            ),
        )
        sizes = [self.members[i].size for i in levels]
        return self._split(part, np.repeat(levels, sizes), self.along.values[rows])

    def _split(
        self, rows: Rows, level: Codes, x: Array
    ) -> dict[str, list[tuple[Array, Array]]]:
        """The three lines of the rows, cut by level."""
        used, rest, found = self._regressions
        known = replace(rows, terms=(), which=(), labels=())
        population = known_part(self.fit, known)
        offset = 0.0 if rows.offset is None else rows.offset
        within = offset + rows.X[:, rest] @ self.fit.beta[rest]
        within = within + np.einsum("np,np->n", rows.X[:, used], found.beta[level])
        lines = {
            "within": within,
            "population": population,
            "mixed": known_part(self.fit, rows),
        }
        cuts = np.flatnonzero(np.diff(level)) + 1
        family = getattr(self.fit, "family", None)
        out = {}
        for name, eta in lines.items():
            mean = eta if family is None else family.mean(eta)
            parts = zip(np.split(x, cuts), np.split(mean, cuts), strict=True)
            out[name] = list(parts)
        return out


def default_x(fit: MixedFit, rows: ModelRows, group: str) -> str:
    """A variable along which the effects of a factor change, or any of the fixed part.

    Raises
    ------
    OptionError
        If there is none.
    """
    scope, recipe = rows.scope(), fit.design.recipe
    if scope is None or recipe is None:
        own = [c for t in fit.design.terms if t.group == group for c in t.columns]
        columns = [
            c for c in [*own, *fit.design.column_names] if c in fit.design.column_names
        ]
        names = [c for c in columns if np.ptp(rows[c].values) > 0.0]
    else:
        bars = [b for b in recipe.formula.bars if b.group_name == group]
        nodes = [*(b.left for b in bars), *recipe.terms.nodes]
        names = [
            n.name
            for node in nodes
            for n in variables_of(node)
            if n.name in scope.table
        ]
        names = [n for n in dict.fromkeys(names) if n not in fit.design.flist]
        names = [n for n in names if not isinstance(scope.table[n], Matrix)]
        names.sort(key=lambda n: rows[n].is_factor)
    if not names:
        raise OptionError(
            "The fixed part has no variable to draw lines along.",
            "x= names a variable of the data.",
            "Use plot_ranef() for the groups, or plot_data() for the data.",
        )
    return names[0]


def _coerced(node: Node) -> set[str]:
    """Numbers that the formula makes a factor of."""
    if not isinstance(node, Call):
        return set()
    found = {n for arg in node.args for n in _coerced(arg)}
    if node.function in FACTOR_MAKERS:
        found |= {arg.name for arg in node.args if isinstance(arg, Name)}
    return found


def _typical_value(values: Any, mean: bool) -> Any:
    """The value of a group where it has one; else the mean or the most frequent."""
    if mean:
        return values[0] if (values == values[0]).all() else values.mean()
    distinct, counts = np.unique(
        values.astype(str) if values.dtype == object else values, return_counts=True
    )
    return distinct[counts.argmax()]
