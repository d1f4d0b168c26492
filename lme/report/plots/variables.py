"""Variables to draw: columns of data, and of the rows that a model used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError, DataTypeError, FormulaError, OptionError
from lme.formula.design import Design
from lme.formula.evaluation import Scope, check_names
from lme.formula.groups import leaves
from lme.formula.parser import parse
from lme.formula.response import selected_rows
from lme.formula.syntax import Call, Node, deparse, is_operator, unwrap
from lme.formula.table import Table
from lme.formula.values import Factor, Matrix, Value, as_factor, missing, take

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Variable:
    """One variable of the rows that are drawn.

    Attributes
    ----------
    name : str
        Its text.
    values : (n,) array
        Numbers; of a factor the positions of the levels.
    levels : tuple of str
        Of a factor (or text, or logical values); empty for numbers.
    """

    name: str
    values: Array
    levels: tuple[str, ...] = ()

    @property
    def is_factor(self) -> bool:
        """Whether the variable has levels."""
        return bool(self.levels)

    @property
    def codes(self) -> Codes:
        """Level of each row."""
        return self.values.astype(np.intp)

    def part(self, rows: NDArray[Any]) -> Variable:
        """The variable in some of the rows, with all its levels."""
        return Variable(self.name, self.values[rows], self.levels)


def variable(name: str, value: Value) -> Variable:
    """A value of a formula as something to draw; missing rows are NaN.

    Raises
    ------
    DataTypeError
        For a matrix, such as a polynomial.
    """
    if isinstance(value, Matrix) or not isinstance(value, np.ndarray | Factor):
        raise DataTypeError(
            f"{name} is not one column.", "Expected numbers, or levels of a factor."
        )
    if isinstance(value, Factor) or value.dtype.kind in "bO":
        return _factor(name, as_factor(value))
    return Variable(name, np.asarray(value, dtype=float))


def _factor(name: str, factor: Factor) -> Variable:
    used = factor.drop_unused()
    codes = np.where(used.codes < 0, np.nan, used.codes)
    return Variable(name, codes, used.levels)


def levels_of(found: Variable) -> Variable:
    """The variable as a factor: numbers have a level for each distinct value."""
    if found.is_factor:
        return found
    return _factor(found.name, as_factor(found.values))


# --- data ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What the formula of a figure asks for: ``y ~ x | g``.

    Attributes
    ----------
    text : str
    response : Node
    right : tuple of Node
        Variables right of the tilde; empty for ``1``.
    group : Node or None
        Behind the bar.
    """

    text: str
    response: Node
    right: tuple[Node, ...]
    group: Node | None


def read_request(formula: Any, most: int = 1) -> Request:
    """Take the formula of a figure apart.

    Parameters
    ----------
    formula : str
        ``y ~ 1``, ``y ~ x``, ``y ~ x | g``; with `most` = 2 also ``y ~ x * f``.
    most : int
        Variables allowed right of the tilde.

    Raises
    ------
    FormulaError
        For anything else.
    """
    example = "y ~ x | g" if most == 1 else "y ~ x * f"
    if not isinstance(formula, str):
        raise DataTypeError(
            f"The formula is of type {type(formula).__name__}.",
            f"Expected text such as {example!r}, and the data behind it.",
        )
    tree = parse(formula)
    if not (isinstance(tree, Call) and is_operator(tree, "~") and len(tree.args) == 2):
        raise FormulaError(
            f"{formula!r} has no response.", f"Expected a formula such as {example!r}."
        )
    left, whole = tree.args[0], unwrap(tree.args[1])
    right, behind = whole, None
    if isinstance(whole, Call) and is_operator(whole, "|"):
        right, behind = unwrap(whole.args[0]), whole.args[1]
    parts: list[Node] = [right]
    if most > 1 and isinstance(right, Call) and is_operator(right, "+", "*", ":"):
        parts = [unwrap(each) for each in right.args]
    for each in parts:
        if isinstance(each, Call) and is_operator(each, "+", "*", "|", "||"):
            raise FormulaError(
                f"{formula!r} has too many variables for one figure.",
                f"Expected a formula such as {example!r}.",
                "Further variables go to color= and panels=.",
            )
    if len(parts) == 1 and deparse(parts[0]) == "1":
        parts = []
    if len(parts) > most:
        raise FormulaError(
            f"{formula!r} has {len(parts)} variables on its right.",
            f"Expected at most {most}, such as {example!r}.",
        )
    return Request(formula, left, tuple(parts), behind)


def read_variables(
    data: Any, wanted: Mapping[str, Node | str | None], text: str
) -> dict[str, Variable]:
    """Variables of data, in the rows in which none is missing.

    Parameters
    ----------
    data : frame or mapping
        As for `lmer`.
    wanted : mapping
        From what a variable is for to its expression; None is left out.
    text : str
        The formula, for messages.
    """
    scope = Scope(Table(data), {}, {}, True, text)
    nodes = {}
    for use, node in wanted.items():
        if node is None:
            continue
        nodes[use] = parse(node) if isinstance(node, str) else node
        # Positions count in the text that the expression stands in.
        where = node if isinstance(node, str) else text
        check_names(list(leaves(nodes[use])), replace(scope, text=where))
    values = {use: scope.value(node) for use, node in nodes.items()}
    lost = np.zeros(scope.table.nrow, dtype=bool)
    for value in values.values():
        lost |= missing(value)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            lost |= ~np.isfinite(value)
    if lost.all():
        names = ", ".join(deparse(node) for node in nodes.values())
        raise DataError(
            f"No row has a value of all of {names}.", "Expected rows to draw."
        )
    return {
        use: variable(deparse(nodes[use]), take(value, ~lost))
        for use, value in values.items()
    }


def response_numbers(found: Variable) -> Variable:
    """A response as numbers: of two levels the second counts as 1.

    Raises
    ------
    DataError
        For more levels.
    """
    if not found.is_factor or len(found.levels) == 2:
        return Variable(found.name, found.values)
    raise DataError(
        f"The response {found.name} has {len(found.levels)} levels.",
        "Expected numbers, or two levels.",
    )


# --- rows of a fit ------------------------------------------------------------------


@dataclass(frozen=True)
class ModelRows:
    """The variables of the rows that a model used.

    Attributes
    ----------
    design : Design
    frame : frame or None
        The user's data; None where the model does not have them.
    subset : object
        The `subset` of the model.
    """

    design: Design
    frame: Any = None
    subset: Any = None

    def scope(self) -> Scope | None:
        """Where names come from; None without data."""
        if self.frame is None or self.design.recipe is None:
            return None
        context = self.design.recipe.context
        return Scope(Table(self.frame), context, {}, True, self.design.formula)

    def names(self) -> list[str]:
        """Variables to choose from."""
        scope = self.scope()
        columns = [] if scope is None else scope.table.columns
        plain = [name for name in self.design.column_names if name != "(Intercept)"]
        return list(dict.fromkeys([*columns, *self.design.flist, *plain]))

    def __getitem__(self, text: str) -> Variable:
        """A grouping factor, a column or an expression, or a column of X.

        Raises
        ------
        OptionError
            If there is no such variable.
        """
        design = self.design
        scope = self.scope()
        if text in design.flist:
            factor = design.flist[text]
            return Variable(text, factor.codes.astype(float), tuple(factor.levels))
        if scope is not None and (text in scope.table or text not in self.names()):
            expression = f"`{text}`" if text in scope.table else text
            node = parse(expression)
            check_names(list(leaves(node)), replace(scope, text=expression))
            return variable(text, take(scope.value(node), self.positions(scope)))
        if text in design.column_names:
            return Variable(text, design.X[:, design.column_names.index(text)])
        known = ", ".join(map(repr, self.names()))
        raise OptionError(
            f"There is no variable {text!r}.", f"The model has {known or 'none'}."
        )

    def positions(self, scope: Scope) -> Codes:
        """Positions in the data of the rows used."""
        rows = selected_rows(self.subset, scope)
        every = np.arange(scope.table.nrow, dtype=np.intp) if rows is None else rows
        if len(every) != len(self.design.kept):
            raise DataError(
                "The data have changed since the model was fitted.",
                f"Expected {len(self.design.kept)} rows, and found {len(every)}.",
                "Fit the model again.",
            )
        return every[self.design.kept]


def means_by(codes: Codes, values: Array, count: int) -> Array:
    """Mean of the values of each level; NaN for a level without rows."""
    sizes = np.bincount(codes, minlength=count)
    sums = np.bincount(codes, values, minlength=count)
    empty = np.full(count, np.nan)
    return np.asarray(np.divide(sums, sizes, out=empty, where=sizes > 0))


def sequence(option: str, value: Any) -> list[str]:
    """One or several names."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, Sequence) and all(isinstance(each, str) for each in value):
        return list(value)
    raise OptionError(
        f"{option}={value!r} is not understood.", "Expected a name, or several."
    )
