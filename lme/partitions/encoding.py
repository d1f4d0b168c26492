"""Rows of a partition as arrays, coded by what all partitions together decided."""

from __future__ import annotations

from dataclasses import dataclass

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
from lme.formula.syntax import Name
from lme.formula.values import Factor, Value, as_factor
from lme.partitions.request import Request

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


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
    groupings : tuple of Grouping
        Of the terms that have columns, each once, in their order.
    y_levels : tuple of str
        Categories of the response, failure first.
    predictors : tuple of Predictor
        Those with levels.
    """

    request: Request
    recipe: Recipe
    groupings: tuple[Grouping, ...]
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
            codes=tuple(one.locate(sample.raw) for one in self.groupings),
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
