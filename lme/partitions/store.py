"""Rows of a generalized model, encoded once and kept in files of this machine.

PIRLS looks at all rows many times. The first time each partition is read and encoded,
wherever its source does that, and its arrays are written to a temporary folder; from
then on they are mapped into memory, one partition after the other.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lme.engine.accumulation import coordinates
from lme.engine.crossproducts import Pattern, pattern
from lme.engine.pieces import Piece, PiecewiseProblem
from lme.engine.relcov import Factor
from lme.engine.rows import Problem
from lme.errors import DataError, LMEWarning
from lme.families.base import Family
from lme.partitions.design import PartitionedDesign
from lme.partitions.folding import Tower
from lme.partitions.sources import Source
from lme.partitions.sums import Encoded, columns_and_key
from lme.preparation import engine_terms

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
Named = dict[str, NDArray[Any]]
Pair = tuple[int, int]


class Packer(Encoded):
    """Encodes a partition as the arrays that PIRLS needs."""

    def __call__(self, frame: pd.DataFrame, number: int) -> Named | None:
        """The arrays by name; None without rows."""
        found = self.encoder(frame)
        block, y = found.block, found.response.y
        if not y.size:
            return None
        X = block.X[:, self.kept]
        basis = X
        if X.shape[1]:
            basis = solve_triangular(self.at.R, X.T, trans="T").T
        out: Named = {"y": y, "basis": np.ascontiguousarray(basis)}
        if found.weights is not None:
            out["weights"] = found.weights
        if found.offset is not None:
            out["offset"] = found.offset
        columns: list[list[Array]] = [[] for _ in self.at.factors]
        for slot, values in zip(self.at.template.slots, block.values, strict=True):
            columns[slot.factor].append(values @ slot.basis)
        factors = []
        for f, (codes, parts) in enumerate(zip(block.codes, columns, strict=True)):
            which, own = np.unique(codes, return_inverse=True)
            out[f"which {f}"], out[f"values {f}"] = which, np.hstack(parts)
            out[f"codes {f}"] = _small(own, which.size)
            factors.append(Factor(own, which.size, out[f"values {f}"]))
        for (f, g), (rows, cols, index) in pattern(factors).pairs.items():
            out[f"rows {f} {g}"], out[f"cols {f} {g}"] = rows, cols
            out[f"index {f} {g}"] = _small(index, rows.size)
        return out


def _small(codes: Codes, bound: int) -> NDArray[Any]:
    """Codes in the smallest type that holds them."""
    return codes.astype(np.min_scalar_type(max(bound - 1, 0)))


@dataclass(frozen=True)
class Arrays:
    """Arrays by name in one file, mapped into memory when they are asked for.

    Attributes
    ----------
    file : Path
    places : dict of str to (dtype, shape, offset)
    """

    file: Path
    places: dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]

    def load(self) -> Named:
        """The arrays, of which nothing is read yet."""
        whole = np.memmap(self.file, dtype=np.uint8, mode="r")
        return {
            name: np.ndarray(shape, dtype, whole, offset)
            for name, (dtype, shape, offset) in self.places.items()
        }


def saved(file: Path, arrays: Named) -> Arrays:
    """Write arrays to a file; DataError without room for it."""
    places = {}
    try:
        with file.open("wb") as out:
            for name, values in arrays.items():
                # On the border of a line of the processor's cache.
                out.write(bytes(-out.tell() % 64))
                places[name] = values.dtype, values.shape, out.tell()
                out.write(np.ascontiguousarray(values).data)
    except OSError as error:
        raise _no_room(error) from error
    return Arrays(file, places)


def _folder() -> Path:
    """A new temporary folder."""
    try:
        return Path(tempfile.mkdtemp(prefix="lme-"))
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> DataError:
    return DataError(
        f"The encoded rows cannot be written to a temporary folder: {error}.",
        "Expected room for all columns of the model, 8 bytes a number.",
        "Set the environment variable TMPDIR to a folder with room.",
    )


def _remove(folder: Path, process: int) -> None:
    # A forked process ends with a copy of the store, and the folder is not its own.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


class Files:
    """A temporary folder with the arrays of all pieces.

    Parameters
    ----------
    levels : tuple of int
        Of each grouping factor.

    Attributes
    ----------
    pieces : list of Arrays
    positions : list of Arrays
        Where the pairs of each piece stand among those of all.
    pairs : dict of (f, g) to (intp, intp)
        Levels of two factors that occur together, sorted.

    Notes
    -----
    The folder is one that `tempfile` makes. It is removed with this object, or when
    Python ends.
    """

    def __init__(self, levels: tuple[int, ...]) -> None:
        self._folder = _folder()
        weakref.finalize(self, _remove, self._folder, os.getpid())
        self.levels = levels
        self.pieces: list[Arrays] = []
        self.positions: list[Arrays] = []
        self.pairs: dict[Pair, tuple[Codes, Codes]] = {}
        self._keys: dict[Pair, Tower[NDArray[np.int64]]] = {
            (f, g): Tower(np.union1d) for g in range(len(levels)) for f in range(g)
        }

    def add(self, arrays: Named | None) -> None:
        """Write the arrays of the next piece; None has no rows."""
        if arrays is None:
            return
        file = self._folder / f"rows-{len(self.pieces)}"
        self.pieces.append(saved(file, arrays))
        for pair, tower in self._keys.items():
            tower.add(self._pair_keys(pair, arrays))

    def finish(self) -> None:
        """Find the pairs of all pieces, and where those of each are among them."""
        every = {pair: tower.total() for pair, tower in self._keys.items()}
        known = {pair: keys for pair, keys in every.items() if keys is not None}
        for pair, keys in known.items():
            first, second = np.divmod(keys, self.levels[pair[1]])
            self.pairs[pair] = first.astype(np.intp), second.astype(np.intp)
        for number, piece in enumerate(self.pieces if known else ()):
            arrays = piece.load()
            found = {
                f"{f} {g}": np.searchsorted(keys, self._pair_keys((f, g), arrays))
                for (f, g), keys in known.items()
            }
            self.positions.append(saved(self._folder / f"pairs-{number}", found))

    def __iter__(self) -> Iterator[tuple[Named, Named]]:
        """The arrays of each piece, and the positions of its pairs."""
        for number, piece in enumerate(self.pieces):
            yield piece.load(), self.positions[number].load() if self.pairs else {}

    def _pair_keys(self, pair: Pair, arrays: Named) -> NDArray[np.int64]:
        """A number for each pair of levels of a piece, ascending."""
        f, g = pair
        first = arrays[f"which {f}"][arrays[f"rows {f} {g}"]].astype(np.int64)
        second = arrays[f"which {g}"][arrays[f"cols {f} {g}"]]
        return np.asarray(first * self.levels[g] + second)


class Store:
    """The pieces of a problem; written on first use, and again after unpickling.

    Parameters
    ----------
    source : Source
    columns : tuple of str
        Columns of the data that the model needs.
    packer : Packer
    family : Family
    """

    def __init__(
        self, source: Source, columns: tuple[str, ...], packer: Packer, family: Family
    ) -> None:
        self.source, self.columns = source, columns
        self.packer, self.family = packer, family
        self._files: Files | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        # Files of this machine mean nothing elsewhere.
        return self.__dict__ | {"_files": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def files(self) -> Files:
        """The arrays; reads all partitions the first time."""
        with self._lock:
            if self._files is None:
                files = Files(tuple(one.levels for one in self.packer.at.factors))
                self.source.fold(self.packer, files.add, self.columns)
                files.finish()
                self._files = files
            return self._files

    @property
    def pairs(self) -> dict[Pair, tuple[Codes, Codes]]:
        """Pairs of levels that occur together in some piece."""
        return self.files.pairs

    def __iter__(self) -> Iterator[Piece]:
        for found, positions in self.files:
            yield self._piece(found, positions)

    def _piece(self, found: Named, at_pairs: Named) -> Piece:
        at, y = self.packer.at, found["y"]
        factors, which = [], []
        for f, factor in enumerate(at.factors):
            own = found[f"which {f}"]
            codes = found[f"codes {f}"].astype(np.intp)
            local = replace(factor, codes=codes, levels=own.size, known=None)
            factors.append(replace(local, values=found[f"values {f}"]))
            which.append(own)
        pairs, positions = {}, {}
        for f, g in self.pairs:
            end = f"{f} {g}"
            index = found[f"index {end}"].astype(np.intp)
            pairs[f, g] = found[f"rows {end}"], found[f"cols {end}"], index
            positions[f, g] = at_pairs[end]
        problem = Problem(
            y=y,
            weights=found.get("weights", np.ones(y.size)),
            offset=found.get("offset", np.zeros(y.size)),
            X=found["basis"],
            basis=found["basis"],
            R=at.R,
            family=self.family,
            factors=tuple(factors),
            template=at.template,
            found=Pattern(tuple(factors), pairs),
        )
        return Piece(problem, tuple(which), positions)


def piecewise_problem(
    design: PartitionedDesign, family: Family, rank: str
) -> tuple[PiecewiseProblem, Codes, list[LMEWarning]]:
    """The problem of a design, columns kept, and the warning that names the others.

    Parameters
    ----------
    design : PartitionedDesign
    family : Family
    rank : {"drop", "stop"}
        What to do with dependent columns of X.

    Raises
    ------
    DataError
        For dependent columns with ``rank="stop"``, and without room for the files.
    """
    parts, n = design.parts, design.nobs
    plain = parts.tabulation.plain
    kept, own, notes = columns_and_key(design, plain[0], rank)
    key = (family, *own)
    if key not in parts.sums:
        bordered = np.column_stack([plain[0], np.zeros(len(plain[0]))])
        triangles = [bordered, *plain[1:]]
        at = coordinates(triangles, kept, engine_terms(design), n)
        at = replace(at, R=at.R / np.sqrt(n))
        packer = Packer(parts.encoder, at, kept)
        none = np.zeros(0)
        basis = np.zeros((0, len(kept)))
        parts.sums.clear()
        parts.sums[key] = PiecewiseProblem(
            y=none,
            weights=none,
            offset=none,
            X=basis,
            basis=basis,
            R=at.R,
            family=family,
            factors=at.factors,
            template=at.template,
            pieces=Store(parts.source, parts.columns, packer, family),
            count=n,
        )
    problem: PiecewiseProblem = parts.sums[key]
    return problem, kept, notes
