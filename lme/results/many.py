"""Fits of one model to many responses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.engine.batched import REASONS, Refits
from lme.errors import DataError, DataTypeError
from lme.formula.design import Design
from lme.formula.replacement import check_response
from lme.generalized import GLMMFit
from lme.inference.bootstrap.refitting import refit_many
from lme.inference.bootstrap.replicates import parameter_values, singular_replicates
from lme.inference.components import theta_names
from lme.inference.estimates import coefficient_names, dropped_names
from lme.inference.profile.parameters import parameters

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class ManyFits:
    """One model fitted to each column of a matrix.

    ``fits[i]`` is the full result of column i, fitted again on its own.

    Attributes
    ----------
    result : LMMResults or GLMMResults
        The fit whose model it is.
    responses : (R, n) array
        For the rows that the model uses.
    labels : Index
        Names of the responses.
    refits : Refits
        The estimates as arrays.
    """

    result: Any
    responses: Array
    labels: pd.Index
    refits: Refits

    def __len__(self) -> int:
        return len(self.refits)

    def __repr__(self) -> str:
        failed = len(self) - int(self.refits.converged.sum())
        text = f"{len(self)} fits of {self.result.fit_record.design.formula!r}"
        return f"{text}, {failed} failed" if failed else text

    def __getitem__(self, i: int) -> Any:
        return self.result.refit(self.responses[i])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def params(self) -> pd.DataFrame:
        """Fixed effects, a row a response; NaN for dropped columns and failed fits."""
        fit = self.result.fit_record
        frame = pd.DataFrame(
            self.refits.beta, index=self.labels, columns=coefficient_names(fit)
        )
        return frame.assign(**dict.fromkeys(dropped_names(fit), np.nan))

    @cached_property
    def theta(self) -> pd.DataFrame:
        """Elements of the relative covariance factors, a row a response."""
        names = theta_names(self.result.fit_record)
        return pd.DataFrame(self.refits.theta, index=self.labels, columns=names)

    @cached_property
    def components(self) -> pd.DataFrame:
        """Standard deviations and correlations of the random effects, and sigma."""
        fit = self.result.fit_record
        found = self.refits
        values = parameter_values(fit, found.theta, found.beta, found.sigma)
        known = parameters(fit)
        wanted = [i for i, each in enumerate(known) if each.kind != "beta"]
        names = [known[i].name for i in wanted]
        return pd.DataFrame(values[:, wanted], index=self.labels, columns=names)

    @cached_property
    def sigma(self) -> pd.Series:
        """Residual standard deviations; roots of the dispersions; 1 without them."""
        fit, values = self.result.fit_record, self.refits.sigma
        if isinstance(fit, GLMMFit):
            ones = np.where(np.isfinite(self.refits.objective), 1.0, np.nan)
            values = np.sqrt(values) if fit.family.dispersion else ones
        return pd.Series(values, index=self.labels, name="sigma")

    @property
    def objective(self) -> pd.Series:
        """-2 log-likelihoods, or REML criteria."""
        return pd.Series(self.refits.objective, index=self.labels, name="objective")

    @property
    def llf(self) -> pd.Series:
        """Log-likelihoods, or restricted ones."""
        return (-0.5 * self.objective).rename("llf")

    @property
    def converged(self) -> pd.Series:
        """Whether the optimum was reached."""
        return pd.Series(self.refits.converged, index=self.labels, name="converged")

    @property
    def singular(self) -> pd.Series:
        """Whether a variance vanished, or a correlation is 1 or -1."""
        values = singular_replicates(self.result.fit_record, self.refits)
        return pd.Series(values, index=self.labels, name="singular")

    @property
    def reason(self) -> pd.Series:
        """How each fit ended, in words."""
        words = np.array(REASONS, dtype=object)[self.refits.reason]
        return pd.Series(words, index=self.labels, name="reason")


def is_matrix(y: Any) -> bool:
    """Whether a response is a matrix of responses."""
    return getattr(y, "ndim", 1) == 2


def fit_columns(result: Any, Y: Any) -> ManyFits:
    """Fit the model of a result to each column of a matrix.

    Parameters
    ----------
    result : LMMResults or GLMMResults
    Y : array_like or DataFrame, shape (nobs, R) or (rows, R)
        A column a response, for the rows used or for all rows of the data.

    Raises
    ------
    DataError, DataTypeError
        If the number of rows fits neither, or for values that are no numbers.

    Notes
    -----
    A column with NaN or infinite values is not fitted; ``reason`` says so.
    """
    fit = result.fit_record
    values, labels = _columns(fit.design, Y)
    if isinstance(fit, GLMMFit):
        for column in values[np.isfinite(values).all(axis=1)]:
            check_response(replace(fit.design, y=column), fit.family)
    return ManyFits(result, values, labels, refit_many(fit, values, warm=False))


def _columns(design: Design, Y: Any) -> tuple[Array, pd.Index]:
    """Responses as rows of an array, and their names."""
    if design.trials is not None and getattr(Y, "columns", None) is not None:
        Y = _proportions(Y)
    labels = Y.columns if isinstance(Y, pd.DataFrame) else pd.RangeIndex(Y.shape[1])
    try:
        values = np.asarray(Y, dtype=float)
    except (TypeError, ValueError):
        raise DataTypeError(
            "The matrix of responses is not numeric.",
            "A column of numbers for each response was expected.",
        ) from None
    n, rows = len(design.index), len(design.full_index)
    if len(values) == rows != n:
        values = values[design.kept]
    if len(values) != n or not values.shape[1]:
        lengths = f"{n}" if rows == n else f"{n} (rows used) or {rows} (all rows)"
        hint = "Transpose it: a column is a response." if n in values.shape[1:] else ""
        raise DataError(
            f"The matrix of responses has shape {np.shape(Y)}.",
            f"It must have one row for each row of the data: {lengths}.",
            hint,
        )
    return np.ascontiguousarray(values.T), labels


def _proportions(Y: pd.DataFrame) -> pd.DataFrame:
    """Shares of successes where each response has two columns of counts."""
    if Y.columns.nlevels != 2:
        return Y
    outer = Y.columns.get_level_values(0)
    first = list(dict.fromkeys(outer))
    if [name for name in first for _ in range(2)] != list(outer):
        return Y
    counts = np.asarray(Y, dtype=float).reshape(len(Y), -1, 2)
    totals = counts.sum(axis=2)
    shares = np.divide(
        counts[:, :, 0], totals, out=np.zeros_like(totals), where=totals > 0
    )
    return pd.DataFrame(shares, index=Y.index, columns=first)
