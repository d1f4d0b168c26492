"""The contract of a factorization kernel, and the choice of one.

A kernel holds the cross-products ``A`` and answers, at given factors ``lambda``,
four questions about ``M = Lambda' A_ZZ Lambda + I`` without ever forming an inverse
of ``lambda``, so that a variance of zero is an ordinary point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lme.engine.crossproducts import CrossProducts

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Schur:
    """What is left when all random effects are eliminated.

    Attributes
    ----------
    logdet : float
        ``log |M|``.
    matrix : (px + 1, px + 1) array
        ``[X y]' V^-1 [X y]`` with ``V = I + Z Lambda Lambda' Z'``.
    """

    logdet: float
    matrix: Array


class Kernel(Protocol):
    """Factorization of ``M`` by one method; see `blocked` and `cholmod`."""

    name: str

    def factor(self, lambdas: Sequence[Array]) -> Schur | None:
        """Factor ``M``; None when it is not finite (a value, not a crash)."""

    def adjoint(self, weights: Array) -> list[Array]:
        """Derivative in ``lambda lambda'`` of ``log|M| + <weights, matrix>``.

        Per grouping factor a symmetric (p, p) matrix ``Q`` with
        ``d(...) = <Q, d(lambda lambda')>``; the gradient in lambda is ``2 Q lambda``.
        """

    def solve(self, rhs: Sequence[Array]) -> list[Array]:
        """``Lambda M^-1 Lambda' r`` for r given per factor as (l, p, r) arrays."""

    def blocks(self) -> list[Array]:
        """Diagonal blocks of ``Lambda M^-1 Lambda'`` per factor, (l, p, p)."""

    def inverse(self) -> tuple[list[Array], dict[tuple[int, int], Array]]:
        """``Lambda M^-1 Lambda'`` where A has entries: by level, by pair of levels.

        The first per factor (l, p, p), the second for f < g (m, p_f, p_g), in the order
        of the pairs of the cross-products.
        """

    def load(self, cross: CrossProducts) -> None:
        """Take other values on the same pattern."""
