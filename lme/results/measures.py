"""Single numbers that describe a result, and robust standard errors."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd

from lme.generalized import GLMMFit
from lme.inference.measures.collinearity import variance_inflation
from lme.inference.measures.explained_variance import (
    ExplainedVariance,
    IntraclassCorrelation,
    explained_variance,
    intraclass_correlation,
)
from lme.inference.robust.choice import robust_covariance
from lme.results.contract import Contract


class Measures(Contract):
    """Explained variance, correlation within groups, collinearity, robustness."""

    def r2(self, *, approximation: str | None = None) -> ExplainedVariance:
        """Marginal and conditional R squared; see `explained_variance`."""
        self._need_data("r2")
        return explained_variance(self.fit_record, approximation=approximation)

    def icc(self, *, approximation: str | None = None) -> IntraclassCorrelation:
        """Intraclass correlation, and by group; see `explained_variance`."""
        self._need_data("icc")
        return intraclass_correlation(self.fit_record, approximation=approximation)

    def vif(self) -> pd.DataFrame:
        """Generalized variance inflation factors of the terms; see `collinearity`."""
        return variance_inflation(self.fit_record)

    def get_robustcov_results(
        self, cov_type: str = "cluster", *, groups: Any = None, **cov_kwds: Any
    ) -> Any:
        """The same estimates with cluster-robust standard errors.

        Parameters
        ----------
        cov_type : {"cluster", "CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3"}
            "cluster" is CR2; for a generalized model, which has CR0, CR1 and CR1S, it
            is CR1.
        groups : str or array_like, optional
            The clusters: a grouping factor, a column of the data, or one label a row.
            By default the grouping factor with the fewest levels.
        **cov_kwds
            ``type=`` instead of the type as `cov_type`; ``use_correction=``, as in
            statsmodels.

        Returns
        -------
        LMMResults or GLMMResults
            Whose standard errors, tests, intervals and summary use the covariance. Its
            degrees of freedom are Satterthwaite's for that covariance.

        Raises
        ------
        DesignError
            If random effects cross the clusters.
        """
        self._need_data("get_robustcov_results")
        frame = getattr(self.model.data, "frame", None)
        options = {"groups": groups, **cov_kwds}
        found = copy.copy(self)
        found.robust_record = robust_covariance(
            self.fit_record, cov_type, options, frame
        )
        name = "z" if isinstance(self.fit_record, GLMMFit) else "satterthwaite"
        # A robust covariance has its degrees of freedom at hand: no default of "z" for
        # size, and no need of the rows later.
        found._cache = {"default ddf": name}
        found._denominator(name)
        return found._wrapped()

    @property
    def cov_kwds(self) -> dict[str, Any]:
        """What made the covariance of the fixed effects, under statsmodels' name."""
        record = self.robust_record
        if record is None:
            return {}
        return {"type": record.type, "groups": record.clusters, "count": record.count}

    def _wrapped(self) -> Any:
        """The result in the wrapper that names its arrays."""
        raise NotImplementedError
