"""Which kernel factors a model.

The block elimination needs time in the cube of the columns that it leaves dense, the
sparse factorization by what fills in. The times below were measured on one core at
about 30 billion operations a second; only their ratio matters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from lme.engine.blocked import Blocked, plan
from lme.engine.cholmod import Cholmod, available
from lme.engine.crossproducts import CrossProducts
from lme.engine.kernel import Kernel
from lme.errors import OptionError, near

KERNELS: dict[str, Callable[[CrossProducts], Kernel]] = {
    "blocked": Blocked,
    "cholmod": Cholmod,
}

#: Dense columns from which a look at the sparse factorization pays.
_LOOK_FROM = 1200
#: Share of pairs of dense columns met by one level above which all is filled anyway.
_FILLED = 0.3
#: Columns of which that share is estimated.
_SAMPLE = 64

#: Dense columns, and share of linked pairs, where missing scikit-sparse is regretted.
_ADVISE_FROM, _ADVISE_BELOW = 2500, 0.1

_MISSING = "The kernel 'cholmod' needs scikit-sparse, which cannot be imported."
_INSTALL = "Install it with `pip install statsmodels-lme[cholmod]`"
_ADVICE = (
    "{m:,} random effects are treated as a dense matrix, although few of them are "
    "linked; scikit-sparse would probably fit this model faster and in less memory. "
    f"{_INSTALL}."
)


def choose(cross: CrossProducts, name: str = "auto") -> tuple[Kernel, str]:
    """A kernel for the cross-products, and advice where another would gain.

    Parameters
    ----------
    cross : CrossProducts
    name : str
        A row of `KERNELS`, or "auto" for the one that should be faster.

    Returns
    -------
    kernel : Kernel
    advice : str
        Text for a `PerformanceWarning`; empty when there is nothing to say.

    Raises
    ------
    OptionError
        If there is no such kernel, or scikit-sparse is missing.
    """
    if not isinstance(name, str) or name != "auto":
        if not isinstance(name, str) or name not in KERNELS:
            raise OptionError(
                f"Unknown kernel {name!r}.",
                f"The kernels are auto, {', '.join(KERNELS)}.",
                near(str(name), ["auto", *KERNELS]),
            )
        if name == "cholmod" and not available():
            raise OptionError(_MISSING, "", f"{_INSTALL}, or take kernel='auto'.")
        return KERNELS[name](cross), ""
    if not cross.known and _settled(cross):
        return Blocked(cross), ""
    chain, rest = plan(cross)
    m = sum(cross.sizes[g] for g in rest)
    if m < _LOOK_FROM:
        return Blocked(cross), ""
    if cross.known:
        # A dense covariance is dense work; a sparse precision is made for the other.
        relations = [known for known in cross.known if known is not None]
        if available() and all(known.is_sparse for known in relations):
            return Cholmod(cross), ""
        return Blocked(cross), ""
    share = linked(cross, chain[0], rest)
    if share > _FILLED:
        return Blocked(cross), ""
    if not available():
        large = m >= _ADVISE_FROM and share < _ADVISE_BELOW
        return Blocked(cross), _ADVICE.format(m=m) if large else ""
    candidate = Cholmod(cross)
    if sparse_seconds(candidate) < 0.7 * blocked_seconds(m):
        return candidate, ""
    return Blocked(cross), ""


def _settled(cross: CrossProducts) -> bool:
    """Whether there is nothing to look at, as in most models."""
    return sum(cross.sizes) - max(cross.sizes) < _LOOK_FROM


def linked(cross: CrossProducts, first: int, rest: list[int]) -> float:
    """Estimated share of pairs of levels in `rest` that a level of `first` links.

    Parameters
    ----------
    cross : CrossProducts
    first : int
        The factor that is eliminated.
    rest : list of int
        The factors whose levels it links.
    """
    parts = []
    for g in rest:
        pair = cross.between(first, g)
        ones = np.ones(pair.rows.size, dtype=bool)
        parts.append(sparse.csr_array((ones, (pair.rows, pair.cols)), shape=pair.shape))
    meets = sparse.hstack(parts, format="csc")
    levels = int(meets.shape[1])
    # Evenly spaced columns: a random sample would make the choice depend on chance.
    sample = np.unique(np.linspace(0, levels - 1, _SAMPLE).astype(np.intp))
    found = meets[:, sample].T @ meets
    return float(found.nnz) / (sample.size * levels)


def blocked_seconds(m: int) -> float:
    """Rough time of one value and gradient by `Blocked` with m dense columns."""
    size = float(m)
    return 2.8e-11 * size**3 + 1e-8 * size**2


def sparse_seconds(kernel: Cholmod) -> float:
    """Rough time of one value and gradient by `Cholmod`."""
    q = sum(kernel.cross.sizes)
    cost = kernel.cost
    return 0.02 + 1e-6 * q + 1e-7 * cost.entries + 2.2e-10 * cost.flops
