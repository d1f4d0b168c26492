"""What the profile of one parameter minimises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.covariance.linear import Unstructured
from lme.covariance.patterned import Patterned
from lme.engine import natural
from lme.engine.relcov import Slot, Template, lower_factor
from lme.engine.restriction import (
    Affine,
    Correlation,
    Deviation,
    FullPoint,
    Implied,
    Restriction,
    pinned,
    zeros,
)
from lme.inference.profile.scales import ANGLE, POSITIVE, Pattern, Scale
from lme.naming import Parameter

Array = NDArray[np.float64]

#: Stands for a standard deviation of zero where its logarithm is a parameter,
#: relative to the estimate.
_NOTHING = 1e-7


@dataclass(frozen=True)
class Setting:
    """What the profile of one parameter minimises.

    Attributes
    ----------
    evaluate : callable
        All parameters (m,) of the criterion to an evaluation.
    restriction : Restriction
    scale : Scale
        On which the value held is stepped.
    start : (m,) array
        The optimum.
    end : End or None
        How a standard deviation of zero is reached, where it is not as other values.
    """

    evaluate: Callable[[Array], FullPoint]
    restriction: Restriction
    scale: Scale
    start: Array
    end: End | None = None

    def feasible(self, free: Array) -> bool:
        """Whether a correlation has the sign of the value held."""
        restriction = self.restriction
        return not isinstance(restriction, Correlation) or restriction.feasible(free)

    def nothing(self, estimate: float) -> float:
        """What stands for a standard deviation of zero."""
        logarithm = isinstance(self.restriction, Affine) and self.restriction.logarithm
        return _NOTHING * estimate if logarithm else 0.0


@dataclass(frozen=True)
class End:
    """A random effect without variance.

    Attributes
    ----------
    restriction : Restriction
        Its row and column of the factor are zero.
    indices : (p (p + 1) / 2,) intp array
        Of the factor's entries among all parameters.
    """

    restriction: Restriction
    indices: NDArray[np.intp]

    def start(self, x: Array) -> Array:
        """Free parameters for all others as they are at `x`."""
        structure = Unstructured()
        part = x[self.indices]
        p = int(np.sqrt(2 * part.size))
        L = structure.factor(part, p)
        L[0] = 0.0
        without = x.copy()
        without[self.indices] = structure.pack(lower_factor(L)[0])
        return self.restriction.collapse(without, 0.0)


@dataclass(frozen=True)
class Part:
    """Where the covariance parameters stand among all.

    Attributes
    ----------
    offset : int
        Of the first covariance parameter.
    scale : int or None
        Index of log sigma, where it is a parameter.
    unit : float
        Sigma, where it is not.
    even : (m,) bool array
    """

    offset: int
    scale: int | None
    even: NDArray[np.bool_]
    unit: float = 1.0

    def indices(self, slot: Slot) -> NDArray[np.intp]:
        """Of a term's parameters among all."""
        return np.arange(self.even.size)[slot.theta] + self.offset


def random_setting(
    parameter: Parameter, template: Template, make: Callable[[Template], Part]
) -> tuple[Template, Restriction, Scale, End | None]:
    """The template, restriction and scale for a covariance parameter."""
    slot = template.slots[parameter.slot]
    structure = slot.structure
    if isinstance(structure, Patterned):
        part = make(template)
        return (template, *_patterned(parameter, slot, part), None)
    if structure.independent or len(slot.basis) == 1:
        part = make(template)
        index = int(part.indices(slot)[parameter.entry])
        row = parameter.rows[0]
        held = _deviation(part, index, 1.0 / float(slot.basis[row, row]))
        return template, held, POSITIVE, None
    turn, sizes = natural.leading_basis(slot, parameter.rows)
    other = natural.with_structure(template, parameter.slot, natural.Leading(turn))
    part = make(other)
    places = part.indices(slot)
    p = len(slot.basis)
    if parameter.kind == "sd":
        held = _deviation(part, int(places[0]), 1.0 / float(sizes[0]))
        # Without the first effect, what the others share with it is nothing.
        return other, held, POSITIVE, End(zeros(part.even, places[:p]), places)
    ratio = Correlation(part.even, int(places[0]), int(places[1]), int(places[p]))
    return other, ratio, ANGLE, None


def _deviation(part: Part, index: int, factor: float) -> Restriction:
    if part.scale is None:
        return pinned(part.even, index, factor / part.unit)
    return Deviation(part.even, index, part.scale, factor)


def _patterned(
    parameter: Parameter, slot: Slot, part: Part
) -> tuple[Restriction, Scale]:
    """For a structure whose parameters are deviations and angles of correlations."""
    structure: Any = slot.structure
    p, places = len(slot.basis), part.indices(slot)
    first = structure.size(p) - structure.angle_count(p)
    place = int(places[parameter.entry])
    if parameter.kind == "sd":
        row = parameter.rows[0]
        size = float(slot.basis[row, row])
        if structure.equal:
            return _deviation(part, place, 1.0 / size), POSITIVE
        rest = np.delete(np.arange(part.even.size), place)
        A = np.eye(part.even.size)[:, rest]
        if part.scale is not None:
            A[place] = -np.eye(part.even.size)[part.scale, rest]
        along = np.eye(part.even.size)[place]
        shift = -np.log(size * part.unit) * along
        held = Affine(A, along, shift, part.even[rest], logarithm=True)
        return held, POSITIVE
    lag = parameter.entry - first
    if lag == 0:
        scale = Pattern(structure, p)
        return pinned(part.even, place, scale.sign), scale
    angles = places[first:]

    def solve(x: Array, at: float) -> float:
        found = structure.from_angles(x[angles], p)
        found[lag] = np.sin(at)
        return float(structure.to_angles(found, p)[lag])

    return Implied(part.even, place, solve), ANGLE
