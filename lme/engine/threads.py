"""One BLAS thread where several would wait for each other.

OpenBLAS starts threads for some routines (``dpotri``, ``dpotrs``) however small the
matrix, and for products from some dozen columns on. Up to about a thousand columns the
waiting costs more than they save: a factor of two on a quiet machine and of a thousand
on a busy one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

from threadpoolctl import ThreadpoolController

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
    if columns >= _COLUMNS or columns == 0:
        return nullcontext()
    context: AbstractContextManager[object] = _controller().limit(limits=1)
    return context
