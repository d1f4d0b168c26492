"""The text of a residual structure, such as ``ar1(time | g) + varIdent(sex)``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataTypeError, FormulaError, near
from lme.formula.bars import read_grouping
from lme.formula.evaluation import Scope, check_names
from lme.formula.groups import Grouping, group, leaves
from lme.formula.parser import parse
from lme.formula.sample import Sample
from lme.formula.syntax import Call, Node, Number, deparse, is_operator, unwrap
from lme.formula.values import as_double

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


class Notation(NamedTuple):
    """How a structure is written.

    Attributes
    ----------
    left : {"time", "covariate", "none"}
        What stands left of the bar.
    group : {"required", "optional", "alone", "never"}
        Whether a grouping factor follows; alone: it may stand without a bar.
    example : str
    """

    left: str
    group: str
    example: str


NOTATION = {
    "ar1": Notation("time", "required", "ar1(time | g)"),
    "car1": Notation("time", "required", "car1(time | g)"),
    "varIdent": Notation("none", "alone", "varIdent(f)"),
    "varPower": Notation("covariate", "optional", "varPower(x)"),
    "varExp": Notation("covariate", "optional", "varExp(x)"),
    "varFixed": Notation("covariate", "never", "varFixed(x)"),
}
"""Structures by name, keys of `lme.residual.RESIDUALS`."""
CORRELATIONS = ("ar1", "car1")

OTHER_NAMES = {
    "corAR1": "Write ar1(time | g).",
    "corCAR1": "Write car1(time | g).",
    "AR1": "Write ar1(time | g).",
    "corCompSymm": "A random intercept, (1 | g), makes residuals equally correlated.",
    "cs": "A random intercept, (1 | g), makes residuals equally correlated.",
    "varComb": "Write the variance functions with + between them.",
}
"""What to write for names of nlme."""


@dataclass(frozen=True)
class WrittenTerm:
    """One term of a residual structure before it meets data.

    Parameters
    ----------
    name : str
        A key of `NOTATION`.
    text : str
        The term as R would write it.
    values : Node or None
        Covariate or time; None for ``1``.
    group : Node or None
        Grouping factor or strata.
    """

    name: str
    text: str
    values: Node | None
    group: Node | None

    @property
    def nodes(self) -> list[Node]:
        """The variables that it takes from the data."""
        own = [] if self.values is None else [self.values]
        return own if self.group is None else [*own, *leaves(self.group)]


@dataclass(frozen=True)
class ResidualTerm:
    """One term of a residual structure.

    Parameters
    ----------
    name : str
        A key of `lme.residual.RESIDUALS`.
    text : str
        The term as R would write it.
    node : Node or None
        Covariate or time.
    grouping : Grouping or None
        Group of a correlation, strata of a variance function.
    values : ndarray of float64, shape (n,), or None
    codes : ndarray of intp, shape (n,)
        0 where there is no grouping.
    """

    name: str
    text: str
    node: Node | None
    grouping: Grouping | None
    values: Floats | None = field(repr=False)
    codes: Codes = field(repr=False)

    @property
    def nodes(self) -> list[Node]:
        """The variables that it takes from the data."""
        own = [] if self.node is None else [self.node]
        return own if self.grouping is None else [*own, *leaves(self.grouping.node)]

    @property
    def labels(self) -> tuple[str, ...]:
        """Levels of the grouping; empty without one."""
        return () if self.grouping is None else self.grouping.levels

    def take(self, rows: Any) -> ResidualTerm:
        """The same term for some of the rows; the levels stay."""
        values = None if self.values is None else self.values[rows]
        return ResidualTerm(
            self.name, self.text, self.node, self.grouping, values, self.codes[rows]
        )


@dataclass(frozen=True)
class ResidualDesign:
    """A residual structure with the data that it needs.

    Parameters
    ----------
    terms : tuple of ResidualTerm
    weights : ndarray of float64, shape (n,), or None
        Prior weights; those of a fitted design hold the estimated variances too.
    """

    terms: tuple[ResidualTerm, ...]
    weights: Floats | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """The structure as R would write it."""
        return " + ".join(term.text for term in self.terms)

    @property
    def correlation(self) -> ResidualTerm | None:
        """The term with the correlation, if there is one."""
        found = [term for term in self.terms if term.name in CORRELATIONS]
        return found[0] if found else None

    def take(self, rows: Any) -> ResidualDesign:
        """The same structure for some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        return ResidualDesign(tuple(term.take(rows) for term in self.terms), weights)


def read_residual(text: Any) -> tuple[WrittenTerm, ...]:
    """The terms of a residual structure.

    Parameters
    ----------
    text : str
        Terms of `NOTATION` with ``+`` between them; at most one is a correlation.

    Raises
    ------
    FormulaError
        If it cannot be read.
    DataTypeError
        If it is not text.
    """
    if not isinstance(text, str):
        raise DataTypeError(
            f"residual is of type {type(text).__name__}.",
            "Expected text such as 'ar1(time | g)'.",
        )
    if not text.strip():
        raise FormulaError("residual is empty.", _known(), text=text, position=0)
    if "~" in text:
        raise FormulaError(
            "A residual structure has no ~.",
            "Expected terms such as ar1(time | g), without form =.",
            _known(),
            text=text,
            position=text.index("~"),
        )
    terms = tuple(_term(node, text) for node in _summands(parse(text)))
    many = [term.text for term in terms if term.name in CORRELATIONS]
    if len(many) > 1:
        raise FormulaError(
            f"The residual structure has two correlations, {' and '.join(many)}.",
            "Expected at most one, beside variance functions.",
            text=text,
            position=0,
        )
    texts = [term.text for term in terms]
    if len(set(texts)) < len(texts):
        raise FormulaError(
            "A term of the residual structure occurs twice.",
            "Expected terms that differ.",
            text=text,
            position=0,
        )
    return terms


def _known() -> str:
    return f"Known are {', '.join(entry.example for entry in NOTATION.values())}."


def _summands(node: Node) -> Iterator[Node]:
    inner = unwrap(node)
    if is_operator(inner, "+"):
        assert isinstance(inner, Call)
        for arg in inner.args:
            yield from _summands(arg)
    else:
        yield inner


def _term(node: Node, text: str) -> WrittenTerm:
    """One call as a term."""
    name = node.function if isinstance(node, Call) else deparse(node)
    if not isinstance(node, Call) or name not in NOTATION:
        raise FormulaError(
            f"{deparse(node)} is not a residual structure.",
            _known(),
            OTHER_NAMES.get(name, near(name, NOTATION)),
            text=text,
            position=node.start,
            length=max(node.end - node.start, 1),
        )
    notation = NOTATION[name]
    inner = unwrap(node.args[0]) if len(node.args) == 1 else None
    if inner is None or any(key is not None for key in node.keys):
        raise _malformed(node, text)
    left, right = inner, None
    if is_operator(inner, "|"):
        assert isinstance(inner, Call)
        left, right = unwrap(inner.args[0]), read_grouping(inner.args[1], inner, text)
    elif notation.group == "alone":
        left, right = Number(1.0), read_grouping(inner, node, text)
    values = None if isinstance(left, Number) and left.value == 1.0 else left
    wanted = {"required": right is not None, "never": right is None}
    if not wanted.get(notation.group, True):
        raise _malformed(node, text)
    if (notation.left == "none" and values is not None) or (
        notation.left == "covariate" and values is None
    ):
        raise _malformed(node, text)
    if isinstance(values, Call) and values.function == "fitted":
        raise FormulaError(
            f"{deparse(node)} asks for a variance that depends on the fitted values.",
            "Expected a covariate, a column of the data or an expression of columns.",
            "Take a predictor that the mean depends on.",
            text=text,
            position=node.start,
        )
    return WrittenTerm(name, deparse(node), values, right)


def _malformed(node: Call, text: str) -> FormulaError:
    notation = NOTATION[node.function]
    optional = f" or {notation.example[:-1]} | f)"
    also = {"optional": optional, "alone": " or varIdent(1 | f)"}
    order = " or ar1(1 | g)" if node.function == "ar1" else ""
    return FormulaError(
        f"{deparse(node)} cannot be read.",
        f"Expected {notation.example}{also.get(notation.group, order)}.",
        text=text,
        position=node.start,
        length=max(node.end - node.start, 1),
    )


def check_residual_names(
    terms: tuple[WrittenTerm, ...], text: str, scope: Scope
) -> list[Node]:
    """The variables of a structure, all of them known."""
    nodes = [node for term in terms for node in term.nodes]
    inner = Scope(scope.table, scope.context, scope.memory, scope.learning, text)
    check_names(nodes, inner)
    return nodes


def residual_design(
    terms: tuple[WrittenTerm, ...], sample: Sample, weights: Floats | None
) -> ResidualDesign:
    """A structure with its data in the rows used."""
    made = []
    for term in terms:
        grouping, codes = None, np.zeros(sample.nrow, dtype=np.intp)
        if term.group is not None:
            grouping, codes = group(term.group, sample.raw)
        values = None
        if term.values is not None:
            values = _numbers(term, sample)
        made.append(
            ResidualTerm(term.name, term.text, term.values, grouping, values, codes)
        )
    return ResidualDesign(tuple(made), weights)


def _numbers(term: WrittenTerm, sample: Sample) -> Floats:
    """The covariate of a term as numbers."""
    assert term.values is not None
    try:
        found = as_double(sample.settled(term.values), deparse(term.values))
    except FormulaError as error:
        raise DataTypeError(
            f"{error.found[:-1]}; {term.text} needs numbers.",
            error.expected,
            "For a time that is text or categories, add a column with numbers."
            if term.name in CORRELATIONS
            else "varIdent(f) lets the variance differ by category.",
        ) from error
    if found.ndim != 1:
        raise DataTypeError(
            f"{deparse(term.values)} in {term.text} has several columns.",
            "Expected one number a row.",
        )
    return found


def new_values(
    term: ResidualTerm, value: Any, nrow: int
) -> tuple[Floats | None, Codes]:
    """Covariate and level of each row of new data; -1 for a level unknown.

    Parameters
    ----------
    term : ResidualTerm
    value : callable
        From a variable to its values.
    nrow : int
    """
    values = None
    if term.node is not None:
        values = as_double(value(term.node), deparse(term.node))
    if term.grouping is None:
        return values, np.zeros(nrow, dtype=np.intp)
    return values, term.grouping.locate(value)
