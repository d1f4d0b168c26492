"""What a result says of its own assumptions: residuals, influence, a report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.inference import estimates
from lme.inference.diagnostics import diagnosis, residual_table, residuals
from lme.inference.diagnostics import influence as influences
from lme.inference.diagnostics import leverage as leverages
from lme.results.contract import Contract

Array = NDArray[np.float64]


class Diagnostics(Contract):
    """Residuals, leverage, influence of rows and groups, and a report."""

    def residuals(
        self,
        kind: str = "conditional",
        type: str | None = None,
        scaled: bool = False,
        *,
        standardize: str | None = None,
        n_sim: int = 250,
        seed: Any = None,
    ) -> pd.Series:
        """Residuals on the index of the data.

        Parameters
        ----------
        kind : {"conditional", "marginal", "random"}
            Of the fitted values with random effects, of those without, or the
            difference.
        type : {"response", "pearson", "deviance", "working", "quantile", "normalized"}
            By default "response", and "deviance" for a generalized model.
        scaled : bool
            Divide by sigma, or by the root of a dispersion that is estimated.
        standardize : {"leverage", "cholesky"}, optional
            Conditional residuals over ``sigma sqrt(1 - h)``; marginal ones freed from
            their covariance.
        n_sim : int
            Simulated responses for quantile residuals of a generalized model.
        seed : int, Generator, SeedSequence or None
            For the same.

        See Also
        --------
        lme.inference.diagnostics.residuals.residuals : has the definitions.
        """
        self._need_data("residuals")
        values = residuals.residuals(
            self.fit_record,
            kind,
            type,
            scaled,
            standardize=standardize,
            n_sim=n_sim,
            seed=seed,
        )
        return estimates.label_rows(self.fit_record.design, values)

    def hlm_resid(
        self, *, standardize: bool = False, group: str | None = None
    ) -> pd.DataFrame:
        """Residuals and fitted values of three levels; see `residual_table`."""
        self._need_data("hlm_resid")
        return residual_table.residual_table(
            self.fit_record, standardize=standardize, group=group
        )

    def hatvalues(self) -> pd.Series:
        """Leverage of each row; see `lme.inference.diagnostics.leverage.leverage`."""
        self._need_data("hatvalues")
        values = leverages.leverage(self.fit_record)
        return estimates.label_rows(self.fit_record.design, values)

    def get_influence(
        self,
        groups: Any = None,
        *,
        method: str | None = None,
        n_jobs: int | None = None,
        progress: bool = False,
    ) -> influences.Influence:
        """Estimates without each row, or without each group of rows.

        Parameters
        ----------
        groups : str or array_like, optional
            A grouping factor of the model, or a label for each row; rows by default.
        method : {"exact", "one-step"}, optional
            Fit again without each (default for groups), or hold theta and move it by
            one Newton step (default for rows).
        n_jobs : int, optional
            Processes for refits, as in joblib; by default those of
            ``joblib.parallel_config``, or one.
        progress : bool
            Show a bar while refitting.

        See Also
        --------
        lme.inference.diagnostics.influence.influence : has the definitions.
        """
        self._need_data("get_influence")
        return influences.influence(
            self.fit_record, groups, method=method, n_jobs=n_jobs, progress=progress
        )

    def diagnose(self, *, seed: Any = 0) -> diagnosis.Diagnosis:
        """A short report on the assumptions of the model; see `diagnosis`."""
        self._need_data("diagnose")
        return diagnosis.diagnose(self.fit_record, seed=seed)
