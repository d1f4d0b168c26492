"""What a result says of rows: those of the fit, and new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError, near
from lme.inference.prediction import conditional_means as prediction
from lme.inference.prediction import intervals as prediction_intervals
from lme.inference.prediction import simulation_frame
from lme.inference.prediction.lazy_frames import (
    predict_lazily,
    refuse_partitions,
    simulate_lazily,
)
from lme.inference.prediction.table import Prediction
from lme.partitions.sources import is_partitioned
from lme.results.contract import Contract

Array = NDArray[np.float64]


FOREIGN = {
    "exog": "New rows are called newdata: a frame with the columns of the formula.",
    "transform": "The formula is always applied to newdata.",
    "use_rfx": "Use re_form='all' or re_form='none'.",
    "type": "Use which='mean' or which='linear'.",
    "re": "Use re_form='all' or re_form='none'.",
    "allow_new_levels": "Use new_levels='population'.",
}
"""Options of statsmodels' and lme4's ``predict``, and what takes their place."""
PREDICT_OPTIONS = ("newdata", "which", "re_form", "new_levels", "offset")


def misused(name: str) -> OptionError:
    """The error for an option that `predict` does not have."""
    return OptionError(
        f"{name!r} is not an option of predict.",
        f"Its options are {', '.join(PREDICT_OPTIONS)}.",
        FOREIGN.get(name) or near(name, PREDICT_OPTIONS),
    )


class Observations(Contract):
    """Fitted values and predictions."""

    @property
    def fittedvalues(self) -> Array:
        """Conditional fitted values, random effects included, shape (nobs,)."""
        self._need_data("fittedvalues")
        return self.fit_record.mu

    def _own_partitions(self) -> Any:
        """The data of the fit, where they are in partitions; None otherwise."""
        return self.model.data.frame if self._has_sums else None

    def predict(
        self,
        newdata: Any = None,
        *,
        which: str = "mean",
        re_form: str = "all",
        new_levels: str = "error",
        offset: Any = None,
        **unknown: Any,
    ) -> pd.Series:
        """Means of the rows, or of new data; see `prediction.predict`.

        For data in partitions a Dask series, see `lazy_frames.predict_lazily`.
        """
        for name in unknown:
            raise misused(name)
        options = {"which": which, "re_form": re_form, "new_levels": new_levels}
        if newdata is None:
            newdata = self._own_partitions()
        if newdata is None:
            self._need_data("predict")
        elif is_partitioned(newdata):
            lazy: pd.Series = predict_lazily(
                self.fit_record, newdata, offset=offset, **options
            )
            return lazy
        return prediction.predict(self.fit_record, newdata, offset=offset, **options)

    def get_prediction(self, newdata: Any = None, **options: Any) -> Prediction:
        """Means with intervals; see `prediction_intervals.get_prediction`.

        Parameters
        ----------
        newdata : frame or mapping, optional
            New rows; by default the rows of the fit.
        **options
            `re_form`, `which`, `new_levels` and `offset` as for `predict`, and
            `weights`, `ddf` and `cov_type`.
        """
        self._need_data("get_prediction", rows=newdata is None)
        refuse_partitions("get_prediction", newdata)
        record = self.fit_record
        return prediction_intervals.get_prediction(record, newdata, **options)

    def simulate(self, n: int = 1, seed: Any = None, **options: Any) -> pd.DataFrame:
        """New responses from the model; see `simulation_frame.simulate`.

        Parameters
        ----------
        n : int
            Number of replicates.
        seed : int, Generator, SeedSequence or None
            The same seed gives the same responses.
        **options
            `re_form`, `newdata`, and `weights` and `offset` for new data. Data in
            partitions give a Dask frame, see `lazy_frames.simulate_lazily`.
        """
        newdata = options.pop("newdata", None)
        if newdata is None:
            newdata = self._own_partitions()
        if newdata is None:
            self._need_data("simulate")
        elif is_partitioned(newdata):
            lazy: pd.DataFrame = simulate_lazily(
                self.fit_record, newdata, n, seed=seed, **options
            )
            return lazy
        options["newdata"] = newdata
        return simulation_frame.simulate(self.fit_record, n, seed=seed, **options)
