"""Names of all parameters that have an interval, in one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lme.errors import OptionError, near
from lme.generalized import GLMMFit
from lme.inference.estimates import coefficient_names
from lme.inference.working import MixedFit
from lme.naming import Parameter, covariance_parameters


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
    out = covariance_parameters(fit.design)
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
