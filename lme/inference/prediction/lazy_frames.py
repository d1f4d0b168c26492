"""Predictions and simulations for data in partitions: Dask frames, computed on demand.

Each partition is predicted by itself. Where responses are simulated, a level has the
same random effects in every partition: these are functions of the seed and the level,
and not the next numbers of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from lme.errors import OptionError, UnavailableError
from lme.formula.table import Table
from lme.generalized import GLMMFit
from lme.inference.estimates import without_rows
from lme.inference.prediction.conditional_means import predict
from lme.inference.prediction.rows import new_weights, selected_effects
from lme.inference.prediction.simulation import (
    Mechanism,
    add_effects,
    child,
    count_of,
    respond,
    seed_sequence,
)
from lme.inference.prediction.simulation_frame import (
    form_of,
    new_mechanism,
    to_frame,
)
from lme.inference.working import MixedFit
from lme.partitions.design import PartitionedDesign
from lme.partitions.fingerprints import mixed
from lme.partitions.request import text_argument
from lme.partitions.sources import is_partitioned, source_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Predictor:
    """Predicts a partition."""

    fit: MixedFit
    options: dict[str, Any]

    def __call__(self, frame: pd.DataFrame) -> pd.Series:
        """Means of its rows."""
        return predict(self.fit, frame, **self.options)


@dataclass(frozen=True)
class Simulator:
    """Draws responses for a partition.

    Attributes
    ----------
    fit : Fit or GLMMFit
    n : int
        Replicates.
    seed : SeedSequence
    re_form, weights, offset : str or None
    """

    fit: MixedFit
    n: int
    seed: np.random.SeedSequence
    re_form: str
    weights: str | None
    offset: str | None

    def __call__(self, frame: pd.DataFrame, number: int) -> pd.DataFrame:
        """Replicates for the rows of partition `number`."""
        fit, table = self.fit, Table(frame)
        kept = selected_effects(fit, self.re_form)
        prior = new_weights(fit, table, self.weights)
        mechanism = new_mechanism(fit, table, kept, self.offset, prior, salt=number)
        values = np.empty((self.n, table.nrow))
        for i in range(self.n):
            values[i] = self._replicate(mechanism, i, number)
        family = fit.family if isinstance(fit, GLMMFit) else None
        form = form_of(fit.design, family, prior)
        found = to_frame(values, form, table.index)
        # The same type in all partitions, whether or not some row is missing.
        if form.kind == "whole":
            return found.astype("Int64")
        return found.astype("boolean") if form.kind == "logical" else found

    def _replicate(self, mechanism: Mechanism, i: int, number: int) -> Array:
        """One replicate: effects by level, then responses of the rows."""
        own = child(self.seed, i)
        numbers = [
            normals(child(own, k), part.keys, part.factor.shape[1]).ravel()
            for k, part in enumerate(mechanism.effects)
        ]
        eta = mechanism.eta.copy()
        flat = np.concatenate([np.zeros(0), *numbers])
        add_effects(mechanism, flat[None, :], eta[None, :])
        rows = child(child(own, len(mechanism.effects)), number)
        rng = np.random.default_rng(rows)
        if mechanism.family is None:
            return eta + mechanism.deviations * rng.standard_normal(eta.size)
        return respond(mechanism, mechanism.family, rng, eta)


def normals(
    seed: np.random.SeedSequence, keys: NDArray[np.uint64], columns: int
) -> Array:
    """Standard normal numbers that belong to keys, (m, columns).

    Parameters
    ----------
    seed : SeedSequence
    keys : (m,) uint64
    columns : int

    Notes
    -----
    A number is the normal quantile of a hash of seed, key and column, so that it is
    the same wherever it is asked for.
    """
    first, second = seed.generate_state(2, np.uint64)
    counter = keys[:, None] * np.uint64(columns) + np.arange(columns, dtype=np.uint64)
    step = np.uint64(0x9E3779B97F4A7C15)
    hashes = mixed(mixed((counter + np.uint64(1)) * step + first) ^ second)
    uniform = ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(ndtri(uniform), dtype=np.float64)


def predict_lazily(fit: MixedFit, newdata: Any, **options: Any) -> Any:
    """Means of rows in partitions; see `predict`.

    Parameters
    ----------
    fit : Fit or GLMMFit
    newdata : dask.dataframe.DataFrame, pyarrow.dataset.Dataset, path, or list of paths
    **options
        Those of `predict`; `offset` is a column or an expression.

    Returns
    -------
    dask.dataframe.Series
        Nothing is computed yet. Errors in options and names of columns are raised here,
        those in the data when it is computed.
    """
    text_argument("offset", options.get("offset"))
    frame = _frame(fit, newdata, (options.get("offset"),))
    task = Predictor(_small(fit), options)
    meta = task(frame._meta)
    return frame.map_partitions(task, meta=meta)


def simulate_lazily(
    fit: MixedFit,
    newdata: Any,
    n: int = 1,
    *,
    seed: Any = None,
    re_form: str = "none",
    weights: Any = None,
    offset: Any = None,
) -> Any:
    """New responses for rows in partitions; see `simulate`.

    Parameters
    ----------
    fit : Fit or GLMMFit
    newdata : dask.dataframe.DataFrame, pyarrow.dataset.Dataset, path, or list of paths
    n, seed, re_form
        As for `simulate`.
    weights, offset : str, optional
        Columns or expressions.

    Returns
    -------
    dask.dataframe.DataFrame
        Columns ``sim_1`` to ``sim_n``. The same seed and partitions give the same
        responses, however often and in whatever order they are computed.

    Raises
    ------
    OptionError
        For a response of two columns, which Dask cannot hold.

    Notes
    -----
    The random effects of a level do not depend on the partitions, residuals do.
    """
    texts = text_argument("weights", weights), text_argument("offset", offset)
    if fit.design.y_kind == "counts":
        raise OptionError(
            "The response has two columns, successes and failures.",
            "Lazy simulations have one column a replicate.",
            "Simulate partition by partition, with newdata= a pandas frame.",
        )
    frame = _frame(fit, newdata, texts)
    task = Simulator(_small(fit), count_of(n), seed_sequence(seed), re_form, *texts)
    meta = task(frame._meta, 0)
    from dask.dataframe import from_delayed
    from dask.delayed import delayed

    make: Any = from_delayed
    parts = [
        delayed(task, pure=False)(part, number)
        for number, part in enumerate(frame.to_delayed())
    ]
    return make(parts, meta=meta, divisions=frame.divisions)


def refuse_partitions(what: str, newdata: Any) -> None:
    """Raise OptionError for data in partitions, where these cannot be taken."""
    if newdata is not None and is_partitioned(newdata):
        raise OptionError(
            f"{what} got data in partitions.",
            "Expected rows in memory.",
            "Call it for one partition, such as ddf.partitions[0].compute().",
        )


def _frame(fit: MixedFit, newdata: Any, texts: tuple[str | None, ...]) -> Any:
    """The columns of new data that the formula may need, as a Dask frame."""
    try:
        frame = source_of(newdata).lazy()
    except ImportError as error:
        raise UnavailableError(
            "Lazy results need Dask, which is not installed.",
            "Files are predicted as a Dask frame.",
            "pip install 'statsmodels-lme[dask]'",
        ) from error
    recipe = fit.design.recipe
    if recipe is None:
        return frame
    words = {*recipe.formula.variables, *recipe.terms.variables}
    # An expression may use any column.
    whole = any(text is not None and text not in frame.columns for text in texts)
    whole = whole or recipe.offset is not None or recipe.formula.has_dot
    if whole:
        return frame
    wanted = [c for c in frame.columns if str(c) in words or c in texts]
    return frame[wanted] if wanted else frame


def _small(fit: MixedFit) -> MixedFit:
    """What predictions need of a fit, to be sent to other processes."""
    light = without_rows(fit)
    design = light.design
    if isinstance(design, PartitionedDesign):
        design = replace(design, partitions=None)
    changed: dict[str, Any] = {"design": design}
    return replace(light, **changed)
