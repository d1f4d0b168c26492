"""Names of all parameters that have an interval, in one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.covariance import STRUCTURES
from lme.covariance.patterned import Patterned
from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference.estimates import coefficient_names
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter on the scale on which it is reported.

    Attributes
    ----------
    name : str
        ``sd_Days|Subject``, ``cor_Days.(Intercept)|Subject``, ``sigma``, or the name
        of a coefficient.
    old : str
        lme4's other name: ``.sig01``, ``.sigma``, or the name again.
    kind : {"sd", "cor", "sigma", "theta", "beta"}
        "theta" is that of a negative binomial.
    slot : int
        Random-effects term, of those with columns; -1 for others.
    rows : tuple of int
        Columns of the term: one for a standard deviation, two (the later one first)
        for a correlation; the index of a coefficient; else empty.
    entry : int
        Position among what the term's structure reports; -1 for others.
    """

    name: str
    old: str
    kind: str
    slot: int = -1
    rows: tuple[int, ...] = ()
    entry: int = -1

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value."""
        if self.kind == "cor":
            return -1.0, 1.0
        return (-np.inf if self.kind == "beta" else 0.0), np.inf


def _entries(structure: Any, p: int) -> list[tuple[str, tuple[int, ...], bool]]:
    """Kind, columns and "one for all" of what a structure reports, in its order."""
    if isinstance(structure, Patterned):
        size = structure.size(p)
        d = 1 if structure.equal else p
        found = [("sd", (i,), structure.equal) for i in range(d)]
        lags = range(1, size - d + 1)
        return [*found, *(("cor", (lag, 0), True) for lag in lags)]
    if structure.independent:
        size = structure.size(p)
        return [("sd", (i,), size < p) for i in range(size)]
    pairs = [(i, j) for j in range(p) for i in range(j, p)]
    return [("sd", (i,), False) if i == j else ("cor", (i, j), False) for i, j in pairs]


def _random_part(fit: MixedFit) -> list[Parameter]:
    out: list[Parameter] = []
    names: set[str] = set()
    count = 0
    terms = [term for term in fit.design.terms if len(term.columns)]
    for slot, term in enumerate(terms):
        columns = term.columns
        entries = _entries(STRUCTURES[term.structure], len(columns))
        lags = sum(kind == "cor" for kind, _, _ in entries)
        found = []
        for entry, (kind, rows, shared) in enumerate(entries):
            count += 1
            inner = "_" + ".".join(columns[i] for i in rows)
            if shared:
                inner = f".{rows[0]}" if kind == "cor" and lags > 1 else ""
            name, copy = f"{kind}{inner}|{term.group}", 0
            while name in names:
                # A second term with the same column on the same factor.
                copy += 1
                name = f"{kind}{inner}|{term.group}.{copy}"
            names.add(name)
            found.append(Parameter(name, f".sig{count:02d}", kind, slot, rows, entry))
        out += sorted(found, key=lambda each: each.kind != "sd")
    return out


def parameters(fit: MixedFit) -> tuple[Parameter, ...]:
    """Every parameter of a model, in the order in which intervals are shown.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    tuple of Parameter
        For each random-effects term its standard deviations and then its
        correlations, as in ``VarCorr().to_frame()`` and in lme4 from 2.0 on; sigma,
        or the theta of a negative binomial, where it is estimated; the fixed effects.

    Notes
    -----
    ``.sig01`` and so on count down the columns of the lower triangle, as theta does
    and as lme4 did before 2.0: ``.sig02`` of ``(Days | Subject)`` is the correlation.
    """
    out = _random_part(fit)
    coefficients = coefficient_names(fit)
    if not isinstance(fit, GLMMFit):
        kind = "sigma" if fit.known_sigma is None else ""
    else:
        kind = {None: "", "theta": "theta"}.get(fit.family.extra, "sigma")
    if kind:
        name = {"sigma": "sigma", "theta": "nb_theta"}[kind]
        taken = name in coefficients
        out.append(Parameter(f".{name}" if taken else name, f".{name}", kind))
    out += [
        Parameter(name, name, "beta", rows=(j,)) for j, name in enumerate(coefficients)
    ]
    return tuple(out)


def choose_parameters(known: Sequence[Parameter], parm: Any) -> list[int]:
    """Positions of the parameters that `parm` names.

    Parameters
    ----------
    known : sequence of Parameter
    parm : str, sequence of str, or None
        Names, lme4's old names, ``"theta_"`` for all but the fixed effects or
        ``"beta_"`` for these; None for all.

    Raises
    ------
    OptionError
        For a name that is not known; the message lists what there is.
    """
    if parm is None:
        return list(range(len(known)))
    wanted = [parm] if isinstance(parm, str) else parm
    if np.ndim(wanted) == 0 or isinstance(wanted, (set, frozenset, Mapping)):
        wanted = [wanted]
    groups = {
        "theta_": [i for i, each in enumerate(known) if each.kind != "beta"],
        "beta_": [i for i, each in enumerate(known) if each.kind == "beta"],
    }
    found: list[int] = []
    for name in wanted:
        if not isinstance(name, str):
            raise _unknown(known, name)
        matches = groups.get(name) if isinstance(name, str) else None
        if matches is None:
            matches = [i for i, each in enumerate(known) if each.name == name][:1]
        if not matches and name not in groups:
            matches = [i for i, each in enumerate(known) if each.old == name][:1]
        if not matches and name not in groups:
            raise _unknown(known, name)
        found += [i for i in matches if i not in found]
    if not found:
        raise OptionError(
            f"parm={parm!r} names no parameter.",
            f"The parameters are {_listed(known)}.",
        )
    return found


def _listed(known: Sequence[Parameter]) -> str:
    shown = [repr(each.name) for each in known[:40]]
    more = f" and {len(known) - 40} others" if len(known) > 40 else ""
    return ", ".join(shown) + more


def _unknown(known: Sequence[Parameter], name: object) -> OptionError:
    names = [each.name for each in known]
    kind = "" if isinstance(name, str) else " (parameters are chosen by name)"
    return OptionError(
        f"parm: the model has no parameter {name!r}{kind}.",
        f"The parameters are {_listed(known)}; 'theta_' stands for all but the fixed "
        "effects, 'beta_' for these.",
        near(str(name), names),
    )
