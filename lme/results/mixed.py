"""What every result offers: statsmodels' contract and lme4's accessors."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from statsmodels.base.model import LikelihoodResultsWrapper

from lme.results.comparisons import Comparisons
from lme.results.diagnostics import Diagnostics
from lme.results.estimation import Estimation
from lme.results.figures import Figures
from lme.results.hypotheses import Hypotheses
from lme.results.inherited import Inherited
from lme.results.intervals import Intervals
from lme.results.keeping import Keeping, pickled
from lme.results.measures import Measures
from lme.results.observations import Observations
from lme.results.reports import Reports
from lme.results.resampling import Resampling


class MixedResults(
    Estimation,
    Hypotheses,
    Comparisons,
    Intervals,
    Measures,
    Observations,
    Diagnostics,
    Resampling,
    Reports,
    Figures,
    Keeping,
    Inherited,
):
    """What results of linear and of generalized mixed models have in common.

    Parameters
    ----------
    model : LMM or GLMM
        The model that was fitted.
    record : Fit or GLMMFit
        Everything that was estimated, as a frozen record.
    scale : float
        Residual variance or dispersion; 1 where it is fixed.
    """


class MixedResultsWrapper(LikelihoodResultsWrapper):
    """Results with names on their arrays; what ``fit`` returns."""

    _wrap_methods: ClassVar[dict[str, str]] = {"conf_int": "columns"}

    def cov_params(
        self, r_matrix: Any = None, column: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Covariance of the fixed effects, or of combinations of them, with names."""
        found = self._results.cov_params(r_matrix, column, *args, **kwargs)
        if r_matrix is None and column is None:
            return self.model.data.attach_cov(found)
        if np.ndim(found) == 2 and r_matrix is None:
            names = [self.model.exog_names[i] for i in self._results._positions(column)]
            return pd.DataFrame(found, index=names, columns=names)
        return found

    def __repr__(self) -> str:
        return repr(self._results)

    def __str__(self) -> str:
        return repr(self._results)

    def __getstate__(self) -> dict[str, Any]:
        # statsmodels keeps the class's documentation on each instance.
        return {key: v for key, v in self.__dict__.items() if key != "__doc__"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__doc__ = self._results.__doc__

    def save(self, fname: Any, remove_data: bool = False) -> None:
        """Store the result as a pickle; see `Keeping.save`."""
        pickled(self.without_data() if remove_data else self, fname)

    def without_data(self) -> Any:
        """A copy without rows, as `remove_data` leaves; this result keeps its own."""
        return type(self)(self._results.without_data())
