"""The third look at all rows: the cross-products of a linear mixed model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.engine.accumulation import (
    Coordinates,
    CrossSum,
    Part,
    coordinates,
    part_of,
)
from lme.engine.summed import SummedProblem
from lme.errors import LMEWarning
from lme.partitions.design import PartitionedDesign
from lme.partitions.encoding import Encoder
from lme.preparation import engine_terms, keep_columns

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Encoded:
    """What is done with the rows of a partition once they are numbers.

    Attributes
    ----------
    encoder : Encoder
    at : Coordinates
    kept : (p,) intp
        Independent columns of X.
    """

    encoder: Encoder
    at: Coordinates
    kept: Codes


class Adder(Encoded):
    """Makes the cross-products of a partition."""

    def __call__(self, frame: pd.DataFrame, number: int) -> Part | None:
        """Cross-products over the levels in the partition; None without rows."""
        block = self.encoder(frame).block
        if not block.z.size:
            return None
        block = replace(block, X=np.ascontiguousarray(block.X[:, self.kept]))
        return part_of(block, self.at)


def columns_and_key(
    design: PartitionedDesign, R: Array, rank: str
) -> tuple[Codes, tuple[Any, ...], list[LMEWarning]]:
    """Columns kept, what tells a problem from others, and the warning of the others.

    The triangular factor R has the lengths and angles of the columns.
    """
    _, kept, notes = keep_columns(replace(design, X=R), rank)
    covariances = (id(part) for t in design.terms for part in (t.known, t.held))
    return kept, (tuple(kept), *covariances), notes


def summed_problem(
    design: PartitionedDesign, rank: str
) -> tuple[SummedProblem, Codes, list[LMEWarning]]:
    """The problem of a design, columns kept, and the warning that names the others.

    Parameters
    ----------
    design : PartitionedDesign
    rank : {"drop", "stop"}
        What to do with dependent columns of X.

    Raises
    ------
    DataError
        For dependent columns with ``rank="stop"``.
    """
    parts = design.parts
    triangles = parts.tabulation.triangles
    kept, key, notes = columns_and_key(design, triangles[0][:, :-1], rank)
    terms = engine_terms(design)
    if key not in parts.sums:
        at = coordinates(triangles, kept, terms, design.nobs)
        total = CrossSum(at)

        def absorb(part: Part | None) -> None:
            if part is not None:
                total.add(part)

        task = Adder(parts.encoder, at, kept)
        parts.source.fold(task, absorb, parts.columns)
        parts.sums.clear()
        parts.sums[key] = total.problem()
    problem: SummedProblem = parts.sums[key]
    return problem, kept, notes
