"""One line of a diagnosis, and the measures that several lines share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lme.inference.estimates import group_sizes
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: From harmless to grave.
VERDICTS = ("ok", "look", "problem")

#: Correlations with normal quantiles above the first are as good as normal whatever
#: the sample; those below the second are grave.
_HARMLESS, _GRAVE = 0.995, 0.95


@dataclass(frozen=True)
class Check:
    """One line of a diagnosis.

    Attributes
    ----------
    name : str
        What was looked at.
    statistic : str
        What the number is.
    value : float
    verdict : {"ok", "look", "problem"}
    finding : str
        A sentence with the number.
    next : str
        What to look at or to do; empty where all is well.
    """

    name: str
    statistic: str
    value: float
    verdict: str
    finding: str
    next: str = ""


def follows_rows(fit: MixedFit) -> bool:
    """Whether some factor has a level for nearly every row.

    Its modes take up what the rows have of their own, so that nothing can be seen in
    residuals given them: they are judged with random effects drawn anew.
    """
    return 2 * max(group_sizes(fit).values(), default=0) > fit.mu.size


def worst(*conditions: bool) -> str:
    """Verdict by a condition for "look" and a graver one for "problem"."""
    look, problem = conditions
    if look and problem:
        return "problem"
    return "look" if look else "ok"


def correlation(x: Array, y: Array) -> float:
    """Correlation of two samples; 0 where one does not vary."""
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size > 0 else 0.0


def normal_correlation(values: Array) -> tuple[float, float]:
    """Correlation with normal quantiles, and its lower 5% point under normality.

    Parameters
    ----------
    values : (n,) array
        At least 3.

    Notes
    -----
    Ryan and Joiner's approximation up to 100 values; beyond them ``1 - r`` falls with
    the power 0.93 of n, found by simulation up to 5000.

    Examples
    --------
    >>> r, least = normal_correlation(np.arange(20.0))
    >>> round(r, 3), round(least, 3)
    (0.989, 0.95)
    """
    n = values.size
    quantiles = ndtri((np.arange(1, n + 1) - 0.375) / (n + 0.25))
    r = correlation(np.sort(values), quantiles)
    if n > 100:
        return r, 1.0 - 0.0132 * (n / 100.0) ** -0.93
    return r, 1.0063 - 0.1288 / math.sqrt(n) - 0.6118 / n + 1.3505 / n**2


def normality(name: str, values: Array, few: int, what: str, plot: str) -> Check:
    """Line on the normality of some values, of which `few` would say nothing."""
    n = values.size
    r, least = normal_correlation(values)
    bad = r < min(least, _HARMLESS)
    verdict = worst(bad, r < _GRAVE and n >= few)
    digits = 3 if n < 500 else 4
    finding = (
        f"QQ correlation {r:.{digits}f}; 5% of normal samples of {n:,} are below "
        f"{least:.{digits}f}"
    )
    if n < few:
        finding += f". With {n} {what} a test has no power"
    return Check(name, "QQ correlation", r, verdict, finding, plot if bad else "")


def ranks(values: Array) -> Array:
    """Ranks from 0, ties in the middle."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - 0.5 * (counts + 1.0))[inverse], dtype=float)
