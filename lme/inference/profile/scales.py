"""Scales on which the value of a parameter is stepped and interpolated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lme.covariance.patterned import Patterned


class Scale(Protocol):
    """An increasing scale of a parameter.

    Attributes
    ----------
    low, high : float
        Its ends, infinite where there are none.
    """

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""

    def inward(self, value: float) -> float:
        """From the parameter to the scale."""

    def outward(self, at: float) -> float:
        """From the scale to the parameter."""


@dataclass(frozen=True)
class Identity:
    """The parameter itself."""

    low: float = -np.inf
    high: float = np.inf

    def inward(self, value: float) -> float:
        """The value."""
        return value

    def outward(self, at: float) -> float:
        """The value."""
        return at


@dataclass(frozen=True)
class Logarithm:
    """The logarithm of a positive parameter."""

    low: float = -np.inf
    high: float = np.inf

    def inward(self, value: float) -> float:
        """``log(value)``."""
        return float(np.log(value))

    def outward(self, at: float) -> float:
        """``exp(at)``."""
        return float(np.exp(at))


@dataclass(frozen=True)
class Angle:
    """The angle whose sine is a correlation: its ends are ordinary points."""

    low: float = -np.pi / 2
    high: float = np.pi / 2

    def inward(self, value: float) -> float:
        """``arcsin(value)``."""
        return float(np.arcsin(min(max(value, -1.0), 1.0)))

    def outward(self, at: float) -> float:
        """``sin(at)``."""
        return float(np.sin(at))


class Pattern:
    """The first angle of a structure with a pattern of correlations, increasing.

    Parameters
    ----------
    structure : Patterned
    p : int
        Number of columns of the term.
    """

    def __init__(self, structure: Patterned, p: int) -> None:
        self._structure, self._p = structure, p
        self.sign = 1.0
        low, high = self.inward(-1.0), self.inward(1.0)
        if low > high:
            self.sign, low, high = -1.0, -low, -high
        self.low, self.high = low, high

    def inward(self, value: float) -> float:
        """Angle of a correlation."""
        rest = np.zeros(self._structure.angle_count(self._p) - 1)
        angles = self._structure.to_angles(np.append(value, rest), self._p)
        return self.sign * float(angles[0])

    def outward(self, at: float) -> float:
        """Correlation of an angle."""
        rest = np.zeros(self._structure.angle_count(self._p) - 1)
        found = self._structure.from_angles(np.append(self.sign * at, rest), self._p)
        return float(found[0])


IDENTITY = Identity()
POSITIVE = Identity(low=0.0)
LOGARITHM = Logarithm()
ANGLE = Angle()
