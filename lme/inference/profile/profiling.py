"""Profile likelihoods: every parameter held at values, all others at their optimum."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtri

from lme.engine.restriction import held
from lme.engine.threads import suited_threads
from lme.errors import FitError, OptionError, ProfileWarning
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.inference.coverage import check_level
from lme.inference.held_elements import refuse_held_parameters
from lme.inference.processes import process_count
from lme.inference.profile.curves import Curve
from lme.inference.profile.parameters import choose_parameters
from lme.inference.profile.profiles import Profile
from lme.inference.profile.settling import searched
from lme.inference.profile.surfaces import Surface, surface
from lme.inference.profile.tracing import BetterOptimum, Node, Path
from lme.inference.working import MixedFit
from lme.naming import Parameter

Array = NDArray[np.float64]

#: How often the profiles may begin again from a better optimum.
_RESTARTS = 3


def profile(
    fit: MixedFit,
    parm: Any = None,
    *,
    level: float = 0.99,
    step: float = 0.75,
    max_points: int = 100,
    reach: float | None = None,
    exact: Sequence[float] = (0.95,),
    n_jobs: int | None = None,
) -> Profile:
    """Profile the deviance over parameters of a model.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model with its data. A REML fit is profiled by its ML deviance,
        from the ML estimates.
    parm : str or sequence of str, optional
        Parameters, by the names of `parameters`, lme4's old names, or ``"theta_"``
        (all but the fixed effects) and ``"beta_"``; all by default.
    level : float
        Profiles reach as far as the joint region of two parameters with this coverage
        does: ``|zeta| <= sqrt(chi2(level, 2))``, 3.03 for 0.99.
    step : float
        Change of zeta between neighbouring points.
    max_points : int
        Points on either side of an estimate.
    reach : float, optional
        The largest ``|zeta|`` itself, instead of `level`.
    exact : sequence of float
        Coverages of intervals whose limits get a point of their own; others are
        interpolated.
    n_jobs : int, optional
        Processes for parameters, as in joblib; by default those of
        ``joblib.parallel_config``, or one.

    Returns
    -------
    Profile

    Raises
    ------
    OptionError
        For unknown parameters or impossible options.
    FitError
        For a model fitted with ``nAGQ=0``, whose criterion is not a likelihood
        maximized over the coefficients.

    Warns
    -----
    ProfileWarning
        When a profile is not monotone or ends early, and when a better optimum was
        found on the way: the profiles then begin again from there.

    Notes
    -----
    ``zeta = sign(value - estimate) sqrt(deviance(value) - deviance(estimate))``, with
    all other parameters at their optimum (Bates et al. 2015, section 5.1). Its
    derivative is exact at every point, so that few points determine the curve.
    """
    _check(fit, level, step, max_points, reach, exact)
    n_jobs = process_count(n_jobs)
    if reach is None:
        reach = float(np.sqrt(chdtri(2, 1.0 - level)))
    crossings = sorted({float(ndtri(0.5 + 0.5 * each)) for each in exact})
    notes: list[str] = []
    sizes = [f.levels * f.values.shape[1] for f in fit.problem.factors]
    with suited_threads(sizes):
        ground = surface(fit)
        chosen = choose_parameters(ground.parameters, parm)
        refuse_held_parameters(fit, [ground.parameters[i] for i in chosen])
        for attempt in range(_RESTARTS + 1):
            options = reach, step, max_points, crossings
            walk = _Walk(ground, *options)
            try:
                found = None
                if n_jobs != 1 and len(chosen) > 1 and not attempt:
                    found = _apart(fit, chosen, options, n_jobs)
                if found is None:
                    curves = tuple(walk.curve(ground.parameters[i]) for i in chosen)
                else:
                    curves, walk.evaluations = found
                break
            except BetterOptimum as better:
                if attempt == _RESTARTS:
                    raise FitError(
                        "Profiling found a lower deviance again and again.",
                        "The estimates should be at the minimum.",
                        "Fit the model again from other starts.",
                    ) from None
                before = ground.optimum.value
                ground = ground.moved_to(better.full)
                notes.append(_better(before, ground))
    notes += [note for curve in curves for note in odd(curve, reach)]
    for note in notes:
        warnings.warn(ProfileWarning(note), stacklevel=3)
    return Profile(
        curves,
        tuple(each.name for each in ground.parameters),
        ground.parameters,
        ground.optimum.estimates,
        ground.optimum.value,
        reach,
        walk.evaluations,
        tuple(notes),
    )


def _apart(
    fit: MixedFit, chosen: Sequence[int], options: tuple[Any, ...], n_jobs: int
) -> tuple[tuple[Curve, ...], int] | None:
    """Curves by several processes, and evaluations; None where one found an optimum."""
    from joblib import Parallel, delayed

    found = Parallel(n_jobs=n_jobs)(delayed(_alone)(fit, i, options) for i in chosen)
    known = [pair for pair in found if pair is not None]
    if len(known) < len(chosen):
        return None
    return tuple(curve for curve, _ in known), sum(count for _, count in known)


def _alone(fit: MixedFit, i: int, options: tuple[Any, ...]) -> tuple[Curve, int] | None:
    """The curve of one parameter; None where a better optimum was found."""
    ground = surface(fit)
    walk = _Walk(ground, *options)
    try:
        return walk.curve(ground.parameters[i]), walk.evaluations
    except BetterOptimum:
        return None


def _check(
    fit: MixedFit, level: Any, step: Any, max_points: Any, reach: Any, exact: Any
) -> None:
    if isinstance(fit, GLMMFit) and fit.nAGQ == 0:
        raise FitError(
            "A model fitted with nAGQ=0 has no profile.",
            "Its coefficients do not maximize the likelihood that would be profiled.",
            "Fit it with nAGQ=1.",
        )
    if isinstance(fit, Fit) and fit.residual is not None:
        raise FitError(
            "A model with a residual structure has no profile.",
            "The structure's parameters would have to be optimized beside the others.",
            "Use confint(method='wald').",
        )
    for each in (level, *exact):
        check_level(each)
    for name, value in (("step", step), ("reach", 1.0 if reach is None else reach)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0.0 < value < 100.0:
            raise OptionError(
                f"{name} is {value!r}.", "A positive number (of zeta) was expected."
            )
    whole = isinstance(max_points, (int, np.integer))
    if not whole or isinstance(max_points, bool) or max_points < 3:
        raise OptionError(
            f"max_points is {max_points!r}.", "A whole number from 3 was expected."
        )


def _better(before: float, ground: Surface) -> str:
    pairs = zip(ground.parameters, ground.optimum.estimates, strict=True)
    values = ", ".join(f"{each.name} {value:.5g}" for each, value in pairs)
    return (
        f"Profiling found a lower deviance ({ground.optimum.value:.7g}) than that of "
        f"the fit ({before:.7g}) and began again from there, at {values}. Fit the "
        "model again from that start."
    )


def odd(curve: Curve, reach: float) -> list[str]:
    """What a user should know of a curve."""
    notes = []
    if not curve.monotone and curve.values.size > 2:
        notes.append(
            f"The profile of {curve.name} is not monotone: falling back to linear "
            "interpolation; its limits are the outermost crossings."
        )
    ends = ("below", curve.zeta[0], curve.lower), ("above", curve.zeta[-1], curve.upper)
    for side, end, limit in ends:
        if abs(end) < reach and not np.isfinite(limit):
            reason = "broke off" if np.isnan(limit) else "goes on without end"
            notes.append(
                f"The profile of {curve.name} {reason} {side} its estimate, where zeta "
                f"is {end:.2f}: an interval of that coverage has no limit there."
            )
    return notes


class _Walk:
    """Curves of one surface."""

    def __init__(
        self,
        ground: Surface,
        reach: float,
        step: float,
        max_points: int,
        crossings: Sequence[float],
    ) -> None:
        self.ground, self.reach = ground, reach
        self.step, self.max_points = step, max_points
        self.crossings = crossings
        self.evaluations = 0
        self._floors: dict[tuple[int, int], tuple[float, Any]] = {}

    def curve(self, parameter: Parameter) -> Curve:
        """The profile of one parameter."""
        ground = self.ground
        estimate = float(ground.optimum.estimates[_index(ground, parameter)])
        if not np.isfinite(estimate):
            return self._meaningless(parameter)
        setting = self._counted(parameter)
        path = Path(
            setting,
            estimate,
            ground.optimum.value,
            cutoff=self.reach,
            step=self.step,
            most=self.max_points,
            exact=self.crossings,
            floor=self._floor(parameter),
        )
        return self._record(parameter, path)

    def _counted(self, parameter: Parameter) -> Any:
        """The setting of a parameter, its evaluations counted."""
        setting = self.ground.setting(parameter)

        def evaluate(x: Array) -> Any:
            self.evaluations += 1
            return setting.evaluate(x)

        return replace(setting, evaluate=evaluate)

    def _floor(self, parameter: Parameter) -> Callable[[], tuple[float, Any]] | None:
        """Best model without one of the effects that a correlation is between."""
        ground = self.ground
        if parameter.kind != "cor":
            return None
        sides = [
            each
            for each in ground.parameters
            if each.kind == "sd"
            and each.slot == parameter.slot
            and each.rows[0] in parameter.rows
        ]

        def lowest() -> tuple[float, Any]:
            found = [self._without(each) for each in sides]
            return min(found, key=lambda pair: pair[0], default=(np.inf, None))

        return lowest

    def _without(self, parameter: Parameter) -> tuple[float, Any]:
        """Deviance and evaluation of the best model with this deviation at zero."""
        key = (parameter.slot, parameter.entry)
        if key not in self._floors:
            setting = self._counted(parameter)
            self._floors[key] = (np.inf, None)
            if setting.end is not None:
                restriction = setting.end.restriction
                evaluate = held(setting.evaluate, restriction, 0.0)
                guess = setting.end.start(setting.start)
                point, _, value = searched(evaluate, restriction, guess)
                self._floors[key] = (value, point.full)
        return self._floors[key]

    def _meaningless(self, parameter: Parameter) -> Curve:
        """A correlation beside a variance of zero: any value fits as well."""
        scale = self.ground.setting(parameter).scale
        at = np.array([scale.low, scale.high])
        values = np.array([scale.outward(a) for a in at])
        others = np.tile(self.ground.optimum.estimates, (2, 1))
        others[:, _index(self.ground, parameter)] = values
        nothing = np.zeros(2)
        ends = float(values[0]), float(values[1])
        return Curve(
            parameter.name,
            parameter.kind,
            np.nan,
            nothing,
            values,
            others,
            at,
            nothing,
            scale,
            *ends,
        )

    def _record(self, parameter: Parameter, path: Path) -> Curve:
        """The curve of a path."""
        ground, scale = self.ground, path.setting.scale
        index = _index(ground, parameter)
        others = np.array([ground.values(node.full) for node in path.nodes])
        ats = np.array([node.at for node in path.nodes])
        values = np.array([self._value(parameter, path, node) for node in path.nodes])
        others[:, index] = values
        return Curve(
            parameter.name,
            parameter.kind,
            float(ground.optimum.estimates[index]),
            np.array([node.zeta for node in path.nodes]),
            values,
            others,
            ats,
            np.array([node.rate for node in path.nodes]),
            scale,
            path.limit(-1.0),
            path.limit(1.0),
        )

    def _value(self, parameter: Parameter, path: Path, node: Node) -> float:
        if parameter.kind == "sd" and node.at <= path.nothing:
            return 0.0
        return path.setting.scale.outward(node.at)


def _index(ground: Surface, parameter: Parameter) -> int:
    return ground.parameters.index(parameter)
