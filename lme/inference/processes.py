"""Computations spread over processes: how many, and their results in order."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

import numpy as np

from lme.errors import OptionError

T = TypeVar("T")


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


def in_order(
    function: Callable[..., T], arguments: Iterable[tuple[Any, ...]], n_jobs: int
) -> Generator[T]:
    """Results of a function on joblib's workers, one after the other.

    Parameters
    ----------
    function : callable
        It and its arguments are pickled.
    arguments : iterable of tuple
    n_jobs : int
        As `process_count` gives it.

    Notes
    -----
    Workers stop when the generator is closed, as by an interrupt.
    """
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=n_jobs, return_as="generator")
    results = pool(delayed(function)(*each) for each in arguments)
    try:
        yield from results
    finally:
        # joblib need not tell what was not used.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()
