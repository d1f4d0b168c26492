"""Likelihood-ratio tests between two nested models, by one of several methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from lme.errors import OptionError, near
from lme.inference.comparison.boundary import Mixture, mixture
from lme.inference.comparison.candidates import Candidate
from lme.inference.comparison.exact_null import exact_statistics, spectrum
from lme.inference.comparison.nesting import Nesting
from lme.inference.comparison.resampled_null import bootstrap_statistics
from lme.inference.prediction.simulation import seed_sequence

Array = NDArray[np.float64]

CHISQ, CHIBAR = "Pr(>Chisq)", "Pr(>Chibarsq)"
#: A deficit that rounding and the stopping rule of a search can explain.
TOLERANCE = 1e-4
#: Draws where the caller does not say how many.
_BOOT, _EXACT = 1000, 10_000

WORSE = (
    "A larger model has a lower likelihood than a smaller one: the search of one of "
    "them stopped early, and there is no test."
)


@dataclass(frozen=True)
class RatioTest:
    """A test of the smaller of two models.

    Attributes
    ----------
    statistic : float
        Twice the difference of the log-likelihoods.
    df : int
        Difference of the numbers of parameters.
    p : float
        By the chi-square distribution with `df` degrees of freedom.
    mixture : Mixture or None
        Where a variance is tested on its boundary.
    simulated : float
        By the bootstrap or the exact distribution; NaN without.
    failed : int
        Replicates without a statistic.
    conditional : bool
        Whether an exact distribution took no account of other random effects.
    """

    statistic: float = math.nan
    df: float = math.nan
    p: float = math.nan
    mixture: Mixture | None = None
    simulated: float = math.nan
    failed: int = 0
    conditional: bool = False

    @property
    def p_mixture(self) -> float:
        """By the mixture; as `p` where no variance is on its boundary."""
        return self.p if self.mixture is None else self.mixture.p_value(self.statistic)


@dataclass(frozen=True)
class Method:
    """How the null distribution is found, beside the chi-square one.

    Attributes
    ----------
    name : {"chisq", "boot", "exact"}
    nsim : int
    rng : Generator
    """

    name: str
    nsim: int
    rng: np.random.Generator

    @property
    def column(self) -> str:
        """Title of its column; empty for the chi-square distribution."""
        return {"boot": "Pr(boot)", "exact": "Pr(exact)"}.get(self.name, "")


def method_of(test: str, nsim: int | None, seed: Any) -> Method:
    """The method that the options of a user stand for.

    Raises
    ------
    OptionError
        For an unknown test or number of draws.
    DataTypeError
        For a seed that is none.
    """
    if test not in METHODS:
        raise OptionError(
            f"test={test!r} is not known.",
            f"It must be one of {', '.join(map(repr, METHODS))}.",
            near(str(test), METHODS),
        )
    count = (_EXACT if test == "exact" else _BOOT) if nsim is None else nsim
    whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    if not whole or count < 1:
        raise OptionError(f"nsim={nsim!r}.", "A whole number from 1 was expected.")
    return Method(test, int(count), np.random.default_rng(seed_sequence(seed)))


def ratio_test(
    small: Candidate, large: Candidate, nested: Nesting, method: Method
) -> RatioTest:
    """The test of `small` against `large`, in which it is nested.

    Parameters
    ----------
    small, large : Candidate
        By one criterion.
    nested : Nesting
    method : Method

    Returns
    -------
    RatioTest
        Without p-values where `large` is not larger, or fits worse.
    """
    df = large.npar - small.npar
    statistic = small.objective - large.objective
    if df == 0:
        # Two ways to write one model differ by rounding only.
        return RatioTest(max(statistic, 0.0), df)
    if statistic < -TOLERANCE:
        return RatioTest(statistic, df)
    statistic = max(statistic, 0.0)
    found = RatioTest(
        statistic,
        df,
        float(chdtrc(df, statistic)),
        # What a model that is not nested tests at its boundary is not known.
        mixture(small, large, nested) if nested else None,
    )
    return METHODS[method.name](found, small, large, nested, method)


def _chisq(
    found: RatioTest,
    small: Candidate,
    large: Candidate,
    nested: Nesting,
    method: Method,
) -> RatioTest:
    return found


def _boot(
    found: RatioTest,
    small: Candidate,
    large: Candidate,
    nested: Nesting,
    method: Method,
) -> RatioTest:
    draws = bootstrap_statistics(small, large, method.nsim, method.rng)
    known = draws[np.isfinite(draws)]
    return _with(found, _share(known, found.statistic), draws.size - known.size)


def _exact(
    found: RatioTest,
    small: Candidate,
    large: Candidate,
    nested: Nesting,
    method: Method,
) -> RatioTest:
    draws = exact_statistics(spectrum(small, large, nested), method.nsim, method.rng)
    return _with(found, _share(draws, found.statistic), 0, bool(small.components))


def _share(draws: Array, statistic: float) -> float:
    """P-value by draws: what was observed is one more draw under the hypothesis."""
    return float(1 + (draws >= statistic - 1e-9).sum()) / (1 + draws.size)


def _with(
    found: RatioTest, p: float, failed: int, conditional: bool = False
) -> RatioTest:
    return RatioTest(
        found.statistic, found.df, found.p, found.mixture, p, failed, conditional
    )


METHODS: dict[
    str, Callable[[RatioTest, Candidate, Candidate, Nesting, Method], RatioTest]
] = {"chisq": _chisq, "boot": _boot, "exact": _exact}
"""Null distributions by name."""


def method_lines(
    labels: list[str],
    tests: list[RatioTest],
    method: Method,
    reml: bool,
    chisq: str = f"{CHISQ}: chi-square with Df",
) -> list[str]:
    """A line for each column of p-values.

    Parameters
    ----------
    labels : list of str
        Of the tests.
    tests : list of RatioTest
    method : Method
    reml : bool
        Criterion of the fits.
    chisq : str
        Name of the column of the chi-square distribution, and of its degrees.
    """
    kind = "restricted" if reml else "maximum"
    lines = [f"{chisq} degrees of freedom, {kind} likelihood ratio"]
    mixed = [(a, t.mixture) for a, t in zip(labels, tests, strict=True) if t.mixture]
    if mixed:
        distinct = {str(m) for _, m in mixed}
        one = len(distinct) == 1 and len(mixed) == sum(t.df > 0 for t in tests)
        detail = next(iter(distinct)) if one else ""
        detail = detail or "; ".join(f"{a}: {m}" for a, m in mixed)
        lines.append(f"{CHIBAR}: a variance is tested on its boundary, {detail}")
    if method.name == "boot":
        lines.append(
            f"{method.column}: parametric bootstrap, {method.nsim} responses drawn "
            "from the smaller model"
        )
    if method.name == "exact":
        lines.append(
            f"{method.column}: exact distribution in finite samples, "
            f"{method.nsim} draws"
        )
    return lines


def reader_notes(tests: list[RatioTest]) -> list[str]:
    """What a reader has to know about some of the tests."""
    notes = []
    if any(t.mixture for t in tests):
        notes.append(
            f"{CHISQ} is conservative where a variance is tested on its boundary; "
            f"{CHIBAR} is right in large samples."
        )
    failed = sum(t.failed for t in tests)
    if failed:
        notes.append(f"{failed} replicates of the bootstrap could not be fitted.")
    if any(t.conditional for t in tests):
        notes.append(
            "There are other random effects: the exact distribution is then an "
            "approximation, as in Greven et al. (2008)."
        )
    if any(t.statistic < 0 for t in tests):
        notes.append(WORSE)
    return notes
