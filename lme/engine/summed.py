"""A linear mixed model that is known by its sums over rows, and has no rows."""

from __future__ import annotations

from dataclasses import dataclass, field

from lme.engine.lmm import Problem


@dataclass(frozen=True, slots=True)
class Totals:
    """What else is known of rows that are gone.

    Attributes
    ----------
    rows : int
    largest_response, largest_residual : float
        Largest absolute values.
    constant_outside : float
        Mean square of what a constant has outside the span of X.
    log_weights : float
        Sum of the logarithms of the weights.
    """

    rows: int
    largest_response: float
    largest_residual: float
    constant_outside: float
    log_weights: float


@dataclass(frozen=True)
class SummedProblem(Problem):
    """A linear mixed model that has its cross-products and no rows.

    Attributes
    ----------
    totals : Totals
    """

    totals: Totals = field(kw_only=True)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.totals.rows

    @property
    def largest_response(self) -> float:
        """Largest absolute value of the response."""
        return self.totals.largest_response

    @property
    def largest_residual(self) -> float:
        """Largest absolute value that least squares leaves."""
        return self.totals.largest_residual

    @property
    def constant_outside(self) -> float:
        """Mean square of what a constant has outside the span of X."""
        return self.totals.constant_outside

    @property
    def log_weights(self) -> float:
        """Sum of the logarithms of the weights."""
        return self.totals.log_weights
