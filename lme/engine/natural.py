"""Bases of a random-effects term in which one standard deviation or correlation shows.

In the factor ``L`` of a term's relative covariance the first diagonal entry is the
standard deviation of the first effect, and the second row is that of the second effect
along and across the first. With the effect (or two) of interest in front, fixing its
standard deviation (or their correlation) fixes one entry (or a ratio of two), and the
search stays as free of bounds as that of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lme.covariance import Structure
from lme.covariance.linear import Unstructured
from lme.engine.relcov import Slot, Template, lower_factor

Array = NDArray[np.float64]


class Leading(Unstructured):
    """An unstructured covariance with chosen effects in front.

    Parameters
    ----------
    turn : (p, p) array
        Random effects of the engine's basis from those of this one: the factor is
        ``turn @ L`` with L the lower triangle that the parameters fill.
    """

    basis = "none"

    def __init__(self, turn: Array) -> None:
        self.turn = turn
        self._inverse = np.linalg.inv(turn)

    def factor(self, theta: Array, p: int) -> Array:
        """The factor ``turn @ L``, shape (p, p)."""
        return np.asarray(self.turn @ super().factor(theta, p))

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i``, shape (size, p, p); constant."""
        return np.asarray(self.turn @ super().jacobian(theta, p))

    def pack(self, factor: Array) -> Array:
        """The entries of L with ``turn L L' turn' = factor factor'``, signs >= 0."""
        return super().pack(lower_factor(self._inverse @ factor)[0])


def leading_basis(slot: Slot, rows: Sequence[int]) -> tuple[Array, Array]:
    """A basis whose first effects are those of the user's columns `rows`.

    Parameters
    ----------
    slot : Slot
    rows : sequence of int
        One or two of the term's columns.

    Returns
    -------
    turn : (p, p) array
        Effects in the engine's basis from those in the new one.
    sizes : (len(rows),) array
        The user's effect is ``sizes`` times the new one.

    Notes
    -----
    The other effects are orthonormal combinations of the engine's, orthogonal to
    `rows`: one column in front is a mere rotation, so that the search keeps the
    engine's good scaling.
    """
    lead = slot.basis[list(rows)]
    sizes = np.sqrt((lead**2).sum(axis=1))
    Q, _ = np.linalg.qr(lead.T, mode="complete")
    full = np.vstack([lead / sizes[:, None], Q[:, len(rows) :].T])
    return np.asarray(np.linalg.inv(full), dtype=np.float64), sizes


def with_structure(template: Template, number: int, structure: Structure) -> Template:
    """The template with another structure of equal size for one term."""
    slots = list(template.slots)
    slots[number] = replace(slots[number], structure=structure)
    return replace(template, slots=tuple(slots))


def moved(template: Template, other: Template, theta: Array) -> Array:
    """Parameters under `other` of the covariance that `theta` has under `template`."""
    out = np.empty(other.size)
    for old, new in zip(template.slots, other.slots, strict=True):
        p = old.columns.stop - old.columns.start
        if old.structure is new.structure:
            out[new.theta] = theta[old.theta]
        else:
            block = old.structure.factor(theta[old.theta], p)
            out[new.theta] = new.structure.pack(block)
    return out


def relative_covariances(template: Template, lambdas: Sequence[Array]) -> list[Array]:
    """Per term ``(T lambda)(T lambda)'`` in the user's columns, (p, p)."""
    out = []
    for slot in template.slots:
        half = slot.basis @ lambdas[slot.factor][slot.columns, slot.columns]
        out.append(half @ half.T)
    return out
