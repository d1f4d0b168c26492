"""One BLAS thread for problems of middle size.

Matrix products of a few hundred columns are handed to several threads by OpenBLAS, and
waiting for each other costs more than they save: up to ten times on a busy machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

from threadpoolctl import ThreadpoolController

#: Multiply-adds of an evaluation from which OpenBLAS would use threads at all.
_FROM = 1_000_000
#: Dense columns from which threads pay.
_COLUMNS = 1_000


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
    work = columns * columns * sum(sizes)
    if columns >= _COLUMNS or work < _FROM:
        return nullcontext()
    context: AbstractContextManager[object] = _controller().limit(limits=1)
    return context
