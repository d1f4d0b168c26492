"""Grouping factors: the level of each row, for any expression of factors.

Only combinations that occur in the data become levels, so that crossing two
factors of many levels costs time and memory in proportion to the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.formula.matrices import spellings
from lme.formula.syntax import Call, Node, is_operator, unwrap
from lme.formula.values import Factor, Value, as_factor

Codes = NDArray[np.intp]

#: Levels from which a table of numbers pays.
_MANY = 1000


@dataclass(frozen=True)
class Grouping:
    """Levels of a grouping factor, and how they are found in new data.

    Parameters
    ----------
    node : Node
        The expression of a single factor; the whole for an interaction.
    levels : tuple of str
        Labels in R's order.
    parts : pair of Grouping or None
        The two factors of an interaction ``a:b``.
    keys : ndarray of int64 or None
        Ascending ``code of a * number of levels of b + code of b`` of each level.
    """

    node: Node
    levels: tuple[str, ...]
    parts: tuple[Grouping, Grouping] | None = None
    keys: NDArray[np.int64] | None = None

    def locate(self, value: Callable[[Node], Value]) -> Codes:
        """Level of each row of new data, -1 where it is unknown or missing."""
        if self.parts is None:
            raw = value(self.node)
            if isinstance(raw, np.ndarray) and raw.dtype.kind == "i":
                table = self._numbers if len(self.levels) > _MANY else None
                if table is not None:
                    return np.asarray(table.get_indexer(pd.Index(raw)), dtype=np.intp)
            return self._codes(as_factor(raw))
        assert self.keys is not None
        left, right = (part.locate(value) for part in self.parts)
        wanted = left.astype(np.int64) * len(self.parts[1].levels) + right
        place = np.searchsorted(self.keys, wanted)
        place[place == len(self.keys)] = 0
        known = (self.keys[place] == wanted) & (left >= 0) & (right >= 0)
        return np.where(known, place, -1).astype(np.intp)

    @cached_property
    def _index(self) -> pd.Index[Any]:
        """Hash table of the levels, made once for any number of new data."""
        return pd.Index(self.levels, dtype=object)

    @cached_property
    def _numbers(self) -> pd.Index[Any] | None:
        """The levels as whole numbers, where all of them are written as such."""
        try:
            numbers = np.array(self.levels, dtype=np.int64)
        except (ValueError, OverflowError):
            return None
        same = all(map(str.__eq__, map(str, numbers.tolist()), self.levels))
        return pd.Index(numbers) if same else None

    def __getstate__(self) -> dict[str, Any]:
        # Another process makes its own tables.
        made = ("_index", "_numbers")
        return {k: v for k, v in self.__dict__.items() if k not in made}

    def _codes(self, factor: Factor) -> Codes:
        """Level of each row of a single factor, -1 where it is unknown."""
        if factor.levels == self.levels:
            return factor.codes
        found = self._index.get_indexer(pd.Index(factor.levels, dtype=object))
        # Numbers may be written as doubles here and as integers there.
        unknown = np.flatnonzero(found < 0).tolist()
        others = [(i, text) for i in unknown for text in spellings(factor.levels[i])]
        if others:
            texts = pd.Index([text for _, text in others], dtype=object)
            places = self._index.get_indexer(texts)
            np.maximum.at(found, [i for i, _ in others], places)
        return np.append(found, -1).astype(np.intp)[factor.codes]

    def labels(self, value: Callable[[Node], Value], rows: Codes) -> NDArray[Any]:
        """Labels of some rows of new data as the levels are written, None if missing.

        Parameters
        ----------
        value : callable
            From a variable to its values.
        rows : ndarray of intp
            Positions of the rows.
        """
        if self.parts is None:
            factor = as_factor(value(self.node))
            table = np.array([*factor.levels, None], dtype=object)
            return np.asarray(table[factor.codes[rows]])
        left, right = (part.labels(value, rows) for part in self.parts)
        out = np.empty(len(rows), dtype=object)
        for i, (a, b) in enumerate(zip(left, right, strict=True)):
            out[i] = None if a is None or b is None else f"{a}:{b}"
        return out


def leaves(node: Node) -> Iterator[Node]:
    """The single factors of a grouping expression."""
    inner = unwrap(node)
    if is_operator(inner, ":"):
        assert isinstance(inner, Call)
        for arg in inner.args:
            yield from leaves(arg)
    else:
        yield inner


def group(node: Node, value: Callable[[Node], Value]) -> tuple[Grouping, Codes]:
    """Levels and codes of the grouping expression `node`.

    Parameters
    ----------
    node : Node
        A variable, or ``a:b`` of such.
    value : callable
        From a variable to its values in the rows used, none missing.
    """
    inner = unwrap(node)
    if not is_operator(inner, ":"):
        factor = as_factor(value(inner))
        factor = factor.drop_unused()
        return Grouping(inner, factor.levels), factor.codes
    assert isinstance(inner, Call)
    (left, left_codes), (right, right_codes) = (group(a, value) for a in inner.args)
    width = len(right.levels)
    combined = left_codes.astype(np.int64) * width + right_codes
    keys, codes = _distinct(combined, len(left.levels) * width)
    first = np.array(left.levels, dtype=object)[keys // max(width, 1)]
    second = np.array(right.levels, dtype=object)[keys % max(width, 1)]
    levels = tuple((first + ":" + second).tolist())
    return Grouping(inner, levels, (left, right), keys), codes


def _distinct(values: NDArray[np.int64], bound: int) -> tuple[NDArray[np.int64], Codes]:
    """Distinct values in order, and the position of each; all are below `bound`."""
    if bound > 4 * len(values) + 65_536:
        keys, codes = np.unique(values, return_inverse=True)
        return keys, codes.astype(np.intp, copy=False)
    used = np.zeros(bound, dtype=bool)
    used[values] = True
    position = np.cumsum(used, dtype=np.intp) - 1
    return np.flatnonzero(used).astype(np.int64), position[values]


def level_order(counts: list[int]) -> list[int]:
    """Order of the terms by number of levels, as lme4 has it.

    The formula's order stays unless some term has more levels than the one
    before it; then terms go by descending number, and ties are reversed.
    """
    if all(a >= b for a, b in pairwise(counts)):
        return list(range(len(counts)))
    return sorted(range(len(counts)), key=lambda i: (counts[i], i), reverse=True)
