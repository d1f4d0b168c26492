"""What statsmodels' base classes offer, checked, or refused where it cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError, UnavailableError, near
from lme.inference.hypotheses.wald import square
from lme.results.contract import Contract

Array = NDArray[np.float64]

_ROWS = (
    "It sums over independent rows, and the rows of a group are dependent.",
    "Use cov_params() and bse.",
)
_HESSIAN = (
    "params holds the fixed effects only; theta and sigma belong to the likelihood.",
    "Use result.convergence.hessian, or cov_params().",
)
REFUSED: Mapping[str, tuple[str, str]] = {
    "score_obsv": _ROWS,
    "covjac": _ROWS,
    "covjhj": _ROWS,
    "bsejac": _ROWS,
    "bsejhj": _ROWS,
    "hessv": _HESSIAN,
}
"""Attributes of ``ResultMixin`` that need more of a model than a mixed model has."""


def _refused(name: str) -> property:
    expected, remedy = REFUSED[name]

    def refuse(_: Any) -> NoReturn:
        raise UnavailableError(
            f"{name} is not available for a mixed model.", expected, remedy
        )

    return property(refuse, doc=f"Not available. {expected}")


class Inherited(Contract):
    """Methods of statsmodels' bases that need a check or a clear refusal."""

    score_obsv = _refused("score_obsv")
    covjac = _refused("covjac")
    covjhj = _refused("covjhj")
    bsejac = _refused("bsejac")
    bsejhj = _refused("bsejhj")
    hessv = _refused("hessv")

    def get_nlfun(self, fun: Any) -> NoReturn:
        """Not available; statsmodels has none either."""
        raise UnavailableError(
            "get_nlfun is not available.",
            "statsmodels declares it for the delta method and does not implement it.",
            "Use t_test or contrast for linear combinations.",
        )

    def _get_robustcov_results(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UnavailableError(
            "statsmodels' robust covariances are not available for a mixed model.",
            *_ROWS,
        )

    def cov_params(
        self,
        r_matrix: Any = None,
        column: Any = None,
        scale: float | None = None,
        cov_p: Any = None,
        other: Any = None,
    ) -> Any:
        """Covariance of the fixed effects, or of combinations of them.

        Parameters
        ----------
        r_matrix : str, array_like, optional
            Combinations, as for `t_test`.
        column : str, int or sequence, optional
            Names or positions of coefficients.
        scale, cov_p, other
            As in statsmodels.
        """
        if r_matrix is not None:
            r_matrix = self._constraint(r_matrix)[0]
        if other is not None:
            other = self._constraint(other)[0]
        if cov_p is not None:
            cov_p = square("cov_p", cov_p, len(self.model.exog_names))
        if column is not None:
            column = self._positions(column)
        return super().cov_params(r_matrix, column, scale, cov_p, other)

    def _positions(self, column: Any) -> Any:
        """Positions of coefficients given by name or by position."""
        names = self.model.exog_names
        if isinstance(column, (list, tuple, np.ndarray, pd.Index)) and np.ndim(column):
            return np.array([self._positions(each) for each in column], dtype=int)
        if isinstance(column, str) and column in names:
            return names.index(column)
        whole = isinstance(column, (int, np.integer))
        if not whole or not -len(names) <= column < len(names):
            raise OptionError(
                f"column={column!r} is not a coefficient.",
                f"The {len(names)} coefficients are {', '.join(map(repr, names))}.",
                near(str(column), names),
            )
        return int(column)
