"""From a formula and data to the design of a model."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import (
    FormulaError,
    FormulaWarning,
    LMEWarning,
    OptionError,
    near,
)
from lme.formula.bars import Bar
from lme.formula.coding import ContrastSpec
from lme.formula.evaluation import Scope, check_names
from lme.formula.expand import Terms
from lme.formula.groups import Grouping, group, leaves, level_order
from lme.formula.matrices import Coding, Plan, check_finite, code, fill, plan
from lme.formula.parts import Formula, parse_formula
from lme.formula.predictors import summarize_predictors
from lme.formula.recipe import RandomRecipe, Recipe, offset_sum
from lme.formula.records import Design, NewRows, RandomTerm
from lme.formula.residual import check_residual_names, read_residual, residual_design
from lme.formula.response import (
    check_weights,
    is_binomial,
    read_response,
    row_argument,
)
from lme.formula.sample import Sample, check_options, complete_cases
from lme.formula.syntax import Name, Node, deparse, variables_of
from lme.formula.table import Table
from lme.formula.values import Factor, Value, as_factor

__all__ = ["Design", "NewRows", "RandomTerm", "build_design"]

_PACKAGE = str(Path(__file__).parents[1])

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def build_design(
    formula: str | Formula,
    data: Any,
    *,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: str = "omit",
    contrasts: Any = None,
    context: Mapping[str, Any] | None = None,
    family: Any = None,
    random: str = "require",
    residual: str | None = None,
) -> Design:
    """The matrices that `formula` and `data` define, as lme4 would make them.

    Parameters
    ----------
    formula : str
        A formula such as ``"y ~ x + (x | g)"``.
    data : DataFrame, mapping of arrays, polars or pyarrow table
        The data; never modified.
    weights, offset : str or array, optional
        Prior weights and a known part of the linear predictor: the name of a
        column, an expression, or one number for each row of the data.
    subset : str, array of bool, positions or slice, optional
        The rows to use. Functions with a memory, such as ``scale``, see all rows.
    na_action : {"omit", "exclude", "fail"}
        What to do with rows in which any variable is missing.
    contrasts : mapping, str or pair of str, optional
        Coding of factors of the fixed part by name: a contrast name, a matrix, or
        a function of the levels. A name, or a pair for unordered and ordered
        factors, changes the default everywhere.
    context : mapping, optional
        Values and functions that the formula may use beside the columns.
    family : str or object, optional
        Decides how a response that is not a number is read.
    random : {"require", "allow"}
        Whether a formula without random terms is an error.
    residual : str, optional
        Variances and correlations of the residuals, such as ``"ar1(time | g)"``; see
        `lme.formula.residual.NOTATION`.

    Raises
    ------
    FormulaError
        For a formula that cannot be read, and unknown names, all at once.
    DataError, DataTypeError
        For data that cannot be used.
    DesignError
        For factors of one level and responses that do not fit the family.
    """
    check_options(na_action, random, context)
    parsed = parse_formula(formula)
    table = Table(data)
    scope = Scope(table, context or {}, {}, True, parsed.text)
    left, terms, nodes = variables_in(parsed, scope)
    if not parsed.bars and random == "require":
        raise no_random_terms(parsed)
    written = () if residual is None else read_residual(residual)
    if residual is not None:
        nodes += check_residual_names(written, residual, scope)
    weight_values, _ = row_argument("weights", weights, scope)
    offset_values, offset_node = row_argument("offset", offset, scope)
    arguments = {"weights": weight_values, "offset": offset_values}
    sample = complete_cases(nodes, scope, subset, na_action, arguments)
    sample.warn_all(FormulaWarning, parsed.warnings)

    if isinstance(left, Name):
        table.refuse_date(left.name)
    response = read_response(parsed.response, sample.raw(left), family, sample.index)
    terms = without_response(terms, parsed.response, sample)
    defaults, by_name = contrast_options(contrasts)
    layout, values = fixed_layout(terms, sample, by_name, defaults)
    X = fill(layout, values, sample.nrow)
    recipes, random_terms = _random(parsed, sample, defaults)
    prior = sample.pick(weight_values)
    if prior is not None:
        check_weights(prior, is_binomial(family))
    if response.trials is not None:
        prior = response.trials if prior is None else prior * response.trials
    recipe = Recipe(
        parsed, terms, layout, recipes, scope.memory, scope.context, offset_node
    )
    known = sample.pick(offset_sum(terms, scope.value, offset_values))
    check_finite("The offset", known, sample.index)
    issue(sample.warnings)
    return Design(
        formula=parsed.text,
        expanded=parsed.expanded,
        y=response.y,
        y_name=parsed.response,
        X=X,
        column_names=layout.names,
        assign=layout.assign,
        term_labels=terms.labels,
        offset=known,
        weights=prior,
        terms=random_terms,
        index=sample.index,
        full_index=sample.full_index,
        kept=sample.kept,
        dropped_rows=sample.dropped,
        na_action=na_action,
        warnings=tuple(sample.warnings),
        recipe=recipe,
        y_kind=response.kind,
        y_levels=response.levels,
        trials=response.trials,
        offset_given=offset is not None and offset_node is None,
        predictors=summarize_predictors(terms, layout, sample, prior, known),
        residual=residual_design(written, sample, prior) if written else None,
    )


def variables_in(parsed: Formula, scope: Scope) -> tuple[Node, Terms, list[Node]]:
    """Response, fixed part, and all variables of a formula, their names checked.

    Raises
    ------
    FormulaError
        For a formula without a response, and for unknown names.
    """
    if parsed.left is None:
        raise FormulaError(
            "The formula has no response.",
            "Expected 'y ~ ...'.",
            text=parsed.text,
            position=0,
        )
    terms = parsed.terms
    if parsed.has_dot:
        terms = parsed.terms_for(scope.table.columns)
    nodes = [parsed.left, *terms.nodes]
    for bar in parsed.bars:
        nodes += [*bar.terms.nodes, *leaves(bar.group)]
    # Names first: cs(x | g) and x (1 | g) are calls of unknown functions.
    check_names(nodes, scope)
    return parsed.left, terms, nodes


def issue(messages: list[LMEWarning]) -> None:
    """Warn at the line of the caller that is outside the package."""
    if not messages:
        return
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    for message in messages:
        warnings.warn(message, stacklevel=level)


def no_random_terms(formula: Formula) -> FormulaError:
    """The error for a formula without random terms."""
    return FormulaError(
        "No random effects terms specified in formula.",
        "Expected at least one term such as (1 | g), between parentheses.",
        "For a model without random effects use statsmodels' OLS or GLM.",
        text=formula.text,
        position=max(0, len(formula.text) - 1),
    )


def without_response(terms: Terms, response: str, sample: Sample) -> Terms:
    """The fixed part without the response, which R drops from it."""
    if response not in terms.variables:
        return terms
    own = 1 << terms.variables.index(response)
    kept = tuple(term for term in terms.sets if term != own)
    if len(kept) == len(terms.sets):
        return terms
    sample.warn(
        FormulaWarning,
        f"The response {response} appeared on the right-hand side and was dropped.",
    )
    return Terms(terms.variables, terms.nodes, kept, terms.intercept, terms.offsets)


def contrast_options(
    contrasts: Any,
) -> tuple[tuple[ContrastSpec, ContrastSpec], Mapping[str, ContrastSpec]]:
    """The defaults for unordered and ordered factors, and the choices by name."""
    if contrasts is None:
        return (None, None), {}
    if isinstance(contrasts, Mapping):
        return (None, None), contrasts
    if isinstance(contrasts, str):
        return (contrasts, None), {}
    pair = isinstance(contrasts, tuple | list) and len(contrasts) == 2
    if pair and all(isinstance(name, str) for name in contrasts):
        return (contrasts[0], contrasts[1]), {}
    raise OptionError(
        f"contrasts is {contrasts!r}.",
        "Expected a mapping such as {'f': 'contr.sum'}, or a default such as"
        " 'contr.sum' or ('contr.sum', 'contr.poly').",
    )


def _coding(
    node: Node,
    value: Value,
    sample: Sample,
    defaults: tuple[ContrastSpec, ContrastSpec],
    by_name: Mapping[str, ContrastSpec],
) -> Coding:
    name = deparse(node)
    spec: ContrastSpec = None
    if isinstance(value, Factor):
        plain = node.name if isinstance(node, Name) else name
        if plain in by_name:
            spec = by_name[plain]
        elif value.contrasts is None:
            spec = defaults[value.ordered]
    return code(name, value, spec)


def fixed_layout(
    terms: Terms,
    sample: Sample,
    by_name: Mapping[str, ContrastSpec],
    defaults: tuple[ContrastSpec, ContrastSpec],
) -> tuple[Plan, list[Value]]:
    """Layout of the fixed-effects matrix, and the variables that fill it."""
    values: list[Value] = [None] * len(terms.nodes)
    codings: list[Coding | None] = [None] * len(terms.nodes)
    for i in {i for members in terms.members for i in members}:
        values[i] = sample.settled(terms.nodes[i])
        codings[i] = _coding(terms.nodes[i], values[i], sample, defaults, by_name)
    _check_contrast_names(by_name, terms, codings)
    return plan(terms, codings, sample.nrow), values


def _check_contrast_names(
    by_name: Mapping[str, ContrastSpec], terms: Terms, codings: list[Coding | None]
) -> None:
    factors = [
        node.name if isinstance(node, Name) else deparse(node)
        for node, coding in zip(terms.nodes, codings, strict=True)
        if coding is not None and coding.levels is not None
    ]
    for name in by_name:
        if name not in factors:
            raise OptionError(
                f"contrasts names {name!r}, which is not a factor of the fixed part.",
                f"Its factors are {', '.join(map(repr, factors)) or 'none'}.",
                near(name, factors),
            )


def _random(
    formula: Formula, sample: Sample, defaults: tuple[ContrastSpec, ContrastSpec]
) -> tuple[tuple[RandomRecipe, ...], tuple[RandomTerm, ...]]:
    known: dict[str, tuple[Grouping, Codes]] = {}
    made = []
    for bar in formula.bars:
        if bar.group_name not in known:
            known[bar.group_name] = group(bar.group, sample.raw)
        grouping, codes = known[bar.group_name]
        recipe, variables = random_layout(bar, grouping, sample, defaults)
        filled = fill(recipe.plan, variables, sample.nrow)
        made.append((recipe, codes, np.ascontiguousarray(filled)))
    return ordered_terms(made, sample)


def ordered_terms(
    made: Sequence[tuple[RandomRecipe, Codes, Floats]], sample: Sample
) -> tuple[tuple[RandomRecipe, ...], tuple[RandomTerm, ...]]:
    """Random terms in lme4's order, with what there is to say about them.

    Parameters
    ----------
    made : sequence of (RandomRecipe, codes, columns)
        In the order of the formula.
    sample : Sample
        Which keeps the warnings.
    """
    split_factors = []
    for recipe, _, _ in made:
        bar = recipe.bar
        if not recipe.plan.names:
            sample.warn(FormulaWarning, f"The random term ({bar.text}) has no columns.")
        if bar.split and bar.structure == "us":
            split_factors += _factors_of(recipe)
    if split_factors:
        sample.warn(FormulaWarning, _double_bar_message(split_factors))
    order = level_order([len(recipe.grouping.levels) for recipe, _, _ in made])
    terms = []
    for k in order:
        recipe, codes, values = made[k]
        bar = recipe.bar
        terms.append(
            RandomTerm(
                bar.group_name,
                recipe.plan.names,
                bar.structure,
                codes,
                recipe.grouping.levels,
                values,
            )
        )
    return tuple(made[k][0] for k in order), tuple(terms)


def random_layout(
    bar: Bar,
    grouping: Grouping,
    sample: Sample,
    defaults: tuple[ContrastSpec, ContrastSpec],
) -> tuple[RandomRecipe, list[Value]]:
    """Layout of the columns of a random term, and the variables that fill it."""
    terms = bar.terms
    inside = {deparse(name) for name in variables_of(bar.group)}
    as_factors = frozenset(inside.intersection(terms.variables))
    values: list[Value] = [None] * len(terms.nodes)
    codings: list[Coding | None] = [None] * len(terms.nodes)
    for i in {i for members in terms.members for i in members}:
        node = terms.nodes[i]
        if terms.variables[i] in as_factors:
            factor = as_factor(sample.raw(node)).drop_unused()
            values[i] = factor
        else:
            values[i] = sample.settled(node)
        codings[i] = _coding(node, values[i], sample, defaults, {})
    layout = plan(terms, codings, sample.nrow)
    return RandomRecipe(bar, grouping, layout, as_factors), values


def _factors_of(recipe: RandomRecipe) -> list[str]:
    return [
        coding.name
        for coding in recipe.plan.codings
        if coding is not None and coding.levels is not None
    ]


def _double_bar_message(factors: list[str]) -> str:
    names = ", ".join(dict.fromkeys(factors))
    return (
        f"A double bar has the factor {names} on its left. As in lme4, the columns of"
        " a factor stay correlated with each other. Write zerocorr(... | g) or"
        " diag(... | g) for independent columns."
    )
