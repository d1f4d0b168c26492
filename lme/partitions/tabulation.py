"""The second look at all rows: triangular factors, frequencies, and a few rows.

With it the columns of X that are independent are known, and the basis in which the
cross-products are added up.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.engine.accumulation import Block, stacked, triangles_of, triangular
from lme.errors import LMEWarning
from lme.partitions.encoding import Encoded, Encoder
from lme.partitions.fingerprints import Fingerprint, fingerprint

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

#: Rows that are kept for looking at.
PROBE = 4096
#: Combinations of levels beyond which none are counted.
_CELLS = 2.0**62


@dataclass(frozen=True)
class Probe:
    """Some rows, evenly spaced among those used.

    Attributes
    ----------
    block : Block
        With all columns of X.
    y : (m,) array
    weights, offset : (m,) array or None
    """

    block: Block
    y: Array
    weights: Array | None
    offset: Array | None


@dataclass(frozen=True)
class Columns:
    """Means and squares about them of the columns of X.

    Attributes
    ----------
    count : int
    mean, squares : (p,) arrays
    binary : (p,) bool
        Columns of zeros and ones.
    """

    count: int
    mean: Array
    squares: Array
    binary: NDArray[np.bool_]

    def __add__(self, other: Columns) -> Columns:
        count = self.count + other.count
        gap = other.mean - self.mean
        share = other.count / max(count, 1)
        return Columns(
            count,
            self.mean + gap * share,
            self.squares + other.squares + gap**2 * self.count * share,
            self.binary & other.binary,
        )


@dataclass(frozen=True)
class Tabulation:
    """What some partitions add up to.

    Attributes
    ----------
    triangles : list of arrays
        Triangular factors of [X z] and of each random term, weighted.
    plain : list of arrays
        Triangular factors of X and of each random term without weights.
    columns : Columns
    keys : (c,) int64
        Combinations of levels of the predictors that occur, see `cell_keys`.
    frequencies : (c,) array
        How often they occur, or the sums of the weights.
    probe : tuple of Probe
        One of each partition.
    fingerprint : Fingerprint
    said : tuple of LMEWarning
        What the family has to say of the responses, in the first partition where it
        has.
    """

    triangles: list[Array]
    plain: list[Array]
    columns: Columns
    keys: NDArray[np.int64]
    frequencies: Array
    probe: tuple[Probe, ...]
    fingerprint: Fingerprint
    said: tuple[LMEWarning, ...] = ()


@dataclass(frozen=True)
class Tabulator:
    """Tabulates a partition.

    Attributes
    ----------
    encoder : Encoder
    starts : (partitions,) intp
        Number of rows used in all partitions before each.
    rows : int
        In all partitions.
    """

    encoder: Encoder
    starts: NDArray[np.intp]
    rows: int

    def __call__(self, frame: pd.DataFrame, number: int) -> Tabulation | None:
        """What the partition adds; None without rows."""
        found = self.encoder(frame)
        m = found.block.z.size
        if not m:
            return None
        X = found.block.X
        mean = X.mean(axis=0)
        sizes = [len(one.labels) for one in self.encoder.predictors]
        keys, frequencies = np.zeros(0, dtype=np.int64), np.zeros(0)
        if sizes and np.prod([float(size) for size in sizes]) <= _CELLS:
            keys, frequencies = summed(cell_keys(found, sizes), _frequency(found))
        triangles = triangles_of(found.block)
        plain = [triangles[0][:-1, :-1], *triangles[1:]]
        if found.block.root is not None:
            plain = [triangular(each) for each in (X, *found.block.values)]
        return Tabulation(
            triangles,
            plain,
            Columns(
                m,
                mean,
                ((X - mean) ** 2).sum(axis=0),
                ((X == 0.0) | (X == 1.0)).all(axis=0),
            ),
            keys,
            frequencies,
            (self._probe(found, number),),
            fingerprint(found.response.y, found.weights),
            self._checked(found),
        )

    def _checked(self, found: Encoded) -> tuple[LMEWarning, ...]:
        """Let the family refuse the responses; its warnings."""
        family = self.encoder.request.family
        if family is None:
            return ()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            family.check_response(found.response.y, found.weights)
        return tuple(w.message for w in caught if isinstance(w.message, LMEWarning))

    def _probe(self, found: Encoded, number: int) -> Probe:
        step = -(-self.rows // PROBE)
        first = -int(self.starts[number]) % step
        chosen = slice(first, None, step)
        block = found.block
        # Positions and not a slice: a view would hold the whole partition.
        rows = np.arange(block.z.size)[chosen]
        part = Block(
            block.z[rows],
            block.X[rows],
            None if block.root is None else block.root[rows],
            tuple(codes[rows] for codes in block.codes),
            tuple(values[rows] for values in block.values),
        )
        return Probe(
            part,
            found.response.y[rows],
            None if found.weights is None else found.weights[rows],
            None if found.offset is None else found.offset[rows],
        )


def _frequency(found: Encoded) -> Array:
    if found.weights is not None:
        return found.weights
    return np.ones(found.block.z.size)


def cell_keys(found: Encoded, sizes: Sequence[int]) -> NDArray[np.int64]:
    """A number for each combination of levels, the last predictor running fastest."""
    key = np.zeros(len(found.cells), dtype=np.int64)
    for codes, size in zip(found.cells.T, sizes, strict=True):
        key = key * size + codes
    return key


def summed(
    keys: NDArray[np.int64], frequencies: Array
) -> tuple[NDArray[np.int64], Array]:
    """Distinct keys in order, and the sums of what belongs to each."""
    if not keys.size:
        return keys, frequencies[:0]
    bound = int(keys.max()) + 1
    if bound <= max(keys.size, 100_000):
        present = np.flatnonzero(np.bincount(keys, minlength=bound))
        sums = np.bincount(keys, frequencies, bound)[present]
        return present.astype(np.int64), sums.astype(np.float64)
    found, inverse = np.unique(keys, return_inverse=True)
    sums = np.bincount(inverse, frequencies, len(found))
    return found, sums.astype(np.float64)


def merged_tabulation(a: Tabulation, b: Tabulation) -> Tabulation:
    """What two successive sets of partitions add up to."""
    keys, frequencies = summed(
        np.concatenate([a.keys, b.keys]),
        np.concatenate([a.frequencies, b.frequencies]),
    )
    return Tabulation(
        stacked(a.triangles, b.triangles),
        stacked(a.plain, b.plain),
        a.columns + b.columns,
        keys,
        frequencies,
        a.probe + b.probe,
        a.fingerprint + b.fingerprint,
        a.said or b.said,
    )


def joined_probe(parts: tuple[Probe, ...]) -> Probe:
    """All rows of the probes."""
    blocks = [part.block for part in parts]

    def optional(found: list[Array | None]) -> Array | None:
        known = [each for each in found if each is not None]
        return np.concatenate(known) if known else None

    block = Block(
        np.concatenate([b.z for b in blocks]),
        np.concatenate([b.X for b in blocks]),
        optional([b.root for b in blocks]),
        tuple(map(np.concatenate, zip(*(b.codes for b in blocks), strict=True))),
        tuple(map(np.concatenate, zip(*(b.values for b in blocks), strict=True))),
    )
    return Probe(
        block,
        np.concatenate([part.y for part in parts]),
        optional([part.weights for part in parts]),
        optional([part.offset for part in parts]),
    )
