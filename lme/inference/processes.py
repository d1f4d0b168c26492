"""How many processes a computation is spread over: the user's number, or joblib's."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from lme.errors import OptionError


def process_count(wanted: Any, name: str = "n_jobs") -> int:
    """Number of processes.

    Parameters
    ----------
    wanted : int or None
        -1 stands for all cores. None is the number of ``joblib.parallel_config``, where
        such a context is active, else 1.
    name : str
        Of the option.

    Raises
    ------
    OptionError
        Unless it is a whole number other than 0.

    Examples
    --------
    >>> import joblib
    >>> with joblib.parallel_config(n_jobs=2):
    ...     process_count(None)
    2
    >>> process_count(None)
    1
    """
    # Without joblib in memory none of its contexts can be active.
    joblib = sys.modules.get("joblib")
    if wanted is None:
        return 1 if joblib is None else int(joblib.effective_n_jobs(None))
    whole = isinstance(wanted, int | np.integer) and not isinstance(wanted, bool)
    if not whole or wanted == 0:
        raise OptionError(
            f"{name} is {wanted!r}.", "It is a whole number; -1 stands for all cores."
        )
    return int(wanted)
