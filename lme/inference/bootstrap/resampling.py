"""The bootstrap: replicates of a fit, drawn and refitted."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from lme.engine import batched
from lme.engine.batched import REASONS, Refits
from lme.errors import ConvergenceWarning, OptionError
from lme.generalized import GLMMFit
from lme.inference.bootstrap.assembly import empty_record, extended
from lme.inference.bootstrap.draws import Task, check_task, run
from lme.inference.bootstrap.record import Bootstrap
from lme.inference.bootstrap.refitting import Interrupted
from lme.inference.prediction.simulation import count_of
from lme.inference.processes import in_order, process_count
from lme.inference.working import MixedFit

if TYPE_CHECKING:
    from lme.inference.bootstrap.refitting import Tick

#: Processes, far more than any machine gains by.
_MOST_WORKERS = 4096
#: Refits at a time without other workers, and turns of each worker with them.
_ALONE, _TURNS = 64, 4
#: Most refits of a job for a worker, where each is a search of its own: what is lost
#: by an interrupt, and what a bar waits for.
_APART = 16
#: Numbers in the responses of a job.
_NUMBERS = 2**23
#: Refits of a generalized model from which more processes pay.
_MANY = 64
#: Seconds before a progress bar shows.
_DELAY = 1.0


def bootstrap(
    fit: MixedFit,
    n: int = 1000,
    *,
    seed: Any = None,
    kind: str = "parametric",
    re_form: str = "none",
    groups: str | None = None,
    workers: int | None = None,
    progress: bool = True,
    resume: Bootstrap | None = None,
) -> Bootstrap:
    """Bootstrap a fitted model.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    n : int
        Number of replicates.
    seed : int, Generator, SeedSequence or None
        The same seed gives the same replicates, whatever the number of workers.
    kind : {"parametric", "semiparametric", "cases", "groups"}
        Responses drawn from the model; fitted values plus resampled modes and
        residuals (linear models); rows; or whole groups drawn with replacement.
    re_form : str
        Random effects that are kept, see `simulation.simulate_responses`: "none"
        (default), "all" (lme4's ``use.u=TRUE``) or a formula.
    groups : str, optional
        Grouping factor whose levels are drawn with ``kind="groups"``; by default the
        one in which all others are nested.
    workers : int, optional
        Processes; -1 for one a core. By default one for a linear model and one a core
        for a generalized one.
    progress : bool
        Show a bar on a terminal or in a notebook, if it takes more than a second.
    resume : Bootstrap, optional
        A shorter run, whose replicates are taken over; so are its seed and kind.

    Returns
    -------
    Bootstrap

    Raises
    ------
    OptionError, GroupError
        For unknown kinds and groups, and options that do not go together.

    Notes
    -----
    An interrupt (Ctrl-C) ends the run with a warning; the replicates done so far are
    returned, and `resume` goes on from there. A refit that fails is NaN, with its
    reason in ``Bootstrap.reason``.
    """
    n = count_of(n)
    if isinstance(resume, Bootstrap):
        seed = resume.seed_sequence if seed is None else seed
        kind = resume.kind if kind == "parametric" else kind
        re_form = resume.re_form if re_form == "none" else re_form
        groups = (resume.groups or None) if groups is None else groups
    task = check_task(fit, kind, re_form, groups, seed)
    record = empty_record(task)
    if resume is not None:
        record = _resumed(resume, task, record)
    first = len(record)
    if first >= n:
        return record.take(slice(0, n))
    done: list[Refits] = []
    count = _workers(workers, task, n - first)
    try:
        with closing(_refits(task, first, n, count, progress)) as parts:
            for part in parts:
                done.append(part)
    except KeyboardInterrupt as stop:
        finished = first + sum(len(part) for part in done)
        # Of a worker's block the ones before may be missing.
        if count == 1 and isinstance(stop, Interrupted):
            whole = (finished + len(stop.done)) // task.together * task.together
            done.extend(stop.done[: max(0, whole - finished)])
            finished = max(whole, finished)
        if not finished:
            raise
        warnings.warn(
            ConvergenceWarning(
                f"The bootstrap was interrupted after {finished} of {n} replicates. "
                "Go on with bootstrap(n, resume=...)."
            ),
            stacklevel=3,
        )
    if done:
        record = extended(record, fit, batched.joined(done))
    failed = int((record.reason != batched.CONVERGED).sum())
    if failed:
        named = ", ".join(f"{r} ({c})" for r, c in record.failures.items())
        warnings.warn(
            ConvergenceWarning(f"{failed} of {len(record)} refits failed: {named}."),
            stacklevel=3,
        )
    return record


def _resumed(resume: Bootstrap, task: Task, fresh: Bootstrap) -> Bootstrap:
    """A run to go on with, if it is one of the same replicates."""
    if not isinstance(resume, Bootstrap):
        raise OptionError(
            f"resume is of type {type(resume).__name__}.", "It must be a Bootstrap."
        )
    same = (
        resume.describes(fresh)
        and resume.seed == fresh.seed
        and np.array_equal(resume.estimates, fresh.estimates, equal_nan=True)
    )
    if not same:
        raise OptionError(
            "resume holds replicates of another model, kind or seed.",
            f"A run of kind {task.kind!r} with this seed was expected.",
            "Give the same seed, or put independent runs together with `a + b`.",
        )
    return resume


def _workers(workers: int | None, task: Task, n: int) -> int:
    cores = os.cpu_count() or 1
    if workers is None:
        given = process_count(None)
        if given > 1:
            return given
        few = not isinstance(task.fit, GLMMFit) or n < _MANY
        return 1 if few else cores
    whole = isinstance(workers, int | np.integer) and not isinstance(workers, bool)
    if not whole or (workers != -1 and not 1 <= workers <= _MOST_WORKERS):
        raise OptionError(
            f"workers is {workers!r}.",
            "A number of processes, or -1 for all processors, was expected.",
        )
    return cores if workers == -1 else int(workers)


def _refits(
    task: Task, first: int, stop: int, workers: int, progress: bool
) -> Generator[Refits]:
    """Refits in order, job after job."""
    alone = min(_ALONE, _NUMBERS // (len(task.fit.design.index) + 1))
    jobs = _jobs(first, stop, task.together, alone, workers)
    from tqdm.auto import tqdm

    with tqdm(
        total=stop,
        initial=first,
        desc="bootstrap",
        unit="fit",
        delay=_DELAY,
        disable=None if progress else True,
    ) as bar:
        if workers == 1:
            for a, b in jobs:
                yield run(task, a, b, bar.update)
            return
        tasks = ((task, a, b) for a, b in jobs)
        with closing(in_order(_quiet, tasks, workers)) as parts:
            for part in parts:
                bar.update(len(part))
                yield part


def _jobs(
    first: int, stop: int, together: int, alone: int, workers: int
) -> list[tuple[int, int]]:
    """Ranges of replicates, cut at multiples of what is done together."""
    # Alone, a block is drawn once and its symbolic work done once.
    size = max(alone, together)
    if workers > 1:
        size = min(size, -(-(stop - first) // (_TURNS * workers)))
        size = min(size, _APART) if together == 1 else size
    size = max(1, size // together) * together
    cuts = range(first // size * size, stop, size)
    return [(max(first, cut), min(cut + size, stop)) for cut in cuts]


def _quiet(task: Task, first: int, stop: int, tick: Tick | None = None) -> Refits:
    """`run` in another process, whose warnings would reach nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run(task, first, stop, tick)


__all__ = ["REASONS", "Bootstrap", "bootstrap"]
