"""Compute the variables of a formula from data, by names and whitelist only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lme.errors import DesignError, FormulaError, LMEError, near
from lme.formula.calls import Function, as_function
from lme.formula.functions import CONSTANTS, FUNCTIONS, RESERVED
from lme.formula.syntax import Call, Name, Node, Number, String, deparse
from lme.formula.table import Table
from lme.formula.values import (
    Factor,
    Matrix,
    Value,
    as_double,
    as_value,
    missing,
    rows,
)

FOREIGN = {
    "Q": "Put an unusual name between backticks.",
    "center": "Write scale(x, scale = FALSE).",
    "standardize": "Write scale(x).",
    "Treatment": "Write relevel(f, 'b'), or C(f, contr.treatment(3, base = 2)).",
    "cr": "Write ns(x, df = 3) for a natural cubic spline.",
    "s": "There are no smooth terms; ns(x, df = 3) is a natural cubic spline.",
    "ar1": "It surrounds a random term, as in ar1(0 + time | g).",
    "cs": "It surrounds a random term, as in cs(x | g).",
    "toep": "It surrounds a random term, as in toep(0 + time | g).",
    "ou": "Covariance structures are us(), diag(), zerocorr(), cs(), ar1() and toep().",
    "us": "It surrounds a random term, as in us(x | g).",
    "diag": "It surrounds a random term, as in diag(x | g).",
    "zerocorr": "It surrounds a random term, as in zerocorr(x | g).",
}
"""What to write for functions of patsy, mgcv and glmmTMB."""


@dataclass(frozen=True)
class Scope:
    """Where names come from, and what stateful functions remember.

    Parameters
    ----------
    table : Table
        The columns.
    context : mapping
        Names and functions that the user supplies.
    memory : dict
        State of each stateful call, by its text. Filled while ``learning``,
        read otherwise.
    learning : bool
        Whether these are the data of the fit.
    text : str
        The formula, for error messages.
    """

    table: Table
    context: Mapping[str, Any]
    memory: dict[str, Any]
    learning: bool
    text: str
    cache: dict[str, Value] = field(default_factory=dict)

    def value(self, node: Node) -> Value:
        """Value of a whole variable, one entry or row for each row of the data."""
        name = deparse(node)
        if name in self.cache:
            return self.cache[name]
        value = evaluate(node, self)
        if isinstance(value, np.ndarray) and value.ndim == 2:
            # A comparison of matrices: several columns of 0 and 1.
            value = Matrix(as_double(value))
        found = rows(value)
        if not isinstance(value, np.ndarray | Factor | Matrix):
            raise located(
                FormulaError(f"{name} is not a variable.", "Expected a column."),
                node,
                self.text,
            )
        if found != self.table.nrow:
            raise located(
                FormulaError(
                    f"The variable {name} has {found} value{'s' * (found != 1)}.",
                    f"Expected {self.table.nrow}, one for each row of the data.",
                ),
                node,
                self.text,
            )
        self.cache[name] = value
        return value


def evaluate(node: Node, scope: Scope) -> Value:
    """Value of an expression.

    Raises
    ------
    FormulaError
        For unknown names, and whatever the functions refuse, with its place.
    """
    if isinstance(node, Name):
        return _name(node, scope)
    if isinstance(node, Number):
        return as_value(int(node.value) if node.integer else node.value)
    if isinstance(node, String):
        return as_value(node.value)
    if node.function == "(":
        return evaluate(node.args[0], scope)
    try:
        return _call(node, scope)
    except FormulaError as error:
        raise located(error, node, scope.text) from error
    except DesignError as error:
        raise located(
            FormulaError(error.found, error.expected, error.remedy), node, scope.text
        ) from error
    except LMEError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # Arguments that no function foresaw must not look like a fault of Python.
        raise located(
            FormulaError(f"{deparse(node)} cannot be computed: {error}."),
            node,
            scope.text,
        ) from error


def _name(node: Name, scope: Scope) -> Value:
    name = node.name
    if name in RESERVED:
        return CONSTANTS[name]
    if name in scope.table:
        return scope.table[name]
    if name in scope.context:
        return as_value(scope.context[name])
    if name in CONSTANTS:
        return CONSTANTS[name]
    raise unknown_names([node], scope)


def _call(node: Call, scope: Scope) -> Value:
    function = function_of(node, scope)
    if function is None:
        raise unknown_function(node, scope)
    if function.takes_names:
        return _named_arguments(function, node, scope)
    args, kwargs = arguments_of(function, node, scope)
    if not node.keys and len(args) > 2:
        # A chain of additions; the operators themselves take two operands.
        total = args[0]
        for value in args[1:]:
            total = function.fit([total, value], {})[1]
        return total
    if not function.stateful:
        return function.fit(args, kwargs)[1]
    label = deparse(node)
    if scope.learning:
        state, value = function.fit(args, kwargs)
        scope.memory[label] = state
        return value
    return function.apply(scope.memory.get(label), args, kwargs)


def function_of(node: Call, scope: Scope) -> Function | None:
    """The function that a call means: of the context, else built in or registered."""
    given = scope.context.get(node.function)
    if given is not None and (callable(given) or hasattr(given, "fit")):
        return as_function(node.function, given)
    return FUNCTIONS.get(node.function)


def arguments_of(
    function: Function, node: Call, scope: Scope
) -> tuple[list[Value], dict[str, Value]]:
    """Values of the arguments of a call, by position and by name."""
    args: list[Value] = []
    kwargs: dict[str, Value] = {}
    for i, arg in enumerate(node.args):
        key = node.keys[i] if node.keys else None
        value = _argument(function, i if key is None else key, arg, scope)
        if key is None:
            args.append(value)
        elif key in kwargs:
            raise FormulaError(f"{node.function}() got the argument {key!r} twice.")
        else:
            kwargs[key] = value
    return args, kwargs


def _argument(function: Function, place: int | str, arg: Node, scope: Scope) -> Value:
    """One argument; `sum` in ``C(f, sum)`` names a contrast, not a column."""
    word = _word(function, place, arg, scope)
    return evaluate(arg, scope) if word is None else word


def _word(function: Function, place: int | str, arg: Node, scope: Scope) -> Value:
    """What a bare name means to this function, or None; patsy's `Sum` is `sum`."""
    words = function.symbols.get(place)
    if not words or not isinstance(arg, Name):
        return None
    known = arg.name in scope.table or arg.name in scope.context
    return words.get(arg.name if known or arg.name in words else arg.name.lower())


def _named_arguments(function: Function, node: Call, scope: Scope) -> Value:
    """Arguments by position, and what ``cbind`` calls its columns."""
    args = [evaluate(arg, scope) for arg in node.args]
    keys = node.keys or (None,) * len(args)
    names = tuple(
        key if key is not None else arg.name if isinstance(arg, Name) else ""
        for key, arg in zip(keys, node.args, strict=True)
    )
    return function.fit(args, {}, names)[1]


def located(error: FormulaError, node: Node, text: str) -> FormulaError:
    """`error` with the place of `node`, unless it has one."""
    if error.position is not None or node.start < 0:
        return error
    return FormulaError(
        error.found,
        error.expected,
        error.remedy,
        text=text,
        position=node.start,
        length=max(1, node.end - node.start),
    )


def has_names(nodes: list[Node], scope: Scope) -> bool:
    """Whether every name and function of `nodes` is known."""
    return next(_unknown(nodes, scope), None) is None


def check_names(nodes: list[Node], scope: Scope) -> None:
    """Raise one error for every unknown name of `nodes` together."""
    unknown = list(_unknown(nodes, scope))
    names = [node for node in unknown if isinstance(node, Name)]
    if names:
        raise unknown_names(names, scope)
    for node in unknown:
        if isinstance(node, Call):
            raise located(unknown_function(node, scope), node, scope.text)


def _unknown(nodes: list[Node], scope: Scope) -> Iterator[Node]:
    for node in nodes:
        if isinstance(node, Name):
            if not _known(node.name, scope):
                yield node
        elif isinstance(node, Call):
            function = function_of(node, scope)
            if function is None and node.function != "(":
                yield node
            for i, arg in enumerate(node.args):
                key = node.keys[i] if node.keys else None
                place = i if key is None else key
                if function is None or _word(function, place, arg, scope) is None:
                    yield from _unknown([arg], scope)


def _known(name: str, scope: Scope) -> bool:
    return name in scope.table or name in scope.context or name in CONSTANTS


def unknown_names(nodes: list[Name], scope: Scope) -> FormulaError:
    """The error for names that are neither columns nor in the context."""
    names = list(dict.fromkeys(node.name for node in nodes))
    columns = scope.table.columns
    if len(names) == 1:
        found = f"The data have no column {names[0]!r}."
    else:
        found = f"The data have no columns {_listed(map(repr, names))}."
    # Comparing spellings takes time, which a long formula should not multiply.
    hints = [_hint(name, columns, len(names) > 1) for name in names[:5]]
    remedy = " ".join(hint for hint in hints if hint) or (
        "Values from outside the data come in through context={...}."
    )
    return located(
        FormulaError(found, f"Columns: {_listed(columns) or 'none'}.", remedy),
        nodes[0],
        scope.text,
    )


def _listed(texts: Iterable[str], limit: int = 12) -> str:
    """The first few of `texts`, separated by commas."""
    texts = list(texts)
    return ", ".join(texts[:limit]) + (", ..." if len(texts) > limit else "")


def _hint(name: str, columns: list[str], several: bool) -> str:
    """What may have been meant by an unknown name."""
    if name in FUNCTIONS:
        return f"{name} is a function: {name}(...)."
    hint = near(name, columns)
    return f"For {name!r}: {hint}" if hint and several else hint


def unknown_function(node: Call, scope: Scope) -> FormulaError:
    """The error for a function outside the whitelist."""
    known = [name for name in FUNCTIONS if name[0].isalpha()]
    known += [name for name, value in scope.context.items() if callable(value)]
    doubled = {"||": "|", "&&": "&"}
    if node.function in doubled:
        return FormulaError(
            f"{node.function} stands inside an expression.",
            "In a formula it is the bar of a random term.",
            f"Write {doubled[node.function]} for the logical operator.",
        )
    if node.function in scope.table:
        return FormulaError(
            f"{node.function!r} is a column, but stands before a parenthesis.",
            "That is the call of a function.",
            "Put an operator, such as +, between them.",
        )
    last = node.function.rsplit(".", 1)[-1]
    hint = f"Did you mean {last!r}?" if last in known else near(node.function, known)
    return FormulaError(
        f"There is no function {node.function!r} in formulas.",
        FOREIGN.get(node.function, hint),
        f"Supply your own with context={{{node.function!r}: function}}.",
    )


def new_missing(node: Node, scope: Scope) -> int:
    """How many values of a call are missing although its columns are not."""
    if not isinstance(node, Call):
        return 0
    lost = missing(scope.value(node))
    if not lost.any():
        return 0
    for name in dict.fromkeys(n.name for n in _names(node)):
        if name in scope.table:
            lost = lost & ~missing(scope.table[name])
    return int(lost.sum())


def _names(node: Node) -> Iterator[Name]:
    if isinstance(node, Name):
        yield node
    elif isinstance(node, Call):
        for arg in node.args:
            yield from _names(arg)
