"""From refits to the record of a bootstrap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lme.engine.batched import CONVERGED, Refits
from lme.generalized import GLMMFit
from lme.inference.bootstrap.draws import Task
from lme.inference.bootstrap.record import ARRAYS, Bootstrap
from lme.inference.bootstrap.replicates import parameter_values, singular_replicates
from lme.inference.components import theta_names
from lme.inference.estimates import dropped_names
from lme.inference.profile.parameters import parameters
from lme.inference.working import MixedFit
from lme.naming import Parameter


def _seed_key(seed: np.random.SeedSequence) -> tuple[Any, ...]:
    entropy: Any = seed.entropy
    if isinstance(entropy, int | np.integer):
        entropy = int(entropy)
    elif entropy is not None:
        entropy = tuple(int(part) for part in entropy)
    return (entropy, tuple(int(key) for key in seed.spawn_key))


def _places(fit: MixedFit, known: tuple[Parameter, ...]) -> list[tuple[str, str]]:
    """Group and columns of each parameter."""
    terms = [term for term in fit.design.terms if len(term.columns)]
    out = []
    for each in known:
        if each.kind == "beta":
            out.append(("", each.name))
        elif each.slot < 0:
            out.append(("residual", ""))
        else:
            inner, group = each.name.split("|", 1)[0], terms[each.slot].group
            columns = [terms[each.slot].columns[i] for i in each.rows]
            plain = inner in ("sd", "cor") or inner.startswith("cor.")
            out.append((group, "" if plain else ", ".join(columns)))
    return out


def empty_record(task: Task) -> Bootstrap:
    """A record without replicates."""
    fit = task.fit
    known = parameters(fit)
    scale = fit.extra if isinstance(fit, GLMMFit) else fit.sigma
    estimates = parameter_values(
        fit, fit.theta[None, :], fit.beta[None, :], np.array([scale])
    )[0]
    return Bootstrap(
        task.kind,
        task.re_form,
        task.groups,
        fit.design.formula,
        _seed_key(task.seed),
        known,
        tuple(_places(fit, known)),
        tuple(theta_names(fit)),
        tuple(dropped_names(fit)),
        estimates,
        np.empty((0, len(known))),
        np.empty((0, fit.theta.size)),
        np.empty(0),
        np.empty(0, dtype=bool),
        np.empty(0, dtype=np.int8),
    )


def extended(record: Bootstrap, fit: MixedFit, refits: Refits) -> Bootstrap:
    """A record with more replicates of the same run."""
    theta, beta, sigma = refits.theta, refits.beta, refits.sigma
    more: dict[str, Any] = {
        "values": parameter_values(fit, theta, beta, sigma),
        "theta": theta,
        "objective": refits.objective,
        "singular": singular_replicates(fit, refits),
        "reason": refits.reason,
    }
    # What did not converge is no estimate.
    failed = refits.reason != CONVERGED
    for name in ("values", "theta", "objective"):
        more[name] = np.array(more[name])
        more[name][failed] = np.nan
    more["singular"] = more["singular"] & ~failed
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(record, name), more[name]]) for name in ARRAYS
    }
    return replace(record, **joined)
