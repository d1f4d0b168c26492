"""The levels of a vector that becomes a factor: order, labels and codes."""

from __future__ import annotations

import warnings
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataTypeError, DataWarning

Coded: TypeAlias = tuple[NDArray[np.intp], tuple[str, ...]]
"""The 0-based level of each row, -1 where missing, and the labels of the levels."""

_OLD_PANDAS = int(pd.__version__.partition(".")[0]) < 3


def format_number(x: float | int) -> str:
    """R's text of a number: 15 significant digits, scientific when shorter.

    Parameters
    ----------
    x : float or int
        An ``int`` is never written in scientific notation, as in R.

    Notes
    -----
    The fewest digits that reproduce the 15-digit rounding are kept. Fixed
    notation is used unless it is wider than the scientific one.

    Examples
    --------
    >>> [format_number(v) for v in (1e5, 100000, 0.1 + 0.2, 123456.0, 1e-4)]
    ['1e+05', '100000', '0.3', '123456', '1e-04']
    """
    if isinstance(x, (int, np.integer)):
        return str(int(x))
    x = float(x)
    if abs(x) < 1e5 and x == int(x):
        return str(int(x))
    if not np.isfinite(x):
        return "NaN" if x != x else ("Inf" if x > 0 else "-Inf")
    text = f"{x:.15g}"
    # With a point and at most two zeros behind it, fixed is the shorter one.
    if "." in text and "e" not in text and "0.000" not in text[:6]:
        return text
    mantissa, exponent = f"{x:.14e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    digits = len(mantissa.lstrip("-").replace(".", ""))
    scientific = f"{mantissa}e{exponent}"
    fixed = f"{x:.{max(0, digits - 1 - int(exponent))}f}"
    return fixed if len(fixed) <= len(scientific) else scientific


def label(x: object) -> str:
    """R's label of one level: a string itself, TRUE and FALSE, or a number."""
    if isinstance(x, str):
        return x
    if isinstance(x, (bool, np.bool_)):
        return "TRUE" if x else "FALSE"
    if isinstance(x, (int, float, np.integer, np.floating)):
        return format_number(x)  # type: ignore[arg-type]
    return str(x)


def object_kind(x: NDArray[np.object_]) -> tuple[str, NDArray[np.bool_]]:
    """What an object array holds, and where it is missing.

    Returns
    -------
    kind : {"logical", "integer", "double", "character"}
        All missing counts as logical, as R's ``NA`` does.
    missing : ndarray of bool, shape (n,)

    Raises
    ------
    DataTypeError
        If it holds anything else, or a mixture.
    """
    inferred = pd.api.types.infer_dtype(x, skipna=True)
    kinds = {
        "boolean": "logical",
        "integer": "integer",
        "floating": "double",
        "mixed-integer-float": "double",
        "string": "character",
        "empty": "logical",
    }
    if inferred not in kinds:
        raise DataTypeError(
            f"A column holds {inferred} objects.",
            "A column of a formula holds numbers, strings or bools.",
            "Convert it before it is used.",
        )
    return kinds[inferred], np.asarray(pd.isna(x))


def without_missing(
    x: NDArray[np.object_], missing: NDArray[np.bool_]
) -> NDArray[np.object_]:
    """`x` with NaN in the place of None and ``pd.NA``."""
    if not missing.any():
        return x
    result = x.copy()
    result[missing] = np.nan
    return result


def levels_and_codes(x: NDArray[Any]) -> Coded:
    """The levels of a vector, sorted as R does, and the level of each row.

    Parameters
    ----------
    x : ndarray, shape (n,)
        float64, int64, bool or object.

    Notes
    -----
    Integers (and doubles that are whole numbers) spanning a range not much
    larger than their number are sorted by counting, in time proportional to n;
    everything else goes through a hash table.
    """
    if x.dtype.kind == "b":
        return _compact(x.astype(np.intp), ("FALSE", "TRUE"))
    if x.dtype.kind == "i":
        return _of_integers(x, None, integer=True)
    if x.dtype.kind == "f":
        return _of_doubles(x)
    kind, missing = object_kind(x)
    if kind == "double":
        return _of_doubles(without_missing(x, missing).astype(np.float64))
    if kind == "character":
        return _merged(*_hashed(x))
    filled = np.where(missing, 0, x).astype(np.int64)
    if kind == "integer":
        return _of_integers(filled, missing, integer=True)
    return _compact(np.where(missing, -1, filled), ("FALSE", "TRUE"))


def _compact(codes: NDArray[np.intp], levels: tuple[str, ...]) -> Coded:
    used = [i for i in range(len(levels)) if (codes == i).any()]
    position = np.full(len(levels) + 1, -1, dtype=np.intp)
    position[used] = np.arange(len(used))
    return position[codes], tuple(levels[i] for i in used)


def _of_doubles(x: NDArray[np.float64]) -> Coded:
    absent = np.isnan(x)
    missing = absent if absent.any() else None
    filled = x if missing is None else np.where(missing, 0.0, x)
    largest = np.abs(filled).max() if len(x) else 0.0
    coded = None
    if largest < 2.0**53:
        whole = filled.astype(np.int64)
        if np.array_equal(whole, filled):
            coded = _of_integers(whole, missing, integer=False)
    if coded is None:
        coded = _merged(*_hashed(x))
    if largest >= 1e15:
        _warn_of_merged(len(np.unique(x[~absent])), len(coded[1]))
    return coded


def _warn_of_merged(values: int, levels: int) -> None:
    """Long numbers are identifiers rather than measurements: say if some are lost."""
    if levels < values:
        warnings.warn(
            f"{values} different numbers make {levels} levels: labels of floating-point"
            " numbers have 15 digits, as in R. Make whole numbers or strings of"
            " identifiers.",
            DataWarning,
            stacklevel=2,
        )


def _of_integers(
    x: NDArray[np.int64], missing: NDArray[np.bool_] | None, *, integer: bool
) -> Coded:
    present = x if missing is None else x[~missing]
    if not len(present):
        return np.full(len(x), -1, dtype=np.intp), ()
    low, high = int(present.min()), int(present.max())
    if high - low > 4 * len(x) + 10_000:
        codes = np.full(len(x), -1, dtype=np.intp)
        found, levels = _hashed(present if integer else present.astype(np.float64))
        codes[slice(None) if missing is None else ~missing] = found
        return _merged(codes, levels)
    used = np.zeros(high - low + 1, dtype=bool)
    used[present - low] = True
    position = np.cumsum(used, dtype=np.intp) - 1
    if missing is None:
        codes = position[x - low]
    else:
        codes = position[np.where(missing, 0, x - low)]
        codes[missing] = -1
    numbers = (used.nonzero()[0] + low).tolist()
    texts = map(str, numbers) if integer else map(format_number, map(float, numbers))
    return _merged(codes, tuple(texts))


def _hashed(x: NDArray[Any]) -> Coded:
    if x.dtype.kind in "if" and len(x) < 10_000:
        uniques, codes = np.unique(x, return_inverse=True)
        if x.dtype.kind == "f" and len(uniques) and np.isnan(uniques[-1]):
            uniques = uniques[:-1]
            codes[codes == len(uniques)] = -1
        return codes.astype(np.intp, copy=False), tuple(map(label, uniques.tolist()))
    codes, uniques = _factorized(x)
    order = np.argsort(uniques, kind="stable")
    rank = np.empty(len(order) + 1, dtype=np.intp)
    rank[order] = np.arange(len(order))
    rank[-1] = -1
    return rank[codes], tuple(map(label, np.asarray(uniques)[order].tolist()))


def _factorized(x: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    if x.dtype != object or not _OLD_PANDAS:
        return pd.factorize(x)
    # pandas 2 takes texts for equal that agree up to a NUL or half a letter.
    uniques = x[~(pd.Series(x).duplicated() | pd.isna(x)).to_numpy()]
    return pd.Index(uniques, dtype=object).get_indexer(x), uniques


def _merged(codes: NDArray[np.intp], levels: tuple[str, ...]) -> Coded:
    """Levels with equal labels made one: doubles may agree to 15 digits."""
    distinct = tuple(dict.fromkeys(levels))
    if len(distinct) == len(levels):
        return codes, levels
    where = {text: i for i, text in enumerate(distinct)}
    lookup = np.array([where[text] for text in levels] + [-1], dtype=np.intp)
    return lookup[codes], distinct
