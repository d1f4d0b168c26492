"""The layout of a model from a survey: columns, levels and codings, without rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from lme.errors import DataError, DataWarning, FormulaWarning
from lme.formula.bars import Bar
from lme.formula.design import (
    RandomTerm,
    contrast_options,
    fixed_layout,
    ordered_terms,
    random_layout,
)
from lme.formula.evaluation import Scope
from lme.formula.groups import group
from lme.formula.matrices import Plan
from lme.formula.predictors import Predictor, coerced_names, look
from lme.formula.recipe import RandomRecipe
from lme.formula.response import Response, read_response
from lme.formula.sample import Sample
from lme.formula.syntax import Node, deparse
from lme.formula.table import Table
from lme.formula.values import Value, label
from lme.partitions.request import Request
from lme.partitions.survey import Survey, fixed_variables


@dataclass
class Stand(Sample):
    """Rows that stand for those of all partitions, variable by variable."""

    values: Mapping[str, Value] = field(default_factory=dict)

    def raw(self, node: Node) -> Value:
        """The distinct values of a variable, or one where it holds numbers."""
        return self.values[deparse(node)]


@dataclass(frozen=True)
class Layout:
    """What a survey says about a model.

    Attributes
    ----------
    plan : Plan
        Of the fixed-effects matrix.
    recipes : tuple of RandomRecipe
    terms : tuple of RandomTerm
        Without rows.
    response : Response
        Kind and categories of the response.
    predictors : tuple of Predictor
    leveled : tuple of Predictor
        Those with levels, whose combinations count.
    stand : Stand
        With the warnings.
    """

    plan: Plan
    recipes: tuple[RandomRecipe, ...]
    terms: tuple[RandomTerm, ...]
    response: Response
    predictors: tuple[Predictor, ...]
    leveled: tuple[Predictor, ...]
    stand: Stand


def lay_out(request: Request, survey: Survey, contrasts: Any) -> Layout:
    """Columns, levels and codings of a model.

    Raises
    ------
    DataError
        When no row is used.
    DesignError, OptionError
        For factors of one level, and contrasts that do not fit.
    """
    if not sum(survey.used):
        raise _no_rows(survey)
    stand = _stand(request, survey)
    defaults, by_name = contrast_options(contrasts)
    plan, _ = fixed_layout(request.terms, stand, by_name, defaults)
    none = np.zeros(0, dtype=np.intp)
    known = {}
    made = []
    for bar in request.parsed.bars:
        if bar.group_name not in known:
            known[bar.group_name], _ = group(bar.group, _value_in(survey, bar))
        recipe, _ = random_layout(bar, known[bar.group_name], stand, defaults)
        made.append((recipe, none, np.zeros((0, len(recipe.plan.names)))))
    recipes, terms = ordered_terms(made, stand)
    predictors, leveled = _predictors(request, survey)
    text, shown = request.parsed.response, survey.response.values[""]
    response = read_response(text, shown, request.family, pd.RangeIndex(1))
    return Layout(plan, recipes, terms, response, predictors, leveled, stand)


def _value_in(survey: Survey, bar: Bar) -> Callable[[Node], Value]:
    """Single factors of a grouping factor, in the combinations that occur."""
    values = survey.groups[bar.group_name].values
    return lambda node: values[deparse(node)]


def _stand(request: Request, survey: Survey) -> Stand:
    none = np.empty(0, dtype=np.intp)
    one = pd.RangeIndex(1)
    scope = Scope(Table({}), request.setting.context, {}, False, request.parsed.text)
    values = {name: rep.values[name] for name, rep in survey.variables.items()}
    stand = Stand(
        scope, None, one, one, np.ones(1, dtype=bool), none, [], {}, values=values
    )
    stand.warn_all(FormulaWarning, request.parsed.warnings)
    stand.warnings += survey.said.values()
    stand.warn_all(
        DataWarning,
        tuple(
            f"{name} is not a number in {count} row(s)."
            for name, count in survey.created.items()
        ),
    )
    return stand


def _no_rows(survey: Survey) -> DataError:
    if not survey.total:
        found = "The data have no rows: 0 (non-NA) cases."
    elif not survey.selected:
        found = f"subset selects none of the {survey.total} rows: 0 (non-NA) cases."
    else:
        found = "Every row has a missing value: 0 (non-NA) cases."
    return DataError(found, "Expected rows in which every variable has a value.")


def _predictors(
    request: Request, survey: Survey
) -> tuple[tuple[Predictor, ...], tuple[Predictor, ...]]:
    """The variables of the fixed part, and those of them that have levels."""
    coerced = {
        name for node in fixed_variables(request) for name in coerced_names(node)
    }
    every, leveled = [], []
    for name, rep in survey.predictors.items():
        one, codes = look(name, rep.values[name], name in coerced)
        moments = survey.moments.get(f"predictor {name}")
        if codes is not None:
            leveled.append(one)
        elif moments is not None and not one.is_factor:
            one = replace(
                one,
                values=np.array([moments.mean]),
                labels=(label(moments.mean),),
                low=moments.low,
                high=moments.high,
            )
        every.append(one)
    return tuple(every), tuple(leveled)
