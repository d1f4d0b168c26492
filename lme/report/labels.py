"""Names on arrays: statsmodels' data record, read off a design."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.base.data import PandasData

from lme.formula.design import Design
from lme.inference.estimates import label_rows

Array = NDArray[np.float64]


class DesignData(PandasData):
    """The data record of statsmodels, read off a design without copies or checks.

    Parameters
    ----------
    design : Design
        The rows used, already free of missing values.
    kept : ndarray of int, optional
        Columns of the fixed-effects matrix that are estimated; by default all.

    Notes
    -----
    The base constructor is not called: its search for a constant costs a rank
    decomposition, and its pickling parses the formula again with patsy.
    """

    def __init__(self, design: Design, kept: NDArray[np.intp] | None = None) -> None:
        self._cache: dict[str, Any] = {}
        self.design = design
        names = design.column_names
        self.endog = design.y
        self.exog, shown = design.X, design.shown_X
        self.xnames = list(names)
        if kept is not None and kept.size < len(names):
            self.exog, shown = self.exog[:, kept], shown[:, kept]
            self.xnames = [names[i] for i in kept]
        self.ynames = design.y_name
        self.const_idx = (
            self.xnames.index("(Intercept)") if "(Intercept)" in self.xnames else None
        )
        found = self.const_idx is not None or _spans_constant(shown)
        self.k_constant = int(found)

    @property
    def orig_endog(self) -> pd.Series:
        """The response with the index of the user's rows."""
        return pd.Series(self.endog, index=self.design.index, name=self.ynames)

    @property
    def orig_exog(self) -> pd.DataFrame:
        """The fixed-effects matrix as a frame."""
        return pd.DataFrame(self.exog, index=self.design.index, columns=self.xnames)

    @property
    def row_labels(self) -> pd.Index:
        """Labels of the rows used."""
        return self.design.index

    def attach_cov(self, result: Any) -> Any:
        """A covariance of all coefficients as a frame; of others as it is."""
        size = len(self.xnames)
        return (
            super().attach_cov(result) if np.shape(result) == (size, size) else result
        )

    def attach_rows(self, result: Array) -> pd.Series:
        """Values of the rows as a Series; padded for ``na_action="exclude"``."""
        return label_rows(self.design, result)


def _spans_constant(X: Array) -> bool:
    """Whether some combination of the columns is 1 in every row."""
    if not X.size:
        return False
    ones = np.ones(X.shape[0])
    weights = np.linalg.lstsq(X, ones, rcond=None)[0]
    return bool(np.abs(X @ weights - ones).max() < 1e-8)
