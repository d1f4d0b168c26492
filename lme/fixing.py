"""Elements of theta that are held at a value, or equal to another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.covariance import STRUCTURES, Structure
from lme.covariance.held import Held, rooted
from lme.covariance.patterned import Patterned
from lme.errors import OptionError, near
from lme.formula.design import Design, RandomTerm

Array = NDArray[np.float64]


def theta_names(design: Design) -> list[str]:
    """lme4's names of the elements of ``theta``.

    Parameters
    ----------
    design : Design

    Returns
    -------
    list of str
        ``Subject.(Intercept)``, ``Subject.Days.(Intercept)``, ``Subject.Days``: one
        name for each free element of the relative factors, down the columns. For a
        structure with a pattern, standard deviations and ``Subject.cor``.
    """
    names = []
    for term in design.terms:
        labels = STRUCTURES[term.structure].labels(term.columns)
        names += [f"{term.group}.{label}" for label in labels]
    return names


def free_parameters(design: Design) -> int:
    """Number of covariance parameters that are estimated."""
    count = 0
    keys: set[str] = set()
    for term in design.terms:
        if isinstance(term.held, Held):
            keys.update(term.held.keys)
        else:
            count += STRUCTURES[term.structure].size(len(term.columns))
    return count + len(keys)


def held_entries(design: Design) -> dict[str, float | str]:
    """What is held, by name: a number, or the name of the element it equals."""
    out: dict[str, float | str] = {}
    names = iter(theta_names(design))
    for term in design.terms:
        own = [next(names) for _ in range(_size(term))]
        if not isinstance(term.held, Held):
            continue
        for name, j, value in zip(
            own, term.held.position, term.held.values, strict=True
        ):
            if j < 0:
                out[name] = float(value)
            elif term.held.keys[j] != name:
                out[name] = term.held.keys[j]
    return out


def held_wish(design: Design) -> dict[str, dict[str, float | str]] | None:
    """The argument `fix` of the fit that ended with this design; None without holds."""
    held = held_entries(design)
    return {"theta": held} if held else None


def _size(term: RandomTerm) -> int:
    return STRUCTURES[term.structure].size(len(term.columns))


def hold(design: Design, fix: Any) -> Design:
    """The design with elements of theta held.

    Parameters
    ----------
    design : Design
    fix : mapping or None
        ``{"theta": {name: number or name}}``.

    Raises
    ------
    OptionError
        For names that are not known, and for values that cannot be.
    """
    if fix is None:
        return design
    wishes = _wishes(fix)
    names = theta_names(design)
    for name in wishes:
        _check_name(name, names)
    if not wishes:
        return design
    if design.residual is not None:
        raise OptionError(
            "fix holds elements of theta in a model with a residual structure.",
            "They are relative to a residual standard deviation that varies.",
            "Leave fix= or residual= out.",
        )
    targets = {name: _target(name, wishes, names) for name in names}
    kinds = _kinds(design, names)
    _check_kinds(targets, kinds)
    representatives = [each for each in targets.values() if isinstance(each, str)]
    several = {key for key in representatives if representatives.count(key) > 1}
    terms, at = [], 0
    for term in design.terms:
        own = names[at : at + _size(term)]
        at += len(own)
        touched = any(targets[name] != name or name in several for name in own)
        terms.append(
            replace(term, held=_held(term, own, targets, several)) if touched else term
        )
    return replace(design, terms=tuple(terms))


def _wishes(fix: Any) -> Mapping[str, Any]:
    if not isinstance(fix, Mapping):
        raise OptionError(
            f"fix is of type {type(fix).__name__}.",
            "Expected a mapping such as {'theta': {'Subject.Days': 0.2}}.",
        )
    for key in fix:
        if key != "theta":
            hint = "sigma is an argument of its own: fit(sigma=1)."
            raise OptionError(
                f"fix has {key!r}.",
                "It holds elements of 'theta', by their names.",
                hint if key in ("sigma", "scale") else near(str(key), ["theta"]),
            )
    wishes = fix.get("theta", {})
    if not hasattr(wishes, "items"):
        raise OptionError(
            f"fix['theta'] is of type {type(wishes).__name__}.",
            "Expected a mapping from names of result.theta to numbers or names.",
        )
    return {str(name): value for name, value in wishes.items()}


def _check_name(name: str, names: list[str]) -> None:
    if names.count(name) == 1:
        return
    listed = ", ".join(map(repr, dict.fromkeys(names)))
    if name in names:
        raise OptionError(
            f"fix: {names.count(name)} elements of theta are called {name!r}.",
            "A name must stand for one element.",
            "Give one of the grouping factors another name, by a copy of its column.",
        )
    raise OptionError(
        f"fix: theta has no element {name!r}.",
        f"Its elements are {listed}.",
        near(name, names),
    )


def _target(name: str, wishes: Mapping[str, Any], names: list[str]) -> float | str:
    """What an element is in the end: a number, or the name of a free element."""
    seen = [name]
    value: Any = wishes.get(name, name)
    while isinstance(value, str):
        _check_name(value, names)
        if value == seen[-1] and len(seen) == 1 and name not in wishes:
            return name
        if value in seen:
            raise OptionError(
                f"fix: {' = '.join([*seen, value])} goes in a circle.",
                "One of the elements must be free, or a number.",
            )
        if value not in wishes:
            return value
        seen.append(value)
        value = wishes[value]
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(
            f"fix: the value of {seen[-1]!r} is {value!r}.",
            "Expected a number, or the name of another element of theta.",
        )
    return float(value)


def _kinds(design: Design, names: list[str]) -> dict[str, tuple[Any, ...]]:
    """Scale on which each element is searched; equal ones must share it."""
    out: dict[str, tuple[Any, ...]] = {}
    rest = iter(names)
    for term in design.terms:
        structure, p = STRUCTURES[term.structure], len(term.columns)
        for i in range(_size(term)):
            out[next(rest)] = _kind(structure, p, i)
    return out


def _kind(structure: Structure, p: int, i: int) -> tuple[Any, ...]:
    if not isinstance(structure, Patterned):
        free = np.isneginf(structure.lower(p)[i])
        return ("entry",) if free else ("deviation",)
    deviations = structure.size(p) - structure.angle_count(p)
    if i < deviations:
        return ("deviation",) if structure.equal else ("logarithm",)
    return ("correlation", type(structure).__name__, p, structure.angle_count(p))


def _check_kinds(
    targets: Mapping[str, float | str], kinds: Mapping[str, tuple[Any, ...]]
) -> None:
    for name, target in targets.items():
        kind = kinds[name]
        moved = target != name
        if moved and kind[0] == "correlation" and kind[3] > 1:
            raise OptionError(
                f"fix: {name!r} is one of several correlations of a pattern.",
                "They are searched together, and cannot be held one by one.",
                "Use a structure with one correlation, such as ar1 or cs.",
            )
        if isinstance(target, str):
            if kinds[target] != kind:
                raise OptionError(
                    f"fix: {name!r} and {target!r} cannot be equal.",
                    "Equal elements must be of one kind: both on the diagonal of a "
                    "factor, or both off it, or of one pattern.",
                )
            continue
        low, high = {
            "entry": (-np.inf, np.inf),
            "deviation": (0.0, np.inf),
            "logarithm": (0.0, np.inf),
            "correlation": (-1.0, 1.0),
        }[kind[0]]
        if not (low <= target <= high and np.isfinite(target)):
            raise OptionError(
                f"fix: the value of {name!r} is {target:g}.",
                f"It lies between {low:g} and {high:g}, and is finite.",
            )


def _held(
    term: RandomTerm,
    own: list[str],
    targets: Mapping[str, float | str],
    several: set[str],
) -> Held:
    """The structure of one term with its elements held."""
    base, p = STRUCTURES[term.structure], len(term.columns)
    found = [targets[name] for name in own]
    keys = tuple(dict.fromkeys(each for each in found if isinstance(each, str)))
    position = np.array(
        [keys.index(each) if isinstance(each, str) else -1 for each in found],
        dtype=np.intp,
    )
    values = np.array([np.nan if isinstance(each, str) else each for each in found])
    shared = np.array([key in several for key in keys], dtype=bool)
    return Held(base, p, position, values, keys, rooted(base, p, position, shared))
