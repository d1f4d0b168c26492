"""One model by every optimizer, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lme.errors import DataTypeError, LMEWarning
from lme.fit import Fit, fit_lmm
from lme.generalized import GLMMFit, fit_glmm
from lme.inference.components import theta_names
from lme.inference.processes import process_count
from lme.optimizers import OPTIMIZERS, find_optimizer

#: Derivative-free searches need hundreds of evaluations.
_LIMIT = {"max_evaluations": 20_000}


def allfit(
    result: Any,
    optimizers: str | Sequence[str] | None = None,
    *,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Fit a model again with each optimizer, to see whether they agree.

    Parameters
    ----------
    result : LMMResults or GLMMResults
    optimizers : str or sequence of str, optional
        Keys of `lme.optimizers.OPTIMIZERS`; all of them by default.
    n_jobs : int, optional
        Processes, as in joblib; by default those of ``joblib.parallel_config``, or one.

    Returns
    -------
    DataFrame
        One row for each optimizer: ``objective``, ``above_best`` (difference from the
        lowest objective), ``evaluations``, ``seconds``, ``converged``, and a column
        for each element of theta.

    Raises
    ------
    OptionError
        For an unknown optimizer.
    DataTypeError
        If `result` is none, or `optimizers` are not names.

    Examples
    --------
    >>> import lme
    >>> data = lme.datasets.load("Dyestuff")
    >>> res = lme.lmer("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> table = lme.allfit(res, ["newton", "powell"])
    >>> bool(table["above_best"].max() < 1e-6)
    True
    """
    if not isinstance(getattr(result, "fit_record", None), Fit | GLMMFit):
        raise DataTypeError(
            f"allfit was given an object of type {type(result).__name__}.",
            "Expected the result of a fit.",
            "Write lme.allfit(res), with res = lme.lmer(...).fit().",
        )
    names = [name for name in OPTIMIZERS if name != "auto"]
    if isinstance(optimizers, str):
        optimizers = [optimizers]
    if optimizers is not None and (
        not isinstance(optimizers, Sequence) or not len(optimizers)
    ):
        raise DataTypeError(
            f"optimizers={optimizers!r} is no list of names.",
            f"The optimizers are {', '.join(names)}.",
        )
    if optimizers is not None:
        names = list(optimizers)
    for name in names:
        find_optimizer(name)
    record = result.fit_record
    rows = []
    for again in _fits(record, names, process_count(n_jobs)):
        row: dict[str, object] = {
            "objective": again.objective,
            "evaluations": again.convergence.evaluations,
            "seconds": again.convergence.seconds,
            "converged": again.convergence.converged,
        }
        row.update(zip(theta_names(record), again.theta, strict=True))
        rows.append(row)
    frame = pd.DataFrame(rows, index=pd.Index(names, name="optimizer"))
    best = float(np.min(frame["objective"]))
    frame.insert(1, "above_best", frame["objective"] - best)
    return frame


def _fits(
    record: Fit | GLMMFit, names: Sequence[str], n_jobs: int
) -> Iterable[Fit | GLMMFit]:
    """The model by each optimizer, in their order."""
    if n_jobs == 1:
        return (_fit_again(record, name) for name in names)
    from joblib import Parallel, delayed

    found: list[Fit | GLMMFit] = Parallel(n_jobs=n_jobs)(
        delayed(_fit_again)(record, name) for name in names
    )
    return found


def _fit_again(record: Fit | GLMMFit, optimizer: str) -> Fit | GLMMFit:
    with warnings.catch_warnings():
        # The verdict of each stands in its row.
        warnings.simplefilter("ignore", LMEWarning)
        return _fitted(record, optimizer)


def _fitted(record: Fit | GLMMFit, optimizer: str) -> Fit | GLMMFit:
    if isinstance(record, GLMMFit):
        return fit_glmm(
            record.design,
            record.family,
            nAGQ=record.nAGQ,
            laplace=record.laplace,
            optimizer=optimizer,
            control=_LIMIT,
        )
    return fit_lmm(
        record.design,
        reml=record.reml,
        kernel=record.convergence.kernel,
        optimizer=optimizer,
        control=_LIMIT,
    )
