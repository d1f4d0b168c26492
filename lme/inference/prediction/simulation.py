"""New responses from a fitted model.

Replicates are drawn in blocks, and block ``i`` has the ``i``-th child of the seed as
its own, so that the numbers depend on neither the order of the blocks nor the number
of workers. A replicate is also the same whatever the number of those after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.covariance.known import Known
from lme.errors import DataError, DataTypeError, OptionError
from lme.families.base import Family
from lme.generalized import GLMMFit
from lme.inference.prediction.conditional_means import linear_predictor
from lme.inference.prediction.rows import selected_effects
from lme.inference.working import MixedFit, log_extra
from lme.residual.chain import Chain

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

BLOCK = 128
"""Largest number of replicates in a block."""
_NUMBERS = 2**22  # of a block: 32 MB


def _no_keys() -> NDArray[np.uint64]:
    return np.zeros(0, dtype=np.uint64)


@dataclass(frozen=True)
class Effects:
    """Random effects that are drawn: independent normal vectors, one a level.

    Attributes
    ----------
    codes : (n,) intp
        Level of each row, from 0.
    values : (n, p) array
        Columns that the effects multiply.
    levels : int
    factor : (p, p) array
        ``b = factor z`` with standard normal z, on the standard-deviation scale.
    known : Known or None
        Covariance between the first of the levels; the others are independent.
    keys : (levels,) uint64
        By which levels are known in other parts of the data; empty where not wanted.
    """

    codes: Codes
    values: Array
    levels: int
    factor: Array
    known: Known | None = None
    keys: NDArray[np.uint64] = field(default_factory=_no_keys, repr=False)


@dataclass(frozen=True)
class Mechanism:
    """What responses are drawn from.

    Attributes
    ----------
    eta : (n,) array
        Known part of the linear predictor.
    effects : tuple of Effects
    deviations : (n,) array or float
        Residual standard deviations of a linear model.
    family : Family or None
        Distribution of a generalized model.
    weights : (n,) array or None
        Its prior weights.
    extra : float
        Logarithm of its dispersion or theta.
    chain : Chain or None
        Correlation of the residuals of a linear model.
    """

    eta: Array
    effects: tuple[Effects, ...]
    deviations: Array | float = 0.0
    family: Family | None = None
    weights: Array | None = None
    extra: float = 0.0
    chain: Chain | None = None

    @property
    def q(self) -> int:
        """Number of random effects that are drawn."""
        return sum(e.levels * e.factor.shape[1] for e in self.effects)

    @property
    def block(self) -> int:
        """Replicates in a block: fewer where rows are many, to bound its memory."""
        # What is conditioned on must not change it, or the blocks would differ.
        return int(np.clip(_NUMBERS // (self.eta.size + 1), 1, BLOCK))


def seed_sequence(seed: Any = None) -> np.random.SeedSequence:
    """The seed as a sequence that has children.

    Parameters
    ----------
    seed : int, sequence of int, SeedSequence, Generator or None
        A generator gives one integer, and so moves on; None is fresh entropy.

    Raises
    ------
    DataTypeError, OptionError
        For anything else, and for negative numbers.
    """
    if isinstance(seed, np.random.SeedSequence):
        return seed
    if isinstance(seed, np.random.Generator):
        return np.random.SeedSequence(int(seed.integers(2**63)))
    try:
        return np.random.SeedSequence(seed)
    except TypeError:
        raise DataTypeError(
            f"seed is of type {type(seed).__name__}.",
            "It must be an integer, a numpy Generator or SeedSequence, or None.",
        ) from None
    except ValueError:
        raise OptionError(f"seed is {seed!r}.", "It must not be negative.") from None


def child(seed: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """The i-th child of a seed; the seed stays as it is, unlike with ``spawn``."""
    return np.random.SeedSequence(
        seed.entropy, spawn_key=(*seed.spawn_key, i), pool_size=seed.pool_size
    )


def count_of(n: Any) -> int:
    """A number of replicates.

    Raises
    ------
    OptionError
        If it is not a whole number from 1.
    """
    if isinstance(n, bool | np.bool_) or not isinstance(n, int | np.integer) or n < 1:
        raise OptionError(
            f"n is {n!r}.", "The number of replicates is a whole number from 1."
        )
    return int(n)


def simulate_responses(
    fit: MixedFit, n: int, seed: Any = None, *, re_form: str = "none"
) -> Array:
    """Responses drawn from the fitted model, for the rows of the fit.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    n : int
        Number of replicates.
    seed : int, Generator, SeedSequence or None
        The same seed gives the same numbers.
    re_form : str
        Random effects that are kept at their conditional modes; the others are drawn
        anew. "none" (default) draws all, "all" keeps all, a formula such as
        ``"~ (1 | g)"`` keeps those that it names.

    Returns
    -------
    ndarray, shape (n, nobs)
        A row a replicate, in the form of ``design.y``: proportions for a binomial
        family. Rows drop out in no replicate, and prior weights are those of the fit.

    Notes
    -----
    Linear model: ``y = X beta + Z b + e`` with ``b = sigma Lambda z`` and
    ``e ~ N(0, sigma^2 / w)``. Generalized: ``b = Lambda z`` and then the family at the
    mean. Parameters are taken as known: the replicates vary less than predictions do.
    """
    mechanism = mechanism_of(fit, re_form)
    return draws(mechanism, count_of(n), seed)


def blocks(
    fit: MixedFit, n: int, seed: Any = None
) -> Iterator[tuple[np.random.SeedSequence, int]]:
    """Seed and number of replicates of each block, for `draw_block`.

    ``np.vstack([draw_block(fit, *block) for block in blocks(fit, n, seed)])`` is
    ``simulate_responses(fit, n, seed)``.
    """
    return _blocks(mechanism_of(fit, "none").block, count_of(n), seed)


def _blocks(
    size: int, n: int, seed: Any
) -> Iterator[tuple[np.random.SeedSequence, int]]:
    parent = seed_sequence(seed)
    for i, first in enumerate(range(0, n, size)):
        yield child(parent, i), min(size, n - first)


def draw_block(
    fit: MixedFit,
    seed: np.random.SeedSequence,
    count: int,
    re_form: str = "none",
) -> Array:
    """One block of replicates, shape (count, nobs); see `simulate_responses`."""
    return draw(mechanism_of(fit, re_form), seed, count)


def draws(mechanism: Mechanism, n: int, seed: Any) -> Array:
    """Replicates of a mechanism, block after block, shape (n, rows)."""
    try:
        out = np.empty((n, mechanism.eta.size))
    except ValueError:  # beyond what an array may have, memory aside
        raise OptionError(
            f"n={n} replicates cannot be held.", "Expected a smaller number."
        ) from None
    first = 0
    for one, count in _blocks(mechanism.block, n, seed):
        out[first : first + count] = draw(mechanism, one, count)
        first += count
    return out


def draw(mechanism: Mechanism, seed: np.random.SeedSequence, count: int) -> Array:
    """One block of replicates, shape (count, rows)."""
    rng = np.random.default_rng(seed)
    if mechanism.family is None:
        # One row of the array is one replicate: those after it do not change it.
        numbers = rng.standard_normal((count, mechanism.q + mechanism.eta.size))
        out = numbers[:, mechanism.q :]
        if mechanism.chain is not None:
            out = np.ascontiguousarray(mechanism.chain.colour(out.T).T)
        out *= mechanism.deviations
        out += mechanism.eta
        add_effects(mechanism, numbers[:, : mechanism.q], out)
        return np.ascontiguousarray(out)
    out = np.empty((count, mechanism.eta.size))
    for row in out:
        row[:] = mechanism.eta
        add_effects(mechanism, rng.standard_normal((1, mechanism.q)), row[None, :])
        row[:] = respond(mechanism, mechanism.family, rng, row)
    return out


def add_effects(mechanism: Mechanism, numbers: Array, out: Array) -> None:
    """Add ``Z b`` to the rows of `out` (count, n), from standard normal numbers."""
    first = 0
    for part in mechanism.effects:
        rank = part.factor.shape[1]
        last = first + part.levels * rank
        spherical = numbers[:, first:last].reshape(len(numbers), part.levels, rank)
        if part.known is not None:
            spherical = _related(part.known, spherical)
        modes = spherical @ part.factor.T
        for j in range(part.values.shape[1]):
            out += np.take(modes[:, :, j], part.codes, axis=1) * part.values[:, j]
        first = last


def _related(known: Known, spherical: Array) -> Array:
    """Effects (count, levels, rank) with a known covariance between the levels."""
    first = np.moveaxis(spherical[:, : known.levels], 1, 0)
    related = np.moveaxis(known.colour(np.ascontiguousarray(first)), 0, 1)
    # Levels that it does not have are taken as unrelated, of the mean variance.
    others = np.sqrt(known.scale) * spherical[:, known.levels :]
    return np.concatenate([related, others], axis=1)


def respond(
    mechanism: Mechanism, family: Family, rng: np.random.Generator, eta: Array
) -> Array:
    """Responses at a linear predictor, NaN where it is."""
    known, weights = np.isfinite(eta), mechanism.weights
    if weights is not None:
        known &= np.isfinite(weights)
        weights = weights[known]
    with np.errstate(over="ignore"):
        mean = family.mean(eta[known])
    try:
        drawn = family.draw(rng, mean, weights, mechanism.extra)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"The {family.name} family cannot draw responses with means from"
            f" {mean.min():.6g} to {mean.max():.6g}.",
            f"With the link {family.link.name!r} random effects of this size lead out"
            " of its range.",
            "Use another link, such as 'log', or smaller random effects.",
        ) from error
    if known.all():
        return drawn
    out = np.full(eta.shape, np.nan)
    out[known] = drawn
    return out


def mechanism_of(fit: MixedFit, re_form: str = "none") -> Mechanism:
    """The mechanism of a fitted model, for the rows of the fit.

    Parameters
    ----------
    fit : Fit or GLMMFit
    re_form : str
        What is kept; see `simulate_responses`.
    """
    kept = selected_effects(fit, re_form)
    eta = linear_predictor(fit, kept)
    effects = []
    for k, term in enumerate(fit.design.terms):
        factor = drawn_factor(fit, k, kept.get(k, ()))
        if factor is None:
            continue
        levels = len(term.levels)
        effects.append(Effects(term.codes, term.values, levels, factor, term.known))
    found = responding(fit, eta, tuple(effects), fit.design.weights)
    if isinstance(fit, GLMMFit):
        return found
    return replace(found, chain=fit.problem.chain)


def drawn_factor(fit: MixedFit, k: int, kept: tuple[int, ...]) -> Array | None:
    """Factor of the covariance of the columns of term `k` that are drawn, (p, p).

    Rows of the columns that are kept are zero: the others have their marginal
    distribution. None where nothing is left to draw.
    """
    p = fit.lambdas[k].shape[0]
    if len(kept) == p:
        return None
    factor = fit.sigma * fit.lambdas[k]
    factor[list(kept)] = 0.0
    return factor


def responding(
    fit: MixedFit, eta: Array, effects: tuple[Effects, ...], weights: Array | None
) -> Mechanism:
    """A mechanism with the residuals or the family of a fit."""
    if isinstance(fit, GLMMFit):
        extra = log_extra(fit)
        return Mechanism(eta, effects, family=fit.family, weights=weights, extra=extra)
    deviations = np.full(eta.size, fit.sigma)
    if weights is not None:
        deviations /= np.sqrt(weights)
    return Mechanism(eta, effects, deviations)
