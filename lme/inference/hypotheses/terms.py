"""Hypotheses about the terms of the fixed part, of types 1, 2 and 3.

Type 1 tests each term after those before it, type 2 after all that do not contain it,
type 3 the differences between unweighted means over the cells of the factors. Types 1
and 2 are rows of the triangular factor of X with its columns in the order of the
question (Goodnight 1980, Commun. Stat. A 9:167, doi:10.1080/03610928008827869); type 3
needs the contrasts of the factors only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError, near
from lme.fit import Fit
from lme.formula.matrices import Coding, Plan
from lme.inference.hypotheses.containment import Containment
from lme.inference.hypotheses.ddf import Denominator, f_frame
from lme.inference.working import MixedFit, triangle_of_X

Array = NDArray[np.float64]
TYPES = (1, 2, 3)
_ROMAN = {"I": 1, "II": 2, "III": 3}


def type_number(kind: int | str) -> int:
    """1, 2 or 3 from a number or a Roman numeral.

    Raises
    ------
    OptionError
        For anything else.
    """
    found = _ROMAN.get(str(kind), kind)
    for number in TYPES:
        if str(found) == str(number):
            return number
    raise OptionError(
        f"type={kind!r} is not known.", "The types of a table of terms are 1, 2 and 3."
    )


def term_table(
    fit: Fit, method: Denominator, kind: int, intercept: bool = False
) -> pd.DataFrame:
    """F tests of the terms.

    Parameters
    ----------
    fit : Fit
        With its data.
    method : Denominator
        Estimates, covariance and degrees of freedom.
    kind : {1, 2, 3}
    intercept : bool
        Whether the intercept is a row, as in nlme: before all terms in type 1, by its
        coefficient in types 2 and 3.

    Returns
    -------
    DataFrame
        See `ddf.f_frame`.
    """
    owner = np.asarray(fit.design.assign, dtype=int)[fit.kept_columns]
    found = term_hypotheses(fit, kind)
    numbers = [k for k in range(1, owner.max(initial=0) + 1) if (owner == k).any()]
    if intercept and (owner == 0).any():
        L = _triangle(triangle_of_X(fit)) if kind == 1 else np.eye(owner.size)
        found.insert(0, ("(Intercept)", L[owner == 0]))
        numbers.insert(0, 0)
    rows = []
    for (label, L), k in zip(found, numbers, strict=True):
        chosen = method
        if isinstance(method, Containment):
            chosen = method.of_columns(owner == k)
        rows.append(f_frame(chosen, [(label, L, 0.0)]))
    return pd.concat(rows) if rows else f_frame(method, [])


def term_hypotheses(fit: Fit, kind: int) -> list[tuple[str, Array]]:
    """For each term, the intercept apart, the matrix L of its hypothesis.

    Parameters
    ----------
    fit : Fit
        With its data.
    kind : {1, 2, 3}

    Returns
    -------
    list of (str, (q, p) array)
        Label of the term, and L of ``L beta = 0``.

    Raises
    ------
    OptionError
        For type 3 where columns were dropped, and for types 2 and 3 of a model that
        was made from arrays.
    """
    design = fit.design
    owner = np.asarray(design.assign, dtype=int)[fit.kept_columns]
    numbers = [k for k in range(1, len(design.term_labels) + 1) if (owner == k).any()]
    labels = {k: design.term_labels[k - 1] for k in numbers}
    if kind == 1:
        L = _triangle(triangle_of_X(fit))
        return [(labels[k], L[owner == k]) for k in numbers]
    if design.recipe is None:
        raise OptionError(
            f"Type {kind} needs a formula, which says what contains what.",
            "The model was made from arrays.",
            "Use type=1, or contrast() with a matrix.",
        )
    plan = design.recipe.plan
    if kind == 2:
        R = triangle_of_X(fit)
        return [(labels[k], _after_others(R, owner, k, plan)) for k in numbers]
    if fit.kept_columns.size < len(design.column_names):
        raise OptionError(
            "Type 3 needs all columns, and some were dropped as dependent.",
            "A mean over cells that have no data is not estimable.",
            "Use type=2 or type=1.",
        )
    return [(labels[k], _over_cells(plan, owner, k)) for k in numbers]


def level_differences(
    fit: MixedFit, term: str, names: Sequence[str] | None = None
) -> tuple[Array, Array, list[str]]:
    """Differences between the coefficients of a factor's levels, for all pairs.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model, made with a formula.
    term : str
        Label of a term that is one factor.
    names : sequence of str, optional
        Names of its levels.

    Returns
    -------
    L : (m, p) array
        A row a pair, the later level minus the earlier one.
    coding : (levels, columns) array
        Of the factor.
    labels : list of str
        Such as ``b-a``.

    Raises
    ------
    OptionError
        For a term that is not one factor of the model, with those that are; for a
        factor that lost a column, and for names of another number.
    """
    design = fit.design
    factors: dict[str, tuple[int, Coding, bool]] = {}
    if design.recipe is not None:
        plan = design.recipe.plan
        for number, block in enumerate(plan.blocks):
            coding = plan.codings[block[0][0]]
            if len(block) == 1 and coding is not None and coding.levels is not None:
                label = design.term_labels[number]
                factors[label] = (number + 1, coding, block[0][1])
    if term not in factors:
        raise OptionError(
            f"{term!r} is not a factor among the terms of the model.",
            f"The factors are {', '.join(map(repr, factors)) or 'none'}.",
            near(str(term), factors),
        )
    number, coding, full = factors[term]
    levels = coding.levels or ()
    table = np.eye(len(levels)) if full else np.asarray(coding.matrix, dtype=float)
    own = np.asarray(design.assign, dtype=int)[fit.kept_columns] == number
    if int(own.sum()) < table.shape[1]:
        raise OptionError(
            f"Columns of {term!r} were dropped as linearly dependent.",
            "Differences between its levels need all of them.",
            "Use emmeans, which says which means can be estimated.",
        )
    words = list(levels if names is None else names)
    if len(words) != len(levels):
        raise OptionError(
            f"{len(words)} labels are given for the {len(levels)} levels of {term!r}.",
            "Give one label for each level.",
        )
    pairs = list(combinations(range(len(levels)), 2))
    L = np.zeros((len(pairs), own.size))
    L[:, own] = [table[j] - table[i] for i, j in pairs]
    return L, table, [f"{words[j]}-{words[i]}" for i, j in pairs]


def _qr(X: Array) -> Array:
    """Triangular factor of X."""
    return np.asarray(np.linalg.qr(X)[1], dtype=np.float64)


def _triangle(R: Array) -> Array:
    """Rows of a triangular factor, scaled to a unit diagonal."""
    scaled: Array = R / R.diagonal()[:, None]
    return scaled


def _after_others(R: Array, owner: NDArray[np.intp], k: int, plan: Plan) -> Array:
    """The term after all terms that do not contain it."""
    # An intercept, term 0, contains nothing.
    inside = np.array([j > 0 and j != k and contains(plan, j, k) for j in owner])
    own = owner == k
    if not inside.any():
        # Adjusted for everything else: the coefficients themselves.
        return np.asarray(np.eye(owner.size)[own])
    order = np.argsort(np.where(inside, 2, np.where(own, 1, 0)), kind="stable")
    turned = _triangle(_qr(R[:, order]))
    out = np.empty((int(own.sum()), owner.size))
    out[:, order] = turned[own[order]]
    return out


def contains(plan: Plan, j: int, k: int) -> bool:
    """Whether term j has the factors of term k and more, and the same numbers."""
    (factors, numbers), (inner, same) = _parts(plan, j), _parts(plan, k)
    return numbers == same and inner < factors


def _parts(plan: Plan, k: int) -> tuple[frozenset[int], frozenset[int]]:
    """Factors and numeric variables of a term, as positions."""
    names = {i for i, _ in plan.blocks[k - 1]}
    numeric = {i for i in names if _coding(plan, i)[0] is None}
    return frozenset(names - numeric), frozenset(numeric)


def _coding(plan: Plan, i: int) -> tuple[Array | None, int]:
    """Contrasts of a variable, None for numbers, and the number of its columns."""
    coding = plan.codings[i]
    assert coding is not None
    if coding.levels is None:
        return None, max(len(coding.names), 1)
    assert coding.matrix is not None
    return coding.matrix, coding.matrix.shape[1]


def _over_cells(plan: Plan, owner: NDArray[np.intp], k: int) -> Array:
    """Differences between unweighted means of cells.

    The coefficient of a product of numeric variables is a sum, over the terms with
    these variables, of coefficients times contrasts; averaged over the factors that
    are not in the term, and differenced over those that are.
    """
    full = dict(plan.blocks[k - 1])
    out = np.zeros((int((owner == k).sum()), owner.size))
    for number, block in enumerate(plan.blocks, start=1):
        if number != k and not contains(plan, number, k):
            continue
        parts = [_averaged(plan, key, full) for key in block]
        out[:, owner == number] = _product(parts)
    # Which independent rows stand for the hypothesis matters to Satterthwaite's
    # degrees of freedom: as in lmerTest, each has one of the term's coefficients.
    return np.asarray(np.linalg.solve(out[:, owner == k], out), dtype=np.float64)


def _averaged(plan: Plan, key: tuple[int, bool], full: dict[int, bool]) -> Array:
    """What one variable of a block contributes to the hypothesis."""
    i, indicators = key
    contrasts, width = _coding(plan, i)
    if contrasts is None:
        return np.eye(width)
    levels = len(contrasts)
    table = np.eye(levels) if indicators else contrasts
    if i not in full:
        return np.full((1, levels), 1.0 / levels) @ table
    if full[i]:
        return table
    differences = (np.eye(levels) - 1.0 / levels)[:-1]
    return np.asarray(differences @ table, dtype=np.float64)


def _product(parts: Sequence[Array]) -> Array:
    """Kronecker product in the order of the columns: the first runs fastest."""
    product = np.ones((1, 1))
    for part in parts:
        product = np.asarray(np.kron(part, product), dtype=np.float64)
    return product
