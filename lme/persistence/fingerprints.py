"""Fingerprints of data, by which they are recognised again.

A fingerprint depends on the values only: not on the kind of frame, the integer type,
or the order of categories, so that data written to a file and read again have the same.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import LMEError
from lme.formula.parser import parse
from lme.formula.records import Design
from lme.formula.syntax import Name, Node, variables_of
from lme.formula.table import Table
from lme.formula.values import Factor, Value, as_double, as_factor

Array = NDArray[np.float64]


def of_numbers(values: Any) -> dict[str, Any]:
    """Fingerprint of numbers, with what helps to tell two apart."""
    array = np.array(values, dtype=np.float64)
    missing = np.isnan(array)
    # One pattern of bits for each value: NaN and zero have several.
    array[missing] = np.nan
    array[array == 0.0] = 0.0
    digest = sha256(np.ascontiguousarray(array, dtype="<f8").tobytes()).hexdigest()
    seen = array[~missing]
    return {
        "values": digest,
        "missing": int(missing.sum()),
        "mean": float(seen.mean()) if seen.size else 0.0,
    }


def of_labels(factor: Factor) -> dict[str, Any]:
    """Fingerprint of the label of each row, whatever the order of the levels."""
    used = factor.drop_unused()
    order = sorted(range(len(used.levels)), key=used.levels.__getitem__)
    rank = np.full(len(used.levels) + 1, -1, dtype="<i8")
    rank[order] = np.arange(len(order))
    text = "\x1f".join(used.levels[i] for i in order)
    digest = sha256(text.encode("utf-8", "surrogatepass"))
    digest.update(rank[used.codes].astype("<i8").tobytes())
    return {
        "labels": digest.hexdigest(),
        "missing": int((used.codes < 0).sum()),
        "levels": len(used.levels),
    }


def _of_values(value: Value) -> dict[str, Any]:
    try:
        return of_numbers(as_double(value, "x"))
    except LMEError:
        return of_labels(as_factor(value))


def of_data(design: Design, data: Any, texts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Fingerprints of the columns that a model uses.

    Parameters
    ----------
    design : Design
        Made from a formula.
    data : frame or mapping
        All rows, as the model was given them.
    texts : tuple of str
        Expressions beside the formula, such as the weights.

    Returns
    -------
    dict
        ``rows``, and in ``columns`` a fingerprint by name: of labels for grouping
        factors, of values for others.
    """
    recipe = design.recipe
    assert recipe is not None
    table = Table(data)
    bars = [each.bar for each in recipe.random]
    nodes: list[Node] = [*recipe.terms.nodes]
    if recipe.formula.left is not None:
        nodes.append(recipe.formula.left)
    nodes += [node for bar in bars for node in bar.terms.nodes]
    nodes += [Name(text) if text in table else parse(text) for text in texts]
    columns: dict[str, dict[str, Any]] = {}
    for name in _names(nodes, table):
        columns[name] = _of_values(table[name])
    for name in _names([bar.group for bar in bars], table):
        columns[name] = columns.get(name, {}) | of_labels(as_factor(table[name]))
    return {"rows": table.nrow, "columns": columns}


def _names(nodes: list[Node], table: Table) -> list[str]:
    found = (name.name for node in nodes for name in variables_of(node))
    return [name for name in dict.fromkeys(found) if name in table]


def of_arrays(design: Design) -> dict[str, Any]:
    """Fingerprints of the arrays of a model that was made from matrices."""
    columns = {"endog": of_numbers(design.y), "exog": of_numbers(design.X)}
    for name, values in (("weights", design.weights), ("offset", design.offset)):
        if values is not None:
            columns[name] = of_numbers(values)
    for i, term in enumerate(design.terms):
        columns[f"groups {term.group}"] = of_labels(Factor(term.codes, term.levels))
        columns[f"exog_re {i + 1}"] = of_numbers(term.values)
    return {"rows": len(design.index), "columns": columns}
