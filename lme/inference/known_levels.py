"""What inference asks of a known covariance between levels: variances, and limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lme.errors import FitError
from lme.formula.design import RandomTerm
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


def known_groups(fit: MixedFit) -> list[str]:
    """Grouping factors whose levels have a known covariance."""
    names = (term.group for term in fit.design.terms if term.known is not None)
    return list(dict.fromkeys(names))


def refuse_known(fit: MixedFit, what: str, remedy: str = "") -> None:
    """Raise FitError where `what` takes the levels to be independent."""
    groups = known_groups(fit)
    if groups:
        raise FitError(
            f"{what} is not available with a known covariance between the levels of "
            f"{groups[0]!r}.",
            "It takes the levels of a grouping factor to be independent.",
            remedy,
        )


def row_variances(term: RandomTerm) -> Array:
    """Variance of each row's level relative to ``lambda lambda'``, (n,).

    One where the levels are independent; for a level that a known covariance does not
    have, the mean over those that it has.
    """
    if term.known is None:
        return np.ones(term.codes.size)
    levels = np.append(term.known.variances, term.known.scale)
    out: Array = levels[term.codes]
    return out


def known_text(fit: MixedFit) -> str:
    """The grouping factors with a known covariance; empty without any."""
    return ", ".join(known_groups(fit))
