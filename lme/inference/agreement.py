"""One model by every optimizer, side by side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lme.errors import LMEWarning, OptionError, near
from lme.fit import Fit, fit_lmm
from lme.optimizers import OPTIMIZERS


def fit_with_each(fit: Fit, optimizers: Sequence[str] | None = None) -> pd.DataFrame:
    """Fit the model again with each optimizer.

    Parameters
    ----------
    fit : Fit
    optimizers : sequence of str, optional
        Keys of `lme.optimizers.OPTIMIZERS`; all of them by default.

    Returns
    -------
    DataFrame
        One row for each optimizer: ``objective``, ``above_best`` (difference from the
        lowest objective), ``evaluations``, ``seconds``, ``converged`` and one column
        for each element of theta.

    Raises
    ------
    OptionError
        For an unknown optimizer.
    """
    names = [name for name in OPTIMIZERS if name != "auto"]
    if optimizers is not None:
        names = list(optimizers)
    for name in names:
        if name not in OPTIMIZERS:
            raise OptionError(
                f"Unknown optimizer {name!r}.",
                f"The optimizers are {', '.join(OPTIMIZERS)}.",
                near(str(name), OPTIMIZERS),
            )
    rows = []
    for name in names:
        with warnings.catch_warnings():
            # The verdict of each stands in its row.
            warnings.simplefilter("ignore", LMEWarning)
            again = fit_lmm(
                fit.design,
                reml=fit.reml,
                kernel=fit.convergence.kernel,
                optimizer=name,
                control={"max_evaluations": 20_000},
            )
        row: dict[str, object] = {
            "objective": again.objective,
            "evaluations": again.convergence.evaluations,
            "seconds": again.convergence.seconds,
            "converged": again.convergence.converged,
        }
        row.update({f"theta{i}": value for i, value in enumerate(again.theta)})
        rows.append(row)
    frame = pd.DataFrame(rows, index=pd.Index(names, name="optimizer"))
    best = float(np.min(frame["objective"]))
    frame.insert(1, "above_best", frame["objective"] - best)
    return frame
