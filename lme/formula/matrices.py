"""Model matrices: which columns each term gets, and their numbers.

The columns of a term are products of columns of its variables; the first
variable varies fastest. Whether a factor enters by contrasts or by one indicator
for each level follows R's rule, which looks at the formula only and not at the
data (Chambers and Hastie 1992, section 2.4.1).

References
----------
Chambers, J. M. and Hastie, T. J. (1992). Statistical Models in S, chapter 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError, DesignError, FormulaError
from lme.formula.coding import ContrastSpec, contrast_matrix
from lme.formula.expand import Terms
from lme.formula.values import (
    Factor,
    Matrix,
    Value,
    as_factor,
    label,
    object_kind,
)

MAX_COLUMNS = 20_000
MAX_CELLS = 2**29

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Coding:
    """How one variable becomes columns; enough to code new data.

    Parameters
    ----------
    name : str
        The variable's text.
    names : tuple of str
        Suffixes of its columns: empty for a number, contrast names for a factor.
    levels : tuple of str or None
        Levels of a factor; None for a numeric variable.
    matrix : ndarray of float64, shape (levels, columns), or None
        Contrasts of a factor.
    """

    name: str
    names: tuple[str, ...]
    levels: tuple[str, ...] | None = None
    matrix: Floats | None = None


@dataclass(frozen=True)
class Plan:
    """Columns of a model matrix: names, terms, and how each one is made.

    Parameters
    ----------
    codings : tuple of Coding or None
        Coding of each variable; None for those in no term.
    blocks : tuple of tuple of (int, bool)
        For each term its variables, and whether each is coded in full.
    intercept : bool
        Whether a column of ones comes first.
    names : tuple of str
        Names of all columns.
    assign : tuple of int
        Number of the term of each column, from 1; 0 for the intercept.
    """

    codings: tuple[Coding | None, ...]
    blocks: tuple[tuple[tuple[int, bool], ...], ...]
    intercept: bool
    names: tuple[str, ...]
    assign: tuple[int, ...]


LOGICAL = ("FALSE", "TRUE")


def settle(value: Value) -> Value:
    """A variable in its final form: numbers, a `Matrix` or a `Factor`.

    Strings become factors, logical values factors with the levels FALSE and
    TRUE; integers become floating-point numbers.
    """
    if isinstance(value, np.ndarray):
        kind = value.dtype.kind
        if kind == "f":
            return value
        if kind == "i":
            return value.astype(np.float64)
        if kind == "b":
            return Factor(value.astype(np.intp), LOGICAL)
        entries, absent = object_kind(value)
        if entries == "character":
            return as_factor(value)
        numbers = np.where(absent, np.nan, value).astype(np.float64)
        if entries == "logical":
            return Factor(np.where(absent, -1.0, numbers).astype(np.intp), LOGICAL)
        return numbers
    return value


def is_logical(value: Value) -> bool:
    """Whether a value is a logical vector, missing entries allowed."""
    if not isinstance(value, np.ndarray):
        return False
    if value.dtype.kind == "O":
        return object_kind(value)[0] == "logical"
    return value.dtype.kind == "b"


def code(name: str, value: Value, spec: ContrastSpec) -> Coding:
    """The coding of a settled variable.

    Parameters
    ----------
    name : str
        The variable's text.
    value : Value
        What `settle` returned, without unused levels.
    spec : str, array, callable or None
        Contrasts asked for; None for those of the factor or the default.
    """
    if isinstance(value, Factor):
        if len(value.levels) < 2:
            raise DesignError(
                f"The factor {name!r} has only one level, {value.levels[0]!r}.",
                "A factor of the model needs at least two levels.",
                "Leave it out, or look for rows lost to missing values or subset.",
            )
        if spec is None:
            spec = value.contrasts
        try:
            matrix, names = contrast_matrix(spec, value.levels, value.ordered)
        except DesignError as error:
            raise DesignError(
                f"The coding of {name!r} failed. {error.found}",
                error.expected,
                error.remedy,
            ) from error
        return Coding(name, names, value.levels, matrix)
    if isinstance(value, Matrix):
        width = value.values.shape[1]
        if width == 1:
            return Coding(name, ("",))
        numbered = tuple(map(str, range(1, width + 1)))
        return Coding(name, value.columns or numbered)
    return Coding(name, ("",))


def plan(terms: Terms, codings: Sequence[Coding | None], nrow: int) -> Plan:
    """Lay out the columns of `terms`.

    Raises
    ------
    FormulaError
        When there would be more than `MAX_COLUMNS` columns.
    """
    names: list[str] = ["(Intercept)"] if terms.intercept else []
    assign: list[int] = [0] * len(names)
    blocks = []
    first_is_full = not terms.intercept
    for number, (term, members) in enumerate(
        zip(terms.sets, terms.members, strict=True)
    ):
        block = []
        for i in members:
            coding = codings[i]
            assert coding is not None
            full = False
            if coding.levels is not None:
                margin = term & ~(1 << i)
                full = first_is_full or bool(
                    margin
                    and not any(
                        margin & ~earlier == 0 for earlier in terms.sets[:number]
                    )
                )
                first_is_full = False
            block.append((i, full))
        _check_size(codings, block, len(names), nrow, terms.labels[number])
        labels = [""]
        for i, full in block:
            coding = codings[i]
            assert coding is not None
            suffixes = coding.levels if full and coding.levels else coding.names
            own = [coding.name + suffix for suffix in suffixes]
            labels = [f"{a}:{b}" if a else b for b in own for a in labels]
        names += labels
        assign += [number + 1] * len(labels)
        blocks.append(tuple(block))
    return Plan(
        tuple(codings), tuple(blocks), terms.intercept, tuple(names), tuple(assign)
    )


def restrict(layout: Plan, columns: Iterable[int]) -> Plan:
    """The part of `layout` that makes the terms to which `columns` belong."""
    numbers = {layout.assign[j] for j in columns}
    kept = [j for j, number in enumerate(layout.assign) if number in numbers]
    return Plan(
        layout.codings,
        tuple(b for i, b in enumerate(layout.blocks, 1) if i in numbers),
        layout.intercept and 0 in numbers,
        tuple(layout.names[j] for j in kept),
        tuple(layout.assign[j] for j in kept),
    )


def _check_size(
    codings: Sequence[Coding | None],
    block: list[tuple[int, bool]],
    before: int,
    nrow: int,
    term: str,
) -> None:
    width = 1
    for i, full in block:
        coding = codings[i]
        assert coding is not None
        width *= len(coding.levels if full and coding.levels else coding.names)
    total = before + width
    if total > MAX_COLUMNS or total * nrow > MAX_CELLS:
        raise FormulaError(
            f"The term {term!r} brings the model matrix to {total} columns.",
            f"At most {MAX_COLUMNS} columns and {MAX_CELLS} cells are made.",
            "A factor with so many levels is usually a grouping factor: (1 | g).",
        )


def fill(layout: Plan, values: Sequence[Value], nrow: int) -> Floats:
    """The model matrix, shape (nrow, columns), stored column by column.

    A row in which a factor is missing gets NaN in the columns of that factor.
    """
    transposed = np.empty((len(layout.names), nrow))
    at = 0
    if layout.intercept:
        transposed[0] = 1.0
        at = 1
    made: dict[tuple[int, bool], Floats] = {}
    for block in layout.blocks:
        product: Floats | None = None
        for key in block:
            if key not in made:
                coding = layout.codings[key[0]]
                assert coding is not None
                made[key] = _columns(coding, values[key[0]], key[1])
            columns = made[key]
            if product is None:
                product = columns
            else:
                product = (columns[:, None, :] * product[None, :, :]).reshape(-1, nrow)
        assert product is not None
        transposed[at : at + len(product)] = product
        at += len(product)
    return transposed.T


def _columns(coding: Coding, value: Value, full: bool) -> Floats:
    """Columns of one variable as rows of an array, shape (columns, n)."""
    if isinstance(value, Factor):
        assert coding.matrix is not None and coding.levels is not None
        table = np.eye(len(coding.levels)) if full else coding.matrix
        columns = table.T.take(value.codes, axis=1)
        absent = value.codes < 0
        if absent.any():
            columns[:, absent] = np.nan
        return columns
    if isinstance(value, Matrix):
        return value.values.T
    assert isinstance(value, np.ndarray)
    return value[None, :]


def check_finite(name: str, value: Value, index: Any) -> None:
    """Refuse infinite numbers in a variable; `index` labels its rows.

    Raises
    ------
    DataError
        Naming the variable and its first infinite row.
    """
    numbers: Any = value.values if isinstance(value, Matrix) else value
    if isinstance(numbers, np.ndarray) and numbers.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(numbers.sum()):
                return
        infinite = np.flatnonzero(
            ~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
        )
        if len(infinite):
            label = index[infinite[0]]
            label = label.item() if isinstance(label, np.generic) else label
            raise DataError(
                f"{name} is infinite or not a number in {len(infinite)} row(s), the"
                f" first is the row {label!r}.",
                "Expected finite numbers.",
                "Remove these rows, or change the transformation.",
            )


def match_levels(name: str, value: Value, coding: Coding) -> Value:
    """New values of a variable, with the levels that the fit knew.

    Raises
    ------
    DataError
        For a level that the fit did not see, and for a variable of another kind.
    """
    if coding.levels is None:
        if isinstance(value, Factor):
            raise DataError(
                f"The variable {name!r} was numeric in the fit and is"
                " categorical in the new data.",
                "Expected numbers.",
            )
        width = value.values.shape[1] if isinstance(value, Matrix) else 1
        if width != len(coding.names):
            raise DataError(
                f"The variable {name!r} has {width} column(s) in the new data.",
                f"The fit had {len(coding.names)}.",
            )
        return value
    factor = value if isinstance(value, Factor) else as_factor(value)
    codes, unseen = recode(factor, coding.levels)
    if unseen:
        raise DataError(
            f"The factor {name!r} has new levels {', '.join(map(repr, unseen[:5]))}"
            f"{', ...' if len(unseen) > 5 else ''}.",
            f"The fit knew {', '.join(map(repr, coding.levels[:12]))}"
            f"{', ...' if len(coding.levels) > 12 else ''}.",
            "Only grouping factors of random effects may have new levels.",
        )
    return Factor(codes, coding.levels)


def recode(
    factor: Factor, levels: tuple[str, ...]
) -> tuple[NDArray[np.intp], list[str]]:
    """Codes of `factor` over other `levels`, -1 where unknown or missing.

    Returns
    -------
    codes : ndarray of intp, shape (n,)
        Positions in `levels`.
    unseen : list of str
        Levels of `factor` that occur in its rows and are not in `levels`.
    """
    if factor.levels == levels:
        return factor.codes, []
    position = {text: i for i, text in enumerate(levels)}
    moved = np.array([_find(text, position) for text in factor.levels] + [-1])
    codes = moved.astype(np.intp)[factor.codes]
    lost = np.unique(factor.codes[(codes < 0) & (factor.codes >= 0)])
    return codes, [factor.levels[i] for i in lost]


def _find(text: str, position: dict[str, int]) -> int:
    """Position of a label, written as a double or as an integer."""
    found = position.get(text, -1)
    for other in spellings(text) if found < 0 else ():
        if found < 0:
            found = position.get(other, -1)
    return found


def spellings(text: str) -> list[str]:
    """A number's label as a double and as an integer; none for other labels.

    Examples
    --------
    >>> spellings("100000"), spellings("007")
    (['1e+05', '100000'], [])
    """
    if text[:1] not in "-0123456789" or not text:
        return []
    try:
        number = float(text)
    except ValueError:
        return []
    # Only what a number is written as: "007" is the name of something else.
    whole = number.is_integer()
    if text not in (label(number), str(number)) and not (
        whole and text == str(int(number))
    ):
        return []
    return [label(number), str(int(number))] if whole else [label(number)]
