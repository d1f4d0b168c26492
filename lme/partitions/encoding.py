"""Rows of a partition as arrays, coded by what all partitions together decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.engine.accumulation import Block
from lme.formula.groups import Grouping
from lme.formula.matrices import is_logical, recode
from lme.formula.predictors import Predictor
from lme.formula.recipe import Recipe, matrix_of, offset_sum
from lme.formula.response import Response, read_response
from lme.formula.sample import Sample
from lme.formula.syntax import Name, Node
from lme.formula.values import Factor, Value, as_factor
from lme.partitions.request import Request

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Locator:
    """Finds the levels of a grouping factor in time independent of their number.

    Attributes
    ----------
    grouping : Grouping
    """

    grouping: Grouping

    @cached_property
    def _index(self) -> pd.Index[Any]:
        return pd.Index(self.grouping.levels, dtype=object)

    @cached_property
    def _parts(self) -> tuple[Locator, Locator] | None:
        parts = self.grouping.parts
        return None if parts is None else (Locator(parts[0]), Locator(parts[1]))

    def __getstate__(self) -> dict[str, Any]:
        # The index is made where it is needed, once in each process.
        return {"grouping": self.grouping}

    def __call__(self, value: Callable[[Node], Value]) -> Codes:
        """Level of each row, -1 where it is unknown."""
        grouping = self.grouping
        if self._parts is None:
            factor = as_factor(value(grouping.node))
            if factor.levels == grouping.levels:
                return factor.codes
            found = self._index.get_indexer(pd.Index(factor.levels, dtype=object))
            return np.append(found, -1).astype(np.intp)[factor.codes]
        keys = grouping.keys
        assert keys is not None
        left, right = (part(value) for part in self._parts)
        width = len(self._parts[1].grouping.levels)
        wanted = left.astype(np.int64) * width + right
        place = np.searchsorted(keys, wanted)
        place[place == keys.size] = 0
        known = (keys[place] == wanted) & (left >= 0) & (right >= 0)
        return np.where(known, place, -1).astype(np.intp)


@dataclass(frozen=True)
class Encoded:
    """Rows of a partition.

    Attributes
    ----------
    block : Block
        With all columns of X.
    response : Response
    weights, offset : (m,) array or None
        Prior weights with the trials of the response, and the whole offset.
    cells : (m, f) intp
        Levels of the f predictors that have some.
    """

    block: Block
    response: Response
    weights: Array | None
    offset: Array | None
    cells: Codes


@dataclass(frozen=True)
class Encoder:
    """Makes arrays of the rows of a partition that a model uses.

    Attributes
    ----------
    request : Request
    recipe : Recipe
    locators : tuple of Locator
        Of each grouping factor that has columns, in the order of the terms.
    y_levels : tuple of str
        Categories of the response, failure first.
    predictors : tuple of Predictor
        Those with levels.
    """

    request: Request
    recipe: Recipe
    locators: tuple[Locator, ...]
    y_levels: tuple[str, ...]
    predictors: tuple[Predictor, ...]

    def __call__(self, frame: pd.DataFrame) -> Encoded:
        """The arrays of a partition."""
        request, recipe = self.request, self.recipe
        rows = request.rows(frame)
        sample = rows.sample
        m = sample.nrow
        response = self._response(sample)
        prior = rows.weights
        if response.trials is not None:
            prior = response.trials if prior is None else prior * response.trials
        offset = offset_sum(recipe.terms, sample.raw, rows.offset)
        X = matrix_of(recipe.terms, recipe.plan, sample.raw, m)
        random = [term for term in recipe.random if term.plan.names]
        values = tuple(
            np.ascontiguousarray(
                matrix_of(t.bar.terms, t.plan, sample.raw, m, t.as_factors)
            )
            for t in random
        )
        block = Block(
            z=response.y if offset is None else response.y - offset,
            X=X,
            root=None if prior is None else np.sqrt(prior),
            codes=tuple(find(sample.raw) for find in self.locators),
            values=values,
        )
        cells = [_level_of(one, sample.raw(Name(one.name))) for one in self.predictors]
        return Encoded(
            block,
            response,
            prior,
            offset,
            np.column_stack(cells) if cells else np.zeros((m, 0), dtype=np.intp),
        )

    def _response(self, sample: Sample) -> Response:
        request = self.request
        raw = sample.raw(request.response)
        if self.y_levels and not is_logical(raw):
            codes, _ = recode(as_factor(raw), self.y_levels)
            return Response(codes.astype(np.float64), "factor", self.y_levels)
        if not sample.nrow:
            return Response(np.zeros(0), "numeric")
        text = request.parsed.response
        return read_response(text, raw, request.family, sample.index)


def _level_of(one: Predictor, raw: Value) -> Codes:
    """Position of each row's value among those of a predictor."""
    if isinstance(one.values, Factor):
        return recode(as_factor(raw), one.labels)[0]
    known, values = np.asarray(one.values), np.asarray(raw)
    return np.searchsorted(known, values.astype(known.dtype)).astype(np.intp)
