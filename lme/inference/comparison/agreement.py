"""One model by every optimizer, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lme.errors import LMEWarning
from lme.fit import Fit, fit_lmm
from lme.generalized import GLMMFit, fit_glmm
from lme.inference.components import theta_names
from lme.optimizers import OPTIMIZERS, find_optimizer

#: Derivative-free searches need hundreds of evaluations.
_LIMIT = {"max_evaluations": 20_000}


def allfit(result: Any, optimizers: Sequence[str] | None = None) -> pd.DataFrame:
    """Fit a model again with each optimizer, to see whether they agree.

    Parameters
    ----------
    result : LMMResults or GLMMResults
    optimizers : sequence of str, optional
        Keys of `lme.optimizers.OPTIMIZERS`; all of them by default.

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

    Examples
    --------
    >>> import lme
    >>> data = lme.datasets.load("Dyestuff")
    >>> res = lme.lmer("Yield ~ 1 + (1 | Batch)", data).fit()
    >>> table = lme.allfit(res, ["newton", "powell"])
    >>> bool(table["above_best"].max() < 1e-6)
    True
    """
    names = [name for name in OPTIMIZERS if name != "auto"]
    if optimizers is not None:
        names = list(optimizers)
    for name in names:
        find_optimizer(name)
    record = result.fit_record
    rows = []
    for name in names:
        with warnings.catch_warnings():
            # The verdict of each stands in its row.
            warnings.simplefilter("ignore", LMEWarning)
            again = _fit_again(record, name)
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


def _fit_again(record: Fit | GLMMFit, optimizer: str) -> Fit | GLMMFit:
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
