"""The first look at all rows: which are used, which levels occur, of what kind all is.

A survey of a partition holds rows that stand for others, so that its size depends on
the number of levels. A design is laid out from it without any row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import LMEWarning
from lme.formula.bars import Bar
from lme.formula.evaluation import new_missing
from lme.formula.groups import leaves
from lme.formula.matrices import check_finite, is_logical, settle
from lme.formula.predictors import coerced_names
from lme.formula.recipe import offset_sum
from lme.formula.response import read_response
from lme.formula.sample import Sample
from lme.formula.syntax import Call, Name, Node, deparse, variables_of
from lme.formula.values import Factor, Value, is_text, take
from lme.partitions.representatives import (
    Representative,
    distinct,
    first_row,
    merged,
)
from lme.partitions.request import Request, Rows
from lme.partitions.statistics import Moments, moments_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """What some partitions are like.

    Attributes
    ----------
    used : tuple of int
        Number of rows used, of each partition.
    total, selected : int
        Rows, and rows of the subset.
    kinds : dict of str to set of str
        NumPy's letters for the types of the columns.
    variables : dict of str to Representative
        Each variable of the fixed part and of the left of a bar.
    groups : dict of str to Representative
        Combinations of factors, for each grouping factor.
    response : Representative
    moments : dict of str to Moments
        Of ``y``, of the offset ``offset``, and of each numeric predictor.
    predictors : dict of str to Representative
        Columns of the fixed part; at most three values of a number.
    created : dict of str to int
        Rows in which a call made a missing value.
    said : dict of str to LMEWarning
        Warnings, each once.
    """

    used: tuple[int, ...]
    total: int
    selected: int
    kinds: dict[str, set[str]]
    variables: dict[str, Representative]
    groups: dict[str, Representative]
    response: Representative
    moments: dict[str, Moments]
    predictors: dict[str, Representative]
    created: dict[str, int]
    said: dict[str, LMEWarning] = field(default_factory=dict)


@dataclass(frozen=True)
class Surveyor:
    """Surveys a partition."""

    request: Request

    def __call__(self, frame: pd.DataFrame, number: int) -> Survey:
        """What the partition is like."""
        request = self.request
        rows = request.rows(frame)
        sample = rows.sample
        table = rows.scope.table
        y = self._check_response(rows)
        created: dict[str, int] = {}
        if len(sample.dropped):
            calls = {deparse(n): n for n in request.nodes if isinstance(n, Call)}
            counts = {k: new_missing(n, rows.scope) for k, n in calls.items()}
            created = {k: count for k, count in counts.items() if count}
        moments = {"y": moments_of(y)}
        offset = offset_sum(request.terms, sample.raw, rows.offset)
        check_finite("The offset", offset, sample.index)
        if offset is not None:
            moments["offset"] = moments_of(offset)
        predictors, of_numbers = self._predictors(sample, number)
        response = {"": sample.raw(request.response)}
        categories = request.binomial and _is_categories(response[""])
        names = {n.name for node in request.nodes for n in variables_of(node)}
        return Survey(
            used=(sample.nrow,),
            total=table.nrow,
            selected=len(sample.full_index),
            kinds={
                name: {getattr(frame[name].dtype, "kind", "O")}
                for name in frame.columns
                if str(name) in names
            },
            variables=self._variables(sample, number),
            groups={
                name: distinct(_parts(bar, sample), number)
                for name, bar in _bars(request).items()
            },
            response=(distinct if categories else first_row)(response, number),
            moments=moments | of_numbers,
            predictors=predictors,
            created=created,
            said={
                str(note): note
                for note in sample.warnings
                if "not a number" not in str(note)
            },
        )

    def _check_response(self, rows: Rows) -> Array:
        """The response as numbers; of categories not yet, which need all levels."""
        request, sample = self.request, rows.sample
        if isinstance(request.response, Name):
            rows.scope.table.refuse_date(request.response.name)
        raw = sample.raw(request.response)
        if not sample.nrow or (request.binomial and _is_categories(raw)):
            return np.zeros(0)
        text = request.parsed.response
        return read_response(text, raw, request.family, sample.index).y

    def _variables(self, sample: Sample, number: int) -> dict[str, Representative]:
        out = {}
        whole = _named_in_groups(self.request)
        for name, node in _used(self.request).items():
            if isinstance(node, Name):
                sample.scope.table.refuse_date(node.name)
            raw = sample.raw(node)
            make = distinct if name in whole or _is_categories(raw) else first_row
            if not _is_categories(raw):
                check_finite(f"The variable {name}", settle(raw), sample.index)
            out[name] = make({name: raw}, number)
        return out

    def _predictors(
        self, sample: Sample, number: int
    ) -> tuple[dict[str, Representative], dict[str, Moments]]:
        found, moments = {}, {}
        nodes = fixed_variables(self.request)
        coerced = {name for node in nodes for name in coerced_names(node)}
        for name in _columns(self.request, sample):
            raw = sample.raw(Name(name))
            if name in coerced or _is_categories(raw) or is_logical(raw):
                one = distinct({name: raw}, number)
            else:
                one = _few_values(name, raw, number)
                moments[f"predictor {name}"] = moments_of(np.asarray(raw, dtype=float))
            found[name] = one
        return found, moments

    def merge(self, a: Survey, b: Survey) -> Survey:
        """What two successive sets of partitions are like."""
        whole = _named_in_groups(self.request)
        nodes = fixed_variables(self.request)
        coerced = {name for node in nodes for name in coerced_names(node)}
        predictors = {}
        for name, one in a.predictors.items():
            both = merged(one, b.predictors[name])
            known = both.values[name]
            many = name in coerced or _is_categories(known) or is_logical(known)
            predictors[name] = both if many else shortened(both)
        return Survey(
            used=a.used + b.used,
            total=a.total + b.total,
            selected=a.selected + b.selected,
            kinds={k: v | b.kinds.get(k, set()) for k, v in a.kinds.items()},
            variables={
                k: merged(v, b.variables[k], k in whole or _any_categories(v))
                for k, v in a.variables.items()
            },
            groups={k: merged(v, b.groups[k]) for k, v in a.groups.items()},
            response=merged(a.response, b.response, _any_categories(a.response)),
            moments={
                k: a.moments.get(k, Moments()) + b.moments.get(k, Moments())
                for k in {**a.moments, **b.moments}
            },
            predictors=predictors,
            created={
                k: a.created.get(k, 0) + b.created.get(k, 0)
                for k in {**a.created, **b.created}
            },
            said=a.said | b.said,
        )


def shortened(one: Representative) -> Representative:
    """At most three values: two are levels, three are too many to be."""
    cut = {name: take(value, slice(0, 3)) for name, value in one.values.items()}
    return Representative(cut, one.first)


def _few_values(name: str, raw: Value, number: int) -> Representative:
    """At most three of the values of a number, which the first rows mostly show."""
    one = shortened(distinct({name: take(raw, slice(0, 100))}, number))
    return one if len(one) > 2 else shortened(distinct({name: raw}, number))


def _is_categories(value: Value) -> bool:
    return isinstance(value, Factor) or is_text(value)


def _any_categories(one: Representative) -> bool:
    return any(_is_categories(value) for value in one.values.values())


def fixed_variables(request: Request) -> list[Node]:
    """Variables of the fixed terms, offsets not among them."""
    used = {i for members in request.terms.members for i in members}
    return [request.terms.nodes[i] for i in sorted(used)]


def _columns(request: Request, sample: Sample) -> list[str]:
    """Columns of the data in the fixed part, in order."""
    names = (
        name.name for node in fixed_variables(request) for name in variables_of(node)
    )
    return [name for name in dict.fromkeys(names) if name in sample.scope.table]


def _used(request: Request) -> dict[str, Node]:
    """Variables of the fixed part and of the left of all bars, by their text."""
    nodes = fixed_variables(request)
    for bar in request.parsed.bars:
        nodes += [bar.terms.nodes[i] for m in bar.terms.members for i in m]
    return {deparse(node): node for node in nodes}


def _bars(request: Request) -> dict[str, Bar]:
    """A bar for each grouping factor."""
    return {bar.group_name: bar for bar in reversed(request.parsed.bars)}


def _parts(bar: Bar, sample: Sample) -> Mapping[str, Value]:
    """The single factors of a grouping factor."""
    return {deparse(leaf): sample.raw(leaf) for leaf in leaves(bar.group)}


def _named_in_groups(request: Request) -> set[str]:
    """Variables on the left of a bar that are factors because they group, too."""
    inside = [
        {deparse(name) for name in variables_of(bar.group)} & set(bar.terms.variables)
        for bar in request.parsed.bars
    ]
    return reduce(set.union, inside, set())
