"""One BLAS thread where several would wait for each other.

OpenBLAS starts threads for some routines (``dpotri``, ``dpotrs``) however small the
matrix, and for products from some dozen columns on. Up to about a thousand columns the
waiting costs more than they save: a factor of two on a quiet machine and of a thousand
on a busy one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TypeVar, cast

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
    return _ONE


class _OneThread:
    """A limit of one BLAS thread that several of ours may be under at once.

    The limit is the process's. The first to enter sets it and the last to leave takes
    it away; each on its own would give back what another one had set.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.limit: AbstractContextManager[object] = nullcontext()

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.limit = _controller().limit(limits=1)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.limit.__exit__(None, None, None)


_ONE = _OneThread()
if hasattr(os, "register_at_fork"):
    # Another thread may hold the lock, and is not there in the child.
    os.register_at_fork(after_in_child=lambda: setattr(_ONE, "lock", threading.Lock()))


def own(record: object, make: Callable[[], T]) -> T:
    """What `make` gives, once for each thread that asks `record` for it.

    A kernel holds its last factorization, so that threads cannot share it.
    """
    store = record.__dict__.setdefault("_own", threading.local())
    if not hasattr(store, "value"):
        store.value = make()
    return cast(T, store.value)
