"""The path of a constrained optimum, followed outwards from the estimate.

Each point is predicted from those before it and corrected by Newton steps with the
exact gradient; the derivative of the profile comes with it, by the envelope theorem,
and sets the length of the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.engine.restriction import HeldPoint, Restriction, held
from lme.inference.profile.settings import Setting
from lme.inference.profile.settling import TOLERANCE, searched, settle

Array = NDArray[np.float64]

#: A deviance this much below the minimum means that it was not the minimum.
BETTER = 1e-5
#: Most that one step may be longer than the one before.
_GROWTH = 4.0
#: Error of the trapezium rule, in steps, and least step, in first steps, that decide
#: whether a point is put between two others.
_CURVED, _CLOSE = 0.05, 0.05
#: Error of zeta at a point that is to have a given one, and steps to get there.
_HIT, _CROSSINGS = 2e-6, 6
#: Standard errors from the estimate beyond which a path is not followed.
_FAR = 1e4
#: Change of zeta over all the way from the estimate, below which it is flat.
_FLAT = 0.1


@dataclass(frozen=True)
class Node:
    """One point of a path.

    Attributes
    ----------
    at : float
        Value held, on the scale of the steps.
    deviance, zeta : float
    rate : float
        ``d zeta / d at``.
    free : (r,) array
        The free parameters; empty where the restriction was another one.
    full : FullPoint
    hessian : (r, r) array
    """

    at: float
    deviance: float
    zeta: float
    rate: float
    free: Array
    full: Any
    hessian: Array


class BetterOptimum(Exception):
    """A point of a path lies below the minimum from which it began."""

    def __init__(self, full: Any, deviance: float) -> None:
        super().__init__()
        self.full, self.deviance = full, deviance


class Path:
    """The profile of one parameter on both sides of its estimate.

    Parameters
    ----------
    setting : Setting
    estimate : float
        On the reported scale.
    minimum : float
        Deviance of the estimates.
    cutoff : float
        Size of zeta at which a side ends.
    step : float
        Change of zeta between neighbours.
    most : int
        Points on a side.
    exact : sequence of float
        Sizes of zeta that get a point of their own.
    floor : callable, optional
        Deviance and evaluation of the best model in which the value held means
        nothing, such as a correlation beside a variance of zero.
    """

    def __init__(
        self,
        setting: Setting,
        estimate: float,
        minimum: float,
        *,
        cutoff: float,
        step: float,
        most: int,
        exact: Sequence[float] = (),
        floor: Callable[[], tuple[float, Any]] | None = None,
    ) -> None:
        self.setting, self.minimum = setting, minimum
        self.cutoff, self.step, self.most = cutoff, step, most
        self._floor, self._crossings = floor, tuple(exact)
        self.nothing = setting.nothing(estimate)
        at = max(setting.scale.inward(estimate), setting.scale.low)
        at = min(at, setting.scale.high)
        if setting.scale.low == 0.0:
            at = max(at, self.nothing)
        free = setting.restriction.collapse(setting.start, at)
        point = held(setting.evaluate, setting.restriction, at)(free)
        hessian, self._motion, curve = point.path()
        scale = max(abs(at), 1e-3)
        rate = np.sqrt(0.5 * curve) if curve > 0.0 else self.step / (0.1 * scale)
        self._first = min(max(rate, 1e-8 / scale), 1e8 / scale)
        # The base is the deviance in this basis: quadrature in several dimensions
        # depends on the basis in the digits that it does not have.
        self.base, self._origin = point.value, at
        center = Node(at, point.value, 0.0, rate, free, point.full, hessian)
        self.nodes = [center]
        low = self._side(center, -1.0)
        high = self._side(center, 1.0)
        for z in exact:
            low = self._with_crossing(center, low, -z)
            high = self._with_crossing(center, high, z)
        center = replace(center, rate=_rate_at_center(center, low[:1], high[:1], rate))
        self.nodes = [*low[::-1], center, *high]

    def limit(self, sign: float) -> float:
        """What the limit is where zeta does not reach as far as it should."""
        node = self.nodes[-1 if sign > 0.0 else 0]
        scale = self.setting.scale
        if node.at == self._end(sign):
            return scale.outward(scale.high if sign > 0.0 else scale.low)
        # Flat, or further than any estimate could be: it would go on for ever.
        flat = not abs(node.rate * (node.at - self._origin)) > _FLAT
        if self._far(node) or flat or len(self.nodes) == 1:
            return scale.outward(self._end(sign))
        return np.nan

    def _end(self, sign: float) -> float:
        """Where the scale ends."""
        scale = self.setting.scale
        if sign > 0.0:
            return scale.high
        return self.nothing if scale.low == 0.0 else scale.low

    def _far(self, node: Node) -> bool:
        return abs(node.at - self._origin) * self._first > _FAR

    # --- one side -----------------------------------------------------------------

    def _side(self, center: Node, sign: float) -> list[Node]:
        """Nodes from the center outwards."""
        end = self._end(sign)
        if sign * (end - center.at) <= 1e-9 * abs(center.at):
            return []
        found: list[Node] = []
        beyond: list[Node] = []
        last, length = center, self.step / self._first
        while len(found) < self.most:
            target = last.at + sign * length
            if sign * (end - target) < 0.1 * length:
                target = end
            if beyond and sign * (beyond[-1].at - target) <= 0.05 * length:
                # What was passed over is near enough now.
                node = beyond.pop()
            else:
                node = self._node(target, [center, *found], sign)
            if not np.isfinite(node.deviance):
                length *= 0.25
                if length < 1e-6 / self._first:
                    break
                continue
            if self._coarse(last, node):
                beyond.append(node)
                length = 0.5 * abs(node.at - last.at)
                continue
            found.append(node)
            if abs(node.zeta) >= self.cutoff or node.at == end:
                break
            if self._stuck(node):
                found.append(self._ended(end, node))
                break
            length = self._length(node, last, length)
            last = node
            level = len(found) > 3 and abs(node.zeta) - abs(found[-4].zeta) < 1e-3
            if self._far(node) or (level and np.isinf(end)):
                break
        return self._improved(found, sign)

    def _coarse(self, last: Node, node: Node) -> bool:
        """Whether two neighbours are too far apart for interpolation between them."""
        width, rise = node.at - last.at, node.zeta - last.zeta
        if self._stuck(node):
            return False
        if abs(rise) > 2.0 * self.step:
            return abs(width) > 1e-9 * max(abs(node.at), abs(last.at))
        if abs(width) * self._first < _CLOSE * self.step:
            return False
        # A cubic is good where the trapezium of its slopes is nearly right.
        wrong = 0.5 * (self._rate(last) + self._rate(node)) * width - rise
        return bool(abs(wrong) > _CURVED * self.step)

    def _rate(self, node: Node) -> float:
        return self._first if node.zeta == 0.0 and np.isnan(node.rate) else node.rate

    def _length(self, node: Node, last: Node, length: float) -> float:
        """The next step, for a change of zeta of `step`."""
        wanted = self.step
        for z in self._crossings:
            # On the way, a point where one is to be.
            if 0.1 * self.step < z - abs(node.zeta) < 1.4 * self.step:
                wanted = z - abs(node.zeta)
        if abs(node.zeta) < self.cutoff < abs(node.zeta) + 1.3 * self.step:
            # The last point should lie just beyond.
            wanted = 1.05 * (self.cutoff - abs(node.zeta)) + 0.02
        taken = max(abs(node.at - last.at), length * 1e-3)
        if abs(node.zeta) - abs(last.zeta) < 0.1 * self.step:
            return _GROWTH * taken
        if not node.rate > 0.0:
            return taken
        return min(wanted / node.rate, _GROWTH * taken)

    def _node(self, at: float, known: Sequence[Node], sign: float) -> Node:
        """The constrained optimum at a value."""
        setting, nearest = self.setting, known[-1]
        if setting.end is not None and at == setting.scale.low == 0.0:
            restriction: Restriction = setting.end.restriction
            guess = setting.end.start(nearest.full.theta)
            evaluate = held(setting.evaluate, restriction, at)
            point, hessian, value = searched(evaluate, restriction, guess)
            return self._made(at, value, point, np.empty(0), hessian, sign)
        guess = self._predicted(at, known)
        evaluate = held(setting.evaluate, setting.restriction, at)
        point, hessian, value = settle(
            evaluate, setting.restriction, guess, nearest.hessian
        )
        return self._made(at, value, point, point.theta, hessian, sign)

    def _made(
        self,
        at: float,
        deviance: float,
        point: HeldPoint,
        free: Array,
        hessian: Array,
        sign: float,
    ) -> Node:
        full, slope = point.full, point.slope
        if np.isfinite(deviance) and self._floor is not None:
            floor, other = self._floor()
            if floor < deviance or not self.setting.feasible(point.theta):
                deviance, full, slope = floor, other, 0.0
        if deviance < self.minimum - BETTER * max(1.0, 1e-7 * abs(self.minimum)):
            raise BetterOptimum(full, deviance)
        zeta = sign * float(np.sqrt(max(deviance - self.base, 0.0)))
        rate = slope / (2.0 * zeta) if zeta != 0.0 else np.nan
        return Node(at, deviance, zeta, rate, free, full, hessian)

    def _stuck(self, node: Node) -> bool:
        """Whether the profile stays where it is from here on."""
        return self._floor is not None and node.deviance == self._floor()[0]

    def _ended(self, end: float, node: Node) -> Node:
        return Node(
            end, node.deviance, node.zeta, 0.0, node.free, node.full, node.hessian
        )

    def _predicted(self, at: float, known: Sequence[Node]) -> Array:
        """Free parameters by a cubic through the last points, or by the tangent."""
        center = known[0]
        nearby = [(n.at, n.free) for n in known if n.free.size == center.free.size]
        if len(known) < 3:
            # A point beside the first one stands for the tangent there.
            beside = 1e-3 * (at - center.at)
            nearby.insert(0, (center.at + beside, center.free + beside * self._motion))
        nearby = nearby[-4:]
        guess = np.zeros(center.free.size)
        for i, (own, free) in enumerate(nearby):
            weight = 1.0
            for j, (other, _) in enumerate(nearby):
                if i != j:
                    weight *= (at - other) / (own - other)
            guess += weight * free
        # What vanished on the way, such as a lost variance, stays so.
        return np.where(known[-1].free == 0.0, 0.0, guess)

    def _with_crossing(
        self, center: Node, side: list[Node], target: float
    ) -> list[Node]:
        """The side with a point where zeta is `target`, if it gets there."""
        zeta = np.array([abs(node.zeta) for node in (center, *side)])
        beyond = np.flatnonzero(zeta >= abs(target))
        if not beyond.size or not (np.diff(zeta) > 0.0).all():
            return side
        i = int(beyond[0])
        inner, outer = (center, *side)[i - 1], side[i - 1]
        if abs(outer.zeta - target) < _HIT:
            return side
        nearest = [center, *sorted(side, key=lambda n: -abs(n.zeta - target))]
        bracket = sorted([inner.at, outer.at])
        at = _between(inner, outer, self._rate(inner), outer.rate, target)
        for _ in range(_CROSSINGS):
            node = self._node(at, nearest, float(np.sign(target)))
            miss = target - node.zeta
            if not np.isfinite(node.deviance):
                return side
            if abs(miss) < _HIT:
                break
            bracket[int(miss < 0.0)] = at
            at = at + miss / node.rate if node.rate > 0.0 else np.nan
            if not bracket[0] < at < bracket[1]:
                at = 0.5 * (bracket[0] + bracket[1])
        # Points that nearly coincide with it have nothing to add.
        kept = [n for n in side[:-1] if abs(n.zeta - target) > 0.1 * self.step]
        return sorted([*kept, node, side[-1]], key=lambda n: abs(n.at - center.at))

    def _improved(self, found: list[Node], sign: float) -> list[Node]:
        """Nodes solved again from outside where the path lost the lower branch."""
        setting = self.setting
        for i in range(len(found) - 2, -1, -1):
            outer, node = found[i + 1], found[i]
            if abs(outer.zeta) >= abs(node.zeta) - 1e-6:
                continue
            free = setting.restriction.collapse(outer.full.theta, node.at)
            evaluate = held(setting.evaluate, setting.restriction, node.at)
            point, hessian, value = searched(evaluate, setting.restriction, free)
            if value < node.deviance - TOLERANCE:
                found[i] = self._made(node.at, value, point, point.theta, hessian, sign)
        return found


def _rate_at_center(
    center: Node, low: Sequence[Node], high: Sequence[Node], other: float
) -> float:
    """``d zeta / d at`` of a polynomial through the neighbours, with their rates.

    The curvature of a generalized model is not exact; `other` is what it says.
    """
    beside = [n for n in (*low, *high) if n.zeta != 0.0 and n.rate > 0.0]
    if not beside:
        return other
    width = max(abs(n.at - center.at) for n in beside)
    powers = np.arange(1, 2 * len(beside) + 1)
    rows, right = [], []
    for node in beside:
        x = (node.at - center.at) / width
        rows += [x**powers, powers * x ** (powers - 1)]
        right += [node.zeta, node.rate * width]
    found = float(np.linalg.solve(np.array(rows), np.array(right))[0] / width)
    return found if found > 0.0 else other


def _between(
    inner: Node, outer: Node, first: float, last: float, target: float
) -> float:
    """Where a cubic with the rates at both ends takes the value `target`."""
    width, rise = outer.at - inner.at, outer.zeta - inner.zeta
    a, b = first * width, last * width
    if not (np.isfinite(a) and np.isfinite(b)):
        a = b = rise
    low, high = 0.0, 1.0
    for _ in range(40):
        t = 0.5 * (low + high)
        rest = 1.0 - t
        value = rise * t * t * (3.0 - 2.0 * t) + t * rest * (a * rest - b * t)
        if abs(value) < abs(target - inner.zeta):
            low = t
        else:
            high = t
    return inner.at + width * 0.5 * (low + high)
