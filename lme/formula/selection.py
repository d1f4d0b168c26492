"""Pick random effects out of a design by a formula such as ``~ (1 | g)``."""

from __future__ import annotations

from lme.errors import FormulaError
from lme.formula.bars import Bar
from lme.formula.parser import parse
from lme.formula.parts import parse_formula
from lme.formula.records import Design
from lme.formula.syntax import Call, deparse, is_operator


def select_random(design: Design, text: str) -> dict[int, tuple[int, ...]]:
    """The random-effects columns of `design` that the formula `text` names.

    Parameters
    ----------
    design : Design
        The design of a fit from a formula.
    text : str
        Random terms, such as ``"~ (1 | g)"`` or ``"~ (0 + x | g) + (1 | h)"``; a
        part of the columns of a term may be named. ``"~ 0"`` names none. A single
        term may be without parentheses, as in R: ``"~ 1 | g"``.

    Returns
    -------
    dict of int to tuple of int
        For each term concerned, by its position in ``design.terms``, the positions
        of the columns, ascending.

    Raises
    ------
    FormulaError
        If a term has no counterpart in the design, or fixed terms are named.

    Examples
    --------
    >>> from lme.formula import build_design
    >>> data = {"y": [1.0, 2, 3, 5], "x": [0.0, 1, 0, 1], "g": list("aabb")}
    >>> select_random(build_design("y ~ x + (x | g)", data), "~ (1 | g)")
    {0: (0,)}
    """
    wanted = parse_formula(_in_parentheses(text if "~" in text else f"~ {text}"))
    if wanted.fixed or wanted.left is not None:
        raise FormulaError(
            f"{text!r} names more than random terms.",
            "Expected random terms such as '~ (1 | g)'.",
            text=wanted.text,
            position=0,
        )
    chosen: dict[int, set[int]] = {}
    for bar in wanted.bars:
        for k, columns in _columns_of(bar, design, wanted.text).items():
            chosen.setdefault(k, set()).update(columns)
    return {k: tuple(sorted(chosen[k])) for k in sorted(chosen)}


def _in_parentheses(text: str) -> str:
    """``~ 1 | g`` as ``~ (1 | g)``; there are no fixed terms that it could hide."""
    tree = parse(text)
    if not (isinstance(tree, Call) and tree.function == "~" and len(tree.args) == 1):
        return text
    (term,) = tree.args
    return f"~ ({deparse(term)})" if is_operator(term, "|", "||") else text


def _columns_of(bar: Bar, design: Design, text: str) -> dict[int, list[int]]:
    """Columns of one term by position; each of its parts must be in the design."""
    missing = ["1"] * bar.terms.intercept + list(bar.terms.labels)
    found: dict[int, list[int]] = {}
    for k, term in enumerate(design.terms):
        if term.group != bar.group_name:
            continue
        for j, label in enumerate(_labels(design, k)):
            if label in bar.terms.labels or (label == "1" and bar.terms.intercept):
                found.setdefault(k, []).append(j)
                if label in missing:
                    missing.remove(label)
    if missing:
        there = [f"({' + '.join(t.columns)} | {t.group})" for t in design.terms]
        raise FormulaError(
            f"The model has no random effect of {', '.join(missing)} for the groups"
            f" {bar.group_name}.",
            f"Its random terms are {', '.join(there)}.",
            text=text,
            position=bar.group.start if bar.group.start >= 0 else None,
            length=max(1, bar.group.end - bar.group.start),
        )
    return found


def _labels(design: Design, k: int) -> list[str]:
    """Label of each column of a random term; "1" is the intercept."""
    if design.recipe is None:
        # Matrices have names of columns only.
        names = design.terms[k].columns
        return ["1" if name in ("(Intercept)", "const") else name for name in names]
    part = design.recipe.random[k]
    labels = ["1", *part.bar.terms.labels]
    return [labels[number] for number in part.plan.assign]
