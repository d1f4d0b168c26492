"""One BLAS thread where several would wait for each other.

OpenBLAS starts threads for some routines (``dpotri``, ``dpotrs``) however small the
matrix, and for products from some dozen columns on. Up to about a thousand columns the
waiting costs more than they save: a factor of two on a quiet machine and of a thousand
on a busy one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar, cast

from threadpoolctl import ThreadpoolController

#: Dense columns from which threads pay.
_COLUMNS = 1_000


T = TypeVar("T")


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def suited_threads(sizes: Sequence[int]) -> AbstractContextManager[object]:
    """Context in which linear algebra for factors of these sizes is quick.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of random effects of the grouping factors.
    """
    columns = sum(sizes) - max(sizes)
    if columns >= _COLUMNS or columns == 0:
        return nullcontext()
    return _OneThread()


class _State:
    """The limit of the process, and who is under it.

    Attributes
    ----------
    lock : RLock
        Reentrant, as a collection of garbage inside may end another limit.
    inside : set of int
        The limits that hold.
    before : list of int or None
        Threads of each library without a limit; None while there is none.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.inside: set[int] = set()
        self.before: list[int] | None = None


_STATE = _State()


def _counts(libraries: Iterable[Any]) -> list[int]:
    # In Python 3.12 an interrupt amid a list inside a `with` can pass its end.
    return [library.num_threads for library in libraries]


class _OneThread:
    """A limit of one BLAS thread that several of ours may be under at once.

    The limit is the process's. The first to enter sets it and the last to leave takes
    it away; each on its own would give back what another one had set. Ctrl-C may come
    amid both, and before the first line of both: what was known before is noted before
    anything is set, and a limit that was not left is left when it is deleted.
    """

    left = True

    def __enter__(self) -> None:
        self.left = False
        with _STATE.lock:
            libraries = _controller().lib_controllers
            if not _STATE.inside:
                if _STATE.before is None:
                    _STATE.before = _counts(libraries)
                for library in libraries:
                    library.set_num_threads(1)
            _STATE.inside.add(id(self))

    def __exit__(self, *_: object) -> None:
        with _STATE.lock:
            _STATE.inside.discard(id(self))
            if not _STATE.inside and _STATE.before is not None:
                libraries = _controller().lib_controllers
                for library, count in zip(libraries, _STATE.before, strict=True):
                    library.set_num_threads(count)
                _STATE.before = None
        self.left = True

    def __del__(self) -> None:
        if not self.left:
            self.__exit__()


if hasattr(os, "register_at_fork"):
    # Another thread may hold the lock, and is not there in the child.
    os.register_at_fork(
        after_in_child=lambda: setattr(_STATE, "lock", threading.RLock())
    )


def own(record: object, make: Callable[[], T]) -> T:
    """What `make` gives, once for each thread that asks `record` for it.

    A kernel holds its last factorization, so that threads cannot share it.
    """
    store = record.__dict__.setdefault("_own", threading.local())
    if not hasattr(store, "value"):
        store.value = make()
    return cast(T, store.value)
