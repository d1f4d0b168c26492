"""Whether one model is a special case of another.

The means of the smaller model must lie in those of the larger one: a question of
column spaces. Its covariances must be covariances of the larger model too. The part of
a random-effects term in the covariance of the response is linear in the covariance
matrix S of its effects, so that this is a system of linear equations in S, with the
condition that S be positive semidefinite. Two symmetric matrices are equal when their
quadratic forms are; as many random vectors as there are unknowns decide with
probability one, without a matrix of n by n (Schwartz 1980, J. ACM 27:701,
doi:10.1145/322217.322225, for polynomials).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.covariance.known import Known
from lme.engine.decompositions import find_dependent_columns
from lme.engine.relcov import spread
from lme.errors import OptionError
from lme.inference.comparison.candidates import (
    Candidate,
    Component,
    candidate,
)
from lme.inference.comparison.comparability import incomparable, on_the_same_rows

Array = NDArray[np.float64]

#: Structures whose covariances are the semidefinite matrices of a linear space.
LINEAR = ("us", "diag", "homdiag", "homcs", "homtoep")
#: For the same columns, the structures that contain a structure.
WIDER = {
    "homdiag": {"homcs", "homtoep", "cs", "toep", "hetar1", "ar1"},
    "diag": {"cs", "hetar1", "toep"},
    "homcs": {"cs", "homtoep", "toep"},
    "cs": {"toep"},
    "ar1": {"hetar1", "homtoep", "toep"},
    "hetar1": {"toep"},
    "homtoep": {"toep"},
}
#: Relative error of a linear equation, and of an eigenvalue, that rounding explains.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Nesting:
    """Whether a model is nested in another, and how.

    Attributes
    ----------
    reason : str
        Why it is not; empty where it is nested.
    interior : tuple of arrays or None
        For each component of the larger model a covariance (p, p), in the basis of the
        search, that is typical of the smaller one; None where a component was matched
        by the name of its structure.
    estimated : tuple of arrays
        For each component the covariance that the smaller model estimated.
    """

    reason: str = ""
    interior: tuple[Array | None, ...] = ()
    estimated: tuple[Array, ...] = ()

    def __bool__(self) -> bool:
        return not self.reason


def nesting(small: Candidate, large: Candidate) -> Nesting:
    """Whether `small` is a special case of `large`.

    Parameters
    ----------
    small, large : Candidate
        Of the same response.
    """
    reason = _means(small, large)
    lost = [term for term in small.residual if term not in large.residual]
    if lost:
        reason = f"the residual structure {lost[0]} is not in the larger model"
    if large.known_sigma not in (None, small.known_sigma):
        reason = "sigma is known in the larger model, and not the same in the smaller"
    if not set(large.held) <= set(small.held):
        reason = "elements of theta are held in the larger model alone"
    if reason:
        return Nesting(reason)
    zeros = [np.zeros((c.values.shape[1],) * 2) for c in large.components]
    interior: list[Array | None] = list(zeros)
    estimated = zeros
    for component in small.components:
        at = _by_structure(component, large.components)
        if at is not None:
            interior[at], estimated[at] = None, component.covariance
            continue
        parts = _by_equations(component, large.components)
        if parts is None:
            return Nesting(_why(component, large.components))
        for i, (typical, fitted) in enumerate(parts):
            if small.held:
                # What is held may be on the boundary of the larger model.
                typical = fitted
            old = interior[i]
            interior[i] = None if old is None else old + typical
            estimated[i] = estimated[i] + fitted
    return Nesting(interior=tuple(interior), estimated=tuple(estimated))


# --- means ----------------------------------------------------------------------------


def outside(X: Array, columns: Array) -> NDArray[np.intp]:
    """Which of `columns` (n, m) are not in the span of X (n, p) and of those before."""
    p = X.shape[1]
    dependent = find_dependent_columns(np.hstack([X, columns]))
    return np.setdiff1d(np.arange(columns.shape[1]), dependent - p)


def _means(small: Candidate, large: Candidate) -> str:
    extra = outside(large.X, small.X)
    if extra.size:
        names = ", ".join(small.names[i] for i in extra)
        many = extra.size > 1
        return (
            f"the fixed-effects column{'s' if many else ''} {names} of the smaller "
            f"model {'are no combinations' if many else 'is no combination'} of those "
            "of the larger one"
        )
    shift = small.offset - large.offset
    if shift.any() and outside(large.X, shift[:, None]).size:
        return "the models have different offsets"
    return ""


# --- covariances ----------------------------------------------------------------------


def _by_structure(small: Component, large: Sequence[Component]) -> int | None:
    """A component with the same effects, and a structure that contains this one."""
    wider = {small.structure} | WIDER.get(small.structure, set())
    for i, other in enumerate(large):
        # Two linear structures are left to the equations, which say more.
        linear = {small.structure, other.structure} <= set(LINEAR)
        if (
            other.structure in wider
            and not linear
            and same_relation(small.known, other.known)
            and other.values.shape == small.values.shape
            and np.allclose(other.values, small.values)
            and same_partition(small.codes, other.codes)
        ):
            return i
    return None


def same_relation(one: Known | None, other: Known | None) -> bool:
    """Whether the levels of two factors depend on one another alike."""
    if one is None or other is None or one is other:
        return one is other
    probe = np.linspace(1.0, 2.0, one.levels)
    return one.levels == other.levels and bool(
        np.allclose(one.spread(probe), other.spread(probe))
    )


def same_partition(one: NDArray[np.intp], other: NDArray[np.intp]) -> bool:
    """Whether two factors group the rows alike."""
    return refines(one, other) and refines(other, one)


def refines(fine: NDArray[np.intp], coarse: NDArray[np.intp]) -> bool:
    """Whether each level of `fine` lies within one level of `coarse`."""
    first = np.zeros(int(fine.max(initial=0)) + 1, dtype=np.intp)
    first[fine] = coarse
    return bool((first[fine] == coarse).all())


def space(structure: str, p: int) -> Array:
    """A basis of the linear space of a structure's covariances, (m, p, p)."""
    if structure == "diag":
        return np.array([np.diag(row) for row in np.eye(p)])
    if structure == "homdiag":
        return np.eye(p)[None]
    if structure == "homcs":
        return np.array([np.eye(p), 1.0 - np.eye(p)])[: min(p, 2)]
    distance = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    if structure == "homtoep":
        return np.array([(distance == lag).astype(float) for lag in range(p)])
    found = []
    for a in range(p):
        for b in range(a + 1):
            unit = np.zeros((p, p))
            unit[a, b] = unit[b, a] = 1.0
            found.append(unit)
    return np.array(found)


def _external(component: Component, basis: Array) -> Array:
    """Matrices for the user's columns in the basis of the search."""
    if component.structure in ("us", "diag"):
        # Spaces that any, or any diagonal, change of basis leaves as they are.
        return basis
    inverse = np.linalg.inv(component.basis)
    return np.asarray(inverse @ basis @ inverse.T, dtype=np.float64)


def covariance_space(component: Component) -> Array:
    """A basis of the covariances of a component, in the basis of the search."""
    structure = component.structure if component.structure in LINEAR else "us"
    p = component.values.shape[1]
    if structure != component.structure:
        return space("us", p)
    return _external(component, space(structure, p))


def _forms(component: Component, basis: Array, probes: Array) -> Array:
    """``w' Z B Z' w`` for probes (L, n) and basis matrices (m, p, p), (L, m)."""
    n, p = component.values.shape
    sums = np.empty((p, component.levels, len(probes)))
    for a in range(p):
        Zt = sparse.csr_matrix(
            (component.values[:, a], (component.codes, np.arange(n))),
            shape=(component.levels, n),
        )
        sums[a] = np.asarray(Zt @ probes.T)
    related = np.moveaxis(sums, 0, 1)
    related = np.moveaxis(spread(component.known, related), 1, 0)
    moments = np.einsum("alw,blw->wab", sums, related)
    return np.asarray(np.einsum("wab,mab->wm", moments, basis))


def _by_equations(
    small: Component, large: Sequence[Component]
) -> list[tuple[Array, Array]] | None:
    """Covariances of `large` that equal those of `small`; None if there are none.

    Returns
    -------
    list of pairs of (p, p) arrays
        For each component of `large` a typical and the estimated covariance.
    """
    # Those of patterned structures have no linear equations.
    usable = [i for i, other in enumerate(large) if other.structure in LINEAR]
    wanted = covariance_space(small)
    unknowns = [covariance_space(large[i]) for i in usable]
    sizes = [len(u) for u in unknowns]
    if not usable:
        return None
    rng = np.random.default_rng(20_04)
    probes = rng.standard_normal((2 * sum(sizes) + 10, small.codes.size))
    F = np.hstack(
        [_forms(large[i], u, probes) for i, u in zip(usable, unknowns, strict=True)]
    )
    right = _forms(small, wanted, probes)
    scale = np.sqrt((F**2).sum(axis=0))
    scale[scale == 0.0] = 1.0
    solved = np.linalg.lstsq(F / scale, right, rcond=1e-10)[0]
    left = np.linalg.norm(F / scale @ solved - right, axis=0)
    if (left > TOLERANCE * np.linalg.norm(right, axis=0)).any():
        return None
    parts = np.split(solved / scale[:, None], np.cumsum(sizes)[:-1])
    maps = [
        np.einsum("mab,mk->kab", u, s) for u, s in zip(unknowns, parts, strict=True)
    ]
    for member in _members(small, wanted, rng):
        images = [np.linalg.eigvalsh(np.tensordot(member, one, 1)) for one in maps]
        largest = max(float(values.max()) for values in images)
        if any(values.min() < -TOLERANCE * largest for values in images):
            return None
    inner = _members(small, wanted, rng)[0]
    fitted = in_basis(wanted, small.covariance)
    zeros = [np.zeros((other.values.shape[1],) * 2) for other in large]
    out = [(zero, zero) for zero in zeros]
    for i, one in zip(usable, maps, strict=True):
        both = np.einsum("rk,kab->rab", np.array([inner, fitted]), one)
        out[i] = both[0], both[1]
    return out


def in_basis(basis: Array, matrix: Array) -> Array:
    """Of a matrix in a basis (m, p, p), by least squares."""
    flat = basis.reshape(len(basis), -1).T
    return np.asarray(np.linalg.lstsq(flat, matrix.ravel(), rcond=None)[0], dtype=float)


def _members(
    component: Component, basis: Array, rng: np.random.Generator
) -> list[Array]:
    """Coefficients of covariances of a component: an inner one, then extreme ones."""
    p = component.values.shape[1]
    inner = rng.standard_normal((p, p))
    matrices = [inner @ inner.T + np.eye(p)]
    if component.structure.startswith("hom"):
        matrices = [np.eye(p)]
        if component.structure == "homcs":
            matrices += [np.ones((p, p)), p * np.eye(p) - np.ones((p, p))]
        elif component.structure == "homtoep":
            lags = np.subtract.outer(np.arange(p), np.arange(p))
            matrices += [np.cos(w * lags) for w in np.linspace(0.0, np.pi, 2 * p)]
        matrices = list(_external(component, np.array(matrices)))
    else:
        vectors = [*np.eye(p), *rng.standard_normal((2 * p, p))]
        matrices += [np.outer(v, v) for v in vectors]
        if component.structure == "diag":
            matrices = [np.diag(m.diagonal()) for m in matrices[: p + 1]]
    return [in_basis(basis, m) for m in matrices]


# --- words ----------------------------------------------------------------------------


def _why(small: Component, large: Sequence[Component]) -> str:
    """Why a term has no place in the larger model, as well as can be told."""
    start = f"the random-effects term {small.text} of the smaller model"
    if not large:
        return f"{start} has no place in the larger one, which has no random effects"
    grouped = [other for other in large if refines(small.codes, other.codes)]
    if not grouped:
        terms = " + ".join(other.text for other in large)
        return f"{start} has no place in {terms}: no term there groups by {small.group}"
    terms = " + ".join(other.text for other in grouped)
    same = [o for o in grouped if same_partition(small.codes, o.codes)]
    if same:
        extra = outside(np.hstack([o.values for o in same]), small.values)
        if extra.size:
            names = ", ".join(small.columns[i] for i in extra)
            return (
                f"{start} has the column{'s' if extra.size > 1 else ''} {names}, "
                f"which those of {terms} do not make up"
            )
        return f"{start} allows covariances that {terms} does not"
    return f"{start} is no special case of {terms}"


def is_nested(small: Any, large: Any) -> bool:
    """Whether a model, or a grouping factor, is nested in another.

    Parameters
    ----------
    small, large : results, or array_like of shape (n,)
        Two fitted models (`small` may be a result of statsmodels, as in `anova`), or
        two grouping factors, one value a row.

    Returns
    -------
    bool
        For models: whether `small` has the response, weights, family and link of
        `large`, means in the column space of its fixed effects, and random-effects
        terms that are special cases of its own. Fitted values play no part. For
        factors: whether each level of `small` occurs within one level of `large`, as
        lme4's ``isNested``.

    Raises
    ------
    OptionError
        For anything else, or factors of different lengths.

    Examples
    --------
    >>> import lme
    >>> pastes = lme.datasets.load("Pastes")
    >>> is_nested(pastes["sample"], pastes["batch"])
    True
    >>> small = lme.lmer("strength ~ 1 + (1 | sample)", pastes).fit()
    >>> large = lme.lmer("strength ~ 1 + (1 | sample) + (1 | batch)", pastes).fit()
    >>> is_nested(small, large), is_nested(large, small)
    (True, False)
    """
    # Results have a model, records a theta, and models that are not fitted a fit.
    marks = ("model", "theta", "fit")
    models = [any(hasattr(x, mark) for mark in marks) for x in (small, large)]
    if any(models):
        pair = on_the_same_rows([candidate(small), candidate(large)])
        return not incomparable(*pair) and bool(nesting(*pair))
    return refines(*_factor_codes(small, large))


def _factor_codes(small: Any, large: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    pair = [np.asarray(x) for x in (small, large)]
    if any(x.ndim != 1 for x in pair) or pair[0].size != pair[1].size:
        raise OptionError(
            f"The arguments have the shapes {pair[0].shape} and {pair[1].shape}.",
            "is_nested takes two fitted models, or two factors of one length.",
        )
    one, other = (np.unique(x.astype(str), return_inverse=True)[1] for x in pair)
    return one.astype(np.intp), other.astype(np.intp)
