"""Families of contrasts between k means, as coefficients and labels.

Each function takes the labels of the means and gives rows of coefficients with their
own labels. A new family is a function and a row of `CONTRAST_FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import OptionError, near
from lme.formula.polynomials import orthonormal

Array = NDArray[np.float64]
Coefficients = tuple[Array, list[str]]


@dataclass(frozen=True)
class ContrastFamily:
    """One family.

    Attributes
    ----------
    words : str
        What the family is, for headers and messages.
    rows : callable
        From the labels of k means, and the position of a reference, to coefficients
        (m, k) and m labels.
    adjust : str
        Adjustment of p-values where none is named.
    all_pairs : bool
        Whether these are all pairwise differences, which Tukey's method needs.
    differences : bool
        Whether each row sums to zero.
    """

    words: str
    rows: Callable[[Sequence[str], int], Coefficients]
    adjust: str
    all_pairs: bool = False
    differences: bool = True


def _pairs(labels: Sequence[str], ref: int, *, reverse: bool = False) -> Coefficients:
    """Each mean minus each later one, or the other way round."""
    k, rows, names = len(labels), [], []
    pairs = list(combinations(range(k), 2))
    if reverse:
        pairs = [(j, i) for j in range(k) for i in range(j)]
    for i, j in pairs:
        rows.append(np.eye(k)[i] - np.eye(k)[j])
        names.append(f"{labels[i]} - {labels[j]}")
    return np.array(rows).reshape(-1, k), names


def _control(labels: Sequence[str], ref: int, *, last: bool = False) -> Coefficients:
    """Each mean minus that of the reference."""
    k = len(labels)
    ref = k - 1 if last else ref
    others = [i for i in range(k) if i != ref]
    rows = np.eye(k)[others] - np.eye(k)[ref]
    return rows, [f"{labels[i]} - {labels[ref]}" for i in others]


def _effects(labels: Sequence[str], ref: int, *, others: bool = False) -> Coefficients:
    """Each mean minus the average of all, or of the others."""
    k = len(labels)
    rows = np.eye(k) - 1.0 / k
    if others:
        rows = rows * k / max(k - 1, 1)
    return rows, [f"{label} effect" for label in labels]


def _steps(labels: Sequence[str], ref: int) -> Coefficients:
    """Each mean minus the one before it."""
    k = len(labels)
    rows = np.eye(k)[1:] - np.eye(k)[:-1]
    return rows, [f"{labels[i + 1]} - {labels[i]}" for i in range(k - 1)]


def _mean_change(labels: Sequence[str], ref: int) -> Coefficients:
    """The average of the later means minus that of those up to here."""
    k = len(labels)
    rows = np.zeros((k - 1, k))
    for i in range(k - 1):
        rows[i, : i + 1] = -1.0 / (i + 1)
        rows[i, i + 1 :] = 1.0 / (k - i - 1)
    return rows, [f"{labels[i]}|{labels[i + 1]}" for i in range(k - 1)]


_DEGREES = ("linear", "quadratic", "cubic", "quartic")


def _polynomials(labels: Sequence[str], ref: int) -> Coefficients:
    """Orthogonal polynomials in equally spaced positions, in the smallest integers."""
    k = len(labels)
    basis = orthonormal(np.arange(1.0, k + 1), k - 1)[1][:, 1:]
    rows = [_whole(column) for column in basis.T[: min(k - 1, 6)]]
    names = [
        _DEGREES[d] if d < len(_DEGREES) else f"degree {d + 1}"
        for d in range(len(rows))
    ]
    return np.array(rows).reshape(-1, k), names


def _whole(column: Array) -> Array:
    """The smallest whole numbers in these proportions, where there are some."""
    sizes = np.abs(column)
    scaled = column / sizes[sizes > 1e-8 * sizes.max()].min()
    for factor in range(1, 1001):
        rounded = np.round(factor * scaled)
        if np.abs(factor * scaled - rounded).max() < 1e-6:
            return np.asarray(rounded)
    return column


def _identity(labels: Sequence[str], ref: int) -> Coefficients:
    """The means themselves."""
    return np.eye(len(labels)), list(labels)


CONTRAST_FAMILIES: dict[str, ContrastFamily] = {
    "pairwise": ContrastFamily("all pairs", _pairs, "tukey", all_pairs=True),
    "revpairwise": ContrastFamily(
        "all pairs", partial(_pairs, reverse=True), "tukey", all_pairs=True
    ),
    "trt.vs.ctrl": ContrastFamily("against a control", _control, "dunnettx"),
    "trt.vs.ctrlk": ContrastFamily(
        "against the last", partial(_control, last=True), "dunnettx"
    ),
    "eff": ContrastFamily("against the average", _effects, "fdr"),
    "del.eff": ContrastFamily(
        "against the average of the others", partial(_effects, others=True), "fdr"
    ),
    "consec": ContrastFamily("against the one before", _steps, "mvt"),
    "mean_chg": ContrastFamily("later against earlier", _mean_change, "mvt"),
    "poly": ContrastFamily("polynomials", _polynomials, "none"),
    "identity": ContrastFamily("as they are", _identity, "none", differences=False),
}
"""Families by emmeans' names."""


def reversed_rows(coefficients: Coefficients) -> Coefficients:
    """The same comparisons with the opposite sign."""
    rows, names = coefficients
    turned = [" - ".join(reversed(name.split(" - "))) for name in names]
    return -rows, turned


def read_contrasts(
    method: Any, labels: Sequence[str], *, ref: Any = 0, reverse: bool = False
) -> tuple[Coefficients, ContrastFamily]:
    """Coefficients of a family by name, or given as numbers.

    Parameters
    ----------
    method : str, mapping or array_like
        A key of `CONTRAST_FAMILIES`; a mapping from label to k coefficients; or an
        array of shape (k,) or (m, k).
    labels : sequence of str
        Of the k means.
    ref : str or int
        The control, by label or position.
    reverse : bool
        Turn differences round.

    Raises
    ------
    OptionError
        For an unknown name or reference, and coefficients of another number.
    """
    k = len(labels)
    if isinstance(method, str):
        if method not in CONTRAST_FAMILIES:
            raise OptionError(
                f"method={method!r} is not known.",
                f"It must be one of {', '.join(map(repr, CONTRAST_FAMILIES))}, a dict "
                "of coefficients, or an array of them.",
                near(method, CONTRAST_FAMILIES),
            )
        family = CONTRAST_FAMILIES[method]
        found = family.rows(labels, _position(ref, labels))
        if reverse:
            family_rows = _pairs(labels, 0, reverse=method == "pairwise")
            found = family_rows if family.all_pairs else reversed_rows(found)
        return found, family
    if isinstance(method, Mapping):
        names = [str(name) for name in method]
        given = list(method.values())
    else:
        given = list(np.atleast_2d(np.asarray(method, dtype=float)))
        names = [f"c{i + 1}" for i in range(len(given))]
    rows = _numbers(given, k)
    sums = bool(np.abs(rows.sum(axis=1)).max(initial=0.0) < 1e-10)
    family = ContrastFamily("custom", _identity, "none", differences=sums)
    return (-rows if reverse else rows, names), family


def _position(ref: Any, labels: Sequence[str]) -> int:
    """The reference among the labels."""
    k = len(labels)
    if isinstance(ref, (int, np.integer)) and not isinstance(ref, bool):
        if -k <= ref < k:
            return int(ref) % k
    elif str(ref) in labels:
        return list(labels).index(str(ref))
    raise OptionError(
        f"ref={ref!r} is not one of the means.",
        f"It must be a position from 0 to {k - 1}, or one of "
        f"{', '.join(map(repr, labels[:12]))}{' ...' if k > 12 else ''}.",
        near(str(ref), labels),
    )


def _numbers(given: Sequence[Any], k: int) -> Array:
    """Rows of k finite coefficients."""
    try:
        rows = np.array([np.asarray(row, dtype=float).ravel() for row in given])
        good = rows.ndim == 2 and rows.shape[1] == k and bool(np.isfinite(rows).all())
    except (TypeError, ValueError):
        good = False
    if not good or not len(given):
        raise OptionError(
            "The coefficients of a contrast do not fit the means.",
            f"Each contrast has {k} finite coefficients, one for each mean.",
            "Their order is that of the rows of the means.",
        )
    return rows
