"""A few rows that stand for all where models of data in partitions are compared.

Whether one model is a special case of another shows on some thousands of rows, evenly
spaced. The same rows are taken of every model of the same data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.formula.recipe import RandomTerm
from lme.inference.working import MixedFit
from lme.partitions.design import PartitionedDesign
from lme.partitions.tabulation import PROBE

Codes = NDArray[np.intp]

#: Classes of levels: rows of one level are too few among those that are looked at.
CLASSES = 64


def positions(rows: int) -> slice:
    """Which rows are looked at."""
    return slice(0, None, -(-rows // PROBE))


def classes(codes: Codes, levels: int) -> Codes:
    """Levels put into classes at random, the same for a level whatever the model.

    Where there are many levels hardly two rows share one, and all factors would look
    alike.
    """
    if levels <= CLASSES:
        return codes
    mixed = codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(58)).astype(np.intp)


def with_shown_rows(fit: MixedFit) -> MixedFit:
    """A copy of a fit of data in partitions that has a few of its rows.

    Parameters
    ----------
    fit : Fit or GLMMFit
        Of a `PartitionedDesign`.
    """
    design = fit.design
    if not isinstance(design, PartitionedDesign):
        raise TypeError("Data in partitions were expected.")
    probe = design.parts.probe
    block = probe.block
    terms: list[RandomTerm] = []
    values = iter(block.values)
    groups = dict.fromkeys(term.group for term in design.terms if term.columns)
    codes = dict(zip(groups, block.codes, strict=True))
    for term in design.terms:
        if not term.columns:
            terms.append(term)
            continue
        own = classes(codes[term.group], len(term.levels))
        terms.append(replace(term, codes=own, values=next(values)))
    template = fit.problem.template
    columns: list[list[NDArray[np.float64]]] = [[] for _ in template.widths]
    for slot, own_values in zip(template.slots, block.values, strict=True):
        columns[slot.factor].append(block.weighted(own_values) @ slot.basis)
    factors = tuple(
        replace(
            factor,
            codes=classes(own, factor.levels),
            levels=min(factor.levels, CLASSES),
            values=np.hstack(parts),
        )
        for factor, own, parts in zip(
            fit.problem.factors, block.codes, columns, strict=True
        )
    )
    X = np.ascontiguousarray(block.X[:, fit.kept_columns])
    few = replace(
        design,
        y=probe.y,
        X=block.X,
        offset=probe.offset,
        weights=probe.weights,
        terms=tuple(terms),
        index=design.index[: probe.y.size],
    )
    changed: dict[str, Any] = {
        "design": few,
        "problem": replace(fit.problem, factors=factors),
        "X": X,
        "mu": np.zeros(probe.y.size),
    }
    return replace(fit, **changed)
