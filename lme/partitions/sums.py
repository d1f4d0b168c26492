"""The third look at all rows: the cross-products of a linear mixed model."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Adder:
    """Makes the cross-products of a partition.

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

    def __call__(self, frame: pd.DataFrame, number: int) -> Part | None:
        """Cross-products over the levels in the partition; None without rows."""
        block = self.encoder(frame).block
        if not block.z.size:
            return None
        block = replace(block, X=np.ascontiguousarray(block.X[:, self.kept]))
        return part_of(block, self.at)


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
    # The triangular factor has the lengths and angles of the columns.
    R = triangles[0][:, :-1]
    _, kept, notes = keep_columns(replace(design, X=R), rank)
    terms = engine_terms(design)
    key = (tuple(kept), *(id(part) for t in design.terms for part in (t.known, t.held)))
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
