"""Orders of the effects in which a nearly singular covariance has a regular factor.

A lower-triangular factor with a small number on its diagonal and larger ones below or
after it can turn the later columns into one another and hardly change the covariance:
the criterion has a flat, curved valley, on whose floor a search seems to have
converged. With the effects in the order of a pivoted Cholesky decomposition the small
numbers stand last, where they are regular.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lme.covariance.linear import Unstructured
from lme.engine.relcov import Template, lower_factor

Array = NDArray[np.float64]

#: Pivots below this share of the largest that remains ask for another order.
_SMALL = 0.02


class Pivoted(Unstructured):
    """Any covariance, its factor triangular when the effects stand in `order`.

    Parameters
    ----------
    order : sequence of int
        The effect of each row of the triangle.
    """

    def __init__(self, order: NDArray[np.intp]) -> None:
        self.order = order

    def factor(self, theta: Array, p: int) -> Array:
        """The factor ``lambda`` in the order of the effects, (p, p)."""
        factor = np.empty((p, p))
        factor[self.order] = super().factor(theta, p)
        return factor

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i``, shape (size, p, p); constant."""
        jacobian = np.empty((theta.size, p, p))
        jacobian[:, self.order] = super().jacobian(theta, p)
        return jacobian

    def pack(self, factor: Array) -> Array:
        """The parameters of the covariance that `factor` gives."""
        return super().pack(lower_factor(factor[self.order])[0])


def pivot_order(factor: Array) -> NDArray[np.intp] | None:
    """Order of a pivoted Cholesky decomposition; None where the present one will do.

    Parameters
    ----------
    factor : (p, p) array
        Any factor of the covariance whose rows stand in the present order.
    """
    p = len(factor)
    lower, _ = lower_factor(factor)
    # Row sums of squares from column j on: variances that the first j leave.
    left = np.cumsum(lower[:, ::-1] ** 2, axis=1)[:, ::-1]
    most = np.array([left[j:, j].max() for j in range(p)])
    if (lower.diagonal() ** 2 >= _SMALL**2 * most).all():
        return None
    remaining, order = factor @ factor.T, np.arange(p)
    for j in range(p - 1):
        swap = np.arange(p)
        best = j + int(np.argmax(remaining.diagonal()[j:]))
        swap[[j, best]] = best, j
        order, remaining = order[swap], remaining[np.ix_(swap, swap)]
        if not remaining[j, j] > 0.0:
            break
        column = remaining[:, j]
        remaining = remaining - np.outer(column, column) / remaining[j, j]
    return order


def pivoted(template: Template, theta: Array) -> tuple[Template, Array] | None:
    """Template and parameters in regular orders; None where they are regular.

    Parameters
    ----------
    template : Template
    theta : (k,) array
        In the internal basis.
    """
    slots, out = list(template.slots), theta.copy()
    for number, slot in enumerate(slots):
        p = slot.columns.stop - slot.columns.start
        if p == 1 or not isinstance(slot.structure, Unstructured):
            continue
        factor = slot.structure.factor(theta[slot.theta], p)
        present = getattr(slot.structure, "order", np.arange(p))
        order = pivot_order(factor[present])
        if order is not None:
            structure = Pivoted(present[order])
            slots[number] = replace(slot, structure=structure)
            out[slot.theta] = structure.pack(factor)
    if all(new is old for new, old in zip(slots, template.slots, strict=True)):
        return None
    return replace(template, slots=tuple(slots)), out


def translate(theta: Array, old: Template, new: Template) -> Array:
    """Parameters of the same covariances in another template."""
    out = theta.copy()
    for source, target in zip(old.slots, new.slots, strict=True):
        if source.structure is not target.structure:
            p = source.columns.stop - source.columns.start
            factor = source.structure.factor(theta[source.theta], p)
            out[target.theta] = target.structure.pack(lower_factor(factor)[0])
    return out
